//! One task of a write: its open files, how many there may be, the memory they may hold, and what happens to them when the task does not end well.

use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::execution::memory_pool::MemoryReservation;
use nunatak_catalog::storage::Storage;
use nunatak_core::{Error, Result};
use tokio::task::JoinHandle;

use super::conform::conform;
use super::file::OpenFile;
use super::location::file_name;
use super::partition::{Part, Partitioner};
use super::report::FileReport;
use super::shape::WriteShape;
use crate::error::from_datafusion;

/// How many files a task keeps open at the same time.
const OPEN_FILES_MAX: usize = 100;
/// How much all open files of a task may hold in memory, whatever the memory pool allows.
const BUFFERED_BYTES_MAX: usize = 512 * 1024 * 1024;
/// Row groups smaller than this are not ended to free memory: it would free little and make scans slow.
const FLUSH_BYTES_MIN: usize = 1024 * 1024;

/// What became of a batch.
pub(super) enum Outcome {
    /// Its rows are in files.
    Written,
    /// It needs more open files than there may be. Nothing of it was written.
    TooManyPartitions(RecordBatch),
}

pub(super) struct WriteTask {
    shape: Arc<WriteShape>,
    task: usize,
    partitioner: Partitioner,
    reservation: MemoryReservation,
    /// In the order of their last use, if only one may be open.
    open: Vec<OpenFile>,
    closed: Vec<FileReport>,
    /// The file that is being completed, and its location. That goes on when the task is dropped: half of it could not be told from all.
    closing: Option<(String, JoinHandle<Result<FileReport>>)>,
    files_begun: usize,
    /// Whether rows come sorted by partition.
    clustered: bool,
}

impl WriteTask {
    pub(super) fn new(shape: Arc<WriteShape>, task: usize, reservation: MemoryReservation) -> Result<Self> {
        let partitioner = shape.partitioner()?;
        let clustered = shape.clustered;
        Ok(Self { shape, task, partitioner, reservation, open: Vec::new(), closed: Vec::new(), closing: None, files_begun: 0, clustered })
    }

    /// Writes a batch, unless that takes too many open files.
    pub(super) async fn write(&mut self, batch: RecordBatch) -> Result<Outcome> {
        let rows = conform(&batch, &self.shape.schema.arrow, &self.shape.table)?;
        let parts = self.partitioner.split(rows)?;
        let begun = parts.iter().filter(|part| self.position(part.partition).is_none()).count();
        if !self.clustered && self.open.len() + begun > OPEN_FILES_MAX {
            return Ok(Outcome::TooManyPartitions(batch));
        }
        for part in parts {
            self.write_part(part).await?;
        }
        self.keep_within_memory().await?;
        Ok(Outcome::Written)
    }

    /// Closes all open files; from now on rows come sorted by partition.
    pub(super) async fn expect_clustered(&mut self) -> Result<()> {
        self.close_all().await?;
        self.clustered = true;
        Ok(())
    }

    /// Completes all files. Until this has returned, dropping the task deletes what it wrote.
    pub(super) async fn finish(mut self) -> Result<Vec<FileReport>> {
        self.close_all().await?;
        Ok(std::mem::take(&mut self.closed))
    }

    fn position(&self, partition: usize) -> Option<usize> {
        self.open.iter().position(|file| file.partition == partition)
    }

    async fn write_part(&mut self, part: Part) -> Result<()> {
        let position = match self.position(part.partition) {
            Some(position) => position,
            None => self.begin(part.partition).await?,
        };
        self.open[position].write(&part.rows).await?;
        if self.open[position].size_bytes() >= self.shape.target_file_bytes {
            self.close(position).await?;
        }
        Ok(())
    }

    async fn begin(&mut self, partition: usize) -> Result<usize> {
        if self.clustered {
            self.close_all().await?;
        }
        let name = file_name(self.task, &self.shape.write, self.files_begun);
        self.open.push(OpenFile::create(self.shape.clone(), partition, self.partitioner.partition(partition), &name)?);
        self.files_begun += 1;
        Ok(self.open.len() - 1)
    }

    async fn close(&mut self, position: usize) -> Result<()> {
        let file = self.open.swap_remove(position);
        let (_, closing) = self.closing.insert((file.location().to_owned(), tokio::spawn(file.finish())));
        let report = closing.await.map_err(|error| Error::internal("a data file was not completed").with_source(error))?;
        // What has failed is deleted like what is dropped.
        let report = report?;
        self.closing = None;
        self.closed.push(report);
        Ok(())
    }

    async fn close_all(&mut self) -> Result<()> {
        while !self.open.is_empty() {
            self.close(self.open.len() - 1).await?;
        }
        self.reservation.free();
        Ok(())
    }

    /// Ends row groups early, the largest first, while the open files hold more memory than they may.
    async fn keep_within_memory(&mut self) -> Result<()> {
        loop {
            let held: usize = self.open.iter().map(OpenFile::memory_bytes).sum();
            let refused = self.reservation.try_resize(held).err();
            if refused.is_none() && held <= BUFFERED_BYTES_MAX {
                return Ok(());
            }
            let largest = self.open.iter_mut().max_by_key(|file| file.buffered_bytes()).filter(|file| file.buffered_bytes() >= FLUSH_BYTES_MIN);
            match (largest, refused) {
                (Some(file), _) => file.flush().await?,
                (None, Some(error)) => return Err(from_datafusion(error)),
                (None, None) => return Ok(()),
            }
        }
    }
}

impl Drop for WriteTask {
    fn drop(&mut self) {
        let open = std::mem::take(&mut self.open);
        let closed: Vec<String> = self.closed.drain(..).map(|report| report.location).collect();
        let closing = self.closing.take();
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        if !open.is_empty() || !closed.is_empty() || closing.is_some() {
            runtime.spawn(clean_up(self.shape.storage.clone(), open, closing, closed));
        }
    }
}

/// Removes the traces of a task that failed or was cancelled. Best effort: no snapshot names these files.
async fn clean_up(storage: Arc<Storage>, open: Vec<OpenFile>, closing: Option<(String, JoinHandle<Result<FileReport>>)>, mut closed: Vec<String>) {
    for file in open {
        file.abort().await;
    }
    if let Some((location, ending)) = closing {
        if !ending.is_finished() {
            let _ = ending.await;
        }
        closed.push(location);
    }
    if let Err(error) = storage.delete_files(&closed).await {
        tracing::warn!(%error, "files of a failed write could not be deleted");
    }
}
