//! What comes out is what the file has, from wherever it comes; and how often the file itself is read.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, PutMultipartOptions, PutOptions, PutPayload, PutResult};
use rand::rngs::StdRng;
use rand::{Rng, RngCore, SeedableRng};

use super::*;

const MIB: usize = 1 << 20;

/// A store that counts what is read from it.
#[derive(Debug, Default)]
struct Counted {
    inner: InMemory,
    bytes: AtomicUsize,
}

impl fmt::Display for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("counted")
    }
}

#[async_trait]
impl ObjectStore for Counted {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> object_store::Result<PutResult> {
        self.inner.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(&self, location: &Path, options: PutMultipartOptions) -> object_store::Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> object_store::Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> object_store::Result<Vec<Bytes>> {
        let read = self.inner.get_ranges(location, ranges).await?;
        self.bytes.fetch_add(read.iter().map(Bytes::len).sum(), Ordering::Relaxed);
        Ok(read)
    }

    fn delete_stream(&self, locations: BoxStream<'static, object_store::Result<Path>>) -> BoxStream<'static, object_store::Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> object_store::Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> object_store::Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

impl Counted {
    async fn put(&self, path: &str, seed: u64, length: usize) -> (CachedFile, Vec<u8>) {
        let mut bytes = vec![0; length];
        StdRng::seed_from_u64(seed).fill_bytes(&mut bytes);
        self.inner.put_opts(&Path::from(path), bytes.clone().into(), PutOptions::default()).await.unwrap();
        let object =
            ObjectMeta { location: Path::from(path), last_modified: chrono::DateTime::UNIX_EPOCH, size: length as u64, e_tag: None, version: None };
        (CachedFile::new("s3://bucket/", object), bytes)
    }

    fn bytes_read(&self) -> usize {
        self.bytes.swap(0, Ordering::Relaxed)
    }
}

fn options(folder: &std::path::Path, memory: usize, disk: usize) -> FileCacheOptions {
    FileCacheOptions { memory_bytes_max: memory, disk_bytes_max: disk, folder: folder.to_owned(), local_files: false }
}

fn random_ranges(random: &mut StdRng, length: u64) -> Vec<Range<u64>> {
    let range = |random: &mut StdRng| {
        let start = random.random_range(0..length);
        let longest = if random.random_bool(0.5) { 3000 } else { length };
        start..(start + random.random_range(1..=longest)).min(length)
    };
    (0..random.random_range(1..6)).map(|_| range(random)).collect()
}

/// All that is asked for, as it should be.
async fn read_all(cache: &FileCache, store: &Counted, file: &CachedFile, bytes: &[u8]) -> BytesFrom {
    let (read, from) = cache.read(store, file, std::slice::from_ref(&(0..bytes.len() as u64))).await.unwrap();
    assert_eq!(read[0].as_ref(), bytes);
    from
}

#[tokio::test]
async fn random_ranges_are_those_of_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let store = Counted::default();
    let mut files = Vec::new();
    for (seed, length) in [(1, 5 * MIB + 77), (2, 3 * MIB), (3, 1), (4, MIB - 1), (5, 9 * MIB + 1)] {
        files.push(store.put(&format!("file {seed}"), seed, length).await);
    }
    // Of the second kind not all fits into memory.
    for (memory, disk) in [(256 * MIB, 0), (16 * MIB, 256 * MIB)] {
        let cache = FileCache::open(&options(folder.path(), memory, disk)).await.unwrap().unwrap();
        let mut random = StdRng::seed_from_u64(7);
        for _ in 0..300 {
            let (file, bytes) = &files[random.random_range(0..files.len())];
            let ranges = random_ranges(&mut random, bytes.len() as u64);
            let (read, from) = cache.read(&store, file, &ranges).await.unwrap();
            assert_eq!(store.bytes_read(), from.storage);
            for (range, read) in ranges.iter().zip(&read) {
                assert_eq!(read.as_ref(), &bytes[range.start as usize..range.end as usize], "{range:?}");
            }
        }
        cache.close().await;
    }
}

#[tokio::test]
async fn what_was_read_once_comes_from_memory() {
    let store = Counted::default();
    let (file, bytes) = store.put("a", 1, 5 * MIB + 5).await;
    let cache = FileCache::open(&options(std::path::Path::new("/nowhere"), 64 * MIB, 0)).await.unwrap().unwrap();
    // Two blocks are read for two small ranges, and not again.
    let (_, from) = cache.read(&store, &file, &[10..20, (3 * MIB as u64)..(3 * MIB as u64 + 1)]).await.unwrap();
    assert_eq!(from, BytesFrom { memory: 0, disk: 0, storage: 2 * MIB });
    assert_eq!(read_all(&cache, &store, &file, &bytes).await, BytesFrom { memory: 2 * MIB, disk: 0, storage: 3 * MIB + 5 });
    assert_eq!(read_all(&cache, &store, &file, &bytes).await, BytesFrom { memory: 5 * MIB + 5, disk: 0, storage: 0 });
    // A file of the same name and another length is another file.
    let (other, shorter) = store.put("a", 2, 2 * MIB).await;
    assert_eq!(read_all(&cache, &store, &other, &shorter).await, BytesFrom { memory: 0, disk: 0, storage: 2 * MIB });
}

#[tokio::test]
async fn the_next_process_finds_it_on_disk() {
    let folder = tempfile::tempdir().unwrap();
    let store = Counted::default();
    let (file, bytes) = store.put("a", 1, 20 * MIB + 9).await;
    let options = options(folder.path(), 64 * MIB, 256 * MIB);
    let cache = FileCache::open(&options).await.unwrap().unwrap();
    read_all(&cache, &store, &file, &bytes).await;
    // As long as it lives, another one gets a folder of its own, and has nothing.
    let other = FileCache::open(&options).await.unwrap().unwrap();
    assert_eq!(read_all(&other, &store, &file, &bytes).await.storage, bytes.len());
    cache.close().await;
    drop(cache);
    let cache = FileCache::open(&options).await.unwrap().unwrap();
    assert_eq!(read_all(&cache, &store, &file, &bytes).await, BytesFrom { memory: 0, disk: bytes.len(), storage: 0 });
    assert_eq!(read_all(&cache, &store, &file, &bytes).await, BytesFrom { memory: bytes.len(), disk: 0, storage: 0 });
}

#[tokio::test]
async fn the_disk_is_used_up_to_its_limit_and_damage_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let store = Counted::default();
    let options = options(folder.path(), 64 * MIB, 128 * MIB);
    let cache = FileCache::open(&options).await.unwrap().unwrap();
    let mut files = Vec::new();
    for seed in 0..10 {
        let (file, bytes) = store.put(&format!("file {seed}"), seed, 30 * MIB).await;
        read_all(&cache, &store, &file, &bytes).await;
        files.push((file, bytes));
    }
    cache.close().await;
    drop(cache);
    let on_disk = |path: &std::path::Path| -> Vec<_> { std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect() };
    let stored = on_disk(&folder.path().join("0"));
    let bytes: u64 = stored.iter().map(|path| path.metadata().unwrap().len()).sum();
    assert!(bytes > 32 * MIB as u64 && bytes <= 128 * MIB as u64, "{bytes}");
    for path in &stored {
        let mut content = std::fs::read(path).unwrap();
        content.iter_mut().skip(5000).step_by(4099).for_each(|byte| *byte ^= 0x5a);
        std::fs::write(path, content).unwrap();
    }
    let cache = FileCache::open(&options).await.unwrap().unwrap();
    for (file, bytes) in &files {
        assert_eq!(read_all(&cache, &store, file, bytes).await.disk, 0);
    }
}

#[tokio::test]
async fn a_file_that_ends_early_is_named() {
    let store = Counted::default();
    let (file, _) = store.put("short", 1, MIB).await;
    let longer = CachedFile::new("s3://bucket/", ObjectMeta { size: 2 * MIB as u64, ..file.object.clone() });
    let cache = FileCache::open(&options(std::path::Path::new("/nowhere"), 64 * MIB, 0)).await.unwrap().unwrap();
    let error = cache.read(&store, &longer, std::slice::from_ref(&(0..2 * MIB as u64))).await.unwrap_err();
    assert!(error.to_string().contains("short"), "{error}");
    let gone = CachedFile::new("s3://bucket/", ObjectMeta { location: Path::from("gone"), ..file.object });
    let error = cache.read(&store, &gone, std::slice::from_ref(&(0..10))).await.unwrap_err();
    assert!(matches!(error, object_store::Error::NotFound { .. }), "{error}");
}

#[tokio::test]
async fn a_folder_that_cannot_be_used_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, b"").unwrap();
    let error = FileCache::open(&options(&file, 64 * MIB, 128 * MIB)).await.unwrap_err();
    assert_eq!(error.code(), Code::ConfigurationInvalid);
    assert!(error.message().contains(file.to_str().unwrap()), "{error}");
    assert!(FileCache::open(&options(&file, 0, 0)).await.unwrap().is_none());
}
