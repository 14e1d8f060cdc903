//! The executors as queries see them.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use nunatak_state::{ClusterState, ExecutorMember, Executors, Joined};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tracing::warn;

/// How long an executor may take to accept a connection before it is taken for gone.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);
/// How often executors are looked at: one whose process has ended refuses connections long before its lease ends.
const WATCH_INTERVAL: Duration = Duration::from_millis(500);

/// The executors of the cluster. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Members {
    state: Arc<dyn ClusterState>,
    executors: watch::Receiver<Executors>,
}

impl Members {
    /// Watches over the executors of `state`.
    pub(super) fn start(state: Arc<dyn ClusterState>) -> Self {
        let executors = state.executors();
        let members = Self { state, executors };
        tokio::spawn(members.clone().watch());
        members
    }

    /// Takes out executors whose process has ended.
    async fn watch(self) {
        loop {
            tokio::time::sleep(WATCH_INTERVAL).await;
            let all = self.executors.borrow().clone();
            join_all(all.iter().map(|joined| async {
                if probe(&joined.executor).await == Probe::Refused {
                    self.remove(&joined.executor).await;
                }
            }))
            .await;
        }
    }

    async fn remove(&self, executor: &ExecutorMember) {
        if let Err(error) = self.state.remove(&executor.id).await {
            warn!(%executor, %error, "a lost executor could not be taken out");
        }
    }

    /// Those that take new work, by id.
    pub(super) fn active(&self) -> Executors {
        self.executors.borrow().iter().filter(|joined| !joined.executor.draining).cloned().collect()
    }

    /// One of `used` that is no longer a member, or has been away meanwhile.
    pub(super) fn missing(&self, used: &[Joined]) -> Option<ExecutorMember> {
        let alive = self.executors.borrow();
        let is_there = |used: &&Joined| alive.iter().any(|other| other.executor.id == used.executor.id && other.number == used.number);
        used.iter().find(|used| !is_there(used)).map(|used| used.executor.clone())
    }

    /// Waits until one of `used` is missing, and gives it.
    pub(super) async fn lost(&self, used: &[Joined]) -> ExecutorMember {
        let mut executors = self.executors.clone();
        loop {
            executors.mark_unchanged();
            if let Some(missing) = self.missing(used) {
                return missing;
            }
            if executors.changed().await.is_err() {
                // The state ends with its process; until then nobody is lost.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Looks whether `used` are still there, after something went wrong with one of them; takes out those that are not, and gives one that is missing.
    pub(super) async fn probe(&self, used: &[Joined]) -> Option<ExecutorMember> {
        join_all(used.iter().map(|used| async {
            if probe(&used.executor).await != Probe::Accepted {
                self.remove(&used.executor).await;
            }
        }))
        .await;
        self.missing(used)
    }
}

/// What an executor's port does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Probe {
    /// Somebody listens.
    Accepted,
    /// Nobody does.
    Refused,
    /// Nothing is known.
    Silent,
}

async fn probe(executor: &ExecutorMember) -> Probe {
    match tokio::time::timeout(PROBE_TIMEOUT, TcpStream::connect((executor.host.as_str(), executor.port))).await {
        Ok(Ok(_)) => Probe::Accepted,
        Ok(Err(error)) if error.kind() == ErrorKind::ConnectionRefused => Probe::Refused,
        Ok(Err(_)) | Err(_) => Probe::Silent,
    }
}
