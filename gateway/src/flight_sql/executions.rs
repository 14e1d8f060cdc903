//! Tickets: statements that were planned and wait for their rows to be asked for, and those whose rows are being sent.
//!
//! A statement starts when its ticket is handed in, to whichever coordinator. The ticket of an update is good for one run, which is claimed from all coordinators: it must not
//! run twice because a client asked twice.

use std::sync::{Arc, Mutex, OnceLock};
use std::time::Instant;

use arrow::array::RecordBatch;
use bytes::Bytes;
use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use nunatak_coordinator::query::{Coordinator, Session, SessionStore, TICKET_TTL};
use nunatak_core::expiring::{Expiring, Renewal, lock};
use nunatak_core::id::QueryId;
use nunatak_core::{Code, Error};
use tokio_util::sync::CancellationToken;
use tonic::Status;
use uuid::Uuid;

use super::carried::Carried;
use super::seal::Seal;
use super::sessions::{Owner, is_recent};
use super::status;
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
    /// The address of this coordinator.
    here: Arc<str>,
    /// Who knows which tickets were used.
    claims: Arc<dyn SessionStore>,
    seal: Seal,
    /// Statements whose tickets do not carry them.
    held: Mutex<Expiring<Carried>>,
    /// Tickets that must not run any more.
    cancelled: Mutex<Expiring<()>>,
    running: DashMap<Uuid, Arc<State>>,
}

struct State {
    user: String,
    cancelled: CancellationToken,
    query: OnceLock<QueryId>,
}

/// What a cancellation has found.
#[derive(Debug)]
pub(super) enum Found {
    /// The query runs here, and is about to end.
    Running,
    /// It has not begun, and will not, wherever its ticket is brought.
    NotBegun,
    /// It does not run here, and will not; other coordinators take its ticket, too.
    NotHere,
    /// Its one run is taken, or cannot be claimed for this reason: it may be the run of another coordinator.
    Taken(Option<Status>),
    /// The coordinator at that address has it.
    At(String),
    /// There is no such query of this user.
    Nothing,
}

/// A run: it can be cancelled by its ticket for as long as this lives.
pub(super) struct Run {
    ticket: Uuid,
    state: Arc<State>,
    executions: Arc<Inner>,
}

impl Executions {
    /// None yet. `here` is the address of this coordinator.
    pub(super) fn new(here: Arc<str>, claims: Arc<dyn SessionStore>) -> Self {
        let held = Mutex::new(Expiring::new(TICKET_TTL, Renewal::Never, limits::HELD_MAX));
        let cancelled = Mutex::new(Expiring::new(TICKET_TTL, Renewal::Never, limits::CANCELLED_MAX));
        let seal = Seal::new(Arc::clone(&claims));
        Self(Arc::new(Inner { here, claims, seal, held, cancelled, running: DashMap::new() }))
    }

    /// A ticket for a statement: the statement itself, or its name where it stays here.
    pub(super) async fn issue(&self, statement: Carried) -> Carried {
        // Of an update whose run could not be claimed from all, one coordinator alone decides.
        if statement.can_travel() && (!statement.is_update || self.0.claims.can_claim().await) {
            return statement;
        }
        let stub = statement.stub(&self.0.here);
        if let Some(id) = stub.id() {
            lock(&self.0.held).insert(id, statement, Instant::now());
        }
        stub
    }

    /// Takes a user's ticket back, for its statement to be run.
    pub(super) async fn redeem(&self, ticket: &Bytes, user: &str) -> Result<(Carried, Run), Status> {
        let (id, carried) = self.open(ticket)?;
        // From now on a cancellation finds it running.
        let run = self.start(id, user).ok_or_else(no_such_ticket)?;
        let (statement, is_to_be_claimed) = match &carried.holder {
            Some(holder) if **holder != *self.0.here => return Err(held_elsewhere("the ticket", holder)),
            // Taken out, it cannot be taken again.
            Some(_) => (self.take_held(id, user).ok_or_else(no_such_ticket)?, false),
            None if carried.user != user => return Err(no_such_ticket()),
            None => {
                let is_update = carried.is_update;
                (carried, is_update)
            }
        };
        if lock(&self.0.cancelled).get(id, Instant::now()).is_some() {
            let error = Error::new(Code::UserCanceled, "the query was cancelled before it started");
            return Err(status::failed(&error, user, None));
        }
        if is_to_be_claimed && !self.claim(id, user).await? {
            return Err(no_such_ticket());
        }
        Ok((statement, run))
    }

    fn open(&self, ticket: &Bytes) -> Result<(Uuid, Carried), Status> {
        self.0.seal.open(ticket, "the ticket", "ask for the statement again")
    }

    fn take_held(&self, ticket: Uuid, user: &str) -> Option<Carried> {
        let now = Instant::now();
        let mut held = lock(&self.0.held);
        held.get(ticket, now).filter(|statement| statement.user == user)?;
        held.remove(ticket, now)
    }

    /// Claims the one run of a ticket from all coordinators. Gives whether it was to be had.
    async fn claim(&self, ticket: Uuid, user: &str) -> Result<bool, Status> {
        if !is_recent(ticket, TICKET_TTL, self.0.claims.since()) {
            return Ok(false);
        }
        self.0.claims.claim(ticket).await.map_err(|error| status::failed(&error.with_hint("ask for the statement again"), user, None))
    }

    /// A run without a ticket.
    pub(super) fn start_unticketed(&self, user: &str) -> Run {
        let run = self.run(Uuid::now_v7(), user);
        self.0.running.insert(run.ticket, Arc::clone(&run.state));
        run
    }

    /// Cancels what a user's ticket stands for, as far as this coordinator can.
    pub(super) async fn cancel(&self, ticket: &Bytes, user: &str, coordinator: &Coordinator) -> Result<Found, Status> {
        let (id, carried) = self.open(ticket)?;
        if let Some(holder) = carried.holder.as_ref().filter(|holder| ***holder != *self.0.here) {
            return Ok(Found::At(holder.clone()));
        }
        match carried.holder {
            Some(_) if self.take_held(id, user).is_some() => return Ok(Found::NotBegun),
            Some(_) => {}
            None if carried.user != user => return Ok(Found::Nothing),
            // Before it is looked for: a run that begins meanwhile sees it.
            None => drop(lock(&self.0.cancelled).insert(id, (), Instant::now())),
        }
        let running = self.0.running.get(&id).filter(|state| state.user == user).map(|state| Arc::clone(state.value()));
        if let Some(state) = running {
            state.cancelled.cancel();
            if let Some(query) = state.query.get() {
                coordinator.cancel(query);
            }
            return Ok(Found::Running);
        }
        if carried.holder.is_some() {
            return Ok(Found::Nothing);
        }
        if !carried.is_update {
            return Ok(Found::NotHere);
        }
        Ok(match self.claim(id, user).await {
            Ok(true) => Found::NotBegun,
            Ok(false) => Found::Taken(None),
            Err(status) => Found::Taken(Some(status)),
        })
    }

    /// Begins a run; `None` if there is one of the same ticket.
    fn start(&self, ticket: Uuid, user: &str) -> Option<Run> {
        let Entry::Vacant(entry) = self.0.running.entry(ticket) else { return None };
        let run = self.run(ticket, user);
        entry.insert(Arc::clone(&run.state));
        Some(run)
    }

    fn run(&self, ticket: Uuid, user: &str) -> Run {
        let state = Arc::new(State { user: user.to_owned(), cancelled: CancellationToken::new(), query: OnceLock::new() });
        Run { ticket, state, executions: Arc::clone(&self.0) }
    }
}

fn no_such_ticket() -> Status {
    status::no_such("the ticket", "that of a statement which changes something can be used once: ask for the statement again")
}

/// What stays in another coordinator was asked for here.
pub(super) fn held_elsewhere(what: &str, holder: &str) -> Status {
    let error = Error::new(Code::NotFound, format!("{what} is of a statement that the coordinator at {holder} holds"));
    status::of(&error.with_hint("ask that one, or ask here for the statement again"), None)
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
    use nunatak_state::EmbeddedSessions;

    use super::*;

    fn executions() -> Executions {
        Executions::new("h:1".into(), Arc::new(EmbeddedSessions::new(TICKET_TTL)))
    }

    fn statement(is_update: bool) -> Carried {
        Carried::new("SELECT 1".to_owned(), is_update, &Session::new("ada", "lake", None))
    }

    fn code<T>(outcome: Result<T, Status>) -> Option<tonic::Code> {
        outcome.err().map(|status| status.code())
    }

    #[tokio::test]
    async fn an_updates_ticket_is_good_once_and_each_for_its_user() -> Result<(), Status> {
        let (executions, missing) = (executions(), Some(tonic::Code::NotFound));
        let long = || Carried::new("x".repeat(limits::HANDLE_BYTES_MAX), false, &Session::new("ada", "lake", None));
        for (statement, is_good_once) in [(statement(true), true), (statement(false), false), (long(), true)] {
            let ticket = executions.0.seal.close(&executions.issue(statement.clone()).await);
            assert_eq!(code(executions.redeem(&ticket, "bob").await), missing);
            let (redeemed, run) = executions.redeem(&ticket, "ada").await?;
            assert!(redeemed == statement);
            assert_eq!(code(executions.redeem(&ticket, "ada").await), missing, "it runs");
            drop(run);
            assert_eq!(code(executions.redeem(&ticket, "ada").await), missing.filter(|_| is_good_once));
        }
        assert!(executions.0.running.is_empty());
        Ok(())
    }

    #[tokio::test]
    async fn every_coordinator_of_a_cluster_takes_what_travels() -> Result<(), Status> {
        let claims: Arc<dyn SessionStore> = Arc::new(EmbeddedSessions::new(TICKET_TTL));
        let (one, other) = (Executions::new("h:1".into(), Arc::clone(&claims)), Executions::new("h:2".into(), claims));
        let ticket = one.0.seal.close(&one.issue(statement(true)).await);
        drop(other.redeem(&ticket, "ada").await?);
        assert_eq!(code(one.redeem(&ticket, "ada").await), Some(tonic::Code::NotFound), "the other one has run it");
        let long = Carried::new("x".repeat(limits::HANDLE_BYTES_MAX), false, &Session::new("ada", "lake", None));
        let ticket = one.0.seal.close(&one.issue(long).await);
        let refused = other.redeem(&ticket, "ada").await.err().map(|status| status.message().to_owned());
        assert!(refused.is_some_and(|text| text.contains("the coordinator at h:1 holds")));
        drop(one.redeem(&ticket, "ada").await?);
        Ok(())
    }
}
