//! The connections to the SQLite file: one that reads and one that writes, used on threads that may block. Makes and upgrades the tables.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nunatak_core::{Code, Error, Result, Retry};
use rusqlite::{Connection, ErrorCode, Transaction, TransactionBehavior};

/// How long a statement waits for another process to let go of the file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(30);

/// The tables of Java's `JdbcCatalog`, V1, to the letter.
const TABLES: &str = "
CREATE TABLE IF NOT EXISTS iceberg_tables (
    catalog_name VARCHAR(255) NOT NULL,
    table_namespace VARCHAR(255) NOT NULL,
    table_name VARCHAR(255) NOT NULL,
    metadata_location VARCHAR(1000),
    previous_metadata_location VARCHAR(1000),
    iceberg_type VARCHAR(5),
    PRIMARY KEY (catalog_name, table_namespace, table_name)
);
CREATE TABLE IF NOT EXISTS iceberg_namespace_properties (
    catalog_name VARCHAR(255) NOT NULL,
    namespace VARCHAR(255) NOT NULL,
    property_key VARCHAR(255) NOT NULL,
    property_value VARCHAR(1000) NOT NULL,
    PRIMARY KEY (catalog_name, namespace, property_key)
);";

/// What V0 lacks.
const UPGRADE_V0: &str = "ALTER TABLE iceberg_tables ADD COLUMN iceberg_type VARCHAR(5)";

/// The open SQLite file.
pub(super) struct Database {
    path: PathBuf,
    /// Apart from the writer, so that a writer that waits for another process holds up no query.
    reader: Arc<Mutex<Connection>>,
    writer: Arc<Mutex<Connection>>,
}

/// Why statements did not run to their end.
#[derive(Debug)]
pub(super) enum Fault {
    /// What the statements found out, in our words.
    Known(Error),
    /// SQLite failed.
    Sqlite(rusqlite::Error),
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

impl Fault {
    /// Whether it is certain that the database is as it was.
    pub(super) fn changed_nothing(&self) -> bool {
        match self {
            Self::Known(_) => true,
            Self::Lost(_) => false,
            // An I/O error can come after the log was written.
            Self::Sqlite(error) => matches!(
                error.sqlite_error_code(),
                Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::ReadOnly | ErrorCode::ConstraintViolation)
            ),
        }
    }
}

impl Database {
    pub(super) async fn open(path: PathBuf) -> Result<Self> {
        let opened = {
            let path = path.clone();
            tokio::task::spawn_blocking(move || open(&path)).await
        };
        match opened {
            Ok(Ok((reader, writer))) => Ok(Self { path, reader: Arc::new(Mutex::new(reader)), writer: Arc::new(Mutex::new(writer)) }),
            Ok(Err(fault)) => Err(error(&path, fault)),
            Err(lost) => Err(error(&path, Fault::Lost(lost))),
        }
    }

    /// Runs statements that change nothing, on one state of the database.
    pub(super) async fn read<T: Send + 'static>(&self, work: impl FnOnce(&Connection) -> Result<T, Fault> + Send + 'static) -> Result<T> {
        let ran = transact(&self.reader, TransactionBehavior::Deferred, work).await;
        ran.map_err(|fault| self.error(fault))
    }

    /// Runs statements in one transaction, which no other process can come between.
    pub(super) async fn write<T: Send + 'static>(&self, work: impl FnOnce(&Connection) -> Result<T, Fault> + Send + 'static) -> Result<T> {
        self.try_write(work).await.map_err(|fault| self.error(fault))
    }

    /// The same for those who need to know how it failed.
    pub(super) async fn try_write<T: Send + 'static>(&self, work: impl FnOnce(&Connection) -> Result<T, Fault> + Send + 'static) -> Result<T, Fault> {
        transact(&self.writer, TransactionBehavior::Immediate, work).await
    }

    /// Our error for a fault.
    pub(super) fn error(&self, fault: Fault) -> Error {
        error(&self.path, fault)
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())
    }
}

async fn transact<T: Send + 'static>(
    connection: &Arc<Mutex<Connection>>,
    behavior: TransactionBehavior,
    work: impl FnOnce(&Connection) -> Result<T, Fault> + Send + 'static,
) -> Result<T, Fault> {
    let connection = Arc::clone(connection);
    let ran = tokio::task::spawn_blocking(move || {
        // A panic in another transaction rolled that one back; the connection is as good as before.
        let mut connection = connection.lock().unwrap_or_else(PoisonError::into_inner);
        let transaction = Transaction::new(&mut connection, behavior)?;
        let result = work(&transaction)?;
        transaction.commit()?;
        Ok(result)
    });
    ran.await.unwrap_or_else(|lost| Err(Fault::Lost(lost)))
}

fn open(path: &Path) -> Result<(Connection, Connection), Fault> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(|error| crate::storage::error::from_io(error, &folder.to_string_lossy()))?;
    }
    let mut writer = connect(path)?;
    // Readers do not wait for writers. Where the file system cannot do it, SQLite stays with its old journal, and so do we; and when another
    // process has the file it is that one that sets it.
    match writer.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(())) {
        Err(error) if !is_busy(&error) => return Err(error.into()),
        _ => {}
    }
    // A commit that was reported must survive a power cut: the rows it names cannot be found otherwise.
    writer.execute_batch("PRAGMA synchronous = FULL")?;
    let transaction = writer.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute_batch(TABLES)?;
    if !has_iceberg_type(&transaction)? {
        transaction.execute_batch(UPGRADE_V0)?;
    }
    transaction.commit()?;
    Ok((connect(path)?, writer))
}

fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    Ok(connection)
}

fn has_iceberg_type(connection: &Connection) -> rusqlite::Result<bool> {
    let sql = "SELECT count(*) FROM pragma_table_info('iceberg_tables') WHERE name = 'iceberg_type'";
    connection.query_row(sql, [], |row| Ok(row.get::<_, i64>(0)? > 0))
}

fn error(path: &Path, fault: Fault) -> Error {
    let failed = |what: &str| Error::new(Code::IcebergCatalogError, format!("catalog database '{}' {what}", path.display()));
    match fault {
        Fault::Known(error) => error,
        Fault::Lost(lost) => failed("was left by the task that used it").with_source(lost),
        Fault::Sqlite(error) => match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                failed("is locked by another process").with_hint("find the process that keeps a transaction open on it").with_retry(Retry::Query)
            }
            Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => failed("cannot be opened").with_hint("check the owner and mode of the file"),
            Some(ErrorCode::ReadOnly) => failed("is read-only").with_hint("check the owner and mode of the file and its folder"),
            Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => failed("is damaged or no SQLite database"),
            Some(ErrorCode::DiskFull) => failed("cannot grow: there is no space left"),
            _ => failed("failed"),
        }
        .with_source(error),
    }
}
