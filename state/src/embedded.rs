//! Cluster state in the memory of one process.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use nunatak_core::Result;
use tokio::sync::watch;
use tracing::{info, warn};

use super::{ClusterState, ExecutorMember, Executors};

/// How many parts of a lease pass between two looks at all of them.
const LOOKS_PER_LEASE: u32 = 8;

/// Cluster state that ends with its process.
#[derive(Debug)]
pub struct EmbeddedState {
    lease: Duration,
    members: Mutex<Members>,
    executors: watch::Sender<Executors>,
}

/// By id: the member, and when its lease was renewed.
type Members = BTreeMap<String, (ExecutorMember, Instant)>;

impl EmbeddedState {
    /// State whose leases last that long. Ends with the last reference to it. Must be called within a Tokio runtime.
    pub fn start(lease: Duration) -> Arc<Self> {
        let state = Arc::new(Self { lease, members: Mutex::default(), executors: watch::Sender::new(Vec::new()) });
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
            members.retain(|_, (member, renewed)| {
                let alive = now.saturating_duration_since(*renewed) <= self.lease;
                if !alive {
                    warn!(executor = %member, "executor is gone: its lease has ended");
                }
                alive
            });
        });
    }

    /// Changes the members, and tells who listens if that made a difference.
    fn change(&self, change: impl FnOnce(&mut Members)) {
        let mut members = self.members.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut members);
        let now: Executors = members.values().map(|(member, _)| member.clone()).collect();
        self.executors.send_if_modified(|known| {
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
            members.retain(|id, (member, _)| *id == executor.id || (&member.host, member.port) != (&executor.host, executor.port));
            let known = members.insert(executor.id.clone(), (executor.clone(), Instant::now()));
            match known {
                None => info!(%executor, slots = executor.slots, "executor has joined"),
                Some((known, _)) if !known.draining && executor.draining => info!(%executor, "executor is draining"),
                Some(_) => {}
            }
        });
        Ok(())
    }

    async fn remove(&self, id: &str) -> Result<()> {
        self.change(|members| {
            if let Some((executor, _)) = members.remove(id) {
                info!(%executor, "executor is taken out");
            }
        });
        Ok(())
    }

    fn executors(&self) -> watch::Receiver<Executors> {
        self.executors.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn executor(id: &str) -> ExecutorMember {
        ExecutorMember { id: id.to_owned(), host: id.to_owned(), port: 1, slots: 2, memory_bytes: 3, draining: false }
    }

    fn ids(executors: &watch::Receiver<Executors>) -> Vec<String> {
        executors.borrow().iter().map(|executor| executor.id.clone()).collect()
    }

    #[tokio::test]
    async fn leases_end_and_are_renewed() {
        let state = EmbeddedState::start(Duration::from_secs(5));
        let mut executors = state.executors();
        state.announce(executor("a")).await.unwrap();
        state.announce(executor("b")).await.unwrap();
        assert_eq!(ids(&executors), ["a", "b"]);
        executors.mark_unchanged();
        state.announce(executor("a")).await.unwrap();
        assert!(!executors.has_changed().unwrap(), "a renewal is no change");

        state.remove("a").await.unwrap();
        assert_eq!(ids(&executors), ["b"]);
        state.announce(executor("a")).await.unwrap();
        assert_eq!(ids(&executors), ["a", "b"], "it was alive after all");

        state.expire(Instant::now() + Duration::from_secs(6));
        assert!(ids(&executors).is_empty());
        state.announce(executor("b")).await.unwrap();
        assert_eq!(ids(&executors), ["b"], "a member whose lease had ended may come back");

        state.announce(ExecutorMember { host: "b".to_owned(), ..executor("c") }).await.unwrap();
        assert_eq!(ids(&executors), ["c"], "a process at the same address takes the place of the one before it");
    }

    #[test]
    fn urls() {
        assert_eq!(executor("a").url(), "http://a:1");
        assert_eq!(ExecutorMember { host: "::1".to_owned(), ..executor("a") }.url(), "http://[::1]:1");
    }
}
