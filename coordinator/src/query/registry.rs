//! The queries that run, so that they can be found, listed and cancelled by id; and what is told of those that have just ended.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime};

use arrow::array::RecordBatch;
use dashmap::DashMap;
use futures::{Stream, StreamExt};
use nunatak_core::expiring::lock;
use nunatak_core::id::QueryId;
use nunatak_core::panics::caught;
use nunatak_core::{Code, Error, Result};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tracing::info;

use super::listed::{Kill, ListedQuery, killed, millis, tasks};
use super::{Progress, Request, RowStream};

/// For how long queries that have ended are told of, and how many.
const ENDED_KEPT: Duration = Duration::from_secs(60);
const ENDED_MAX: usize = 1_000;

/// The running queries of a process. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Registry(Arc<Inner>);

#[derive(Default)]
struct Inner {
    running: DashMap<QueryId, Arc<Known>>,
    ended: Mutex<VecDeque<(Instant, ListedQuery)>>,
}

/// What is known of a query that runs.
struct Known {
    user: String,
    sql: String,
    /// Whether its door lists it.
    is_listed: bool,
    created: SystemTime,
    /// Once it is planned: when that was, and how far it is.
    planned: OnceLock<(SystemTime, Progress)>,
    token: CancellationToken,
    /// The message of whoever has killed it.
    killed: OnceLock<String>,
}

impl Known {
    fn listed(&self, id: &QueryId, ended: Option<(SystemTime, Option<Code>)>) -> ListedQuery {
        let planned = self.planned.get();
        let state = match (ended, planned) {
            (Some((_, Some(_))), _) => "FAILED",
            (Some((_, None)), _) => "FINISHED",
            (None, Some(_)) => "RUNNING",
            (None, None) => "PLANNING",
        };
        let (created_ms, error) = (millis(self.created), ended.and_then(|(_, error)| error));
        ListedQuery {
            id: id.as_str().to_owned(),
            query_id: Some(id.as_str().to_owned()),
            state: state.to_owned(),
            user: self.user.clone(),
            sql: self.sql.clone(),
            planning_ms: millis(planned.map_or_else(SystemTime::now, |(at, _)| *at)) - created_ms,
            created_ms,
            started_ms: Some(created_ms),
            ended_ms: ended.map(|(at, _)| millis(at)),
            error_type: error.map(|code| code.kind().name().to_owned()),
            error_code: error.map(|code| code.name().to_owned()),
            tasks: planned.map(|(_, progress)| tasks(&progress.now(), state)).unwrap_or_default(),
            ..ListedQuery::default()
        }
    }
}

impl Registry {
    /// Registers a query, which is not planned yet. It is deregistered when what is given, or the stream of its rows, is dropped.
    pub(super) fn begin(&self, id: QueryId, request: &Request) -> Begun {
        let known = Arc::new(Known {
            user: request.session.user.clone(),
            sql: request.session.start_shown(&request.sql).to_owned(),
            is_listed: request.is_listed,
            created: SystemTime::now(),
            planned: OnceLock::new(),
            token: CancellationToken::new(),
            killed: OnceLock::new(),
        });
        self.0.running.insert(id.clone(), Arc::clone(&known));
        Begun(Entry { registry: self.clone(), id, known, outcome: None })
    }

    /// Those that run, and those that have just ended, apart from the ones that their doors list.
    pub(super) fn listed(&self) -> Vec<ListedQuery> {
        let running = self.0.running.iter().filter(|entry| !entry.value().is_listed);
        let mut all: Vec<ListedQuery> = running.map(|entry| entry.value().listed(entry.key(), None)).collect();
        let mut ended = lock(&self.0.ended);
        ended.retain(|(at, _)| at.elapsed() < ENDED_KEPT);
        all.extend(ended.iter().map(|(_, query)| query.clone()));
        all
    }

    /// Ends a query, whose user is told this.
    pub(super) fn kill(&self, id: &str, message: &str) -> Kill {
        let id = QueryId::from(id.to_owned());
        let Some(known) = self.0.running.get(&id).map(|entry| Arc::clone(entry.value())) else {
            let has_ended = lock(&self.0.ended).iter().any(|(_, query)| query.id == id.as_str());
            return if has_ended { Kill::NotRunning } else { Kill::Unknown };
        };
        let _ = known.killed.set(message.to_owned());
        self.cancel(&id);
        Kill::Done
    }

    /// When the first of the queries that run began, in milliseconds since 1970, apart from `this` one.
    pub(crate) fn oldest_millis(&self, this: &QueryId) -> Option<i64> {
        self.0.running.iter().filter(|entry| entry.key() != this).filter_map(|entry| entry.key().begun_millis()).min()
    }

    /// Cancels a query. Whether it was running.
    pub(super) fn cancel(&self, id: &QueryId) -> bool {
        let token = self.0.running.get(id).map(|entry| entry.value().token.clone());
        if let Some(token) = &token {
            info!(query = %id, "query is cancelled");
            token.cancel();
        }
        token.is_some()
    }
}

/// A query that is planned.
pub(super) struct Begun(Entry);

impl Begun {
    /// It could not be planned.
    pub(super) fn fail(mut self, error: &Error) {
        self.0.outcome = Some(Some(error.code()));
    }

    /// It is planned, and these are its rows.
    pub(super) fn watch(self, rows: RowStream, progress: Progress) -> RowStream {
        let _ = self.0.known.planned.set((SystemTime::now(), progress));
        let cancelled = Box::pin(self.0.known.token.clone().cancelled_owned());
        Box::pin(Watched { rows: Some(rows), cancelled, entry: self.0 })
    }
}

/// Takes the query out of the registry when dropped.
struct Entry {
    registry: Registry,
    id: QueryId,
    known: Arc<Known>,
    /// How it has ended: with which error, if with one. What is dropped before was cancelled.
    outcome: Option<Option<Code>>,
}

impl Drop for Entry {
    fn drop(&mut self) {
        let Inner { running, ended } = self.registry.0.as_ref();
        running.remove(&self.id);
        if self.known.is_listed {
            return;
        }
        let error = self.outcome.unwrap_or(Some(Code::UserCanceled));
        let query = self.known.listed(&self.id, Some((SystemTime::now(), error)));
        let mut ended = lock(ended);
        if ended.len() >= ENDED_MAX {
            ended.pop_front();
        }
        ended.push_back((Instant::now(), query));
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
        match &polled {
            Poll::Ready(None) => self.entry.outcome = Some(None),
            Poll::Ready(Some(Err(error))) => self.entry.outcome = Some(Some(error.code())),
            _ => {}
        }
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) {
            self.rows = None;
            return polled;
        }
        if self.cancelled.as_mut().poll(context).is_ready() {
            self.rows = None;
            let error = match self.entry.known.killed.get() {
                Some(message) => killed(message),
                None => Error::new(Code::UserCanceled, format!("query {} was cancelled", self.entry.id)),
            };
            self.entry.outcome = Some(Some(error.code()));
            return Poll::Ready(Some(Err(error)));
        }
        polled
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::Int64Array;
    use futures::stream;

    use super::super::Session;
    use super::*;

    fn request() -> Request {
        Request { sql: "SELECT 1".to_owned(), session: Session::new("ada", "lake", None), parameters: None, is_listed: false }
    }

    #[tokio::test]
    async fn a_panic_ends_its_query_and_no_other() {
        let batch = RecordBatch::try_from_iter([("a", Arc::new(Int64Array::from(vec![1])) as _)]).unwrap();
        let registry = Registry::default();
        let id = QueryId::generate();
        let batches = [batch];
        let rows = stream::iter([0, 7]).map(move |number: usize| Ok(batches[number].clone())).boxed();
        let mut rows = registry.begin(id.clone(), &request()).watch(rows, Progress::default());
        assert!(rows.next().await.unwrap().is_ok() && registry.cancel(&id));
        let error = rows.next().await.unwrap().unwrap_err();
        assert!(error.code() == Code::GenericInternalError && error.to_string().contains(&format!("query: {id}")), "{error}");
        assert!(rows.next().await.is_none());
        drop(rows);
        assert!(!registry.cancel(&id));
        let listed = registry.listed();
        assert_eq!((listed.len(), listed[0].state.as_str(), listed[0].error_code.as_deref()), (1, "FAILED", Some("GENERIC_INTERNAL_ERROR")));
    }

    #[tokio::test]
    async fn a_query_is_killed() {
        let registry = Registry::default();
        let id = QueryId::generate();
        let begun = registry.begin(id.clone(), &request());
        assert_eq!(registry.listed().first().map(|query| query.state.clone()).as_deref(), Some("PLANNING"));
        let mut rows = begun.watch(stream::pending().boxed(), Progress::default());
        assert_eq!(registry.kill(id.as_str(), "enough"), Kill::Done);
        let error = rows.next().await.unwrap().unwrap_err();
        assert_eq!((error.code(), error.message()), (Code::AdministrativelyKilled, "Query killed. Message: enough"));
        drop(rows);
        assert_eq!((registry.kill(id.as_str(), ""), registry.kill("nope", "")), (Kill::NotRunning, Kill::Unknown));
    }
}
