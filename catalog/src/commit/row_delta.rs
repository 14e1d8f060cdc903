//! Row delta: rows are added, and deleted where they are: by files of deletes beside the data files, or with the files that hold no others.
//!
//! What is changed was found in one snapshot. When another writer was faster, it may no longer be all that is to be changed, or no longer be there. So a
//! delta is committed on top of that snapshot, or of appends to it where the table allows it (isolation `snapshot`); else it is for the caller to run its
//! statement again.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use nunatak_core::Result;

use super::CommitError;
use super::attempts::changed;
use super::snapshot::{self, Appended, only_adds_columns, shape_changed};
use crate::backend::Catalog;
use crate::properties::invalid;
use crate::snapshot::{FileKey, since};
use crate::spec::{DataFile, Operation, Snapshot};
use crate::table::Table;

/// What a statement does to the rows of a table.
#[derive(Clone, Debug, Default)]
pub struct RowDelta {
    /// Data files to add, written for the table's current schema and its default partition spec.
    pub data: Vec<DataFile>,
    /// The sequence number of these data files, if all of their rows were in the table before; that of the commit without it.
    pub data_sequence_number: Option<i64>,
    /// Files of position deletes and deletion vectors to add, each with the partition spec of its data file.
    pub deletes: Vec<(i32, DataFile)>,
    /// Locations of data files that hold no row any more.
    pub removed_data: BTreeSet<String>,
    /// Files of deletes that the new ones stand for, or whose data files are removed.
    pub removed_deletes: BTreeSet<FileKey>,
}

impl RowDelta {
    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        self.data.is_empty() && self.deletes.is_empty() && self.removed_data.is_empty()
    }
}

/// What other writers may do to a table while rows of it are changed (Iceberg's `write.delete.isolation-level` and its like).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// Nothing: the outcome is as if the statements had run one after the other.
    Serializable,
    /// The same, but it is known that the statement would have done nothing to the rows that they have added up to this snapshot.
    SerializableSince(i64),
    /// They may add rows, which the statement does not see.
    Snapshot,
}

impl Isolation {
    /// What a table's property says; Iceberg's default is `serializable`.
    ///
    /// Errors: `INVALID_TABLE_PROPERTY`.
    pub fn from_property(properties: &HashMap<String, String>, name: &str) -> Result<Self> {
        match properties.get(name).map(|level| level.to_ascii_lowercase()).as_deref() {
            None | Some("serializable") => Ok(Self::Serializable),
            Some("snapshot") => Ok(Self::Snapshot),
            Some(other) => Err(invalid(name, other, "serializable or snapshot")),
        }
    }
}

/// Commits a delta that was made for `base`.
///
/// After `Conflict` the statement may be run again. After any error but `Unknown` the delta's files are in no snapshot and are the caller's to delete.
pub async fn row_delta(
    catalog: &dyn Catalog,
    base: &Table,
    delta: RowDelta,
    isolation: Isolation,
    summary: &BTreeMap<String, String>,
) -> Result<Appended, CommitError> {
    let brings_rows = !delta.data.is_empty();
    let operation = match (brings_rows, delta.deletes.is_empty() && delta.removed_data.is_empty()) {
        (false, _) => Operation::Delete,
        (true, true) => Operation::Append,
        (true, false) => Operation::Overwrite,
    };
    snapshot::commit(catalog, base, operation, delta, summary, |now| fits(base, now, brings_rows, isolation)).await
}

fn fits(base: &Table, now: &Table, brings_rows: bool, isolation: Isolation) -> Result<(), CommitError> {
    let conflict = |what| Err(CommitError::Conflict(changed(base, what)));
    if now.metadata.format_version() != base.metadata.format_version() {
        return conflict("it is of another format version");
    }
    if let Some(what) = shape_changed(base, now).filter(|_| brings_rows) {
        return conflict(what);
    }
    match since(now, base.head_id()) {
        Some(between) if between.is_empty() => Ok(()),
        Some(between) if between.iter().all(|snapshot| snapshot.summary().operation == Operation::Append) => match isolation {
            Isolation::Snapshot => Ok(()),
            Isolation::SerializableSince(id) if between.first().is_some_and(|head| head.snapshot_id() == id) => Ok(()),
            Isolation::Serializable | Isolation::SerializableSince(_) => conflict("rows were added to it"),
        },
        _ => conflict("rows of it were changed"),
    }
}

/// Commits data files that hold the rows of those that `delta` removes: nothing changes in the table but its files.
///
/// What others add stays beside it, and what they delete by value applies to the new files, unless these lie in partitions of another spec (`repartitions`). `Conflict`
/// when they have deleted rows by their places in the old files, or in the old partitions, or removed one of the files.
///
/// After any error but `Unknown` the new files are in no snapshot and are the caller's to delete.
pub async fn rewrite_files(
    catalog: &dyn Catalog,
    base: &Table,
    delta: RowDelta,
    repartitions: bool,
    summary: &BTreeMap<String, String>,
) -> Result<Appended, CommitError> {
    let fits = |now: &Table| {
        let conflict = |what| Err(CommitError::Conflict(changed(base, what)));
        if now.metadata.format_version() != base.metadata.format_version() {
            return conflict("it is of another format version");
        }
        if !only_adds_columns(base.metadata.current_schema(), now.metadata.current_schema()) {
            return conflict("its columns are other ones");
        }
        match since(now, base.head_id()) {
            Some(between) if between.iter().all(|snapshot| keeps_rows(snapshot, repartitions)) => Ok(()),
            _ => conflict("rows of its files were deleted"),
        }
    };
    snapshot::commit(catalog, base, Operation::Replace, delta, summary, fits).await
}

/// Whether a snapshot deletes no rows by their places in files, and none by value within `partitions`.
fn keeps_rows(snapshot: &Snapshot, partitions: bool) -> bool {
    let summary = &snapshot.summary().additional_properties;
    let count = |key: &str| summary.get(key).and_then(|count| count.parse::<u64>().ok()).unwrap_or_default();
    let by_value = if partitions { 0 } else { count("added-equality-delete-files") };
    snapshot.summary().operation == Operation::Append || count("added-delete-files") == by_value
}
