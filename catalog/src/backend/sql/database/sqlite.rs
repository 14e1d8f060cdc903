//! The connections to a SQLite file: one that reads and one that writes, used on threads that may block. Makes and upgrades the tables.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nunatak_core::{Code, Error, Result, Retry};
use rusqlite::{ErrorCode, Transaction, TransactionBehavior};

use super::{Access, Connection, Fault, TABLES, UPGRADE_V0, Version};

/// How long a statement waits for another process to let go of the file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(30);

/// The open SQLite file.
pub(in super::super) struct Sqlite {
    path: PathBuf,
    version: Version,
    /// Apart from the writer, so that a writer that waits for another process holds up no query.
    reader: Arc<Mutex<rusqlite::Connection>>,
    writer: Arc<Mutex<rusqlite::Connection>>,
}

impl Sqlite {
    pub(super) async fn open(path: PathBuf, upgrade: bool) -> Result<Self> {
        let opened = {
            let path = path.clone();
            tokio::task::spawn_blocking(move || open(&path, upgrade)).await
        };
        match opened {
            Ok(Ok((reader, writer, version))) => {
                Ok(Self { path, version, reader: Arc::new(Mutex::new(reader)), writer: Arc::new(Mutex::new(writer)) })
            }
            Ok(Err(Fault::Known(error))) => Err(error),
            Ok(Err(Fault::Sqlite(fault))) => Err(error(&path, fault)),
            Ok(Err(fault)) => Err(Error::internal(format!("catalog database '{}' cannot be opened: {fault:?}", path.display()))),
            Err(lost) => Err(Error::internal(format!("catalog database '{}' was left by the task that opened it", path.display())).with_source(lost)),
        }
    }

    pub(super) async fn run<T: Send + 'static>(
        &self,
        access: Access,
        work: impl FnOnce(&Connection<'_>, Version) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Fault> {
        let version = self.version;
        let (connection, behavior) = match access {
            Access::Read => (Arc::clone(&self.reader), TransactionBehavior::Deferred),
            Access::Swap | Access::Change => (Arc::clone(&self.writer), TransactionBehavior::Immediate),
        };
        let ran = tokio::task::spawn_blocking(move || {
            // A panic in another transaction rolled that one back; the connection is as good as before.
            let mut connection = connection.lock().unwrap_or_else(PoisonError::into_inner);
            let transaction = Transaction::new(&mut connection, behavior)?;
            let result = work(&Connection::Sqlite(&transaction), version)?;
            transaction.commit()?;
            Ok(result)
        });
        ran.await.unwrap_or_else(|lost| Err(Fault::Lost(lost)))
    }

    pub(super) fn error(&self, fault: rusqlite::Error) -> Error {
        error(&self.path, fault)
    }
}

impl fmt::Debug for Sqlite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}'", self.path.display())
    }
}

/// A statement with parameters as SQLite numbers them: `?1`.
pub(super) fn numbered(sql: &str) -> String {
    sql.replace('$', "?")
}

/// Whether it is certain that the database is as it was. An I/O error can come after the log was written.
pub(super) fn changed_nothing(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::ReadOnly | ErrorCode::ConstraintViolation)
    )
}

fn open(path: &Path, upgrade: bool) -> Result<(rusqlite::Connection, rusqlite::Connection, Version), Fault> {
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
    for table in TABLES {
        transaction.execute_batch(table)?;
    }
    let version = match has_iceberg_type(&transaction)? {
        true => Version::V1,
        false if upgrade => {
            transaction.execute_batch(UPGRADE_V0)?;
            Version::V1
        }
        false => Version::V0,
    };
    transaction.commit()?;
    Ok((connect(path)?, writer, version))
}

fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

fn connect(path: &Path) -> rusqlite::Result<rusqlite::Connection> {
    let connection = rusqlite::Connection::open(path)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    Ok(connection)
}

fn has_iceberg_type(connection: &rusqlite::Connection) -> rusqlite::Result<bool> {
    let sql = "SELECT count(*) FROM pragma_table_info('iceberg_tables') WHERE name = 'iceberg_type'";
    connection.query_row(sql, [], |row| Ok(row.get::<_, i64>(0)? > 0))
}

fn error(path: &Path, error: rusqlite::Error) -> Error {
    let failed = |what: &str| Error::new(Code::IcebergCatalogError, format!("catalog database '{}' {what}", path.display()));
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            failed("is locked by another process").with_hint("find the process that keeps a transaction open on it").with_retry(Retry::Query)
        }
        Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => failed("cannot be opened").with_hint("check the owner and mode of the file"),
        Some(ErrorCode::ReadOnly) => failed("is read-only").with_hint("check the owner and mode of the file and its folder"),
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => failed("is damaged or no SQLite database"),
        Some(ErrorCode::DiskFull) => failed("cannot grow: there is no space left"),
        _ => failed("failed"),
    }
    .with_source(error)
}
