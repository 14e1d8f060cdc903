//! Changes of a table's metadata that make no snapshot: columns, partitioning, sort order, properties, branches and tags.

use std::collections::HashMap;

use nunatak_core::{Code, Error, Result, Retry};

use super::CommitError;
use super::attempts::{self, Attempt, Change};
use super::effects;
use super::producer::moved;
use super::retry::RetryPolicy;
use crate::backend::Catalog;
use crate::snapshot::ancestors;
use crate::spec::{TableMetadata, TableRequirement, TableUpdate};
use crate::table::Table;

/// A change on its way.
struct MetadataChange<F>(F);

impl<F: Fn(&Table) -> Result<Vec<TableUpdate>> + Sync> Change for MetadataChange<F> {
    async fn attempt(&self, table: &Table, _number: u32) -> Result<Attempt, CommitError> {
        let updates = (self.0)(table)?;
        Ok(Attempt { requirements: requirements(&table.metadata, &updates), updates, ..Attempt::default() })
    }

    /// Properties that are wrong are not in the way of the change that corrects them: the defaults hold then.
    fn retry_policy(&self, base: &Table) -> Result<RetryPolicy> {
        RetryPolicy::from_properties(base.metadata.properties()).or_else(|_| RetryPolicy::from_properties(&HashMap::new()))
    }

    /// Nothing tells this change from the same one by another writer, and nothing has to: the table is as it was to be.
    fn is_in(&self, table: &Table, base: &Table, updates: &[TableUpdate]) -> Option<bool> {
        effects::are_seen(base, updates, &table.metadata).then_some(true)
    }
}

/// What must still hold when updates are made that were found out from `metadata`.
fn requirements(metadata: &TableMetadata, updates: &[TableUpdate]) -> Vec<TableRequirement> {
    let mut requirements = vec![TableRequirement::UuidMatch { uuid: metadata.uuid() }];
    for update in updates {
        match update {
            TableUpdate::AddSchema { .. } => requirements.extend([
                TableRequirement::CurrentSchemaIdMatch { current_schema_id: metadata.current_schema_id() },
                TableRequirement::LastAssignedFieldIdMatch { last_assigned_field_id: metadata.last_column_id() },
            ]),
            TableUpdate::AddSpec { .. } => requirements.extend([
                TableRequirement::CurrentSchemaIdMatch { current_schema_id: metadata.current_schema_id() },
                TableRequirement::DefaultSpecIdMatch { default_spec_id: metadata.default_partition_spec_id() },
                TableRequirement::LastAssignedPartitionIdMatch { last_assigned_partition_id: metadata.last_partition_id() },
            ]),
            TableUpdate::AddSortOrder { .. } => requirements.extend([
                TableRequirement::CurrentSchemaIdMatch { current_schema_id: metadata.current_schema_id() },
                TableRequirement::DefaultSortOrderIdMatch { default_sort_order_id: metadata.default_sort_order_id() },
            ]),
            TableUpdate::SetSnapshotRef { ref_name, .. } | TableUpdate::RemoveSnapshotRef { ref_name } => {
                let snapshot_id = metadata.snapshot_for_ref(ref_name).map(|snapshot| snapshot.snapshot_id());
                requirements.push(TableRequirement::RefSnapshotIdMatch { r#ref: ref_name.clone(), snapshot_id });
            }
            _ => {}
        }
    }
    requirements
}

/// Changes a table's metadata. `change` says how, for the table as each attempt finds it; no updates are no change.
///
/// Errors: those of `change`; `TRANSACTION_CONFLICT` when others were faster at each attempt; `COMMIT_STATE_UNKNOWN`.
pub async fn change_metadata(
    catalog: &dyn Catalog,
    base: &Table,
    change: impl Fn(&Table) -> Result<Vec<TableUpdate>> + Send + Sync,
) -> Result<Table> {
    if change(base)?.is_empty() {
        return Ok(base.clone());
    }
    attempts::commit(catalog, base, &MetadataChange(change)).await.map_err(|error| match error {
        CommitError::Unknown(error) => super::unknown(&format!("the change of table '{}' was made", base.name), error)
            .with_hint("look at the table before running the statement again"),
        CommitError::Conflict(error) => {
            Error::new(Code::TransactionConflict, format!("table '{}' was changed by others at each attempt to change it", base.name))
                .with_hint("run the statement again, or raise the table property commit.retry.num-retries")
                .with_retry(Retry::Query)
                .with_source(error)
        }
        CommitError::Failed(error) => error,
    })
}

/// Makes another snapshot of the table the head of its branch. With `only_back` it must be an ancestor of the current one.
///
/// Errors: `ICEBERG_INVALID_SNAPSHOT_ID`, and those of [`change_metadata`].
pub async fn set_current_snapshot(catalog: &dyn Catalog, base: &Table, snapshot_id: i64, only_back: bool) -> Result<Table> {
    change_metadata(catalog, base, |table| {
        let metadata = &table.metadata;
        let invalid = |what: &str| {
            Err(Error::new(Code::IcebergInvalidSnapshotId, format!("snapshot {snapshot_id} {what} table '{}'", table.name))
                .with_hint(format!("SELECT snapshot_id FROM \"{}$snapshots\" lists them", table.name.table)))
        };
        if metadata.snapshot_by_id(snapshot_id).is_none() {
            return invalid("does not exist in");
        }
        if only_back && !table.head_id().is_some_and(|head| is_ancestor(metadata, head, snapshot_id)) {
            return invalid("is no ancestor of the current one of");
        }
        match table.branch.name() {
            Some(branch) if table.head_id() != Some(snapshot_id) => Ok(vec![moved(metadata, branch, snapshot_id)?]),
            _ => Ok(Vec::new()),
        }
    })
    .await
}

/// Whether a snapshot is `head` or one before it.
pub(super) fn is_ancestor(metadata: &TableMetadata, head: i64, snapshot_id: i64) -> bool {
    ancestors(metadata, Some(head)).any(|snapshot| snapshot.snapshot_id() == snapshot_id)
}
