//! What all servers share: the data directory, the end by a signal, and the coordinator within.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use nunatak_coordinator::jobs::{maintenance, spooled};
use nunatak_coordinator::query::{Coordinator, Options};
use nunatak_core::config::{Config, Etcd, Loaded};
use nunatak_engine::file_cache::FileCacheOptions;
use nunatak_executor::{Cluster, Options as ExecutorOptions};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::failure::{Failure, plain};

/// The exit code of a process that was stopped by Ctrl-C before it could clean up: 128 + SIGINT, as shells count.
const EXIT_INTERRUPTED: i32 = 130;

/// A coordinator whose ports are taken.
pub(crate) struct BoundCoordinator {
    doors: nunatak_gateway::Bound,
    cluster: tokio::net::TcpListener,
}

/// Takes the ports of a coordinator: one in use is told before anything is written.
pub(crate) async fn bind(config: &Config, cluster: SocketAddr) -> Result<BoundCoordinator, Failure> {
    let options = nunatak_gateway::Options {
        flight: config.server.flight,
        http: config.server.http,
        rest_tokens: config.rest_server.tokens.clone(),
        client_timeout: config.server.client_timeout,
    };
    let doors = nunatak_gateway::bind(options).await?;
    let (cluster, _) = nunatak_gateway::listen(cluster, "cluster").await?;
    Ok(BoundCoordinator { doors, cluster })
}

impl BoundCoordinator {
    /// Starts the coordinator, of a cluster whose state is in `etcd` or in this process; its doors are still closed. `None` when it was stopped meanwhile.
    pub(crate) async fn start(
        self,
        config: &Config,
        etcd: Option<Etcd>,
        shutdown: &CancellationToken,
    ) -> Result<Option<(nunatak_gateway::Bound, Coordinator)>, Failure> {
        prepare_directory(&config.server.data_dir)?;
        let options = Options {
            data_dir: config.server.data_dir.clone(),
            memory_bytes_max: config.execution.memory_bytes_max,
            slots: config.execution.slots,
            file_cache: file_cache(config),
            default_catalog: config.server.default_catalog.clone(),
            default_schema: config.server.default_schema.clone(),
            catalogs: config.catalogs.clone(),
            local_bytes_max: config.execution.local_bytes_max,
            listing_wait: config.execution.listing_wait,
            transaction_idle_max: config.server.client_timeout,
            orphan_age_min: config.maintenance.orphan_age_min,
            spooling: config.spooling.clone(),
            etcd,
            flight: self.doors.flight_address(),
            http: self.doors.http_address(),
        };
        let coordinator = tokio::select! {
            started = Coordinator::start(options, self.cluster) => started?,
            () = shutdown.cancelled() => return Ok(None),
        };
        if let Some(interval) = config.maintenance.interval {
            let options = maintenance::Options {
                interval,
                tables: config.maintenance.tables.clone(),
                quiet_hours: config.maintenance.quiet_hours,
                budget_bytes: config.maintenance.budget_bytes,
            };
            tokio::spawn(maintenance::run(coordinator.clone(), options, shutdown.clone()));
        }
        tokio::spawn(spooled::run(coordinator.clone(), shutdown.clone()));
        Ok(Some((self.doors, coordinator)))
    }
}

/// The address of the cluster service; any free port of this host if nobody has named one.
pub(crate) fn cluster_or_free_port(loaded: &Loaded) -> SocketAddr {
    if loaded.is_default("server.cluster") { (Ipv4Addr::LOCALHOST, 0).into() } else { loaded.config.server.cluster }
}

/// The executor of a process with this configuration, in a cluster.
pub(crate) fn executor_options(config: &Config, cluster: Cluster) -> ExecutorOptions {
    ExecutorOptions {
        cluster,
        slots: config.execution.slots,
        memory_bytes: config.execution.memory_bytes_max as u64,
        shuffle_dir: config.server.data_dir.join("shuffle"),
        drain_max: config.executor.drain_max,
    }
}

/// What a process with this configuration keeps of data files.
pub(crate) fn file_cache(config: &Config) -> FileCacheOptions {
    FileCacheOptions {
        memory_bytes_max: config.cache.memory_bytes_max,
        disk_bytes_max: config.cache.disk_bytes_max,
        folder: config.server.data_dir.join("cache"),
        local_files: config.cache.local_files,
    }
}

/// Makes the data directory, and a file in it, so that a wrong one is told in one line and not by whichever part writes first.
pub(crate) fn prepare_directory(directory: &Path) -> Result<(), Failure> {
    let probe = directory.join(format!(".write-probe-{}", std::process::id()));
    fs::create_dir_all(directory)
        .and_then(|()| fs::write(&probe, b""))
        .and_then(|()| fs::remove_file(&probe))
        .map_err(|error| Failure::Usage(format!("data directory '{}' cannot be written: {} (see --data-dir)", directory.display(), plain(&error))))
}

/// A token that the first SIGINT or SIGTERM cancels; the second ends the process.
pub(crate) fn stop_on_signals() -> Result<CancellationToken, Failure> {
    let listen = |kind| signal(kind).map_err(|error| Failure::Usage(format!("cannot listen for signals: {error}")));
    let (mut interrupt, mut terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
    let shutdown = CancellationToken::new();
    let token = shutdown.clone();
    tokio::spawn(async move {
        either(&mut interrupt, &mut terminate).await;
        tracing::info!("stopping; a second signal stops at once");
        token.cancel();
        either(&mut interrupt, &mut terminate).await;
        std::process::exit(EXIT_INTERRUPTED);
    });
    Ok(shutdown)
}

async fn either(left: &mut Signal, right: &mut Signal) {
    tokio::select! {
        _ = left.recv() => {}
        _ = right.recv() => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_made_and_a_wrong_one_named() {
        let directory = tempfile::tempdir().unwrap();
        let data = directory.path().join("a/b");
        prepare_directory(&data).unwrap();
        assert_eq!(fs::read_dir(&data).unwrap().count(), 0);

        let file = directory.path().join("file");
        fs::write(&file, b"").unwrap();
        let line = prepare_directory(&file.join("data")).unwrap_err().line().unwrap();
        assert!(line.contains("file/data' cannot be written") && !line.contains('\n'), "{line}");
    }
}
