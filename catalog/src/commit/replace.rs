//! `CREATE OR REPLACE TABLE`: other columns, partitioning, sort order and properties, and other rows or none, in one commit. The table keeps its history.

use std::collections::{BTreeMap, HashMap};

use nunatak_core::{Code, Error, Result};

use super::CommitError;
use super::attempts::{self, Attempt, Change, changed, delete_files};
use super::metadata::change_metadata;
use super::producer::{Producer, moved};
use crate::backend::{Catalog, update};
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

/// Replaces a table by one without rows.
///
/// Errors: those of [`change_metadata`].
pub async fn replace_by_empty(catalog: &dyn Catalog, base: &Table, replacement: &Replacement) -> Result<Table> {
    change_metadata(catalog, base, |now| {
        only_if_unchanged(base, now)?;
        let mut updates = replacement.updates(&now.metadata);
        updates.push(without_rows());
        Ok(updates)
    })
    .await
}

/// Replaces a table by one with these files, which were written for [`Replacement::staged`].
///
/// Errors: `TRANSACTION_CONFLICT` if the table was changed meanwhile. After an error the files are in no snapshot and are the caller's to delete, except after
/// `COMMIT_STATE_UNKNOWN`.
pub async fn replace(
    catalog: &dyn Catalog,
    base: &Table,
    replacement: &Replacement,
    files: Vec<DataFile>,
    summary: &BTreeMap<String, String>,
) -> Result<Table> {
    let staged = replacement.staged(base)?;
    let mut producer = Producer::new(&staged, Operation::Overwrite);
    let added = producer.add_data_files(&staged.metadata, staged.metadata.default_partition_spec_id(), files, None).await;
    let change = Replace { base, replacement, staged, producer, summary };
    let outcome = match added {
        Ok(()) => attempts::commit(catalog, base, &change).await,
        Err(error) => Err(CommitError::Failed(error)),
    };
    let snapshot_id = change.producer.snapshot_id();
    match outcome {
        Ok(table) => Ok(table),
        Err(CommitError::Unknown(error)) => {
            Err(Error::new(Code::CommitStateUnknown, format!("it is not known whether table '{}' was replaced", base.name))
                .with_hint(format!("look for snapshot {snapshot_id} in the table's history before running the statement again"))
                .with_source(error))
        }
        Err(error) => {
            change.producer.clean_up().await;
            Err(error.into_error())
        }
    }
}

struct Replace<'a> {
    base: &'a Table,
    replacement: &'a Replacement,
    staged: Table,
    producer: Producer,
    summary: &'a BTreeMap<String, String>,
}

impl Change for Replace<'_> {
    async fn attempt(&self, table: &Table, number: u32) -> Result<Attempt, CommitError> {
        only_if_unchanged(self.base, table)?;
        let Attempt { files, updates: of_snapshot, .. } = self.producer.attempt(&self.staged, number, self.summary).await?;
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

    fn is_in(&self, table: &Table) -> bool {
        table.metadata.snapshot_by_id(self.producer.snapshot_id()).is_some()
    }
}

/// A replacement takes nothing over from the table but its past, so nobody may have added to it unseen.
fn only_if_unchanged(base: &Table, now: &Table) -> Result<()> {
    match now.metadata_location == base.metadata_location {
        true => Ok(()),
        false => Err(changed(base, "it is no longer what was to be replaced")),
    }
}
