//! Membership: tells the coordinator, again and again, that this executor is there. Ballista's heartbeat is the message.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ballista_core::BALLISTA_PROTOCOL_VERSION;
use ballista_core::serde::protobuf::scheduler_grpc_client::SchedulerGrpcClient;
use ballista_core::serde::protobuf::{
    ExecutorMetric, ExecutorOperatingSystemSpecification, ExecutorRegistration, ExecutorResource, ExecutorSpecification, ExecutorStatus,
    ExecutorStoppedParams, HeartBeatParams, executor_metric, executor_resource, executor_status,
};
use nunatak_core::{Code, Error, Result};
use nunatak_state::ExecutorMember;
use tokio::net::UdpSocket;
use tokio::sync::oneshot;
use tonic::transport::Channel;
use tracing::{info, warn};

use crate::deliver;

/// The time between two heartbeats: a few of them may be lost before a lease ends.
const INTERVAL: Duration = Duration::from_secs(1);
/// How long one heartbeat may take.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Announces an executor until it is dropped.
pub(crate) struct Announcer {
    draining: Arc<AtomicBool>,
    member: ExecutorMember,
    client: SchedulerGrpcClient<Channel>,
    stop: Option<oneshot::Sender<()>>,
}

impl Announcer {
    /// Starts to announce `member` at the coordinator at `host:port`; returns once the coordinator has taken it.
    pub(crate) async fn start(coordinator: &str, member: ExecutorMember) -> Result<Self> {
        let client = deliver::client(coordinator)
            .map_err(|error| Error::new(Code::ConfigurationInvalid, format!("'{coordinator}' is not the address of a coordinator: {error}")))?;
        let draining = Arc::new(AtomicBool::new(false));
        let (joined, has_joined) = oneshot::channel();
        let (stop, stopped) = oneshot::channel();
        let announcing = announce(client.clone(), coordinator.to_owned(), member.clone(), Arc::clone(&draining), joined);
        // A thread of its own: queries that keep all others busy must not cost the lease.
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Error::internal(format!("a thread cannot be started: {error}")))?;
        let start = std::thread::Builder::new().name("announce".to_owned()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = announcing => {}
                    _ = stopped => {}
                }
            });
        });
        start.map_err(|error| Error::internal(format!("a thread cannot be started: {error}")))?;
        let announcer = Self { draining, member, client, stop: Some(stop) };
        has_joined.await.map_err(|_| Error::internal("the thread that announces this executor has ended"))?;
        Ok(announcer)
    }

    /// Says from now on that the executor takes nothing new.
    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::Release);
    }

    /// Ends the membership.
    pub(crate) async fn leave(mut self) {
        drop(self.stop.take());
        let left = ExecutorStoppedParams { executor_id: self.member.id.clone(), reason: "it was stopped".to_owned() };
        if let Ok(Err(status)) | Err(status) = tokio::time::timeout(TIMEOUT, self.client.executor_stopped(left))
            .await
            .map_err(|_| tonic::Status::deadline_exceeded("no answer"))
            .map(|answer| answer.map(|_| ()))
        {
            warn!(%status, "the coordinator could not be told that this executor leaves");
        }
    }
}

async fn announce(
    client: SchedulerGrpcClient<Channel>,
    coordinator: String,
    member: ExecutorMember,
    draining: Arc<AtomicBool>,
    joined: oneshot::Sender<()>,
) {
    let mut joined = Some(joined);
    let mut reached = true;
    loop {
        // A connection of this runtime, not of the one that made the client.
        let mut client = client.clone();
        let beat = heartbeat(&member, draining.load(Ordering::Acquire));
        let answer = tokio::time::timeout(TIMEOUT, client.heart_beat_from_executor(beat)).await;
        match answer.unwrap_or_else(|_| Err(tonic::Status::deadline_exceeded("no answer"))) {
            Ok(_) => {
                if let Some(joined) = joined.take() {
                    // Nobody listens only when the process is about to end.
                    let _ = joined.send(());
                }
                if !reached {
                    info!(coordinator, "the coordinator is back");
                }
                reached = true;
            }
            Err(status) => {
                if reached {
                    warn!(coordinator, %status, "the coordinator cannot be reached; trying again");
                }
                reached = false;
            }
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

fn heartbeat(member: &ExecutorMember, draining: bool) -> HeartBeatParams {
    let status = if draining { executor_status::Status::Terminating(String::new()) } else { executor_status::Status::Active(String::new()) };
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

/// The host by which others reach what listens at `bound`: its own, or, when it listens everywhere, the one from which the coordinator is reached.
pub(crate) async fn advertised_host(bound: SocketAddr, coordinator: &str) -> String {
    if !bound.ip().is_unspecified() {
        return bound.ip().to_string();
    }
    let own_address = async {
        let any: SocketAddr = if bound.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0; 8], 0).into() };
        let socket = UdpSocket::bind(any).await?;
        socket.connect(coordinator).await?;
        socket.local_addr()
    };
    match own_address.await {
        Ok(address) => address.ip().to_string(),
        Err(error) => {
            warn!(coordinator, %error, "no address to be reached at was found; using the loopback address");
            IpAddr::from([127, 0, 0, 1]).to_string()
        }
    }
}
