//! The servers of etcd: one of them is talked to, and the next one when it fails.

use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::io;
use std::path::Path;
use std::time::Duration;

use etcd_client::{Certificate, Client, ConnectOptions, Error as ClientError, Identity, TlsOptions};
use nunatak_core::config::Etcd;
use nunatak_core::{Code, Error, Result};
use tokio::sync::Mutex;
use tracing::debug;

/// How long a connection, and an answer, may take. A server that has lost the others answers nothing.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const CALL_TIMEOUT: Duration = Duration::from_secs(3);
/// A connection over which nothing comes is tried so often, and given up after that time. Servers close connections that are tried more often than each 5 s, or while
/// nothing is asked over them.
const KEEP_ALIVE: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(5));

/// Codes of gRPC, by their numbers.
const CANCELLED: i32 = 1;
const INVALID_ARGUMENT: i32 = 3;
const NOT_FOUND: i32 = 5;
const PERMISSION_DENIED: i32 = 7;
const RESOURCE_EXHAUSTED: i32 = 8;
const FAILED_PRECONDITION: i32 = 9;
const OUT_OF_RANGE: i32 = 11;
const UNAUTHENTICATED: i32 = 16;

/// The servers, and the connection to one of them.
pub(crate) struct Servers {
    endpoints: Vec<String>,
    prefix: String,
    user: Option<String>,
    options: ConnectOptions,
    current: Mutex<Current>,
}

#[derive(Default)]
struct Current {
    /// Which of the endpoints.
    number: usize,
    client: Option<Client>,
}

impl fmt::Debug for Servers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Servers").field("endpoints", &self.endpoints).finish_non_exhaustive()
    }
}

/// Why a server has not done what it was asked.
enum Failure {
    Client(ClientError),
    /// It gave no answer for so long.
    Silent(Duration),
}

impl Servers {
    /// Nothing is connected yet.
    ///
    /// Errors: `CONFIGURATION_INVALID` if a certificate or a key cannot be read.
    pub(super) fn new(etcd: &Etcd) -> Result<Self> {
        let mut options = ConnectOptions::new()
            .with_connect_timeout(CONNECT_TIMEOUT)
            .with_keep_alive(KEEP_ALIVE.0, KEEP_ALIVE.1)
            .with_keep_alive_while_idle(false)
            // One that is cut off from the others must not be believed.
            .with_require_leader(true)
            .with_auto_token_refresh(true);
        if let Some(user) = &etcd.user {
            options = options.with_user(user, etcd.password.clone().unwrap_or_default());
        }
        if etcd.endpoints.iter().any(|endpoint| endpoint.starts_with("https://")) {
            options = options.with_tls(tls(etcd)?);
        }
        Ok(Self { endpoints: etcd.endpoints.clone(), prefix: etcd.prefix.clone(), user: etcd.user.clone(), options, current: Mutex::default() })
    }

    /// Has `work` done by the first server that can; `what` says in words what that is.
    ///
    /// Errors: `CLUSTER_STATE_UNAVAILABLE` if none can, `CONFIGURATION_INVALID` if one refuses what we say, or all refuse our certificate or we theirs.
    pub(super) async fn call<T, F, W>(&self, what: &str, work: F) -> Result<T>
    where
        F: Fn(Client) -> W,
        W: Future<Output = std::result::Result<T, ClientError>>,
    {
        let (mut failures, mut refusals, mut is_full) = (Vec::new(), 0, false);
        // Once more than there are servers: a connection that was good before may have ended.
        for _ in 0..=self.endpoints.len() {
            let (number, client) = self.client().await;
            let outcome = match client {
                Ok(client) => {
                    let answer = work(client);
                    within(CALL_TIMEOUT, answer).await
                }
                Err(failure) => Err(failure),
            };
            match outcome {
                Ok(answer) => return Ok(answer),
                Err(Failure::Client(error)) if is_final(&error) => return Err(self.refused(what, number, &error)),
                Err(failure) => {
                    debug!(server = self.endpoints[number], %failure, "a server of etcd fails");
                    refusals += usize::from(matches!(&failure, Failure::Client(error) if is_tls_refusal(error)));
                    is_full |= matches!(&failure, Failure::Client(error) if is_out_of_space(error));
                    failures.push((number, failure.to_string()));
                    self.turn_away_from(number).await;
                }
            }
        }
        let is_encrypted = self.endpoints.iter().any(|endpoint| endpoint.starts_with("https://"));
        let code = if is_encrypted && refusals == failures.len() { Code::ConfigurationInvalid } else { Code::ClusterStateUnavailable };
        failures.sort_unstable();
        failures.dedup_by_key(|(number, _)| *number);
        let each: Vec<String> = failures.iter().map(|(number, why)| format!("{} ({why})", self.endpoints[*number])).collect();
        if is_full {
            let message = format!("etcd has used up its space, and takes nothing more, to {what}: {}", each.join(", "));
            return Err(Error::new(Code::ClusterStateUnavailable, message).with_hint(
                "make space in it: `etcdctl compact REVISION`, `etcdctl defrag` and then `etcdctl alarm disarm`; or start its servers with a larger --quota-backend-bytes",
            ));
        }
        let error = Error::new(code, format!("etcd cannot be reached to {what}: {}", each.join(", ")));
        Err(match is_encrypted {
            true => error.with_hint(
                "see etcd.ca and etcd.cert; a server that does not take the certificate of etcd.cert, or misses one, may only end the connection: its log tells why",
            ),
            false => error,
        })
    }

    /// The connection, made if there is none, and the server's number.
    async fn client(&self) -> (usize, std::result::Result<Client, Failure>) {
        let mut current = self.current.lock().await;
        if let Some(client) = &current.client {
            return (current.number, Ok(client.clone()));
        }
        let endpoint = self.endpoints[current.number].as_str();
        let connected = within(CALL_TIMEOUT, Client::connect([endpoint], Some(self.options.clone()))).await;
        if let Ok(client) = &connected {
            current.client = Some(client.clone());
        }
        (current.number, connected)
    }

    /// The next call goes to the server after the one that is talked to: nobody waits for that any longer.
    pub(super) fn turn_away(&self) {
        // Whoever has it is about to connect, and turns away by itself.
        if let Ok(mut current) = self.current.try_lock() {
            *current = Current { number: (current.number + 1) % self.endpoints.len(), client: None };
        }
    }

    /// The next call goes to the server after this one.
    async fn turn_away_from(&self, number: usize) {
        let mut current = self.current.lock().await;
        // Another call may have done so before.
        if current.number == number {
            *current = Current { number: (number + 1) % self.endpoints.len(), client: None };
        }
    }

    /// What a server has refused.
    fn refused(&self, what: &str, number: usize, error: &ClientError) -> Error {
        let (server, why) = (&self.endpoints[number], text(error));
        let invalid = |message: String| Error::new(Code::ConfigurationInvalid, message);
        match (code(error), &self.user) {
            (Some(PERMISSION_DENIED), user) => {
                let user = user.as_deref().unwrap_or("of the certificate");
                invalid(format!("etcd at {server} does not let user {user} {what}: {why}"))
                    .with_hint(format!("it needs 'readwrite' on all keys that begin with '{}/'", self.prefix.trim_end_matches('/')))
            }
            (Some(INVALID_ARGUMENT | UNAUTHENTICATED | FAILED_PRECONDITION), Some(user)) => {
                invalid(format!("etcd at {server} refuses user '{user}': {why}")).with_hint("see etcd.user and etcd.password")
            }
            (Some(INVALID_ARGUMENT | UNAUTHENTICATED), None) => {
                invalid(format!("etcd at {server} wants to know the user: {why}")).with_hint("name one by etcd.user and etcd.password")
            }
            (None, _) if is_unusable(error) => {
                invalid(format!("etcd at {server} cannot be connected to: {why}")).with_hint("see etcd.endpoints, etcd.ca, etcd.cert and etcd.key")
            }
            _ => Error::new(Code::ClusterStateUnavailable, format!("etcd at {server} does not {what}: {why}")),
        }
    }
}

/// The error for a client whose statement needed etcd. What made a configuration invalid at the start is, after it, an etcd that cannot be used any more: a role was taken away,
/// or a password changed.
pub(super) fn at_run_time(error: Error) -> Error {
    if error.code() != Code::ConfigurationInvalid {
        return error;
    }
    let unavailable = Error::new(Code::ClusterStateUnavailable, error.message());
    match error.hint() {
        Some(hint) => unavailable.with_hint(hint),
        None => unavailable,
    }
}

/// Whether a lease is gone to which a key was to be bound.
pub(super) fn is_lease_lost(error: &ClientError) -> bool {
    matches!(error, ClientError::LeaseKeepAliveError(_)) || code(error) == Some(NOT_FOUND)
}

/// Whether what was asked for lies in a revision that the server has forgotten.
pub(super) fn is_compacted(error: &ClientError) -> bool {
    code(error) == Some(OUT_OF_RANGE)
}

/// Whether the servers have as much as they may keep (the alarm NOSPACE): they answer what reads, and take nothing. By the same code they say that too much is asked of them.
fn is_out_of_space(error: &ClientError) -> bool {
    matches!(error, ClientError::GRpcStatus(status) if code(error) == Some(RESOURCE_EXHAUSTED) && status.message().contains("space exceeded"))
}

async fn within<T>(time: Duration, work: impl Future<Output = std::result::Result<T, ClientError>>) -> std::result::Result<T, Failure> {
    match tokio::time::timeout(time, work).await {
        Ok(outcome) => outcome.map_err(Failure::Client),
        Err(_) => Err(Failure::Silent(time)),
    }
}

fn code(error: &ClientError) -> Option<i32> {
    match error {
        ClientError::GRpcStatus(status) => Some(i32::from(status.code())),
        _ => None,
    }
}

/// Whether another server would say the same.
fn is_final(error: &ClientError) -> bool {
    match error {
        // It knows of another state of users than the one that it was asked with.
        ClientError::GRpcStatus(status) if status.message().contains("revision in header is old") => false,
        ClientError::GRpcStatus(_) => {
            matches!(code(error), Some(INVALID_ARGUMENT | NOT_FOUND | PERMISSION_DENIED | FAILED_PRECONDITION | OUT_OF_RANGE | UNAUTHENTICATED))
        }
        ClientError::LeaseKeepAliveError(_) => true,
        other => is_unusable(other),
    }
}

/// Whether no connection can be made of what the configuration says, such as a key that is not that of its certificate.
fn is_unusable(error: &ClientError) -> bool {
    matches!(error, ClientError::TransportError(_) | ClientError::InvalidArgs(_) | ClientError::InvalidUri(_))
}

/// Whether the server and we do not agree on TLS. One that does not take our certificate says so only after we have taken its own, and often no more than the end of the connection
/// is seen of that.
fn is_tls_refusal(error: &ClientError) -> bool {
    let ClientError::GRpcStatus(status) = error else { return false };
    // What a server has answered has no cause here.
    let mut cause = status.source();
    let is_unanswered = cause.is_some();
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            // What rustls says: of the server's certificate, or of what the server says of ours.
            return error.kind() == io::ErrorKind::InvalidData;
        }
        cause = error.source();
    }
    is_unanswered && code(error) == Some(CANCELLED)
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client(error) => f.write_str(&text(error)),
            Self::Silent(time) => write!(f, "no answer within {} s", time.as_secs()),
        }
    }
}

/// An error with its causes: what went wrong is in the last one.
fn text(error: &ClientError) -> String {
    match error {
        ClientError::GRpcStatus(status) => with_causes(status.message(), status.source()),
        ClientError::TransportError(error) => with_causes(&error.to_string(), error.source()),
        other => other.to_string(),
    }
}

fn with_causes(message: &str, mut cause: Option<&(dyn StdError + 'static)>) -> String {
    let mut text = message.to_owned();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = if text.is_empty() { more } else { format!("{text}: {more}") };
        }
        cause = error.source();
    }
    text
}

/// How servers are known, and how this client makes itself known.
fn tls(etcd: &Etcd) -> Result<TlsOptions> {
    let mut tls = TlsOptions::new();
    tls = match &etcd.ca {
        Some(file) => tls.ca_certificate(Certificate::from_pem(read("etcd.ca", file)?)),
        None => tls.with_native_roots(),
    };
    if let (Some(certificate), Some(key)) = (&etcd.cert, &etcd.key) {
        tls = tls.identity(Identity::from_pem(read("etcd.cert", certificate)?, read("etcd.key", key)?));
    }
    Ok(tls)
}

fn read(key: &str, file: &Path) -> Result<Vec<u8>> {
    std::fs::read(file).map_err(|error| Error::new(Code::ConfigurationInvalid, format!("{key}: file '{}' cannot be read: {error}", file.display())))
}
