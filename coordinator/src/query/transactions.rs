//! Transactions, as Trino has them over Iceberg: each statement that writes is committed by itself, and cannot be part of one. What they give is one view of tables:
//! a table is for the whole transaction as it was when it was read first.
//!
//! They are kept in the coordinator that began them, and forgotten when their clients have run nothing in them for too long.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime};

use arrow::array::RecordBatch;
use futures::{Stream, StreamExt};
use nunatak_core::expiring::lock;
use nunatak_core::{Code, Error, Result};
use nunatak_engine::sql::statement::TransactionModes;
use nunatak_engine::sql::{PinnedTables, Statement, parts};
use uuid::Uuid;

use super::{InTransaction, RowStream, Session};

/// Transactions at once.
const TRANSACTIONS_MAX: usize = 10_000;

/// The transactions of a coordinator. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Transactions(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    idle_max: Duration,
    all: Mutex<HashMap<Uuid, Transaction>>,
}

#[derive(Debug)]
struct Transaction {
    user: String,
    modes: TransactionModes,
    begun: SystemTime,
    /// When the last of its statements began or ended.
    used: Instant,
    /// Statements that run in it.
    running: usize,
    /// Whether one of its statements has failed.
    is_aborted: bool,
    pinned: PinnedTables,
}

/// What is told of a transaction.
#[derive(Clone, Debug)]
pub(crate) struct TransactionInfo {
    pub(crate) id: Uuid,
    pub(crate) modes: TransactionModes,
    pub(crate) begun: SystemTime,
    pub(crate) idle: Duration,
}

/// A statement that runs in a transaction, until it is dropped. Unless it has come to its end by then it has failed or was cancelled, and its transaction is aborted.
#[derive(Debug)]
pub(super) struct Inside {
    transactions: Transactions,
    id: Uuid,
    has_ended: bool,
}

impl Transactions {
    /// None yet. They are forgotten after being idle for `idle_max`.
    pub(super) fn new(idle_max: Duration) -> Self {
        Self(Arc::new(Inner { idle_max, all: Mutex::default() }))
    }

    /// Those that there are, without the ones that were idle for too long.
    fn alive(&self, now: Instant) -> MutexGuard<'_, HashMap<Uuid, Transaction>> {
        let mut all = lock(&self.0.all);
        all.retain(|_, known| known.running > 0 || now.saturating_duration_since(known.used) < self.0.idle_max);
        all
    }

    /// Begins one. Errors: `GENERIC_INSUFFICIENT_RESOURCES`.
    pub(crate) fn begin(&self, user: &str, modes: TransactionModes) -> Result<Uuid> {
        let now = Instant::now();
        let mut all = self.alive(now);
        if all.len() >= TRANSACTIONS_MAX {
            let full = Error::new(Code::GenericInsufficientResources, format!("there are {TRANSACTIONS_MAX} transactions already"));
            return Err(full.with_hint("end some, or try again later"));
        }
        let id = Uuid::new_v4();
        let transaction = Transaction {
            user: user.to_owned(),
            modes,
            begun: SystemTime::now(),
            used: now,
            running: 0,
            is_aborted: false,
            pinned: PinnedTables::default(),
        };
        all.insert(id, transaction);
        Ok(id)
    }

    /// Ends one. Whether a statement of it had failed; `None` if it is not known.
    pub(crate) fn end(&self, id: Uuid, user: &str) -> Option<bool> {
        let mut all = self.alive(Instant::now());
        all.get(&id).filter(|known| known.user == user)?;
        all.remove(&id).map(|ended| ended.is_aborted)
    }

    /// Those that there are, the oldest first.
    pub(crate) fn all(&self) -> Vec<TransactionInfo> {
        let now = Instant::now();
        let info = |(id, known): (&Uuid, &Transaction)| {
            let idle = if known.running > 0 { Duration::ZERO } else { now.saturating_duration_since(known.used) };
            TransactionInfo { id: *id, modes: known.modes, begun: known.begun, idle }
        };
        let mut all: Vec<TransactionInfo> = self.alive(now).iter().map(info).collect();
        all.sort_by_key(|transaction| transaction.begun);
        all
    }

    /// The tables that the transaction of a session has read.
    pub(crate) fn pinned(&self, session: &Session) -> Option<PinnedTables> {
        let InTransaction::Yes(id) = session.transaction else { return None };
        lock(&self.0.all).get(&id).map(|known| known.pinned.clone())
    }

    /// Takes a statement into the transaction of its session, if that is in one. A statement that cannot be in it aborts it.
    ///
    /// Errors: `UNKNOWN_TRANSACTION`, `TRANSACTION_ALREADY_ABORTED`, `READ_ONLY_VIOLATION`, `AUTOCOMMIT_WRITE_CONFLICT`, and `NOT_SUPPORTED` for procedures and
    /// transactions within it.
    pub(super) fn enter(&self, session: &Session, statement: &Statement) -> Result<Option<Inside>> {
        let InTransaction::Yes(id) = session.transaction else { return Ok(None) };
        // They are there for those that have failed, too.
        if matches!(statement, Statement::Commit | Statement::Rollback) {
            return Ok(None);
        }
        let now = Instant::now();
        let mut all = self.alive(now);
        let Some(known) = all.get_mut(&id).filter(|known| known.user == session.user) else {
            return Err(match statement {
                Statement::StartTransaction(_) => nested(),
                _ => unknown(id),
            });
        };
        if known.is_aborted {
            let aborted =
                Error::new(Code::TransactionAlreadyAborted, "a statement of this transaction has failed, and others are not run in it any more");
            return Err(aborted.with_hint("ROLLBACK"));
        }
        if let Some(refused) = refused(session, statement, known.modes) {
            known.is_aborted = true;
            return Err(refused);
        }
        (known.running, known.used) = (known.running + 1, now);
        Ok(Some(Inside { transactions: self.clone(), id, has_ended: false }))
    }
}

/// The error for a transaction that is not known.
pub(crate) fn unknown(id: Uuid) -> Error {
    Error::new(Code::UnknownTransaction, format!("transaction {id} is not known: it has ended, has expired, or is one of another coordinator"))
        .with_hint("ROLLBACK")
}

/// The error for a transaction within another.
pub(crate) fn nested() -> Error {
    Error::not_supported("nested transactions are not supported").with_hint("COMMIT or ROLLBACK first")
}

/// Why a statement cannot be in a transaction.
fn refused(session: &Session, statement: &Statement, modes: TransactionModes) -> Option<Error> {
    match statement {
        Statement::StartTransaction(_) => Some(nested()),
        Statement::Call(_) => {
            let error = Error::not_supported("procedures within a transaction are not supported: each commits its changes by itself");
            Some(error.with_hint("call them with autocommit"))
        }
        written if written.writes() && modes.read_only => Some(Error::new(Code::ReadOnlyViolation, "a read-only transaction cannot write")),
        written if written.writes() => {
            let catalog = written_catalog(session, written);
            let error = Error::new(Code::AutocommitWriteConflict, format!("catalog '{catalog}' only supports writes using autocommit"));
            Some(error.with_hint("ROLLBACK, and run the statement outside of a transaction"))
        }
        _ => None,
    }
}

fn written_catalog(session: &Session, statement: &Statement) -> String {
    let named = match statement {
        Statement::CreateSchema { name, .. } | Statement::DropSchema { name, .. } => Some(parts(name)).filter(|parts| parts.len() == 2),
        other => other.target().map(parts).filter(|parts| parts.len() == 3),
    };
    named.and_then(|parts| parts.into_iter().next()).unwrap_or_else(|| session.catalog.clone())
}

impl Inside {
    /// The statement has failed, and so has its transaction.
    fn abort(&self) {
        if let Some(known) = lock(&self.transactions.0.all).get_mut(&self.id) {
            known.is_aborted = true;
        }
    }

    /// The rows of the statement, which is in the transaction until they end or are dropped.
    pub(super) fn watch(self, rows: RowStream) -> RowStream {
        Box::pin(Watched { rows, inside: self })
    }
}

/// The rows of a statement that runs in a transaction.
struct Watched {
    rows: RowStream,
    inside: Inside,
}

impl Stream for Watched {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let polled = self.rows.poll_next_unpin(context);
        match &polled {
            Poll::Ready(None) => self.inside.has_ended = true,
            Poll::Ready(Some(Err(_))) => self.inside.abort(),
            _ => {}
        }
        polled
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        if let Some(known) = lock(&self.transactions.0.all).get_mut(&self.id) {
            (known.running, known.used) = (known.running.saturating_sub(1), Instant::now());
            known.is_aborted |= !self.has_ended;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::stream;
    use nunatak_engine::sql::parse;

    use super::*;

    fn session(transaction: InTransaction) -> Session {
        Session { transaction, ..Session::new("ada", "lake", Some("s".to_owned())) }
    }

    fn enter(transactions: &Transactions, id: Uuid, sql: &str) -> Result<Option<Inside>> {
        transactions.enter(&session(InTransaction::Yes(id)), &parse(sql)?)
    }

    fn code(entered: Result<Option<Inside>>) -> Option<Code> {
        entered.err().map(|error| error.code())
    }

    #[test]
    fn what_fails_aborts() {
        let transactions = Transactions::new(Duration::from_secs(60));
        for (sql, refused) in [
            ("INSERT INTO lake.s.t VALUES (1)", Code::AutocommitWriteConflict),
            ("EXPLAIN DELETE FROM t", Code::AutocommitWriteConflict),
            ("CALL lake.system.optimize('s', 't')", Code::NotSupported),
            ("START TRANSACTION", Code::NotSupported),
        ] {
            let id = transactions.begin("ada", TransactionModes::default()).unwrap();
            assert_eq!(code(enter(&transactions, id, sql)), Some(refused), "{sql}");
            assert_eq!(code(enter(&transactions, id, "SELECT 1")), Some(Code::TransactionAlreadyAborted));
            assert_eq!(code(enter(&transactions, id, "ROLLBACK")), None);
            assert_eq!((transactions.end(id, "bob"), transactions.end(id, "ada"), transactions.end(id, "ada")), (None, Some(true), None));
            assert_eq!(code(enter(&transactions, id, "SELECT 1")), Some(Code::UnknownTransaction));
        }
        let id = transactions.begin("ada", TransactionModes { read_only: true, ..TransactionModes::default() }).unwrap();
        assert_eq!(code(enter(&transactions, id, "DROP TABLE t")), Some(Code::ReadOnlyViolation));
        assert!(transactions.enter(&session(InTransaction::No), &parse("DROP TABLE t").unwrap()).is_ok_and(|inside| inside.is_none()));
    }

    #[tokio::test]
    async fn what_is_cancelled_aborts() {
        let transactions = Transactions::new(Duration::from_secs(60));
        let id = transactions.begin("ada", TransactionModes::default()).unwrap();
        let inside = || enter(&transactions, id, "SELECT 1").unwrap().unwrap();
        let mut rows = inside().watch(stream::empty().boxed());
        assert!(rows.next().await.is_none());
        drop(rows);
        assert_eq!(code(enter(&transactions, id, "COMMIT")), None);
        let mut rows = inside().watch(stream::pending().boxed());
        assert!(futures::poll!(rows.next()).is_pending());
        drop(rows);
        assert_eq!(code(enter(&transactions, id, "SELECT 1")), Some(Code::TransactionAlreadyAborted));
        // One that is still planned, too.
        let id = transactions.begin("ada", TransactionModes::default()).unwrap();
        drop(enter(&transactions, id, "SELECT 1").unwrap());
        assert_eq!(code(enter(&transactions, id, "SELECT 1")), Some(Code::TransactionAlreadyAborted));
    }

    #[tokio::test]
    async fn those_that_are_idle_are_forgotten() {
        let transactions = Transactions::new(Duration::ZERO);
        let id = transactions.begin("ada", TransactionModes::default()).unwrap();
        assert_eq!((transactions.all().len(), transactions.end(id, "ada")), (0, None));
        let transactions = Transactions::new(Duration::from_millis(20));
        let id = transactions.begin("ada", TransactionModes::default()).unwrap();
        let inside = enter(&transactions, id, "SELECT 1").unwrap().unwrap();
        let mut rows = inside.watch(stream::iter([Err(Error::internal("it fails"))]).boxed());
        tokio::time::sleep(Duration::from_millis(40)).await;
        assert_eq!(transactions.all().len(), 1, "a statement runs in it");
        assert!(rows.next().await.is_some_and(|batch| batch.is_err()));
        assert_eq!(code(enter(&transactions, id, "SELECT 1")), Some(Code::TransactionAlreadyAborted));
        drop(rows);
        tokio::time::sleep(Duration::from_millis(40)).await;
        assert_eq!(transactions.all().len(), 0);
    }
}
