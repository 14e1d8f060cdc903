//! The database behind a catalog: a SQLite file or a PostgreSQL server. Statements are the same for both; what differs is how a transaction is had, and how it fails.

mod options;
mod postgres;
mod refusal;
mod sqlite;
mod tls;

use std::fmt;

use nunatak_core::{Code, Error, Result};
use tokio_postgres::types::{ToSql, Type};

pub use self::options::{PostgresOptions, SqlDatabase};
use self::postgres::{Postgres, Waiting};
use self::refusal::Refusal;
use self::sqlite::Sqlite;
use crate::backend::names::NUL;

/// The tables of Java's `JdbcCatalog`, V1, to the letter.
const TABLES: [&str; 2] = [
    "CREATE TABLE IF NOT EXISTS iceberg_tables (
    catalog_name VARCHAR(255) NOT NULL,
    table_namespace VARCHAR(255) NOT NULL,
    table_name VARCHAR(255) NOT NULL,
    metadata_location VARCHAR(1000),
    previous_metadata_location VARCHAR(1000),
    iceberg_type VARCHAR(5),
    PRIMARY KEY (catalog_name, table_namespace, table_name)
)",
    "CREATE TABLE IF NOT EXISTS iceberg_namespace_properties (
    catalog_name VARCHAR(255) NOT NULL,
    namespace VARCHAR(255) NOT NULL,
    property_key VARCHAR(255) NOT NULL,
    property_value VARCHAR(1000) NOT NULL,
    PRIMARY KEY (catalog_name, namespace, property_key)
)",
];

/// What V0 lacks.
const UPGRADE_V0: &str = "ALTER TABLE iceberg_tables ADD COLUMN iceberg_type VARCHAR(5)";

/// A row of a result. All columns are text.
pub(super) type Row = Vec<Option<String>>;

/// Which of Java's two schemas the tables have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    /// Without `iceberg_type`: there are no views.
    V0,
    V1,
}

/// What statements are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// They change nothing, and see one state of the database.
    Read,
    /// One statement that holds whatever others do beside it.
    Swap,
    /// What they check still holds when they change something: those of our processes come one after the other.
    Change,
}

/// The open database.
pub(super) enum Database {
    Sqlite(Sqlite),
    Postgres(Postgres),
}

/// A transaction.
pub(super) enum Connection<'a> {
    Sqlite(&'a rusqlite::Connection),
    /// It is asynchronous, and the thread may block.
    Postgres {
        waiting: &'a Waiting,
        transaction: &'a deadpool_postgres::Transaction<'a>,
    },
}

/// Why statements did not run to their end.
#[derive(Debug)]
pub(super) enum Fault {
    /// What the statements found out, in our words.
    Known(Error),
    /// SQLite failed.
    Sqlite(rusqlite::Error),
    /// PostgreSQL failed, or was not reached.
    Postgres(Refusal),
    /// The thread stopped; whether the statements ran is not known.
    Lost(tokio::task::JoinError),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Known(error)
    }
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        Self::Postgres(refusal)
    }
}

impl Fault {
    /// Whether it is certain that the database is as it was.
    pub(super) fn changed_nothing(&self) -> bool {
        match self {
            Self::Known(_) => true,
            Self::Lost(_) => false,
            Self::Sqlite(error) => sqlite::changed_nothing(error),
            Self::Postgres(refusal) => refusal.changed_nothing(),
        }
    }
}

impl Database {
    /// Opens the file, or gets ready to ask the server: that one is asked for nothing before statements run. With `upgrade` tables of V0 become V1.
    pub(super) async fn open(options: SqlDatabase, upgrade: bool) -> Result<Self> {
        match options {
            SqlDatabase::Sqlite(path) => Sqlite::open(path, upgrade).await.map(Self::Sqlite),
            SqlDatabase::Postgres(options) => Postgres::new(&options, upgrade).map(Self::Postgres),
        }
    }

    /// Runs statements in one transaction. They may run more than once: until they were committed, or certainly fail.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        access: Access,
        work: impl Fn(&Connection<'_>, Version) -> Result<T, Fault> + Send + Sync + 'static,
    ) -> Result<T, Fault> {
        match self {
            Self::Sqlite(sqlite) => sqlite.run(access, work).await,
            Self::Postgres(postgres) => postgres.run(access, work).await,
        }
    }

    /// Our error for a fault of an operation such as `load table a.b`.
    pub(super) fn error(&self, operation: &str, fault: Fault) -> Error {
        match (self, fault) {
            (_, Fault::Known(error)) => error,
            (Self::Sqlite(sqlite), Fault::Sqlite(error)) => sqlite.error(error),
            (Self::Postgres(postgres), Fault::Postgres(refusal)) => postgres.error(operation, refusal),
            (_, Fault::Lost(lost)) => {
                Error::new(Code::IcebergCatalogError, format!("catalog database {self:?} was left by the task that used it")).with_source(lost)
            }
            // Neither makes the faults of the other.
            (_, Fault::Sqlite(_) | Fault::Postgres(_)) => Error::internal(format!("a fault of another kind than that of {self:?}")),
        }
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(sqlite) => fmt::Debug::fmt(sqlite, f),
            Self::Postgres(postgres) => fmt::Debug::fmt(postgres, f),
        }
    }
}

impl Connection<'_> {
    /// The rows of a query. `$1` is the first of `values`.
    pub(super) fn query(&self, sql: &str, values: &[&str]) -> Result<Vec<Row>, Fault> {
        match self {
            Self::Sqlite(connection) => {
                let mut statement = connection.prepare_cached(&sqlite::numbered(sql))?;
                let columns = statement.column_count();
                let texts = |row: &rusqlite::Row<'_>| (0..columns).map(|column| row.get(column)).collect::<rusqlite::Result<Row>>();
                let rows = statement.query_map(rusqlite::params_from_iter(values), texts)?;
                Ok(rows.collect::<rusqlite::Result<Vec<Row>>>()?)
            }
            // Nothing there is like it.
            Self::Postgres { .. } if values.iter().any(|value| value.contains(NUL)) => Ok(Vec::new()),
            Self::Postgres { waiting, transaction } => {
                let texts =
                    |row: &tokio_postgres::Row| (0..row.len()).map(|column| row.try_get(column)).collect::<Result<Row, tokio_postgres::Error>>();
                Ok(waiting.wait_for(async {
                    let rows = transaction.query_typed(sql, &typed(values)).await?;
                    rows.iter().map(texts).collect::<Result<Vec<Row>, tokio_postgres::Error>>()
                })?)
            }
        }
    }

    /// Runs a statement; gives the number of rows that it changed.
    pub(super) fn execute(&self, sql: &str, values: &[&str]) -> Result<u64, Fault> {
        match self {
            Self::Sqlite(connection) => {
                let changed = connection.prepare_cached(&sqlite::numbered(sql))?.execute(rusqlite::params_from_iter(values))?;
                Ok(changed as u64)
            }
            Self::Postgres { waiting, transaction } => {
                if let Some(value) = values.iter().find(|value| value.contains(NUL)) {
                    let shown = value.replace(NUL, "\\0");
                    return Err(Error::new(Code::InvalidArguments, format!("PostgreSQL keeps no text with a NUL character in it: '{shown}'")).into());
                }
                Ok(waiting.wait_for(async { transaction.execute_typed(sql, &typed(values)).await })?)
            }
        }
    }
}

/// Values with their types, so that a statement is not prepared before it runs: one message less, and it works through a PgBouncer too.
fn typed<'a>(values: &'a [&'a str]) -> Vec<(&'a (dyn ToSql + Sync), Type)> {
    values.iter().map(|value| (value as &(dyn ToSql + Sync), Type::TEXT)).collect()
}
