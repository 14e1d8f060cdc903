//! Requests to a file system of HDFS: where they run, how long they may take, and how often they are sent.
//!
//! `hdfs-native` goes from NameNode to NameNode by itself where a request was surely not carried out. What else passes, we send again, with a connection of its own
//! where nobody has answered.

use std::fmt;
use std::io;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use hdfs_native::file::FileReader;
use hdfs_native::{Client, HdfsError};
use nunatak_core::{Error, Result as CoreResult};
use parking_lot::Mutex;
use rand::Rng;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::JoinHandle;

use super::failure::Failure;
use super::options::{Options, Purpose};

/// Waits between attempts double from the first one to the last, and vary by a half.
const WAIT_MIN: Duration = Duration::from_millis(100);
const WAIT_MAX: Duration = Duration::from_secs(2);

/// The threads of all connections. A task's threads end with the task, and connections are those of many; what Kerberos asks its servers, it waits for.
static THREADS: LazyLock<io::Result<Runtime>> = LazyLock::new(|| Builder::new_multi_thread().thread_name("hdfs").enable_all().build());

/// A file system of HDFS.
pub(super) struct Connection {
    options: Arc<Options>,
    server: Arc<str>,
    runtime: Handle,
    current: Mutex<Current>,
}

/// The clients that are used now, and how many have been given up before.
#[derive(Default)]
struct Current {
    requests: Option<Client>,
    writers: Option<Client>,
    given_up: u64,
}

impl Current {
    fn client(&mut self, purpose: Purpose) -> &mut Option<Client> {
        match purpose {
            Purpose::Requests => &mut self.requests,
            Purpose::Writers => &mut self.writers,
        }
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Connection").field(&self.server).finish()
    }
}

impl Connection {
    pub(super) fn new(options: Options) -> CoreResult<Self> {
        let threads = THREADS.as_ref().map_err(|error| Error::internal(format!("the threads of HDFS cannot be started: {error}")))?;
        Ok(Self { server: Arc::from(options.server()), options: Arc::new(options), runtime: threads.handle().clone(), current: Mutex::default() })
    }

    pub(super) fn runtime(&self) -> &Handle {
        &self.runtime
    }

    pub(super) fn failure(&self, error: HdfsError) -> Failure {
        Failure::new(&self.server, error)
    }

    /// A failure that no server has told of.
    pub(super) fn own_failure(&self, kind: io::ErrorKind, what: impl Into<String>) -> Failure {
        Failure::own(&self.server, kind, what)
    }

    /// How long something that has failed now is tried again.
    pub(super) fn waits(&self) -> Waits {
        Waits { until: Instant::now() + self.options.retry_timeout, next: WAIT_MIN }
    }

    /// The same for what is written.
    pub(super) fn waits_to_write(&self) -> Waits {
        Waits { until: Instant::now() + self.options.write_retry_timeout, ..self.waits() }
    }

    /// Sends a request that can be sent twice, until it is answered or the time is over.
    pub(super) async fn call<T, F>(&self, request: impl Fn(Client) -> F) -> Result<T, Failure>
    where
        T: Send + 'static,
        F: Future<Output = hdfs_native::Result<T>> + Send + 'static,
    {
        self.call_for(Purpose::Requests, request).await
    }

    /// The same by a client for the purpose.
    pub(super) async fn call_for<T, F>(&self, purpose: Purpose, request: impl Fn(Client) -> F) -> Result<T, Failure>
    where
        T: Send + 'static,
        F: Future<Output = hdfs_native::Result<T>> + Send + 'static,
    {
        let mut waits = match purpose {
            Purpose::Requests => self.waits(),
            Purpose::Writers => self.waits_to_write(),
        };
        let mut limit = self.options.request_timeout;
        loop {
            let failure = match self.once_for(purpose, limit, &request).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            if !failure.is_transient() || !waits.pass().await {
                return Err(failure);
            }
            // All attempts together are to end in about that time, and the last one has to have a chance.
            limit = self.options.request_timeout.min(waits.left().max(WAIT_MAX));
        }
    }

    /// Sends a request once.
    pub(super) async fn once<T, F>(&self, request: impl Fn(Client) -> F) -> Result<T, Failure>
    where
        T: Send + 'static,
        F: Future<Output = hdfs_native::Result<T>> + Send + 'static,
    {
        self.once_for(Purpose::Requests, self.options.request_timeout, &request).await
    }

    /// Opens a file for reading.
    pub(super) async fn open(&self, path: &str) -> Result<FileReader, Failure> {
        self.call(|client| {
            let path = path.to_owned();
            async move { client.read(&path).await }
        })
        .await
    }

    async fn once_for<T, F>(&self, purpose: Purpose, limit: Duration, request: &impl Fn(Client) -> F) -> Result<T, Failure>
    where
        T: Send + 'static,
        F: Future<Output = hdfs_native::Result<T>> + Send + 'static,
    {
        let (client, given_up) = self.client(purpose).await?;
        let request = request(client);
        let running = Running(self.runtime.spawn(async move { tokio::time::timeout(limit, request).await }));
        match running.wait().await {
            Ok(Ok(answer)) => answer.map_err(|error| self.failure(error)),
            Ok(Err(_)) => {
                self.give_up(given_up);
                Err(self.own_failure(io::ErrorKind::TimedOut, format!("no answer within {} ms", limit.as_millis())))
            }
            Err(stopped) => {
                // The library panics at answers that it does not know.
                self.give_up(given_up);
                Err(self.failure(HdfsError::InternalError(stopped.to_string())))
            }
        }
    }

    /// The client for a purpose, and how many were given up before it.
    async fn client(&self, purpose: Purpose) -> Result<(Client, u64), Failure> {
        let given_up = {
            let mut current = self.current.lock();
            let given_up = current.given_up;
            if let Some(client) = current.client(purpose) {
                return Ok((client.clone(), given_up));
            }
            given_up
        };
        let (options, runtime) = (Arc::clone(&self.options), self.runtime.clone());
        let built = match self.runtime.spawn_blocking(move || options.client(&runtime, purpose, given_up > 0)).await {
            // No server was asked yet: it is a file that cannot be read.
            Ok(Err(HdfsError::IOError(error))) => Err(HdfsError::InvalidArgument(error.to_string())),
            Ok(built) => built,
            Err(stopped) => Err(HdfsError::InternalError(stopped.to_string())),
        };
        let client = built.map_err(|error| self.failure(error))?;
        let mut current = self.current.lock();
        let given_up = current.given_up;
        Ok((current.client(purpose).get_or_insert(client).clone(), given_up))
    }

    /// Leaves clients alone of which one got no answer: its connection may be one that nobody listens at.
    fn give_up(&self, given_up_before: u64) {
        let mut current = self.current.lock();
        if current.given_up == given_up_before {
            *current = Current { given_up: given_up_before + 1, ..Current::default() };
        }
    }
}

/// A request under way, which ends when nobody waits for its answer.
struct Running<T>(JoinHandle<T>);

impl<T> Running<T> {
    async fn wait(mut self) -> Result<T, tokio::task::JoinError> {
        (&mut self.0).await
    }
}

impl<T> Drop for Running<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The waits between attempts.
#[derive(Debug)]
pub(super) struct Waits {
    until: Instant,
    next: Duration,
}

impl Waits {
    /// How much of the time is left.
    fn left(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }

    /// Waits for the next attempt; whether there is time for one.
    pub(super) async fn pass(&mut self) -> bool {
        let wait = self.next.mul_f64(rand::rng().random_range(0.5..1.5));
        if Instant::now() + wait >= self.until {
            return false;
        }
        tokio::time::sleep(wait).await;
        self.next = (self.next * 2).min(WAIT_MAX);
        true
    }
}
