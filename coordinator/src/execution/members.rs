//! The executors as queries see them.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use nunatak_core::Result;
use nunatak_state::{ClusterState, ExecutorMember, Joined, Membership, threads};
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
    membership: watch::Receiver<Membership>,
}

impl Members {
    /// Watches over the executors of `state`.
    pub(super) fn start(state: Arc<dyn ClusterState>) -> Result<Self> {
        let membership = state.membership();
        let members = Self { state, membership };
        threads()?.spawn(members.clone().watch());
        Ok(members)
    }

    /// Takes out executors whose process has ended.
    async fn watch(self) {
        loop {
            tokio::time::sleep(WATCH_INTERVAL).await;
            let all = self.membership.borrow().executors.clone();
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
    pub(super) fn active(&self) -> Vec<Joined> {
        self.membership.borrow().executors.iter().filter(|joined| !joined.executor.draining).cloned().collect()
    }

    /// How many executors have been lost so far.
    pub(super) fn departures(&self) -> u64 {
        self.membership.borrow().departures
    }

    /// What has been lost of `needed`, in words.
    pub(super) fn missing(&self, needed: &Needed) -> Option<String> {
        let membership = self.membership.borrow();
        let is_there = |used: &&Joined| membership.executors.iter().any(|other| other.executor.id == used.executor.id && other.number == used.number);
        match needed {
            Needed::These(used) => used.iter().find(|used| !is_there(used)).map(|used| used.executor.to_string()),
            Needed::AllSince { executors, departures } if membership.departures != *departures => {
                // One that has joined later may have taken part as well.
                let known = executors.iter().find(|used| !is_there(used)).map(|used| used.executor.to_string());
                Some(known.unwrap_or_else(|| "that joined meanwhile".to_owned()))
            }
            Needed::AllSince { .. } => None,
        }
    }

    /// Waits until something of `needed` is lost, and tells what.
    pub(super) async fn lost(&self, needed: &Needed) -> String {
        let mut membership = self.membership.clone();
        loop {
            membership.mark_unchanged();
            if let Some(missing) = self.missing(needed) {
                return missing;
            }
            if membership.changed().await.is_err() {
                // The state ends with its process; until then nobody is lost.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Looks whether `needed` are still there, after something went wrong with one of them; takes out those that are not, and tells what is lost.
    pub(super) async fn probe(&self, needed: &Needed) -> Option<String> {
        let (Needed::These(executors) | Needed::AllSince { executors, .. }) = needed;
        join_all(executors.iter().map(|used| async {
            if probe(&used.executor).await != Probe::Accepted {
                self.remove(&used.executor).await;
            }
        }))
        .await;
        self.missing(needed)
    }
}

/// The executors whose loss ends an attempt to run a query.
#[derive(Clone, Debug)]
pub(super) enum Needed {
    /// One of these.
    These(Vec<Joined>),
    /// Any, until the first row has come: these, and those that join later. Without an error, too, rows are good only if none was lost.
    AllSince {
        /// Those that were there at the start.
        executors: Vec<Joined>,
        /// How many had been lost before.
        departures: u64,
    },
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
