//! `[etcd]`: where the state of a cluster of several coordinators is kept.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Invalid, Key, catalog};
use crate::units::HumanDuration;

pub(super) const KEYS: &[Key] = &[
    Key {
        name: "endpoints",
        description: "The servers of etcd, such as http://h1:2379,http://h2:2379; without any the coordinator keeps the state.",
    },
    Key { name: "prefix", description: "What all keys of this cluster begin with; each cluster has one of its own." },
    Key { name: "user", description: "The user of etcd, if it wants one." },
    Key { name: "password", description: "The user's password: text, ${ENV:NAME} or ${FILE:/path}." },
    Key { name: "ca", description: "A file with the certificates that servers are known by; the system's unless it is named." },
    Key { name: "cert", description: "A file with the certificate by which etcd knows this process." },
    Key { name: "key", description: "The file with its private key." },
    Key { name: "start_wait", description: "How long a process that starts waits for an etcd that does not answer yet; 0s waits for none." },
];

/// Servers of etcd that have lost their leader have another one in some seconds; ones that are started with us need longer.
const START_WAIT: Duration = Duration::from_secs(60);

/// Where the state of a cluster is kept.
#[derive(Clone, PartialEq, Eq)]
pub struct Etcd {
    /// The servers: all `http://host:port`, or all `https://host:port`. There is at least one.
    pub endpoints: Vec<String>,
    /// What all keys begin with, without a slash at the end.
    pub prefix: String,
    /// The user.
    pub user: Option<String>,
    /// The user's password.
    pub password: Option<String>,
    /// Certificates that servers are known by.
    pub ca: Option<PathBuf>,
    /// The certificate of this process.
    pub cert: Option<PathBuf>,
    /// Its private key.
    pub key: Option<PathBuf>,
    /// How long a process that starts waits for an etcd that does not answer yet.
    pub start_wait: Duration,
}

impl Etcd {
    /// `host:port` of a server.
    pub fn server(&self) -> &str {
        let first = self.endpoints.first().map(String::as_str).unwrap_or_default();
        first.split_once("://").map_or(first, |(_, address)| address)
    }
}

impl fmt::Debug for Etcd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Etcd")
            .field("endpoints", &self.endpoints)
            .field("prefix", &self.prefix)
            .field("user", &self.user)
            .field("password", &self.password.as_ref().map(|_| "***"))
            .field("ca", &self.ca)
            .field("cert", &self.cert)
            .field("key", &self.key)
            .field("start_wait", &self.start_wait)
            .finish()
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Raw {
    endpoints: String,
    prefix: String,
    user: String,
    password: String,
    ca: String,
    cert: String,
    key: String,
    start_wait: HumanDuration,
}

impl Default for Raw {
    fn default() -> Self {
        Self {
            endpoints: String::new(),
            prefix: "/nunatak".to_owned(),
            user: String::new(),
            password: String::new(),
            ca: String::new(),
            cert: String::new(),
            key: String::new(),
            start_wait: HumanDuration(START_WAIT),
        }
    }
}

impl Raw {
    /// `None` if no server is named.
    pub(super) fn check(self) -> Result<Option<Etcd>, Invalid> {
        let endpoints = self.endpoints.split(',').map(str::trim).filter(|endpoint| !endpoint.is_empty());
        let endpoints = endpoints.map(endpoint).collect::<Result<Vec<_>, _>>()?;
        if endpoints.is_empty() {
            return Ok(None);
        }
        let encrypted = endpoints.iter().filter(|endpoint| endpoint.starts_with("https://")).count();
        if encrypted != 0 && encrypted != endpoints.len() {
            return Err(Invalid::new("etcd.endpoints", "some are http:// and some are https://; all must be the same"));
        }
        for (key, file) in [("etcd.ca", &self.ca), ("etcd.cert", &self.cert), ("etcd.key", &self.key)] {
            if !file.is_empty() && encrypted == 0 {
                return Err(Invalid::new(key, "there are certificates only for servers at https://, see etcd.endpoints"));
            }
        }
        if self.cert.is_empty() != self.key.is_empty() {
            let (key, other) = if self.cert.is_empty() { ("etcd.cert", "etcd.key") } else { ("etcd.key", "etcd.cert") };
            return Err(Invalid::new(key, format!("it is missing; it belongs to {other}")));
        }
        let prefix = self.prefix.trim_end_matches('/').to_owned();
        if !prefix.starts_with('/') {
            return Err(Invalid::new("etcd.prefix", format!("'{}' does not begin with '/' and a name, such as /nunatak", self.prefix)));
        }
        let user = text(self.user);
        let password = catalog::resolve(&self.password).map_err(|why| Invalid::new("etcd.password", why))?;
        if user.is_none() && !password.is_empty() {
            return Err(Invalid::new("etcd.user", "it is missing; there is etcd.password"));
        }
        let file = |name| text(name).map(PathBuf::from);
        Ok(Some(Etcd {
            endpoints,
            prefix,
            user,
            password: text(password),
            ca: file(self.ca),
            cert: file(self.cert),
            key: file(self.key),
            start_wait: self.start_wait.0,
        }))
    }
}

fn text(value: String) -> Option<String> {
    Some(value).filter(|value| !value.is_empty())
}

/// A server; one that is only named speaks plain HTTP, as etcd's own tools have it.
fn endpoint(text: &str) -> Result<String, Invalid> {
    let (scheme, address) = text.split_once("://").unwrap_or(("http", text));
    let address = address.trim_end_matches('/');
    let has_port = address.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
    if !has_port || !matches!(scheme, "http" | "https") || address.contains('/') {
        return Err(Invalid::new("etcd.endpoints", format!("'{text}' is not the address of a server such as http://10.0.0.1:2379")));
    }
    Ok(format!("{scheme}://{address}"))
}
