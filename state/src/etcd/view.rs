//! What one process knows of the cluster: the keys as etcd has them, and the members that follow from them. No time passes here, and nothing is sent.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tracing::warn;

use super::{COORDINATORS, EXECUTORS, LEADER};
use crate::roster::Roster;
use crate::{CoordinatorMember, ExecutorMember, Membership};

/// A member that was taken out comes back after so many leases if its key is still there: somebody renews it.
const LEASES_TO_COME_BACK: u32 = 2;

/// A key with its value.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    /// The revision in which it was made.
    pub(super) created: i64,
    content: Content,
}

#[derive(Clone, Debug, PartialEq)]
enum Content {
    Executor(ExecutorMember),
    Coordinator(CoordinatorMember),
    Leader(String),
}

impl Entry {
    /// Reads the value of `key`, which is without the prefix; `None` for what is none of ours or cannot be read.
    pub(super) fn read(key: &str, created: i64, value: &[u8]) -> Option<Self> {
        let content = if key.starts_with(EXECUTORS) {
            serde_json::from_slice(value).map(Content::Executor)
        } else if key.starts_with(COORDINATORS) {
            serde_json::from_slice(value).map(Content::Coordinator)
        } else if key == LEADER {
            Ok(Content::Leader(String::from_utf8_lossy(value).into_owned()))
        } else {
            return None;
        };
        match content {
            Ok(content) => Some(Self { created, content }),
            Err(error) => {
                warn!(key, %error, "the cluster's state has a member that cannot be read");
                None
            }
        }
    }
}

/// The keys, and the members that they mean.
#[derive(Debug)]
pub(super) struct View {
    lease: Duration,
    roster: Roster,
    /// By key, without the prefix.
    entries: BTreeMap<String, Entry>,
    /// Executors that were seen to be gone although their keys are there: by id, with the revision of the key, and since when.
    taken_out: BTreeMap<String, (i64, Instant)>,
    /// Keys that were not there any more when etcd came back, and since when. The members have some time to put them there again.
    absent: BTreeMap<String, Instant>,
}

impl View {
    pub(super) fn new(lease: Duration) -> Self {
        Self { lease, roster: Roster::default(), entries: BTreeMap::new(), taken_out: BTreeMap::new(), absent: BTreeMap::new() }
    }

    /// The members at this moment.
    pub(super) fn membership(&self) -> Membership {
        self.roster.membership()
    }

    /// All keys that there are: at the start, or after some changes of them were missed.
    pub(super) fn listed(&mut self, entries: BTreeMap<String, Entry>, now: Instant) {
        for key in self.entries.keys().filter(|key| !entries.contains_key(*key)) {
            self.absent.entry(key.clone()).or_insert(now);
        }
        self.entries = entries;
        self.resumed(now);
        self.settle(now);
    }

    /// Changes are seen again after a while in which they were not. That a key was there meanwhile tells nothing.
    pub(super) fn resumed(&mut self, now: Instant) {
        self.taken_out.values_mut().for_each(|(_, since)| *since = now);
    }

    /// A key was made, or has another value.
    pub(super) fn put(&mut self, key: String, entry: Entry, now: Instant) {
        self.entries.insert(key, entry);
        self.settle(now);
    }

    /// A key is gone: its lease has ended.
    pub(super) fn deleted(&mut self, key: &str, now: Instant) {
        self.entries.remove(key);
        self.absent.remove(key);
        self.settle(now);
    }

    /// An executor was seen to be gone.
    pub(super) fn take_out(&mut self, id: &str, now: Instant) {
        let key = format!("{EXECUTORS}{id}");
        self.absent.remove(&key);
        if let Some(entry) = self.entries.get(&key) {
            self.taken_out.entry(id.to_owned()).or_insert((entry.created, now));
        }
        self.roster.executor_is_gone(id, "it was taken out");
    }

    /// Some time has passed in which changes were seen as they came.
    pub(super) fn look(&mut self, now: Instant) {
        let long = self.lease * LEASES_TO_COME_BACK;
        self.taken_out.retain(|_, (_, since)| now.saturating_duration_since(*since) <= long);
        self.settle(now);
    }

    /// Makes the members follow the keys.
    fn settle(&mut self, now: Instant) {
        let Self { lease, roster, entries, taken_out, absent } = self;
        absent.retain(|key, since| !entries.contains_key(key) && now.saturating_duration_since(*since) <= *lease);
        // Who was made anew has said so.
        taken_out.retain(|id, (created, _)| entries.get(&format!("{EXECUTORS}{id}")).is_some_and(|entry| entry.created == *created));

        let mut at_address: BTreeMap<String, (i64, &ExecutorMember)> = BTreeMap::new();
        let mut coordinators: BTreeMap<&str, &CoordinatorMember> = BTreeMap::new();
        let mut leader = None;
        for Entry { created, content } in entries.values() {
            match content {
                // A process that was started again: the key of the one before it is still there.
                Content::Executor(executor) => {
                    let newest = at_address.entry(executor.address()).or_insert((*created, executor));
                    if newest.0 < *created {
                        *newest = (*created, executor);
                    }
                }
                Content::Coordinator(coordinator) => {
                    coordinators.insert(&coordinator.id, coordinator);
                }
                Content::Leader(id) => leader = Some(id.clone()),
            }
        }
        let executors: BTreeMap<&str, &ExecutorMember> =
            at_address.into_values().map(|(_, executor)| (executor.id.as_str(), executor)).filter(|(id, _)| !taken_out.contains_key(*id)).collect();

        let is_absent = |kind: &str, id: &&str| absent.contains_key(&format!("{kind}{id}"));
        let gone = roster.executors().filter(|id| !executors.contains_key(*id) && !is_absent(EXECUTORS, id));
        let gone: Vec<String> = gone.map(str::to_owned).collect();
        gone.iter().for_each(|id| roster.executor_is_gone(id, "its lease has ended"));
        executors.into_values().for_each(|executor| roster.executor(executor.clone()));

        let gone = roster.coordinators().filter(|id| !coordinators.contains_key(*id) && !is_absent(COORDINATORS, id));
        let gone: Vec<String> = gone.map(str::to_owned).collect();
        gone.iter().for_each(|id| roster.coordinator_is_gone(id));
        coordinators.into_values().for_each(|coordinator| roster.coordinator(coordinator.clone()));
        roster.lead(leader);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(10);

    fn entry(id: &str, port: u16, created: i64) -> (String, Entry) {
        let executor = ExecutorMember { id: id.into(), host: "h".into(), port, slots: 1, memory_bytes: 1, draining: false };
        let (key, value) = (format!("{EXECUTORS}{id}"), serde_json::to_vec(&executor).unwrap());
        let entry = Entry::read(&key, created, &value).unwrap();
        (key, entry)
    }

    fn ids(view: &View) -> Vec<String> {
        view.membership().executors.into_iter().map(|joined| joined.executor.id).collect()
    }

    #[test]
    fn nobody_is_gone_because_etcd_was_away() {
        let start = Instant::now();
        let mut view = View::new(LEASE);
        view.listed([entry("a", 1, 1), entry("b", 2, 2)].into(), start);
        assert_eq!(ids(&view), ["a", "b"]);
        // It comes back, and has forgotten everything.
        view.listed(BTreeMap::new(), start + LEASE);
        assert_eq!(ids(&view), ["a", "b"]);
        let (key, made_anew) = entry("b", 2, 9);
        view.put(key, made_anew, start + LEASE);
        view.look(start + LEASE * 3);
        assert_eq!(ids(&view), ["b"]);
        assert_eq!(view.membership().executors[0].number, 2, "it was there all the time");
    }

    #[test]
    fn who_was_taken_out_comes_back_only_if_its_lease_goes_on() {
        let start = Instant::now();
        let mut view = View::new(LEASE);
        view.listed([entry("a", 1, 1), entry("b", 2, 2)].into(), start);
        view.take_out("a", start);
        view.take_out("b", start);
        view.look(start + LEASE);
        assert!(ids(&view).is_empty());
        view.deleted("executors/b", start + LEASE);
        view.look(start + LEASE * 3);
        assert_eq!(ids(&view), ["a"]);
        assert_eq!((view.membership().executors[0].number, view.membership().departures), (3, 2));

        // That etcd was away meanwhile proves nothing.
        view.take_out("a", start + LEASE * 3);
        view.resumed(start + LEASE * 9);
        view.look(start + LEASE * 10);
        assert!(ids(&view).is_empty());
        let (key, made_anew) = entry("a", 1, 7);
        view.put(key, made_anew, start + LEASE * 10);
        assert_eq!(ids(&view), ["a"], "it has made itself known anew");
    }

    #[test]
    fn the_newest_process_at_an_address_counts() {
        let mut view = View::new(LEASE);
        view.listed([entry("z", 1, 1), entry("a", 1, 5)].into(), Instant::now());
        assert_eq!(ids(&view), ["a"]);
        let (key, restarted) = entry("m", 1, 6);
        view.put(key, restarted, Instant::now());
        assert_eq!(ids(&view), ["m"]);
        assert_eq!(view.membership().departures, 1);
    }

    #[test]
    fn what_others_have_written_is_left_alone() {
        assert_eq!(Entry::read("queries/1", 1, b"x"), None);
        assert_eq!(Entry::read("executors/a", 1, b"x"), None);
    }
}
