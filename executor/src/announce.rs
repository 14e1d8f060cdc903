//! Membership in the cluster of one coordinator, which keeps the state itself: it hears of this executor by Ballista's heartbeat.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use ballista_core::BALLISTA_PROTOCOL_VERSION;
use ballista_core::serde::protobuf::scheduler_grpc_client::SchedulerGrpcClient;
use ballista_core::serde::protobuf::{
    ExecutorMetric, ExecutorOperatingSystemSpecification, ExecutorRegistration, ExecutorResource, ExecutorSpecification, ExecutorStatus,
    ExecutorStoppedParams, HeartBeatParams, executor_metric, executor_resource, executor_status,
};
use nunatak_core::{Code, Error, Result};
use nunatak_state::{Announcements, ExecutorMember, Member, threads};
use tonic::Status;
use tonic::transport::Channel;

use crate::deliver;

/// How long one heartbeat may take.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Heartbeats to a coordinator.
pub(crate) struct Heartbeats {
    /// Its cluster service, `host:port`.
    coordinator: String,
    client: SchedulerGrpcClient<Channel>,
}

impl fmt::Debug for Heartbeats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Heartbeats").field("coordinator", &self.coordinator).finish_non_exhaustive()
    }
}

impl Heartbeats {
    /// To the coordinator at `host:port`, which is called when there is something to say.
    pub(crate) fn new(coordinator: &str) -> Result<Self> {
        // The connection is driven by the runtime that it is made in, and must not wait for tasks.
        let _within = threads()?.enter();
        let client = deliver::client(coordinator)
            .map_err(|error| Error::new(Code::ConfigurationInvalid, format!("'{coordinator}' is not the address of a coordinator: {error}")))?;
        Ok(Self { coordinator: coordinator.to_owned(), client })
    }

    fn failed(&self, status: &Status) -> Error {
        Error::new(Code::RemoteHostGone, format!("coordinator {}: {}", self.coordinator, status.message()))
    }
}

#[async_trait]
impl Announcements for Heartbeats {
    async fn announce(&self, member: Member) -> Result<()> {
        let Member::Executor(executor) = member else { return Err(Error::internal("only executors have heartbeats")) };
        let mut client = self.client.clone();
        let answer = tokio::time::timeout(TIMEOUT, client.heart_beat_from_executor(heartbeat(&executor))).await;
        let answer = answer.unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer")));
        answer.map(|_| ()).map_err(|status| self.failed(&status))
    }

    async fn leave(&self, id: &str) -> Result<()> {
        let mut client = self.client.clone();
        let left = ExecutorStoppedParams { executor_id: id.to_owned(), reason: "it was stopped".to_owned() };
        let answer = tokio::time::timeout(TIMEOUT, client.executor_stopped(left)).await;
        let answer = answer.unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer")));
        answer.map(|_| ()).map_err(|status| self.failed(&status))
    }
}

fn heartbeat(member: &ExecutorMember) -> HeartBeatParams {
    let status = if member.draining { executor_status::Status::Terminating(String::new()) } else { executor_status::Status::Active(String::new()) };
    let vcores = u32::try_from(member.slots).unwrap_or(u32::MAX);
    HeartBeatParams {
        executor_id: member.id.clone(),
        metrics: vec![ExecutorMetric { metric: Some(executor_metric::Metric::TotalMemory(member.memory_bytes)) }],
        status: Some(ExecutorStatus { status: Some(status) }),
        metadata: Some(ExecutorRegistration {
            id: member.id.clone(),
            host: Some(member.host.clone()),
            port: u32::from(member.port),
            grpc_port: u32::from(member.port),
            specification: Some(ExecutorSpecification {
                resources: vec![ExecutorResource { resource: Some(executor_resource::Resource::Vcores(vcores)) }],
            }),
            os_info: Some(ExecutorOperatingSystemSpecification::default()),
            ballista_protocol_version: BALLISTA_PROTOCOL_VERSION,
        }),
    }
}
