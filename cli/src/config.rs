//! `nunatak config`, and the flags that all servers share.

use std::path::PathBuf;

use nunatak_core::config::{self, Flag, Loaded, Sources};

use crate::failure::Failure;
use crate::terminal;

/// Print the effective configuration as TOML, with the source of each value.
///
/// Values come from the defaults, the TOML file, the environment (NUNATAK_SECTION__KEY, such as NUNATAK_SERVER__HTTP) and the flags; the later wins.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    server: ServerArguments,
}

/// Flags of a server. They are read as text: `core::config` checks all values, whatever their source.
#[derive(clap::Args)]
pub(crate) struct ServerArguments {
    /// A TOML file with the sections and keys that `nunatak config` prints
    #[arg(long, value_name = "FILE", env = "NUNATAK_CONFIG")]
    config: Option<PathBuf>,
    /// The directory of the catalog and of its tables; made when missing [default: ./nunatak-data]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<String>,
    /// Where to listen for HTTP; port 0 takes a free one [default: 127.0.0.1:8080]
    #[arg(long, value_name = "HOST:PORT")]
    http: Option<String>,
    /// Where to listen for Flight SQL; port 0 takes a free one [default: 127.0.0.1:32010]
    #[arg(long, value_name = "HOST:PORT")]
    flight: Option<String>,
    /// Where to listen for other members of the cluster; port 0 takes a free one [default: 127.0.0.1:50050; of standalone: a free port]
    #[arg(long, value_name = "HOST:PORT")]
    cluster: Option<String>,
    /// Memory that all queries share: 4GiB, 512MiB, or a part of the machine's such as 70% [default: 70%]
    #[arg(long, value_name = "SIZE")]
    memory: Option<String>,
    /// Partitions that a query is split into [default: the number of cores]
    #[arg(long, value_name = "N")]
    slots: Option<String>,
}

impl ServerArguments {
    /// Reads and checks the configuration, with flags of a subcommand's own.
    pub(crate) fn load(&self, more: &[GivenFlag<'_>]) -> Result<Loaded, Failure> {
        let mut flags = vec![
            ("--data-dir", "server.data_dir", &self.data_dir),
            ("--http", "server.http", &self.http),
            ("--flight", "server.flight", &self.flight),
            ("--cluster", "server.cluster", &self.cluster),
            ("--memory", "execution.memory", &self.memory),
            ("--slots", "execution.slots", &self.slots),
        ];
        flags.extend_from_slice(more);
        load(self.config.as_ref(), &flags)
    }
}

/// A flag: its name, its key, and its value if it was given.
pub(crate) type GivenFlag<'a> = (&'static str, &'static str, &'a Option<String>);

/// Reads and checks the configuration: the file, the environment, and flags.
pub(crate) fn load(file: Option<&PathBuf>, flags: &[GivenFlag<'_>]) -> Result<Loaded, Failure> {
    let flags = flags.iter().filter_map(|(flag, key, value)| Some(Flag { flag, key, value: value.as_ref()?.clone() })).collect();
    let sources = Sources { file: file.cloned(), flags, ..Sources::from_environment() };
    Ok(config::load(&sources)?)
}

/// Runs the subcommand.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    terminal::result(arguments.server.load(&[])?.to_toml().as_bytes())
}
