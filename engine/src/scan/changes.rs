//! What commits have changed: rows inserted and rows deleted, snapshot by snapshot.
//!
//! Rows of files that a snapshot added were inserted; rows of files that it removed were deleted; and where it deletes rows of files that stay, those are
//! the rows that were there before and are no longer there, by file and position. Snapshots that only rewrite files change nothing.

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::common::{Column, JoinType, ScalarValue, TableReference};
use datafusion::datasource::provider_as_source;
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, lit};
use nunatak_catalog::Table;
use nunatak_catalog::snapshot;
use nunatak_catalog::spec::{DataContentType, ManifestStatus, Operation, SchemaRef, SnapshotRef};
use nunatak_core::{Code, Error, Result};

use super::hidden::HiddenColumn;
use super::plan::{ScanShape, files_of_scan};
use super::provider::{IcebergTable, ScanContext};
use crate::error::from_datafusion;

/// The columns behind those of the table, by Trino's names.
const CHANGE_TYPE: &str = "_change_type";
const CHANGE_VERSION_ID: &str = "_change_version_id";
const CHANGE_TIMESTAMP: &str = "_change_timestamp";
const CHANGE_ORDINAL: &str = "_change_ordinal";

/// The changes of all snapshots behind `from` up to `to`, which must descend from it. Rows have the columns of the table at `to`, and four that say what
/// happened: `insert` or `delete`, the snapshot's id, its time, and its number among these.
///
/// Errors: `INVALID_ARGUMENTS` if `to` does not descend from `from`.
pub async fn table_changes(table: &Table, from: &SnapshotRef, to: &SnapshotRef, context: &Arc<ScanContext>) -> Result<LogicalPlan> {
    let schema = Arc::clone(ScanShape::new(table.clone(), Some(Arc::clone(to)))?.iceberg_schema());
    let changes = Changes { table, schema, context };
    let mut parts = Vec::new();
    let changing = range(table, from, to)?.into_iter().filter(|(_, after)| after.summary().operation != Operation::Replace);
    for (ordinal, (before, after)) in (0..).zip(changing) {
        parts.extend(changes.of_snapshot(ordinal, &before, &after).await?);
    }
    changes.all(parts, to)
}

/// The snapshots behind `from` up to `to`, each with its parent, the oldest first.
fn range(table: &Table, from: &SnapshotRef, to: &SnapshotRef) -> Result<Vec<(SnapshotRef, SnapshotRef)>> {
    let chain: Vec<&SnapshotRef> = snapshot::ancestors(&table.metadata, Some(to.snapshot_id())).collect();
    let Some(oldest) = chain.iter().position(|snapshot| snapshot.snapshot_id() == from.snapshot_id()) else {
        let (from, to) = (from.snapshot_id(), to.snapshot_id());
        return Err(Error::new(Code::InvalidArguments, format!("snapshot {to} of table '{}' does not descend from snapshot {from}", table.name)));
    };
    Ok(chain[..=oldest].windows(2).rev().map(|pair| (Arc::clone(pair[1]), Arc::clone(pair[0]))).collect())
}

struct Changes<'a> {
    table: &'a Table,
    schema: SchemaRef,
    context: &'a Arc<ScanContext>,
}

impl Changes<'_> {
    async fn of_snapshot(&self, ordinal: i32, before: &SnapshotRef, after: &SnapshotRef) -> Result<Vec<LogicalPlan>> {
        let id = after.snapshot_id();
        let manifests = snapshot::manifests(self.table, after, self.context.manifest_cache()).await?;
        let written = manifests.iter().filter(|manifest| manifest.added_snapshot_id == id).cloned().collect();
        let (mut added, mut removed, mut deletes_rows) = (HashSet::new(), HashSet::new(), false);
        for (status, entry) in snapshot::entries(self.table, written).await?.into_iter().filter(|(_, entry)| entry.snapshot_id == id) {
            match (entry.file.content_type(), status) {
                (_, ManifestStatus::Existing) => {}
                (DataContentType::Data, ManifestStatus::Added) => drop(added.insert(entry.file.file_path().to_owned())),
                (DataContentType::Data, ManifestStatus::Deleted) => drop(removed.insert(entry.file.file_path().to_owned())),
                _ => deletes_rows = true,
            }
        }
        let mut parts = Vec::new();
        let part =
            |plan: LogicalPlanBuilder, relation: &str, kind: &str| self.labelled(plan, relation, kind, ordinal, after).map_err(from_datafusion);
        if !added.is_empty() {
            parts.push(part(self.scan("after", after, added)?, "after", "insert")?);
        }
        if !removed.is_empty() {
            parts.push(part(self.scan("before", before, removed)?, "before", "delete")?);
        }
        if deletes_rows {
            let touched = self.touched(before, after).await?;
            if !touched.is_empty() {
                let (there, left) = (self.scan("before", before, touched.clone())?, self.scan("after", after, touched)?);
                let gone = left.build().and_then(|left| {
                    let place =
                        |relation: &str| [HiddenColumn::Path, HiddenColumn::Position].map(|column| qualified(relation, column.name())).to_vec();
                    there.join(left, JoinType::LeftAnti, (place("before"), place("after")), None)
                });
                parts.push(part(gone.map_err(from_datafusion)?, "before", "delete")?);
            }
        }
        Ok(parts)
    }

    /// The data files of both snapshots of which the later one deletes other rows than the earlier one.
    async fn touched(&self, before: &SnapshotRef, after: &SnapshotRef) -> Result<HashSet<String>> {
        let files = async |snapshot: &SnapshotRef| {
            let shape = ScanShape::new(self.table.clone(), Some(Arc::clone(snapshot)))?;
            files_of_scan(&shape, self.context.manifest_cache(), Vec::new()).await
        };
        let (before, after) = (files(before).await?, files(after).await?);
        let there: HashSet<&str> = before.files.iter().map(|entry| entry.file.file_path()).collect();
        let is_touched = |entry: &&Arc<snapshot::FileEntry>| {
            there.contains(entry.file.file_path()) && before.deletes.of(entry.as_ref()) != after.deletes.of(entry.as_ref())
        };
        Ok(after.files.iter().filter(is_touched).map(|entry| entry.file.file_path().to_owned()).collect())
    }

    /// The rows of some files as a snapshot has them.
    fn scan(&self, relation: &str, snapshot: &SnapshotRef, files: HashSet<String>) -> Result<LogicalPlanBuilder> {
        let shape = ScanShape::with_schema(self.table.clone(), Some(Arc::clone(snapshot)), Arc::clone(&self.schema))?;
        let table = IcebergTable::of_shape(shape, Arc::clone(self.context)).with_hidden_columns().with_only(files);
        for column in [HiddenColumn::Path, HiddenColumn::Position] {
            if !table.hidden_columns().contains(&column) {
                return Err(Error::not_supported(format!("changes of a table with a column '{}' are not supported", column.name())));
            }
        }
        let source = provider_as_source(Arc::new(table));
        LogicalPlanBuilder::scan(TableReference::bare(relation), source, None).map_err(from_datafusion)
    }

    /// The table's columns, and what happened to the row.
    fn labelled(&self, plan: LogicalPlanBuilder, relation: &str, kind: &str, ordinal: i32, snapshot: &SnapshotRef) -> DataFusionResult<LogicalPlan> {
        let time = ScalarValue::TimestampMillisecond(Some(snapshot.timestamp_ms()), Some("UTC".into()));
        let hidden = |name: &str| HiddenColumn::is_name(name);
        let visible: Vec<String> = plan.schema().fields().iter().map(|field| field.name().clone()).filter(|name| !hidden(name)).collect();
        let columns = visible.into_iter().map(|name| Expr::Column(qualified(relation, &name)).alias(name));
        let labels = [
            lit(kind).alias(CHANGE_TYPE),
            lit(snapshot.snapshot_id()).alias(CHANGE_VERSION_ID),
            lit(time).alias(CHANGE_TIMESTAMP),
            lit(ordinal).alias(CHANGE_ORDINAL),
        ];
        plan.project(columns.chain(labels).collect::<Vec<_>>())?.build()
    }

    /// All parts one behind the other. Without any it is an empty table of the same columns.
    fn all(&self, mut parts: Vec<LogicalPlan>, to: &SnapshotRef) -> Result<LogicalPlan> {
        if parts.is_empty() {
            let nothing = self.labelled(self.scan("after", to, HashSet::new())?, "after", "insert", 0, to);
            return nothing.map_err(from_datafusion);
        }
        let first = parts.remove(0);
        let union = parts.into_iter().try_fold(LogicalPlanBuilder::from(first), |union, part| union.union(part));
        union.and_then(LogicalPlanBuilder::build).map_err(from_datafusion)
    }
}

fn qualified(relation: &str, name: &str) -> Column {
    Column::new(Some(TableReference::bare(relation)), name)
}
