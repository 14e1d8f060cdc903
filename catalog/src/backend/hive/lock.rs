//! A lock of the metastore on one table, as Iceberg's `MetastoreLock` takes it: writers that take it change the table one after the other. The metastore hears from time to time that
//! we still have it, and gives it to others when it hears nothing for too long.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nunatak_core::{Code, Error, Result, Retry};
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::client::{Client, Fault};
use super::method;
use super::value::{Fields, Value};
use crate::table::TableName;

/// Kinds, levels and states of `hive_metastore.thrift`.
const EXCLUSIVE: i32 = 3;
const OF_TABLE: i32 = 2;
const ACQUIRED: i64 = 1;
const WAITING: i64 = 2;

/// How much longer each wait is than the one before.
const GROWTH: f64 = 1.5;
/// How often, and with how much time between, a lock is given back to a metastore that does not answer.
const RELEASES_MAX: u32 = 60;
const RELEASE_WAIT: Duration = Duration::from_secs(1);

/// A lock that we have.
pub(super) struct Lock {
    client: Client,
    table: TableName,
    id: i64,
    is_lost: Arc<AtomicBool>,
    heartbeats: JoinHandle<()>,
}

impl Lock {
    /// Waits for the lock of a table.
    ///
    /// Errors: `TRANSACTION_CONFLICT` if somebody else has it for too long.
    pub(super) async fn acquire(client: &Client, table: &TableName) -> Result<Self> {
        let agent = format!("nunatak-{}", Uuid::new_v4());
        let operation = format!("lock table '{table}'");
        let (id, state) = match client.call(&method::LOCK, &operation, request(client, table, &agent)).await {
            Ok(answer) => response(&answer, &operation)?,
            Err(fault) => {
                let was_sent = matches!(fault, Fault::Lost(_));
                if was_sent {
                    forsake(client, table, &agent).await;
                }
                return Err(fault.into_error());
            }
        };
        if let Err(error) = wait(client, table, id, state).await {
            release(client, table, id).await;
            return Err(error);
        }
        let is_lost = Arc::new(AtomicBool::new(false));
        let heartbeats = tokio::spawn(send_heartbeats(client.clone(), table.clone(), id, Arc::clone(&is_lost)));
        Ok(Self { client: client.clone(), table: table.clone(), id, is_lost, heartbeats })
    }

    /// That we still have it.
    ///
    /// Errors: `TRANSACTION_CONFLICT`.
    pub(super) fn check(&self) -> Result<()> {
        match self.is_lost.load(Ordering::Acquire) {
            false => Ok(()),
            true => Err(Error::new(Code::TransactionConflict, format!("the lock of table '{}' was lost before it was changed", self.table))
                .with_hint("see that hive.lock-heartbeat-interval-ms is below the metastore's metastore.txn.timeout; run the statement again")
                .with_retry(Retry::Query)),
        }
    }

    /// Gives it back.
    pub(super) async fn release(self) {
        self.heartbeats.abort();
        release(&self.client, &self.table, self.id).await;
    }
}

impl Drop for Lock {
    /// Where it is not given back, since its writer has come to grief, it is at least not kept for ever.
    fn drop(&mut self) {
        self.heartbeats.abort();
    }
}

fn request(client: &Client, table: &TableName, agent: &str) -> Fields {
    let component = Fields::new().with(1, EXCLUSIVE).with(2, OF_TABLE).with(3, table.namespace.as_str()).with(4, table.table.as_str());
    let host = std::env::var("HOSTNAME").unwrap_or_else(|_| String::from("localhost"));
    let lock = Fields::new().with(1, Value::structs([component])).with(3, client.options().user.as_str()).with(4, host).with(5, agent);
    Fields::new().with(1, lock)
}

/// The id and the state in a `LockResponse`.
fn response(answer: &Fields, operation: &str) -> Result<(i64, i64)> {
    let state = answer.fields(0).and_then(|response| Some((response.number(1)?, response.number(2)?)));
    state.ok_or_else(|| Error::internal(format!("cannot {operation}: the metastore has given no lock and no reason")))
}

/// Waits until a lock is ours.
async fn wait(client: &Client, table: &TableName, id: i64, mut state: i64) -> Result<()> {
    let (options, began, operation) = (client.options().lock, Instant::now(), format!("lock table '{table}'"));
    let mut pause = options.check_min;
    loop {
        match state {
            ACQUIRED => return Ok(()),
            WAITING if began.elapsed() < options.timeout => {}
            WAITING => return Err(taken(table, options.timeout)),
            other => return Err(Error::new(Code::IcebergCatalogError, format!("cannot {operation}: the metastore has given it up (state {other})"))),
        }
        // Those who wait for one lock are not to ask together.
        tokio::time::sleep(pause.mul_f64(0.75 + rand::random::<f64>() / 2.0)).await;
        pause = pause.mul_f64(GROWTH).min(options.check_max).max(options.check_min);
        let answer = client.call(&method::CHECK_LOCK, &operation, Fields::new().with(1, Fields::new().with(1, id))).await;
        state = response(&answer.map_err(Fault::into_error)?, &operation)?.1;
    }
}

fn taken(table: &TableName, waited: Duration) -> Error {
    Error::new(Code::TransactionConflict, format!("another writer has had the lock of table '{table}' for {} s", waited.as_secs_f64()))
        .with_hint("if that writer is gone, the metastore gives its lock up after metastore.txn.timeout; hive.lock-timeout-ms is how long is waited")
        .with_retry(Retry::Query)
}

async fn send_heartbeats(client: Client, table: TableName, id: i64, is_lost: Arc<AtomicBool>) {
    loop {
        tokio::time::sleep(client.options().lock.heartbeat).await;
        let sent =
            client.call(&method::HEARTBEAT, &format!("keep the lock of table '{table}'"), Fields::new().with(1, Fields::new().with(1, id))).await;
        match sent {
            Ok(_) => {}
            Err(Fault::Said { error, .. }) => {
                tracing::warn!(%error, table = %table, "the lock of a table was lost");
                is_lost.store(true, Ordering::Release);
                return;
            }
            Err(fault) => {
                let error = fault.into_error();
                tracing::warn!(%error, table = %table, "the metastore does not hear that a lock is still held");
            }
        }
    }
}

/// Gives a lock back. If the metastore does not answer, others would have to wait until it gives the lock up by itself: it is told as soon as it is back.
async fn release(client: &Client, table: &TableName, id: i64) {
    if try_release(client, table, id).await {
        return;
    }
    let (client, table) = (client.clone(), table.clone());
    tokio::spawn(async move {
        for _ in 0..RELEASES_MAX {
            tokio::time::sleep(RELEASE_WAIT).await;
            if try_release(&client, &table, id).await {
                return;
            }
        }
        tracing::warn!(table = %table, "the lock of a table was left behind; the metastore gives it up after metastore.txn.timeout");
    });
}

/// Whether the metastore has heard it. One that knows of no such lock has given it up before.
async fn try_release(client: &Client, table: &TableName, id: i64) -> bool {
    let arguments = Fields::new().with(1, Fields::new().with(1, id));
    match client.call(&method::UNLOCK, &format!("unlock table '{table}'"), arguments).await {
        Ok(_) | Err(Fault::Said { .. }) => true,
        Err(fault) => {
            let error = fault.into_error();
            tracing::warn!(%error, table = %table, "the lock of a table was not given back yet");
            false
        }
    }
}

/// Gives back the lock of a request whose answer never came, if it was made.
async fn forsake(client: &Client, table: &TableName, agent: &str) {
    let request = Fields::new().with(1, table.namespace.as_str()).with(2, table.table.as_str());
    let shown = client.call(&method::SHOW_LOCKS, &format!("find the lock of table '{table}'"), Fields::new().with(1, request)).await;
    let ids: Vec<i64> = match &shown {
        Ok(answer) => answer.fields(0).map(|shown| locks_of(shown, agent)).unwrap_or_default(),
        Err(_) => Vec::new(),
    };
    for id in ids {
        release(client, table, id).await;
    }
}

/// The ids of an agent's locks in a `ShowLocksResponse`.
fn locks_of(shown: &Fields, agent: &str) -> Vec<i64> {
    let locks = shown.list(1).iter().filter_map(|lock| if let Value::Struct(lock) = lock { Some(lock) } else { None });
    locks.filter(|lock| lock.text(13) == Some(agent)).filter_map(|lock| lock.number(1)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_locks_are_told_from_others() {
        let lock = |id: i64, agent: &str| Fields::new().with(1, id).with(13, agent);
        let shown = Fields::new().with(1, Value::structs([lock(1, "theirs"), lock(2, "ours"), Fields::new().with(1, 3i64)]));
        assert_eq!(locks_of(&shown, "ours"), [2]);
    }
}
