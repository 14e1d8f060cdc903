//! Parsed manifest lists and manifests of all tables, shared by all queries. Both are immutable files, so nothing is ever invalidated.

use std::fmt;
use std::sync::Arc;

use moka::future::Cache;
use nunatak_core::{Error, Result};

use super::{FileEntry, manifest, size};
use crate::error;
use crate::spec::{FormatVersion, ManifestFile, ManifestStatus, SchemaRef};
use crate::storage::Storage;

/// The share of the cache that manifest lists may take: one in so many bytes.
const LISTS_SHARE: u64 = 8;

/// A manifest and the row id its list gave it: the same manifest has none before a table's upgrade to v3 and one after it.
type ManifestKey = (String, Option<u64>);

/// A cache of parsed manifest lists and manifests, bounded by the bytes they take in memory. Cheap to clone: clones share it.
#[derive(Clone)]
pub struct ManifestCache {
    lists: Cache<String, Arc<Vec<ManifestFile>>>,
    entries: Cache<ManifestKey, Arc<Vec<Arc<FileEntry>>>>,
}

impl ManifestCache {
    /// A cache that takes about `bytes_max` of memory.
    pub fn new(bytes_max: u64) -> Self {
        let lists_bytes_max = bytes_max / LISTS_SHARE;
        let lists = Cache::builder()
            .max_capacity(lists_bytes_max)
            .weigher(|path: &String, list: &Arc<Vec<ManifestFile>>| size::weight(path.len() + size::list(list)))
            .build();
        let entries = Cache::builder()
            .max_capacity(bytes_max - lists_bytes_max)
            .weigher(|key: &ManifestKey, entries: &Arc<Vec<Arc<FileEntry>>>| size::weight(key.0.len() + size::entries(entries)))
            .build();
        Self { lists, entries }
    }

    /// Forgets everything.
    pub fn clear(&self) {
        self.lists.invalidate_all();
        self.entries.invalidate_all();
    }

    /// The manifests that the list at `path` names.
    pub(super) async fn list(&self, storage: &Storage, path: &str, version: FormatVersion) -> Result<Arc<Vec<ManifestFile>>> {
        let load = async { Ok(Arc::new(manifest::read_list(storage, path, version).await?)) };
        self.lists.try_get_with_by_ref(path, load).await.map_err(unshare)
    }

    /// The live files of a manifest. `columns` are those that its table has now.
    pub(super) async fn entries(&self, storage: &Storage, manifest: ManifestFile, columns: &SchemaRef) -> Result<Arc<Vec<Arc<FileEntry>>>> {
        let key = (manifest.manifest_path.clone(), manifest.first_row_id);
        let load = async {
            let all = manifest::read_entries(storage, manifest, columns).await?;
            let live = all.into_iter().filter(|(status, _)| *status != ManifestStatus::Deleted);
            Ok(Arc::new(live.map(|(_, file)| Arc::new(file)).collect::<Vec<_>>()))
        };
        self.entries.try_get_with(key, load).await.map_err(unshare)
    }
}

impl fmt::Debug for ManifestCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManifestCache")
            .field("lists", &self.lists.entry_count())
            .field("manifests", &self.entries.entry_count())
            .field("bytes", &(self.lists.weighted_size() + self.entries.weighted_size()))
            .finish()
    }
}

/// Queries that wait for the same file get the same error.
fn unshare(shared: Arc<Error>) -> Error {
    Arc::try_unwrap(shared).unwrap_or_else(|shared| error::copy(&shared).with_source(shared))
}
