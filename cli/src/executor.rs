//! `nunatak executor`: runs the tasks of a cluster's queries.

use std::path::PathBuf;
use std::sync::Arc;

use nunatak_core::telemetry;
use nunatak_executor::{Cluster, engine};

use crate::config;
use crate::failure::Failure;
use crate::{server, terminal};

/// Run an executor: it joins a coordinator, or all coordinators that etcd knows of, and runs the tasks of their queries.
///
/// It prints one line on stdout once it has joined: `ready: cluster=HOST:PORT`. It waits for a coordinator that is not there yet (for
/// an etcd, etcd.start_wait), and joins again one that was away. SIGTERM and Ctrl-C end it after the running tasks; a second one at once.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// A TOML file with the sections and keys that `nunatak config` prints
    #[arg(long, value_name = "FILE", env = "NUNATAK_CONFIG")]
    config: Option<PathBuf>,
    /// The cluster address of the coordinator to join [default: 127.0.0.1:50050]
    #[arg(long, value_name = "HOST:PORT")]
    coordinator: Option<String>,
    /// The servers of etcd that hold the cluster's state, http://HOST:PORT each, instead of a coordinator
    #[arg(long, value_name = "URL,...", conflicts_with = "coordinator")]
    etcd: Option<String>,
    /// Where to listen for the coordinator and other executors; port 0 takes a free one [default: a free port of 127.0.0.1]
    #[arg(long, value_name = "HOST:PORT")]
    cluster: Option<String>,
    /// The directory of shuffle files and of what queries spill; made when missing [default: ./nunatak-data]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<String>,
    /// Memory that all its tasks share: 4GiB, 512MiB, or a part of the machine's such as 70% [default: 70%]
    #[arg(long, value_name = "SIZE")]
    memory: Option<String>,
    /// How many partitions it runs at the same time [default: the number of cores]
    #[arg(long, value_name = "N")]
    slots: Option<String>,
}

/// Runs the subcommand.
pub(crate) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let flags = [
        ("--coordinator", "executor.coordinator", &arguments.coordinator),
        ("--etcd", "etcd.endpoints", &arguments.etcd),
        ("--cluster", "server.cluster", &arguments.cluster),
        ("--data-dir", "server.data_dir", &arguments.data_dir),
        ("--memory", "execution.memory", &arguments.memory),
        ("--slots", "execution.slots", &arguments.slots),
    ];
    let loaded = config::load(arguments.config.as_ref(), &flags)?;
    let config = &loaded.config;
    telemetry::start(&config.log)?;
    let shutdown = server::stop_on_signals()?;
    let (listener, address) = nunatak_gateway::listen(server::cluster_or_free_port(&loaded), "cluster").await?;
    server::prepare_directory(&config.server.data_dir)?;
    let cluster = match &config.etcd {
        // A flag says more than a section of the configuration.
        Some(etcd) if arguments.coordinator.is_none() => Cluster::Etcd(etcd.clone()),
        _ => Cluster::Coordinator(config.executor.coordinator.clone()),
    };
    let options = server::executor_options(config, cluster);
    let engine = Arc::new(engine(&options, &config.server.data_dir.join("spill"), server::file_cache(config)).await?);
    let executor = tokio::select! {
        started = nunatak_executor::start(listener, options, Arc::clone(&engine)) => started?,
        () = shutdown.cancelled() => return Ok(()),
    };
    terminal::result_line(&format!("ready: cluster={address}"))?;
    shutdown.cancelled().await;
    executor.stop().await;
    engine.close().await;
    Ok(())
}
