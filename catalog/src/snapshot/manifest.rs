//! Reading a manifest list and a manifest, with what entries inherit from the list.
//!
//! The crate's own object cache is not used: it is cold for every loaded table and panics on snapshots without a schema id.

use std::sync::Arc;

use iceberg::spec::{Manifest, ManifestEntry, ManifestList};
use nunatak_core::{Code, Error, Result};

use super::listed::{ListedFile, bound_types};
use super::{FileEntry, manifest_header};
use crate::error::{from_iceberg, guarded};
use crate::spec::{FormatVersion, ManifestFile, ManifestStatus, Schema, SchemaRef};
use crate::storage::Storage;

/// Sequence number of everything that v1 wrote.
const SEQUENCE_NUMBER_V1: i64 = 0;

/// Reads the manifest list at `path`.
pub(crate) async fn read_list(storage: &Storage, path: &str, version: FormatVersion) -> Result<Vec<ManifestFile>> {
    let bytes = storage.read(path).await?;
    let location = path.to_owned();
    blocking(move || parse_list(&bytes, &location, version)).await
}

/// The manifests that the bytes of a manifest list name. `path` is for messages.
///
/// Errors: `ICEBERG_INVALID_METADATA` for bytes that are none.
pub fn parse_list(bytes: &[u8], path: &str, version: FormatVersion) -> Result<Vec<ManifestFile>> {
    let what = format_args!("manifest list '{path}'");
    manifest_header::check(bytes, what)?;
    guarded(what, || list_of(bytes, path, version))
}

fn list_of(bytes: &[u8], path: &str, version: FormatVersion) -> Result<Vec<ManifestFile>> {
    let parsed = ManifestList::parse_with_version(bytes, version);
    // A table upgraded from v1 keeps the lists of its old snapshots.
    let parsed = match parsed {
        Err(error) if version != FormatVersion::V1 => ManifestList::parse_with_version(bytes, FormatVersion::V1).map_err(|_| error),
        parsed => parsed,
    };
    let list = parsed.map_err(|error| from_iceberg(error, Code::IcebergInvalidMetadata, format!("cannot read manifest list '{path}'")))?;
    Ok(list.consume_entries().into_iter().collect())
}

/// Reads the entries of a manifest, those of removed files too. `columns` are those that its table has now.
pub(super) async fn read_entries(storage: &Storage, manifest: ManifestFile, columns: &SchemaRef) -> Result<Vec<(ManifestStatus, FileEntry)>> {
    if manifest.key_metadata.is_some() {
        return Err(Error::not_supported(format!("manifest '{}' is encrypted", manifest.manifest_path)));
    }
    let bytes = storage.read(&manifest.manifest_path).await?;
    let columns = Arc::clone(columns);
    blocking(move || parse_entries(&bytes, &manifest, &columns)).await
}

/// The entries in the bytes of a manifest, those of removed files too, with what they inherit from its line in the list. `columns` are those that its table has now: a
/// manifest names those that it was written for, but not every writer's does.
///
/// Errors: `ICEBERG_INVALID_METADATA` for bytes that are no manifest.
pub fn parse_entries(bytes: &[u8], manifest: &ManifestFile, columns: &Schema) -> Result<Vec<(ManifestStatus, FileEntry)>> {
    let what = format_args!("manifest '{}'", manifest.manifest_path);
    manifest_header::check(bytes, what)?;
    guarded(what, || entries_of(bytes, manifest, columns))
}

fn entries_of(bytes: &[u8], manifest: &ManifestFile, columns: &Schema) -> Result<Vec<(ManifestStatus, FileEntry)>> {
    Ok(whole_of(bytes, manifest, columns)?.inherited)
}

/// A manifest as it is to be written again.
pub(crate) struct WholeManifest {
    /// The schema that it was written with, which names the columns of its partition spec.
    pub(crate) schema: SchemaRef,
    /// Its entries.
    pub(crate) entries: Vec<Arc<ManifestEntry>>,
    /// The same, with what they inherit.
    pub(crate) inherited: Vec<(ManifestStatus, FileEntry)>,
}

/// Reads a manifest that is to be written again. `columns` are those that its table has now.
pub(crate) async fn read_whole(storage: &Storage, manifest: ManifestFile, columns: &SchemaRef) -> Result<WholeManifest> {
    if manifest.key_metadata.is_some() {
        return Err(Error::not_supported(format!("manifest '{}' is encrypted", manifest.manifest_path)));
    }
    let bytes = storage.read(&manifest.manifest_path).await?;
    let columns = Arc::clone(columns);
    blocking(move || {
        let what = format_args!("manifest '{}'", manifest.manifest_path);
        manifest_header::check(&bytes, what)?;
        guarded(what, || whole_of(&bytes, &manifest, &columns))
    })
    .await
}

fn whole_of(bytes: &[u8], manifest: &ManifestFile, columns: &Schema) -> Result<WholeManifest> {
    let path = &manifest.manifest_path;
    let failed = |error| from_iceberg(error, Code::IcebergInvalidMetadata, format!("cannot read manifest '{path}'"));
    let parsed = match manifest_header::plain(bytes, columns) {
        Some(renamed) => Manifest::parse_avro(&renamed),
        None => Manifest::parse_avro(bytes),
    };
    let (entries, metadata) = parsed.map_err(failed)?.into_parts();
    let inherited = inherit(&entries, manifest)?;
    Ok(WholeManifest { schema: Arc::clone(metadata.schema()), entries, inherited })
}

/// Fills in what an entry leaves to its manifest's line in the list.
fn inherit(entries: &[Arc<ManifestEntry>], manifest: &ManifestFile) -> Result<Vec<(ManifestStatus, FileEntry)>> {
    let mut next_row_id = manifest.first_row_id.and_then(|id| i64::try_from(id).ok());
    let types = bound_types(entries.iter().map(|entry| &entry.data_file));
    let mut all = Vec::with_capacity(entries.len());
    for entry in entries {
        let inherits = entry.status == ManifestStatus::Added || manifest.sequence_number == SEQUENCE_NUMBER_V1;
        let inherited = inherits.then_some(manifest.sequence_number);
        let sequence_number = |own: Option<i64>| own.or(inherited).ok_or_else(|| no_sequence_number(entry, manifest));
        let data_sequence_number = sequence_number(entry.sequence_number)?;
        let file_sequence_number = sequence_number(entry.file_sequence_number)?;
        let first_row_id = match entry.status {
            ManifestStatus::Deleted => entry.data_file.first_row_id(),
            _ => take_row_ids(entry, &mut next_row_id),
        };
        let file = FileEntry {
            snapshot_id: entry.snapshot_id.unwrap_or(manifest.added_snapshot_id),
            data_sequence_number,
            file_sequence_number,
            spec_id: manifest.partition_spec_id,
            first_row_id,
            file: ListedFile::new(&entry.data_file, &types),
        };
        all.push((entry.status, file));
    }
    Ok(all)
}

/// Row ids are given out in the order of the manifest, to the files that have none of their own.
fn take_row_ids(entry: &ManifestEntry, next_row_id: &mut Option<i64>) -> Option<i64> {
    let next = (*next_row_id)?;
    let own = entry.data_file.first_row_id();
    if own.is_none() {
        *next_row_id = i64::try_from(entry.record_count()).ok().and_then(|rows| next.checked_add(rows));
    }
    own.or(Some(next))
}

fn no_sequence_number(entry: &ManifestEntry, manifest: &ManifestFile) -> Error {
    Error::new(Code::IcebergInvalidMetadata, format!("manifest '{}' gives no sequence number for '{}'", manifest.manifest_path, entry.file_path()))
}

/// Parsing takes milliseconds: too long for a thread that serves other queries.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(Error::internal("the task that reads a manifest stopped").with_source(error)),
    }
}
