//! File systems of HDFS, over `hdfs-native`: no JVM, no `libhdfs`.
//!
//! A file gets its name by a rename, which the NameNode does at once and, if it is told so, only where there is none of that name. Folders are folders: what an object
//! store has no words for is in [`HdfsStore`]'s own functions.

mod connection;
mod failure;
mod options;
mod read;
mod upload;
mod write;

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::DateTime;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use hdfs_native::client::FileStatus;
use object_store::path::Path;
use object_store::{
    Attributes, CopyMode, CopyOptions, Error, GetOptions, GetRange, GetResult, GetResultPayload, ListResult, MultipartUpload,
    OBJECT_STORE_COALESCE_DEFAULT, ObjectMeta, ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions,
    RenameTargetMode, Result, coalesce_ranges, collect_bytes,
};

use super::FolderContent;
use connection::Connection;
use failure::{Failure, Kind};
use options::Options;
use upload::Upload;

pub(super) use failure::Failure as HdfsFailure;
pub(super) use options::{HADOOP_PREFIXES, PROPERTIES};
pub(super) use write::is_unfinished;

/// How many files of a stream are deleted at the same time.
const DELETES_MAX: usize = 16;
/// The mode of new folders.
const FOLDER_MODE: u32 = 0o755;

/// One file system.
#[derive(Debug)]
pub(super) struct HdfsStore {
    connection: Arc<Connection>,
}

impl fmt::Display for HdfsStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.connection)
    }
}

/// The file system of a NameNode or a name service. Nothing is asked of it yet.
///
/// Errors: `CONFIGURATION_INVALID` for a property that has no meaning.
pub(super) fn build(authority: &str, properties: &BTreeMap<String, String>) -> nunatak_core::Result<Arc<HdfsStore>> {
    Ok(Arc::new(HdfsStore { connection: Arc::new(Connection::new(Options::new(authority, properties)?)?) }))
}

impl HdfsStore {
    /// What lies directly in a folder; `None` if there is no such folder.
    pub(super) async fn list_folder(&self, path: &Path) -> Result<Option<FolderContent>> {
        let path = absolute(path);
        let Some(entries) = entries(&self.connection, &path).await.map_err(|failure| failure.at(&path))? else { return Ok(None) };
        let mut content = FolderContent::default();
        for entry in entries {
            let Some((_, name)) = entry.path.rsplit_once('/') else { continue };
            let names = if entry.isdir { &mut content.folders } else { &mut content.files };
            names.push(name.to_owned());
        }
        Ok(Some(content))
    }

    /// Whether there is such a folder.
    pub(super) async fn is_folder(&self, path: &Path) -> Result<bool> {
        let path = absolute(path);
        match self.status(&path).await {
            Ok(status) => Ok(status.isdir),
            Err(failure) if failure.kind() == Kind::NotFound => Ok(false),
            Err(failure) => Err(failure.at(&path)),
        }
    }

    /// Makes a folder and those that it lies in.
    pub(super) async fn make_folder(&self, path: &Path) -> Result<()> {
        make_folder(&self.connection, absolute(path)).await
    }

    /// Deletes a folder: with all in it, or only if there is nothing. One that is gone is no error.
    pub(super) async fn delete_folder(&self, path: &Path, with_content: bool) -> Result<()> {
        delete(&self.connection, absolute(path), with_content).await
    }

    async fn status(&self, path: &str) -> Result<FileStatus, Failure> {
        self.connection
            .call(|client| {
                let path = path.to_owned();
                async move { client.get_file_info(&path).await }
            })
            .await
    }
}

#[async_trait]
impl ObjectStore for HdfsStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        check_attributes(&options.attributes)?;
        let replace = match options.mode {
            PutMode::Overwrite => true,
            PutMode::Create => false,
            PutMode::Update(_) => return Err(not_implemented("put in the place of a version")),
        };
        let mut upload = Upload::start(&self.connection, &absolute(location), replace);
        upload.put_part(payload).await?;
        upload.complete().await
    }

    async fn put_multipart_opts(&self, location: &Path, options: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        check_attributes(&options.attributes)?;
        Ok(Box::new(Upload::start(&self.connection, &absolute(location), true)))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let path = absolute(location);
        let head = async {
            let status = self.status(&path).await?;
            // A folder is no file, whatever it is called.
            if status.isdir { Err(self.connection.failure(hdfs_native::HdfsError::FileNotFound(path.clone()))) } else { Ok(status) }
        };
        if options.head {
            let meta = meta(location.clone(), &head.await.map_err(|failure| failure.at(&path))?);
            options.check_preconditions(&meta)?;
            return Ok(GetResult {
                payload: GetResultPayload::Stream(stream::empty().boxed()),
                range: 0..0,
                meta,
                attributes: Attributes::default(),
            });
        }
        let opened = futures::future::try_join(head, self.connection.open(&path)).await;
        let (status, reader) = opened.map_err(|failure| failure.at(&path))?;
        let length = reader.file_length() as u64;
        let meta = ObjectMeta { size: length, ..meta(location.clone(), &status) };
        options.check_preconditions(&meta)?;
        let range = match &options.range {
            Some(range) => range.as_range(length).map_err(|error| Error::Generic { store: "HDFS", source: error.into() })?,
            None => 0..length,
        };
        let bytes = read::stream(&self.connection, &path, &reader, range.start as usize..range.end as usize);
        Ok(GetResult {
            payload: GetResultPayload::Stream(bytes.map_err(move |failure| failure.at(&path)).boxed()),
            range,
            meta,
            attributes: Attributes::default(),
        })
    }

    /// Where the blocks are is asked once for all ranges.
    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let path = absolute(location);
        let reader = self.connection.open(&path).await.map_err(|failure| failure.at(&path))?;
        let (path, reader) = (&path, &reader);
        let fetch = |range: Range<u64>| async move {
            let range = GetRange::Bounded(range).as_range(reader.file_length() as u64);
            let range = range.map_err(|error| Error::Generic { store: "HDFS", source: error.into() })?;
            let length = range.end - range.start;
            let bytes = read::stream(&self.connection, path, reader, range.start as usize..range.end as usize);
            collect_bytes(bytes.map_err(|failure| failure.at(path)), Some(length)).await
        };
        coalesce_ranges(ranges, fetch, OBJECT_STORE_COALESCE_DEFAULT).await
    }

    /// One that is gone already is deleted.
    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let connection = Arc::clone(&self.connection);
        let deletes = locations.map(move |location| {
            let connection = Arc::clone(&connection);
            async move {
                let location = location?;
                delete(&connection, absolute(&location), false).await?;
                Ok(location)
            }
        });
        deletes.buffered(DELETES_MAX).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let connection = Arc::clone(&self.connection);
        let folders = vec![prefix.map_or_else(|| "/".to_owned(), absolute)];
        let listed = stream::try_unfold(folders, move |mut folders| {
            let connection = Arc::clone(&connection);
            async move {
                let Some(folder) = folders.pop() else { return Ok::<_, Error>(None) };
                // One that is gone by now is empty.
                let entries = entries(&connection, &folder).await.map_err(|failure| failure.at(&folder))?.unwrap_or_default();
                let (inner, files): (Vec<_>, Vec<_>) = entries.into_iter().partition(|entry| entry.isdir);
                folders.extend(inner.into_iter().map(|entry| entry.path));
                let files: Vec<_> = files.iter().filter_map(object).map(Ok::<_, Error>).collect();
                Ok(Some((stream::iter(files), folders)))
            }
        });
        listed.try_flatten().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let folder = prefix.map_or_else(|| "/".to_owned(), absolute);
        let entries = entries(&self.connection, &folder).await.map_err(|failure| failure.at(&folder))?.unwrap_or_default();
        let (inner, files): (Vec<_>, Vec<_>) = entries.into_iter().partition(|entry| entry.isdir);
        Ok(ListResult {
            common_prefixes: inner.iter().filter_map(|entry| Path::parse(&entry.path).ok()).collect(),
            objects: files.iter().filter_map(object).collect(),
        })
    }

    /// The bytes pass through here: HDFS has no copy.
    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let mut bytes = self.get_opts(from, GetOptions::default()).await?.into_stream();
        let mut upload = Upload::start(&self.connection, &absolute(to), options.mode == CopyMode::Overwrite);
        while let Some(chunk) = bytes.try_next().await? {
            upload.put_part(chunk.into()).await?;
        }
        upload.complete().await.map(drop)
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        let (from, to) = (absolute(from), absolute(to));
        let status = self.status(&from).await.map_err(|failure| failure.at(&from))?;
        if let Some((folder, _)) = to.rsplit_once('/').filter(|(folder, _)| !folder.is_empty()) {
            make_folder(&self.connection, folder.to_owned()).await?;
        }
        let replace = options.target_mode == RenameTargetMode::Overwrite;
        write::rename(&self.connection, &from, &to, replace, status.length as u64).await.map_err(|failure| failure.at(&to))
    }
}

/// A path as HDFS has it.
fn absolute(path: &Path) -> String {
    format!("/{path}")
}

/// What lies in a folder; `None` if there is no such folder.
async fn entries(connection: &Connection, folder: &str) -> Result<Option<Vec<FileStatus>>, Failure> {
    let listed = connection.call(|client| {
        let folder = folder.to_owned();
        async move { client.list_status(&folder, false).await }
    });
    match listed.await {
        // A file is listed as itself.
        Ok(entries) if entries.iter().any(|entry| !entry.isdir && entry.path == folder) => Ok(None),
        Ok(entries) => Ok(Some(entries)),
        Err(failure) if failure.kind() == Kind::NotFound => Ok(None),
        Err(failure) => Err(failure),
    }
}

async fn make_folder(connection: &Connection, path: String) -> Result<()> {
    let made = connection.call(|client| {
        let path = path.clone();
        async move { client.mkdirs(&path, FOLDER_MODE, true).await }
    });
    made.await.map_err(|failure| failure.at(&path))
}

async fn delete(connection: &Connection, path: String, with_content: bool) -> Result<()> {
    let deleted = connection.call(|client| {
        let path = path.clone();
        async move { client.delete(&path, with_content).await }
    });
    deleted.await.map(drop).map_err(|failure| failure.at(&path))
}

/// A file in a listing; `None` if its name is none of an object.
fn object(status: &FileStatus) -> Option<ObjectMeta> {
    Some(meta(Path::parse(&status.path).ok()?, status))
}

fn meta(location: Path, status: &FileStatus) -> ObjectMeta {
    let modified = i64::try_from(status.modification_time).ok().and_then(DateTime::from_timestamp_millis);
    ObjectMeta { location, last_modified: modified.unwrap_or_default(), size: status.length as u64, e_tag: None, version: None }
}

fn check_attributes(attributes: &Attributes) -> Result<()> {
    if attributes.is_empty() { Ok(()) } else { Err(not_implemented("files with attributes")) }
}

fn not_implemented(operation: &str) -> Error {
    Error::NotImplemented { operation: operation.to_owned(), implementer: "HDFS".to_owned() }
}
