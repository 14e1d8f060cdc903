//! The configuration: one typed tree, a file a section.
//!
//! A value comes from the defaults, the TOML file, the environment (`NUNATAK_SECTION__KEY`) or a flag; the later wins. What was written ([`Raw`])
//! and what was checked ([`Config`]) are two types: nothing outside this module sees a value that was not checked.

mod cache;
mod catalog;
mod etcd;
mod execution;
mod executor;
mod layer;
mod log;
mod machine;
mod maintenance;
mod print;
mod rest_server;
mod scalar;
mod server;
mod spooling;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use figment::Figment;
use figment::value::Dict;
use serde::{Deserialize, Serialize};

pub use cache::Cache;
pub use catalog::{Absent, Catalog, CatalogKind, Served, shown, without_password};
pub use etcd::Etcd;
pub use execution::Execution;
pub use executor::Executor;
use layer::Layer;
pub use log::{Log, LogFormat};
pub use maintenance::{Maintenance, QuietHours, TablePattern};
pub use rest_server::RestServer;
pub use server::Server;
pub use spooling::{Retrieval, SpoolLocation, Spooling};

use crate::{Code, Error, Result};

/// The checked configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where it listens, where its data lies, what its names default to.
    pub server: Server,
    /// What queries may use.
    pub execution: Execution,
    /// What is kept of data files that were read.
    pub cache: Cache,
    /// Where an executor belongs, and how it ends.
    pub executor: Executor,
    /// Where the state of a cluster of several coordinators is kept, if there is such a place.
    pub etcd: Option<Etcd>,
    /// What keeping tables in order may do.
    pub maintenance: Maintenance,
    /// Who may use the catalogs by the REST server.
    pub rest_server: RestServer,
    /// Where results lie for clients of Trino's protocol that fetch them from there.
    pub spooling: Spooling,
    /// What is logged, and how.
    pub log: Log,
    /// The catalogs that have sections, by name.
    pub catalogs: Vec<Catalog>,
}

/// The configuration as written. Every field has a default.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    server: server::Raw,
    execution: execution::Raw,
    cache: cache::Raw,
    executor: executor::Raw,
    etcd: etcd::Raw,
    maintenance: maintenance::Raw,
    rest_server: rest_server::Raw,
    spooling: spooling::Raw,
    log: log::Raw,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    catalog: BTreeMap<String, Dict>,
}

/// A key of the configuration, for its listing and for the reference page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// The name within its section.
    pub name: &'static str,
    /// What it does, in one sentence.
    pub description: &'static str,
}

/// All keys by section, in the order in which they are printed.
pub const SECTIONS: &[(&str, &[Key])] = &[
    ("server", server::KEYS),
    ("execution", execution::KEYS),
    ("cache", cache::KEYS),
    ("executor", executor::KEYS),
    ("etcd", etcd::KEYS),
    ("maintenance", maintenance::KEYS),
    ("rest_server", rest_server::KEYS),
    ("spooling", spooling::KEYS),
    ("log", log::KEYS),
];

/// A value given on the command line.
#[derive(Clone, Debug)]
pub struct Flag {
    /// The flag as typed: `--http`.
    pub flag: &'static str,
    /// The key that it sets: `server.http`.
    pub key: &'static str,
    /// Its value.
    pub value: String,
}

/// Where values come from, besides the defaults.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The TOML file.
    pub file: Option<PathBuf>,
    /// The environment's variables; those that start with `NUNATAK_` and have a `__` matter, and `NUNATAK_LOG`.
    pub environment: Vec<(String, String)>,
    /// Values from the command line.
    pub flags: Vec<Flag>,
}

impl Sources {
    /// The process's environment, and nothing else. Variables that are not Unicode are left out.
    pub fn from_environment() -> Self {
        let environment = std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))).collect();
        Self { environment, ..Self::default() }
    }
}

/// A configuration together with the source of each of its values.
pub struct Loaded {
    /// The checked values.
    pub config: Config,
    layers: Figment,
}

/// Without the layers: they have secrets as they were written.
impl fmt::Debug for Loaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loaded").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Loaded {
    /// Whether nobody has named a value for `key`, such as `server.cluster`.
    pub fn is_default(&self, key: &str) -> bool {
        self.layers.find_metadata(key).is_none_or(|metadata| metadata.name == layer::DEFAULT)
    }
}

/// A value that cannot be used: its key, and why.
#[derive(Debug)]
struct Invalid {
    key: Cow<'static, str>,
    why: String,
}

impl Invalid {
    fn new(key: impl Into<Cow<'static, str>>, why: impl Into<String>) -> Self {
        Self { key: key.into(), why: why.into() }
    }
}

/// Reads all sources, lays them over each other and checks the result.
pub fn load(sources: &Sources) -> Result<Loaded> {
    let mut layers = Figment::new().merge(Layer::defaults(&Raw::default())?);
    for layer in layer::read(sources)? {
        layer.refuse_unknown_keys()?;
        layers = layers.merge(layer);
    }
    let raw = layers.extract().map_err(|error| unreadable(&layers, &error))?;
    let config = check(raw).map_err(|invalid| Error::new(Code::ConfigurationInvalid, located(&layers, &invalid.key, &invalid.why)))?;
    Ok(Loaded { config, layers })
}

fn check(raw: Raw) -> Result<Config, Invalid> {
    Ok(Config {
        server: raw.server.check()?,
        execution: raw.execution.check()?,
        cache: raw.cache.check()?,
        executor: raw.executor.check()?,
        etcd: raw.etcd.check()?,
        maintenance: raw.maintenance.check()?,
        rest_server: raw.rest_server.check()?,
        spooling: raw.spooling.check()?,
        log: raw.log.check()?,
        catalogs: catalog::check(&raw.catalog)?,
    })
}

/// A value that does not have the type of its key.
fn unreadable(layers: &Figment, error: &figment::Error) -> Error {
    let why = match &error.kind {
        figment::error::Kind::UnknownVariant(found, expected) => format!("'{found}' is not one of {}", expected.join(", ")),
        kind => kind.to_string(),
    };
    Error::new(Code::ConfigurationInvalid, located(layers, &error.path.join("."), &why))
}

/// `config file x.toml: server.http: why`.
fn located(layers: &Figment, key: &str, why: &str) -> String {
    // A key that is missing has no source: that of its section says where it should be.
    match layers.find_metadata(key).or_else(|| layers.find_metadata(key.rsplit_once('.')?.0)) {
        Some(metadata) => format!("{}: {key}: {why}", metadata.name),
        None => format!("{key}: {why}"),
    }
}

#[cfg(test)]
mod tests;
