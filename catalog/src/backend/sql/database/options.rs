//! Which database a catalog is kept in: addresses and properties as libpq, JDBC and SQLAlchemy write them.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use nunatak_core::{Code, Error, Result};
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};

use super::tls::{Check, Tls};

/// How many connections there are at most to one server.
const CONNECTIONS_DEFAULT: usize = 8;
/// The same, if it is named.
const CONNECTIONS_MAX: usize = 100;
/// How long each address of the server may take to answer.
const CONNECT_TIMEOUT_DEFAULT: Duration = Duration::from_secs(5);
/// How long a statement may take, waiting for rows that others change among it.
const STATEMENT_TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);
/// The same, if it is named.
const STATEMENT_SECONDS_MAX: u64 = 86_400;
/// After how long of silence a connection that is not used is looked at.
const KEEPALIVE: Duration = Duration::from_secs(60);
const PORT: u16 = 5432;

/// The property with the number of connections, by Iceberg's name.
const CLIENTS: &str = "clients";
const USER: &str = "jdbc.user";
const PASSWORD: &str = "jdbc.password";
const SCHEMA_VERSION: &str = "jdbc.schema-version";
/// How long is waited for an answer, in seconds: a property of PostgreSQL's JDBC driver, which Java's catalog gives it without `jdbc.`.
const SOCKET_TIMEOUT: &str = "jdbc.socketTimeout";
/// The properties of catalogs that are the database's.
const PROPERTIES: [&str; 5] = [CLIENTS, USER, PASSWORD, SCHEMA_VERSION, SOCKET_TIMEOUT];

/// Which database a catalog is kept in.
#[derive(Clone, Debug)]
pub enum SqlDatabase {
    /// A SQLite file. It is made when it is missing.
    Sqlite(PathBuf),
    /// A PostgreSQL server.
    Postgres(Box<PostgresOptions>),
}

/// How a database of a PostgreSQL server is reached.
#[derive(Clone)]
pub struct PostgresOptions {
    pub(super) config: Config,
    pub(super) place: Place,
    pub(super) tls: Tls,
    pub(super) connections: usize,
    /// How long a statement may take.
    pub(super) statement_timeout: Duration,
    /// How long it may take until a connection is ready: TCP, TLS and the password.
    pub(super) connect_timeout: Duration,
    /// The schema of the tables, if it is not the user's.
    schema: Option<String>,
}

/// What may be told of a server.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// Hosts with their ports.
    pub(super) server: String,
    pub(super) database: String,
    pub(super) user: String,
}

impl SqlDatabase {
    /// The database at an address such as `sqlite:///data/catalog.sqlite` or `postgresql://user@host:5432/database?sslmode=require`, with the properties of its catalog
    /// that are meant for it.
    ///
    /// Errors: `CONFIGURATION_INVALID`, with nothing of the address that is secret.
    pub fn parse(uri: &str, properties: &BTreeMap<String, String>) -> Result<Self> {
        let uri = uri.strip_prefix("jdbc:").unwrap_or(uri);
        if let Some(path) = uri.strip_prefix("sqlite:") {
            return Ok(Self::Sqlite(PathBuf::from(path.strip_prefix("//").unwrap_or(path))));
        }
        let (scheme, rest) = uri.split_once("://").ok_or_else(|| invalid("the address of the database has no '://'"))?;
        // SQLAlchemy's has the driver: postgresql+psycopg.
        match scheme.split('+').next() {
            Some("postgresql" | "postgres") => PostgresOptions::parse(rest, properties).map(|options| Self::Postgres(Box::new(options))),
            _ => Err(invalid(format!("'{scheme}' is not a database that catalogs can be kept in: sqlite, postgresql"))),
        }
    }

    /// Whether a property of a catalog is meant for its database.
    pub fn is_property(name: &str) -> bool {
        PROPERTIES.contains(&name)
    }

    /// Whether tables of V0 are to become V1.
    ///
    /// Errors: `CONFIGURATION_INVALID` for a version that there is not.
    pub fn upgrades(properties: &BTreeMap<String, String>) -> Result<bool> {
        match properties.get(SCHEMA_VERSION).map(|version| version.to_ascii_uppercase()).as_deref() {
            None | Some("V0") => Ok(false),
            Some("V1") => Ok(true),
            Some(other) => Err(invalid(format!("{SCHEMA_VERSION}: '{other}' is not V0 or V1"))),
        }
    }
}

impl PostgresOptions {
    /// Of what comes after the scheme.
    fn parse(rest: &str, properties: &BTreeMap<String, String>) -> Result<Self> {
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        let mut tls = Tls::default();
        let (mut mode, mut schema, mut kept) = (SslMode::Prefer, None, Vec::new());
        let mut socket_timeout = None;
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').ok_or_else(|| invalid("an option in the address of the database has no value"))?;
            let value = percent_decode_str(value).decode_utf8().map_err(|_| invalid(format!("the value of '{name}' is no text")))?;
            match name {
                "sslmode" => (mode, tls.check) = tls_mode(&value)?,
                // JDBC's.
                "ssl" if value == "true" || value.is_empty() => (mode, tls.check) = tls_mode("verify-full")?,
                "ssl" => {}
                "sslrootcert" => tls.root_certificate = Some(PathBuf::from(&*value)),
                "sslcert" => tls.certificate = Some(PathBuf::from(&*value)),
                "sslkey" => tls.key = Some(PathBuf::from(&*value)),
                "currentSchema" => schema = Some(value.into_owned()),
                // JDBC's too.
                "socketTimeout" => socket_timeout = Some(value.into_owned()),
                name => {
                    let name = match name {
                        "ApplicationName" => "application_name",
                        "connectTimeout" | "loginTimeout" => "connect_timeout",
                        name => name,
                    };
                    kept.push(format!("{name}={}", utf8_percent_encode(&value, NON_ALPHANUMERIC)));
                }
            }
        }
        let address = format!("postgresql://{place}?{}", kept.join("&"));
        let mut config: Config = address.parse().map_err(|error: tokio_postgres::Error| {
            // What its cause says names options, not their values.
            let why = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
            invalid(format!("the address of the database cannot be read: {why}"))
        })?;
        if let Some(user) = properties.get(USER) {
            config.user(user);
        }
        if let Some(password) = properties.get(PASSWORD) {
            config.password(password);
        }
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return Err(invalid("the address of the database names no server").with_hint("postgresql://user@host:5432/database"));
        }
        let user = config.get_user().map_or_else(|| "of this process".to_owned(), str::to_owned);
        // A password whose '@' was not encoded: the rest of it would be taken for the server, and be told.
        if config.get_hosts().iter().any(|host| matches!(host, Host::Tcp(name) if name.contains('@'))) {
            return Err(invalid("the address of the database has two '@'").with_hint("write the one in the password as %40"));
        }
        let place = Place { server: server(&config), database: config.get_dbname().unwrap_or(&user).to_owned(), user };
        config.ssl_mode(mode);
        let connect_timeout = config.get_connect_timeout().copied().unwrap_or(CONNECT_TIMEOUT_DEFAULT);
        config.connect_timeout(connect_timeout);
        let statement_timeout = match properties.get(SOCKET_TIMEOUT).or(socket_timeout.as_ref()) {
            None => STATEMENT_TIMEOUT_DEFAULT,
            Some(text) => match text.trim().parse::<u64>() {
                Ok(seconds) if (1..=STATEMENT_SECONDS_MAX).contains(&seconds) => Duration::from_secs(seconds),
                _ => return Err(invalid(format!("{SOCKET_TIMEOUT}: '{text}' is not a number of seconds from 1 to {STATEMENT_SECONDS_MAX}"))),
            },
        };
        if config.get_application_name().is_none() {
            config.application_name("nunatak");
        }
        config.keepalives_idle(KEEPALIVE);
        let connections = match properties.get(CLIENTS) {
            None => CONNECTIONS_DEFAULT,
            Some(text) => text
                .parse()
                .ok()
                .filter(|number| (1..=CONNECTIONS_MAX).contains(number))
                .ok_or_else(|| invalid(format!("{CLIENTS}: '{text}' is not a number from 1 to {CONNECTIONS_MAX}")))?,
        };
        // Half of it is for what comes behind TCP.
        let connect_timeout = connect_timeout.saturating_mul(2);
        Ok(Self { config, place, tls, connections, statement_timeout, connect_timeout, schema })
    }

    /// The statements that a new connection begins with.
    pub(super) fn settings(&self, idle_timeout: Duration) -> String {
        let mut settings = format!(
            "SET statement_timeout = {}; SET idle_in_transaction_session_timeout = {}; SET client_min_messages = warning",
            self.statement_timeout.as_millis(),
            idle_timeout.as_millis()
        );
        if let Some(schema) = &self.schema {
            settings.push_str(&format!("; SET search_path TO \"{}\"", schema.replace('"', "\"\"")));
        }
        settings
    }
}

impl fmt::Debug for PostgresOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresOptions").field("place", &self.place).field("tls", &self.tls).finish_non_exhaustive()
    }
}

/// What libpq's `sslmode` means. `allow` is `prefer` here: TLS comes first.
fn tls_mode(name: &str) -> Result<(SslMode, Check)> {
    match name {
        "disable" => Ok((SslMode::Disable, Check::Nothing)),
        "allow" | "prefer" => Ok((SslMode::Prefer, Check::Nothing)),
        "require" => Ok((SslMode::Require, Check::Nothing)),
        "verify-ca" => Ok((SslMode::Require, Check::Authority)),
        "verify-full" => Ok((SslMode::Require, Check::Host)),
        other => Err(invalid(format!("sslmode: '{other}' is not one of disable, allow, prefer, require, verify-ca, verify-full"))),
    }
}

fn server(config: &Config) -> String {
    let ports = config.get_ports();
    let port = |number: usize| ports.get(number).or(ports.first()).copied().unwrap_or(PORT);
    let host = |host: &Host| match host {
        Host::Tcp(name) => name.clone(),
        Host::Unix(folder) => folder.display().to_string(),
    };
    let mut names: Vec<String> = config.get_hosts().iter().map(host).collect();
    if names.is_empty() {
        names = config.get_hostaddrs().iter().map(ToString::to_string).collect();
    }
    let servers: Vec<_> = names.iter().enumerate().map(|(number, name)| format!("{name}:{}", port(number))).collect();
    servers.join(", ")
}

fn invalid(what: impl Into<String>) -> Error {
    Error::new(Code::ConfigurationInvalid, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(uri: &str, properties: &[(&str, &str)]) -> Result<SqlDatabase> {
        SqlDatabase::parse(uri, &properties.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    fn postgres(uri: &str, properties: &[(&str, &str)]) -> PostgresOptions {
        match parsed(uri, properties).unwrap() {
            SqlDatabase::Postgres(options) => *options,
            SqlDatabase::Sqlite(path) => panic!("{}", path.display()),
        }
    }

    #[test]
    fn files_are_named_by_paths() {
        for uri in ["sqlite:///data/c.sqlite", "sqlite:////data/c.sqlite", "jdbc:sqlite:/data/c.sqlite", "sqlite:/data/c.sqlite"] {
            match parsed(uri, &[]).unwrap() {
                SqlDatabase::Sqlite(path) => assert!(path.ends_with("data/c.sqlite") && path.is_absolute(), "{uri}: {path:?}"),
                SqlDatabase::Postgres(options) => panic!("{options:?}"),
            }
        }
    }

    #[test]
    fn addresses_are_spelled_as_others_do() {
        let ours = postgres("postgresql://ada:s%40fe@db.example:15432/lake?sslmode=verify-full&sslrootcert=/etc/ca.pem", &[("clients", "3")]);
        assert_eq!((ours.place.server.as_str(), ours.place.database.as_str(), ours.place.user.as_str()), ("db.example:15432", "lake", "ada"));
        assert_eq!((ours.config.get_password(), ours.connections), (Some("s@fe".as_bytes()), 3));
        assert_eq!((ours.config.get_ssl_mode(), ours.tls.check), (SslMode::Require, Check::Host));
        assert_eq!(ours.tls.root_certificate, Some(PathBuf::from("/etc/ca.pem")));
        let java = postgres("jdbc:postgresql://h/lake?currentSchema=a%22b&ApplicationName=x", &[("jdbc.user", "ada"), ("jdbc.password", "safe")]);
        assert_eq!((java.place.server.as_str(), java.config.get_password()), ("h:5432", Some("safe".as_bytes())));
        assert_eq!((java.config.get_application_name(), java.config.get_ssl_mode()), (Some("x"), SslMode::Prefer));
        assert!(java.settings(Duration::from_secs(2)).ends_with("SET search_path TO \"a\"\"b\""));
        let python = postgres("postgresql+psycopg2://ada@a:1,b:2/lake?target_session_attrs=read-write", &[]);
        assert_eq!(python.place.server, "a:1, b:2");
        assert_eq!((python.statement_timeout, python.connect_timeout), (Duration::from_secs(30), Duration::from_secs(10)));
        let brief = postgres("postgresql://ada@h/lake?socketTimeout=9&connect_timeout=1", &[("jdbc.socketTimeout", "3")]);
        assert_eq!((brief.statement_timeout, brief.connect_timeout), (Duration::from_secs(3), Duration::from_secs(2)));
    }

    #[test]
    fn what_is_wrong_is_told_and_secrets_are_not() {
        type Properties = &'static [(&'static str, &'static str)];
        let wrong: [(&str, Properties, &str); 9] = [
            ("mysql://h/lake", &[], "'mysql' is not a database"),
            ("postgresql:lake", &[], "has no '://'"),
            ("postgresql://", &[], "names no server"),
            ("postgresql://ada:s3cr3t@h/lake?sslmode=often", &[], "'often' is not one of disable"),
            ("postgresql://ada:s3cr3t@h/lake?colour=red", &[], "unknown option `colour`"),
            ("postgresql://ada:s3cr3t@h:x/lake", &[], "cannot be read"),
            ("postgresql://ada:x@s3cr3t@h/lake", &[], "has two '@'"),
            ("postgresql://ada:s3cr3t@h/lake", &[("clients", "0")], "not a number from 1 to 100"),
            ("postgresql://ada:s3cr3t@h/lake?socketTimeout=0", &[], "not a number of seconds"),
        ];
        for (uri, properties, message) in wrong {
            let error = parsed(uri, properties).unwrap_err();
            assert_eq!(error.code(), Code::ConfigurationInvalid);
            assert!(error.message().contains(message) && !format!("{error:?}").contains("s3cr3t"), "{error:?}");
        }
        let shown = format!("{:?}", postgres("postgresql://ada:s3cr3t@h/lake", &[("jdbc.password", "s3cr3t")]));
        assert!(shown.contains("h:5432") && !shown.contains("s3cr3t"), "{shown}");
        let version = |version: &str| SqlDatabase::upgrades(&BTreeMap::from([(SCHEMA_VERSION.to_owned(), version.to_owned())]));
        assert!(version("v1").unwrap() && !version("V0").unwrap() && version("V2").is_err());
    }
}
