//! The rows of a distributed query, over the loss of executors.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::{StreamExt, stream};
use nunatak_core::error::Kind;
use nunatak_core::{Code, Error, Result, Retry};
use nunatak_engine::error::{from_datafusion_ref, into_datafusion};
use tokio::time::Instant;
use tracing::warn;

use super::members::{Members, Needed};

/// How often a query is run altogether.
const ATTEMPTS_MAX: usize = 4;
/// How long the first batch waits for a second one. Of a result of one batch nothing has left when an executor is lost between its rows and its end.
const FIRST_BATCH_HELD: Duration = Duration::from_millis(500);

/// A process that was killed closes its connections one by one, and may still seem to listen when the first of them has broken.
const END_OF_PROCESS_MAX: Duration = Duration::from_secs(1);
/// How often an executor is looked at meanwhile.
const PROBE_PAUSE: Duration = Duration::from_millis(50);

type Batch = std::result::Result<RecordBatch, DataFusionError>;

/// One attempt to run a query.
pub(super) struct Attempt {
    pub(super) rows: SendableRecordBatchStream,
    /// The executors whose loss ends it.
    pub(super) needed: Needed,
}

/// The rows of `first`; when an executor is lost before the first of them has left, those of `again`, which makes another attempt.
pub(super) fn with_retries<F, W>(schema: SchemaRef, first: Attempt, again: F, members: Members) -> SendableRecordBatchStream
where
    F: Fn() -> W + Send + Sync + 'static,
    W: Future<Output = Result<Attempt>> + Send + 'static,
{
    let run = Run { attempt: first, number: 1, delivery: Delivery::Nothing, again: Arc::new(again), members };
    let rows = stream::unfold(Some(run), |run| async move {
        let mut run = run?;
        match run.next().await {
            Some(Ok(batch)) => Some((Ok(batch), Some(run))),
            Some(Err(error)) => Some((Err(error), None)),
            None => None,
        }
    });
    Box::pin(RecordBatchStreamAdapter::new(schema, rows))
}

/// How far the rows have come. Once some have left, another attempt could give them twice.
enum Delivery {
    /// None has come.
    Nothing,
    /// The first batch is here, and leaves at this time at the latest.
    Held(RecordBatch, Instant),
    /// Rows have left; this batch is next, if there is one.
    Left(Option<RecordBatch>),
}

struct Run<F> {
    attempt: Attempt,
    number: usize,
    delivery: Delivery,
    again: Arc<F>,
    members: Members,
}

/// What can happen to an attempt.
enum Event {
    Batch(Option<Batch>),
    Lost(String),
    HeldLongEnough,
}

impl<F, W> Run<F>
where
    F: Fn() -> W,
    W: Future<Output = Result<Attempt>>,
{
    async fn next(&mut self) -> Option<Batch> {
        loop {
            if let Delivery::Left(next) = &mut self.delivery
                && let Some(batch) = next.take()
            {
                return Some(Ok(batch));
            }
            let lost = match self.event().await {
                Event::Batch(Some(Err(error))) => match cause(&error, &self.members, &self.attempt.needed).await {
                    Some(lost) => lost,
                    None => return Some(Err(error)),
                },
                Event::Batch(None) => match std::mem::replace(&mut self.delivery, Delivery::Left(None)) {
                    Delivery::Held(batch, _) => return Some(Ok(batch)),
                    Delivery::Nothing | Delivery::Left(_) => return None,
                },
                Event::Batch(Some(Ok(batch))) => match self.take(batch) {
                    Some(batch) => return Some(Ok(batch)),
                    None => continue,
                },
                Event::HeldLongEnough => match std::mem::replace(&mut self.delivery, Delivery::Left(None)) {
                    Delivery::Held(batch, _) => return Some(Ok(batch)),
                    Delivery::Nothing | Delivery::Left(_) => continue,
                },
                Event::Lost(lost) => lost,
            };
            let left = matches!(self.delivery, Delivery::Left(_));
            if left || self.number == ATTEMPTS_MAX {
                return Some(Err(into_datafusion(gone(&lost, left))));
            }
            warn!(executor = lost, attempt = self.number, "an executor was lost; the query is run again");
            self.number += 1;
            self.delivery = Delivery::Nothing;
            self.attempt = match (self.again)().await {
                Ok(attempt) => attempt,
                Err(error) => return Some(Err(into_datafusion(error))),
            };
        }
    }

    /// Waits for what happens next.
    async fn event(&mut self) -> Event {
        let held_until = match &self.delivery {
            Delivery::Held(_, until) => Some(*until),
            Delivery::Nothing | Delivery::Left(_) => None,
        };
        let held_long_enough = async {
            match held_until {
                Some(until) => tokio::time::sleep_until(until).await,
                None => std::future::pending().await,
            }
        };
        let event = tokio::select! {
            biased;
            batch = self.attempt.rows.next() => Event::Batch(batch),
            lost = self.members.lost(&self.attempt.needed) => Event::Lost(lost),
            () = held_long_enough => Event::HeldLongEnough,
        };
        let is_first = matches!((&event, &self.delivery), (Event::Batch(None | Some(Ok(_))), Delivery::Nothing));
        if is_first && let Needed::AllSince { .. } = &self.attempt.needed {
            if let Some(lost) = self.members.missing(&self.attempt.needed) {
                return Event::Lost(lost);
            }
            // All rows are there: from now on only those that hold them are needed, and an error tells when one is gone.
            self.attempt.needed = Needed::These(Vec::new());
        }
        event
    }

    /// Takes a batch, and gives the one that may leave.
    fn take(&mut self, batch: RecordBatch) -> Option<RecordBatch> {
        match std::mem::replace(&mut self.delivery, Delivery::Nothing) {
            Delivery::Nothing => {
                self.delivery = Delivery::Held(batch, Instant::now() + FIRST_BATCH_HELD);
                None
            }
            Delivery::Held(first, _) => {
                self.delivery = Delivery::Left(Some(batch));
                Some(first)
            }
            Delivery::Left(_) => {
                self.delivery = Delivery::Left(None);
                Some(batch)
            }
        }
    }
}

/// The executor whose loss is behind an error, if one is lost.
async fn cause(error: &DataFusionError, members: &Members, needed: &Needed) -> Option<String> {
    let error = from_datafusion_ref(error);
    let is_suspect = matches!(error.code().kind(), Kind::Internal | Kind::External);
    let until = Instant::now() + END_OF_PROCESS_MAX;
    loop {
        if let Some(lost) = members.probe(needed).await {
            return Some(lost);
        }
        if !is_suspect || Instant::now() >= until {
            return (error.code() == Code::RemoteHostGone).then(|| error.message().to_owned());
        }
        tokio::time::sleep(PROBE_PAUSE).await;
    }
}

/// What cannot be mended any more. `lost` names the executor.
fn gone(lost: &str, left: bool) -> Error {
    let why = if left { "after some of its rows were delivered" } else { "again and again" };
    Error::new(Code::RemoteHostGone, format!("executor {lost} was lost while the query ran, {why}"))
        .with_hint("run it again; in execution mode 'fault_tolerant' no row leaves before all are there")
        .with_retry(Retry::Query)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use datafusion::arrow::array::{Int64Array, RecordBatch};
    use datafusion::arrow::datatypes::{DataType, Field, Schema};
    use nunatak_state::{Announcements, ClusterState, EmbeddedState, ExecutorMember, Member};
    use tokio::net::TcpListener;

    use super::*;

    fn batch(value: i64) -> RecordBatch {
        let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false)]));
        RecordBatch::try_new(schema, vec![Arc::new(Int64Array::from(vec![value]))]).unwrap()
    }

    /// Batches, and then either the end, an error, or nothing at all.
    enum End {
        Clean,
        Broken,
        Frozen,
    }

    fn attempt(values: &[i64], end: End, members: &Members, needs_all: bool) -> Attempt {
        let batches: Vec<Batch> = values.iter().map(|value| Ok(batch(*value))).collect();
        let rest = match end {
            End::Clean => stream::empty().boxed(),
            End::Broken => stream::iter([Err(DataFusionError::Execution("broken pipe".to_owned()))]).boxed(),
            End::Frozen => stream::pending().boxed(),
        };
        let rows = RecordBatchStreamAdapter::new(batch(0).schema(), stream::iter(batches).chain(rest));
        let executors = members.active();
        let needed = if needs_all { Needed::AllSince { executors, departures: members.departures() } } else { Needed::These(executors) };
        Attempt { rows: Box::pin(rows), needed }
    }

    /// Two executors that listen; the second is killed by dropping what is returned last.
    async fn members() -> (Arc<EmbeddedState>, Members, TcpListener, TcpListener) {
        let state = EmbeddedState::start(Duration::from_secs(60)).unwrap();
        let (first, second) = (TcpListener::bind("127.0.0.1:0").await.unwrap(), TcpListener::bind("127.0.0.1:0").await.unwrap());
        for (id, listener) in [("a", &first), ("b", &second)] {
            let port = listener.local_addr().unwrap().port();
            let executor = ExecutorMember { id: id.into(), host: "127.0.0.1".into(), port, slots: 1, memory_bytes: 1, draining: false };
            state.announce(Member::Executor(executor)).await.unwrap();
        }
        let members = Members::start(Arc::clone(&state) as Arc<dyn ClusterState>).unwrap();
        (state, members, first, second)
    }

    /// What a client sees of a first attempt, whose second executor is lost once `seen` batches have left, and of one clean attempt after it.
    async fn outcome(values: &[i64], end: End, needs_all: bool, seen: usize) -> (Vec<i64>, Option<Code>, usize) {
        let (_state, members, _first, second) = members().await;
        let first = attempt(values, end, &members, needs_all);
        let attempts = Arc::new(AtomicUsize::new(1));
        let again = {
            let (members, attempts) = (members.clone(), Arc::clone(&attempts));
            move || {
                attempts.fetch_add(1, Ordering::Relaxed);
                let attempt = attempt(&[7], End::Clean, &members, needs_all);
                async move { Ok(attempt) }
            }
        };
        let mut rows = with_retries(batch(0).schema(), first, again, members.clone());
        let (mut found, mut second) = (Vec::new(), Some(second));
        loop {
            if found.len() >= seen && second.take().is_some() {
                members.probe(&Needed::These(members.active())).await;
            }
            match rows.next().await {
                Some(Ok(batch)) => found.push(batch.column(0).as_any().downcast_ref::<Int64Array>().unwrap().value(0)),
                Some(Err(error)) => return (found, Some(from_datafusion_ref(&error).code()), attempts.load(Ordering::Relaxed)),
                None => return (found, None, attempts.load(Ordering::Relaxed)),
            }
        }
    }

    #[tokio::test]
    async fn a_query_runs_again_until_rows_have_left() {
        assert_eq!(outcome(&[], End::Frozen, false, 0).await, (vec![7], None, 2), "a frozen attempt");
        assert_eq!(outcome(&[], End::Broken, false, 0).await, (vec![7], None, 2), "an attempt that failed");
        assert_eq!(outcome(&[1], End::Broken, false, 0).await, (vec![7], None, 2), "one that failed when its only batch was held");
        assert_eq!(outcome(&[1, 2], End::Broken, false, 1).await, (vec![1, 2], Some(Code::RemoteHostGone), 1), "rows have left");
        assert_eq!(outcome(&[1, 2], End::Frozen, false, 1).await, (vec![1, 2], Some(Code::RemoteHostGone), 1));
    }

    #[tokio::test]
    async fn errors_of_the_query_and_good_rows_stay_what_they_are() {
        assert_eq!(outcome(&[], End::Broken, false, 9).await, (vec![], Some(Code::GenericUserError), 1));
        assert_eq!(outcome(&[1, 2, 3], End::Clean, false, 0).await, (vec![1, 2, 3], None, 1), "they are complete, whoever is gone");
        assert_eq!(outcome(&[1, 2, 3], End::Clean, true, 0).await, (vec![7], None, 2), "they may be wrong");
        assert_eq!(outcome(&[], End::Clean, true, 0).await, (vec![7], None, 2), "and so may none be");
        assert_eq!(outcome(&[1, 2, 3], End::Clean, true, 1).await, (vec![1, 2, 3], None, 1), "they were there before");
    }
}
