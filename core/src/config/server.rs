//! `[server]`: where the server listens, where its data lies, and what unqualified names mean.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::catalog::RESERVED;
use super::{Invalid, Key};
use crate::units::HumanDuration;

pub(super) const KEYS: &[Key] = &[
    Key { name: "data_dir", description: "The directory of the embedded catalog, its tables, and files that queries spill." },
    Key { name: "http", description: "The address of the HTTP server: Trino protocol, REST, console, metrics." },
    Key { name: "flight", description: "The address of the Flight SQL server: JDBC, ODBC, ADBC, `nunatak sql`." },
    Key {
        name: "cluster",
        description: "The address that other members of the cluster call. Unless it is named, `standalone` and `executor` take any free port.",
    },
    Key { name: "default_catalog", description: "The catalog that names without one mean." },
    Key { name: "default_schema", description: "The schema that a session starts in; made when it does not exist." },
    Key { name: "client_timeout", description: "A query of a Trino client is cancelled when nobody has asked for its results for so long." },
];

/// Trino's default.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(5 * 60);

/// Where the server listens, where its data lies, and what unqualified names mean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// The directory of the embedded catalog, its tables, and spilled files.
    pub data_dir: PathBuf,
    /// The address of the HTTP server.
    pub http: SocketAddr,
    /// The address of the Flight SQL server.
    pub flight: SocketAddr,
    /// The address that other members of the cluster call.
    pub cluster: SocketAddr,
    /// The catalog that names without one mean.
    pub default_catalog: String,
    /// The schema that a session starts in.
    pub default_schema: String,
    /// A query of a client that asks for its results page by page is cancelled when nobody has asked for so long.
    pub client_timeout: Duration,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Raw {
    data_dir: String,
    http: String,
    flight: String,
    cluster: String,
    default_catalog: String,
    default_schema: String,
    client_timeout: HumanDuration,
}

impl Default for Raw {
    fn default() -> Self {
        Self {
            data_dir: "./nunatak-data".to_owned(),
            http: "127.0.0.1:8080".to_owned(),
            flight: "127.0.0.1:32010".to_owned(),
            cluster: "127.0.0.1:50050".to_owned(),
            default_catalog: "lake".to_owned(),
            default_schema: "default".to_owned(),
            client_timeout: HumanDuration(CLIENT_TIMEOUT),
        }
    }
}

impl Raw {
    pub(super) fn check(self) -> Result<Server, Invalid> {
        if self.data_dir.trim().is_empty() {
            return Err(Invalid::new("server.data_dir", "a directory is needed"));
        }
        let server = Server {
            data_dir: PathBuf::from(self.data_dir),
            http: address("server.http", &self.http)?,
            flight: address("server.flight", &self.flight)?,
            cluster: address("server.cluster", &self.cluster)?,
            default_catalog: name("server.default_catalog", self.default_catalog).and_then(not_reserved)?,
            default_schema: name("server.default_schema", self.default_schema)?,
            client_timeout: self.client_timeout.0,
        };
        if server.client_timeout.is_zero() {
            return Err(Invalid::new("server.client_timeout", "a time above 0s is needed"));
        }
        // Port 0 asks the system for a free port, so that two zeros never clash.
        if server.http.port() != 0 && server.http == server.flight {
            return Err(Invalid::new("server.flight", format!("{} is the address of server.http too", server.flight)));
        }
        Ok(server)
    }
}

/// Reads `host:port`; a name is looked up once, here.
fn address(key: &'static str, text: &str) -> Result<SocketAddr, Invalid> {
    let invalid = || Invalid::new(key, format!("'{text}' is not an address such as 127.0.0.1:8080"));
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let (host, port) = text.rsplit_once(':').ok_or_else(invalid)?;
    let port: u16 = port.parse().map_err(|_| invalid())?;
    if host.is_empty() {
        return Err(invalid());
    }
    let found = (host, port).to_socket_addrs().ok().and_then(|mut addresses| addresses.next());
    found.ok_or_else(|| Invalid::new(key, format!("host '{host}' of '{text}' cannot be found")))
}

/// A name that a catalog can have.
fn not_reserved(catalog: String) -> Result<String, Invalid> {
    match RESERVED.contains(&catalog.as_str()) {
        true => Err(Invalid::new("server.default_catalog", format!("no catalog can be called '{catalog}': every catalog has a schema of that name"))),
        false => Ok(catalog),
    }
}

/// A name that needs no quotes in SQL.
fn name(key: &'static str, text: String) -> Result<String, Invalid> {
    let starts_well = text.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
    if starts_well && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_') {
        return Ok(text);
    }
    Err(Invalid::new(key, format!("'{text}' is not a name of lower-case letters, digits and '_'")))
}
