//! The queries that run, so that they can be found and cancelled by id.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use arrow::array::RecordBatch;
use dashmap::DashMap;
use futures::{Stream, StreamExt};
use nunatak_core::id::QueryId;
use nunatak_core::panics::caught;
use nunatak_core::{Code, Error, Result};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tracing::info;

use super::RowStream;

/// The running queries of a process. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Registry(Arc<DashMap<QueryId, CancellationToken>>);

impl Registry {
    /// Registers a query; its stream deregisters it when it ends or is dropped.
    pub(super) fn watch(&self, id: QueryId, rows: RowStream) -> RowStream {
        let token = CancellationToken::new();
        self.0.insert(id.clone(), token.clone());
        let cancelled = Box::pin(token.cancelled_owned());
        Box::pin(Watched { rows: Some(rows), cancelled, entry: Entry { registry: self.clone(), id } })
    }

    /// When the first of the queries that run began, in milliseconds since 1970, apart from `this` one.
    pub(crate) fn oldest_millis(&self, this: &QueryId) -> Option<i64> {
        self.0.iter().filter(|entry| entry.key() != this).filter_map(|entry| entry.key().begun_millis()).min()
    }

    /// Cancels a query. Whether it was running.
    pub(super) fn cancel(&self, id: &QueryId) -> bool {
        let token = self.0.get(id).map(|entry| entry.value().clone());
        if let Some(token) = &token {
            info!(query = %id, "query is cancelled");
            token.cancel();
        }
        token.is_some()
    }
}

/// Takes the query out of the registry when dropped.
struct Entry {
    registry: Registry,
    id: QueryId,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.registry.0.remove(&self.id);
    }
}

/// A query's rows until they end, fail or are cancelled; then the work behind them is dropped at once.
struct Watched {
    rows: Option<RowStream>,
    cancelled: Pin<Box<WaitForCancellationFutureOwned>>,
    entry: Entry,
}

impl Stream for Watched {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(rows) = &mut self.rows else { return Poll::Ready(None) };
        // What has stopped with a panic is dropped, as after any error.
        let polled = match caught(|| rows.poll_next_unpin(context)) {
            Ok(polled) => polled,
            Err(panic) => Poll::Ready(Some(Err(super::of_query(panic, &self.entry.id)))),
        };
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) {
            self.rows = None;
            return polled;
        }
        if self.cancelled.as_mut().poll(context).is_ready() {
            self.rows = None;
            return Poll::Ready(Some(Err(Error::new(Code::UserCanceled, format!("query {} was cancelled", self.entry.id)))));
        }
        polled
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::Int64Array;
    use futures::stream;

    use super::*;

    #[tokio::test]
    async fn a_panic_ends_its_query_and_no_other() {
        let batch = RecordBatch::try_from_iter([("a", Arc::new(Int64Array::from(vec![1])) as _)]).unwrap();
        let registry = Registry::default();
        let id = QueryId::generate();
        let batches = [batch];
        let rows = stream::iter([0, 7]).map(move |number: usize| Ok(batches[number].clone())).boxed();
        let mut rows = registry.watch(id.clone(), rows);
        assert!(rows.next().await.unwrap().is_ok() && registry.cancel(&id));
        let error = rows.next().await.unwrap().unwrap_err();
        assert!(error.code() == Code::GenericInternalError && error.to_string().contains(&format!("query: {id}")), "{error}");
        assert!(rows.next().await.is_none());
        drop(rows);
        assert!(!registry.cancel(&id));
    }
}
