//! Parts of data files that were read before, kept in memory, and more of them on a local disk.
//!
//! A data file of an Iceberg table never changes, so that what is kept of it stays right; its location and length are its name. It is kept in blocks of one
//! size, since the ranges that queries read differ with their columns and with the pages that are left out. By foyer: memory is given to blocks that are asked
//! for again (S3-FIFO, Yang et al., SOSP 2023), so that one large scan does not drive out the others; each block on disk has a checksum.

mod block;
mod folder;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use foyer::{
    BlockEngineConfig, DeviceBuilder, FsDeviceBuilder, HybridCache, HybridCacheBuilder, HybridCacheEntry, HybridCachePolicy, PsyncIoEngineConfig,
    RecoverMode, S3FifoConfig, Source, Spawner,
};
use futures::future::join_all;
use nunatak_core::{Code, Error, Result};
use object_store::{ObjectMeta, ObjectStore};
use tokio::runtime::{Builder, Runtime};
use tracing::{debug, warn};

use block::{BLOCK_BYTES, BlockKey};
use folder::{CacheFolder, unusable};

/// The cache is divided into so many parts, each with a lock of its own.
const SHARDS: usize = 8;

/// The unit in which space on disk is given free, in bytes.
const DISK_UNIT_BYTES: usize = 16 << 20;

/// Blocks that wait to be written to disk, and those that are being written, may each take so many bytes; what comes on top is not written.
const DISK_QUEUE_BYTES_MAX: usize = 64 << 20;

/// The threads that read and write the disk. They never end before the process does: foyer (0.22) takes a lock that it has already, and waits for ever, when it
/// frees space and its threads do not take the work any more.
static THREADS: LazyLock<std::io::Result<Runtime>> =
    LazyLock::new(|| Builder::new_multi_thread().worker_threads(THREADS_COUNT).thread_name("file-cache").enable_all().build());

/// How many threads they are. What waits for the disk has others.
const THREADS_COUNT: usize = 2;

/// The scheme of files that the system keeps by itself.
const LOCAL: &str = "file://";

/// What a cache may use.
#[derive(Clone, Debug, Default)]
pub struct FileCacheOptions {
    /// Memory in bytes; 0 for no cache.
    pub memory_bytes_max: usize,
    /// Space in `folder`, in bytes; 0 for none.
    pub disk_bytes_max: usize,
    /// Where blocks lie on disk. Processes that share it each get a part of their own.
    pub folder: PathBuf,
    /// Whether local files are kept too.
    pub local_files: bool,
}

/// Parts of data files. One for each process.
pub struct FileCache {
    blocks: HybridCache<BlockKey, Bytes>,
    local_files: bool,
    _folder: Option<CacheFolder>,
}

/// From where bytes came: whole blocks from the cache, and what was missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BytesFrom {
    /// Bytes that were in memory.
    pub memory: usize,
    /// Bytes that were on disk.
    pub disk: usize,
    /// Bytes that were read from the file's own store.
    pub storage: usize,
}

/// A file whose parts are kept.
#[derive(Clone, Debug)]
pub struct CachedFile {
    name: Arc<str>,
    object: ObjectMeta,
}

impl CachedFile {
    /// A file of the store with this URL, such as `s3://bucket`.
    pub fn new(store_url: &str, object: ObjectMeta) -> Self {
        Self { name: format!("{store_url}{} {}", object.location, object.size).into(), object }
    }

    /// The whole blocks in which a range lies.
    fn blocks_of(&self, range: &Range<u64>) -> Range<u64> {
        range.start / BLOCK_BYTES..range.end.div_ceil(BLOCK_BYTES)
    }

    /// The bytes of consecutive blocks; the last block of a file may be shorter.
    fn bytes_of(&self, blocks: &Range<u64>) -> Range<u64> {
        blocks.start * BLOCK_BYTES..(blocks.end * BLOCK_BYTES).min(self.object.size)
    }

    fn key(&self, index: u64) -> BlockKey {
        BlockKey { file: Arc::clone(&self.name), index }
    }
}

impl fmt::Debug for FileCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileCache")
            .field("memory_bytes", &self.blocks.memory().usage())
            .field("local_files", &self.local_files)
            .finish_non_exhaustive()
    }
}

impl FileCache {
    /// Opens the cache, with what an earlier process has left in its folder; `None` if it may use no memory.
    ///
    /// Errors: `CONFIGURATION_INVALID` if the folder cannot be written.
    pub async fn open(options: &FileCacheOptions) -> Result<Option<Arc<Self>>> {
        if options.memory_bytes_max == 0 {
            return Ok(None);
        }
        let folder = match options.disk_bytes_max {
            0 => None,
            _ => Some(CacheFolder::take(&options.folder)?),
        };
        let builder = HybridCacheBuilder::new()
            .with_name("data_files")
            // When they leave the memory it would be too late: a process that is killed would have kept nothing.
            .with_policy(HybridCachePolicy::WriteOnInsertion)
            .memory(options.memory_bytes_max)
            .with_shards(SHARDS)
            .with_eviction_config(S3FifoConfig::default())
            .with_weighter(|key: &BlockKey, block: &Bytes| key.file.len() + block.len())
            .storage();
        let threads = THREADS.as_ref().map_err(|error| unusable(&options.folder, error))?;
        let builder = builder.with_spawner(Spawner::from(threads.handle().clone()));
        let builder = match &folder {
            None => builder,
            Some(folder) => {
                let device = FsDeviceBuilder::new(folder.path()).with_capacity(options.disk_bytes_max).build();
                let engine = BlockEngineConfig::new(device.map_err(|error| unusable(&options.folder, error))?)
                    .with_block_size(DISK_UNIT_BYTES)
                    .with_submit_queue_size_threshold(DISK_QUEUE_BYTES_MAX)
                    .with_buffer_pool_size(DISK_QUEUE_BYTES_MAX);
                builder.with_io_engine_config(PsyncIoEngineConfig::default()).with_engine_config(engine).with_recover_mode(RecoverMode::Quiet)
            }
        };
        let blocks = builder.build().await.map_err(|error| unusable(&options.folder, error))?;
        Ok(Some(Arc::new(Self { blocks, local_files: options.local_files, _folder: folder })))
    }

    /// Whether parts of files in the store with this URL are kept.
    pub fn keeps(&self, store_url: &str) -> bool {
        self.local_files || !store_url.starts_with(LOCAL)
    }

    /// Reads ranges of a file, and keeps what it had to get from `store`.
    ///
    /// Errors: those of the store; `ICEBERG_BAD_DATA`, as an error of the store, if the file ends early.
    pub async fn read(&self, store: &dyn ObjectStore, file: &CachedFile, ranges: &[Range<u64>]) -> object_store::Result<(Vec<Bytes>, BytesFrom)> {
        let wanted: BTreeSet<u64> = ranges.iter().flat_map(|range| file.blocks_of(range)).collect();
        let found = join_all(wanted.iter().map(|index| self.blocks.get(&file.key(*index)))).await;
        let mut from = BytesFrom::default();
        let mut pieces = BTreeMap::new();
        let mut missing = Vec::new();
        for (index, block) in wanted.into_iter().zip(found) {
            match usable(block, file, index) {
                Some(block) => {
                    let bytes = if block.source() == Source::Disk { &mut from.disk } else { &mut from.memory };
                    *bytes += block.value().len();
                    pieces.insert(index * BLOCK_BYTES, block.value().clone());
                }
                None => missing.push(index),
            }
        }
        for (start, bytes) in self.fetch(store, file, &missing).await? {
            from.storage += bytes.len();
            pieces.insert(start, bytes);
        }
        let ranges = ranges.iter().map(|range| assemble(&pieces, range).ok_or_else(|| ends_early(file, range)));
        Ok((ranges.collect::<object_store::Result<_>>()?, from))
    }

    /// Gets blocks from the store, neighbours by one request, and keeps each: what was read, by its place in the file.
    async fn fetch(&self, store: &dyn ObjectStore, file: &CachedFile, missing: &[u64]) -> object_store::Result<Vec<(u64, Bytes)>> {
        if missing.is_empty() {
            return Ok(Vec::new());
        }
        let runs: Vec<Range<u64>> = missing.chunk_by(|left, right| left + 1 == *right).map(|run| run[0]..run[run.len() - 1] + 1).collect();
        let wanted: Vec<Range<u64>> = runs.iter().map(|run| file.bytes_of(run)).collect();
        let read = store.get_ranges(&file.object.location, &wanted).await?;
        for ((run, wanted), bytes) in runs.into_iter().zip(&wanted).zip(&read) {
            if bytes.len() as u64 != wanted.end - wanted.start {
                return Err(ends_early(file, wanted));
            }
            for (index, block) in run.zip(bytes.chunks(BLOCK_BYTES as usize)) {
                // A copy, so that a block which is kept does not keep its neighbours.
                self.blocks.insert(file.key(index), Bytes::copy_from_slice(block));
            }
        }
        Ok(wanted.iter().map(|range| range.start).zip(read).collect())
    }

    /// Waits until what is to be kept on disk is there, for the next process. To be called when nothing is read any more.
    pub async fn close(&self) {
        if let Err(error) = self.blocks.close().await {
            warn!(%error, "parts of data files were not written to the cache");
        }
    }
}

/// The block, if the cache has it as it should be.
fn usable(
    found: foyer::Result<Option<HybridCacheEntry<BlockKey, Bytes>>>,
    file: &CachedFile,
    index: u64,
) -> Option<HybridCacheEntry<BlockKey, Bytes>> {
    let block = found.unwrap_or_else(|error| {
        debug!(file = %file.object.location, %error, "a block cannot be read from the cache");
        None
    })?;
    let bytes = file.bytes_of(&(index..index + 1));
    (block.value().len() as u64 == bytes.end - bytes.start).then_some(block)
}

/// The bytes of a range, out of pieces of the file by their places; `None` if some are missing.
fn assemble(pieces: &BTreeMap<u64, Bytes>, range: &Range<u64>) -> Option<Bytes> {
    let within = |start: u64, piece: &Bytes| {
        let from = range.start.max(start) - start;
        let to = range.end.min(start + piece.len() as u64).checked_sub(start)?;
        (from <= to).then(|| piece.slice(from as usize..to as usize))
    };
    let (first, piece) = pieces.range(..=range.start).next_back()?;
    let bytes = within(*first, piece)?;
    let wanted = (range.end - range.start) as usize;
    if bytes.len() == wanted {
        return Some(bytes);
    }
    let mut whole = Vec::with_capacity(wanted);
    for (start, piece) in pieces.range(first..&range.end) {
        if *start > range.start + whole.len() as u64 {
            return None;
        }
        whole.extend_from_slice(&within(*start, piece)?);
    }
    (whole.len() == wanted).then(|| whole.into())
}

fn ends_early(file: &CachedFile, range: &Range<u64>) -> object_store::Error {
    let (path, size) = (&file.object.location, file.object.size);
    let what = format!("data file '{path}' has no bytes {}..{}, but the table's metadata says that it has {size} bytes", range.start, range.end);
    object_store::Error::Generic { store: "cache", source: Box::new(Error::new(Code::IcebergBadData, what)) }
}
