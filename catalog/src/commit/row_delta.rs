//! Row delta: rows are deleted where they are, by files of deletes beside the data files, or with the files that hold no others.
//!
//! What is deleted was found in one snapshot. When another writer was faster, it may no longer be all that is to be deleted, or no longer be there. So a
//! delta is committed on top of that snapshot, or of appends to it where the table allows it (isolation `snapshot`); else it is for the caller to run its
//! statement again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use nunatak_core::{Code, Error, Result, Retry};

use super::append::{find, unknown};
use super::producer::{AttemptError, FileKey, Producer};
use super::retry::RetryPolicy;
use super::{Appended, CommitError};
use crate::backend::Catalog;
use crate::spec::{DataFile, Operation, TableMetadata};
use crate::table::Table;

/// What a statement does to the rows of a table.
#[derive(Clone, Debug, Default)]
pub struct RowDelta {
    /// Files of position deletes and deletion vectors to add, each with the partition spec of its data file.
    pub deletes: Vec<(i32, DataFile)>,
    /// Locations of data files that hold no row any more.
    pub removed_data: BTreeSet<String>,
    /// Files of deletes that the new ones stand for, or whose data files are removed: location, and for a deletion vector its data file.
    pub removed_deletes: BTreeSet<(String, Option<String>)>,
}

impl RowDelta {
    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        self.deletes.is_empty() && self.removed_data.is_empty()
    }
}

/// What other writers may do to a table while rows of it are deleted (Iceberg's `write.delete.isolation-level` and its like).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// Nothing: the outcome is as if the statements had run one after the other.
    Serializable,
    /// They may add rows, which the statement does not see.
    Snapshot,
}

impl Isolation {
    /// What a table's property says; Iceberg's default is `serializable`.
    ///
    /// Errors: `INVALID_TABLE_PROPERTY`.
    pub fn from_property(metadata: &TableMetadata, key: &str) -> Result<Self> {
        match metadata.properties().get(key).map(|value| value.to_ascii_lowercase()) {
            None => Ok(Self::Serializable),
            Some(value) if value == "serializable" => Ok(Self::Serializable),
            Some(value) if value == "snapshot" => Ok(Self::Snapshot),
            Some(value) => Err(Error::new(Code::InvalidTableProperty, format!("table property '{key}' is '{value}'"))
                .with_hint("set it to 'serializable' or 'snapshot'")),
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
    let mut producer = Producer::new(base, Operation::Delete);
    let outcome = match stage(&mut producer, base, delta).await {
        Ok(()) => commit(catalog, base, &producer, isolation, summary).await,
        Err(error) => Err(CommitError::Failed(error)),
    };
    match outcome {
        Ok(table) => Ok(Appended { table, snapshot_id: producer.snapshot_id() }),
        Err(CommitError::Unknown(error)) => Err(CommitError::Unknown(unknown(base, &producer, error))),
        Err(error) => {
            producer.clean_up().await;
            Err(error)
        }
    }
}

async fn stage(producer: &mut Producer, base: &Table, delta: RowDelta) -> Result<()> {
    let mut by_spec: BTreeMap<i32, Vec<DataFile>> = BTreeMap::new();
    for (spec_id, file) in delta.deletes {
        by_spec.entry(spec_id).or_default().push(file);
    }
    for (spec_id, files) in by_spec {
        producer.add_delete_files(&base.metadata, spec_id, files).await?;
    }
    let removed_data: BTreeSet<FileKey> = delta.removed_data.into_iter().map(|path| (path, None)).collect();
    producer.remove(removed_data, delta.removed_deletes);
    Ok(())
}

async fn commit(
    catalog: &dyn Catalog,
    base: &Table,
    producer: &Producer,
    isolation: Isolation,
    summary: &BTreeMap<String, String>,
) -> Result<Table, CommitError> {
    let policy = RetryPolicy::from_properties(base.metadata.properties()).map_err(CommitError::Failed)?;
    let begun = Instant::now();
    for number in 1.. {
        let table = current(catalog, base, isolation).await?;
        let attempt = match producer.attempt(&table, number, summary).await {
            Ok(attempt) => attempt,
            Err(AttemptError::Gone(path)) => return Err(CommitError::Conflict(changed(base, &format!("file '{path}' is there no more")))),
            Err(AttemptError::Failed(error)) => return Err(CommitError::Failed(error)),
        };
        let error = match catalog.commit(&table, attempt.requirements, attempt.updates).await {
            Ok(table) => return Ok(table),
            Err(CommitError::Conflict(error)) => error,
            Err(CommitError::Unknown(error)) => {
                return find(catalog, base, producer.snapshot_id()).await.ok_or(CommitError::Unknown(error));
            }
            Err(CommitError::Failed(error)) => {
                producer.delete(&attempt.files).await;
                return Err(CommitError::Failed(error));
            }
        };
        producer.delete(&attempt.files).await;
        match policy.wait(number, begun.elapsed(), rand::random()) {
            Some(wait) => tokio::time::sleep(wait).await,
            None => return Err(CommitError::Conflict(error)),
        }
    }
    Err(CommitError::Failed(Error::internal("a commit ran out of numbers")))
}

/// The table as it is now, if the delta still fits it.
async fn current(catalog: &dyn Catalog, base: &Table, isolation: Isolation) -> Result<Table, CommitError> {
    let Some(now) = catalog.load_table(&base.name).await.map_err(CommitError::Failed)? else {
        let what = format!("table '{}' was dropped or renamed while rows of it were deleted", base.name);
        return Err(CommitError::Failed(Error::new(Code::TableNotFound, what)));
    };
    if now.metadata.uuid() != base.metadata.uuid() {
        return Err(CommitError::Failed(changed(base, "it was dropped and made again")));
    }
    if now.metadata.format_version() != base.metadata.format_version() {
        return Err(CommitError::Conflict(changed(base, "it is of another format version")));
    }
    match since(&now.metadata, base.metadata.current_snapshot_id()) {
        Since::Nothing => Ok(now),
        Since::Appends if isolation == Isolation::Snapshot => Ok(now),
        Since::Appends => Err(CommitError::Conflict(changed(base, "rows were added to it"))),
        Since::More => Err(CommitError::Conflict(changed(base, "rows of it were changed"))),
    }
}

/// What has happened to a table since a snapshot.
enum Since {
    Nothing,
    Appends,
    More,
}

fn since(metadata: &TableMetadata, snapshot: Option<i64>) -> Since {
    let mut outcome = Since::Nothing;
    let mut next = metadata.current_snapshot_id();
    // Damaged metadata may have snapshots that descend from each other.
    for _ in 0..=metadata.snapshots().len() {
        if next == snapshot {
            return outcome;
        }
        let Some(between) = next.and_then(|id| metadata.snapshot_by_id(id)) else { return Since::More };
        if between.summary().operation != Operation::Append {
            return Since::More;
        }
        outcome = Since::Appends;
        next = between.parent_snapshot_id();
    }
    Since::More
}

fn changed(base: &Table, what: &str) -> Error {
    Error::new(Code::TransactionConflict, format!("table '{}' was changed while rows of it were deleted: {what}", base.name))
        .with_hint("run the statement again")
        .with_retry(Retry::Query)
}
