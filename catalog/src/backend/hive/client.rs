//! Calls to a metastore: over a few connections that are kept, to whichever of its servers answers, again where that is safe and can help; and how failures become our error.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use nunatak_core::{Code, Error, Result, Retry};
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use super::connection::{Answer, Broken, Connection, Server};
use super::method::{self, ExceptionKind, Method};
use super::options::Options;
use super::unusable::{Unusable, Why};
use super::value::{Fields, Value};
use super::waiting::Waiting;

/// A connection that was not used for so long is not trusted: something between us and the metastore may have forgotten it.
const IDLE_MAX: Duration = Duration::from_secs(120);
/// What we want of a connection. Otherwise the metastore (2.3 to 4) compares the columns of an entry by their positions, and refuses to have one dropped or moved; ours have ids.
const COLUMNS_BY_POSITION: (&str, &str) = ("hive.metastore.disallow.incompatible.col.type.changes", "false");
const RETRY_WAIT_MIN: Duration = Duration::from_millis(100);
const RETRY_WAIT_MAX: Duration = Duration::from_secs(2);

/// The metastore of a catalog. Cheap to clone.
#[derive(Clone)]
pub(super) struct Client(Arc<Shared>);

struct Shared {
    catalog: String,
    options: Options,
    /// Those that nobody uses now; the one that was used last is at the end.
    idle: Mutex<Vec<Idle>>,
    permits: Arc<Semaphore>,
    /// Which server answered last.
    server: AtomicUsize,
}

struct Idle {
    connection: Connection,
    server: usize,
    since: Instant,
}

/// Why there is no result.
#[derive(Debug)]
pub(super) enum Fault {
    /// The call was not carried out.
    Refused(Error),
    /// It may or may not have been carried out.
    Lost(Error),
    /// The metastore answered with an exception.
    Said {
        /// Which one.
        kind: ExceptionKind,
        /// In its words.
        message: String,
        /// Our error for it where it has no meaning of its own.
        error: Error,
    },
}

impl Fault {
    /// The error inside, for callers that do not care which it is.
    pub(super) fn into_error(self) -> Error {
        match self {
            Self::Refused(error) | Self::Lost(error) | Self::Said { error, .. } => error,
        }
    }

    /// Whether the metastore says this.
    pub(super) fn is(&self, wanted: ExceptionKind) -> bool {
        matches!(self, Self::Said { kind, .. } if *kind == wanted)
    }
}

impl Client {
    /// A client of the servers that the options name. Nothing is connected yet.
    pub(super) fn new(catalog: &str, options: Options) -> Self {
        let permits = Arc::new(Semaphore::new(options.connections_max));
        let (idle, server) = (Mutex::default(), AtomicUsize::new(0));
        Self(Arc::new(Shared { catalog: catalog.to_owned(), options, idle, permits, server }))
    }

    /// The options.
    pub(super) fn options(&self) -> &Options {
        &self.0.options
    }

    /// Makes a call and gives what its result has. `operation` says what it is for, as in "cannot load table 'a.b'".
    pub(super) async fn call(&self, method: &'static Method, operation: &str, arguments: Fields) -> Result<Fields, Fault> {
        let arguments = Arc::new(arguments);
        let mut retries = 0;
        let deadline = method.repeatable.then(|| Instant::now() + self.0.options.read_time);
        loop {
            let outcome = self.call_until(deadline, method, operation, &arguments).await;
            let again = match &outcome {
                Err(Fault::Refused(error)) => error.retry() != Retry::Never,
                Err(Fault::Lost(error)) => method.repeatable && error.retry() != Retry::Never,
                _ => false,
            };
            let pause = wait(retries, rand::random());
            let is_late = deadline.is_some_and(|deadline| Instant::now() + pause >= deadline);
            if !again || retries >= self.0.options.retries_max || is_late {
                return outcome;
            }
            tokio::time::sleep(pause).await;
            retries += 1;
        }
    }

    async fn call_until(
        &self,
        deadline: Option<Instant>,
        method: &'static Method,
        operation: &str,
        arguments: &Arc<Fields>,
    ) -> Result<Fields, Fault> {
        let Some(deadline) = deadline else {
            // Who gives up a change does not know whether it is made; its thread makes it, and the connection stays good.
            return self.call_once(method, operation, Arc::clone(arguments), Waiting::default()).await;
        };
        // Dropped with this call, wherever it is given up.
        let (waiting, _waiter) = Waiting::until(deadline);
        let call = self.call_once(method, operation, Arc::clone(arguments), waiting);
        tokio::time::timeout_at(deadline.into(), call).await.unwrap_or_else(|_| {
            let servers: Vec<_> = self.0.options.servers.iter().map(|server| format!("'{server}'")).collect();
            let noun = if servers.len() == 1 { "metastore" } else { "metastores" };
            let verb = if servers.len() == 1 { "does" } else { "do" };
            let what = format!("cannot {operation}: the {noun} {} of catalog '{}' {verb} not answer in time", servers.join(", "), self.0.catalog);
            Err(Fault::Lost(unavailable(what)))
        })
    }

    async fn call_once(&self, method: &'static Method, operation: &str, arguments: Arc<Fields>, waiting: Waiting) -> Result<Fields, Fault> {
        let gone = || Fault::Refused(Error::internal("nobody may call the metastore any more"));
        let permit = Arc::clone(&self.0.permits).acquire_owned().await.map_err(|_| gone())?;
        let (shared, what) = (Arc::clone(&self.0), operation.to_owned());
        let called = tokio::task::spawn_blocking(move || {
            let outcome = shared.call(method, &what, &arguments, &waiting);
            drop(permit);
            outcome
        });
        called.await.unwrap_or_else(|error| Err(Fault::Lost(Error::internal(format!("cannot {operation}: the call has stopped")).with_source(error))))
    }
}

impl Shared {
    fn call(&self, method: &'static Method, operation: &str, arguments: &Fields, waiting: &Waiting) -> Result<Fields, Fault> {
        let Idle { mut connection, server, .. } = self.connection(operation, waiting)?;
        let answer = connection.call(method, arguments, waiting).map_err(|broken| self.broken(server, operation, broken))?;
        self.idle.lock().push(Idle { connection, server, since: Instant::now() });
        match answer {
            Answer::Result(fields) => Ok(fields),
            Answer::Exception(kind, message) => Err(self.said(server, operation, kind, message)),
        }
    }

    /// A connection that was kept, or a new one.
    fn connection(&self, operation: &str, waiting: &Waiting) -> Result<Idle, Fault> {
        loop {
            let Some(mut idle) = self.idle.lock().pop() else { return self.connect(operation, waiting) };
            if idle.since.elapsed() < IDLE_MAX && idle.connection.is_alive() {
                return Ok(idle);
            }
        }
    }

    /// Connects to the server that answered last, or else to the next one that does.
    fn connect(&self, operation: &str, waiting: &Waiting) -> Result<Idle, Fault> {
        let servers = &self.options.servers;
        let first = self.server.load(Ordering::Relaxed);
        let mut failures = Vec::with_capacity(servers.len());
        for turn in 0..servers.len() {
            let server = (first + turn) % servers.len();
            match self.introduced(&servers[server], waiting) {
                Ok(connection) => {
                    self.server.store(server, Ordering::Relaxed);
                    return Ok(Idle { connection, server, since: Instant::now() });
                }
                Err(unusable) => failures.push((&servers[server], unusable)),
            }
        }
        Err(Fault::Refused(self.unusable(operation, &failures)))
    }

    /// The error for servers none of which is of use. What does not pass by itself is told before what does.
    fn unusable(&self, operation: &str, failures: &[(&Server, Unusable)]) -> Error {
        let told = failures.iter().find(|(_, unusable)| unusable.why != Why::Away).or(failures.first());
        let Some((_, told)) = told else { return Error::internal(format!("cannot {operation}: catalog '{}' has no metastore", self.catalog)) };
        let all: Vec<_> = failures.iter().map(|(server, unusable)| format!("'{server}' ({})", unusable.what)).collect();
        let noun = if failures.len() == 1 { "metastore" } else { "metastores" };
        let verb = if told.why == Why::Away { "reached" } else { "used" };
        told.error(format!("cannot {operation}: the {noun} {} of catalog '{}' cannot be {verb}", all.join(", "), self.catalog))
    }

    /// A connection on which we have said who we are, by a ticket or else in words, and what is to hold for it. A metastore that takes nobody's word for it (with Kerberos) ends it here.
    fn introduced(&self, server: &Server, waiting: &Waiting) -> Result<Connection, Unusable> {
        let mut connection = Connection::open(server, &self.options, waiting)?;
        let unusable = |broken: &Broken| Unusable::new(if matches!(broken, Broken::Late) { Why::Away } else { Why::Strange }, reason(broken));
        if self.options.kerberos.is_none() {
            let arguments = Fields::new().with(1, self.options.user.as_str()).with(2, Value::texts([]));
            match connection.call(&method::SET_UGI, &arguments, waiting) {
                Ok(Answer::Result(_) | Answer::Exception(ExceptionKind::UnknownMethod, _)) => {}
                Ok(Answer::Exception(_, message)) => return Err(Unusable::new(Why::Away, said(&message))),
                Err(broken) => return Err(unusable(&broken)),
            }
        }
        let arguments = Fields::new().with(1, COLUMNS_BY_POSITION.0).with(2, COLUMNS_BY_POSITION.1);
        // A metastore that knows no such thing, or does not let us, may still take whatever we do.
        connection.call(&method::SET_META_CONF, &arguments, waiting).map_err(|broken| unusable(&broken))?;
        Ok(connection)
    }

    /// The failure of a call that got no answer.
    fn broken(&self, server: usize, operation: &str, broken: Broken) -> Fault {
        let what = |what: &str| format!("cannot {operation}: the metastore '{}' of catalog '{}' {what}", self.options.servers[server], self.catalog);
        match &broken {
            Broken::Unsent(why) => Fault::Refused(Error::internal(what(&format!("was not asked: {why}")))),
            Broken::Nonsense(_) => Fault::Lost(
                Error::new(Code::IcebergCatalogError, what(&reason(&broken)))
                    .with_hint("see that the catalog's uri is that of a Hive Metastore that is reached without framed messages, and not by HTTP"),
            ),
            Broken::Ended(_) | Broken::Late => Fault::Lost(unavailable(what(&reason(&broken)))),
        }
    }

    /// The failure of a call that was answered with an exception.
    fn said(&self, server: usize, operation: &str, kind: ExceptionKind, message: String) -> Fault {
        let what = |what: &str| format!("cannot {operation}: the metastore '{}' of catalog '{}' {what}", self.options.servers[server], self.catalog);
        let words = said(&message);
        let error = match kind {
            ExceptionKind::UnknownMethod => Error::not_supported(what(&format!("does not know the call: {words}"))),
            _ if is_refusal(&message) => Error::new(Code::CatalogAccessDenied, what(&format!("does not allow it: {words}")))
                .with_hint("ask who runs that metastore for the right to do it, or name another user with hive.user"),
            _ if is_folder_not_made(&message) => Error::new(Code::IcebergCatalogError, what(&format!("refused it: {words}"))).with_hint(format!(
                "the metastore makes the folder itself: see that it reaches the place by that address, and that '{}' (hive.user) may write there",
                self.options.user
            )),
            _ => Error::new(Code::IcebergCatalogError, what(&format!("refused it: {words}"))),
        };
        Fault::Said { kind, message, error }
    }
}

fn unavailable(what: String) -> Error {
    Unusable::new(Why::Away, "").error(what)
}

fn reason(broken: &Broken) -> String {
    match broken {
        Broken::Unsent(why) => why.clone(),
        Broken::Ended(why) => format!("broke off the connection: {why}"),
        Broken::Late => String::from("does not answer in time"),
        Broken::Nonsense(why) => format!("gave an answer that is not of the metastore's protocol: {why}"),
    }
}

/// The metastore has no exception of its own for what somebody may not do.
fn is_refusal(message: &str) -> bool {
    ["AccessControlException", "Permission denied", "does not have privileges"].iter().any(|words| message.contains(words))
}

/// Whether a folder could not be made, of a schema or of a table. Version 4 says no more than that, even where HDFS has told it who may not.
fn is_folder_not_made(message: &str) -> bool {
    ["Failed to create external path", "Unable to create database path", "unable to create one"].iter().any(|words| message.contains(words))
}

/// What is shown of a message: its first line, and of that not more than is read.
pub(super) fn said(message: &str) -> String {
    const SHOWN_CHARS_MAX: usize = 400;
    let line = message.lines().next().unwrap_or_default().trim().trim_end_matches('.');
    match line.is_empty() {
        true => String::from("no reason given"),
        false => line.chars().take(SHOWN_CHARS_MAX).collect(),
    }
}

/// How long to wait before a call is made again after `retries` times. `chance` is between 0 and 1.
fn wait(retries: u32, chance: f64) -> Duration {
    let longest = RETRY_WAIT_MIN.saturating_mul(1u32.checked_shl(retries).unwrap_or(u32::MAX)).min(RETRY_WAIT_MAX);
    longest.mul_f64(0.5 + chance.clamp(0.0, 1.0) / 2.0)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn client(uri: &str) -> Client {
        let properties = BTreeMap::from([("hive.max-retries".to_owned(), "1".to_owned()), ("hive.socket-timeout-ms".to_owned(), "300".to_owned())]);
        Client::new("prod", Options::new(uri, &properties).unwrap())
    }

    #[tokio::test]
    async fn a_metastore_that_is_not_there_is_named() {
        let client = client("thrift://127.0.0.1:9,thrift://127.0.0.1:11");
        let fault = client.call(&method::GET_ALL_DATABASES, "list schemas", Fields::new()).await.unwrap_err();
        assert!(matches!(&fault, Fault::Refused(error) if error.code() == Code::CatalogUnavailable), "{fault:?}");
        let message = fault.into_error().message().to_owned();
        assert!(message.starts_with("cannot list schemas: the metastores 'thrift://127.0.0.1:9' ("), "{message}");
        assert!(message.contains("'thrift://127.0.0.1:11' (") && message.ends_with(" of catalog 'prod' cannot be reached"), "{message}");
    }

    #[tokio::test]
    async fn a_server_that_says_nothing_is_not_waited_for() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let client = client(&format!("thrift://{}", listener.local_addr().unwrap()));
        let fault = client.call(&method::GET_ALL_DATABASES, "list schemas", Fields::new()).await.unwrap_err();
        assert!(fault.into_error().message().contains("does not answer in time"));
    }

    #[tokio::test]
    async fn what_is_read_takes_no_longer_than_somebody_waits() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let uri = format!("thrift://{}", listener.local_addr().unwrap());
        let options = Options::new(&uri, &BTreeMap::new()).unwrap();
        let client = Client::new("prod", Options { read_time: Duration::from_millis(300), ..options });
        let begun = Instant::now();
        let fault = client.call(&method::GET_ALL_DATABASES, "list schemas", Fields::new()).await.unwrap_err();
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
        assert!(fault.into_error().message().ends_with(" of catalog 'prod' does not answer in time"));
    }

    /// How long a call's connection lives whose server takes it and then does what `served` does.
    fn lives(listener: std::net::TcpListener, served: fn(&mut std::net::TcpStream)) -> std::thread::JoinHandle<Duration> {
        std::thread::spawn(move || {
            let mut stream = listener.accept().unwrap().0;
            let begun = Instant::now();
            served(&mut stream);
            begun.elapsed()
        })
    }

    #[tokio::test]
    async fn no_thread_outlives_a_call_that_is_given_up() {
        fn say_nothing(stream: &mut std::net::TcpStream) {
            std::io::copy(stream, &mut std::io::sink()).unwrap();
        }
        // An answer that goes on: a name of so many letters, one after the other.
        fn say_little(stream: &mut std::net::TcpStream) {
            use std::io::Write;
            stream.write_all(&[0x80, 1, 0, 2, 0, 0x0f, 0xff, 0xff]).unwrap();
            while stream.write_all(b"a").is_ok() {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        type Served = fn(&mut std::net::TcpStream);
        let cases: [(Served, bool); 4] = [(say_nothing, false), (say_nothing, true), (say_little, false), (say_little, true)];
        for (served, is_dropped) in cases {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let options = Options::new(&format!("thrift://{}", listener.local_addr().unwrap()), &BTreeMap::new()).unwrap();
            let read_time = if is_dropped { options.read_time } else { Duration::from_millis(300) };
            let client = Client::new("prod", Options { read_time, ..options });
            let server = lives(listener, served);
            let call = client.call(&method::GET_ALL_DATABASES, "list schemas", Fields::new());
            let answer = tokio::time::timeout(Duration::from_millis(if is_dropped { 300 } else { 5_000 }), call).await;
            assert_eq!(answer.is_err(), is_dropped);
            let lived = server.join().unwrap();
            assert!(lived < Duration::from_secs(2), "{lived:?}");
        }
    }

    #[test]
    fn messages_become_ours() {
        let client = client("thrift://h:1");
        let fault = |kind, message: &str| client.0.said(0, "create table 'a.b'", kind, message.to_owned());
        for (kind, message, code) in [
            (
                ExceptionKind::Meta,
                "Got exception: org.apache.hadoop.security.AccessControlException Permission denied: user=x",
                Code::CatalogAccessDenied,
            ),
            (ExceptionKind::Meta, "JDO failed.\n\tat x", Code::IcebergCatalogError),
            (ExceptionKind::UnknownMethod, "Invalid method name: 'lock'", Code::NotSupported),
        ] {
            let error = fault(kind, message).into_error();
            assert_eq!(error.code(), code, "{message}");
            assert!(error.message().starts_with("cannot create table 'a.b': the metastore 'thrift://h:1' of catalog 'prod' "), "{error}");
            assert!(!error.message().contains("at x"));
        }
        for message in [
            "Failed to create external path hdfs://ns/a.db for database a. This may result in access not being allowed: null",
            "Unable to create database path hdfs://ns/a.db, failed to create database a",
            "hdfs://ns/a.db/t is not a directory or unable to create one",
        ] {
            let error = fault(ExceptionKind::Meta, message).into_error();
            assert!(error.hint().is_some_and(|hint| hint.contains("(hive.user) may write there")), "{error}");
        }
        assert!(fault(ExceptionKind::NoSuchObject, "").is(ExceptionKind::NoSuchObject));
    }

    #[test]
    fn waits_grow_to_a_limit() {
        assert_eq!([0, 1, 4, 5, 40].map(|retries| wait(retries, 1.0).as_millis()), [100, 200, 1_600, 2_000, 2_000]);
    }
}
