//! The jobs of coordinators: when one is gone for good, nobody cancels its tasks and removes its shuffle files any more, so the executor does.
//!
//! A coordinator is named in each task that it launches: `host:port/ID`, where the id is that of its process. What it has asked for is given up when it was gone for some
//! time without a break: one that only was out of reach carries on.

use std::collections::{HashMap, HashSet};
use std::io::ErrorKind;
use std::time::{Duration, Instant};

use dashmap::DashMap;
use nunatak_state::Membership;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tracing::warn;

use crate::tasks::Tasks;

/// How long a coordinator is gone before its jobs are given up.
const GRACE: Duration = Duration::from_secs(10);
/// How often it is looked for.
const LOOK: Duration = Duration::from_secs(1);
/// How long a coordinator may take to accept a connection.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);

/// `host:port` of a coordinator.
pub(crate) fn address_of(coordinator: &str) -> &str {
    coordinator.split_once('/').map_or(coordinator, |(address, _)| address)
}

/// The id of a coordinator's process.
fn process_of(coordinator: &str) -> &str {
    coordinator.split_once('/').map_or("", |(_, id)| id)
}

/// The jobs of which this executor has had tasks, with their coordinators.
#[derive(Default)]
pub(crate) struct Jobs {
    coordinators: DashMap<String, String>,
    /// By address: the coordinator there that was heard of last.
    newest: DashMap<String, String>,
}

impl Jobs {
    /// A coordinator has sent a task of a job.
    pub(crate) fn began(&self, job: &str, coordinator: &str) {
        self.coordinators.entry(job.to_owned()).or_insert_with(|| coordinator.to_owned());
        self.newest.insert(address_of(coordinator).to_owned(), coordinator.to_owned());
    }

    /// A job has ended.
    pub(crate) fn ended(&self, job: &str) {
        self.coordinators.remove(job);
    }

    /// Forgets the jobs of a coordinator, and gives their ids.
    fn take(&self, coordinator: &str) -> Vec<String> {
        let of_it = self.coordinators.iter().filter(|job| job.value() == coordinator).map(|job| job.key().clone());
        let jobs: Vec<String> = of_it.collect();
        jobs.iter().for_each(|job| self.ended(job));
        jobs
    }

    fn coordinators(&self) -> HashSet<String> {
        self.coordinators.iter().map(|job| job.value().clone()).collect()
    }

    /// Whether another process has taken the place of a coordinator.
    fn is_replaced(&self, coordinator: &str) -> bool {
        self.newest.get(address_of(coordinator)).is_some_and(|newest| newest.value() != coordinator)
    }
}

/// Gives up the jobs of coordinators that are gone. `membership` says which ones there are, where the cluster's state does.
pub(crate) async fn watch(tasks: Tasks, membership: Option<watch::Receiver<Membership>>) {
    let mut gone_since: HashMap<String, Instant> = HashMap::new();
    loop {
        tokio::time::sleep(LOOK).await;
        let coordinators = tasks.jobs().coordinators();
        gone_since.retain(|coordinator, _| coordinators.contains(coordinator));
        for coordinator in coordinators {
            if !is_gone(&coordinator, tasks.jobs(), membership.as_ref()).await {
                gone_since.remove(&coordinator);
                continue;
            }
            if gone_since.entry(coordinator.clone()).or_insert_with(Instant::now).elapsed() < GRACE {
                continue;
            }
            let jobs = tasks.jobs().take(&coordinator);
            warn!(coordinator, jobs = jobs.len(), "a coordinator is gone; what it has asked for is given up");
            jobs.iter().for_each(|job| tasks.end_job(job));
            tasks.forget_coordinator(&coordinator);
        }
    }
}

async fn is_gone(coordinator: &str, jobs: &Jobs, membership: Option<&watch::Receiver<Membership>>) -> bool {
    if let Some(membership) = membership {
        // While the cluster's state is away, it is what was last known: then nobody is taken for gone.
        return membership.borrow().coordinators.iter().all(|known| known.id != process_of(coordinator));
    }
    if jobs.is_replaced(coordinator) {
        return true;
    }
    let probe = tokio::time::timeout(PROBE_TIMEOUT, TcpStream::connect(address_of(coordinator))).await;
    matches!(probe, Ok(Err(error)) if error.kind() == ErrorKind::ConnectionRefused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_go_with_their_coordinator() {
        let jobs = Jobs::default();
        for (job, coordinator) in [("1", "h:1/a"), ("2", "h:1/a"), ("3", "h:2/b")] {
            jobs.began(job, coordinator);
        }
        assert_eq!(jobs.coordinators(), HashSet::from(["h:1/a".to_owned(), "h:2/b".to_owned()]));
        assert!(!jobs.is_replaced("h:1/a"));
        jobs.began("4", "h:1/c");
        assert!(jobs.is_replaced("h:1/a") && !jobs.is_replaced("h:1/c"));
        jobs.ended("2");
        assert_eq!(jobs.take("h:1/a"), ["1"]);
        assert!(jobs.take("h:1/a").is_empty());
        assert_eq!(jobs.coordinators().len(), 2);
    }

    #[tokio::test]
    async fn a_coordinator_is_gone_when_the_cluster_says_so_or_nobody_listens() {
        let jobs = Jobs::default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let coordinator = format!("{}/a", listener.local_addr().unwrap());
        jobs.began("1", &coordinator);
        assert!(!is_gone(&coordinator, &jobs, None).await);
        let (members, membership) = watch::channel(Membership::default());
        assert!(is_gone(&coordinator, &jobs, Some(&membership)).await);
        drop((listener, members));
        assert!(is_gone(&coordinator, &jobs, None).await);
    }
}
