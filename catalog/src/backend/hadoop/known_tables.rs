//! Folders that were found to hold a table: each is looked into once, and not at every listing of its schema.

use std::collections::{HashMap, HashSet};

use parking_lot::Mutex;

/// By the folder around them. A folder that holds a table is one as long as it is there; a listing that does not show it any more makes it be forgotten.
#[derive(Default)]
pub(super) struct KnownTables(Mutex<HashMap<String, HashSet<String>>>);

impl KnownTables {
    /// Whether it is known that a table is in a folder.
    pub(super) fn has(&self, folder: &str) -> bool {
        let (around, name) = split(folder);
        self.0.lock().get(around).is_some_and(|names| names.contains(name))
    }

    /// A table is in a folder.
    pub(super) fn add(&self, folder: &str) {
        let (around, name) = split(folder);
        self.0.lock().entry(around.to_owned()).or_default().insert(name.to_owned());
    }

    /// There may be no table in a folder any more.
    pub(super) fn forget(&self, folder: &str) {
        let (around, name) = split(folder);
        if let Some(names) = self.0.lock().get_mut(around) {
            names.remove(name);
        }
    }

    /// Forgets all of them.
    pub(super) fn clear(&self) {
        self.0.lock().clear();
    }

    /// Forgets all in a folder but those that a listing of it shows.
    pub(super) fn keep(&self, around: &str, shown: &[String]) {
        let mut known = self.0.lock();
        let Some(names) = known.get_mut(around) else { return };
        let shown: HashSet<&str> = shown.iter().map(String::as_str).collect();
        names.retain(|name| shown.contains(name.as_str()));
        if names.is_empty() {
            known.remove(around);
        }
    }
}

/// The folder around a folder, and the folder's own name.
fn split(folder: &str) -> (&str, &str) {
    folder.rsplit_once('/').unwrap_or(("", folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_listing_does_not_show_is_forgotten() {
        let known = KnownTables::default();
        for folder in ["/w/s/a", "/w/s/b", "/w/t/a"] {
            known.add(folder);
        }
        assert!(known.has("/w/s/a") && !known.has("/w/s/c") && !known.has("/w/s"));
        known.keep("/w/s", &["b".to_owned(), "c".to_owned()]);
        assert_eq!([known.has("/w/s/a"), known.has("/w/s/b"), known.has("/w/t/a")], [false, true, true]);
        known.forget("/w/s/b");
        known.keep("/w/t", &[]);
        assert!(["/w/s/b", "/w/t/a"].into_iter().all(|folder| !known.has(folder)));
    }
}
