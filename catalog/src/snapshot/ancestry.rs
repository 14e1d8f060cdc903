//! How snapshots descend from each other.

use crate::spec::{SnapshotRef, TableMetadata};
use crate::table::Table;

/// A snapshot and those it was made from, the youngest first, as far as the table still has them.
pub fn ancestors(metadata: &TableMetadata, head: Option<i64>) -> impl Iterator<Item = &SnapshotRef> {
    let find = |id: Option<i64>| id.and_then(|id| metadata.snapshot_by_id(id));
    // Damaged metadata may have snapshots that descend from each other.
    std::iter::successors(find(head), move |snapshot| find(snapshot.parent_snapshot_id())).take(metadata.snapshots().len())
}

/// What the head of a table's branch has behind `base`, the youngest first; `None` if it does not descend from `base`. A base of `None` is the table without snapshots.
pub(crate) fn since(table: &Table, base: Option<i64>) -> Option<Vec<&SnapshotRef>> {
    let head = table.head_id();
    let between: Vec<_> = ancestors(&table.metadata, head).take_while(|snapshot| Some(snapshot.snapshot_id()) != base).collect();
    let parent = between.last().map_or(head, |oldest| oldest.parent_snapshot_id());
    (parent == base).then_some(between)
}
