//! Commits that make a snapshot: its manifests are written once, then each attempt puts it on top of the head that the table has by then.

use std::collections::BTreeMap;

use nunatak_core::{Error, Result};

use super::CommitError;
use super::attempts::{self, Attempt, Change};
use super::cherry_pick::check_wap_id;
use super::producer::Producer;
use super::row_delta::RowDelta;
use crate::backend::Catalog;
use crate::spec::{DataFile, Operation, Schema, TableUpdate};
use crate::table::Table;

/// A table with a new snapshot.
#[derive(Clone, Debug)]
pub struct Appended {
    /// The table after the commit.
    pub table: Table,
    /// The snapshot.
    pub snapshot_id: i64,
}

/// A snapshot on its way.
struct NewSnapshot<'a, F> {
    producer: Producer,
    summary: &'a BTreeMap<String, String>,
    fits: F,
}

impl<F: Fn(&Table) -> Result<(), CommitError> + Sync> Change for NewSnapshot<'_, F> {
    async fn attempt(&self, table: &Table, number: u32) -> Result<Attempt, CommitError> {
        check_wap_id(table, self.summary)?;
        (self.fits)(table)?;
        self.producer.attempt(table, number, self.summary).await
    }

    fn is_in(&self, table: &Table, _base: &Table, _updates: &[TableUpdate]) -> Option<bool> {
        Some(table.metadata.snapshot_by_id(self.producer.snapshot_id()).is_some())
    }
}

/// Commits a delta that was made for `base`. `fits` says whether it fits the table as others have left it.
///
/// After any error but `Unknown` the delta's files are in no snapshot and are the caller's to delete.
pub(super) async fn commit(
    catalog: &dyn Catalog,
    base: &Table,
    operation: Operation,
    delta: RowDelta,
    summary: &BTreeMap<String, String>,
    fits: impl Fn(&Table) -> Result<(), CommitError> + Send + Sync,
) -> Result<Appended, CommitError> {
    let mut producer = Producer::new(base, operation);
    let staged = stage(&mut producer, base, delta).await;
    commit_staged(catalog, base, producer, staged, summary, fits).await
}

/// Commits what a producer has been given; `staged` says whether that went well.
pub(super) async fn commit_staged(
    catalog: &dyn Catalog,
    base: &Table,
    producer: Producer,
    staged: Result<()>,
    summary: &BTreeMap<String, String>,
    fits: impl Fn(&Table) -> Result<(), CommitError> + Send + Sync,
) -> Result<Appended, CommitError> {
    let change = NewSnapshot { producer, summary, fits };
    let outcome = match staged {
        Ok(()) => attempts::commit(catalog, base, &change).await,
        Err(error) => Err(CommitError::Failed(error)),
    };
    ended(base, &change.producer, outcome).await
}

/// What has become of a producer's snapshot. Its manifests go when it is certain that it has not been committed.
pub(super) async fn ended(base: &Table, producer: &Producer, outcome: Result<Table, CommitError>) -> Result<Appended, CommitError> {
    let snapshot_id = producer.snapshot_id();
    match outcome {
        Ok(table) => Ok(Appended { table, snapshot_id }),
        Err(CommitError::Unknown(error)) => Err(CommitError::Unknown(unknown(base, snapshot_id, error))),
        Err(error) => {
            producer.clean_up().await;
            Err(error)
        }
    }
}

async fn stage(producer: &mut Producer, base: &Table, delta: RowDelta) -> Result<()> {
    if !delta.data.is_empty() {
        producer.add_data_files(&base.metadata, base.metadata.default_partition_spec_id(), delta.data, delta.data_sequence_number).await?;
    }
    let mut by_spec: BTreeMap<i32, Vec<DataFile>> = BTreeMap::new();
    for (spec_id, file) in delta.deletes {
        by_spec.entry(spec_id).or_default().push(file);
    }
    for (spec_id, files) in by_spec {
        producer.add_delete_files(&base.metadata, spec_id, files).await?;
    }
    producer.remove(delta.removed_data.into_iter().map(|path| (path, None)).collect(), delta.removed_deletes);
    Ok(())
}

/// What is in the way of data files that were written for `base`: another partitioning, or other columns.
pub(super) fn shape_changed(base: &Table, now: &Table) -> Option<&'static str> {
    if now.metadata.default_partition_spec_id() != base.metadata.default_partition_spec_id() {
        return Some("its partitioning is another one");
    }
    let fits = only_adds_columns(base.metadata.current_schema(), now.metadata.current_schema());
    (!fits).then_some("its columns are other ones")
}

/// Whether files written with schema `before` fit `after`: all columns are there as they were, and what was added may be absent from a file.
pub(super) fn only_adds_columns(before: &Schema, after: &Schema) -> bool {
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

fn unknown(base: &Table, snapshot_id: i64, error: Error) -> Error {
    super::unknown(&format!("the change of table '{}' was made", base.name), error)
        .with_hint(format!("look for snapshot {snapshot_id} in the table's history before running the statement again"))
}
