//! Cluster state in the memory of one process.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use nunatak_core::Result;
use tokio::sync::watch;

use crate::roster::Roster;
use crate::{Announcements, ClusterState, Member, Membership, threads};

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
    roster: Roster,
    /// When each member was announced last, by id.
    renewed: BTreeMap<String, Instant>,
    /// Which coordinator leads, and the number of its term.
    leader: Option<(String, u64)>,
    terms: u64,
}

impl EmbeddedState {
    /// State whose leases last that long. Ends with the last reference to it.
    ///
    /// Errors: `GENERIC_INTERNAL_ERROR` if its threads cannot be started.
    pub fn start(lease: Duration) -> Result<Arc<Self>> {
        let state = Arc::new(Self { lease, members: Mutex::default(), membership: watch::Sender::default() });
        let weak = Arc::downgrade(&state);
        threads()?.spawn(async move {
            let pause = lease / LOOKS_PER_LEASE;
            loop {
                let before = Instant::now();
                tokio::time::sleep(pause).await;
                let Some(state) = weak.upgrade() else { return };
                let now = Instant::now();
                state.look(now, now.saturating_duration_since(before).saturating_sub(pause));
            }
        });
        Ok(state)
    }

    fn lock(&self) -> MutexGuard<'_, Members> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes out the members whose lease has ended. Of the time since the last look this process has stood still for `standstill`: nobody could be heard meanwhile,
    /// itself included, so that is not counted.
    fn look(&self, now: Instant, standstill: Duration) {
        self.change(|members| {
            for renewed in members.renewed.values_mut() {
                *renewed = (*renewed + standstill).min(now);
            }
            let has_ended = |(_, renewed): &(&String, &Instant)| now.saturating_duration_since(**renewed) > self.lease;
            let gone: Vec<String> = members.renewed.iter().filter(has_ended).map(|(id, _)| id.clone()).collect();
            for id in gone {
                members.take_out(&id, "its lease has ended");
            }
        });
    }

    /// Changes the members, and tells who listens if that made a difference.
    fn change(&self, change: impl FnOnce(&mut Members)) {
        let mut members = self.lock();
        change(&mut members);
        members.elect();
        let now = members.roster.membership();
        self.membership.send_if_modified(|known| {
            let differs = *known != now;
            if differs {
                *known = now;
            }
            differs
        });
    }
}

impl Members {
    fn take_out(&mut self, id: &str, why: &str) {
        self.renewed.remove(id);
        self.roster.executor_is_gone(id, why);
        self.roster.coordinator_is_gone(id);
    }

    /// Makes another coordinator the leader when the one that was is gone.
    fn elect(&mut self) {
        let leads = |leader: &(String, u64)| self.roster.coordinators().any(|id| id == leader.0);
        if !self.leader.as_ref().is_some_and(leads) {
            let next = self.roster.coordinators().next().map(str::to_owned);
            self.terms += u64::from(next.is_some());
            self.leader = next.map(|id| (id, self.terms));
        }
        self.roster.lead(self.leader.as_ref().map(|(id, _)| id.clone()));
    }
}

#[async_trait]
impl Announcements for EmbeddedState {
    async fn announce(&self, member: Member) -> Result<()> {
        self.change(|members| {
            members.renewed.insert(member.id().to_owned(), Instant::now());
            match member {
                Member::Executor(executor) => {
                    members.roster.executor(executor);
                    // That of a process that was started again is gone with it.
                    let Members { roster, renewed, .. } = members;
                    renewed.retain(|id, _| roster.executors().chain(roster.coordinators()).any(|member| member == id));
                }
                Member::Coordinator(coordinator) => members.roster.coordinator(coordinator),
            }
        });
        Ok(())
    }

    async fn leave(&self, id: &str) -> Result<()> {
        self.change(|members| members.take_out(id, "it has left"));
        Ok(())
    }
}

#[async_trait]
impl ClusterState for EmbeddedState {
    async fn remove(&self, id: &str) -> Result<()> {
        self.change(|members| members.take_out(id, "it was taken out"));
        Ok(())
    }

    fn membership(&self) -> watch::Receiver<Membership> {
        self.membership.subscribe()
    }

    fn leadership(&self, id: &str) -> Option<u64> {
        let members = self.lock();
        members.leader.as_ref().filter(|(leader, _)| leader == id).map(|(_, term)| *term)
    }
}

#[cfg(test)]
mod tests {
    use crate::ExecutorMember;

    use super::*;

    fn executor(id: &str) -> Member {
        Member::Executor(ExecutorMember { id: id.to_owned(), host: id.to_owned(), port: 1, slots: 2, memory_bytes: 3, draining: false })
    }

    fn ids(members: &watch::Receiver<Membership>) -> Vec<String> {
        members.borrow().executors.iter().map(|joined| joined.executor.id.clone()).collect()
    }

    #[tokio::test]
    async fn leases_end_and_are_renewed() {
        let state = EmbeddedState::start(Duration::from_secs(5)).unwrap();
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

        let in_6_seconds = Instant::now() + Duration::from_secs(6);
        state.look(in_6_seconds, Duration::from_secs(2));
        assert_eq!(ids(&members), ["a", "b"], "for two of these seconds nobody could be heard");
        state.look(in_6_seconds + Duration::from_secs(2), Duration::ZERO);
        assert!(ids(&members).is_empty());
        state.announce(executor("b")).await.unwrap();
        assert_eq!(ids(&members), ["b"], "a member whose lease had ended may come back");

        let Member::Executor(other) = executor("c") else { panic!("an executor") };
        state.announce(Member::Executor(ExecutorMember { host: "b".to_owned(), ..other })).await.unwrap();
        assert_eq!(ids(&members), ["c"], "a process at the same address takes the place of the one before it");
        assert_eq!(members.borrow().departures, 4, "a once, a and b when their leases ended, b once more");
    }
}
