//! The connections over which tasks of pipelined queries go to executors.
//!
//! datafusion-distributed keeps one for each address, which gives the error of its last failure once more when the executor is back, and says nothing when a task
//! cannot be sent: those who wait for its rows would find out after ten seconds. So an executor that was started again gets a new connection, and an attempt
//! is told at once when one of its tasks has not arrived.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use dashmap::DashMap;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion_distributed::grpc::DefaultChannelResolver;
use datafusion_distributed::{
    ChannelResolver, CoordinatorToWorkerMsg, ExecuteTaskRequest, GetWorkerInfoRequest, GetWorkerInfoResponse, SetPlanRequest, WorkerChannel,
    WorkerToCoordinatorMsg,
};
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use http::HeaderMap;
use nunatak_core::{Code, Error};
use nunatak_engine::error::into_datafusion;
use nunatak_state::Joined;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tonic::Status;
use url::Url;

/// The connections to executors, by their ids. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Connections(Arc<DashMap<String, Connection>>);

/// The connection to an executor since it has joined.
#[derive(Clone)]
struct Connection {
    number: u64,
    resolver: DefaultChannelResolver,
}

impl Connections {
    /// Those of one attempt, to these executors, and what tells why a task has not arrived.
    pub(super) fn of_attempt(&self, executors: &[(Url, Joined)]) -> (AttemptConnections, UnboundedReceiver<Error>) {
        // Connections of executors that have left are closed.
        self.0.retain(|id, connection| executors.iter().any(|(_, joined)| joined.executor.id == *id && joined.number == connection.number));
        let connection = |joined: &Joined| {
            let new = || Connection { number: joined.number, resolver: DefaultChannelResolver::default() };
            self.0.entry(joined.executor.id.clone()).or_insert_with(new).resolver.clone()
        };
        let resolvers = executors.iter().map(|(url, joined)| (url.clone(), connection(joined))).collect();
        let (failures, failed) = unbounded_channel();
        (AttemptConnections { resolvers, failures }, failed)
    }
}

/// The connections of one attempt.
pub(super) struct AttemptConnections {
    resolvers: HashMap<Url, DefaultChannelResolver>,
    failures: UnboundedSender<Error>,
}

#[async_trait]
impl ChannelResolver for AttemptConnections {
    async fn get_worker_client_for_url(&self, url: &Url) -> Result<Box<dyn WorkerChannel>> {
        let resolver = self.resolvers.get(url).ok_or_else(|| into_datafusion(Error::internal(format!("no executor of the query is at {url}"))))?;
        let failures = Failures { address: url.authority().to_owned(), sender: self.failures.clone() };
        match resolver.get_worker_client_for_url(url).await {
            Ok(inner) => Ok(Box::new(Worker { inner, failures })),
            Err(error) => Err(failures.unreachable(error)),
        }
    }
}

/// Where it is told that an executor cannot be reached.
struct Failures {
    address: String,
    sender: UnboundedSender<Error>,
}

impl Failures {
    /// Tells of it. Errors that the executor itself has sent are none of these.
    fn look_at(&self, error: DataFusionError) -> DataFusionError {
        match error.find_root() {
            DataFusionError::External(cause) if cause.is::<Status>() => self.unreachable(error),
            _ => error,
        }
    }

    fn unreachable(&self, cause: DataFusionError) -> DataFusionError {
        let error = || Error::new(Code::RemoteHostGone, format!("executor {} cannot be reached", self.address));
        // Nobody listens any more to an attempt that has ended.
        let _ = self.sender.send(error());
        into_datafusion(error().with_source(cause))
    }
}

/// An executor to which tasks are sent.
struct Worker {
    inner: Box<dyn WorkerChannel>,
    failures: Failures,
}

#[async_trait]
impl WorkerChannel for Worker {
    async fn coordinator_channel(
        &mut self,
        headers: HeaderMap,
        plan: SetPlanRequest,
        messages: BoxStream<'static, CoordinatorToWorkerMsg>,
        metrics: ExecutionPlanMetricsSet,
        context: &Arc<TaskContext>,
    ) -> Result<BoxStream<'static, Result<WorkerToCoordinatorMsg>>> {
        let sent = self.inner.coordinator_channel(headers, plan, messages, metrics, context).await;
        sent.map_err(|error| self.failures.look_at(error))
    }

    async fn execute_task(
        &mut self,
        headers: HeaderMap,
        request: ExecuteTaskRequest,
        metrics: ExecutionPlanMetricsSet,
        context: &Arc<TaskContext>,
    ) -> Result<Vec<BoxStream<'static, Result<RecordBatch>>>> {
        self.inner.execute_task(headers, request, metrics, context).await
    }

    async fn get_worker_info(&mut self, request: GetWorkerInfoRequest) -> Result<GetWorkerInfoResponse> {
        self.inner.get_worker_info(request).await
    }
}

/// The rows of an attempt, up to the end or the first failure.
pub(super) fn until_failure(rows: SendableRecordBatchStream, failed: UnboundedReceiver<Error>) -> SendableRecordBatchStream {
    let schema = rows.schema();
    let rows = stream::unfold(Some((rows, failed)), |state| async {
        let (mut rows, mut failed) = state?;
        tokio::select! {
            biased;
            Some(error) = failed.recv() => Some((Err(into_datafusion(error)), None)),
            batch = rows.next() => batch.map(|batch| (batch, Some((rows, failed)))),
        }
    });
    Box::pin(RecordBatchStreamAdapter::new(schema, rows))
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::datatypes::Schema;
    use nunatak_engine::error::from_datafusion;
    use nunatak_state::ExecutorMember;
    use tokio::net::TcpListener;

    use super::*;

    async fn gone() -> (Url, Joined) {
        let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
        let executor = ExecutorMember { id: "a".into(), host: "127.0.0.1".into(), port, slots: 1, memory_bytes: 1, draining: false };
        (Url::parse(&executor.url()).unwrap(), Joined { executor, number: 1 })
    }

    #[tokio::test]
    async fn an_attempt_hears_that_an_executor_cannot_be_reached() {
        let executor = gone().await;
        let (connections, failed) = Connections::default().of_attempt(std::slice::from_ref(&executor));
        let error = connections.get_worker_client_for_url(&executor.0).await.err().map(from_datafusion).unwrap();
        assert_eq!(error.code(), Code::RemoteHostGone);
        // The rows that were waited for never come.
        let rows = RecordBatchStreamAdapter::new(Arc::new(Schema::empty()), stream::pending());
        let rows: Vec<_> = until_failure(Box::pin(rows), failed).collect().await;
        let errors: Vec<_> = rows.into_iter().map(|row| from_datafusion(row.unwrap_err())).collect();
        assert!(matches!(&errors[..], [error] if error.code() == Code::RemoteHostGone), "{errors:?}");
    }

    #[tokio::test]
    async fn an_executor_that_came_back_gets_a_new_connection() {
        let (url, joined) = gone().await;
        let connections = Connections::default();
        let numbers = || connections.0.iter().map(|connection| connection.number).collect::<Vec<_>>();
        let again = Joined { number: 2, ..joined.clone() };
        for (executors, expected) in [(vec![(url.clone(), joined.clone())], vec![1]), (vec![(url, again)], vec![2]), (vec![], vec![])] {
            let _ = connections.of_attempt(&executors);
            assert_eq!(numbers(), expected);
        }
    }
}
