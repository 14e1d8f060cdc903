//! Cluster state: who is a member.
//!
//! [`ClusterState`] is what the rest of nunatak knows of it. [`EmbeddedState`] keeps it in the memory of one coordinator, for `nunatak standalone` and for
//! clusters whose executors name their coordinator.

mod embedded;

use std::fmt;

use async_trait::async_trait;
use nunatak_core::Result;
use tokio::sync::watch;

pub use embedded::EmbeddedState;

/// An executor of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecutorMember {
    /// The process: a new one each time it starts, even at the same address.
    pub id: String,
    /// The host by which other members reach it.
    pub host: String,
    /// The port of its cluster service.
    pub port: u16,
    /// How many partitions it runs at the same time.
    pub slots: usize,
    /// Memory of its queries, in bytes.
    pub memory_bytes: u64,
    /// Whether it ends what it runs and takes nothing new.
    pub draining: bool,
}

impl ExecutorMember {
    /// `http://host:port`.
    pub fn url(&self) -> String {
        // An IPv6 address stands in brackets within a URL.
        if self.host.contains(':') { format!("http://[{}]:{}", self.host, self.port) } else { format!("http://{}:{}", self.host, self.port) }
    }
}

impl fmt::Display for ExecutorMember {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}:{}", self.id, self.host, self.port)
    }
}

/// An executor that is alive, and since when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joined {
    /// The executor.
    pub executor: ExecutorMember,
    /// Which of all joins of the cluster was its: a higher one for an executor that was gone and came back.
    pub number: u64,
}

/// The members of a cluster at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Membership {
    /// The executors that are alive, those that drain too, by id.
    pub executors: Vec<Joined>,
    /// How many executors have been lost or have left so far.
    pub departures: u64,
}

/// What all members of a cluster share.
#[async_trait]
pub trait ClusterState: Send + Sync + fmt::Debug {
    /// Announces an executor, or renews its lease. One whose lease is not renewed is gone.
    async fn announce(&self, executor: ExecutorMember) -> Result<()>;

    /// Takes an executor out at once: it said so, or its process was seen to be gone. Its next announcement brings it back.
    async fn remove(&self, id: &str) -> Result<()>;

    /// The members, now and after each change.
    fn membership(&self) -> watch::Receiver<Membership>;
}
