//! `CREATE OR REPLACE TABLE`: other columns, partitioning, sort order and properties, and other rows or none, in one commit. The table keeps its history.
//!
//! It replaces what is there when it is committed, whatever others have made of it since, as in Java. Only what its files were written with must be the same then.

use std::collections::{BTreeMap, HashMap};

use nunatak_core::Result;

use super::CommitError;
use super::attempts::{self, Attempt, Change, changed, delete_files};
use super::metadata::change_metadata;
use super::producer::{Producer, moved};
use super::retry::RetryPolicy;
use crate::backend::{Catalog, update};
use crate::name_mapping::NAME_MAPPING;
use crate::spec::{
    DataFile, FormatVersion, MAIN_BRANCH, Operation, Schema, SortOrder, TableMetadata, TableRequirement, TableUpdate, UnboundPartitionSpec,
};
use crate::table::Table;

/// In an update: what an update before it has added.
const LAST_ADDED: i32 = -1;

/// What a table is to be.
#[derive(Clone, Debug)]
pub struct Replacement {
    /// Its columns, with ids as `replacing_schema` gives them.
    pub schema: Schema,
    /// Its partitioning.
    pub spec: UnboundPartitionSpec,
    /// Its sort order.
    pub sort_order: SortOrder,
    /// Its format version; one that is lower than the table's changes nothing.
    pub format_version: FormatVersion,
    /// All of its properties.
    pub properties: HashMap<String, String>,
}

impl Replacement {
    fn updates(&self, metadata: &TableMetadata) -> Vec<TableUpdate> {
        let mut updates = Vec::new();
        if self.format_version > metadata.format_version() {
            updates.push(TableUpdate::UpgradeFormatVersion { format_version: self.format_version });
        }
        updates.extend([
            TableUpdate::AddSchema { schema: self.schema.clone() },
            TableUpdate::SetCurrentSchema { schema_id: LAST_ADDED },
            TableUpdate::AddSpec { spec: self.spec.clone() },
            TableUpdate::SetDefaultSpec { spec_id: LAST_ADDED },
            TableUpdate::AddSortOrder { sort_order: self.sort_order.clone() },
            TableUpdate::SetDefaultSortOrder { sort_order_id: i64::from(LAST_ADDED) },
        ]);
        let removals: Vec<String> = metadata.properties().keys().filter(|key| !self.properties.contains_key(*key)).cloned().collect();
        if !removals.is_empty() {
            updates.push(TableUpdate::RemoveProperties { removals });
        }
        if !self.properties.is_empty() {
            updates.push(TableUpdate::SetProperties { updates: self.properties.clone() });
        }
        updates
    }

    /// The table as it will be, without rows: nobody sees it yet, and what is written for it is given to [`replace`].
    pub fn staged(&self, base: &Table) -> Result<Table> {
        let mut updates = self.updates(&base.metadata);
        updates.push(without_rows());
        let built = update::apply(&base.name, (*base.metadata).clone(), base.metadata_location.as_deref(), updates)?;
        Ok(Table { metadata: built.metadata.into(), ..base.clone() })
    }
}

fn without_rows() -> TableUpdate {
    TableUpdate::RemoveSnapshotRef { ref_name: MAIN_BRANCH.to_owned() }
}

/// Replaces a table by one without rows. `replacement` says what it is to be, for the table as each attempt finds it.
///
/// Errors: those of `replacement` and of [`change_metadata`].
pub async fn replace_by_empty(
    catalog: &dyn Catalog,
    base: &Table,
    replacement: impl Fn(&Table) -> Result<Replacement> + Send + Sync,
) -> Result<Table> {
    change_metadata(catalog, base, |now| {
        let mut updates = replacement(now)?.updates(&now.metadata);
        updates.push(without_rows());
        Ok(updates)
    })
    .await
}

/// Replaces a table by one with these files, which were written for [`Replacement::staged`]. Where they hold rows that were read from the table (`reads_base`), nobody
/// may have changed these since: they would be lost.
///
/// After `Conflict` the statement may be run again. After any error but `Unknown` the files are in no snapshot and are the caller's to delete.
pub async fn replace(
    catalog: &dyn Catalog,
    base: &Table,
    replacement: &Replacement,
    reads_base: bool,
    files: Vec<DataFile>,
    summary: &BTreeMap<String, String>,
) -> Result<Table, CommitError> {
    let staged = replacement.staged(base)?;
    let mut producer = Producer::new(&staged, Operation::Overwrite);
    let added = producer.add_data_files(&staged.metadata, staged.metadata.default_partition_spec_id(), files, None).await;
    let change = Replace { base, replacement, reads_base, staged, producer, summary };
    let outcome = match added {
        Ok(()) => attempts::commit(catalog, base, &change).await,
        Err(error) => Err(CommitError::Failed(error)),
    };
    let snapshot_id = change.producer.snapshot_id();
    match outcome {
        Ok(table) => Ok(table),
        Err(CommitError::Unknown(error)) => Err(CommitError::Unknown(
            super::unknown(&format!("table '{}' was replaced", base.name), error)
                .with_hint(format!("look for snapshot {snapshot_id} in the table's history before running the statement again")),
        )),
        Err(error) => {
            change.producer.clean_up().await;
            Err(error)
        }
    }
}

struct Replace<'a> {
    base: &'a Table,
    replacement: &'a Replacement,
    reads_base: bool,
    staged: Table,
    producer: Producer,
    summary: &'a BTreeMap<String, String>,
}

impl Change for Replace<'_> {
    async fn attempt(&self, table: &Table, number: u32) -> Result<Attempt, CommitError> {
        let staged = self.replacement.staged(table)?;
        if let Some(what) = self.in_the_way(table, &staged) {
            return Err(CommitError::Conflict(changed(self.base, what)));
        }
        let Attempt { files, updates: of_snapshot, .. } = self.producer.attempt(&staged, number, self.summary).await?;
        let reference = match moved(&table.metadata, MAIN_BRANCH, self.producer.snapshot_id()) {
            Ok(reference) => reference,
            Err(error) => {
                delete_files(&table.storage, &files).await;
                return Err(error.into());
            }
        };
        let mut updates = self.replacement.updates(&table.metadata);
        updates.extend(of_snapshot.into_iter().filter(|update| matches!(update, TableUpdate::AddSnapshot { .. })));
        updates.push(reference);
        Ok(Attempt { files, requirements: vec![TableRequirement::UuidMatch { uuid: table.metadata.uuid() }], updates })
    }

    /// By the properties that the table gets; those that it has may be wrong.
    fn retry_policy(&self, _base: &Table) -> Result<RetryPolicy> {
        RetryPolicy::from_properties(&self.replacement.properties)
    }

    fn is_in(&self, table: &Table, _base: &Table, _updates: &[TableUpdate]) -> Option<bool> {
        Some(table.metadata.snapshot_by_id(self.producer.snapshot_id()).is_some())
    }
}

impl Replace<'_> {
    /// What others have done to the table that the files do not fit: `now` is the table, `staged` what it would become.
    fn in_the_way(&self, now: &Table, staged: &Table) -> Option<&'static str> {
        let (before, now) = (&self.base.metadata, &now.metadata);
        let (written, staged) = (&self.staged.metadata, &staged.metadata);
        let columns = |metadata: &TableMetadata| (metadata.current_schema_id(), metadata.last_column_id());
        let mapping = |metadata: &TableMetadata| metadata.properties().get(NAME_MAPPING).cloned();
        if columns(before) != columns(now) || mapping(before) != mapping(now) {
            // The ids of the new columns were given out for the old ones.
            return Some("its columns are other ones");
        }
        if written.format_version() != staged.format_version() {
            return Some("it is of another format version");
        }
        if written.default_partition_spec() != staged.default_partition_spec() || written.default_sort_order() != staged.default_sort_order() {
            return Some("its partitioning or its order is another one");
        }
        (self.reads_base && before.current_snapshot_id() != now.current_snapshot_id()).then_some("rows of it were changed")
    }
}
