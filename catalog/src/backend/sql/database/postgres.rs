//! A PostgreSQL server: a pool of connections, and transactions on them that are run again as long as that is safe.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{Hook, HookError, Manager, Object, Pool, Runtime};
use nunatak_core::{Error, Result};
use parking_lot::RwLock;
use tokio::runtime::Handle;
use tokio_postgres::IsolationLevel;

use super::options::{Place, PostgresOptions};
use super::refusal::Refusal;
use super::{Access, Connection, Fault, TABLES, UPGRADE_V0, Version};

/// How long is waited for one of our connections, all of them being in use.
const FREE_TIMEOUT: Duration = Duration::from_secs(30);
/// The server has so long to say that a statement takes too long, or half of the time that the statement may take if it is less.
const GRACE: Duration = Duration::from_secs(5);
/// After how long the server gives up a transaction of ours that has stopped in the middle.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// Between attempts: a connection that was stale, a server that starts again, rows that others have changed.
const WAITS: [Duration; 6] = [
    Duration::from_millis(5),
    Duration::from_millis(20),
    Duration::from_millis(80),
    Duration::from_millis(200),
    Duration::from_millis(400),
    Duration::from_millis(800),
];
/// Our changes of one database come one after the other, as in a SQLite file. Any number that others do not take.
const LOCK: &str = "SELECT pg_advisory_xact_lock(7885216034301)";

/// The server of a catalog.
pub(in super::super) struct Postgres {
    place: Place,
    pool: Pool,
    upgrade: bool,
    /// How long a connection, and then a statement, is waited for.
    connect_timeout: Duration,
    answer_timeout: Duration,
    /// What the tables are, once they have been looked at.
    version: RwLock<Option<Version>>,
}

impl Postgres {
    pub(super) fn new(options: &PostgresOptions, upgrade: bool) -> Result<Self> {
        let PostgresOptions { statement_timeout, connect_timeout, .. } = *options;
        let answer_timeout = statement_timeout + GRACE.min(statement_timeout / 2);
        let settings = Arc::new(options.settings(IDLE_TIMEOUT));
        let prepared = Hook::async_fn(move |connection, _| {
            let settings = Arc::clone(&settings);
            Box::pin(async move {
                // The pool has no limit for it.
                match tokio::time::timeout(connect_timeout, connection.batch_execute(&settings)).await {
                    Ok(done) => done.map_err(HookError::Backend),
                    Err(_) => Err(HookError::message("no answer")),
                }
            })
        });
        let pool = Pool::builder(Manager::new(options.config.clone(), options.tls.connector()?))
            .max_size(options.connections)
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(FREE_TIMEOUT))
            .create_timeout(Some(connect_timeout))
            .recycle_timeout(Some(connect_timeout))
            .post_create(prepared)
            .build()
            .map_err(|error| Error::internal("the connections to PostgreSQL cannot be set up").with_source(error))?;
        Ok(Self { place: options.place.clone(), pool, upgrade, connect_timeout, answer_timeout, version: RwLock::new(None) })
    }

    /// Runs statements until they are committed. A failure that left nothing behind and may pass is followed by another attempt.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        access: Access,
        work: impl Fn(&Connection<'_>, Version) -> Result<T, Fault> + Send + Sync + 'static,
    ) -> Result<T, Fault> {
        let work = Arc::new(work);
        let mut waits = WAITS.iter();
        loop {
            let fault = match self.attempt(access, Arc::clone(&work)).await {
                Ok(result) => return Ok(result),
                Err(fault) => fault,
            };
            let Fault::Postgres(refusal) = &fault else { return Err(fault) };
            if refusal.broke_connection() {
                // The others are of the same server: what it has closed is not tried one after the other.
                self.pool.retain(|_, _| false);
            }
            if refusal.lacks_table() {
                *self.version.write() = None;
            }
            match waits.next() {
                Some(wait) if refusal.may_pass() => {
                    tracing::debug!(server = %self.place.server, ?refusal, "statements of a catalog run again");
                    tokio::time::sleep(wait.mul_f64(0.5 + rand::random::<f64>())).await;
                }
                _ => return Err(fault),
            }
        }
    }

    pub(super) fn error(&self, operation: &str, refusal: Refusal) -> Error {
        refusal.into_error(&self.place, operation)
    }

    async fn attempt<T: Send + 'static>(
        &self,
        access: Access,
        work: Arc<impl Fn(&Connection<'_>, Version) -> Result<T, Fault> + Send + Sync + 'static>,
    ) -> Result<T, Fault> {
        let version = self.version().await?;
        self.transact(access, move |connection| work(connection, version)).await
    }

    /// Which tables there are. Those that are missing are made.
    async fn version(&self) -> Result<Version, Fault> {
        let known = *self.version.read();
        if let Some(version) = known {
            return Ok(version);
        }
        let upgrade = self.upgrade;
        let found = self.transact(Access::Read, find_version).await?;
        let version = match found {
            // One that may not make tables can use those that are there.
            Some(version) if version == Version::V1 || !upgrade => version,
            _ => self.transact(Access::Change, move |connection| make_tables(connection, upgrade)).await?,
        };
        *self.version.write() = Some(version);
        Ok(version)
    }

    async fn transact<T: Send + 'static>(
        &self,
        access: Access,
        work: impl FnOnce(&Connection<'_>) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Fault> {
        let client = self.pool.get().await.map_err(|error| Refusal::connecting(error, self.connect_timeout))?;
        let waiting = Waiting { handle: Handle::current(), limit: self.answer_timeout };
        // On a thread that may block, as SQLite's: the statements are the same. There are no more such threads than connections.
        let ran = tokio::task::spawn_blocking(move || {
            let mut client = client;
            let ran = transaction(&waiting, &mut client, access, work);
            if let Err(Fault::Postgres(refusal)) = &ran
                && refusal.broke_connection()
            {
                drop(Object::take(client));
            }
            ran
        });
        ran.await.unwrap_or_else(|lost| Err(Fault::Lost(lost)))
    }
}

impl fmt::Debug for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}' of PostgreSQL at {}", self.place.database, self.place.server)
    }
}

/// How answers of the server are waited for, on a thread that may block.
pub(in super::super) struct Waiting {
    handle: Handle,
    limit: Duration,
}

impl Waiting {
    pub(super) fn wait_for<T>(&self, answer: impl Future<Output = Result<T, tokio_postgres::Error>>) -> Result<T, Refusal> {
        match self.handle.block_on(async { tokio::time::timeout(self.limit, answer).await }) {
            Ok(answer) => answer.map_err(Refusal::statement),
            Err(_) => Err(Refusal::silent(self.limit)),
        }
    }
}

fn transaction<T>(
    waiting: &Waiting,
    client: &mut Object,
    access: Access,
    work: impl FnOnce(&Connection<'_>) -> Result<T, Fault>,
) -> Result<T, Fault> {
    let builder = client.build_transaction();
    let builder = match access {
        Access::Read => builder.isolation_level(IsolationLevel::RepeatableRead).read_only(true),
        Access::Swap | Access::Change => builder.isolation_level(IsolationLevel::ReadCommitted).read_only(false),
    };
    let transaction = waiting.wait_for(builder.start())?;
    if access == Access::Change {
        waiting.wait_for(transaction.batch_execute(LOCK))?;
    }
    let result = work(&Connection::Postgres { waiting, transaction: &transaction })?;
    // What was only read is given up when it is dropped; nobody waits for that.
    if access != Access::Read {
        waiting.wait_for(transaction.commit()).map_err(Refusal::at_commit)?;
    }
    Ok(result)
}

/// The version of the tables; `None` if one is missing.
fn find_version(connection: &Connection<'_>) -> Result<Option<Version>, Fault> {
    let sql = "SELECT attname::text FROM pg_attribute WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped";
    let tables = connection.query(sql, &["iceberg_tables"])?;
    if tables.is_empty() || connection.query(sql, &["iceberg_namespace_properties"])?.is_empty() {
        return Ok(None);
    }
    let has_type = tables.iter().flatten().flatten().any(|column| column == "iceberg_type");
    Ok(Some(if has_type { Version::V1 } else { Version::V0 }))
}

fn make_tables(connection: &Connection<'_>, upgrade: bool) -> Result<Version, Fault> {
    for table in TABLES {
        connection.execute(table, &[])?;
    }
    // The one that was missing may have been the other one.
    match find_version(connection)? {
        Some(Version::V0) if upgrade => {
            connection.execute(UPGRADE_V0, &[])?;
            Ok(Version::V1)
        }
        version => Ok(version.unwrap_or(Version::V1)),
    }
}
