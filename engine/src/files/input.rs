//! The bytes of one file: fetched, decompressed, and handed to whatever takes records out of them, chunk by chunk.

use std::io::{self, Read};
use std::sync::Arc;

use bytes::{Buf, Bytes};
use datafusion::datasource::file_format::file_compression_type::FileCompressionType;
use datafusion::error::{DataFusionError, Result};
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use nunatak_catalog::storage::error::from_object_store;
use nunatak_core::{Code, Error};
use object_store::path::Path;
use object_store::{GetResultPayload, ObjectStore, ObjectStoreExt};
use tokio::runtime::Handle;

use super::options::Compression;
use crate::error::into_datafusion;

/// How much is read and decompressed at a time. Each chunk costs one hop to a blocking thread.
const CHUNK_BYTES: u64 = 1 << 20;

const UTF8_MARK: &[u8] = b"\xef\xbb\xbf";
const UTF16_MARKS: [&[u8]; 2] = [b"\xff\xfe", b"\xfe\xff"];

/// Takes records out of bytes.
pub(super) trait RecordSink: Send {
    /// Takes records until there are enough or the input is used up; says how many bytes were used.
    fn read(&mut self, input: &[u8]) -> nunatak_core::Result<usize>;

    /// The file has ended: what was begun is complete.
    fn finish(&mut self) -> nunatak_core::Result<()>;

    /// Whether there are enough records.
    fn is_full(&self) -> bool;
}

/// A file that is being read.
pub(super) struct Input {
    stream: BoxStream<'static, Result<Bytes>>,
    chunk: Bytes,
    path: String,
    has_begun: bool,
    has_ended: bool,
}

impl Input {
    /// Opens a file; `path` is its name in messages.
    pub(super) async fn open(store: Arc<dyn ObjectStore>, location: &Path, compression: Compression, path: String) -> Result<Self> {
        let kind = compression.of_file(location.filename().unwrap_or_default());
        let found = store.get(location).await.map_err(|error| into_datafusion(from_object_store(error, &path)))?;
        let stream = match found.payload {
            GetResultPayload::File(file, _) => chunks(file, kind, &path)?,
            GetResultPayload::Stream(parts) if !kind.is_compressed() => {
                let path = path.clone();
                parts.map_err(move |error| into_datafusion(from_object_store(error, &path))).boxed()
            }
            // Decompressed as a file is: DataFusion's decoder of streams stops silently after the first frame of several.
            GetResultPayload::Stream(parts) => chunks(StreamReader { parts, chunk: Bytes::new(), runtime: Handle::current() }, kind, &path)?,
        };
        Ok(Self { stream, chunk: Bytes::new(), path, has_begun: false, has_ended: false })
    }

    /// Whether all was read.
    pub(super) fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Reads until `sink` has enough or the file ends.
    pub(super) async fn fill(&mut self, sink: &mut dyn RecordSink) -> Result<()> {
        while !self.has_ended && !sink.is_full() {
            if self.chunk.is_empty() && !self.next_chunk().await? {
                self.has_ended = true;
                return sink.finish().map_err(into_datafusion);
            }
            let used = sink.read(&self.chunk).map_err(into_datafusion)?;
            self.chunk.advance(used);
        }
        Ok(())
    }

    async fn next_chunk(&mut self) -> Result<bool> {
        let Some(chunk) = self.stream.next().await.transpose()? else { return Ok(false) };
        self.chunk = chunk;
        if !self.has_begun {
            self.has_begun = true;
            self.take_byte_order_mark()?;
        }
        Ok(true)
    }

    fn take_byte_order_mark(&mut self) -> Result<()> {
        if self.chunk.starts_with(UTF8_MARK) {
            self.chunk.advance(UTF8_MARK.len());
        }
        if UTF16_MARKS.iter().any(|mark| self.chunk.starts_with(mark)) {
            let error = Error::new(Code::InvalidArguments, format!("file '{}' is in utf-16", self.path));
            return Err(into_datafusion(error.with_hint("convert it to utf-8, for example with iconv")));
        }
        Ok(())
    }
}

/// Reads and decompresses on blocking threads.
fn chunks<R: Read + Send + 'static>(source: R, kind: FileCompressionType, path: &str) -> Result<BoxStream<'static, Result<Bytes>>> {
    let reader = kind.convert_read(source)?;
    let path: Arc<str> = path.into();
    let next = move |mut reader: Box<dyn Read + Send>| {
        let path = Arc::clone(&path);
        async move {
            let read = move || {
                let mut chunk = Vec::with_capacity(CHUNK_BYTES as usize);
                reader.by_ref().take(CHUNK_BYTES).read_to_end(&mut chunk).map(|_| (chunk, reader))
            };
            let joined = tokio::task::spawn_blocking(read).await.map_err(|error| DataFusionError::External(Box::new(error)))?;
            let (chunk, reader) = joined.map_err(|error| unreadable(error, kind, &path))?;
            Ok::<_, DataFusionError>((!chunk.is_empty()).then(|| (Bytes::from(chunk), reader)))
        }
    };
    Ok(stream::try_unfold(reader, next).boxed())
}

fn unreadable(error: io::Error, kind: FileCompressionType, path: &str) -> DataFusionError {
    let error = match error.downcast::<object_store::Error>() {
        Ok(storage) => return into_datafusion(from_object_store(storage, path)),
        Err(error) => error,
    };
    let error = if kind.is_compressed() {
        Error::new(Code::InvalidArguments, format!("file '{path}' cannot be decompressed: {error}"))
            .with_hint("it is damaged, or compressed in another way: see option compression")
    } else {
        Error::new(Code::IcebergFilesystemError, format!("file '{path}' cannot be read: {error}"))
    };
    into_datafusion(error)
}

/// A stream read as a file is, on a blocking thread.
struct StreamReader {
    parts: BoxStream<'static, object_store::Result<Bytes>>,
    chunk: Bytes,
    runtime: Handle,
}

impl Read for StreamReader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.chunk.is_empty() {
            match self.runtime.block_on(self.parts.next()) {
                Some(chunk) => self.chunk = chunk.map_err(io::Error::other)?,
                None => return Ok(0),
            }
        }
        let length = self.chunk.len().min(into.len());
        self.chunk.copy_to_slice(&mut into[..length]);
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;

    use super::*;

    struct Bytewise(Vec<u8>);

    impl RecordSink for Bytewise {
        fn read(&mut self, input: &[u8]) -> nunatak_core::Result<usize> {
            self.0.extend_from_slice(input);
            Ok(input.len())
        }

        fn finish(&mut self) -> nunatak_core::Result<()> {
            Ok(())
        }

        fn is_full(&self) -> bool {
            false
        }
    }

    /// A store that gives streams, not files, and a file of two frames, as parallel compressors write them.
    #[tokio::test]
    async fn frames_of_a_stream_are_all_read() -> Result<()> {
        let mut frames = Vec::new();
        for part in ["\u{feff}first ", "second"] {
            let parts = stream::iter([Ok::<_, DataFusionError>(Bytes::from(part))]).boxed();
            let packed: Vec<Bytes> = FileCompressionType::ZSTD.convert_to_compress_stream(parts)?.try_collect().await?;
            frames.extend(packed.concat());
        }
        let store = Arc::new(InMemory::new());
        store.put(&Path::from("x.zst"), frames.into()).await?;
        let mut input = Input::open(store, &Path::from("x.zst"), Compression::Auto, "x.zst".to_owned()).await?;
        let mut sink = Bytewise(Vec::new());
        input.fill(&mut sink).await?;
        assert_eq!(String::from_utf8_lossy(&sink.0), "first second");
        assert!(input.has_ended());
        Ok(())
    }
}
