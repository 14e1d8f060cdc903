//! Keeps tables in order that opt in, by a property of their own or by the configuration: looks at them from time to time, and runs the procedures that they need, in
//! quiet hours and within a budget. What was done, and why, is in the table `system.maintenance`.

mod due;
mod health;
mod journal;

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use async_trait::async_trait;
use chrono::{Timelike, Utc};
use futures::TryStreamExt;
use nunatak_catalog::properties::flag;
use nunatak_catalog::{Catalog, Table, TableName};
use nunatak_core::Result;
use nunatak_core::config::{Etcd, QuietHours, TablePattern};
use nunatak_core::id::QueryId;
use nunatak_engine::sql::SystemTables;
use nunatak_state::EtcdJournal;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use self::due::{Known, due};
use self::health::{Need, needs};
pub(crate) use self::journal::Journal;
use self::journal::{Entry, OwnJournal};
use crate::query::{Coordinator, Request};

/// The property by which a table says whether it is looked after, whatever the configuration says.
const ENABLED: &str = "nunatak.maintenance.enabled";

/// The user whose queries these are.
const USER: &str = "nunatak";

/// How many bytes a query writes again before the hours and the budget are looked at anew.
const STEP_BYTES_MAX: u64 = 16 << 30;

/// After a failure a table is left alone for so long.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(60 * 60);

/// The time over which the budget goes.
const BUDGET_PERIOD_MS: i64 = 24 * 60 * 60 * 1000;

/// How tables are looked after.
#[derive(Clone, Debug)]
pub struct Options {
    /// How often they are looked at.
    pub interval: Duration,
    /// The tables that are looked after without a property of their own.
    pub tables: Vec<TablePattern>,
    /// When they are put in order; `None` for always.
    pub quiet_hours: Option<QuietHours>,
    /// Bytes of data files that may be written again within 24 hours.
    pub budget_bytes: u64,
}

/// What was done so far, for `system.maintenance`: by all coordinators, or by this one.
///
/// Errors: `CONFIGURATION_INVALID` if what is in the data directory cannot be read, `CLUSTER_STATE_UNAVAILABLE`.
pub(crate) async fn open(etcd: Option<&Etcd>, data_dir: &Path) -> Result<Arc<Journal>> {
    Ok(Arc::new(match etcd {
        Some(etcd) => Journal::Shared(EtcdJournal::start(etcd).await?),
        None => Journal::Own(OwnJournal::open(data_dir.join("maintenance.jsonl"))?),
    }))
}

/// Checks the value of one of a table's properties, if it is one that says when the table is put in order.
///
/// Errors: `INVALID_TABLE_PROPERTY`.
pub(crate) fn check_property(properties: &HashMap<String, String>, name: &str) -> Result<()> {
    match name {
        ENABLED => flag(properties, name, false).map(|_| ()),
        _ => health::check(properties, name),
    }
}

/// How often it is looked whether this coordinator still leads.
const LEADER_LOOK: Duration = Duration::from_millis(500);

/// Looks after tables until `shutdown`, while the coordinator leads the cluster.
pub async fn run(coordinator: Coordinator, options: Options, shutdown: CancellationToken) {
    let mut keeper = Keeper { coordinator, options, known: HashMap::new(), failed_ms: HashMap::new() };
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(keeper.options.interval) => {}
        }
        let Some(term) = keeper.coordinator.term() else { continue };
        let coordinator = keeper.coordinator.clone();
        // Dropping a round cancels the query that it waits for.
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = keeper.round(term) => {}
            () = no_longer_leads(&coordinator, term) => warn!("this coordinator does not lead any more; tables are left to the one that does"),
        }
    }
}

/// Waits for the end of a term.
async fn no_longer_leads(coordinator: &Coordinator, term: u64) {
    while coordinator.term() == Some(term) {
        tokio::time::sleep(LEADER_LOOK).await;
    }
}

#[async_trait]
impl SystemTables for Journal {
    fn names(&self) -> &[&'static str] {
        &["maintenance"]
    }

    async fn table(&self, catalog: &str, name: &str) -> Option<Result<RecordBatch>> {
        (name == "maintenance").then(|| self.rows(catalog))
    }
}

struct Keeper {
    coordinator: Coordinator,
    options: Options,
    /// What is known of tables, by catalog.
    known: HashMap<String, HashMap<TableName, Known>>,
    failed_ms: HashMap<(String, TableName), i64>,
}

impl Keeper {
    /// One look at all tables, within a term.
    async fn round(&mut self, term: u64) {
        self.coordinator.journal.give_up(term).await;
        let catalogs: Vec<Arc<dyn Catalog>> = self.coordinator.catalogs.engine().catalogs().map(|(_, catalog)| Arc::clone(catalog)).collect();
        for catalog in catalogs {
            if let Err(error) = self.look_at_all(catalog.as_ref(), term).await {
                warn!(%error, catalog = catalog.name(), "tables cannot be looked after");
            }
        }
    }

    async fn look_at_all(&mut self, catalog: &dyn Catalog, term: u64) -> Result<()> {
        if !self.is_quiet() {
            return Ok(());
        }
        let mut listed = Vec::new();
        for schema in catalog.namespace_names().await? {
            let tables = catalog.table_locations(&schema).await?;
            listed.extend(tables.into_iter().map(|(table, location)| (TableName::new(&schema, table), location)));
        }
        self.forget_others(catalog.name(), &listed);
        listed.retain(|(name, _)| !self.has_failed(catalog.name(), name));
        let due = self.known.get(catalog.name()).map_or_else(|| due(&listed, &HashMap::new(), now_ms()), |known| due(&listed, known, now_ms()));
        debug!(catalog = catalog.name(), tables = listed.len(), loaded = due.len(), "tables are looked at");
        for name in due {
            if !self.is_quiet() {
                return Ok(());
            }
            let key = (catalog.name().to_owned(), name.clone());
            match self.look_at(catalog, &name, term).await {
                Ok(()) => drop(self.failed_ms.remove(&key)),
                Err(error) => {
                    warn!(%error, catalog = catalog.name(), table = %name, "table cannot be put in order");
                    self.failed_ms.insert(key, now_ms());
                }
            }
        }
        Ok(())
    }

    /// Forgets the tables of a catalog that are gone.
    fn forget_others(&mut self, catalog: &str, listed: &[(TableName, Option<String>)]) {
        let there: HashSet<&TableName> = listed.iter().map(|(name, _)| name).collect();
        if let Some(known) = self.known.get_mut(catalog) {
            known.retain(|name, _| there.contains(name));
        }
        self.failed_ms.retain(|(other, name), _| other != catalog || there.contains(name));
    }

    /// Whether a table is left alone for a while.
    fn has_failed(&self, catalog: &str, name: &TableName) -> bool {
        let failed_ms = self.failed_ms.get(&(catalog.to_owned(), name.clone()));
        failed_ms.is_some_and(|failed_ms| is_younger(*failed_ms, PAUSE_AFTER_FAILURE))
    }

    fn is_quiet(&self) -> bool {
        self.options.quiet_hours.is_none_or(|hours| hours.contains(Utc::now().num_seconds_from_midnight() / 60))
    }

    /// Whether a table is looked after.
    fn is_kept(&self, table: &Table) -> bool {
        let is_named = self.options.tables.iter().any(|pattern| pattern.matches(&table.name.namespace, &table.name.table));
        flag(table.metadata.properties(), ENABLED, is_named).unwrap_or(false)
    }

    /// Looks at a table, and runs what it needs.
    async fn look_at(&mut self, catalog: &dyn Catalog, name: &TableName, term: u64) -> Result<()> {
        let mut done: HashMap<&str, f64> = HashMap::new();
        while let Some(table) = catalog.load_table(name).await? {
            let is_kept = self.is_kept(&table);
            let known = self.known.entry(catalog.name().to_owned()).or_default();
            let settled_ms = known.get(name).and_then(|known| known.settled_since(table.metadata_location.as_deref(), now_ms()));
            let seen = Known { location: table.metadata_location.clone(), is_kept, settled_ms, loaded_ms: now_ms() };
            known.insert(name.clone(), seen.clone());
            if !is_kept || settled_ms.is_some() {
                return Ok(());
            }
            let found = needs(&table, self.coordinator.engine(), now_ms()).await?;
            // What has not become less by what was done for it is as good as it gets.
            let helps = |need: &&Need| done.get(need.procedure).is_none_or(|before| need.measure < *before);
            let Some(need) = found.iter().find(helps) else {
                self.known.entry(catalog.name().to_owned()).or_default().insert(name.clone(), Known { settled_ms: Some(now_ms()), ..seen });
                return Ok(());
            };
            let budget_bytes = self.options.budget_bytes.saturating_sub(self.coordinator.journal.rewritten_bytes(now_ms() - BUDGET_PERIOD_MS));
            if !self.is_quiet() || need.rewrites() && budget_bytes == 0 {
                debug!(table = %name, procedure = need.procedure, "table waits to be put in order");
                return Ok(());
            }
            self.run(catalog, name, need, budget_bytes, term).await?;
            done.insert(need.procedure, need.measure);
        }
        Ok(())
    }

    /// Runs a procedure, and notes what became of it.
    async fn run(&self, catalog: &dyn Catalog, name: &TableName, need: &Need, budget_bytes: u64, term: u64) -> Result<()> {
        let quoted = [catalog.name(), &name.namespace, &name.table].map(|part| format!("\"{}\"", part.replace('"', "\"\"")));
        let limit = if need.rewrites() { format!("(bytes_max => '{}B')", budget_bytes.min(STEP_BYTES_MAX)) } else { String::new() };
        let sql = format!("ALTER TABLE {} EXECUTE {}{limit}", quoted.join("."), need.procedure);
        info!(table = %name, procedure = need.procedure, reason = need.reason, "table is put in order");
        let request = Request { sql, session: self.coordinator.default_session(USER), parameters: None, is_listed: false };
        let running = self.coordinator.submit(request).await?;
        let entry = self.coordinator.journal.begin(Entry::new(catalog.name(), name, need, &running.id), term).await;
        let outcome = running.rows.try_collect::<Vec<_>>().await;
        let outcome = outcome.map(|batches| batches.iter().flat_map(metrics).collect::<Vec<_>>());
        self.coordinator.journal.end(entry, outcome.as_deref(), term).await;
        outcome.map(|_| ())
    }
}

/// The rows of a procedure's answer.
fn metrics(batch: &RecordBatch) -> Vec<(String, i64)> {
    let (names, values) = (batch.column(0).as_string::<i32>(), batch.column(1).as_primitive::<Int64Type>());
    names.iter().zip(values).filter_map(|(name, value)| Some((name?.to_owned(), value?))).collect()
}

fn now_ms() -> i64 {
    Utc::now().timestamp_millis()
}

fn is_younger(at_ms: i64, age: Duration) -> bool {
    now_ms().saturating_sub(at_ms) < i64::try_from(age.as_millis()).unwrap_or(i64::MAX)
}

impl Entry {
    fn new(catalog: &str, name: &TableName, need: &Need, query: &QueryId) -> Self {
        Self {
            id: 0,
            catalog: catalog.to_owned(),
            schema: name.namespace.clone(),
            table: name.table.clone(),
            procedure: need.procedure.to_owned(),
            reason: need.reason.clone(),
            query_id: query.to_string(),
            started_ms: now_ms(),
            ended_ms: None,
            metrics: Vec::new(),
            error: None,
        }
    }
}
