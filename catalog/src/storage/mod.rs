//! Object stores by location: which store a location belongs to and how it is called there. Every file of every table is reached through here,
//! so the same stores serve DataFusion, the iceberg crate and ourselves.
//!
//! Owns no credentials yet and no caches. Now local files; other schemes join in [`Storage::new`].

pub mod error;
mod file_io;
mod local;
mod location;

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use nunatak_core::{Code, Error, Result};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use url::Url;

pub use location::Location;

/// How many files are deleted at the same time.
const DELETES_MAX: usize = 16;

/// The object stores of this process, by scheme and authority.
pub struct Storage {
    stores: BTreeMap<String, (Url, Arc<dyn ObjectStore>)>,
}

/// A file in a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileStatus {
    /// Its location.
    pub location: String,
    /// Its length.
    pub bytes: u64,
    /// When it was written, in milliseconds since 1970.
    pub modified_ms: i64,
}

impl fmt::Debug for Storage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.stores.keys()).finish()
    }
}

impl Storage {
    /// Storage that knows local files.
    pub fn new() -> Arc<Self> {
        let mut stores: BTreeMap<String, (Url, Arc<dyn ObjectStore>)> = BTreeMap::new();
        // The key of a location without an authority always parses: the fallback is never taken.
        if let Ok(url) = Url::parse("file:///") {
            stores.insert(location::FILE_STORE.to_owned(), (url, Arc::new(LocalFileSystem::new())));
        }
        Arc::new(Self { stores })
    }

    /// The store a location lies in, and its path there. Never percent-encodes: Iceberg's locations are raw strings.
    pub fn resolve(&self, location: &str) -> Result<(Arc<dyn ObjectStore>, Path)> {
        let location = Location::parse(location)?;
        let (_, store) = self.entry(&location)?;
        Ok((Arc::clone(store), location.object_path()?))
    }

    /// Scheme and authority of a location, such as `file:///`: the key of its store, also in DataFusion.
    pub fn store_url(&self, location: &str) -> Result<Url> {
        let (url, _) = self.entry(&Location::parse(location)?)?;
        Ok(url.clone())
    }

    /// A location's path within its store.
    pub fn object_path(&self, location: &str) -> Result<Path> {
        Location::parse(location)?.object_path()
    }

    /// All stores with their keys, to register them with DataFusion.
    pub fn stores(&self) -> Vec<(Url, Arc<dyn ObjectStore>)> {
        self.stores.values().cloned().collect()
    }

    /// The iceberg crate's view of this storage.
    pub fn file_io(self: &Arc<Self>) -> iceberg::io::FileIO {
        file_io::build(self)
    }

    /// Reads a whole file.
    pub async fn read(&self, location: &str) -> Result<Bytes> {
        let (store, path) = self.resolve(location)?;
        let read = async { store.get(&path).await?.bytes().await };
        read.await.map_err(|error| error::from_object_store(error, location))
    }

    /// Reads a part of a file. A range that ends behind the file gives what is there.
    pub async fn read_range(&self, location: &str, range: Range<u64>) -> Result<Bytes> {
        let (store, path) = self.resolve(location)?;
        store.get_range(&path, range).await.map_err(|error| error::from_object_store(error, location))
    }

    /// Writes a whole file; readers see all of it or nothing.
    pub async fn write(&self, location: &str, bytes: Bytes) -> Result<()> {
        let (store, path) = self.resolve(location)?;
        store.put(&path, bytes.into()).await.map_err(|error| error::from_object_store(error, location))?;
        Ok(())
    }

    /// The size of a file in bytes, `None` when there is no such file.
    pub async fn size_bytes(&self, location: &str) -> Result<Option<u64>> {
        let (store, path) = self.resolve(location)?;
        match store.head(&path).await {
            Ok(meta) => Ok(Some(meta.size)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error::from_object_store(error, location)),
        }
    }

    /// When a file was written, in milliseconds since 1970.
    pub async fn modified_millis(&self, location: &str) -> Result<i64> {
        let (store, path) = self.resolve(location)?;
        let found = store.head(&path).await.map_err(|error| error::from_object_store(error, location))?;
        Ok(found.last_modified.timestamp_millis())
    }

    /// All files below a location, as they come. Nothing there is no error.
    pub fn list(&self, location: &str) -> Result<BoxStream<'static, Result<FileStatus>>> {
        let parsed = Location::parse(location)?;
        let (_, store) = self.entry(&parsed)?;
        if parsed.is_local() {
            return Ok(local::list(format!("/{}", parsed.object_path()?)));
        }
        let (root, location) = (parsed.store(), location.to_owned());
        let listed = store.list(Some(&parsed.object_path()?));
        Ok(listed
            .map_ok(move |meta| FileStatus {
                location: format!("{root}/{}", meta.location),
                bytes: meta.size,
                modified_ms: meta.last_modified.timestamp_millis(),
            })
            .map_err(move |error| error::from_object_store(error, &location))
            .boxed())
    }

    /// Deletes files. One that is already gone is no error; all others are tried before the first error is returned.
    pub async fn delete_files(&self, locations: &[String]) -> Result<()> {
        let deletes = locations.iter().map(|location| {
            let resolved = self.resolve(location);
            let location = location.clone();
            async move {
                let (store, path) = resolved?;
                if Location::parse(&location)?.is_local() {
                    return local::delete(&format!("/{path}"), &location).await;
                }
                match store.delete(&path).await {
                    Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
                    Err(error) => Err(error::from_object_store(error, &location)),
                }
            }
        });
        let deletes: Vec<_> = deletes.collect();
        let results: Vec<Result<()>> = futures::stream::iter(deletes).buffer_unordered(DELETES_MAX).collect().await;
        results.into_iter().collect()
    }

    /// Deletes everything below a location, itself included. Nothing there is no error.
    pub async fn delete_folder(&self, location: &str) -> Result<()> {
        let parsed = Location::parse(location)?;
        let (_, store) = self.entry(&parsed)?;
        let path = parsed.object_path()?;
        if path.is_root() {
            return Err(Error::internal(format!("refused to delete the root of a store: '{location}'")));
        }
        if parsed.is_local() {
            // By the file system, because an object store leaves the empty folders behind.
            return match tokio::fs::remove_dir_all(format!("/{path}")).await {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error::from_io(error, location)),
                _ => Ok(()),
            };
        }
        let listed = store.list(Some(&path)).map_ok(|meta| meta.location).boxed();
        let deleted = store.delete_stream(listed).try_for_each(|_| async { Ok(()) });
        deleted.await.map_err(|error| error::from_object_store(error, location))
    }

    fn entry(&self, location: &Location) -> Result<&(Url, Arc<dyn ObjectStore>)> {
        self.stores.get(&location.store()).ok_or_else(|| {
            Error::new(Code::NotSupported, format!("locations such as '{location}' are not supported, no store is known for '{}'", location.store()))
                .with_hint("use a local location such as file:///data/warehouse")
        })
    }
}
