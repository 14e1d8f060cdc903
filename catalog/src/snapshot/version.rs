//! Which snapshot a version means: time travel, branches and tags.

use std::collections::BTreeMap;

use nunatak_core::{Code, Error, Result};

use crate::spec::{FormatVersion, SnapshotRef, SnapshotReference, TableMetadata};

/// How many ids or names an error names.
const NAMED_MAX: usize = 10;

/// A version of a table, as a query asks for it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Version {
    /// The head of the main branch.
    Current,
    /// The snapshot of this id (`FOR VERSION AS OF 123`).
    Id(i64),
    /// The snapshot that a branch or tag points to (`FOR VERSION AS OF 'name'`).
    Ref(String),
    /// The snapshot that was current at this time, in milliseconds since 1970 UTC (`FOR TIMESTAMP AS OF`).
    AsOfMillis(i64),
}

/// The snapshot that a version means. `None` only for [`Version::Current`] of a table without rows ever written.
pub fn resolve(metadata: &TableMetadata, version: &Version) -> Result<Option<SnapshotRef>> {
    match version {
        Version::Current => Ok(metadata.current_snapshot().cloned()),
        Version::Id(id) => by_id(metadata, *id).map(Some),
        Version::Ref(name) => by_ref(metadata, name).map(Some),
        Version::AsOfMillis(time_ms) => as_of(metadata, *time_ms).map(Some),
    }
}

/// The branches and tags of a table.
pub fn refs(metadata: &TableMetadata) -> Result<BTreeMap<String, SnapshotReference>> {
    if metadata.snapshots().len() == 0 {
        return Ok(BTreeMap::new());
    }
    // The crate keeps its map of references to itself, but writes it into the metadata file: of version 2, not of version 1.
    let unreadable = |error: serde_json::Error| Error::internal("cannot read back the references of a table").with_source(error);
    let mut json = match metadata.format_version() {
        FormatVersion::V1 => serde_json::to_value(upgraded(metadata.clone())?),
        FormatVersion::V2 | FormatVersion::V3 => serde_json::to_value(metadata),
    }
    .map_err(unreadable)?;
    json.get_mut("refs").map_or_else(|| Ok(BTreeMap::new()), |refs| serde_json::from_value(refs.take()).map_err(unreadable))
}

fn upgraded(metadata: TableMetadata) -> Result<TableMetadata> {
    let upgraded = metadata.into_builder(None).upgrade_format_version(FormatVersion::V2).and_then(|builder| builder.build());
    upgraded.map(|built| built.metadata).map_err(|error| Error::internal("cannot read back the references of a table").with_source(error))
}

/// A branch at a snapshot, with no retention of its own.
pub(crate) fn branch_at(snapshot_id: i64) -> SnapshotReference {
    SnapshotReference::new(snapshot_id, crate::spec::SnapshotRetention::branch(None, None, None))
}

fn by_id(metadata: &TableMetadata, id: i64) -> Result<SnapshotRef> {
    metadata.snapshot_by_id(id).cloned().ok_or_else(|| unknown(format!("snapshot {id} does not exist"), newest(metadata)))
}

fn by_ref(metadata: &TableMetadata, name: &str) -> Result<SnapshotRef> {
    if let Some(snapshot) = metadata.snapshot_for_ref(name) {
        return Ok(snapshot.clone());
    }
    let names: Vec<String> = refs(metadata)?.into_keys().take(NAMED_MAX).collect();
    let hint = if names.is_empty() { String::from("the table has none") } else { format!("the table has: {}", names.join(", ")) };
    Err(unknown(format!("branch or tag '{name}' does not exist"), hint))
}

/// By the history of the main branch and not by the snapshots' own times, as Trino does: after a rollback they differ.
fn as_of(metadata: &TableMetadata, time_ms: i64) -> Result<SnapshotRef> {
    let history = metadata.history();
    let found = history.iter().filter(|entry| entry.timestamp_ms() <= time_ms).max_by_key(|entry| entry.timestamp_ms());
    if let Some(entry) = found {
        return by_id(metadata, entry.snapshot_id);
    }
    let hint = match history.iter().map(|entry| entry.timestamp_ms()).min() {
        Some(first_ms) => format!("its history begins at {}", shown(first_ms)),
        None => String::from("it has no snapshots"),
    };
    Err(unknown(format!("the table has no version at or before {}", shown(time_ms)), hint))
}

fn newest(metadata: &TableMetadata) -> String {
    let mut snapshots: Vec<_> = metadata.snapshots().map(|snapshot| (snapshot.timestamp_ms(), snapshot.snapshot_id())).collect();
    snapshots.sort_unstable_by(|a, b| b.cmp(a));
    if snapshots.is_empty() {
        return String::from("the table has no snapshots");
    }
    let ids: Vec<String> = snapshots.iter().take(NAMED_MAX).map(|(_, id)| id.to_string()).collect();
    let more = snapshots.len().saturating_sub(NAMED_MAX);
    let rest = if more == 0 { String::new() } else { format!(" and {more} older ones") };
    format!("the table has: {}{rest}", ids.join(", "))
}

fn unknown(message: String, hint: String) -> Error {
    Error::new(Code::IcebergInvalidSnapshotId, message).with_hint(hint)
}

fn shown(time_ms: i64) -> String {
    match chrono::DateTime::from_timestamp_millis(time_ms) {
        Some(time) => time.format("%Y-%m-%d %H:%M:%S%.3f UTC").to_string(),
        None => format!("{time_ms} ms"),
    }
}
