//! A bounded map from ids to values that are forgotten after a time.
//!
//! It is plain and synchronous, and takes the time as an argument, so that its owners and their tests decide what the time is. It does not lock:
//! [`lock`] is how owners share one.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use uuid::Uuid;

/// Expired entries are looked for at most once in this time, since looking means to walk over all of them.
const SWEEP_INTERVAL: Duration = Duration::from_secs(60);

/// What starts an entry's time anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// Each use.
    Use,
    /// Nothing.
    Never,
}

/// The map.
#[derive(Debug)]
pub struct Expiring<V> {
    entries: HashMap<Uuid, Entry<V>>,
    lifetime: Duration,
    renewal: Renewal,
    len_max: usize,
    swept: Option<Instant>,
}

#[derive(Debug)]
struct Entry<V> {
    value: V,
    since: Instant,
}

impl<V> Expiring<V> {
    /// An empty map of at most `len_max` entries, each of which lives for `lifetime`.
    pub fn new(lifetime: Duration, renewal: Renewal, len_max: usize) -> Self {
        Self { entries: HashMap::new(), lifetime, renewal, len_max, swept: None }
    }

    /// Adds an entry, and gives the entries that had to go for it: expired ones, and the oldest where the map is full.
    pub fn insert(&mut self, id: Uuid, value: V, now: Instant) -> Vec<V> {
        let mut gone = self.sweep(now);
        if self.entries.len() >= self.len_max
            && !self.entries.contains_key(&id)
            && let Some(oldest) = self.oldest()
        {
            gone.extend(self.entries.remove(&oldest).map(|entry| entry.value));
        }
        gone.extend(self.entries.insert(id, Entry { value, since: now }).map(|entry| entry.value));
        gone
    }

    /// The value of an id, if there still is one. This counts as a use.
    pub fn get(&mut self, id: Uuid, now: Instant) -> Option<&mut V> {
        let entry = self.entries.get_mut(&id)?;
        if now.saturating_duration_since(entry.since) >= self.lifetime {
            return None;
        }
        if self.renewal == Renewal::Use {
            entry.since = now;
        }
        Some(&mut entry.value)
    }

    /// Takes the value of an id out. An expired one is taken out and not given.
    pub fn remove(&mut self, id: Uuid, now: Instant) -> Option<V> {
        let entry = self.entries.remove(&id)?;
        (now.saturating_duration_since(entry.since) < self.lifetime).then_some(entry.value)
    }

    /// Takes expired entries out now, whenever that was done last.
    pub fn expire(&mut self, now: Instant) -> Vec<V> {
        self.swept = Some(now);
        let lifetime = self.lifetime;
        self.entries.extract_if(|_, entry| now.saturating_duration_since(entry.since) >= lifetime).map(|(_, entry)| entry.value).collect()
    }

    fn sweep(&mut self, now: Instant) -> Vec<V> {
        let due = self.swept.is_none_or(|swept| now.saturating_duration_since(swept) >= SWEEP_INTERVAL);
        if due { self.expire(now) } else { Vec::new() }
    }

    fn oldest(&self) -> Option<Uuid> {
        self.entries.iter().min_by_key(|(_, entry)| entry.since).map(|(id, _)| *id)
    }
}

/// Locks a mutex whose data is whole after every step, so that a panic elsewhere does not matter.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);

    fn id(number: u128) -> Uuid {
        Uuid::from_u128(number)
    }

    #[test]
    fn use_renews_only_where_it_should() {
        let start = Instant::now();
        for (renewal, alive) in [(Renewal::Use, true), (Renewal::Never, false)] {
            let mut map = Expiring::new(HOUR, renewal, 10);
            map.insert(id(1), "a", start);
            assert_eq!(map.get(id(1), start + HOUR / 2), Some(&mut "a"));
            assert_eq!(map.get(id(1), start + HOUR).is_some(), alive);
        }
    }

    #[test]
    fn expired_entries_are_neither_given_nor_kept() {
        let start = Instant::now();
        let mut map = Expiring::new(HOUR, Renewal::Never, 10);
        map.insert(id(1), "a", start);
        map.insert(id(2), "b", start);
        assert_eq!(map.remove(id(1), start + HOUR), None);
        assert_eq!(map.insert(id(3), "c", start + HOUR), ["b"]);
    }

    #[test]
    fn a_full_map_drops_its_oldest() {
        let start = Instant::now();
        let mut map = Expiring::new(HOUR, Renewal::Use, 2);
        map.insert(id(1), "a", start);
        map.insert(id(2), "b", start + Duration::from_secs(1));
        map.get(id(1), start + Duration::from_secs(2));
        assert_eq!(map.insert(id(3), "c", start + Duration::from_secs(3)), ["b"]);
        assert!(map.get(id(1), start + Duration::from_secs(3)).is_some());
    }
}
