//! What a table needs.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use nunatak_catalog::commit::small_manifests;
use nunatak_catalog::expiry::{Expiry, expired_snapshots};
use nunatak_catalog::properties::invalid;
use nunatak_catalog::spec::Snapshot;
use nunatak_catalog::{Table, snapshot};
use nunatak_core::Result;
use nunatak_engine::context::EngineContext;
use nunatak_engine::scan::IcebergTable;
use nunatak_engine::write::{Chosen, compactable};

use crate::statement::SMALL_BYTES;

/// The properties that say when a table needs something, and their defaults.
const SMALL_FILES: (&str, f64) = ("nunatak.maintenance.small-files", 20.0);
const DELETE_RATIO: (&str, f64) = ("nunatak.maintenance.delete-ratio", 0.1);
const MANIFESTS: (&str, f64) = ("nunatak.maintenance.manifests", 50.0);
const SNAPSHOTS: (&str, f64) = ("nunatak.maintenance.snapshots", 20.0);

/// A procedure that would do a table good.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Need {
    pub(super) procedure: &'static str,
    /// Why, for people.
    pub(super) reason: String,
    /// How much of it there is; less after the procedure has helped.
    pub(super) measure: f64,
}

impl Need {
    /// Whether the procedure writes data files again.
    pub(super) fn rewrites(&self) -> bool {
        self.procedure == OPTIMIZE
    }

    /// The need if there is as much as the table's property says.
    fn of(table: &Table, procedure: &'static str, property: (&str, f64), measure: f64, what: &str) -> Result<Option<Self>> {
        let least = threshold(table.metadata.properties(), property)?;
        let reason = || format!("{what}, {} is {least}", property.0);
        Ok((measure > 0.0 && measure >= least).then(|| Self { procedure, reason: reason(), measure }))
    }
}

const OPTIMIZE: &str = "optimize";

/// What a table needs on its main branch, the most urgent first.
///
/// Errors: `INVALID_TABLE_PROPERTY` and those of reading the table's metadata.
pub(super) async fn needs(table: &Table, engine: &EngineContext, now_ms: i64) -> Result<Vec<Need>> {
    let mut needs = Vec::new();
    if let Some(head) = table.head() {
        let deleted = share_deleted(head);
        let percent = (deleted * 100.0).round();
        needs.extend(Need::of(table, OPTIMIZE, DELETE_RATIO, deleted, &format!("{percent} % of the rows in data files are deleted"))?);
        if needs.is_empty() {
            let small = small_files(table, engine).await?;
            needs.extend(Need::of(table, OPTIMIZE, SMALL_FILES, small as f64, &format!("{small} data files can become fewer"))?);
        }
        let manifests = small_manifests(table, &snapshot::manifests(table, head, engine.scan().manifest_cache()).await?)?;
        needs.extend(Need::of(table, "optimize_manifests", MANIFESTS, manifests as f64, &format!("{manifests} manifests can become fewer"))?);
    }
    // Snapshots of a table whose files belong to someone else are not ours to expire.
    if table.check_owns_files().is_ok() {
        let old = expired_snapshots(&table.metadata, Expiry::default(), now_ms)?;
        needs.extend(Need::of(table, "expire_snapshots", SNAPSHOTS, old as f64, &format!("{old} snapshots are older than the table keeps them"))?);
    }
    Ok(needs)
}

/// The share of rows in a snapshot's data files that are deleted, as far as its summary says.
fn share_deleted(snapshot: &Snapshot) -> f64 {
    let total = |name: &str| snapshot.summary().additional_properties.get(name).and_then(|value| value.parse::<f64>().ok());
    match (total("total-position-deletes"), total("total-records")) {
        (Some(deleted), Some(rows)) if rows > 0.0 => deleted / rows,
        _ => 0.0,
    }
}

/// How many files `optimize` would write again only because they are small.
async fn small_files(table: &Table, engine: &EngineContext) -> Result<usize> {
    let at_head = IcebergTable::new(table.clone(), table.head().cloned(), Arc::clone(engine.scan()))?;
    let mut files = at_head.load_files().await?.clone();
    let current = table.metadata.default_partition_spec_id();
    let deletes = Arc::clone(&files.deletes);
    files.files.retain(|entry| entry.spec_id == current && deletes.of(entry).is_none());
    Ok(compactable(&at_head, files, Chosen::SmallerThan(SMALL_BYTES), u64::MAX, &HashSet::new()).files.len())
}

/// Checks the value of one of a table's properties, if it is one of these.
pub(super) fn check(properties: &HashMap<String, String>, name: &str) -> Result<()> {
    let known = [SMALL_FILES, DELETE_RATIO, MANIFESTS, SNAPSHOTS].into_iter().find(|(key, _)| *key == name);
    known.map_or(Ok(()), |property| threshold(properties, property).map(|_| ()))
}

fn threshold(properties: &HashMap<String, String>, (key, default): (&str, f64)) -> Result<f64> {
    let Some(value) = properties.get(key) else { return Ok(default) };
    let text = value.trim();
    if key == DELETE_RATIO.0 {
        let share = text.parse::<f64>().ok().filter(|share| (0.0..=1.0).contains(share));
        return share.ok_or_else(|| invalid(key, value, "a number from 0 to 1"));
    }
    text.parse::<u32>().map(f64::from).map_err(|_| invalid(key, value, &format!("a whole number from 0 to {}", u32::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_are_checked() {
        let checked = |name: &str, value: &str| check(&HashMap::from([(name.to_owned(), value.to_owned())]), name);
        for value in ["0", "0.25", "1", " 1e-2 "] {
            assert!(checked("nunatak.maintenance.delete-ratio", value).is_ok(), "{value}");
        }
        for value in ["-0.1", "1.5", "NaN", "inf", "10%"] {
            assert!(checked("nunatak.maintenance.delete-ratio", value).is_err(), "{value}");
        }
        assert!(checked("nunatak.maintenance.small-files", "5").is_ok());
        for value in ["-1", "1e300", "2.5", "4294967296"] {
            assert!(checked("nunatak.maintenance.snapshots", value).is_err(), "{value}");
        }
    }
}
