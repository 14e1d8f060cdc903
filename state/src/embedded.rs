//! Cluster state in the memory of one process.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use nunatak_core::Result;
use tokio::sync::watch;
use tracing::{info, warn};

use super::{ClusterState, ExecutorMember, Joined, Membership};

/// How many parts of a lease pass between two looks at all of them.
const LOOKS_PER_LEASE: u32 = 8;

/// Cluster state that ends with its process.
#[derive(Debug)]
pub struct EmbeddedState {
    lease: Duration,
    members: Mutex<Members>,
    membership: watch::Sender<Membership>,
}

#[derive(Debug, Default)]
struct Members {
    /// By id.
    alive: BTreeMap<String, Member>,
    joins: u64,
}

#[derive(Debug)]
struct Member {
    joined: Joined,
    renewed: Instant,
}

impl EmbeddedState {
    /// State whose leases last that long. Ends with the last reference to it. Must be called within a Tokio runtime.
    pub fn start(lease: Duration) -> Arc<Self> {
        let state = Arc::new(Self { lease, members: Mutex::default(), membership: watch::Sender::default() });
        let weak = Arc::downgrade(&state);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(lease / LOOKS_PER_LEASE).await;
                let Some(state) = weak.upgrade() else { return };
                state.expire(Instant::now());
            }
        });
        state
    }

    fn expire(&self, now: Instant) {
        self.change(|members| {
            members.alive.retain(|_, member| {
                let alive = now.saturating_duration_since(member.renewed) <= self.lease;
                if !alive {
                    warn!(executor = %member.joined.executor, "executor is gone: its lease has ended");
                }
                alive
            });
        });
    }

    /// Changes the members, and tells who listens if that made a difference.
    fn change(&self, change: impl FnOnce(&mut Members)) {
        let mut members = self.members.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut members);
        let executors: Vec<Joined> = members.alive.values().map(|member| member.joined.clone()).collect();
        let now = Membership { departures: members.joins - executors.len() as u64, executors };
        self.membership.send_if_modified(|known| {
            let differs = *known != now;
            if differs {
                *known = now;
            }
            differs
        });
    }
}

#[async_trait]
impl ClusterState for EmbeddedState {
    async fn announce(&self, executor: ExecutorMember) -> Result<()> {
        self.change(|members| {
            // A process that was started again at the same address: the one before it is gone.
            members.alive.retain(|id, member| {
                let other = &member.joined.executor;
                *id == executor.id || (&other.host, other.port) != (&executor.host, executor.port)
            });
            let renewed = Instant::now();
            if let Some(member) = members.alive.get_mut(&executor.id) {
                if executor.draining && !member.joined.executor.draining {
                    info!(%executor, "executor is draining");
                }
                member.renewed = renewed;
                member.joined.executor = executor;
                return;
            }
            info!(%executor, slots = executor.slots, "executor has joined");
            members.joins += 1;
            let joined = Joined { number: members.joins, executor: executor.clone() };
            members.alive.insert(executor.id.clone(), Member { joined, renewed });
        });
        Ok(())
    }

    async fn remove(&self, id: &str) -> Result<()> {
        self.change(|members| {
            if let Some(member) = members.alive.remove(id) {
                info!(executor = %member.joined.executor, "executor is taken out");
            }
        });
        Ok(())
    }

    fn membership(&self) -> watch::Receiver<Membership> {
        self.membership.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn executor(id: &str) -> ExecutorMember {
        ExecutorMember { id: id.to_owned(), host: id.to_owned(), port: 1, slots: 2, memory_bytes: 3, draining: false }
    }

    fn ids(members: &watch::Receiver<Membership>) -> Vec<String> {
        members.borrow().executors.iter().map(|joined| joined.executor.id.clone()).collect()
    }

    #[tokio::test]
    async fn leases_end_and_are_renewed() {
        let state = EmbeddedState::start(Duration::from_secs(5));
        let mut members = state.membership();
        state.announce(executor("a")).await.unwrap();
        state.announce(executor("b")).await.unwrap();
        assert_eq!(ids(&members), ["a", "b"]);
        members.mark_unchanged();
        state.announce(executor("a")).await.unwrap();
        assert!(!members.has_changed().unwrap(), "a renewal is no change");

        state.remove("a").await.unwrap();
        assert_eq!(ids(&members), ["b"]);
        state.announce(executor("a")).await.unwrap();
        assert_eq!(ids(&members), ["a", "b"], "it was alive after all");
        assert_eq!(members.borrow().executors.iter().map(|joined| joined.number).collect::<Vec<_>>(), [3, 2], "but it has joined anew");

        state.expire(Instant::now() + Duration::from_secs(6));
        assert!(ids(&members).is_empty());
        state.announce(executor("b")).await.unwrap();
        assert_eq!(ids(&members), ["b"], "a member whose lease had ended may come back");

        state.announce(ExecutorMember { host: "b".to_owned(), ..executor("c") }).await.unwrap();
        assert_eq!(ids(&members), ["c"], "a process at the same address takes the place of the one before it");
        assert_eq!(members.borrow().departures, 4, "a once, a and b when their leases ended, b once more");
    }

    #[test]
    fn urls() {
        assert_eq!(executor("a").url(), "http://a:1");
        assert_eq!(ExecutorMember { host: "::1".to_owned(), ..executor("a") }.url(), "http://[::1]:1");
    }
}
