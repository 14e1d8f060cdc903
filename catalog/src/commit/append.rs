//! Append: new data files on the main branch. Nothing another writer does between can be in its way, except a change of the table's shape, so a
//! conflict is answered by trying again on top of the new head.

use std::collections::BTreeMap;

use nunatak_core::{Code, Error, Result, Retry};

use super::CommitError;
use super::attempts::{changed, delete_files};
use super::producer::Producer;
use super::row_delta::RowDelta;
use super::snapshot::{self, Appended, shape_changed};
use crate::backend::Catalog;
use crate::backend::update;
use crate::snapshot::read_list;
use crate::spec::{DataFile, Operation, TableMetadata};
use crate::table::Table;

/// Adds files to the table's main branch, trying again after a conflict as the table's `commit.retry.*` properties say. The files were written for
/// `base`: its current schema and its default partition spec. `summary` goes into the snapshot's summary, so that the commit can be found again.
///
/// After an error the files are in no snapshot and are the caller's to delete, except after `COMMIT_STATE_UNKNOWN`: then nothing may be deleted.
pub async fn append(catalog: &dyn Catalog, base: &Table, files: Vec<DataFile>, summary: BTreeMap<String, String>) -> Result<Appended> {
    let delta = RowDelta { data: files, ..RowDelta::default() };
    let fits = |now: &Table| match shape_changed(base, now) {
        Some(what) => Err(CommitError::Failed(changed(base, what))),
        None => Ok(()),
    };
    match snapshot::commit(catalog, base, Operation::Append, delta, &summary, fits).await {
        Ok(appended) => Ok(appended),
        Err(CommitError::Conflict(error)) => Err(given_up(base, error)),
        Err(CommitError::Unknown(error) | CommitError::Failed(error)) => Err(error),
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

/// Deletes what [`append_to_staged`] has written for a table that was not created after all: its manifests and their list. Data files are the caller's to delete.
pub async fn discard_staged(staged: &Table, metadata: &TableMetadata) {
    let Some(snapshot) = metadata.current_snapshot() else { return };
    let mut files = vec![snapshot.manifest_list().to_owned()];
    match read_list(&staged.storage, snapshot.manifest_list(), metadata.format_version()).await {
        Ok(manifests) => files.extend(manifests.into_iter().map(|manifest| manifest.manifest_path)),
        Err(error) => tracing::warn!(table = %staged.name, %error, "manifests of a table that was not created were left behind"),
    }
    delete_files(&staged.storage, &files).await;
}

async fn stage(staged: &Table, producer: &mut Producer, files: Vec<DataFile>, summary: &BTreeMap<String, String>) -> Result<TableMetadata> {
    producer.add_data_files(&staged.metadata, staged.metadata.default_partition_spec_id(), files, None).await?;
    let attempt = producer.attempt(staged, 1, summary).await.map_err(CommitError::into_error)?;
    let applied = update::apply(&staged.name, (*staged.metadata).clone(), None, attempt.updates);
    if applied.is_err() {
        delete_files(&staged.storage, &attempt.files).await;
    }
    Ok(applied?.metadata)
}

/// The error of an append that others were in the way of at each attempt.
pub(super) fn given_up(base: &Table, error: Error) -> Error {
    Error::new(Code::TransactionConflict, format!("table '{}' was changed by others at each attempt to add rows to it", base.name))
        .with_hint("run the statement again, or raise the table property commit.retry.num-retries")
        .with_retry(Retry::Query)
        .with_source(error)
}
