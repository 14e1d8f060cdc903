//! The way of a data file's bytes into storage: in one request when it is small, in parts otherwise. Nobody sees a file before its upload is complete.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use nunatak_catalog::storage::Storage;
use nunatak_catalog::storage::error::{from_io, from_object_store};
use nunatak_core::{Code, Error, Result};
use object_store::buffered::BufWriter;
use parquet::arrow::async_writer::AsyncFileWriter;
use parquet::errors::ParquetError;
use tokio::io::AsyncWriteExt;

/// Size of the parts of an upload; as much is held in memory before the first is sent.
pub(super) const PART_BYTES: usize = 10 * 1024 * 1024;

/// How many bytes an upload has taken; shared, since the Parquet writer owns the upload.
#[derive(Clone, Debug, Default)]
pub(super) struct UploadedBytes(Arc<AtomicU64>);

impl UploadedBytes {
    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

pub(super) struct Upload {
    writer: BufWriter,
    location: String,
    bytes: UploadedBytes,
    /// Whether the end has begun; from then on there is nothing left to abort.
    ending: bool,
}

impl Upload {
    pub(super) fn new(storage: &Storage, location: &str) -> Result<Self> {
        let (store, path) = storage.resolve(location)?;
        let writer = BufWriter::with_capacity(store, path, PART_BYTES);
        Ok(Self { writer, location: location.to_owned(), bytes: UploadedBytes::default(), ending: false })
    }

    pub(super) fn bytes(&self) -> UploadedBytes {
        self.bytes.clone()
    }

    /// Takes back what was uploaded. Best effort: what stays behind is no file.
    pub(super) async fn abort(mut self) {
        if self.ending {
            return;
        }
        if let Err(error) = self.writer.abort().await {
            tracing::warn!(location = self.location, %error, "an upload could not be aborted");
        }
    }
}

impl AsyncFileWriter for Upload {
    fn write(&mut self, bytes: Bytes) -> BoxFuture<'_, parquet::errors::Result<()>> {
        async move {
            let length = bytes.len() as u64;
            self.writer.put(bytes).await.map_err(|error| external(from_object_store(error, &self.location)))?;
            self.bytes.0.fetch_add(length, Ordering::Relaxed);
            Ok(())
        }
        .boxed()
    }

    fn complete(&mut self) -> BoxFuture<'_, parquet::errors::Result<()>> {
        async move {
            self.ending = true;
            self.writer.shutdown().await.map_err(|error| external(ended(error, &self.location)))
        }
        .boxed()
    }
}

fn external(error: Error) -> ParquetError {
    ParquetError::External(Box::new(error))
}

/// The store's own error lies within the one of `AsyncWrite`.
fn ended(error: std::io::Error, location: &str) -> Error {
    match error.downcast::<object_store::Error>() {
        Ok(error) => from_object_store(error, location),
        Err(error) => from_io(error, location),
    }
}

/// Our error for a failure of the Parquet writer over an [`Upload`].
pub(super) fn from_parquet(error: ParquetError, location: &str) -> Error {
    match error {
        ParquetError::External(inner) => match inner.downcast::<Error>() {
            Ok(ours) => *ours,
            Err(other) => match other.downcast::<ParquetError>() {
                // What fails before the end of the file is wrapped once more.
                Ok(inner) => from_parquet(*inner, location),
                Err(other) => Error::new(Code::IcebergFilesystemError, format!("data file '{location}' could not be written")).with_source(other),
            },
        },
        other => Error::internal(format!("data file '{location}' could not be written as Parquet")).with_source(other),
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{DataType, Field, Schema};
    use parquet::arrow::AsyncArrowWriter;

    use super::*;

    /// What takes nothing.
    struct Refusing;

    impl AsyncFileWriter for Refusing {
        fn write(&mut self, _: Bytes) -> BoxFuture<'_, parquet::errors::Result<()>> {
            async { Err(external(Error::new(Code::StorageAccessDenied, "nobody may write there"))) }.boxed()
        }

        fn complete(&mut self) -> BoxFuture<'_, parquet::errors::Result<()>> {
            async { Ok(()) }.boxed()
        }
    }

    #[tokio::test]
    async fn what_the_store_says_is_told_wherever_it_fails() {
        let schema = Arc::new(Schema::new(vec![Field::new("a", DataType::Int32, false)]));
        let writer = AsyncArrowWriter::try_new(Refusing, schema, None).unwrap();
        let error = from_parquet(writer.close().await.unwrap_err(), "f:/x");
        assert_eq!((error.code(), error.message()), (Code::StorageAccessDenied, "nobody may write there"));
        let ended = from_parquet(external(Error::new(Code::StorageUnavailable, "it is away")), "f:/x");
        assert_eq!(ended.code(), Code::StorageUnavailable);
    }
}
