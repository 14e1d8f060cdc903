//! `nunatak coordinator`: plans queries, and runs them on the executors of its cluster.

use std::sync::Arc;

use nunatak_core::telemetry;

use crate::config::ServerArguments;
use crate::failure::Failure;
use crate::{server, terminal};

/// Run the coordinator of a cluster: it answers clients, plans queries, and runs them on executors.
///
/// It prints one line on stdout when it serves: `ready: flight=HOST:PORT http=HOST:PORT`. Executors join it by `nunatak executor --coordinator
/// HOST:PORT`, where HOST:PORT is its --cluster address; with --etcd, coordinators and executors of the same etcd find each other, and any number of coordinators
/// serves at once. Without executors, it runs queries itself. SIGTERM and Ctrl-C end it after the running requests; a second one at once.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    server: ServerArguments,
    /// The servers of etcd that hold the cluster's state, http://HOST:PORT each; user, certificates and prefix are in the configuration
    #[arg(long, value_name = "URL,...")]
    etcd: Option<String>,
}

/// Runs the subcommand.
pub(crate) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let config = arguments.server.load(&[("--etcd", "etcd.endpoints", &arguments.etcd)])?.config;
    telemetry::start(&config.log)?;
    let shutdown = server::stop_on_signals()?;
    let bound = server::bind(&config, config.server.cluster).await?;
    let Some((doors, coordinator)) = bound.start(&config, config.etcd.clone(), &shutdown).await? else { return Ok(()) };
    terminal::result_line(&format!("ready: flight={} http={}", doors.flight_address(), doors.http_address()))?;
    let engine = Arc::clone(coordinator.engine());
    doors.serve(coordinator.clone(), shutdown).await?;
    coordinator.leave().await;
    engine.close().await;
    tracing::info!("stopped");
    Ok(())
}
