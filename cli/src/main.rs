//! The binary: a subcommand a file, wiring, and nothing that a library crate could own.

mod client;
mod config;
mod coordinator;
mod executor;
mod failure;
mod ingest;
mod server;
mod sql;
mod standalone;
mod terminal;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use nunatak_core::config::{Log, LogFormat};
use nunatak_core::telemetry;

use failure::Failure;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Plans and expressions are trees that are walked by recursion; the default of 2 MiB is soon used up by a long chain of ORs.
const THREAD_STACK_BYTES: usize = 8 << 20;

/// After how many steps of tasks a busy thread looks for I/O. A step of a query may take some milliseconds, and 61 of them (the default) long enough to miss a
/// client that has gone, or a heartbeat.
const EVENT_INTERVAL: u32 = 7;

const EXIT_CODES: &str = "\
Exit codes: 0 all went well; 1 a statement failed; 2 wrong usage or configuration, a port in use, a directory that cannot be written, or no server.
Logs go to stderr; NUNATAK_LOG sets their level (error, warn, info, debug, trace).";

/// SQL over the lakehouse: one binary that is server, client and tool.
#[derive(Parser)]
#[command(name = "nunatak", version, after_help = EXIT_CODES, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Standalone(standalone::Arguments),
    Coordinator(coordinator::Arguments),
    Executor(executor::Arguments),
    Sql(sql::Arguments),
    Ingest(ingest::Arguments),
    Config(config::Arguments),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = match arguments.command {
        Command::Standalone(arguments) => block_on(standalone::run(arguments)),
        Command::Coordinator(arguments) => block_on(coordinator::run(arguments)),
        Command::Executor(arguments) => block_on(executor::run(arguments)),
        Command::Sql(arguments) => start_client_log().and_then(|()| block_on(sql::run(arguments))),
        Command::Ingest(arguments) => start_client_log().and_then(|()| block_on(ingest::run(arguments))),
        Command::Config(arguments) => config::run(&arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

/// A client has no configuration file; its terminal is for results, so it logs little unless asked.
fn start_client_log() -> Result<(), Failure> {
    let level = std::env::var("NUNATAK_LOG").unwrap_or_else(|_| "warn".to_owned());
    Ok(telemetry::start(&Log { level, format: LogFormat::Text })?)
}

fn block_on(work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .event_interval(EVENT_INTERVAL)
        .thread_stack_size(THREAD_STACK_BYTES)
        .build()
        .map_err(|error| Failure::Usage(format!("cannot start threads: {error}")))?;
    let outcome = runtime.block_on(work);
    // What still runs (a read from the terminal, a connection) must not hold up the end.
    runtime.shutdown_background();
    outcome
}
