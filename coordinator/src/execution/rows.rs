//! The rows of a distributed query, over the loss of executors.

use std::future::Future;
use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::{StreamExt, stream};
use nunatak_core::{Code, Error, Result, Retry};
use nunatak_engine::error::{from_datafusion_ref, into_datafusion};
use nunatak_state::{ExecutorMember, Executors};
use tracing::warn;

use super::members::Members;

/// How often a query is run altogether.
const ATTEMPTS_MAX: usize = 4;

/// One attempt to run a query: its rows, and the executors whose loss ends it. An attempt that survives such a loss names none, and gives
/// `REMOTE_HOST_GONE` when it could not.
pub(super) struct Attempt {
    pub(super) rows: SendableRecordBatchStream,
    pub(super) executors: Executors,
}

/// The rows of `first`; when an executor is lost before the first of them, those of `again`, which gives another attempt.
pub(super) fn with_retries<F, W>(schema: SchemaRef, first: Attempt, again: F, members: Members) -> SendableRecordBatchStream
where
    F: Fn() -> W + Send + Sync + 'static,
    W: Future<Output = Result<Attempt>> + Send + 'static,
{
    let run = Run { attempt: first, number: 1, delivered: false, again: Arc::new(again), members };
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

struct Run<F> {
    attempt: Attempt,
    number: usize,
    /// Whether rows have left: from then on another attempt could give some of them twice.
    delivered: bool,
    again: Arc<F>,
    members: Members,
}

impl<F, W> Run<F>
where
    F: Fn() -> W,
    W: Future<Output = Result<Attempt>>,
{
    async fn next(&mut self) -> Option<std::result::Result<RecordBatch, DataFusionError>> {
        loop {
            let lost = tokio::select! {
                biased;
                batch = self.attempt.rows.next() => match batch {
                    None => return None,
                    Some(Ok(batch)) => {
                        self.delivered |= batch.num_rows() > 0;
                        return Some(Ok(batch));
                    }
                    Some(Err(error)) => match cause(&error, &self.members, &self.attempt.executors).await {
                        Some(lost) => lost,
                        None => return Some(Err(error)),
                    },
                },
                lost = self.members.lost(&self.attempt.executors) => lost.to_string(),
            };
            if self.delivered || self.number == ATTEMPTS_MAX {
                return Some(Err(into_datafusion(gone(&lost, self.delivered))));
            }
            warn!(executor = lost, attempt = self.number, "an executor was lost; the query is run again");
            self.number += 1;
            self.attempt = match (self.again)().await {
                Ok(attempt) => attempt,
                Err(error) => return Some(Err(into_datafusion(error))),
            };
        }
    }
}

/// The executor whose loss is behind an error, if one is lost.
async fn cause(error: &DataFusionError, members: &Members, executors: &[ExecutorMember]) -> Option<String> {
    if let Some(lost) = members.probe(executors).await {
        return Some(lost.to_string());
    }
    let error = from_datafusion_ref(error);
    (error.code() == Code::RemoteHostGone).then(|| error.message().to_owned())
}

/// What cannot be mended any more. `lost` names the executor.
fn gone(lost: &str, delivered: bool) -> Error {
    let why = if delivered { "after some of its rows were delivered" } else { "again and again" };
    Error::new(Code::RemoteHostGone, format!("executor {lost} was lost while the query ran, {why}"))
        .with_hint("run it again; in execution mode 'fault_tolerant' only the lost tasks are run again")
        .with_retry(Retry::Query)
}
