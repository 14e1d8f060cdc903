//! `nunatak standalone`: a whole server in one process.

use std::net::Ipv4Addr;
use std::sync::Arc;

use nunatak_core::telemetry;
use nunatak_executor::Cluster;

use crate::config::ServerArguments;
use crate::failure::Failure;
use crate::{server, terminal};

/// Run a whole server in one process: SQLite catalog and local files in one directory, nothing else needed.
///
/// It prints one line on stdout when it serves: `ready: flight=HOST:PORT http=HOST:PORT`. SIGTERM and Ctrl-C end it after the running requests; a
/// second one at once. Talk to it by `nunatak sql`, JDBC, ODBC or ADBC.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    server: ServerArguments,
}

/// Runs the subcommand.
pub(crate) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let mut loaded = arguments.server.load(&[])?;
    loaded.config.spooling.in_data_dir();
    let config = &loaded.config;
    telemetry::start(&config.log)?;
    if config.etcd.is_some() {
        tracing::warn!("standalone is a cluster of its own; the section [etcd] means nothing to it");
    }
    let shutdown = server::stop_on_signals()?;
    let bound = server::bind(config, server::cluster_or_free_port(&loaded)).await?;
    let Some((doors, coordinator)) = bound.start(config, None, &shutdown).await? else { return Ok(()) };
    // An executor like any other, but for the memory and the caches that it shares with the coordinator.
    let (listener, _) = nunatak_gateway::listen((Ipv4Addr::LOCALHOST, 0).into(), "cluster").await?;
    let options = server::executor_options(config, Cluster::Coordinator(coordinator.cluster_address().to_string()));
    let executor = nunatak_executor::start(listener, options, Arc::clone(coordinator.engine())).await?;
    terminal::result_line(&format!("ready: flight={} http={}", doors.flight_address(), doors.http_address()))?;
    let engine = Arc::clone(coordinator.engine());
    doors.serve(coordinator, shutdown).await?;
    executor.stop().await;
    engine.close().await;
    tracing::info!("stopped");
    Ok(())
}
