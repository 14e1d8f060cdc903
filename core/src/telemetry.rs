//! Logs: one subscriber for the process, set up once at its start. Lines go to stderr, so that stdout stays free for results.

use std::io;

use tracing_subscriber::EnvFilter;

use crate::config::{Log, LogFormat};
use crate::{Code, Error, Result};

/// What libraries say at a level that ours do not need; a directive of the user for one of them is more specific and wins.
const LIBRARIES: &str = "ballista=warn,ballista_scheduler::scheduler_server::grpc=error,krb5=warn";

/// Starts logging. A second call in one process is an error.
pub fn start(log: &Log) -> Result<()> {
    let filter = filter(&log.level)?;
    // Where nobody reads stderr any more, a line is lost. To say so there would end the task that has something to log.
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).log_internal_errors(false);
    let outcome = match log.format {
        LogFormat::Text => builder.with_ansi(io::IsTerminal::is_terminal(&io::stderr())).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    outcome.map_err(|error| Error::internal("logging was started twice").with_source(error))
}

/// Reads a level such as `info`, or directives such as `info,nunatak_engine=debug`.
pub(crate) fn filter(level: &str) -> Result<EnvFilter> {
    EnvFilter::try_new(format!("{LIBRARIES},{level}")).map_err(|error| {
        Error::new(Code::ConfigurationInvalid, format!("'{level}' is not a log level such as info, or a list such as info,nunatak_engine=debug"))
            .with_source(error)
    })
}
