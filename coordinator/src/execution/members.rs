//! The executors as queries see them.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use nunatak_state::{ClusterState, ExecutorMember, Executors};
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
            join_all(all.iter().map(|executor| async {
                if probe(executor).await == Probe::Refused {
                    self.remove(executor).await;
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
        self.executors.borrow().iter().filter(|executor| !executor.draining).cloned().collect()
    }

    /// Waits until one of `used` is no longer a member, and gives it.
    pub(super) async fn lost(&self, used: &[ExecutorMember]) -> ExecutorMember {
        let mut executors = self.executors.clone();
        loop {
            let missing = {
                let alive = executors.borrow_and_update();
                used.iter().find(|executor| !alive.iter().any(|other| other.id == executor.id)).cloned()
            };
            if let Some(missing) = missing {
                return missing;
            }
            if executors.changed().await.is_err() {
                // The state ends with its process; until then nobody is lost.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Looks whether `used` are still there, after something went wrong with one of them; takes out those that are not, and gives the first.
    pub(super) async fn probe(&self, used: &[ExecutorMember]) -> Option<ExecutorMember> {
        let answers = join_all(used.iter().map(|executor| async move { (executor, probe(executor).await) })).await;
        let mut gone = None;
        for (executor, answer) in answers {
            if answer != Probe::Accepted {
                self.remove(executor).await;
            }
            // Another process may listen at the same address by now.
            let known = self.executors.borrow().iter().any(|other| other.id == executor.id);
            if !known && gone.is_none() {
                gone = Some(executor.clone());
            }
        }
        gone
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
