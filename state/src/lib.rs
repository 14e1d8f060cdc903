//! Cluster state: who is a member, which coordinator leads, which catalogs statements have made, and what was set in clients' sessions, and what
//! was done for tables.
//!
//! [`ClusterState`] is what the rest of nunatak knows of it. [`EmbeddedState`] keeps it in the memory of one coordinator, for `nunatak standalone` and for
//! clusters whose executors name their coordinator; [`EtcdState`] keeps it in etcd, for clusters of several coordinators. [`Announcer`] renews a member's lease.
//! [`CatalogStore`] keeps the catalogs: [`CatalogFile`] those of a single coordinator, [`EtcdCatalogs`] those of all. So do [`SessionStore`], [`EmbeddedSessions`] and
//! [`EtcdSessions`] with sessions.

mod address;
mod announcer;
mod catalogs;
mod embedded;
mod etcd;
mod member;
mod roster;
mod sessions;
#[cfg(test)]
mod tests;
mod threads;

use std::fmt;

use async_trait::async_trait;
use nunatak_core::Result;
use tokio::sync::watch;

pub use address::advertised_host;
pub use announcer::Announcer;
pub use catalogs::{CatalogDefinition, CatalogFile, CatalogStore, StoredCatalog, StoredCatalogs};
pub use embedded::EmbeddedState;
pub use etcd::{EtcdCatalogs, EtcdJournal, EtcdSessions, EtcdState};
pub use member::{CoordinatorMember, ExecutorMember, Joined, Member, Membership, authority};
pub use sessions::{EmbeddedSessions, HandleKey, SESSION_IDLE_MAX, SessionChanger, SessionStore, StoredSession, TICKET_TTL};
pub use threads::threads;

/// Where a member says that it is there.
#[async_trait]
pub trait Announcements: Send + Sync + fmt::Debug {
    /// Announces a member, or renews its lease. One whose lease is not renewed is gone.
    async fn announce(&self, member: Member) -> Result<()>;

    /// Ends the membership that was announced under this id: the process is about to end.
    async fn leave(&self, id: &str) -> Result<()>;
}

/// What all members of a cluster share.
#[async_trait]
pub trait ClusterState: Announcements {
    /// Takes an executor out at once: its process was seen to be gone. If that was wrong it comes back, since its lease goes on.
    async fn remove(&self, id: &str) -> Result<()>;

    /// The members, now and after each change.
    fn membership(&self) -> watch::Receiver<Membership>;

    /// Whether a coordinator that was announced here leads the cluster: if so, its term, a number that is higher for each leader than for all before it. One that
    /// cannot renew its lease stops to lead before the lease ends, by its own clock.
    fn leadership(&self, id: &str) -> Option<u64>;
}
