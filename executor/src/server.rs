//! Start and end of an executor, and its one server.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arrow_flight::flight_service_server::FlightServiceServer;
use ballista_core::serde::protobuf::executor_grpc_server::ExecutorGrpcServer;
use ballista_executor::flight_service::BallistaFlightService;
use nunatak_core::{Code, Error, Result};
use nunatak_engine::codec::Codec;
use nunatak_engine::context::{EngineContext, Options as EngineOptions};
use nunatak_engine::file_cache::FileCacheOptions;
use nunatak_state::ExecutorMember;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tracing::{info, warn};

use crate::announce::{Announcer, advertised_host};
use crate::deliver::MESSAGE_BYTES_MAX;
use crate::in_flight::InFlight;
use crate::shuffle::ShuffleFolder;
use crate::tasks::Tasks;
use crate::worker;

/// How often a draining executor looks whether it may go.
const DRAIN_LOOK: Duration = Duration::from_millis(100);
/// How long the server may take to end its connections.
const END_MAX: Duration = Duration::from_secs(2);

/// How an executor is set up.
#[derive(Clone, Debug)]
pub struct Options {
    /// The coordinator's cluster service, `host:port`.
    pub coordinator: String,
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

/// Answers on `listener`, and joins the cluster; returns once the coordinator has taken the executor, however long it takes to be there.
///
/// Errors: `CONFIGURATION_INVALID` if the folder for shuffle files cannot be written, or the coordinator's address is none.
pub async fn start(listener: TcpListener, options: Options, engine: Arc<EngineContext>) -> Result<Running> {
    let address = listener.local_addr().map_err(|error| Error::internal(error.to_string()))?;
    let id = uuid::Uuid::new_v4().simple().to_string();
    let shuffle = Arc::new(ShuffleFolder::create(&options.shuffle_dir, &id)?);
    let flight = BallistaFlightService::new(shuffle.path());
    let tasks = Tasks::new(&id, &engine, Codec::new(Arc::clone(engine.scan())), Arc::clone(&shuffle));
    let worker = worker::build(&engine, Codec::new(Arc::clone(engine.scan())));
    let in_flight = InFlight::default();
    let member = ExecutorMember {
        id,
        host: advertised_host(address, &options.coordinator).await,
        port: address.port(),
        slots: options.slots,
        memory_bytes: options.memory_bytes,
        draining: false,
    };
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
    let announcer = Announcer::start(&options.coordinator, member).await?;
    Ok(Running { address, announcer, tasks, shuffle, in_flight, server, stop, drain_max: options.drain_max })
}

/// An executor that serves.
pub struct Running {
    address: SocketAddr,
    announcer: Announcer,
    tasks: Tasks,
    shuffle: Arc<ShuffleFolder>,
    in_flight: InFlight,
    server: JoinHandle<()>,
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
        drop(self.stop);
        if tokio::time::timeout(END_MAX, self.server).await.is_err() {
            warn!("connections were still open");
        }
        self.shuffle.remove();
        info!("executor has stopped");
    }
}
