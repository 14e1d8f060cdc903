//! What executors tell the coordinator: that they are there, and what became of their tasks.
//!
//! Of Ballista's service only that is answered. Jobs come from this process alone: nobody may submit one over the network.

use std::sync::Arc;

use ballista_core::BALLISTA_PROTOCOL_VERSION;
use ballista_core::serde::protobuf::executor_resource::Resource;
use ballista_core::serde::protobuf::scheduler_grpc_server::{SchedulerGrpc, SchedulerGrpcServer};
use ballista_core::serde::protobuf::{
    CancelJobParams, CancelJobResult, CleanJobDataParams, CleanJobDataResult, CreateUpdateSessionParams, CreateUpdateSessionResult,
    ExecuteQueryParams, ExecuteQueryResult, ExecutorStoppedParams, ExecutorStoppedResult, GetJobMetricsParams, GetJobMetricsResult,
    GetJobStatusParams, GetJobStatusResult, HeartBeatParams, HeartBeatResult, PollWorkParams, PollWorkResult, RegisterExecutorParams,
    RegisterExecutorResult, RemoveSessionParams, RemoveSessionResult, UpdateTaskStatusParams, UpdateTaskStatusResult, executor_metric,
    executor_status,
};
use futures::stream::BoxStream;
use nunatak_core::Error;
use nunatak_state::{ClusterState, ExecutorMember, Member, threads};
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};
use tracing::error;

use super::scheduler::{MESSAGE_BYTES_MAX, Scheduler};

/// Answers on `listener` until the process ends: on the threads of the membership, so that no query makes a heartbeat wait. Must be called within the Tokio runtime
/// of the scheduler.
pub(super) fn serve(listener: TcpListener, scheduler: Arc<Scheduler>, state: Arc<dyn ClusterState>) -> Result<(), Error> {
    let threads = threads()?;
    let service = SchedulerGrpcServer::new(Service { scheduler, state, work: Handle::current() })
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);
    let listener = {
        // The runtime in which a listener is made tells it of connections.
        let _within = threads.enter();
        let moved = listener.into_std().and_then(TcpListener::from_std);
        moved.map_err(|error| Error::internal(format!("the cluster server cannot listen: {error}")))?
    };
    let connections = TcpIncoming::from(listener).with_nodelay(Some(true));
    threads.spawn(async move {
        if let Err(error) = Server::builder().add_service(service).serve_with_incoming(connections).await {
            error!(%error, "the cluster server has failed");
        }
    });
    Ok(())
}

struct Service {
    scheduler: Arc<Scheduler>,
    state: Arc<dyn ClusterState>,
    /// Where the scheduler does its work.
    work: Handle,
}

type Answer<T> = Result<Response<T>, Status>;

fn refused<T>() -> Answer<T> {
    Err(Status::unimplemented("the cluster service only serves executors"))
}

/// The executor that a heartbeat comes from.
fn member(beat: HeartBeatParams) -> Result<ExecutorMember, Status> {
    let invalid = |what: &str| Status::invalid_argument(format!("a heartbeat without {what}"));
    let metadata = beat.metadata.ok_or_else(|| invalid("metadata"))?;
    if metadata.ballista_protocol_version != BALLISTA_PROTOCOL_VERSION {
        return Err(Status::failed_precondition("executor and coordinator are of different versions"));
    }
    let resources = metadata.specification.ok_or_else(|| invalid("slots"))?.resources;
    let slots = resources.into_iter().find_map(|resource| match resource.resource? {
        Resource::Vcores(slots) => Some(slots as usize),
    });
    let memory = beat.metrics.into_iter().find_map(|metric| match metric.metric? {
        executor_metric::Metric::TotalMemory(bytes) => Some(bytes),
        _ => None,
    });
    Ok(ExecutorMember {
        id: metadata.id,
        host: metadata.host.ok_or_else(|| invalid("host"))?,
        port: u16::try_from(metadata.grpc_port).map_err(|_| invalid("a port"))?,
        slots: slots.filter(|slots| *slots > 0).ok_or_else(|| invalid("slots"))?,
        memory_bytes: memory.ok_or_else(|| invalid("memory"))?,
        draining: matches!(beat.status.and_then(|status| status.status), Some(executor_status::Status::Terminating(_))),
    })
}

fn failed(error: &Error) -> Status {
    Status::unavailable(error.to_string())
}

#[tonic::async_trait]
impl SchedulerGrpc for Service {
    type ExecuteQueryPushStream = BoxStream<'static, Result<GetJobStatusResult, Status>>;

    async fn heart_beat_from_executor(&self, request: Request<HeartBeatParams>) -> Answer<HeartBeatResult> {
        let member = Member::Executor(member(request.into_inner())?);
        self.state.announce(member).await.map_err(|error| failed(&error))?;
        Ok(Response::new(HeartBeatResult { reregister: false }))
    }

    async fn executor_stopped(&self, request: Request<ExecutorStoppedParams>) -> Answer<ExecutorStoppedResult> {
        self.state.leave(&request.into_inner().executor_id).await.map_err(|error| failed(&error))?;
        Ok(Response::new(ExecutorStoppedResult {}))
    }

    async fn update_task_status(&self, request: Request<UpdateTaskStatusParams>) -> Answer<UpdateTaskStatusResult> {
        let scheduler = Arc::clone(&self.scheduler);
        let updated = self.work.spawn(async move { SchedulerGrpc::update_task_status(scheduler.server(), request).await });
        updated.await.unwrap_or_else(|_| Err(Status::unavailable("the coordinator is about to end")))
    }

    async fn poll_work(&self, _: Request<PollWorkParams>) -> Answer<PollWorkResult> {
        refused()
    }

    async fn register_executor(&self, _: Request<RegisterExecutorParams>) -> Answer<RegisterExecutorResult> {
        refused()
    }

    async fn create_update_session(&self, _: Request<CreateUpdateSessionParams>) -> Answer<CreateUpdateSessionResult> {
        refused()
    }

    async fn remove_session(&self, _: Request<RemoveSessionParams>) -> Answer<RemoveSessionResult> {
        refused()
    }

    async fn execute_query_push(&self, _: Request<ExecuteQueryParams>) -> Answer<Self::ExecuteQueryPushStream> {
        refused()
    }

    async fn execute_query(&self, _: Request<ExecuteQueryParams>) -> Answer<ExecuteQueryResult> {
        refused()
    }

    async fn get_job_status(&self, _: Request<GetJobStatusParams>) -> Answer<GetJobStatusResult> {
        refused()
    }

    async fn get_job_metrics(&self, _: Request<GetJobMetricsParams>) -> Answer<GetJobMetricsResult> {
        refused()
    }

    async fn cancel_job(&self, _: Request<CancelJobParams>) -> Answer<CancelJobResult> {
        refused()
    }

    async fn clean_job_data(&self, _: Request<CleanJobDataParams>) -> Answer<CleanJobDataResult> {
        refused()
    }
}
