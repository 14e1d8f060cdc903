//! The iceberg crate's `Storage` on top of our stores, so that its readers and writers see the same files under the same names as we do.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use iceberg::io::{
    FileIO, FileIOBuilder, FileMetadata, FileRead, FileWrite, InputFile, OutputFile, Storage as IcebergStorage, StorageConfig, StorageFactory,
};
use iceberg::{Error as IcebergError, ErrorKind, Result as IcebergResult};
use nunatak_core::Error;
use object_store::buffered::BufWriter;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use serde::{Deserialize, Serialize};
use tokio::io::AsyncWriteExt;

use super::{Storage, error};

/// How many paths are taken from a stream before they are deleted together.
const DELETE_BATCH: usize = 1_000;

pub(super) fn build(storage: &Arc<Storage>) -> FileIO {
    FileIOBuilder::new(Arc::new(Bridge { storage: Arc::clone(storage) })).build()
}

/// Both the factory and the storage it makes. The crate wants it serialisable; the stores themselves are not sent anywhere, a received bridge
/// knows local files only.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Bridge {
    #[serde(skip, default = "Storage::new")]
    storage: Arc<Storage>,
}

#[typetag::serde(name = "NunatakStorageFactory")]
impl StorageFactory for Bridge {
    fn build(&self, _config: &StorageConfig) -> IcebergResult<Arc<dyn IcebergStorage>> {
        Ok(Arc::new(self.clone()))
    }
}

#[async_trait]
#[typetag::serde(name = "NunatakStorage")]
impl IcebergStorage for Bridge {
    async fn exists(&self, path: &str) -> IcebergResult<bool> {
        Ok(self.storage.size_bytes(path).await.map_err(wrap)?.is_some())
    }

    async fn metadata(&self, path: &str) -> IcebergResult<FileMetadata> {
        let (store, object) = self.storage.resolve(path).map_err(wrap)?;
        let meta = store.head(&object).await.map_err(|error| wrap(error::from_object_store(error, path)))?;
        Ok(FileMetadata { size: meta.size })
    }

    async fn read(&self, path: &str) -> IcebergResult<Bytes> {
        self.storage.read(path).await.map_err(wrap)
    }

    async fn reader(&self, path: &str) -> IcebergResult<Box<dyn FileRead>> {
        let (store, object) = self.storage.resolve(path).map_err(wrap)?;
        Ok(Box::new(Reader { store, object, location: path.to_owned() }))
    }

    async fn write(&self, path: &str, bytes: Bytes) -> IcebergResult<()> {
        self.storage.write(path, bytes).await.map_err(wrap)
    }

    async fn writer(&self, path: &str) -> IcebergResult<Box<dyn FileWrite>> {
        let (store, object) = self.storage.resolve(path).map_err(wrap)?;
        Ok(Box::new(Writer { inner: BufWriter::new(store, object), location: path.to_owned() }))
    }

    async fn delete(&self, path: &str) -> IcebergResult<()> {
        self.storage.delete_files(&[path.to_owned()]).await.map_err(wrap)
    }

    async fn delete_prefix(&self, path: &str) -> IcebergResult<()> {
        self.storage.delete_folder(path).await.map_err(wrap)
    }

    async fn delete_stream(&self, paths: BoxStream<'static, String>) -> IcebergResult<()> {
        let mut batches = paths.chunks(DELETE_BATCH);
        while let Some(batch) = batches.next().await {
            self.storage.delete_files(&batch).await.map_err(wrap)?;
        }
        Ok(())
    }

    fn new_input(&self, path: &str) -> IcebergResult<InputFile> {
        Ok(InputFile::new(Arc::new(self.clone()), path.to_owned()))
    }

    fn new_output(&self, path: &str) -> IcebergResult<OutputFile> {
        Ok(OutputFile::new(Arc::new(self.clone()), path.to_owned()))
    }
}

struct Reader {
    store: Arc<dyn ObjectStore>,
    object: Path,
    location: String,
}

#[async_trait]
impl FileRead for Reader {
    async fn read(&self, range: Range<u64>) -> IcebergResult<Bytes> {
        let read = self.store.get_range(&self.object, range).await;
        read.map_err(|error| wrap(error::from_object_store(error, &self.location)))
    }
}

struct Writer {
    inner: BufWriter,
    location: String,
}

#[async_trait]
impl FileWrite for Writer {
    async fn write(&mut self, bytes: Bytes) -> IcebergResult<()> {
        let written = self.inner.put(bytes).await;
        written.map_err(|error| wrap(error::from_object_store(error, &self.location)))
    }

    async fn close(&mut self) -> IcebergResult<()> {
        let closed = self.inner.shutdown().await;
        closed.map_err(|error| wrap(error::from_io(error, &self.location)))
    }
}

/// Our error as the crate's, to come out again unharmed in `crate::error`.
fn wrap(error: Error) -> IcebergError {
    IcebergError::new(ErrorKind::Unexpected, error.message()).with_source(error)
}
