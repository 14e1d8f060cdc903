//! Object stores by location: which store a location belongs to and how it is called there. Every file of every table is reached through here,
//! so the same stores serve DataFusion, the iceberg crate and ourselves.
//!
//! A [`Storage`] is the stores as one catalog reaches them, with its properties; [`Storages`] are all that a process knows. Stores are made when
//! the first file is asked for: local files, what S3, Google Cloud Storage and Azure keep, and file systems of HDFS.

pub(crate) mod assumed_role;
mod azure;
mod client;
pub mod error;
mod exclusive;
mod file_io;
mod gcs;
mod handed_out;
mod hdfs;
mod local;
mod location;
mod metered;
mod properties;
mod refusal;
pub(crate) mod remote_signer;
mod s3;
mod s3_answers;
mod signer;
mod storages;
pub(crate) mod vended;

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt, future};
use nunatak_core::{Code, Error, Result};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::signer::Signer;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};
use parking_lot::Mutex;
use tokio::sync::OnceCell;
use url::Url;

pub use handed_out::FileContent;
pub use location::Location;
pub use metered::{StoreMetrics, StoreUse};
pub use properties::StorageProperties;
pub use storages::{Storages, Used};

use handed_out::signing;
use hdfs::HdfsStore;
use metered::MeteredStore;
use signer::S3Signer;
use vended::RenewedCredentials;

/// How many files are deleted at the same time.
const DELETES_MAX: usize = 16;

/// A store.
#[derive(Clone)]
struct Store {
    /// By which DataFusion knows it.
    url: Url,
    objects: Arc<dyn ObjectStore>,
    /// The same if it is a file system of HDFS, which has folders.
    hdfs: Option<Arc<HdfsStore>>,
    /// The same if it signs addresses by which others read files of it.
    signs: Option<Arc<dyn Signer>>,
    /// What was asked of it; nothing is counted of local files.
    metrics: Arc<StoreMetrics>,
    /// Whether of all that make the same file one succeeds, once that is known.
    is_exclusive: Arc<OnceCell<bool>>,
}

/// Object stores as one catalog reaches them, by scheme and authority.
pub struct Storage {
    properties: StorageProperties,
    /// Those that take the place of the ones in the properties.
    credentials: Option<Arc<RenewedCredentials>>,
    stores: Mutex<HashMap<String, Store>>,
    /// What signs requests to buckets for others, by bucket.
    signers: Mutex<HashMap<String, Arc<S3Signer>>>,
    /// The names of the catalogs that have it, or tables with it.
    catalogs: Mutex<BTreeSet<String>>,
}

/// Whether a file was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Created {
    /// It was, and is what was given.
    New,
    /// There was one already, which stays as it is.
    Existed,
}

/// What lies directly in a folder, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FolderContent {
    /// The folders.
    pub folders: Vec<String>,
    /// The files.
    pub files: Vec<String>,
}

/// Whether a file's name tells that it was not finished. Nobody reads such files; where a writer was killed they stay.
pub(crate) fn is_unfinished(name: &str) -> bool {
    hdfs::is_unfinished(name)
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
        f.debug_tuple("Storage").field(&self.properties).finish()
    }
}

impl Storage {
    /// Storage without properties: local files, and other stores as the environment says.
    pub fn new() -> Arc<Self> {
        Self::with_properties(StorageProperties::default())
    }

    /// Storage with properties.
    pub fn with_properties(properties: StorageProperties) -> Arc<Self> {
        let credentials = RenewedCredentials::new(properties.as_map());
        Arc::new(Self { properties, credentials, stores: Mutex::default(), signers: Mutex::default(), catalogs: Mutex::default() })
    }

    /// Its properties, with credentials as they are now.
    pub fn properties(&self) -> StorageProperties {
        match &self.credentials {
            Some(credentials) => self.properties.with_credentials(credentials.properties()),
            None => self.properties.clone(),
        }
    }

    /// Takes over the credentials in properties that are otherwise its own, if they last longer than those that it has.
    fn renew(&self, properties: &StorageProperties) {
        if let Some(credentials) = &self.credentials {
            credentials.take(properties.as_map());
        }
    }

    /// Whether it is that of one table, by what its catalog's server has given for it.
    fn is_vended(&self) -> bool {
        self.credentials.is_some() || self.properties.as_map().contains_key(remote_signer::ENDPOINT)
    }

    /// The store a location lies in, and its path there. Never percent-encodes: Iceberg's locations are raw strings.
    pub fn resolve(&self, location: &str) -> Result<(Arc<dyn ObjectStore>, Path)> {
        let location = Location::parse(location)?;
        Ok((self.entry(&location)?.objects, location.object_path()?))
    }

    /// The key of a location's store in DataFusion: scheme and authority, such as `file:///`, or `s3+5f1d..://bucket` where properties have a say.
    pub fn store_url(&self, location: &str) -> Result<Url> {
        Ok(self.entry(&Location::parse(location)?)?.url)
    }

    /// A location's path within its store.
    pub fn object_path(&self, location: &str) -> Result<Path> {
        Location::parse(location)?.object_path()
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

    /// Reads a whole file; `None` when there is no such file.
    pub async fn read_if_there(&self, location: &str) -> Result<Option<Bytes>> {
        let (store, path) = self.resolve(location)?;
        let read = async { store.get(&path).await?.bytes().await };
        error::if_there(read.await, location)
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

    /// Makes a file, if there is none: one of all that try succeeds.
    ///
    /// Errors: `NOT_SUPPORTED` for a store where all that try would.
    pub async fn create(&self, location: &str, bytes: Bytes) -> Result<Created> {
        let parsed = Location::parse(location)?;
        let store = self.entry(&parsed)?;
        let path = parsed.object_path()?;
        if !parsed.is_local()
            && store.hdfs.is_none()
            && !*store.is_exclusive.get_or_try_init(|| exclusive::is_exclusive(store.objects.as_ref(), &path, location)).await?
        {
            return Err(Error::not_supported(format!(
                "the store of '{location}' does not keep two writers from making the same file (If-None-Match)"
            ))
            .with_hint("commits would be lost there; use a catalog of another type than hadoop, or a store that knows conditional writes"));
        }
        match exclusive::create(store.objects.as_ref(), &path, bytes).await {
            Ok(created) => Ok(created),
            Err(error) => Err(error::from_object_store(error, location)),
        }
    }

    /// What tells a file from another one that had the same location; `None` when there is no such file.
    pub async fn tag(&self, location: &str) -> Result<Option<String>> {
        let (store, path) = self.resolve(location)?;
        let found = error::if_there(store.head(&path).await, location)?;
        Ok(found.map(|meta| meta.e_tag.unwrap_or_else(|| format!("{}-{}", meta.last_modified.timestamp_micros(), meta.size))))
    }

    /// The size of a file in bytes, `None` when there is no such file.
    pub async fn size_bytes(&self, location: &str) -> Result<Option<u64>> {
        let (store, path) = self.resolve(location)?;
        Ok(error::if_there(store.head(&path).await, location)?.map(|meta| meta.size))
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
        let store = self.entry(&parsed)?.objects;
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

    /// What lies directly in a folder; `None` if there is no such folder. Where folders are nothing but the files in them, an empty one is none.
    pub async fn list_folder(&self, location: &str) -> Result<Option<FolderContent>> {
        let parsed = Location::parse(location)?;
        let store = self.entry(&parsed)?;
        let path = parsed.object_path()?;
        if parsed.is_local() {
            return local::list_folder(format!("/{path}")).await;
        }
        if let Some(hdfs) = store.hdfs {
            return hdfs.list_folder(&path).await.map_err(|error| error::from_object_store(error, location));
        }
        let listed = store.objects.list_with_delimiter(Some(&path)).await.map_err(|error| error::from_object_store(error, location))?;
        if listed.common_prefixes.is_empty() && listed.objects.is_empty() {
            return Ok(None);
        }
        let name = |path: &Path| path.filename().map(str::to_owned);
        let folders = listed.common_prefixes.iter().filter_map(name).collect();
        // An object that others make as the folder itself is none in it.
        let within = listed.objects.iter().filter(|object| object.location != path);
        Ok(Some(FolderContent { folders, files: within.filter_map(|object| name(&object.location)).collect() }))
    }

    /// Whether there is such a folder. Cheaper than [`Storage::list_folder`].
    pub async fn is_folder(&self, location: &str) -> Result<bool> {
        let parsed = Location::parse(location)?;
        let store = self.entry(&parsed)?;
        let path = parsed.object_path()?;
        if parsed.is_local() {
            return local::is_folder(&format!("/{path}"), location).await;
        }
        if let Some(hdfs) = store.hdfs {
            return hdfs.is_folder(&path).await.map_err(|error| error::from_object_store(error, location));
        }
        let first = store.objects.list(Some(&path)).try_next().await;
        first.map(|first| first.is_some()).map_err(|error| error::from_object_store(error, location))
    }

    /// Whether there is nothing below a location. A folder without anything in it is nothing, and so is an object that others make as one: its name ends with a slash.
    pub async fn is_empty(&self, location: &str) -> Result<bool> {
        if !self.has_folders(location)? {
            let folder = Location::parse(location)?.to_string();
            let is_below = |file: &FileStatus| future::ready(file.location != folder.trim_end_matches('/'));
            return Ok(self.list(location)?.try_filter(is_below).try_next().await?.is_none());
        }
        let content = self.list_folder(location).await?.unwrap_or_default();
        Ok(content.folders.is_empty() && content.files.is_empty())
    }

    /// Whether a folder can be there without a file in it.
    pub fn has_folders(&self, location: &str) -> Result<bool> {
        let location = Location::parse(location)?;
        Ok(location.is_local() || self.entry(&location)?.hdfs.is_some())
    }

    /// Makes a folder and those that it lies in, where there can be one without a file.
    pub async fn make_folder(&self, location: &str) -> Result<()> {
        let parsed = Location::parse(location)?;
        if let Some(hdfs) = self.entry(&parsed)?.hdfs {
            return hdfs.make_folder(&parsed.object_path()?).await.map_err(|error| error::from_object_store(error, location));
        }
        if !parsed.is_local() {
            return Ok(());
        }
        tokio::fs::create_dir_all(format!("/{}", parsed.object_path()?)).await.map_err(|error| error::from_io(error, location))
    }

    /// Removes a folder that has nothing in it. One that is gone is no error.
    pub async fn remove_empty_folder(&self, location: &str) -> Result<()> {
        let parsed = Location::parse(location)?;
        let store = self.entry(&parsed)?;
        if let Some(hdfs) = store.hdfs {
            return hdfs.delete_folder(&parsed.object_path()?, false).await.map_err(|error| error::from_object_store(error, location));
        }
        if !parsed.is_local() {
            return match marker(&parsed, &parsed.object_path()?) {
                Some(marker) => error::if_there(store.objects.delete(&marker).await, location).map(drop),
                None => Ok(()),
            };
        }
        match tokio::fs::remove_dir(format!("/{}", parsed.object_path()?)).await {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error::from_io(error, location)),
            _ => Ok(()),
        }
    }

    /// Removes a folder and those below it that have no file in them.
    pub async fn remove_empty_folders(&self, location: &str) -> Result<()> {
        if !self.has_folders(location)? {
            return Ok(());
        }
        // Each comes after the one that it lies in.
        let mut folders = vec![location.trim_end_matches('/').to_owned()];
        let (mut looked, mut with_files) = (0, Vec::new());
        while let Some(folder) = folders.get(looked).cloned() {
            let content = self.list_folder(&folder).await?.unwrap_or_default();
            folders.extend(content.folders.iter().map(|name| format!("{folder}/{name}")));
            if !content.files.is_empty() {
                with_files.push(folder);
            }
            looked += 1;
        }
        for folder in folders.iter().rev() {
            let is_within =
                |file_folder: &String| file_folder.strip_prefix(folder.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
            if !with_files.iter().any(is_within) {
                self.remove_empty_folder(folder).await?;
            }
        }
        Ok(())
    }

    /// Deletes files. One that is already gone is no error; all others are tried before the first error is returned.
    pub async fn delete_files(&self, locations: &[String]) -> Result<()> {
        self.delete_each(locations).await.into_iter().collect()
    }

    /// The same, with what came of each file.
    pub(crate) async fn delete_each(&self, locations: &[String]) -> Vec<Result<()>> {
        let deletes = locations.iter().map(|location| {
            let resolved = self.resolve(location);
            let location = location.clone();
            async move {
                let (store, path) = resolved?;
                if Location::parse(&location)?.is_local() {
                    return local::delete(&format!("/{path}"), &location).await;
                }
                error::if_there(store.delete(&path).await, &location).map(drop)
            }
        });
        let deletes: Vec<_> = deletes.collect();
        futures::stream::iter(deletes).buffered(DELETES_MAX).collect().await
    }

    /// Deletes everything below a location, itself included. Nothing there is no error.
    pub async fn delete_folder(&self, location: &str) -> Result<()> {
        let parsed = Location::parse(location)?;
        let store = self.entry(&parsed)?;
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
        if let Some(hdfs) = store.hdfs {
            return hdfs.delete_folder(&path, true).await.map_err(|error| error::from_object_store(error, location));
        }
        // What is empty may be the marker of a folder; that of a file which is none is no error.
        let names = move |meta: ObjectMeta| {
            let marker = if meta.size == 0 { marker(&parsed, &meta.location) } else { None };
            futures::stream::iter([Some(meta.location), marker].into_iter().flatten().map(Ok::<_, object_store::Error>))
        };
        let listed = store.objects.list(Some(&path)).map_ok(names).try_flatten().boxed();
        let deleted = store.objects.delete_stream(listed).try_for_each(|_| async { Ok(()) });
        deleted.await.map_err(|error| error::from_object_store(error, location))
    }

    /// The store of a location, which is made if nobody has asked for it before.
    fn entry(&self, location: &Location) -> Result<Store> {
        let key = location.store();
        let mut stores = self.stores.lock();
        if let Some(store) = stores.get(&key) {
            return Ok(store.clone());
        }
        let store = self.build(location)?;
        stores.insert(key, store.clone());
        Ok(store)
    }

    fn build(&self, location: &Location) -> Result<Store> {
        let (properties, authority) = (self.properties.as_map(), location.authority());
        let (url, metrics) = (self.url(location)?, Arc::new(StoreMetrics::default()));
        if location.is_local() {
            return Ok(Store { url, objects: Arc::new(LocalFileSystem::new()), hdfs: None, signs: None, metrics, is_exclusive: Arc::default() });
        }
        let (mut hdfs, mut signs) = (None, None);
        let objects: Arc<dyn ObjectStore> = match location.scheme() {
            "s3" => signing(s3::build(authority, properties, self.credentials.as_ref())?, &mut signs),
            "gs" => signing(gcs::build(authority, properties)?, &mut signs),
            "abfs" => signing(azure::build(authority, properties)?, &mut signs),
            "hdfs" => Arc::clone(hdfs.insert(hdfs::build(authority, properties)?)) as _,
            _ => {
                return Err(Error::new(
                    Code::NotSupported,
                    format!("locations such as '{location}' are not supported, no store is known for '{}'", location.store()),
                )
                .with_hint(
                    "use a local location such as file:///data/warehouse, a bucket such as s3://lake/warehouse, or hdfs://namenode:8020/warehouse",
                ));
            }
        };
        // Whoever has requests signed by another has nothing to sign addresses with.
        let signs = signs.filter(|_| !properties.contains_key(remote_signer::ENDPOINT));
        let objects = Arc::new(MeteredStore::new(objects, client::requests_max(properties)?, Arc::clone(&metrics)));
        Ok(Store { url, objects, hdfs, signs, metrics, is_exclusive: Arc::default() })
    }

    /// What signs requests to the bucket of a location for others.
    ///
    /// Errors: `NOT_SUPPORTED` if it is in no bucket of S3.
    pub(crate) fn signer(&self, location: &Location) -> Result<Arc<S3Signer>> {
        if location.scheme() != "s3" {
            return Err(Error::not_supported(format!("requests to '{location}' cannot be signed: it is not in a bucket of S3")));
        }
        let bucket = location.authority();
        let mut signers = self.signers.lock();
        if let Some(signer) = signers.get(bucket) {
            return Ok(Arc::clone(signer));
        }
        let signer = Arc::new(s3::signer(bucket, self.properties.as_map(), self.credentials.as_ref())?);
        signers.insert(bucket.to_owned(), Arc::clone(&signer));
        Ok(signer)
    }

    /// What was asked of each store so far, by scheme and authority.
    fn uses(&self) -> Vec<(String, StoreUse)> {
        let stores = self.stores.lock();
        let remote = stores.iter().filter(|(_, store)| store.url.scheme() != "file");
        remote.map(|(name, store)| (name.clone(), store.metrics.now())).collect()
    }

    fn url(&self, location: &Location) -> Result<Url> {
        let key = match self.properties.id() {
            Some(id) if !location.is_local() => format!("{}+{id}://{}/", location.scheme(), location.authority()),
            _ => format!("{}/", location.store()),
        };
        Url::parse(&key).map_err(|error| {
            Error::new(Code::IcebergFilesystemError, format!("'{location}' is not a location: '{}' names no store: {error}", location.authority()))
        })
    }

    /// The store with a URL that [`Self::store_url`] gave.
    fn by_url(&self, url: &Url) -> Result<Arc<dyn ObjectStore>> {
        let scheme = url.scheme().split_once('+').map_or(url.scheme(), |(scheme, _)| scheme);
        let authority = &url[url::Position::BeforeUsername..url::Position::AfterPort];
        Ok(self.entry(&Location::parse(&format!("{scheme}://{authority}/"))?)?.objects)
    }
}

/// The object that others make as a folder in a bucket of S3: its name ends with a slash, which listings leave out. Hadoop's client makes one of each folder, as consoles do.
fn marker(location: &Location, folder: &Path) -> Option<Path> {
    (location.scheme() == "s3" && !folder.is_root()).then(|| folder.clone().join(""))
}
