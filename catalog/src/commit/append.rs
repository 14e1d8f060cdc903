//! Append: new data files on the main branch. Nothing another writer does between can be in its way, except a change of the table's shape, so a
//! conflict is answered by trying again on top of the new head.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use nunatak_core::{Code, Error, Result, Retry};

use super::CommitError;
use super::producer::{AttemptError, Producer};
use super::retry::RetryPolicy;
use crate::backend::Catalog;
use crate::backend::update;
use crate::spec::{DataFile, Operation, Schema, TableMetadata};
use crate::table::Table;

/// How long after an unknown outcome the table is looked at, one look after the other.
const LOOKS_AFTER: [Duration; 3] = [Duration::ZERO, Duration::from_millis(500), Duration::from_secs(3)];

/// A table with the rows in it.
#[derive(Clone, Debug)]
pub struct Appended {
    /// The table after the commit.
    pub table: Table,
    /// The snapshot that added the files.
    pub snapshot_id: i64,
}

/// Adds files to the table's main branch, trying again after a conflict as the table's `commit.retry.*` properties say. The files were written for
/// `base`: its current schema and its default partition spec. `summary` goes into the snapshot's summary, so that the commit can be found again.
///
/// After an error the files are in no snapshot and are the caller's to delete, except after `COMMIT_STATE_UNKNOWN`: then nothing may be deleted.
pub async fn append(catalog: &dyn Catalog, base: &Table, files: Vec<DataFile>, summary: BTreeMap<String, String>) -> Result<Appended> {
    let policy = RetryPolicy::from_properties(base.metadata.properties())?;
    let mut producer = Producer::new(base, Operation::Append);
    let added = producer.add_data_files(&base.metadata, base.metadata.default_partition_spec_id(), files).await;
    let outcome = match added {
        Ok(()) => commit(catalog, base, &producer, &policy, &summary).await,
        Err(error) => Err(CommitError::Failed(error)),
    };
    match outcome {
        Ok(table) => Ok(Appended { table, snapshot_id: producer.snapshot_id() }),
        Err(CommitError::Unknown(error)) => Err(unknown(base, &producer, error)),
        Err(CommitError::Conflict(error) | CommitError::Failed(error)) => {
            producer.clean_up().await;
            Err(error)
        }
    }
}

/// The same on a table that is staged and not yet created: returns the metadata with the snapshot in it, for [`Catalog::create_table`].
pub async fn append_to_staged(staged: &Table, files: Vec<DataFile>, summary: BTreeMap<String, String>) -> Result<TableMetadata> {
    let mut producer = Producer::new(staged, Operation::Append);
    let made = stage(staged, &mut producer, files, &summary).await;
    if made.is_err() {
        producer.clean_up().await;
    }
    made
}

async fn stage(staged: &Table, producer: &mut Producer, files: Vec<DataFile>, summary: &BTreeMap<String, String>) -> Result<TableMetadata> {
    producer.add_data_files(&staged.metadata, staged.metadata.default_partition_spec_id(), files).await?;
    let attempt = producer.attempt(staged, 1, summary).await.map_err(failed)?;
    let applied = update::apply(&staged.name, (*staged.metadata).clone(), None, attempt.updates);
    if applied.is_err() {
        producer.delete(&attempt.files).await;
    }
    Ok(applied?.metadata)
}

/// Tries until the snapshot is in, the retries are used up, or the table no longer takes the files.
async fn commit(
    catalog: &dyn Catalog,
    base: &Table,
    producer: &Producer,
    policy: &RetryPolicy,
    summary: &BTreeMap<String, String>,
) -> Result<Table, CommitError> {
    let begun = Instant::now();
    for number in 1.. {
        // Also before the first attempt: writing the files took its time, and a commit on top of an old head is lost work.
        let table = current(catalog, base).await.map_err(CommitError::Failed)?;
        let attempt = producer.attempt(&table, number, summary).await.map_err(|error| CommitError::Failed(failed(error)))?;
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
            None => return Err(CommitError::Conflict(given_up(base, number, error))),
        }
    }
    Err(CommitError::Failed(Error::internal("a commit ran out of numbers")))
}

/// An append removes nothing, so that nothing it needs can be gone.
fn failed(error: AttemptError) -> Error {
    match error {
        AttemptError::Failed(error) => error,
        AttemptError::Gone(path) => Error::internal(format!("an append wants to remove '{path}'")),
    }
}

/// The table as it is now, if the files still fit it.
async fn current(catalog: &dyn Catalog, base: &Table) -> Result<Table> {
    let Some(now) = catalog.load_table(&base.name).await? else {
        return Err(Error::new(Code::TableNotFound, format!("table '{}' was dropped or renamed while rows were written to it", base.name)));
    };
    let changed = |what: &str| {
        Error::new(Code::TransactionConflict, format!("table '{}' was changed while rows were written to it: {what}", base.name))
            .with_hint("run the statement again")
            .with_retry(Retry::Query)
    };
    if now.metadata.uuid() != base.metadata.uuid() {
        return Err(changed("it was dropped and made again"));
    }
    if now.metadata.default_partition_spec_id() != base.metadata.default_partition_spec_id() {
        return Err(changed("its partitioning is another one"));
    }
    if !only_adds_columns(base.metadata.current_schema(), now.metadata.current_schema()) {
        return Err(changed("its columns are other ones"));
    }
    Ok(now)
}

/// Whether files written with schema `before` fit `after`: all columns are there as they were, and what was added may be absent from a file.
fn only_adds_columns(before: &Schema, after: &Schema) -> bool {
    let top = |schema: &Schema| schema.as_struct().fields().to_vec();
    let (before, after) = (top(before), top(after));
    let kept = before.iter().all(|old| {
        after.iter().any(|new| {
            let same_type = new.field_type == old.field_type && new.name == old.name;
            new.id == old.id && same_type && (!new.required || old.required)
        })
    });
    let added = after.iter().filter(|new| before.iter().all(|old| old.id != new.id));
    kept && added.into_iter().all(|new| !new.required || new.initial_default.is_some())
}

/// Looks whether the commit with an unknown outcome happened.
pub(super) async fn find(catalog: &dyn Catalog, base: &Table, snapshot_id: i64) -> Option<Table> {
    for wait in LOOKS_AFTER {
        tokio::time::sleep(wait).await;
        match catalog.load_table(&base.name).await {
            Ok(Some(table)) if table.metadata.snapshot_by_id(snapshot_id).is_some() => return Some(table),
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, table = %base.name, snapshot_id, "cannot see whether a commit happened"),
        }
    }
    None
}

pub(super) fn unknown(base: &Table, producer: &Producer, error: Error) -> Error {
    Error::new(Code::CommitStateUnknown, format!("it is not known whether the change of table '{}' was made", base.name))
        .with_hint(format!("look for snapshot {} in the table's history before running the statement again", producer.snapshot_id()))
        .with_source(error)
}

fn given_up(base: &Table, attempts: u32, error: Error) -> Error {
    Error::new(Code::TransactionConflict, format!("table '{}' was changed by others at each of {attempts} attempts to add rows to it", base.name))
        .with_hint("run the statement again, or raise the table property commit.retry.num-retries")
        .with_retry(Retry::Query)
        .with_source(error)
}
