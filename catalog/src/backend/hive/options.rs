//! What the configuration says of a metastore: where it is, how long is waited for it, and what is written into it. Names are those of Iceberg's `HiveCatalog` without
//! `iceberg.`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use nunatak_core::config::without_password;
use nunatak_core::{Code, Error, Result};
use rustls::ClientConfig;

use super::connection::{Server, Timeouts};
use super::sasl::Protection;
use super::socket::{self, CA_CERTIFICATE};
use super::tickets::Tickets;
use crate::kerberos::Identity;
use crate::storage::StorageProperties;

/// The properties of a catalog besides those of storage, with their defaults; times are in milliseconds.
const PROPERTIES: [(&str, &str); 16] = [
    ("hive.connect-timeout-ms", "5000"),
    (ANSWER_TIME, "60000"),
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
    (TLS, "false"),
    (CA_CERTIFICATE, ""),
    (SASL, "false"),
    (SERVICE, ""),
];
const ANSWER_TIME: &str = "hive.socket-timeout-ms";
/// How long something that only reads may take with all that is sent again, since somebody waits for it; longer only where the time for one answer is set to more.
const READ_TIME: Duration = Duration::from_secs(30);
/// Hive's own names: whether the metastore has TLS, whether it wants Kerberos, and what it is called there.
const TLS: &str = "hive.metastore.use.SSL";
const SASL: &str = "hive.metastore.sasl.enabled";
const SERVICE: &str = "hive.metastore.kerberos.principal";
/// Hadoop's name for how what passes is protected with Kerberos.
const PROTECTION: &str = "hadoop.rpc.protection";
/// Who we are to HDFS. The metastore makes folders there as the user that we say we are, and it is we who write into them.
const HDFS_USER: &str = "hdfs.user";
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
    /// How long a call that only reads may take, with all times that it is made again.
    pub(super) read_time: Duration,
    /// How many calls are made at once.
    pub(super) connections_max: usize,
    /// Who we say we are, or who we are by a ticket: the owner of what we make, and the one as whom the metastore makes folders.
    pub(super) user: String,
    /// How TLS is spoken, if it is.
    pub(super) tls: Option<Arc<ClientConfig>>,
    /// How the metastore hears who we are, if it takes nobody's word for it.
    pub(super) kerberos: Option<Kerberos>,
    /// Whether Hive is to read our tables, where a table does not say.
    pub(super) engine_enabled: bool,
    /// Whether tables are locked, where a table does not say.
    pub(super) lock_enabled: bool,
    /// How locks are waited for and kept.
    pub(super) lock: LockOptions,
    /// How long what is shown of a table's metadata in its entry may be, in characters; 0 shows nothing.
    pub(super) property_chars_max: usize,
}

/// How a metastore with Kerberos is spoken to.
#[derive(Clone, Debug)]
pub(super) struct Kerberos {
    /// What it is called, such as `hive/_HOST@EXAMPLE.ORG`.
    pub(super) service: String,
    /// Which protections we take, the best one first.
    pub(super) protections: Vec<Protection>,
    /// Our tickets.
    pub(super) tickets: Arc<Tickets>,
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
    /// Errors: `CONFIGURATION_INVALID`.
    pub(super) fn new(uri: &str, properties: &BTreeMap<String, String>) -> Result<Self> {
        let is_known = |name: &str| PROPERTIES.iter().any(|(known, _)| *known == name) || StorageProperties::is_known(name);
        if let Some(unknown) = properties.keys().find(|name| !is_known(name)) {
            let known = PROPERTIES.map(|(name, _)| name).join(", ");
            return Err(invalid(format!("a hive catalog has no property '{unknown}'")).with_hint(format!("there are {known}, and those of storage")));
        }
        let read = Read(properties);
        let timeouts = Timeouts { connect: read.millis("hive.connect-timeout-ms")?, answer: read.millis(ANSWER_TIME)? };
        let tls = if read.flag(TLS)? { Some(socket::tls(read.text(CA_CERTIFICATE))?) } else { None };
        let kerberos = if read.flag(SASL)? { Some(read.kerberos(timeouts, tls.is_some())?) } else { None };
        let connections_max = read.number("hive.client-pool-size")?.max(1);
        let named = [read.text("hive.user"), read.text(HDFS_USER)].into_iter().find(|name| !name.is_empty());
        let user = match (read.text("hive.user"), kerberos.as_ref().and_then(|kerberos| kerberos.tickets.user())) {
            ("", Some(user)) => user,
            (_, None) => named.map_or_else(user_of_process, str::to_owned),
            (user, Some(ours)) if user == ours => ours,
            (user, Some(ours)) => {
                return Err(invalid(format!("hive.user is '{user}', but with Kerberos the metastore knows us as '{ours}'"))
                    .with_hint("leave hive.user out, or name the principal and the keytab of that user"));
            }
        };
        Ok(Self {
            servers: servers(uri)?,
            timeouts,
            retries_max: u32::try_from(read.number("hive.max-retries")?).unwrap_or(u32::MAX),
            read_time: if properties.contains_key(ANSWER_TIME) { timeouts.answer.max(READ_TIME) } else { READ_TIME },
            connections_max: usize::try_from(connections_max).unwrap_or(usize::MAX).min(tokio::sync::Semaphore::MAX_PERMITS),
            user,
            tls,
            kerberos,
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

/// Who we say we are where nobody is named: what HDFS hears from us, too.
fn user_of_process() -> String {
    let named = std::env::var("HADOOP_USER_NAME").ok().filter(|name| !name.is_empty());
    // A container may run as a number that has no name.
    named.or_else(|| whoami::username().ok()).or_else(|| std::env::var("USER").ok()).unwrap_or_else(|| String::from("nunatak"))
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

    fn kerberos(&self, timeouts: Timeouts, has_tls: bool) -> Result<Kerberos> {
        let service = self.text(SERVICE);
        if service.is_empty() {
            return Err(invalid(format!("{SASL} needs {SERVICE}, which is missing"))
                .with_hint("it is what the metastore is called in its realm, such as hive/_HOST@EXAMPLE.ORG"));
        }
        let tickets = Tickets::new(Identity::new(self.0)?, timeouts.connect);
        let named = protections(self.text(PROTECTION))?;
        // A metastore that has TLS leaves it to that, whatever Hadoop's other servers are to do.
        let protections = if has_tls { protections("")? } else { named };
        Ok(Kerberos { service: service.to_owned(), protections, tickets: Arc::new(tickets) })
    }
}

/// The protections in a list such as Hadoop's, the first one of which is wanted most; the best one if nothing is said.
fn protections(list: &str) -> Result<Vec<Protection>> {
    if list.is_empty() {
        return Ok(vec![Protection::Privacy, Protection::Integrity, Protection::Authentication]);
    }
    let named = list.split(',').map(|name| match name.trim().to_ascii_lowercase().as_str() {
        "authentication" => Ok(Protection::Authentication),
        "integrity" => Ok(Protection::Integrity),
        "privacy" => Ok(Protection::Privacy),
        other => Err(invalid(format!("property '{PROTECTION}' has '{other}', which is not authentication, integrity or privacy"))),
    });
    named.collect()
}

/// The servers in an address such as `thrift://a:9083,thrift://b:9083`.
fn servers(uri: &str) -> Result<Vec<Server>> {
    // Before it is cut: a password may have commas, too.
    if uri.contains('@') {
        return Err(wrong_uri(uri));
    }
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
    match host.is_empty() || host.contains('/') {
        true => Err(wrong_uri(uri)),
        false => Ok(Server { host: host.to_owned(), port }),
    }
}

fn wrong_uri(uri: &str) -> Error {
    invalid(format!("'{}' is not the address of a metastore", without_password(uri)))
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
        for wrong in ["", ",", "a:1", "http://a", "thrift://", "thrift://a:x", "thrift://a/b:1", "thrift://ada:s3,cr3t@a:1"] {
            let error = servers(wrong).unwrap_err();
            assert!(error.code() == Code::ConfigurationInvalid && !error.to_string().contains("cr3t"), "{wrong}: {error}");
        }
    }

    #[test]
    fn properties_have_defaults_and_are_checked() {
        let defaults = options("thrift://a", &[]).unwrap();
        assert!(defaults.lock_enabled && !defaults.engine_enabled && defaults.connections_max == 8);
        assert_eq!((defaults.timeouts.connect, defaults.property_chars_max), (Duration::from_secs(5), 32_672));
        let given = options("thrift://a", &[("hive.lock-enabled", "FALSE"), ("hive.user", "me"), ("s3.region", "x")]).unwrap();
        assert!(!given.lock_enabled && given.user == "me");
        assert_eq!(options("thrift://a", &[("hdfs.user", "alice"), ("hive.user", "")]).unwrap().user, "alice");
        assert_eq!(options("thrift://a", &[("hdfs.user", "alice"), ("hive.user", "me")]).unwrap().user, "me");
        for (name, value, code) in [
            ("hive.max-retries", "many", Code::ConfigurationInvalid),
            ("hive.lock-enabled", "1", Code::ConfigurationInvalid),
            ("hive.lock", "true", Code::ConfigurationInvalid),
            (SASL, "true", Code::ConfigurationInvalid),
        ] {
            let error = options("thrift://a", &[(name, value)]).unwrap_err();
            assert!(error.code() == code && error.message().contains(name), "{error}");
        }
    }

    #[test]
    fn kerberos_says_who_we_are() {
        let with = |more: &[(&'static str, &'static str)]| {
            let service = [(SASL, "true"), (SERVICE, "hive/_HOST@A.ORG"), ("hdfs.kerberos.principal", "etl/h@A.ORG")];
            options("thrift://a", &[service.as_slice(), more].concat())
        };
        let plain = with(&[]).unwrap();
        assert_eq!((plain.user.as_str(), plain.tls.is_none()), ("etl", true));
        assert_eq!(plain.kerberos.unwrap().protections[0], Protection::Privacy);
        assert!(with(&[("hive.user", "etl")]).is_ok());
        let listed = with(&[(PROTECTION, "integrity, Authentication")]).unwrap().kerberos.unwrap();
        assert_eq!(listed.protections, [Protection::Integrity, Protection::Authentication]);
        for (name, value) in [("hive.user", "somebody"), (PROTECTION, "some"), ("hdfs.kerberos.keytab", "/nowhere.keytab"), (SERVICE, "")] {
            let error = with(&[(name, value)]).unwrap_err();
            assert!(error.code() == Code::ConfigurationInvalid && error.message().contains(name), "{error}");
        }
        assert!(options("thrift://a", &[(TLS, "true"), (CA_CERTIFICATE, "/nowhere.pem")]).unwrap_err().message().contains("/nowhere.pem"));
    }
}
