//! Tickets: statements that were planned and wait for their rows to be asked for, and those whose rows are being sent.
//!
//! A statement starts when its ticket is handed in, and a ticket is good for one run: an update must not run twice because a client asked twice.

use std::sync::{Arc, Mutex, OnceLock};
use std::time::Instant;

use arrow::array::RecordBatch;
use arrow_flight::CancelStatus;
use dashmap::DashMap;
use nunatak_coordinator::query::{Coordinator, Session};
use nunatak_core::id::QueryId;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::sessions::Owner;
use crate::expiring::{Expiring, Renewal, lock};
use crate::limits;

/// A statement with all that its run needs.
#[derive(Clone, Debug)]
pub(super) struct Statement {
    pub(super) sql: String,
    pub(super) session: Session,
    pub(super) owner: Owner,
    /// One row, or none where the statement has no parameters.
    pub(super) parameters: Option<RecordBatch>,
}

/// The tickets. Cheap to clone.
#[derive(Clone)]
pub(super) struct Executions(Arc<Inner>);

struct Inner {
    waiting: Mutex<Expiring<Statement>>,
    running: DashMap<Uuid, Arc<State>>,
}

struct State {
    user: String,
    cancelled: CancellationToken,
    query: OnceLock<QueryId>,
}

/// A run: it can be cancelled by its ticket for as long as this lives.
pub(super) struct Run {
    ticket: Uuid,
    state: Arc<State>,
    executions: Arc<Inner>,
}

impl Executions {
    /// None yet.
    pub(super) fn new() -> Self {
        let waiting = Mutex::new(Expiring::new(limits::TICKET_TTL, Renewal::Never, limits::TICKETS_MAX));
        Self(Arc::new(Inner { waiting, running: DashMap::new() }))
    }

    /// A ticket for a statement.
    pub(super) fn issue(&self, statement: Statement, now: Instant) -> Uuid {
        let ticket = Uuid::new_v4();
        lock(&self.0.waiting).insert(ticket, statement, now);
        ticket
    }

    /// Takes a user's ticket back, for its statement to be run.
    pub(super) fn redeem(&self, ticket: Uuid, user: &str, now: Instant) -> Option<(Statement, Run)> {
        let mut waiting = lock(&self.0.waiting);
        waiting.get(ticket, now).filter(|statement| statement.owner.user == user)?;
        let statement = waiting.remove(ticket, now)?;
        // Still under the lock: a cancellation finds the ticket either waiting or running.
        let run = self.start(ticket, user);
        Some((statement, run))
    }

    /// A run without a ticket.
    pub(super) fn start_unticketed(&self, user: &str) -> Run {
        self.start(Uuid::new_v4(), user)
    }

    /// Cancels what a user's ticket stands for; `None` where it stands for nothing, or nothing any more.
    pub(super) fn cancel(&self, ticket: Uuid, user: &str, coordinator: &Coordinator, now: Instant) -> Option<CancelStatus> {
        if self.redeem(ticket, user, now).is_some() {
            return Some(CancelStatus::Cancelled);
        }
        let state = self.0.running.get(&ticket).filter(|state| state.user == user)?.clone();
        state.cancelled.cancel();
        if let Some(query) = state.query.get() {
            coordinator.cancel(query);
        }
        Some(CancelStatus::Cancelling)
    }

    fn start(&self, ticket: Uuid, user: &str) -> Run {
        let state = Arc::new(State { user: user.to_owned(), cancelled: CancellationToken::new(), query: OnceLock::new() });
        self.0.running.insert(ticket, state.clone());
        Run { ticket, state, executions: self.0.clone() }
    }
}

impl Run {
    /// Ends when the run was cancelled.
    pub(super) async fn cancelled(&self) {
        self.state.cancelled.cancelled().await;
    }

    /// Names the query, once the coordinator has accepted it.
    pub(super) fn accepted(&self, query: &QueryId, coordinator: &Coordinator) {
        // Where it is set already the run has its query, and that is the one to cancel.
        let _ = self.state.query.set(query.clone());
        if self.state.cancelled.is_cancelled() {
            coordinator.cancel(query);
        }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        self.executions.running.remove(&self.ticket);
    }
}

#[cfg(test)]
mod tests {
    use super::super::headers::{Headers, Identity};
    use super::super::sessions::Sessions;
    use super::*;

    fn statement() -> Result<Statement, tonic::Status> {
        let headers = Headers { identity: Identity::User("ada".to_owned()), cookie: None, catalog: None, schema: None, properties: Vec::new() };
        let caller = Sessions::new().resolve(&headers, |user| Session::new(user, "lake", None), Instant::now())?;
        Ok(Statement { sql: "SELECT 1".to_owned(), session: caller.session, owner: caller.owner, parameters: None })
    }

    #[test]
    fn a_ticket_is_good_once_for_its_user_and_for_a_time() -> Result<(), tonic::Status> {
        let executions = Executions::new();
        let now = Instant::now();
        let ticket = executions.issue(statement()?, now);
        assert!(executions.redeem(ticket, "bob", now).is_none());
        assert!(executions.redeem(ticket, "ada", now).is_some());
        assert!(executions.redeem(ticket, "ada", now).is_none());
        let ticket = executions.issue(statement()?, now);
        assert!(executions.redeem(ticket, "ada", now + limits::TICKET_TTL).is_none());
        Ok(())
    }

    #[test]
    fn a_run_is_known_for_as_long_as_it_lives() -> Result<(), tonic::Status> {
        let executions = Executions::new();
        let now = Instant::now();
        let ticket = executions.issue(statement()?, now);
        let run = executions.redeem(ticket, "ada", now);
        assert!(executions.0.running.contains_key(&ticket));
        drop(run);
        assert!(executions.0.running.is_empty());
        Ok(())
    }
}
