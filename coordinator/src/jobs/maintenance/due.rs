//! Which tables are loaded in a round: those that are looked after, and of the others only what may have changed, so many at a time that a catalog of any size is bearable.

use std::collections::HashMap;
use std::time::Duration;

use nunatak_catalog::TableName;

/// How many tables of a catalog that are not known to be looked after are loaded in a round, to see whether they are.
const LOADS_MAX: usize = 1_000;

/// A table that needed nothing is looked at again after so long even if nobody has changed it: its snapshots grow old.
const LOOK_AGAIN: Duration = Duration::from_secs(60 * 60);

/// What a table was when it was loaded last.
#[derive(Clone, Debug)]
pub(super) struct Known {
    /// Where its metadata lay.
    pub(super) location: Option<String>,
    /// Whether it is looked after.
    pub(super) is_kept: bool,
    /// When it was found to need nothing with that metadata.
    pub(super) settled_ms: Option<i64>,
    /// When that was.
    pub(super) loaded_ms: i64,
}

impl Known {
    /// Since when it needs nothing, if that still holds where its metadata lies at `location`.
    pub(super) fn settled_since(&self, location: Option<&str>, now_ms: i64) -> Option<i64> {
        let is_young = |settled_ms: &i64| u128::try_from(now_ms.saturating_sub(*settled_ms)).is_ok_and(|age| age < LOOK_AGAIN.as_millis());
        self.settled_ms.filter(|settled_ms| self.location.as_deref() == location && is_young(settled_ms))
    }

    /// Whether there is nothing to be seen in a table whose metadata lies at `location`.
    fn is_as_it_was(&self, location: &str, now_ms: i64) -> bool {
        self.location.as_deref() == Some(location) && (!self.is_kept || self.settled_since(Some(location), now_ms).is_some())
    }
}

/// The tables of a catalog that are to be loaded now, of those that it lists; with them stands where their metadata lies, if the list tells that.
pub(super) fn due(listed: &[(TableName, Option<String>)], known: &HashMap<TableName, Known>, now_ms: i64) -> Vec<TableName> {
    let (mut due, mut others) = (Vec::new(), Vec::new());
    for (name, location) in listed {
        match (known.get(name), location) {
            (Some(seen), Some(location)) if seen.is_as_it_was(location, now_ms) => {}
            (Some(seen), _) if seen.is_kept => due.push(name.clone()),
            (seen, _) => others.push((seen.map(|seen| seen.loaded_ms), name)),
        }
    }
    // Those first that were never seen, then those that were not for longest.
    others.sort_unstable();
    due.extend(others.into_iter().take(LOADS_MAX).map(|(_, name)| name.clone()));
    due
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(number: usize) -> TableName {
        TableName::new("s", format!("t{number:05}"))
    }

    fn seen(location: Option<&str>, is_kept: bool, settled_ms: Option<i64>, loaded_ms: i64) -> Known {
        Known { location: location.map(str::to_owned), is_kept, settled_ms, loaded_ms }
    }

    #[test]
    fn what_the_list_shows_to_be_unchanged_is_not_loaded() {
        let listed: Vec<_> = (0..4).map(|number| (table(number), Some("a".to_owned()))).collect();
        assert_eq!(due(&listed, &HashMap::new(), 0).len(), 4, "nothing is known yet");
        let hour = 60 * 60 * 1000;
        let mut known = HashMap::from([
            (table(0), seen(Some("a"), false, None, 0)),
            (table(1), seen(Some("a"), true, Some(0), 0)),
            (table(2), seen(Some("before"), false, None, 0)),
            (table(3), seen(Some("a"), true, None, 0)),
        ]);
        assert_eq!(due(&listed, &known, hour - 1), [table(3), table(2)], "one needs something still, one has changed");
        assert_eq!(due(&listed, &known, hour), [table(1), table(3), table(2)], "and one has grown old");
        known.insert(table(2), seen(Some("a"), false, None, 0));
        known.insert(table(3), seen(Some("a"), true, Some(hour), 0));
        known.insert(table(1), seen(Some("a"), true, Some(hour), 0));
        assert!(due(&listed, &known, hour).is_empty(), "no metadata is read in such a round");
    }

    #[test]
    fn where_the_list_tells_nothing_all_have_their_turn() {
        let listed: Vec<_> = (0..2_500).map(|number| (table(number), None)).collect();
        let mut known = HashMap::from([(table(2_400), seen(Some("a"), true, None, 0))]);
        let mut loads = Vec::new();
        for round in 0..3 {
            let due = due(&listed, &known, round);
            assert_eq!(due[0], table(2_400), "one that is looked after is, each time");
            loads.push(due.len());
            for name in &due[1..] {
                known.insert(name.clone(), seen(Some("a"), false, None, round));
            }
        }
        assert_eq!(loads, [1_001; 3]);
        assert_eq!(known.len(), 2_500);
    }
}
