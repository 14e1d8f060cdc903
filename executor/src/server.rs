//! Start and end of an executor, and its one server.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arrow_flight::flight_service_server::FlightServiceServer;
use ballista_core::serde::protobuf::executor_grpc_server::ExecutorGrpcServer;
use ballista_executor::flight_service::BallistaFlightService;
use nunatak_core::config::Etcd;
use nunatak_core::{Code, Error, Result};
use nunatak_engine::codec::Codec;
use nunatak_engine::context::{EngineContext, Options as EngineOptions};
use nunatak_engine::file_cache::FileCacheOptions;
use nunatak_state::{Announcements, Announcer, ClusterState, EtcdState, ExecutorMember, Member, Membership, advertised_host};
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tracing::{info, warn};

use crate::abandoned;
use crate::announce::Heartbeats;
use crate::deliver::MESSAGE_BYTES_MAX;
use crate::in_flight::InFlight;
use crate::shuffle::ShuffleFolder;
use crate::tasks::Tasks;
use crate::worker;

/// How often a draining executor looks whether it may go.
const DRAIN_LOOK: Duration = Duration::from_millis(100);
/// How long the server may take to end its connections.
const END_MAX: Duration = Duration::from_secs(2);

/// A cluster, by where its members find each other.
#[derive(Clone, Debug)]
pub enum Cluster {
    /// The cluster of one coordinator, which has its cluster service at `host:port`.
    Coordinator(String),
    /// All coordinators that are known to etcd.
    Etcd(Etcd),
}

/// How an executor is set up.
#[derive(Clone, Debug)]
pub struct Options {
    /// The cluster that it joins.
    pub cluster: Cluster,
    /// How many partitions it runs at the same time.
    pub slots: usize,
    /// Memory of its queries, in bytes: that of its engine.
    pub memory_bytes: u64,
    /// The folder for shuffle files. It belongs to this process alone.
    pub shuffle_dir: PathBuf,
    /// How long a stop waits for running tasks.
    pub drain_max: Duration,
}

/// The engine of an executor that is a process of its own: memory, caches and object stores, and no catalogs. It spills into `spill_dir`.
///
/// Errors: `CONFIGURATION_INVALID` if it cannot write there, or into the folder of `file_cache`.
pub async fn engine(options: &Options, spill_dir: &Path, file_cache: FileCacheOptions) -> Result<EngineContext> {
    let options = EngineOptions {
        memory_bytes_max: usize::try_from(options.memory_bytes).unwrap_or(usize::MAX),
        slots: options.slots,
        spill_dir: spill_dir.to_owned(),
        file_cache,
    };
    std::fs::create_dir_all(spill_dir).map_err(|error| {
        Error::new(Code::ConfigurationInvalid, format!("the folder '{}' for what queries spill cannot be written: {error}", spill_dir.display()))
            .with_hint("name another one with --data-dir")
    })?;
    EngineContext::start(&options, &Arc::default(), Vec::new()).await
}

/// Where an executor that listens at `address` joins its cluster.
struct Joining {
    host: String,
    announcements: Arc<dyn Announcements>,
    /// The members, where the cluster's state tells.
    membership: Option<watch::Receiver<Membership>>,
    /// How long it may take; a coordinator is waited for however long it is away.
    wait_max: Option<Duration>,
}

impl Joining {
    async fn new(cluster: &Cluster, address: SocketAddr) -> Result<Self> {
        match cluster {
            Cluster::Coordinator(coordinator) => Ok(Self {
                host: advertised_host(address, coordinator).await,
                announcements: Arc::new(Heartbeats::new(coordinator)?),
                membership: None,
                wait_max: None,
            }),
            Cluster::Etcd(etcd) => {
                let state = EtcdState::start(etcd).await?;
                let (host, membership) = (advertised_host(address, etcd.server()).await, state.membership());
                Ok(Self { host, announcements: state, membership: Some(membership), wait_max: Some(etcd.start_wait) })
            }
        }
    }
}

/// Answers on `listener`, and joins the cluster; returns once the coordinator, or etcd, has taken the executor. It waits for a coordinator that is not there yet.
///
/// Errors: `CONFIGURATION_INVALID` if the folder for shuffle files cannot be written, the coordinator's address is none, or etcd refuses the user;
/// `CLUSTER_STATE_UNAVAILABLE` if etcd does not answer, or takes nothing, for [`Etcd::start_wait`].
pub async fn start(listener: TcpListener, options: Options, engine: Arc<EngineContext>) -> Result<Running> {
    let address = listener.local_addr().map_err(|error| Error::internal(error.to_string()))?;
    let Joining { host, announcements, membership, wait_max } = Joining::new(&options.cluster, address).await?;
    let id = uuid::Uuid::new_v4().simple().to_string();
    let shuffle = Arc::new(ShuffleFolder::create(&options.shuffle_dir, &id)?);
    let flight = BallistaFlightService::new(shuffle.path());
    let tasks = Tasks::new(&id, options.slots, &engine, Codec::new(Arc::clone(engine.scan())), Arc::clone(&shuffle));
    let worker = worker::build(&engine, Codec::new(Arc::clone(engine.scan())));
    let in_flight = InFlight::default();
    let member = ExecutorMember { id, host, port: address.port(), slots: options.slots, memory_bytes: options.memory_bytes, draining: false };
    let (stop, stopped) = oneshot::channel::<()>();
    let limit = MESSAGE_BYTES_MAX;
    let server = Server::builder()
        .layer(in_flight.layer())
        .add_service(ExecutorGrpcServer::new(tasks.clone()).max_decoding_message_size(limit).max_encoding_message_size(limit))
        .add_service(FlightServiceServer::new(flight).max_decoding_message_size(limit).max_encoding_message_size(limit))
        .add_service(worker.into_worker_server())
        .serve_with_incoming_shutdown(TcpIncoming::from(listener).with_nodelay(Some(true)), async {
            // A dropped sender is a stop too.
            let _ = stopped.await;
        });
    let server = tokio::spawn(async move {
        if let Err(error) = server.await {
            warn!(%error, "the cluster server has failed");
        }
    });
    info!(executor = %member, slots = member.slots, "executor serves");
    let announcer = Announcer::start(announcements, Member::Executor(member), wait_max).await?;
    let watch = tokio::spawn(abandoned::watch(tasks.clone(), membership));
    Ok(Running { address, announcer, tasks, shuffle, in_flight, server, watch, stop, drain_max: options.drain_max })
}

/// An executor that serves.
pub struct Running {
    address: SocketAddr,
    announcer: Announcer,
    tasks: Tasks,
    shuffle: Arc<ShuffleFolder>,
    in_flight: InFlight,
    server: JoinHandle<()>,
    /// Looks after jobs of coordinators that are gone.
    watch: JoinHandle<()>,
    stop: oneshot::Sender<()>,
    drain_max: Duration,
}

impl Running {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes nothing new, ends what runs and what is read from here (for at most [`Options::drain_max`]), and leaves.
    pub async fn stop(self) {
        self.announcer.drain();
        let drained = async {
            while !(self.tasks.is_idle() && self.in_flight.is_zero()) {
                tokio::time::sleep(DRAIN_LOOK).await;
            }
        };
        if tokio::time::timeout(self.drain_max, drained).await.is_err() {
            warn!("stopping although tasks still run, or rows are still read");
        }
        self.announcer.leave().await;
        self.watch.abort();
        drop(self.stop);
        if tokio::time::timeout(END_MAX, self.server).await.is_err() {
            warn!("connections were still open");
        }
        self.shuffle.remove();
        info!("executor has stopped");
    }
}
