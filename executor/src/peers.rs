//! The connections to other executors, from which a task of a pipelined query fetches its rows.
//!
//! datafusion-distributed keeps one for each address, which gives the error of its last failure once more when the other executor is back. So one that has failed
//! is forgotten; and the coordinator hears that an executor was not reached, in which case it runs the query again.

use std::sync::Arc;

use async_trait::async_trait;
use dashmap::DashMap;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use datafusion_distributed::grpc::DefaultChannelResolver;
use datafusion_distributed::{
    ChannelResolver, CoordinatorToWorkerMsg, ExecuteTaskRequest, GetWorkerInfoRequest, GetWorkerInfoResponse, SetPlanRequest, WorkerChannel,
    WorkerToCoordinatorMsg,
};
use futures::StreamExt;
use futures::stream::BoxStream;
use http::HeaderMap;
use nunatak_core::{Code, Error};
use nunatak_engine::error::into_datafusion;
use tonic::Status;
use url::Url;

/// The connections, by address. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Peers(Arc<DashMap<Url, DefaultChannelResolver>>);

#[async_trait]
impl ChannelResolver for Peers {
    async fn get_worker_client_for_url(&self, url: &Url) -> Result<Box<dyn WorkerChannel>> {
        let resolver = self.0.entry(url.clone()).or_default().clone();
        let address = Address { url: url.clone(), peers: self.clone() };
        match resolver.get_worker_client_for_url(url).await {
            Ok(inner) => Ok(Box::new(Peer { inner, address })),
            Err(error) => Err(address.unreachable(error)),
        }
    }
}

/// Where an executor is to be found.
#[derive(Clone)]
struct Address {
    url: Url,
    peers: Peers,
}

impl Address {
    /// Forgets the connection if it has failed. Errors that the executor itself has sent are none of these.
    fn look_at(&self, error: DataFusionError) -> DataFusionError {
        match error.find_root() {
            DataFusionError::External(cause) if cause.is::<Status>() => self.unreachable(error),
            _ => error,
        }
    }

    fn unreachable(&self, cause: DataFusionError) -> DataFusionError {
        self.peers.0.remove(&self.url);
        into_datafusion(Error::new(Code::RemoteHostGone, format!("executor {} cannot be reached", self.url.authority())).with_source(cause))
    }
}

/// Another executor.
struct Peer {
    inner: Box<dyn WorkerChannel>,
    address: Address,
}

#[async_trait]
impl WorkerChannel for Peer {
    async fn coordinator_channel(
        &mut self,
        headers: HeaderMap,
        plan: SetPlanRequest,
        messages: BoxStream<'static, CoordinatorToWorkerMsg>,
        metrics: ExecutionPlanMetricsSet,
        context: &Arc<TaskContext>,
    ) -> Result<BoxStream<'static, Result<WorkerToCoordinatorMsg>>> {
        self.inner.coordinator_channel(headers, plan, messages, metrics, context).await
    }

    async fn execute_task(
        &mut self,
        headers: HeaderMap,
        request: ExecuteTaskRequest,
        metrics: ExecutionPlanMetricsSet,
        context: &Arc<TaskContext>,
    ) -> Result<Vec<BoxStream<'static, Result<RecordBatch>>>> {
        let parts = self.inner.execute_task(headers, request, metrics, context).await.map_err(|error| self.address.look_at(error))?;
        let watched = |rows: BoxStream<'static, Result<RecordBatch>>| {
            let address = self.address.clone();
            rows.map(move |batch| batch.map_err(|error| address.look_at(error))).boxed()
        };
        Ok(parts.into_iter().map(watched).collect())
    }

    async fn get_worker_info(&mut self, request: GetWorkerInfoRequest) -> Result<GetWorkerInfoResponse> {
        self.inner.get_worker_info(request).await
    }
}
