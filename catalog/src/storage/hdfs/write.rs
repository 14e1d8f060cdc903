//! Writing a file: into a temporary one beside it, which gets its name when it is whole. So nobody sees a part of a file, and of several that make the same one, one
//! succeeds.
//!
//! `hdfs-native` goes on without a DataNode that fails within a block, but not where the first one of a new block cannot be reached. As long as we still have what was
//! written, we write it again.

use std::collections::BTreeSet;
use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use hdfs_native::file::FileWriter;
use hdfs_native::{HdfsError, WriteOptions};
use parking_lot::Mutex;
use uuid::Uuid;

use super::connection::Connection;
use super::failure::{Failure, Kind};
use super::options::Purpose;

/// How much of one file is kept, to write it again.
const FILE_BYTES_MAX: usize = 64 << 20;
/// How much of all files that are being written is kept in this process.
const KEPT_BYTES_MAX: usize = 256 << 20;
/// How long writing one part may take. The library waits for a DataNode that says nothing for a minute, and then goes on with another one.
const STEP_MAX: Duration = Duration::from_secs(180);

/// The ending of a temporary file.
const ENDING: &str = ".tmp";

static KEPT_BYTES: AtomicUsize = AtomicUsize::new(0);

/// Whether a name is that of a file that was not finished.
pub(in crate::storage) fn is_unfinished(name: &str) -> bool {
    let id = name.strip_prefix('.').and_then(|name| name.strip_suffix(ENDING)).and_then(|name| name.rsplit_once('.'));
    id.is_some_and(|(_, id)| id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

fn temporary(target: &str) -> String {
    let (folder, name) = target.rsplit_once('/').unwrap_or(("", target));
    format!("{folder}/.{name}.{}{ENDING}", Uuid::new_v4().simple())
}

/// A file that is being written.
pub(super) struct Writing {
    connection: Arc<Connection>,
    target: String,
    open: Option<Open>,
    bytes: u64,
    kept: Kept,
}

/// The temporary file.
struct Open {
    path: String,
    /// `None` when it is closed.
    writer: Option<FileWriter>,
}

impl Writing {
    pub(super) fn new(connection: &Arc<Connection>, target: &str) -> Self {
        Self { connection: Arc::clone(connection), target: target.to_owned(), open: None, bytes: 0, kept: Kept::default() }
    }

    /// Writes what comes next.
    pub(super) async fn write(&mut self, chunks: Vec<Bytes>) -> Result<(), Failure> {
        self.bytes += chunks.iter().map(|chunk| chunk.len() as u64).sum::<u64>();
        self.kept.add(&chunks);
        match self.append(chunks).await {
            Err(failure) => self.again(failure, false).await,
            written => written,
        }
    }

    /// Gives the file its name, which must not be that of another one unless that is to be replaced. What was written is gone if it fails.
    pub(super) async fn finish(&mut self, replace: bool) -> Result<(), Failure> {
        let finished = match self.close().await {
            Err(failure) => self.again(failure, true).await,
            closed => closed,
        };
        let finished = match finished {
            Ok(()) => self.publish(replace).await,
            failed => failed,
        };
        if finished.is_err() {
            self.discard().await;
        }
        finished
    }

    /// Deletes what was written. Best effort: what stays behind is found by its name.
    pub(super) async fn discard(&mut self) {
        let Some(Open { path, writer }) = self.open.take() else { return };
        drop(writer);
        let deleted = self.connection.call(|client| {
            let path = path.clone();
            async move { client.delete(&path, false).await }
        });
        if let Err(failure) = deleted.await {
            tracing::warn!(%failure, path, "a file that was not finished could not be deleted");
        }
    }

    /// Writes all of it into another file, as long as that can help.
    async fn again(&mut self, mut failure: Failure, close: bool) -> Result<(), Failure> {
        let mut waits = self.connection.waits_to_write();
        loop {
            // One that could not even be begun was tried for long enough.
            let Some(kept) = self.kept.chunks().filter(|_| failure.is_transient() && self.open.is_some()) else { return Err(failure) };
            self.discard().await;
            if !waits.pass().await {
                return Err(failure);
            }
            tracing::info!(%failure, file = self.target, bytes = self.bytes, "a file is written again");
            let written = match self.append(kept).await {
                Ok(()) if close => self.close().await,
                written => written,
            };
            match written {
                Err(next) => failure = next,
                Ok(()) => return Ok(()),
            }
        }
    }

    async fn append(&mut self, chunks: Vec<Bytes>) -> Result<(), Failure> {
        self.create().await?;
        let Some(writer) = self.open.as_mut().and_then(|open| open.writer.as_mut()) else {
            return Err(self.connection.own_failure(io::ErrorKind::BrokenPipe, "the file is closed"));
        };
        for chunk in chunks {
            step(&self.connection, writer.write_bytes(chunk)).await?;
        }
        Ok(())
    }

    /// Makes the temporary file if there is none.
    async fn create(&mut self) -> Result<(), Failure> {
        if self.open.is_some() {
            return Ok(());
        }
        let (target, uncertain) = (&self.target, Arc::new(Mutex::new(BTreeSet::new())));
        let created = self.connection.call_for(Purpose::Writers, |client| {
            // Another one each time: the one before may be there without our knowing.
            let (path, uncertain) = (temporary(target), Arc::clone(&uncertain));
            uncertain.lock().insert(path.clone());
            async move {
                let created = client.create(&path, WriteOptions::default()).await;
                // What a NameNode has answered is certain.
                if matches!(created, Ok(_) | Err(HdfsError::RPCError(..))) {
                    uncertain.lock().remove(&path);
                }
                created.map(|writer| (path, writer))
            }
        });
        let created = created.await;
        let left = std::mem::take(&mut *uncertain.lock());
        for path in left {
            delete_once(&self.connection, path).await;
        }
        let (path, writer) = created?;
        self.open = Some(Open { path, writer: Some(writer) });
        Ok(())
    }

    async fn close(&mut self) -> Result<(), Failure> {
        self.create().await?;
        let Some(open) = self.open.as_mut() else { return Ok(()) };
        if let Some(mut writer) = open.writer.take() {
            step(&self.connection, writer.close()).await?;
        }
        Ok(())
    }

    async fn publish(&mut self, replace: bool) -> Result<(), Failure> {
        let Some(path) = self.open.as_ref().map(|open| open.path.clone()) else { return Ok(()) };
        rename(&self.connection, &path, &self.target, replace, self.bytes).await?;
        self.open = None;
        Ok(())
    }
}

/// Deletes a file that may be there. Best effort.
async fn delete_once(connection: &Connection, path: String) {
    let deleted = connection.once(|client| {
        let path = path.clone();
        async move { client.delete(&path, false).await }
    });
    if let Err(failure) = deleted.await {
        tracing::warn!(%failure, path, "a file that was not begun may be left behind");
    }
}

/// Renames a file of so many bytes, onto another one only if that is to be replaced.
///
/// A request whose answer is lost may have been carried out. It is sent again; if the file is not where it was any more, and one of its length is where it should be, it
/// was. Only for files that nobody else renames.
pub(super) async fn rename(connection: &Connection, from: &str, to: &str, replace: bool, bytes: u64) -> Result<(), Failure> {
    let mut waits = connection.waits_to_write();
    let mut is_uncertain = false;
    loop {
        let renamed = connection.once(|client| {
            let (from, to) = (from.to_owned(), to.to_owned());
            async move { client.rename(&from, &to, replace).await }
        });
        let failure = match renamed.await {
            Ok(()) => return Ok(()),
            Err(failure) => failure,
        };
        if is_uncertain && failure.kind() == Kind::NotFound {
            return match connection.call(|client| status(client, to.to_owned())).await {
                Ok(status) if status.length as u64 == bytes => Ok(()),
                _ => Err(failure),
            };
        }
        is_uncertain |= failure.is_transient();
        if !failure.is_transient() || !waits.pass().await {
            return Err(failure);
        }
    }
}

async fn status(client: hdfs_native::Client, path: String) -> hdfs_native::Result<hdfs_native::client::FileStatus> {
    client.get_file_info(&path).await
}

/// One step of a writer, which ends at some time and does not take us down.
async fn step<T>(connection: &Connection, work: impl Future<Output = hdfs_native::Result<T>>) -> Result<T, Failure> {
    match tokio::time::timeout(STEP_MAX, AssertUnwindSafe(work).catch_unwind()).await {
        Ok(Ok(done)) => done.map_err(|error| connection.failure(error)),
        Ok(Err(_)) => Err(connection.failure(HdfsError::DataTransferError("the writer of a block stopped".to_owned()))),
        Err(_) => Err(connection.own_failure(io::ErrorKind::TimedOut, format!("nothing was written within {} s", STEP_MAX.as_secs()))),
    }
}

/// What was written so far, unless it is too much.
#[derive(Default)]
struct Kept {
    chunks: Vec<Bytes>,
    bytes: usize,
    is_too_much: bool,
}

impl Kept {
    fn add(&mut self, chunks: &[Bytes]) {
        let bytes: usize = chunks.iter().map(Bytes::len).sum();
        if self.is_too_much {
            return;
        }
        self.bytes += bytes;
        let of_all = KEPT_BYTES.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.chunks.extend_from_slice(chunks);
        if self.bytes > FILE_BYTES_MAX || of_all > KEPT_BYTES_MAX {
            self.clear();
            self.is_too_much = true;
        }
    }

    /// All that was written; `None` if it is not there any more.
    fn chunks(&self) -> Option<Vec<Bytes>> {
        (!self.is_too_much).then(|| self.chunks.clone())
    }

    fn clear(&mut self) {
        KEPT_BYTES.fetch_sub(self.bytes, Ordering::Relaxed);
        self.bytes = 0;
        self.chunks = Vec::new();
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn temporary_files_are_known_by_their_names() {
        let path = temporary("/wh/s/t/metadata/v2.metadata.json");
        let name = path.strip_prefix("/wh/s/t/metadata/").unwrap();
        assert!(name.starts_with(".v2.metadata.json.") && is_unfinished(name), "{name}");
        assert_ne!(path, temporary("/wh/s/t/metadata/v2.metadata.json"));
        for other in ["v2.metadata.json", ".v2.metadata.json.tmp", ".a.tmp", ".namespace.json", "x.0123456789abcdef0123456789abcdef.tmp"] {
            assert!(!is_unfinished(other), "{other}");
        }
    }

    #[test]
    fn a_file_is_kept_up_to_a_size() {
        let mut kept = Kept::default();
        kept.add(&[Bytes::from_static(b"ab"), Bytes::from_static(b"c")]);
        kept.add(&[Bytes::from_static(b"d")]);
        assert_eq!(kept.chunks().unwrap().concat(), b"abcd");
        kept.add(&[Bytes::from(vec![0; FILE_BYTES_MAX])]);
        assert!(kept.chunks().is_none());
        kept.add(&[Bytes::from_static(b"e")]);
        assert!(kept.chunks().is_none());
        assert_eq!(kept.bytes, 0);
    }
}
