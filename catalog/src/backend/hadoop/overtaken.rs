//! Versions that are made a second time. Where old metadata files are deleted (`write.metadata.delete-after-commit.enabled`), a writer that stood still after its look at the table finds the
//! place of its version free again, although others have long gone on from the one that was there. What it has made would be no part of the table, or worse: a hint at it would take
//! back all that they have done.
//!
//! The hint tells: whoever deletes a version has named a later one before.

use nunatak_core::Result;

use super::versions;
use crate::backend::{metadata_file, update};
use crate::commit::CommitError;
use crate::spec::TableMetadata;
use crate::storage::Storage;
use crate::table::TableName;

/// Names a version that was just made as the newest one of its table.
///
/// Errors: `Conflict` if others have gone on from another one in its place, `Unknown` if that cannot be told.
pub(super) async fn publish(
    storage: &Storage,
    name: &TableName,
    table_folder: &str,
    version: u64,
    location: &str,
    made: &TableMetadata,
) -> Result<(), CommitError> {
    let hinted = versions::hint(storage, table_folder).await.map_err(CommitError::Unknown)?;
    // A hint may be wrong, also by being too high.
    let is_last = hinted.is_none_or(|hinted| hinted < version)
        || versions::listed(storage, table_folder).await.map_err(CommitError::Unknown)?.is_none_or(|highest| highest <= version);
    if is_last {
        versions::set_hint(storage, table_folder, version).await;
        return Ok(());
    }
    let next = versions::find(storage, table_folder, version + 1).await.map_err(CommitError::Unknown)?;
    let Some(next) = next else { return Err(CommitError::Unknown(update::conflict(name))) };
    let next = metadata_file::load(storage, name, &next.location).await.map_err(CommitError::Unknown)?;
    match is_built_on(&next, location, made) {
        Some(true) => Ok(()),
        Some(false) => {
            if let Err(error) = storage.delete_files(&[location.to_owned()]).await {
                tracing::warn!(%error, location, "a metadata file that is no version of its table was left behind");
            }
            Err(CommitError::Conflict(update::conflict(name)))
        }
        None => Err(CommitError::Unknown(update::conflict(name))),
    }
}

/// Whether a version was made of `base`, which lies at `location`; `None` if its log does not tell.
fn is_built_on(version: &TableMetadata, location: &str, base: &TableMetadata) -> Option<bool> {
    let before = version.metadata_log().iter().rfind(|entry| entry.metadata_file == location)?;
    let has_snapshot = base.current_snapshot_id().is_none_or(|id| version.snapshot_by_id(id).is_some());
    Some(before.timestamp_ms == base.last_updated_ms() && version.uuid() == base.uuid() && has_snapshot)
}
