//! The cluster of which this coordinator is a member, and the table `system.nodes` that lists all of them.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arrow::array::{ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use async_trait::async_trait;
use nunatak_catalog::storage::{Storages, StoreUse, Used};
use nunatak_core::config::Etcd;
use nunatak_core::{Error, Result};
use nunatak_engine::sql::{RUNTIME_QUERIES, RUNTIME_TASKS, RUNTIME_TRANSACTIONS, SystemTables};
use nunatak_state::{
    CatalogFile, CatalogStore, ClusterState, CoordinatorMember, EmbeddedSessions, EmbeddedState, EtcdCatalogs, EtcdSessions, EtcdState, Membership,
    SESSION_IDLE_MAX, SessionStore, advertised_host, authority,
};
use tokio::sync::watch;
use tracing::warn;

use super::{Catalogs, Options, Queries, Transactions, runtime_tables};
use crate::jobs::maintenance::Journal;

/// How long a member is taken for alive after it was heard of last, where this process keeps the state. Heartbeats come each second.
const LEASE: Duration = Duration::from_secs(5);

/// The state of the cluster: in etcd, or in this process.
pub(super) async fn build_state(etcd: Option<&Etcd>) -> Result<Arc<dyn ClusterState>> {
    Ok(match etcd {
        Some(etcd) => EtcdState::start(etcd).await?,
        None => EmbeddedState::start(LEASE)?,
    })
}

/// The file in the data directory with the catalogs that statements have made.
const CATALOG_FILE: &str = "catalogs.json";

/// The catalogs that statements make: of all coordinators, or of this one in its data directory.
pub(super) async fn build_catalogs(etcd: Option<&Etcd>, data_dir: &Path) -> Result<Arc<dyn CatalogStore>> {
    let file = data_dir.join(CATALOG_FILE);
    Ok(match etcd {
        Some(etcd) => {
            if file.exists() {
                warn!(file = %file.display(), "catalogs that were made without etcd are not used: make them again");
            }
            Arc::new(EtcdCatalogs::start(etcd).await?)
        }
        None => Arc::new(CatalogFile::open(file)?),
    })
}

/// The sessions of clients: of all coordinators, or of this one.
pub(super) async fn build_sessions(etcd: Option<&Etcd>) -> Result<Arc<dyn SessionStore>> {
    Ok(match etcd {
        Some(etcd) => Arc::new(EtcdSessions::start(etcd, SESSION_IDLE_MAX).await?),
        None => Arc::new(EmbeddedSessions::new(SESSION_IDLE_MAX)),
    })
}

/// This process as a member. `cluster` is where its cluster service listens.
pub(super) async fn own_member(options: &Options, cluster: SocketAddr) -> CoordinatorMember {
    let etcd = options.etcd.as_ref();
    CoordinatorMember {
        id: uuid::Uuid::new_v4().simple().to_string(),
        host: host(cluster, etcd).await,
        port: cluster.port(),
        flight: authority(&host(options.flight, etcd).await, options.flight.port()),
        http: authority(&host(options.http, etcd).await, options.http.port()),
    }
}

/// The host at which other members reach what listens at `bound`: of one that listens at all addresses, that from which etcd is reached.
async fn host(bound: SocketAddr, etcd: Option<&Etcd>) -> String {
    match etcd {
        Some(etcd) => advertised_host(bound, etcd.server()).await,
        None => bound.ip().to_string(),
    }
}

/// The tables of the schema `system`.
#[derive(Debug)]
pub(super) struct ServerTables {
    pub(super) journal: Arc<Journal>,
    pub(super) membership: watch::Receiver<Membership>,
    pub(super) storages: Arc<Storages>,
    /// Set when they are opened.
    pub(super) catalogs: Arc<OnceLock<Weak<Catalogs>>>,
    pub(super) queries: Queries,
    pub(super) transactions: Transactions,
}

#[async_trait]
impl SystemTables for ServerTables {
    fn names(&self) -> &[&'static str] {
        &["catalogs", "maintenance", "nodes", "storage"]
    }

    async fn table(&self, catalog: &str, name: &str) -> Option<Result<RecordBatch>> {
        match name {
            RUNTIME_QUERIES => Some(runtime_tables::queries(&self.queries.everywhere().await)),
            RUNTIME_TASKS => Some(runtime_tables::tasks(&self.queries.everywhere().await)),
            "maintenance" => self.journal.table(catalog, name).await,
            _ => self.of_this_process(name),
        }
    }
}

impl ServerTables {
    /// A table for which nobody is asked.
    fn of_this_process(&self, name: &str) -> Option<Result<RecordBatch>> {
        match name {
            "catalogs" => self.catalogs.get().and_then(Weak::upgrade).map(|all| catalogs(&all)),
            "nodes" => {
                let membership = self.membership.borrow();
                Some(nodes(&membership))
            }
            "storage" => Some(storage(&self.storages.uses())),
            RUNTIME_TRANSACTIONS => Some(runtime_tables::transactions(&self.transactions.all())),
            _ => None,
        }
    }
}

/// A row of `system.nodes`.
struct Node<'a> {
    id: &'a str,
    role: &'static str,
    address: String,
    flight: Option<&'a str>,
    http: Option<&'a str>,
    state: &'static str,
    leads: Option<bool>,
    slots: Option<i64>,
    memory_bytes: Option<i64>,
}

/// All members as rows: coordinators first.
fn nodes(membership: &Membership) -> Result<RecordBatch> {
    let coordinators = membership.coordinators.iter().map(|coordinator| Node {
        id: &coordinator.id,
        role: "coordinator",
        address: coordinator.address(),
        flight: Some(&coordinator.flight),
        http: Some(&coordinator.http),
        state: "ACTIVE",
        leads: Some(membership.leader.as_ref() == Some(&coordinator.id)),
        slots: None,
        memory_bytes: None,
    });
    let executors = membership.executors.iter().map(|joined| Node {
        id: &joined.executor.id,
        role: "executor",
        address: joined.executor.address(),
        flight: None,
        http: None,
        state: if joined.executor.draining { "DRAINING" } else { "ACTIVE" },
        leads: None,
        slots: i64::try_from(joined.executor.slots).ok(),
        memory_bytes: i64::try_from(joined.executor.memory_bytes).ok(),
    });
    let nodes: Vec<Node<'_>> = coordinators.chain(executors).collect();
    let columns: [(&str, ArrayRef); 9] = [
        ("node_id", Arc::new(StringArray::from_iter_values(nodes.iter().map(|node| node.id)))),
        ("role", Arc::new(StringArray::from_iter_values(nodes.iter().map(|node| node.role)))),
        ("address", Arc::new(StringArray::from_iter_values(nodes.iter().map(|node| node.address.as_str())))),
        ("flight", Arc::new(nodes.iter().map(|node| node.flight).collect::<StringArray>())),
        ("http", Arc::new(nodes.iter().map(|node| node.http).collect::<StringArray>())),
        ("state", Arc::new(StringArray::from_iter_values(nodes.iter().map(|node| node.state)))),
        ("leader", Arc::new(nodes.iter().map(|node| node.leads).collect::<BooleanArray>())),
        ("slots", Arc::new(nodes.iter().map(|node| node.slots).collect::<Int64Array>())),
        ("memory_bytes", Arc::new(nodes.iter().map(|node| node.memory_bytes).collect::<Int64Array>())),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true)))
        .map_err(|error| Error::internal("the members make no rows").with_source(error))
}

/// The catalogs with what this process knows of their health.
fn catalogs(catalogs: &Catalogs) -> Result<RecordBatch> {
    let engine = catalogs.engine();
    let all: Vec<_> = engine.catalogs().map(|(name, catalog)| (name, catalogs.type_of(name), engine.health().of(catalog))).collect();
    let micros = |time: SystemTime| time.duration_since(UNIX_EPOCH).ok().and_then(|since| i64::try_from(since.as_micros()).ok());
    let since: TimestampMicrosecondArray = all.iter().map(|(_, _, health)| health.since.and_then(micros)).collect();
    let columns: [(&str, ArrayRef); 5] = [
        ("catalog", Arc::new(StringArray::from_iter_values(all.iter().map(|(name, ..)| name)))),
        ("type", Arc::new(all.iter().map(|(_, kind, _)| *kind).collect::<StringArray>())),
        ("state", Arc::new(StringArray::from_iter_values(all.iter().map(|(_, _, health)| health.state.name())))),
        ("since", Arc::new(since.with_timezone("UTC"))),
        ("last_error", Arc::new(all.iter().map(|(_, _, health)| health.last_error.as_deref()).collect::<StringArray>())),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true)))
        .map_err(|error| Error::internal("the catalogs make no rows").with_source(error))
}

/// What this process has asked of each store so far, by store. Two storages of different properties that reach the same one have a row each, which names its catalogs.
fn storage(uses: &[Used]) -> Result<RecordBatch> {
    let numbers = |number: fn(&StoreUse) -> u64| {
        Arc::new(Int64Array::from_iter_values(uses.iter().map(|used| i64::try_from(number(&used.numbers)).unwrap_or(i64::MAX)))) as ArrayRef
    };
    let mean_ms = uses.iter().map(|Used { numbers: used, .. }| (used.requests > 0).then(|| used.micros as f64 / 1e3 / used.requests as f64));
    let catalogs = uses.iter().map(|used| (!used.catalogs.is_empty()).then(|| used.catalogs.join(", ")));
    let columns: [(&str, ArrayRef); 7] = [
        ("store", Arc::new(StringArray::from_iter_values(uses.iter().map(|used| &used.store)))),
        ("catalogs", Arc::new(catalogs.collect::<StringArray>())),
        ("requests", numbers(|used| used.requests)),
        ("errors", numbers(|used| used.errors)),
        ("bytes_read", numbers(|used| used.bytes_read)),
        ("bytes_written", numbers(|used| used.bytes_written)),
        ("mean_ms", Arc::new(mean_ms.collect::<Float64Array>())),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true)))
        .map_err(|error| Error::internal("what was asked of stores makes no rows").with_source(error))
}

#[cfg(test)]
mod tests {
    use arrow::array::{Array, AsArray};
    use nunatak_state::{ExecutorMember, Joined};

    use super::*;

    #[test]
    fn all_members_are_rows() {
        let coordinator = |id: &str| CoordinatorMember { id: id.into(), host: "::1".into(), port: 7, flight: "h:8".into(), http: "h:9".into() };
        let executor = ExecutorMember { id: "e".into(), host: "h".into(), port: 1, slots: 2, memory_bytes: 3, draining: true };
        let membership = Membership {
            executors: vec![Joined { executor, number: 1 }],
            departures: 0,
            coordinators: vec![coordinator("a"), coordinator("b")],
            leader: Some("b".into()),
        };
        let rows = nodes(&membership).unwrap();
        let texts =
            |column: usize| rows.column(column).as_string::<i32>().iter().map(Option::unwrap_or_default).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(texts(0), ["a", "b", "e"]);
        assert_eq!(texts(2), ["[::1]:7", "[::1]:7", "h:1"]);
        assert_eq!(texts(5), ["ACTIVE", "ACTIVE", "DRAINING"]);
        let leads = rows.column(6).as_boolean();
        assert!(!leads.value(0) && leads.value(1) && leads.is_null(2));
        assert_eq!(nodes(&Membership::default()).unwrap().num_rows(), 0);
    }
}
