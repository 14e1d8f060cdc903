//! What a table's metadata file itself knows: snapshots, their history, branches and tags, properties.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use arrow::array::{BooleanArray, MapBuilder, StringBuilder};
use nunatak_catalog::Table;
use nunatak_catalog::snapshot;
use nunatak_catalog::spec::{SnapshotRef, SnapshotRetention, TableMetadata};
use nunatak_core::Result;

use super::{Named, integers, longs, texts, times};

pub(super) fn snapshots(table: &Table) -> Vec<Named> {
    let mut snapshots: Vec<&SnapshotRef> = table.metadata.snapshots().collect();
    snapshots.sort_by_key(|snapshot| (snapshot.timestamp_ms(), snapshot.sequence_number()));
    let mut summaries = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
    for snapshot in &snapshots {
        let summary: BTreeMap<_, _> = snapshot.summary().additional_properties.iter().collect();
        for (key, value) in summary {
            summaries.keys().append_value(key);
            summaries.values().append_value(value);
        }
        // As many keys as values were appended: this cannot fail.
        let _ = summaries.append(true);
    }
    vec![
        ("committed_at", times(snapshots.iter().map(|snapshot| snapshot.timestamp_ms()))),
        ("snapshot_id", longs(snapshots.iter().map(|snapshot| snapshot.snapshot_id()))),
        ("parent_id", longs(snapshots.iter().map(|snapshot| snapshot.parent_snapshot_id()))),
        ("operation", texts(snapshots.iter().map(|snapshot| snapshot.summary().operation.as_str()))),
        ("manifest_list", texts(snapshots.iter().map(|snapshot| snapshot.manifest_list()))),
        ("summary", Arc::new(summaries.finish())),
    ]
}

pub(super) fn history(table: &Table) -> Vec<Named> {
    let metadata = &table.metadata;
    let entries = metadata.history();
    let ancestors = current_ancestors(metadata);
    let parent = |id: i64| metadata.snapshot_by_id(id).and_then(|snapshot| snapshot.parent_snapshot_id());
    let is_ancestor: BooleanArray = entries.iter().map(|entry| Some(ancestors.contains(&entry.snapshot_id))).collect();
    vec![
        ("made_current_at", times(entries.iter().map(|entry| entry.timestamp_ms()))),
        ("snapshot_id", longs(entries.iter().map(|entry| entry.snapshot_id))),
        ("parent_id", longs(entries.iter().map(|entry| parent(entry.snapshot_id)))),
        ("is_current_ancestor", Arc::new(is_ancestor)),
    ]
}

/// The metadata files that the table had and has, each with the snapshot that was current then.
pub(super) fn metadata_log_entries(table: &Table) -> Vec<Named> {
    let metadata = &table.metadata;
    let current = table.metadata_location.iter().map(|location| (metadata.last_updated_ms(), location.as_str()));
    let files: Vec<(i64, &str)> =
        metadata.metadata_log().iter().map(|entry| (entry.timestamp_ms, entry.metadata_file.as_str())).chain(current).collect();
    let snapshots: Vec<Option<&SnapshotRef>> = files.iter().map(|(time_ms, _)| current_at(metadata, *time_ms)).collect();
    vec![
        ("timestamp", times(files.iter().map(|(time_ms, _)| *time_ms))),
        ("file", texts(files.iter().map(|(_, file)| *file))),
        ("latest_snapshot_id", longs(snapshots.iter().map(|snapshot| snapshot.map(|snapshot| snapshot.snapshot_id())))),
        ("latest_schema_id", integers(snapshots.iter().map(|snapshot| snapshot.and_then(|snapshot| snapshot.schema_id())))),
        ("latest_sequence_number", longs(snapshots.iter().map(|snapshot| snapshot.map(|snapshot| snapshot.sequence_number())))),
    ]
}

fn current_at(metadata: &TableMetadata, time_ms: i64) -> Option<&SnapshotRef> {
    let entry = metadata.history().iter().rev().find(|entry| entry.timestamp_ms <= time_ms)?;
    metadata.snapshot_by_id(entry.snapshot_id)
}

/// The current snapshot and all it was made from.
fn current_ancestors(metadata: &TableMetadata) -> HashSet<i64> {
    let mut ancestors = HashSet::new();
    let mut next = metadata.current_snapshot_id();
    while let Some(id) = next {
        if !ancestors.insert(id) {
            break;
        }
        next = metadata.snapshot_by_id(id).and_then(|snapshot| snapshot.parent_snapshot_id());
    }
    ancestors
}

pub(super) fn refs(table: &Table) -> Result<Vec<Named>> {
    let refs = snapshot::refs(&table.metadata)?;
    let retention = |pick: fn(&SnapshotRetention) -> Option<i64>| longs(refs.values().map(move |reference| pick(&reference.retention)));
    let reference_age = retention(|retention| match retention {
        SnapshotRetention::Branch { max_ref_age_ms, .. } | SnapshotRetention::Tag { max_ref_age_ms } => *max_ref_age_ms,
    });
    let snapshot_age = retention(|retention| match retention {
        SnapshotRetention::Branch { max_snapshot_age_ms, .. } => *max_snapshot_age_ms,
        SnapshotRetention::Tag { .. } => None,
    });
    let snapshots_min = integers(refs.values().map(|reference| match &reference.retention {
        SnapshotRetention::Branch { min_snapshots_to_keep, .. } => *min_snapshots_to_keep,
        SnapshotRetention::Tag { .. } => None,
    }));
    Ok(vec![
        ("name", texts(refs.keys())),
        ("type", texts(refs.values().map(|reference| if reference.is_branch() { "BRANCH" } else { "TAG" }))),
        ("snapshot_id", longs(refs.values().map(|reference| reference.snapshot_id))),
        ("max_reference_age_in_ms", reference_age),
        ("min_snapshots_to_keep", snapshots_min),
        ("max_snapshot_age_in_ms", snapshot_age),
    ])
}

pub(super) fn properties(table: &Table) -> Vec<Named> {
    let properties: BTreeMap<_, _> = table.metadata.properties().iter().collect();
    vec![("key", texts(properties.keys())), ("value", texts(properties.values()))]
}
