//! `nunatak standalone`: a whole server in one process.

use std::fs;
use std::path::Path;

use nunatak_coordinator::query::{Coordinator, Options};
use nunatak_core::config::Config;
use nunatak_core::telemetry;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::config::ServerArguments;
use crate::failure::{Failure, plain};
use crate::terminal;

/// The exit code of a process that was stopped by Ctrl-C before it could clean up: 128 + SIGINT, as shells count.
const EXIT_INTERRUPTED: i32 = 130;

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
    let config = arguments.server.load()?.config;
    telemetry::start(&config.log)?;
    let shutdown = stop_on_signals()?;
    // Listen first: a port in use is told before anything is written.
    let bound = nunatak_gateway::bind(nunatak_gateway::Options { flight: config.server.flight, http: config.server.http }).await?;
    prepare_directory(&config.server.data_dir)?;
    let coordinator = tokio::select! {
        started = Coordinator::start(options(&config)) => started?,
        () = shutdown.cancelled() => return Ok(()),
    };
    terminal::result_line(&format!("ready: flight={} http={}", bound.flight_address(), bound.http_address()))?;
    bound.serve(coordinator, shutdown).await?;
    tracing::info!("stopped");
    Ok(())
}

fn options(config: &Config) -> Options {
    Options {
        data_dir: config.server.data_dir.clone(),
        memory_bytes_max: config.execution.memory_bytes_max,
        slots: config.execution.slots,
        default_catalog: config.server.default_catalog.clone(),
        default_schema: config.server.default_schema.clone(),
    }
}

/// Makes the data directory, and a file in it, so that a wrong one is told in one line and not by whichever part writes first.
fn prepare_directory(directory: &Path) -> Result<(), Failure> {
    let probe = directory.join(format!(".write-probe-{}", std::process::id()));
    fs::create_dir_all(directory)
        .and_then(|()| fs::write(&probe, b""))
        .and_then(|()| fs::remove_file(&probe))
        .map_err(|error| Failure::Usage(format!("data directory '{}' cannot be written: {} (see --data-dir)", directory.display(), plain(&error))))
}

/// A token that the first SIGINT or SIGTERM cancels; the second ends the process.
fn stop_on_signals() -> Result<CancellationToken, Failure> {
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
