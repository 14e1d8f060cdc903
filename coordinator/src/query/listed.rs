//! What is told of queries, by `system.runtime.queries` and `tasks`, and how one is ended by its id: those of this coordinator, and those of the others, which are
//! asked for theirs.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use futures::future::join_all;
use nunatak_core::{Code, Error, Result};
use nunatak_state::{CoordinatorMember, Membership};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tracing::{info, warn};

use super::{Registry, Snapshot};

/// How long another coordinator is waited for.
const PEER_WAIT: Duration = Duration::from_secs(2);

/// A query, as others may be told of it. Times are milliseconds since 1970.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ListedQuery {
    /// The id by which its client knows it.
    pub id: String,
    /// The id that logs and snapshots have.
    pub query_id: Option<String>,
    /// The coordinator that runs it.
    pub node_id: String,
    /// `QUEUED`, `PLANNING`, `RUNNING`, `FINISHED` or `FAILED`.
    pub state: String,
    /// Who has sent it.
    pub user: String,
    /// The program that has, as it says.
    pub source: Option<String>,
    /// Its text.
    pub sql: String,
    /// How long it waited to be run.
    pub queued_ms: i64,
    /// How long it took to plan it.
    pub planning_ms: i64,
    /// When it was sent.
    pub created_ms: i64,
    /// When it began to run.
    pub started_ms: Option<i64>,
    /// When its client was heard of last.
    pub heartbeat_ms: Option<i64>,
    /// When it ended.
    pub ended_ms: Option<i64>,
    /// Whose fault its error is, if it has one.
    pub error_type: Option<String>,
    /// The code of that.
    pub error_code: Option<String>,
    /// Its parts.
    pub tasks: Vec<ListedTask>,
}

/// What runs a part of a query.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ListedTask {
    /// The number of its stage.
    pub stage: u64,
    /// Where it runs, if that is one place and known.
    pub node_id: Option<String>,
    /// `PLANNED`, `RUNNING`, `FINISHED` or `FAILED`.
    pub state: String,
    /// What it reads, in files and parts of files, or in partitions.
    pub splits: u64,
    /// How many of these it reads now.
    pub running_splits: u64,
    /// How many of these it has read.
    pub completed_splits: u64,
    /// Processor time, where it is known.
    pub cpu_ms: Option<u64>,
    /// The rows that it has read, where that is known.
    pub rows: Option<u64>,
    /// The bytes that it has read, where that is known.
    pub bytes: Option<u64>,
}

/// What comes of ending a query by its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kill {
    /// It ends.
    Done,
    /// It has ended before.
    NotRunning,
    /// There is no such query here.
    Unknown,
}

/// A front door whose clients know their queries by ids of its own, and by which coordinators reach each other.
#[async_trait]
pub trait Door: Send + Sync {
    /// The queries of its clients.
    fn queries(&self) -> Vec<ListedQuery>;

    /// Ends one of them, with a message for its client.
    fn kill(&self, id: &str, message: &str) -> Kill;

    /// The queries of the coordinator whose Flight SQL is at `host:port`.
    async fn queries_at(&self, flight: &str) -> Result<Vec<ListedQuery>>;

    /// Ends one of these, for a user.
    async fn kill_at(&self, flight: &str, id: &str, user: &str, message: &str) -> Result<Kill>;
}

/// The queries of a cluster. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Queries {
    registry: Registry,
    door: Arc<OnceLock<Arc<dyn Door>>>,
    membership: watch::Receiver<Membership>,
    /// The id of this coordinator.
    node_id: Arc<str>,
}

impl fmt::Debug for Queries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queries").field("node_id", &self.node_id).finish_non_exhaustive()
    }
}

impl Queries {
    pub(super) fn new(registry: Registry, membership: watch::Receiver<Membership>, node_id: Arc<str>) -> Self {
        Self { registry, door: Arc::default(), membership, node_id }
    }

    /// The door is open. There is one.
    pub(super) fn open(&self, door: Arc<dyn Door>) {
        let _ = self.door.set(door);
    }

    /// Those of this coordinator, the oldest first.
    pub(super) fn here(&self) -> Vec<ListedQuery> {
        let mut all = self.door.get().map(|door| door.queries()).unwrap_or_default();
        all.extend(self.registry.listed());
        for query in &mut all {
            query.node_id = self.node_id.to_string();
            for task in query.tasks.iter_mut().filter(|task| task.cpu_ms.is_some()) {
                task.node_id = Some(self.node_id.to_string());
            }
        }
        all.sort_by(|one, other| (one.created_ms, &one.id).cmp(&(other.created_ms, &other.id)));
        all
    }

    fn peers(&self) -> Vec<CoordinatorMember> {
        self.membership.borrow().coordinators.iter().filter(|peer| *peer.id != *self.node_id).cloned().collect()
    }

    /// Those of all coordinators. One that gives no answer in time is left out.
    pub(super) async fn everywhere(&self) -> Vec<ListedQuery> {
        let mut all = self.here();
        let Some(door) = self.door.get() else { return all };
        let peers = self.peers();
        let asked: Vec<_> = peers.iter().map(|peer| within(door.queries_at(&peer.flight))).collect();
        let answers = join_all(asked).await;
        for (peer, answer) in peers.iter().zip(answers) {
            match answer {
                Ok(queries) => all.extend(queries),
                Err(error) => warn!(%error, coordinator = %peer, "a coordinator does not tell of its queries, which are left out"),
            }
        }
        all
    }

    /// Ends a query of this coordinator, for a user. Whose it is does not matter, as in Trino: who may end what is no question before there are rights.
    pub(super) fn kill_here(&self, id: &str, user: &str, message: &str) -> Kill {
        let found = match self.door.get().map_or(Kill::Unknown, |door| door.kill(id, message)) {
            Kill::Unknown => self.registry.kill(id, message),
            found => found,
        };
        if found == Kill::Done {
            info!(query = id, by = user, "query is killed");
        }
        found
    }

    /// Ends a query of any coordinator.
    ///
    /// Errors: `INVALID_PROCEDURE_ARGUMENT` for what cannot be an id, `NOT_FOUND`, and `NOT_SUPPORTED` for one that has ended, as in Trino.
    pub(crate) async fn kill(&self, id: &str, user: &str, message: &str) -> Result<()> {
        if id.is_empty() || !id.bytes().all(|letter| matches!(letter, b'a'..=b'z' | b'0'..=b'9' | b'_')) {
            let wrong = Error::new(Code::InvalidProcedureArgument, format!("'{id}' is no id of a query"));
            return Err(wrong.with_hint("system.runtime.queries lists them"));
        }
        let mut found = self.kill_here(id, user, message);
        if found == Kill::Unknown
            && let Some(door) = self.door.get()
        {
            let peers = self.peers();
            let asked: Vec<_> = peers.iter().map(|peer| within(door.kill_at(&peer.flight, id, user, message))).collect();
            let answers = join_all(asked).await;
            for (peer, answer) in peers.iter().zip(answers) {
                match answer {
                    Ok(Kill::Unknown) => {}
                    Ok(known) => found = known,
                    Err(error) => warn!(%error, coordinator = %peer, query = id, "a coordinator does not tell whether a query is one of its own"),
                }
            }
        }
        match found {
            Kill::Done => Ok(()),
            Kill::NotRunning => Err(Error::not_supported(format!("query '{id}' is not running any more"))),
            Kill::Unknown => Err(Error::new(Code::NotFound, format!("query '{id}' is not known")).with_hint("system.runtime.queries lists them")),
        }
    }
}

async fn within<T>(answer: impl Future<Output = Result<T>>) -> Result<T> {
    let answer = tokio::time::timeout(PEER_WAIT, answer).await;
    answer.unwrap_or_else(|_| Err(Error::new(Code::RemoteTaskError, format!("there is no answer within {} s", PEER_WAIT.as_secs()))))
}

/// The message of a query that was killed, as Trino has it.
pub fn killed(message: &str) -> Error {
    let message = if message.is_empty() { "No message provided.".to_owned() } else { format!("Message: {message}") };
    Error::new(Code::AdministrativelyKilled, format!("Query killed. {message}"))
}

/// Milliseconds since 1970.
pub fn millis(time: SystemTime) -> i64 {
    time.duration_since(UNIX_EPOCH).ok().and_then(|since| i64::try_from(since.as_millis()).ok()).unwrap_or_default()
}

/// The tasks of a query, by what is known of them: its scans in this process, or the stages that executors run.
pub fn tasks(snapshot: &Snapshot, state: &str) -> Vec<ListedTask> {
    let is_over = matches!(state, "FINISHED" | "FAILED");
    let state_of = |splits: u64, running: u64, completed: u64| {
        let other = if splits > 0 && completed == splits {
            "FINISHED"
        } else if running > 0 || completed > 0 {
            "RUNNING"
        } else {
            "PLANNED"
        };
        if is_over { state.to_owned() } else { other.to_owned() }
    };
    if snapshot.stages.is_empty() {
        let scans = &snapshot.scans;
        let running = u64::from(!is_over && scans.splits_completed < scans.splits);
        let of_here = !snapshot.is_distributed;
        return vec![ListedTask {
            stage: 0,
            node_id: None,
            state: if is_over { state.to_owned() } else { "RUNNING".to_owned() },
            splits: scans.splits,
            running_splits: running,
            completed_splits: if state == "FINISHED" { scans.splits } else { scans.splits_completed },
            cpu_ms: of_here.then_some(scans.cpu_nanos / 1_000_000),
            rows: of_here.then_some(scans.rows),
            bytes: of_here.then_some(scans.bytes),
        }];
    }
    let task = |stage: &super::StageProgress| ListedTask {
        stage: stage.id as u64,
        state: state_of(stage.splits, stage.splits_running, stage.splits_completed),
        splits: stage.splits,
        running_splits: if is_over { 0 } else { stage.splits_running },
        completed_splits: stage.splits_completed,
        ..ListedTask::default()
    };
    snapshot.stages.iter().map(task).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::execution::StageProgress;

    #[test]
    fn tasks_are_scans_or_stages() {
        let mut snapshot = Snapshot::default();
        (snapshot.scans.splits, snapshot.scans.splits_completed, snapshot.scans.rows) = (4, 1, 7);
        let here = tasks(&snapshot, "RUNNING");
        assert_eq!((here.len(), here[0].running_splits, here[0].rows), (1, 1, Some(7)));
        assert_eq!(tasks(&snapshot, "FINISHED")[0].completed_splits, 4);
        let stage = |id, splits_completed| StageProgress { id, splits: 4, splits_completed, splits_running: 0 };
        snapshot.stages = vec![stage(1, 4), stage(2, 0)];
        let states = |state| tasks(&snapshot, state).into_iter().map(|task| task.state).collect::<Vec<_>>();
        assert_eq!((states("RUNNING"), states("FAILED")), (vec!["FINISHED".to_owned(), "PLANNED".to_owned()], vec!["FAILED".to_owned(); 2]));
    }
}
