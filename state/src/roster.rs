//! Who is there, as one process knows it. Time and networks are the business of those who keep it.

use std::collections::BTreeMap;

use tracing::{info, warn};

use crate::{CoordinatorMember, ExecutorMember, Joined, Membership};

/// The members, and how many executors have joined so far.
#[derive(Debug, Default)]
pub(crate) struct Roster {
    /// By id.
    executors: BTreeMap<String, Joined>,
    /// By id.
    coordinators: BTreeMap<String, CoordinatorMember>,
    leader: Option<String>,
    joins: u64,
}

impl Roster {
    /// An executor is there. One that is new at its address takes the place of the one before it: that process was started again.
    pub(crate) fn executor(&mut self, executor: ExecutorMember) {
        if let Some(known) = self.executors.get_mut(&executor.id) {
            if executor.draining && !known.executor.draining {
                info!(%executor, "executor is draining");
            }
            known.executor = executor;
            return;
        }
        self.executors.retain(|_, known| (&known.executor.host, known.executor.port) != (&executor.host, executor.port));
        info!(%executor, slots = executor.slots, "executor has joined");
        self.joins += 1;
        self.executors.insert(executor.id.clone(), Joined { number: self.joins, executor });
    }

    /// An executor is gone, for that reason.
    pub(crate) fn executor_is_gone(&mut self, id: &str, why: &str) {
        if let Some(gone) = self.executors.remove(id) {
            warn!(executor = %gone.executor, "executor is gone: {why}");
        }
    }

    /// The executors' ids.
    pub(crate) fn executors(&self) -> impl Iterator<Item = &str> {
        self.executors.keys().map(String::as_str)
    }

    /// A coordinator is there.
    pub(crate) fn coordinator(&mut self, coordinator: CoordinatorMember) {
        let text = coordinator.to_string();
        if self.coordinators.insert(coordinator.id.clone(), coordinator).is_none() {
            info!(coordinator = text, "coordinator has joined");
        }
    }

    /// A coordinator is gone.
    pub(crate) fn coordinator_is_gone(&mut self, id: &str) {
        if let Some(gone) = self.coordinators.remove(id) {
            warn!(coordinator = %gone, "coordinator is gone");
        }
    }

    /// The coordinators' ids.
    pub(crate) fn coordinators(&self) -> impl Iterator<Item = &str> {
        self.coordinators.keys().map(String::as_str)
    }

    /// Who leads.
    pub(crate) fn lead(&mut self, id: Option<String>) {
        if self.leader != id {
            info!(coordinator = id.as_deref().unwrap_or("none"), "the leader has changed");
            self.leader = id;
        }
    }

    /// The members at this moment.
    pub(crate) fn membership(&self) -> Membership {
        Membership {
            executors: self.executors.values().cloned().collect(),
            departures: self.joins - self.executors.len() as u64,
            coordinators: self.coordinators.values().cloned().collect(),
            leader: self.leader.clone().filter(|leader| self.coordinators.contains_key(leader)),
        }
    }
}
