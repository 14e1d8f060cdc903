//! What the configuration says of a metastore: where it is, how long is waited for it, and what is written into it. Names are those of Iceberg's `HiveCatalog` without
//! `iceberg.`.

use std::collections::BTreeMap;
use std::time::Duration;

use nunatak_core::{Code, Error, Result};

use super::connection::{Server, Timeouts};
use crate::storage::StorageProperties;

/// The properties of a catalog besides those of storage, with their defaults; times are in milliseconds.
const PROPERTIES: [(&str, &str); 13] = [
    ("hive.connect-timeout-ms", "5000"),
    ("hive.socket-timeout-ms", "60000"),
    ("hive.max-retries", "5"),
    ("hive.client-pool-size", "8"),
    ("hive.user", ""),
    ("hive.engine-enabled", "false"),
    ("hive.lock-enabled", "true"),
    ("hive.lock-timeout-ms", "180000"),
    ("hive.lock-check-min-wait-ms", "50"),
    ("hive.lock-check-max-wait-ms", "5000"),
    ("hive.lock-heartbeat-interval-ms", "60000"),
    ("hive.table-property-max-size", "32672"),
    ("hive.metastore.sasl.enabled", "false"),
];
/// The port of a metastore whose address names none.
const PORT: u16 = 9083;

/// What is known of a metastore before it is asked.
#[derive(Clone, Debug)]
pub(super) struct Options {
    /// Its servers, of which any one will do.
    pub(super) servers: Vec<Server>,
    /// How long is waited for them.
    pub(super) timeouts: Timeouts,
    /// How often a call is made again.
    pub(super) retries_max: u32,
    /// How many calls are made at once.
    pub(super) connections_max: usize,
    /// Who we say we are: the owner of what we make.
    pub(super) user: String,
    /// Whether Hive is to read our tables, where a table does not say.
    pub(super) engine_enabled: bool,
    /// Whether tables are locked, where a table does not say.
    pub(super) lock_enabled: bool,
    /// How locks are waited for and kept.
    pub(super) lock: LockOptions,
    /// How long what is shown of a table's metadata in its entry may be, in characters; 0 shows nothing.
    pub(super) property_chars_max: usize,
}

/// How locks are waited for and kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct LockOptions {
    /// How long a lock is waited for.
    pub(super) timeout: Duration,
    /// How long it takes until a lock is looked at again, at first.
    pub(super) check_min: Duration,
    /// And at last.
    pub(super) check_max: Duration,
    /// How often the metastore hears that we still have it.
    pub(super) heartbeat: Duration,
}

impl Options {
    /// Reads the options of the metastore at `uri`; properties of storage may be among the properties.
    ///
    /// Errors: `CONFIGURATION_INVALID`, `NOT_SUPPORTED` for a metastore that wants Kerberos.
    pub(super) fn new(uri: &str, properties: &BTreeMap<String, String>) -> Result<Self> {
        let is_known = |name: &str| PROPERTIES.iter().any(|(known, _)| *known == name) || StorageProperties::is_known(name);
        if let Some(unknown) = properties.keys().find(|name| !is_known(name)) {
            let known = PROPERTIES.map(|(name, _)| name).join(", ");
            return Err(invalid(format!("a hive catalog has no property '{unknown}'")).with_hint(format!("there are {known}, and those of storage")));
        }
        let read = Read(properties);
        if read.flag("hive.metastore.sasl.enabled")? {
            return Err(Error::not_supported("a metastore that is reached with Kerberos (hive.metastore.sasl.enabled) is not supported"));
        }
        let connections_max = read.number("hive.client-pool-size")?.max(1);
        let user = match read.text("hive.user") {
            "" => std::env::var("HADOOP_USER_NAME").or_else(|_| std::env::var("USER")).unwrap_or_else(|_| String::from("nunatak")),
            user => user.to_owned(),
        };
        Ok(Self {
            servers: servers(uri)?,
            timeouts: Timeouts { connect: read.millis("hive.connect-timeout-ms")?, answer: read.millis("hive.socket-timeout-ms")? },
            retries_max: u32::try_from(read.number("hive.max-retries")?).unwrap_or(u32::MAX),
            connections_max: usize::try_from(connections_max).unwrap_or(usize::MAX).min(tokio::sync::Semaphore::MAX_PERMITS),
            user,
            engine_enabled: read.flag("hive.engine-enabled")?,
            lock_enabled: read.flag("hive.lock-enabled")?,
            lock: LockOptions {
                timeout: read.millis("hive.lock-timeout-ms")?,
                check_min: read.millis("hive.lock-check-min-wait-ms")?,
                check_max: read.millis("hive.lock-check-max-wait-ms")?,
                heartbeat: read.millis("hive.lock-heartbeat-interval-ms")?,
            },
            property_chars_max: usize::try_from(read.number("hive.table-property-max-size")?).unwrap_or(usize::MAX),
        })
    }
}

/// The properties, or their defaults.
struct Read<'a>(&'a BTreeMap<String, String>);

impl<'a> Read<'a> {
    fn text(&self, name: &str) -> &'a str {
        let default = PROPERTIES.iter().find(|(known, _)| *known == name).map_or("", |(_, default)| *default);
        self.0.get(name).map_or(default, |value| value.trim())
    }

    fn number(&self, name: &str) -> Result<u64> {
        let value = self.text(name);
        value.parse().map_err(|_| invalid(format!("property '{name}' is '{value}', which is not a whole number from 0 on")))
    }

    /// A time, of which none is as short as nothing: a socket would wait without an end.
    fn millis(&self, name: &str) -> Result<Duration> {
        Ok(Duration::from_millis(self.number(name)?.max(1)))
    }

    fn flag(&self, name: &str) -> Result<bool> {
        let value = self.text(name);
        value.to_ascii_lowercase().parse().map_err(|_| invalid(format!("property '{name}' is '{value}', which is not true or false")))
    }
}

/// The servers in an address such as `thrift://a:9083,thrift://b:9083`.
fn servers(uri: &str) -> Result<Vec<Server>> {
    uri.split(',').map(str::trim).filter(|server| !server.is_empty()).map(server).collect::<Result<Vec<_>>>().and_then(|servers| {
        match servers.is_empty() {
            true => Err(wrong_uri(uri)),
            false => Ok(servers),
        }
    })
}

fn server(uri: &str) -> Result<Server> {
    let place = uri.strip_prefix("thrift://").ok_or_else(|| wrong_uri(uri))?.trim_end_matches('/');
    // An IPv6 address has colons itself, and stands in brackets.
    let (host, port) = match place.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().map_err(|_| wrong_uri(uri))?),
        _ => (place, PORT),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    match host.is_empty() || host.contains(['/', '@']) {
        true => Err(wrong_uri(uri)),
        false => Ok(Server { host: host.to_owned(), port }),
    }
}

fn wrong_uri(uri: &str) -> Error {
    invalid(format!("'{uri}' is not the address of a metastore"))
        .with_hint("it is one such as thrift://host:9083, or several with commas between them")
}

fn invalid(what: impl Into<String>) -> Error {
    Error::new(Code::ConfigurationInvalid, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(uri: &str, properties: &[(&str, &str)]) -> Result<Options> {
        Options::new(uri, &properties.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect())
    }

    #[test]
    fn several_servers_stand_in_one_address() {
        let servers = |uri| options(uri, &[]).map(|options| options.servers.iter().map(Server::to_string).collect::<Vec<_>>());
        assert_eq!(servers("thrift://a:1, thrift://b/").unwrap(), ["thrift://a:1", "thrift://b:9083"]);
        assert_eq!(options("thrift://[::1]:7", &[]).unwrap().servers[0], Server { host: "::1".into(), port: 7 });
        assert_eq!(options("thrift://[::1]", &[]).unwrap().servers[0], Server { host: "::1".into(), port: PORT });
        for wrong in ["", ",", "a:1", "http://a", "thrift://", "thrift://a:x", "thrift://a/b:1"] {
            assert_eq!(servers(wrong).unwrap_err().code(), Code::ConfigurationInvalid, "{wrong}");
        }
    }

    #[test]
    fn properties_have_defaults_and_are_checked() {
        let defaults = options("thrift://a", &[]).unwrap();
        assert!(defaults.lock_enabled && !defaults.engine_enabled && defaults.connections_max == 8);
        assert_eq!((defaults.timeouts.connect, defaults.property_chars_max), (Duration::from_secs(5), 32_672));
        let given = options("thrift://a", &[("hive.lock-enabled", "FALSE"), ("hive.user", "me"), ("s3.region", "x")]).unwrap();
        assert!(!given.lock_enabled && given.user == "me");
        for (name, value, code) in [
            ("hive.max-retries", "many", Code::ConfigurationInvalid),
            ("hive.lock-enabled", "1", Code::ConfigurationInvalid),
            ("hive.lock", "true", Code::ConfigurationInvalid),
            ("hive.metastore.sasl.enabled", "true", Code::NotSupported),
        ] {
            let error = options("thrift://a", &[(name, value)]).unwrap_err();
            assert!(error.code() == code && error.message().contains(name), "{error}");
        }
    }
}
