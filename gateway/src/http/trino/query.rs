//! One query of a Trino client: it is run by a task of its own, and its results are asked for page by page.
//!
//! Each answer names the next one by a number, the token. The last answer is kept and given again to who asks for it again: a client that has lost it does.
//! The query starts when its first results are asked for, and not when it is sent: who does not know whether a statement has arrived may send it again.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use axum::http::{HeaderName, HeaderValue};
use nunatak_coordinator::query::{Coordinator, ListedQuery, Progress, Request, Running, Session, killed, millis, tasks};
use nunatak_core::expiring::lock;
use nunatak_core::id::QueryId;
use nunatak_core::panics::caught_async;
use nunatak_core::{Code, Error, Result};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::answer::{Answer, Data, Head, Tail, body};
use super::errors::{self, QueryError};
use super::headers::{self, Sent};
use super::pages::{self, Content, Page};
use super::spooling::{self, Spooled};
use super::stats::{Phase, Stats, Times};
use super::types::Column;
use crate::limits;

/// Pages that wait to be taken, besides the one that is being made.
const PAGES_AHEAD: usize = 1;

/// The same where their rows are in storage: a client can fetch several at a time.
const SPOOLED_PAGES_AHEAD: usize = 4;

/// A query.
pub(super) struct Query {
    /// Its id, in Trino's form.
    pub(super) id: String,
    /// Who does not know it is not told of results.
    slug: String,
    sql: String,
    pub(super) sent: Sent,
    session: Session,
    /// Its rows, if they are spooled.
    pub(super) spooled: Option<Spooled>,
    created: Instant,
    pub(super) created_at: SystemTime,
    cancelled: CancellationToken,
    known: Mutex<Known>,
    turn: tokio::sync::Mutex<Turn>,
}

/// What is known of a query from outside.
struct Known {
    phase: Phase,
    /// When it was heard of last.
    asked: Instant,
    started: Option<Instant>,
    accepted: Option<Accepted>,
    accepted_at: Option<Instant>,
    ended: Option<Instant>,
    failure: Option<Error>,
    rows: u64,
}

/// A query that was planned.
#[derive(Clone)]
struct Accepted {
    id: QueryId,
    update_type: Option<&'static str>,
    progress: Progress,
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// Where its client is in its results.
struct Turn {
    /// `None` before it has started.
    pages: Option<mpsc::Receiver<Page>>,
    /// The number of the last answer.
    token: u64,
    last: Option<Answer>,
    columns: Option<Arc<[Column]>>,
    update_count: Option<i64>,
    /// Whether all rows were given.
    is_complete: bool,
    is_over: bool,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unanswered {
    /// It was given, and the one after it too.
    Gone,
    /// There is none of that number.
    Unknown,
}

impl Query {
    pub(super) fn new(id: String, sql: String, sent: Sent, session: Session, spooled: Option<Spooled>) -> Self {
        let now = Instant::now();
        Self {
            id,
            slug: Uuid::new_v4().simple().to_string(),
            sql,
            sent,
            session,
            spooled,
            created: now,
            created_at: SystemTime::now(),
            cancelled: CancellationToken::new(),
            known: Mutex::new(Known {
                phase: Phase::Queued,
                asked: now,
                started: None,
                accepted: None,
                accepted_at: None,
                ended: None,
                failure: None,
                rows: 0,
            }),
            turn: tokio::sync::Mutex::new(Turn {
                pages: None,
                token: 0,
                last: None,
                columns: None,
                update_count: None,
                is_complete: false,
                is_over: false,
            }),
        }
    }

    /// Whether a client knows the secret of its results.
    pub(super) fn has_slug(&self, slug: &str) -> bool {
        self.slug == slug
    }

    pub(super) fn phase(&self) -> Phase {
        lock(&self.known).phase
    }

    /// The id that the coordinator knows it by, once it has accepted it.
    pub(super) fn query_id(&self) -> Option<QueryId> {
        lock(&self.known).accepted.as_ref().map(|accepted| accepted.id.clone())
    }

    pub(super) fn failure(&self) -> Option<QueryError> {
        lock(&self.known).failure.as_ref().map(QueryError::new)
    }

    pub(super) fn update_type(&self) -> Option<&'static str> {
        lock(&self.known).accepted.as_ref().and_then(|accepted| accepted.update_type)
    }

    pub(super) fn stats(&self) -> Stats {
        let known = lock(&self.known);
        let now = known.ended.unwrap_or_else(Instant::now);
        let started = known.started.unwrap_or(now);
        let times = Times {
            queued: started.saturating_duration_since(self.created),
            planning: known.accepted_at.unwrap_or(now).saturating_duration_since(started),
            elapsed: now.saturating_duration_since(self.created),
        };
        let progress = known.accepted.as_ref().map(|accepted| accepted.progress.now());
        Stats::new(known.phase, &times, progress, known.rows)
    }

    /// Whether it may be forgotten: it has ended, or has been asked for too long ago, which ends it.
    pub(super) fn is_forgotten(&self, now: Instant, client_timeout: Duration) -> bool {
        let (phase, idle) = {
            let known = lock(&self.known);
            (known.phase, now.saturating_duration_since(known.asked))
        };
        if idle >= client_timeout && !phase.is_over() {
            self.cancel(&format!("nobody has asked for its results for {} s", idle.as_secs()));
        }
        let is_forgotten = phase.is_over() && idle >= limits::RESULTS_KEPT;
        if is_forgotten && phase == Phase::Failed {
            self.discard();
        }
        is_forgotten
    }

    /// Ends it, if it has not ended: everything that runs for it is dropped.
    pub(super) fn cancel(&self, why: &str) {
        let id = &self.id;
        let has_ended_it = self.fail(Error::new(Code::UserCanceled, format!("query {id} was cancelled: {why}")));
        self.cancelled.cancel();
        if has_ended_it {
            self.discard();
        }
    }

    /// The same, by somebody who says why.
    pub(super) fn kill(&self, message: &str) {
        self.fail(killed(message));
        self.cancelled.cancel();
    }

    /// Its statement, as others are shown it.
    pub(super) fn shown(&self) -> &str {
        self.session.shown(&self.sql)
    }

    /// What all are told of it.
    pub(super) fn listed(&self) -> ListedQuery {
        let known = lock(&self.known);
        let now = Instant::now();
        let at = |moment: Instant| millis(self.created_at + moment.saturating_duration_since(self.created));
        let lasted = |from: Instant, to: Instant| i64::try_from(to.saturating_duration_since(from).as_millis()).unwrap_or(i64::MAX);
        let started = known.started.or(known.ended);
        let planned = known.accepted_at.or(known.ended).unwrap_or(now);
        let state = known.phase.name();
        ListedQuery {
            id: self.id.clone(),
            query_id: known.accepted.as_ref().map(|accepted| accepted.id.as_str().to_owned()),
            state: state.to_owned(),
            user: self.sent.user.clone(),
            source: self.sent.source.clone(),
            sql: self.shown().to_owned(),
            queued_ms: lasted(self.created, started.unwrap_or(now)),
            planning_ms: started.map_or(0, |started| lasted(started, planned)),
            created_ms: millis(self.created_at),
            started_ms: known.started.map(at),
            heartbeat_ms: Some(at(known.asked)),
            ended_ms: known.ended.map(at),
            error_type: known.failure.as_ref().map(|error| error.code().kind().name().to_owned()),
            error_code: known.failure.as_ref().map(|error| error.code().name().to_owned()),
            tasks: known.accepted.as_ref().map(|accepted| tasks(&accepted.progress.now(), state)).unwrap_or_default(),
            ..ListedQuery::default()
        }
    }

    /// The first answer, which has no number: it says where the next one is.
    pub(super) fn receipt(&self, base: &str) -> Result<Answer> {
        let head = Head { id: &self.id, info_uri: self.info_uri(base), next_uri: Some(self.next_uri(base, 1)), columns: None };
        let tail = Tail { stats: self.stats(), error: None, warnings: [], update_type: None, update_count: None };
        Ok(Answer { body: body(&head, Data::None, &tail)?, headers: Vec::new() })
    }

    fn info_uri(&self, base: &str) -> String {
        format!("{base}/v1/query/{}", self.id)
    }

    fn next_uri(&self, base: &str, token: u64) -> String {
        let part = if lock(&self.known).accepted.is_some() { "executing" } else { "queued" };
        format!("{base}/v1/statement/{part}/{}/{}/{token}", self.id, self.slug)
    }

    /// Notes that its client is there.
    pub(super) fn touch(&self) {
        lock(&self.known).asked = Instant::now();
    }

    /// The answer of that number, for which it waits for up to `wait_max`.
    pub(super) async fn answer(
        self: &Arc<Self>,
        coordinator: &Coordinator,
        token: u64,
        wait_max: Duration,
        base: &str,
    ) -> Result<std::result::Result<Answer, Unanswered>> {
        self.touch();
        let mut turn = self.turn.lock().await;
        if token == turn.token
            && let Some(last) = &turn.last
        {
            return Ok(Ok(last.clone()));
        }
        if token <= turn.token {
            return Ok(Err(Unanswered::Gone));
        }
        if token > turn.token + 1 || turn.is_over {
            return Ok(Err(Unanswered::Unknown));
        }
        let page = self.next_page(&mut turn, coordinator, wait_max).await;
        let answer = self.write(&mut turn, token, page, base)?;
        turn.token = token;
        turn.last = Some(answer.clone());
        // Time that was spent here is none in which nobody asked.
        self.touch();
        Ok(Ok(answer))
    }

    /// The next rows, if there are some in time.
    async fn next_page(self: &Arc<Self>, turn: &mut Turn, coordinator: &Coordinator, wait_max: Duration) -> Option<Page> {
        if self.cancelled.is_cancelled() {
            return None;
        }
        let pages = turn.pages.get_or_insert_with(|| self.start(coordinator.clone()));
        if turn.is_complete {
            // What comes is the end: the task sees to it at once.
            let _ = tokio::time::timeout(wait_max, pages.recv()).await;
            return None;
        }
        tokio::time::timeout(wait_max, pages.recv()).await.ok().flatten()
    }

    fn write(&self, turn: &mut Turn, token: u64, page: Option<Page>, base: &str) -> Result<Answer> {
        let mut content = None;
        let mut is_small = true;
        if let Some(page) = page {
            is_small = page.content.bytes() <= limits::LAST_PAGE_BYTES_MAX;
            turn.is_complete = page.is_last;
            turn.columns = Some(page.columns);
            turn.update_count = page.update_count;
            lock(&self.known).rows += page.count;
            content = Some(page.content);
        }
        if turn.is_complete && is_small {
            self.finish();
        }
        let (phase, error, headers) = {
            let known = lock(&self.known);
            let headers = known.accepted.as_ref().map(|accepted| accepted.headers.clone()).unwrap_or_default();
            (known.phase, known.failure.as_ref().map(QueryError::new), headers)
        };
        // What failed has its columns, and none of its rows.
        content = content.filter(|_| phase != Phase::Failed);
        let segments;
        let data = match &content {
            Some(Content::Rows(rows)) => Data::Rows(rows),
            Some(Content::Segments { encoding, segments: described }) if !described.is_empty() => {
                segments = spooling::describe(*encoding, described, base)?;
                Data::Segments(&segments)
            }
            Some(Content::Segments { .. }) | None => Data::None,
        };
        turn.is_over = phase.is_over();
        let head = Head {
            id: &self.id,
            info_uri: self.info_uri(base),
            next_uri: (!turn.is_over).then(|| self.next_uri(base, token + 1)),
            columns: turn.columns.as_deref(),
        };
        let tail = Tail {
            stats: self.stats(),
            error,
            warnings: [],
            update_type: self.update_type(),
            update_count: turn.update_count.filter(|_| phase != Phase::Failed),
        };
        Ok(Answer { body: body(&head, data, &tail)?, headers })
    }

    /// All is well, unless it has failed meanwhile.
    fn finish(&self) {
        let mut known = lock(&self.known);
        if !known.phase.is_over() {
            known.phase = Phase::Finished;
            known.ended = Some(Instant::now());
        }
    }

    /// It has failed, unless it has ended before. Whether it has ended now.
    ///
    /// Segments that were told of stay as long as the query is known: a client that does not find them would say that, and not why the query has failed.
    fn fail(&self, error: Error) -> bool {
        let mut known = lock(&self.known);
        if known.phase.is_over() {
            return false;
        }
        errors::log(&error, &self.sent.user, known.accepted.as_ref().map(|accepted| &accepted.id));
        known.phase = Phase::Failed;
        known.ended = Some(Instant::now());
        known.failure = Some(error);
        true
    }

    /// Deletes its segments, which nobody wants any more.
    fn discard(&self) {
        if let Some(spooled) = &self.spooled {
            spooled.discard();
        }
    }

    /// Nothing of it runs any more: its plans are not kept.
    fn let_go(&self) {
        if let Some(accepted) = &lock(&self.known).accepted {
            accepted.progress.end();
        }
    }

    /// Starts the task that runs it, and gives what that makes.
    fn start(self: &Arc<Self>, coordinator: Coordinator) -> mpsc::Receiver<Page> {
        let (sender, receiver) = mpsc::channel(if self.spooled.is_some() { SPOOLED_PAGES_AHEAD } else { PAGES_AHEAD });
        {
            let mut known = lock(&self.known);
            // It may have been cancelled just now.
            if !known.phase.is_over() {
                known.phase = Phase::Planning;
            }
            known.started = Some(Instant::now());
        }
        let query = Arc::clone(self);
        tokio::spawn(async move {
            let outcome = tokio::select! {
                outcome = caught_async(query.run(&coordinator, &sender)) => outcome.unwrap_or_else(Err),
                () = query.cancelled.cancelled() => Ok(()),
            };
            query.let_go();
            if let Err(error) = outcome {
                query.fail(error);
            }
            // From now on who waits for pages knows that none come.
            drop(sender);
        });
        receiver
    }

    async fn run(&self, coordinator: &Coordinator, pages: &mpsc::Sender<Page>) -> Result<()> {
        if let Some(acting) = &self.sent.acting_user {
            let error = Error::new(Code::PermissionDenied, format!("user '{acting}' cannot act for user '{}'", self.sent.user));
            return Err(error.with_hint("log in as the other user"));
        }
        for (name, value) in &self.session.properties {
            coordinator.check_session_property(name, value)?;
        }
        let request = Request { sql: self.sql.clone(), session: self.session.clone(), parameters: None, is_listed: true };
        let Running { id, kind, schema, rows, session_changes, update_type, progress } = coordinator.submit(request).await?;
        tracing::info!(query = %id, trino_id = %self.id, source = self.sent.source.as_deref().unwrap_or_default(), "query of a Trino client");
        {
            let mut known = lock(&self.known);
            if !known.phase.is_over() {
                known.phase = Phase::Running;
            }
            known.accepted_at = Some(Instant::now());
            known.accepted = Some(Accepted { id, update_type, progress, headers: headers::changes(&session_changes) });
        }
        pages::send(rows, &schema, kind, self.sent.is_parametric(), self.spooled.as_ref(), pages).await
    }
}
