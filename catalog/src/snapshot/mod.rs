//! From a snapshot to the files it is made of: manifest lists and manifests, read in parallel and cached.
//!
//! Owns which snapshot a version means ([`resolve`]) and which files are live in it ([`files`]). Does not prune by column statistics: that is the
//! scan's work.

mod ancestry;
mod cache;
mod listed;
mod manifest;
pub(crate) mod manifest_header;
mod size;
mod version;

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use nunatak_core::{Error, Result};

use crate::spec::{DataFileFormat, ManifestContentType, ManifestFile, ManifestStatus, Snapshot, SnapshotRef};
use crate::table::Table;

pub use ancestry::ancestors;
pub(crate) use ancestry::since;
pub use cache::ManifestCache;
pub use listed::{ColumnMetrics, ListedFile};
pub(crate) use manifest::{WholeManifest, read_list, read_whole};
pub use manifest::{parse_entries, parse_list};
pub(crate) use version::branch_at;
pub use version::{Version, refs, resolve};

/// How many manifests of one snapshot are read at the same time.
const READS_MAX: usize = 8;

/// One live file of a snapshot (entries with status DELETED are left out; sequence numbers and snapshot ids inherited).
#[derive(Clone, Debug, PartialEq)]
pub struct FileEntry {
    /// The file.
    pub file: ListedFile,
    /// The snapshot that added it.
    pub snapshot_id: i64,
    /// The sequence number that decides which deletes apply to it.
    pub data_sequence_number: i64,
    /// The sequence number of the snapshot that added the file itself.
    pub file_sequence_number: i64,
    /// The partition spec that its partition values belong to.
    pub spec_id: i32,
    /// `_row_id` of its first row (v3), inherited where the manifest has none for it.
    pub first_row_id: Option<i64>,
}

/// A file as manifests list it: a deletion vector shares its file with others, and is told from them by the data file that it is of.
pub type FileKey = (String, Option<String>);

impl FileEntry {
    /// What tells it from all others.
    pub fn key(&self) -> FileKey {
        let of_data_file = self.file.referenced_data_file().filter(|_| self.file.file_format() == DataFileFormat::Puffin);
        (self.file.file_path().to_owned(), of_data_file.map(str::to_owned))
    }
}

/// The live files of a snapshot.
#[derive(Clone, Debug, Default)]
pub struct SnapshotFiles {
    /// Data files.
    pub data: Vec<Arc<FileEntry>>,
    /// Files of position deletes, equality deletes and deletion vectors.
    pub deletes: Vec<Arc<FileEntry>>,
}

/// The manifests of a snapshot, in the order of its manifest list.
pub async fn manifests(table: &Table, snapshot: &Snapshot, cache: &ManifestCache) -> Result<Arc<Vec<ManifestFile>>> {
    if snapshot.encryption_key_id().is_some() {
        return Err(Error::not_supported(format!("snapshot {} of table '{}' is encrypted", snapshot.snapshot_id(), table.name)));
    }
    cache.list(&table.storage, snapshot.manifest_list(), table.metadata.format_version()).await
}

/// The live files of a snapshot. `keep` decides by a manifest's partition summaries and counts whether it is read at all.
pub async fn files(
    table: &Table,
    snapshot: &Snapshot,
    cache: &ManifestCache,
    keep: &(dyn Fn(&ManifestFile) -> bool + Send + Sync),
) -> Result<SnapshotFiles> {
    let manifests = manifests(table, snapshot, cache).await?;
    files_of(table, manifests.iter().filter(|manifest| keep(manifest)).cloned(), cache).await
}

/// The live files of manifests.
pub async fn files_of(table: &Table, manifests: impl Iterator<Item = ManifestFile>, cache: &ManifestCache) -> Result<SnapshotFiles> {
    let wanted: Vec<ManifestFile> = manifests.filter(has_live_files).collect();
    let mut reads = futures::stream::iter(wanted.into_iter().map(|manifest| {
        let (storage, columns, cache) = (Arc::clone(&table.storage), Arc::clone(table.metadata.current_schema()), cache.clone());
        async move { Ok::<_, Error>((manifest.content, cache.entries(&storage, manifest, &columns).await?)) }
    }))
    .buffered(READS_MAX);
    let mut files = SnapshotFiles::default();
    while let Some((content, entries)) = reads.try_next().await? {
        let side = match content {
            ManifestContentType::Data => &mut files.data,
            ManifestContentType::Deletes => &mut files.deletes,
        };
        side.extend(entries.iter().cloned());
    }
    Ok(files)
}

/// The manifests of all snapshots of a table, each with the snapshot that refers to it: one that several refer to comes as often.
pub async fn all_manifests(table: &Table, cache: &ManifestCache) -> Result<Vec<(i64, ManifestFile)>> {
    let mut snapshots: Vec<&SnapshotRef> = table.metadata.snapshots().collect();
    snapshots.sort_by_key(|snapshot| (snapshot.timestamp_ms(), snapshot.sequence_number()));
    let mut all = Vec::new();
    for snapshot in snapshots {
        all.extend(manifests(table, snapshot, cache).await?.iter().map(|manifest| (snapshot.snapshot_id(), manifest.clone())));
    }
    Ok(all)
}

/// All entries of manifests, those of removed files too. Not cached: few ask for them.
pub async fn entries(table: &Table, manifests: Vec<ManifestFile>) -> Result<Vec<(ManifestStatus, FileEntry)>> {
    let reads = futures::stream::iter(manifests.into_iter().map(|manifest| {
        let (storage, columns) = (Arc::clone(&table.storage), Arc::clone(table.metadata.current_schema()));
        async move { manifest::read_entries(&storage, manifest, &columns).await }
    }));
    let entries: Vec<_> = reads.buffered(READS_MAX).try_collect().await?;
    Ok(entries.into_iter().flatten().collect())
}

/// Tells of the live files of manifests, a few manifests at a time.
pub(crate) async fn for_each_file(table: &Table, manifests: Vec<ManifestFile>, cache: &ManifestCache, mut tell: impl FnMut(&str)) -> Result<()> {
    let reads: Vec<_> = manifests.into_iter().map(|manifest| files_of(table, std::iter::once(manifest), cache)).collect();
    let mut reads = futures::stream::iter(reads).buffer_unordered(READS_MAX);
    while let Some(files) = reads.next().await {
        let files = files?;
        files.data.iter().chain(&files.deletes).for_each(|entry| tell(entry.file.file_path()));
    }
    Ok(())
}

/// Whether a manifest lists files that are there still. A count that is missing means "some".
pub(crate) fn has_live_files(manifest: &ManifestFile) -> bool {
    manifest.has_added_files() || manifest.has_existing_files()
}
