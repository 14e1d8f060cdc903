//! Reading a file: a stream that goes on at its place when DataNodes are lost.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use hdfs_native::file::FileReader;

use super::connection::{Connection, Waits};
use super::failure::Failure;

/// A part of a file on its way. The library goes to other DataNodes that had the block when the file was opened; if none of them gives it, the file is opened
/// again.
struct Reading {
    connection: Arc<Connection>,
    path: String,
    offset: usize,
    end: usize,
    bytes: BoxStream<'static, hdfs_native::Result<Bytes>>,
    waits: Option<Waits>,
}

/// The bytes of an open file in a range, which lies within the file.
pub(super) fn stream(
    connection: &Arc<Connection>,
    path: &str,
    reader: &FileReader,
    range: Range<usize>,
) -> BoxStream<'static, Result<Bytes, Failure>> {
    let reading = Reading {
        connection: Arc::clone(connection),
        path: path.to_owned(),
        offset: range.start,
        end: range.end,
        bytes: reader.read_range_stream(range.start, range.len()).boxed(),
        waits: None,
    };
    stream::try_unfold(reading, Reading::next).boxed()
}

impl Reading {
    async fn next(mut self) -> Result<Option<(Bytes, Self)>, Failure> {
        while self.offset < self.end {
            let failure = match self.bytes.next().await {
                Some(Ok(bytes)) => {
                    self.offset += bytes.len();
                    self.waits = None;
                    return Ok(Some((bytes, self)));
                }
                Some(Err(error)) => self.connection.failure(error),
                None => self.ended_early(),
            };
            let connection = Arc::clone(&self.connection);
            if !failure.is_transient() || !self.waits.get_or_insert_with(|| connection.waits()).pass().await {
                return Err(failure);
            }
            tracing::debug!(%failure, path = self.path, offset = self.offset, "a file is opened again");
            let reader = connection.open(&self.path).await?;
            if reader.file_length() < self.end {
                return Err(self.ended_early());
            }
            self.bytes = reader.read_range_stream(self.offset, self.end - self.offset).boxed();
        }
        Ok(None)
    }

    fn ended_early(&self) -> Failure {
        self.connection.own_failure(io::ErrorKind::UnexpectedEof, format!("the file ends at {} of {} bytes", self.offset, self.end))
    }
}
