//! A store that counts what is asked of it, and lets only so many requests through at a time. Where the library behind it stops with a panic, as it does at some answers
//! that make no sense, the request has failed and nothing else.

use std::any::Any;
use std::fmt;
use std::ops::Range;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Poll, ready};
use std::time::Instant;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetRange, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, RenameOptions, Result, UploadPart,
};
use tokio::sync::Semaphore;

/// What has been asked of a store so far. A call counts once, even where the store sends it to its server again.
#[derive(Debug, Default)]
pub struct StoreMetrics {
    requests: AtomicU64,
    errors: AtomicU64,
    bytes_read: AtomicU64,
    bytes_written: AtomicU64,
    micros: AtomicU64,
}

/// The numbers of a store at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreUse {
    /// How many requests there were.
    pub requests: u64,
    /// How many of them have failed. A file that is not there is no failure, nor is one that is there already.
    pub errors: u64,
    /// How many bytes were read.
    pub bytes_read: u64,
    /// How many bytes were written.
    pub bytes_written: u64,
    /// How long the requests took altogether, in microseconds: waiting for their turn is no part of it.
    pub micros: u64,
}

impl StoreMetrics {
    /// The numbers now.
    pub fn now(&self) -> StoreUse {
        StoreUse {
            requests: self.requests.load(Relaxed),
            errors: self.errors.load(Relaxed),
            bytes_read: self.bytes_read.load(Relaxed),
            bytes_written: self.bytes_written.load(Relaxed),
            micros: self.micros.load(Relaxed),
        }
    }

    /// Counts a request that has ended, with an error or without one.
    fn count(&self, started: Instant, error: Option<&Error>) {
        self.requests.fetch_add(1, Relaxed);
        self.micros.fetch_add(u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX), Relaxed);
        if error.is_some_and(|error| !matches!(error, Error::NotFound { .. } | Error::AlreadyExists { .. } | Error::Precondition { .. })) {
            self.errors.fetch_add(1, Relaxed);
        }
    }
}

/// What all requests to one store pass through.
#[derive(Debug)]
struct Gate {
    permits: Semaphore,
    metrics: Arc<StoreMetrics>,
}

impl Gate {
    /// Makes a request when its turn has come.
    async fn pass<T>(&self, request: impl Future<Output = Result<T>> + Send) -> Result<T> {
        // The semaphore is never closed.
        let _permit = self.permits.acquire().await;
        let started = Instant::now();
        // Nothing that was changed half is used again: a request shares only its client with others.
        let result = AssertUnwindSafe(request).catch_unwind().await.unwrap_or_else(|panic| Err(stopped(panic.as_ref())));
        self.metrics.count(started, result.as_ref().err());
        result
    }

    fn wrote(&self, bytes: usize) {
        self.metrics.bytes_written.fetch_add(bytes as u64, Relaxed);
    }

    fn read(&self, bytes: u64) {
        self.metrics.bytes_read.fetch_add(bytes, Relaxed);
    }
}

/// A store whose requests are counted, and wait for each other when there are too many.
#[derive(Debug)]
pub(super) struct MeteredStore {
    inner: Arc<dyn ObjectStore>,
    gate: Arc<Gate>,
}

impl MeteredStore {
    /// `inner`, with `requests_max` requests at a time.
    pub(super) fn new(inner: Arc<dyn ObjectStore>, requests_max: usize, metrics: Arc<StoreMetrics>) -> Self {
        Self { inner, gate: Arc::new(Gate { permits: Semaphore::new(requests_max.clamp(1, Semaphore::MAX_PERMITS)), metrics }) }
    }
}

impl fmt::Display for MeteredStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl ObjectStore for MeteredStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let bytes = payload.content_length();
        let put = self.gate.pass(self.inner.put_opts(location, payload, options)).await?;
        self.gate.wrote(bytes);
        Ok(put)
    }

    async fn put_multipart_opts(&self, location: &Path, options: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        let inner = self.gate.pass(self.inner.put_multipart_opts(location, options)).await?;
        Ok(Box::new(MeteredUpload { inner, gate: Arc::clone(&self.gate) }))
    }

    /// A part of a file is read before its turn is over. A whole one comes as a stream that its reader may leave waiting; it would hold others up.
    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let is_part = matches!(options.range, Some(GetRange::Bounded(_))) && !options.head;
        let head = options.head;
        let got = self.gate.pass(async {
            let got = self.inner.get_opts(location, options).await?;
            if !is_part || matches!(got.payload, GetResultPayload::File(..)) {
                return Ok(got);
            }
            let (meta, range, attributes) = (got.meta.clone(), got.range.clone(), got.attributes.clone());
            let bytes = got.bytes().await?;
            let payload = GetResultPayload::Stream(futures::stream::once(async move { Ok(bytes) }).boxed());
            Ok(GetResult { payload, meta, range, attributes })
        });
        let got = got.await?;
        if !head {
            self.gate.read(got.range.end - got.range.start);
        }
        Ok(got)
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let got = self.gate.pass(self.inner.get_ranges(location, ranges)).await?;
        self.gate.read(got.iter().map(|bytes| bytes.len() as u64).sum());
        Ok(got)
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.counted(self.inner.delete_stream(locations))
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.counted(self.inner.list(prefix))
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.counted(self.inner.list_with_offset(prefix, offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.gate.pass(self.inner.list_with_delimiter(prefix)).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.gate.pass(self.inner.copy_opts(from, to, options)).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.gate.pass(self.inner.rename_opts(from, to, options)).await
    }
}

impl MeteredStore {
    /// A listing or a removal as one request, whose time is also its reader's. It takes no turn: who reads it may do other requests in between.
    fn counted<T: Send + 'static>(&self, stream: BoxStream<'static, Result<T>>) -> BoxStream<'static, Result<T>> {
        let (gate, started) = (Arc::clone(&self.gate), Instant::now());
        let mut counted = false;
        let mut count = move |error: Option<&Error>| {
            if !std::mem::replace(&mut counted, true) {
                gate.metrics.count(started, error);
            }
        };
        let mut stream = AssertUnwindSafe(stream).catch_unwind().map(|next| next.unwrap_or_else(|panic| Err(stopped(panic.as_ref()))));
        futures::stream::poll_fn(move |context| {
            let next = ready!(stream.poll_next_unpin(context));
            match &next {
                None => count(None),
                Some(Err(error)) => count(Some(error)),
                Some(Ok(_)) => {}
            }
            Poll::Ready(next)
        })
        .boxed()
    }
}

/// The error for a request whose library has stopped with a panic.
fn stopped(panic: &(dyn Any + Send)) -> Error {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    Error::Generic { store: "object", source: format!("its answer cannot be read: {}", text.unwrap_or("no reason given")).into() }
}

/// An upload whose parts are counted.
#[derive(Debug)]
struct MeteredUpload {
    inner: Box<dyn MultipartUpload>,
    gate: Arc<Gate>,
}

#[async_trait]
impl MultipartUpload for MeteredUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let (bytes, part, gate) = (data.content_length(), self.inner.put_part(data), Arc::clone(&self.gate));
        Box::pin(async move {
            gate.pass(part).await?;
            gate.wrote(bytes);
            Ok(())
        })
    }

    async fn complete(&mut self) -> Result<PutResult> {
        self.gate.pass(self.inner.complete()).await
    }

    async fn abort(&mut self) -> Result<()> {
        self.gate.pass(self.inner.abort()).await
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::TryStreamExt;
    use object_store::ObjectStoreExt;
    use object_store::memory::InMemory;

    use super::*;

    fn metered(requests_max: usize) -> (Arc<MeteredStore>, Arc<StoreMetrics>) {
        let metrics = Arc::new(StoreMetrics::default());
        (Arc::new(MeteredStore::new(Arc::new(InMemory::new()), requests_max, Arc::clone(&metrics))), metrics)
    }

    #[tokio::test]
    async fn what_is_asked_is_counted() {
        let (store, metrics) = metered(2);
        let path = Path::from("a/b");
        store.put(&path, Bytes::from_static(b"0123456789").into()).await.unwrap();
        assert_eq!(store.get_range(&path, 2..5).await.unwrap(), "234");
        assert_eq!(store.get(&path).await.unwrap().bytes().await.unwrap().len(), 10);
        store.head(&path).await.unwrap();
        assert!(store.get(&Path::from("nowhere")).await.is_err());
        assert_eq!(store.list(None).try_collect::<Vec<_>>().await.unwrap().len(), 1);
        let used = metrics.now();
        assert_eq!((used.requests, used.errors, used.bytes_read, used.bytes_written), (6, 0, 13, 10));
    }

    #[tokio::test]
    async fn a_panic_is_an_error_of_its_request() {
        let (store, metrics) = metered(1);
        let broken = futures::stream::iter([1, 0]).map(|number| Ok(6 / number)).boxed();
        let numbers: Vec<Result<i32>> = store.counted(broken).collect().await;
        assert!(matches!(&numbers[..], [Ok(6), Err(error)] if error.to_string().contains("divide by zero")), "{numbers:?}");
        let indices: Vec<usize> = Vec::new();
        let result = store.gate.pass(async { Ok(indices[metrics.now().errors as usize]) }).await;
        assert!(result.is_err_and(|error| error.to_string().contains("out of bounds")));
        assert_eq!((metrics.now().requests, metrics.now().errors), (2, 2));
        assert!(store.list(None).next().await.is_none());
    }

    #[tokio::test]
    async fn requests_wait_for_their_turn() {
        let gate = Arc::new(Gate { permits: Semaphore::new(1), metrics: Arc::default() });
        let first = tokio::spawn({
            let gate = Arc::clone(&gate);
            async move {
                let slow = async {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    Ok(())
                };
                gate.pass(slow).await
            }
        });
        tokio::task::yield_now().await;
        assert!(tokio::time::timeout(Duration::from_millis(5), gate.pass(async { Ok(()) })).await.is_err());
        first.await.unwrap().unwrap();
        gate.pass(async { Ok(()) }).await.unwrap();
        assert_eq!(gate.metrics.now().requests, 2);
    }
}
