//! Deleting the files of a table that was dropped. The table is already gone from its catalog: what cannot be deleted is reported and left behind.

use std::collections::BTreeSet;

use nunatak_core::{Code, Error, Result, Retry};

use super::Catalog;
use crate::adopted::AdoptedFiles;
use crate::named_files;
use crate::properties::name_places;
use crate::snapshot::{self, ManifestCache, SnapshotFiles, Version};
use crate::storage::{Location, Storage};
use crate::table::{Table, TableName};

/// Memory for manifests while a table is purged; each is read once for every snapshot that has it.
const CACHE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// What it takes to delete the files of a table that is to be dropped; `None` if its metadata is lost, so that nobody knows them. It must be droppable all the same.
///
/// Errors: those that may be over when the statement is run again.
pub(super) fn to_purge<T>(name: &TableName, loaded: Result<T>) -> Result<Option<T>> {
    match loaded {
        Err(error) if is_lost(&error) => {
            tracing::warn!(%error, table = %name, "the files of a table that is dropped are left behind: its metadata cannot be read, which names them");
            Ok(None)
        }
        loaded => loaded.map(Some),
    }
}

/// Whether an error of loading a table says that its metadata cannot be read, now or later.
pub fn is_lost(error: &Error) -> bool {
    match error.code() {
        Code::IcebergMissingData | Code::IcebergInvalidMetadata | Code::NotSupported => true,
        // A bucket that is not there.
        Code::StorageUnavailable => error.retry() == Retry::Never,
        _ => false,
    }
}

/// Deletes the files of a table, but for those that other tables of the catalog have too. `others` are the metadata locations of all other tables and views that
/// could share its folder.
pub(super) async fn purge(catalog: &dyn Catalog, table: &Table, warehouse: &str, others: &[String]) {
    if !table.owns_its_files() {
        tracing::info!(table = %table.name, "the files of the table were kept, because gc.enabled is false");
        return;
    }
    let result = if owns_folder(table, warehouse, others) {
        table.storage.delete_folder(table.metadata.location()).await
    } else {
        delete_reachable(catalog, table).await
    };
    if let Err(error) = result {
        tracing::warn!(%error, table = %table.name, location = table.metadata.location(), "files of a dropped table were left behind");
    }
}

/// Deletes the files of a view: its folder, or its one metadata file if the folder can hold something else.
pub(super) async fn purge_view(storage: &Storage, metadata_location: &str, warehouse: &str, others: &[String]) -> Result<()> {
    let folder = metadata_location.rsplitn(3, '/').nth(2).unwrap_or_default();
    match is_exclusive(folder, warehouse, others) {
        true => storage.delete_folder(folder).await,
        false => storage.delete_files(&[metadata_location.to_owned()]).await,
    }
}

/// Whether everything below the table's location is the table's, and nothing of it lies elsewhere.
fn owns_folder(table: &Table, warehouse: &str, others: &[String]) -> bool {
    !name_places(table.metadata.properties()) && is_exclusive(table.metadata.location(), warehouse, others)
}

/// Whether a folder is below the warehouse and no other table or view has to do with it.
fn is_exclusive(folder: &str, warehouse: &str, others: &[String]) -> bool {
    let (Ok(warehouse), Ok(folder)) = (Location::parse(warehouse), Location::parse(folder)) else { return false };
    let below = warehouse.contains(&folder) && warehouse != folder;
    below && !others.iter().any(|other| Location::parse(other).is_ok_and(|other| overlap(&folder, &other)))
}

/// Whether the other table's files can be in this folder, or this folder in the other table's. A metadata file lies two levels below its table.
pub(super) fn overlap(folder: &Location, metadata_file: &Location) -> bool {
    let text = metadata_file.to_string();
    let other = text.rsplitn(3, '/').nth(2).and_then(|table| Location::parse(table).ok());
    folder.contains(metadata_file) || other.is_some_and(|other| other.contains(folder))
}

/// Deletes what the table's snapshots and metadata name and no other table does, and nothing else; what it has adopted stays.
async fn delete_reachable(catalog: &dyn Catalog, table: &Table) -> Result<()> {
    let cache = ManifestCache::new(CACHE_BYTES_MAX);
    let of_neighbours = named_files::of_neighbours(catalog, table, &cache).await?;
    let adopted = AdoptedFiles::of(&table.metadata)?;
    let is_own = |file: &String| !adopted.contain(file) && !Location::parse(file).is_ok_and(|place| of_neighbours.contains(&place));
    let mut files = BTreeSet::new();
    for snapshot in table.metadata.snapshots() {
        let Some(snapshot) = snapshot::resolve(&table.metadata, &Version::Id(snapshot.snapshot_id()))? else { continue };
        let manifests = snapshot::manifests(table, &snapshot, &cache).await?;
        let SnapshotFiles { data, deletes } = snapshot::files(table, &snapshot, &cache, &|_| true).await?;
        files.extend(data.iter().chain(&deletes).map(|entry| entry.file.file_path().to_owned()));
        files.extend(manifests.iter().map(|manifest| manifest.manifest_path.clone()));
        files.insert(snapshot.manifest_list().to_owned());
    }
    files.extend(table.metadata.statistics_iter().map(|file| file.statistics_path.clone()));
    files.extend(table.metadata.metadata_log().iter().map(|entry| entry.metadata_file.clone()));
    files.retain(is_own);
    delete(&table.storage, files).await?;
    // Last, so that a purge that stopped half-way can still be done by hand.
    table.storage.delete_files(table.metadata_location.clone().filter(is_own).as_slice()).await
}

async fn delete(storage: &Storage, files: BTreeSet<String>) -> Result<()> {
    let files: Vec<String> = files.into_iter().collect();
    storage.delete_files(&files).await
}
