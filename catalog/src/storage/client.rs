//! What all stores that are reached over the network have in common: their properties as values, and how long they wait and try.

use std::collections::BTreeMap;
use std::time::Duration;

use nunatak_core::config::without_password;
use nunatak_core::{Code, Error, Result};
use object_store::{BackoffConfig, ClientOptions, RetryConfig};

/// The properties that say how much is asked of a store at a time.
pub(super) const PROPERTIES: [&str; 1] = [REQUESTS_MAX];

const REQUESTS_MAX: &str = "storage.requests-max";
const REQUESTS_MAX_DEFAULT: usize = 256;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// As object_store has it. A server that accepts and says nothing has then used up the time for sending again, too.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a request is sent again and again. A server that restarts is back by then.
const RETRY_TIMEOUT: Duration = Duration::from_secs(30);
/// The time ends it before: waits are drawn by lot and many of them short, so that twenty were over after five seconds for one request and after fifteen for another.
const RETRIES_MAX: usize = 1_000;
const RETRY_WAIT_MAX: Duration = Duration::from_secs(2);

/// How many requests a store is sent at a time by one process.
///
/// Errors: `CONFIGURATION_INVALID` for a property that is no such number.
pub(super) fn requests_max(properties: &BTreeMap<String, String>) -> Result<usize> {
    match properties.get(REQUESTS_MAX) {
        None => Ok(REQUESTS_MAX_DEFAULT),
        Some(value) => match value.parse() {
            Ok(number) if number > 0 => Ok(number),
            _ => Err(invalid(REQUESTS_MAX, value, "a number from 1")),
        },
    }
}

/// The properties of one kind of store, whose names begin alike: `s3.`.
#[derive(Clone, Copy)]
pub(super) struct Properties<'a> {
    values: &'a BTreeMap<String, String>,
    prefix: &'static str,
}

impl<'a> Properties<'a> {
    /// Those whose names begin with `prefix` and a point.
    pub(super) fn new(values: &'a BTreeMap<String, String>, prefix: &'static str) -> Self {
        Self { values, prefix }
    }

    /// A value by its name behind the prefix.
    pub(super) fn text(&self, name: &str) -> Option<&'a str> {
        self.values.get(&self.name(name)).map(String::as_str)
    }

    /// A value that is `true` or `false`.
    pub(super) fn flag(&self, name: &str) -> Result<Option<bool>> {
        let parsed = self.text(name).map(|value| value.parse().map_err(|_| self.invalid(name, value, "true or false")));
        parsed.transpose()
    }

    /// The error for a value that has no meaning.
    pub(super) fn invalid(&self, name: &str, value: &str, wanted: &str) -> Error {
        invalid(&self.name(name), value, wanted)
    }

    /// Checks values that become parts of headers.
    pub(super) fn check_headers(&self, names: &[&str]) -> Result<()> {
        names.iter().filter_map(|name| Some((name, self.text(name)?))).try_for_each(|(name, value)| check_header(&self.name(name), value))
    }

    /// How long is waited for an answer: `connect-timeout-ms` and `request-timeout-ms`.
    pub(super) fn client(&self) -> Result<ClientOptions> {
        Ok(ClientOptions::new()
            .with_connect_timeout(self.millis("connect-timeout-ms", CONNECT_TIMEOUT)?)
            .with_timeout(self.millis("request-timeout-ms", REQUEST_TIMEOUT)?))
    }

    /// How long a request is sent again: `retry.timeout-ms`.
    pub(super) fn retry(&self) -> Result<RetryConfig> {
        Ok(RetryConfig {
            backoff: BackoffConfig { max_backoff: RETRY_WAIT_MAX, ..BackoffConfig::default() },
            max_retries: RETRIES_MAX,
            retry_timeout: self.millis("retry.timeout-ms", RETRY_TIMEOUT)?,
        })
    }

    fn name(&self, name: &str) -> String {
        format!("{}.{name}", self.prefix)
    }

    fn millis(&self, name: &str, default: Duration) -> Result<Duration> {
        match self.text(name) {
            Some(value) => value.parse().map(Duration::from_millis).map_err(|_| self.invalid(name, value, "a number of milliseconds")),
            None => Ok(default),
        }
    }
}

/// Whether a part of credentials can be in a header of a request. Object stores stop with a panic at one that cannot.
pub(super) fn fits_header(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Checks a value that becomes a part of a header.
///
/// Errors: `CONFIGURATION_INVALID`, without the value: it can be a secret.
pub(super) fn check_header(name: &str, value: &str) -> Result<()> {
    match fits_header(value) {
        true => Ok(()),
        false => Err(Error::new(Code::ConfigurationInvalid, format!("{name} has letters that cannot be sent, such as blanks or line ends"))),
    }
}

/// The error for a store that cannot be made.
pub(super) fn unusable(what: &str, error: object_store::Error) -> Error {
    Error::new(Code::ConfigurationInvalid, format!("{what} cannot be reached: {}", without_password(&error.to_string())))
}

fn invalid(name: &str, value: &str, wanted: &str) -> Error {
    Error::new(Code::ConfigurationInvalid, format!("property '{name}' is '{value}', which is not {wanted}"))
}
