//! One query's life, and the one door to it: [`Coordinator::submit`].

mod catalogs;
mod cluster;
mod deferred;
mod listed;
mod listing;
mod progress;
mod registry;
pub mod rest_server;
mod runtime_tables;
mod session;
mod settings;
mod shown;
mod spool;
mod start;
mod time_limit;
mod transactions;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use futures::FutureExt;
use futures::stream::BoxStream;
use nunatak_catalog::rest_server::MetadataCache;
use nunatak_core::config::{self, Etcd, Spooling};
use nunatak_core::id::QueryId;
use nunatak_core::panics::caught_async;
use nunatak_core::{Error, Result};
use nunatak_engine::computing::computing;
use nunatak_engine::context::EngineContext;
use nunatak_engine::file_cache::FileCacheOptions;
use nunatak_engine::sql;
use nunatak_state::{Announcer, ClusterState, Member};
pub use nunatak_state::{SESSION_IDLE_MAX, SessionChanger, SessionStore, StoredSession, TICKET_TTL};
use tokio::net::TcpListener;
use tracing::{Instrument, info, info_span};

pub use crate::execution::StageProgress;
pub(crate) use catalogs::Catalogs;
pub(crate) use listed::Queries;
pub use listed::{Door, Kill, ListedQuery, ListedTask, killed, millis, tasks};
pub use nunatak_engine::scan::ScanProgress;
pub use nunatak_engine::sql::{TYPE_MARK, Zone};
pub use nunatak_engine::type_name::have_names;
pub use progress::{Progress, Snapshot};
pub(crate) use registry::Registry;
pub use session::{InTransaction, Session, SessionChange};
pub use settings::{OverwriteMode, PROPERTIES, Property, Settings, TIME_ZONE, check as check_property, check_name};
pub use spool::{FileContent, SegmentName, Spool};
pub(crate) use transactions::{Transactions, nested as nested_transaction, unknown as unknown_transaction};

use self::time_limit::TimeLimit;
use crate::execution::{Execution, Options as ExecutionOptions};
use crate::jobs::maintenance::{self, Journal};
use crate::statement::{self, StatementContext};

/// A stream of result rows. Dropping it cancels the query and everything that runs for it.
pub type RowStream = BoxStream<'static, Result<RecordBatch, Error>>;

/// A statement to run.
#[derive(Clone, Debug)]
pub struct Request {
    /// The SQL text: one statement, in the Trino dialect; a trailing semicolon is fine.
    pub sql: String,
    /// The session it runs in.
    pub session: Session,
    /// Values for `?` or `$1` parameters: one row, one column a parameter, in order. `None` when there are none.
    pub parameters: Option<RecordBatch>,
    /// Whether the door that it comes from lists it, under an id of its own.
    pub is_listed: bool,
}

/// What a statement is, as a client has to know before it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatementKind {
    /// It gives rows: SELECT, SHOW, EXPLAIN, DESCRIBE, ...
    Query,
    /// It changes something: INSERT, CREATE, SET SESSION, ... Its stream gives one batch with one `rows` column (Int64, null where no count makes sense).
    Update,
}

/// What planning a statement told.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// Rows or update.
    pub kind: StatementKind,
    /// The exact schema of its rows; for an update that of the `rows` column.
    pub schema: SchemaRef,
    /// One field a parameter, in order; named `$1`, `$2`, ...
    pub parameters: SchemaRef,
}

/// A query that was accepted and runs.
pub struct Running {
    /// Its id.
    pub id: QueryId,
    /// Rows or update.
    pub kind: StatementKind,
    /// The schema of `rows`. Strings are plain Utf8, binaries plain Binary; no dictionaries, views or run-end encodings.
    pub schema: SchemaRef,
    /// The rows.
    pub rows: RowStream,
    /// What the statement changed in its session.
    pub session_changes: Vec<SessionChange>,
    /// What an update is called, such as `CREATE TABLE`; `None` for what gives rows.
    pub update_type: Option<&'static str>,
    /// How far it is.
    pub progress: Progress,
}

/// A table or view in a listing.
#[derive(Clone, Debug)]
pub struct TableInfo {
    /// Its catalog.
    pub catalog: String,
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// `TABLE`, `VIEW` or `SYSTEM TABLE`.
    pub kind: &'static str,
    /// Its columns, where the listing asked for them.
    pub columns: Option<SchemaRef>,
}

/// Which tables a listing wants. Patterns are SQL LIKE patterns (`%`, `_`).
#[derive(Clone, Debug, Default)]
pub struct TableFilter {
    /// Only this catalog.
    pub catalog: Option<String>,
    /// Only schemas like this.
    pub schema_pattern: Option<String>,
    /// Only tables like this.
    pub table_pattern: Option<String>,
    /// Only these kinds (`TABLE` and `BASE TABLE` mean the same); empty means all.
    pub kinds: Vec<String>,
    /// Whether columns are wanted.
    pub with_columns: bool,
}

/// How a coordinator is set up.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the embedded catalog's SQLite file and warehouse lie, and where queries spill.
    pub data_dir: PathBuf,
    /// Memory that all queries of this process share, in bytes.
    pub memory_bytes_max: usize,
    /// Partitions a query is split into: the number of cores unless set.
    pub slots: usize,
    /// What is kept of data files that were read.
    pub file_cache: FileCacheOptions,
    /// The name of the default catalog.
    pub default_catalog: String,
    /// The schema that a session starts in; made in the embedded catalog when it does not exist.
    pub default_schema: String,
    /// The catalogs besides the embedded one, which is there as the default catalog unless one of these has its name.
    pub catalogs: Vec<config::Catalog>,
    /// Scans of at most this many bytes run on the coordinator, in execution mode `auto`.
    pub local_bytes_max: u64,
    /// How long a listing over all catalogs waits for the first answer of each.
    pub listing_wait: Duration,
    /// A transaction in which nothing was run for so long is rolled back.
    pub transaction_idle_max: Duration,
    /// Files that no table needs are never deleted when they are younger than this.
    pub orphan_age_min: Duration,
    /// Where results lie for clients that fetch them from there.
    pub spooling: Spooling,
    /// Where the state of the cluster is kept; without it, in this process.
    pub etcd: Option<Etcd>,
    /// Where clients are answered by Flight SQL, which the other members are told.
    pub flight: SocketAddr,
    /// The same by HTTP.
    pub http: SocketAddr,
}

/// The coordinator. Cheap to clone.
#[derive(Clone)]
pub struct Coordinator {
    /// Of all queries: it knows the catalogs of the configuration only.
    engine: Arc<EngineContext>,
    pub(crate) catalogs: Arc<Catalogs>,
    pub(crate) execution: Execution,
    pub(crate) options: Arc<Options>,
    pub(crate) running: Registry,
    pub(crate) queries: Queries,
    pub(crate) transactions: Transactions,
    pub(crate) journal: Arc<Journal>,
    rest_metadata: MetadataCache,
    state: Arc<dyn ClusterState>,
    announcer: Arc<Announcer>,
    sessions: Arc<dyn SessionStore>,
    spool: Option<Spool>,
    /// Its id as a member of the cluster.
    id: Arc<str>,
    /// Where clients and other members reach its Flight SQL.
    flight: Arc<str>,
}

impl Coordinator {
    /// Opens the catalog (and makes it, with its default schema, when it isn't there), sets up the engine, answers the cluster's executors on
    /// `cluster` from then on, and joins the cluster.
    ///
    /// Errors: `CONFIGURATION_INVALID` when the data directory cannot be written or etcd refuses the user, `CLUSTER_STATE_UNAVAILABLE` when etcd does not answer for
    /// [`Etcd::start_wait`].
    pub async fn start(options: Options, cluster: TcpListener) -> Result<Self> {
        let address = cluster.local_addr().map_err(|error| Error::internal(error.to_string()))?;
        let state = cluster::build_state(options.etcd.as_ref()).await?;
        let own = cluster::own_member(&options, address).await;
        let (engine, opener) = start::build_engine(&options).await?;
        let journal = maintenance::open(options.etcd.as_ref(), &options.data_dir).await?;
        let (running, transactions) = (Registry::default(), Transactions::new(options.transaction_idle_max));
        let queries = Queries::new(running.clone(), state.membership(), Arc::from(own.id.as_str()));
        let catalogs_cell = Arc::default();
        let tables = cluster::ServerTables {
            journal: Arc::clone(&journal),
            membership: state.membership(),
            storages: Arc::clone(engine.scan().storages()),
            catalogs: Arc::clone(&catalogs_cell),
            queries: queries.clone(),
            transactions: transactions.clone(),
        };
        let engine = Arc::new(engine.with_listing_wait(options.listing_wait).with_system_tables(Arc::new(tables)));
        let spool = Spool::open(&options.spooling, opener.data_dir(), engine.scan().storages()).await?;
        let store = cluster::build_catalogs(options.etcd.as_ref(), opener.data_dir()).await?;
        let sessions = cluster::build_sessions(options.etcd.as_ref()).await?;
        let catalogs = Catalogs::start(Arc::clone(&engine), &options.catalogs, opener, store).await;
        // The tables are the engine's, which the catalogs have.
        catalogs_cell.get_or_init(|| Arc::downgrade(&catalogs));
        let settings = ExecutionOptions { local_bytes_max: options.local_bytes_max };
        let execution = Execution::start(Arc::clone(&engine), Arc::clone(&state), &own, cluster, &settings).await?;
        let (id, flight) = (Arc::from(own.id.as_str()), Arc::from(own.flight.as_str()));
        let wait_max = options.etcd.as_ref().map(|etcd| etcd.start_wait);
        let announcer = Arc::new(Announcer::start(Arc::clone(&state) as _, Member::Coordinator(own), wait_max).await?);
        Ok(Self {
            engine,
            catalogs,
            execution,
            running,
            queries,
            transactions,
            options: Arc::new(options),
            journal,
            rest_metadata: MetadataCache::default(),
            state,
            announcer,
            sessions,
            spool,
            id,
            flight,
        })
    }

    /// The number of the term in which it leads the cluster, if it does at this moment: of several coordinators one does.
    pub(crate) fn term(&self) -> Option<u64> {
        self.state.leadership(&self.id)
    }

    /// The sessions of clients: all coordinators of a cluster have the same.
    pub fn sessions(&self) -> &Arc<dyn SessionStore> {
        &self.sessions
    }

    /// Where results lie for clients that fetch them from there, if there is such a place.
    pub fn spool(&self) -> Option<&Spool> {
        self.spool.as_ref()
    }

    /// Its id as a member of the cluster.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Where the HTTP of another coordinator is reached, `host:port`, of the one whose id begins so.
    pub fn http_of_peer(&self, id_start: &str) -> Option<String> {
        let membership = self.state.membership();
        let membership = membership.borrow();
        let found = membership.coordinators.iter().find(|peer| peer.id.starts_with(id_start) && *peer.id != *self.id);
        found.map(|peer| peer.http.clone())
    }

    /// Where its Flight SQL is reached, `host:port`.
    pub fn flight(&self) -> &Arc<str> {
        &self.flight
    }

    /// Where the Flight SQL of the other coordinators of the cluster is reached, `host:port` each.
    pub fn peers(&self) -> Vec<String> {
        let membership = self.state.membership();
        let members = membership.borrow();
        members.coordinators.iter().filter(|member| *member.id != *self.id).map(|member| member.flight.clone()).collect()
    }

    /// Whether its clients may be answered by other coordinators, too.
    pub fn may_have_peers(&self) -> bool {
        self.options.etcd.is_some()
    }

    /// Leaves the cluster: the process is about to end.
    pub async fn leave(&self) {
        self.announcer.leave().await;
    }

    /// Where executors reach it.
    pub fn cluster_address(&self) -> SocketAddr {
        self.execution.address()
    }

    /// What an executor in this process shares with it: memory, caches, object stores.
    pub fn engine(&self) -> &Arc<EngineContext> {
        &self.engine
    }

    /// A session of `user` as it begins.
    pub fn default_session(&self, user: &str) -> Session {
        Session::new(user, &self.options.default_catalog, Some(self.options.default_schema.clone()))
    }

    /// Whether queries can be run.
    pub fn is_ready(&self) -> bool {
        true
    }

    /// Checks a session property. Errors: `INVALID_SESSION_PROPERTY`.
    pub fn check_session_property(&self, name: &str, value: &str) -> Result<()> {
        settings::check(name, value)
    }

    /// Runs a statement. What can be known by planning fails here; the rest fails in the stream of rows, on whose polling the work depends.
    pub async fn submit(&self, request: Request) -> Result<Running> {
        let id = QueryId::generate();
        let span = info_span!("query", %id, user = %request.session.user);
        let submitted = async {
            info!(sql = %request.session.start_shown(&request.sql), "query is submitted");
            let parsed = computing(|| sql::parse(&request.sql).and_then(|parsed| statement::executed(&request.session, parsed)))?;
            let (session, parsed) = statement::with_properties(&self.catalogs.engine(), &request.session, parsed)?;
            let update_type = parsed.update_type();
            let inside = self.transactions.enter(&request.session, &parsed)?;
            let begun = self.running.begin(id.clone(), &request);
            let planned = async {
                let context = StatementContext::new(self, &session, id.clone(), request.parameters)?;
                let progress = context.progress();
                // A change that is given up while it is committed may have been made or not: nobody could tell whether to make it again.
                let limit = if update_type.is_some() { None } else { context.run_time_max().and_then(TimeLimit::from_now) };
                let mut outcome = TimeLimit::within(limit, statement::run(context, parsed).boxed()).await?;
                if let Some(limit) = limit {
                    outcome.rows = limit.watch(outcome.rows);
                }
                Ok::<_, Error>((progress, outcome))
            };
            let (progress, outcome) = match planned.await {
                Ok(planned) => planned,
                Err(error) => {
                    begun.fail(&error);
                    return Err(error);
                }
            };
            let rows = begun.watch(outcome.rows, progress.clone());
            Ok::<_, Error>(Running {
                kind: outcome.kind,
                schema: outcome.schema,
                rows: match inside {
                    Some(inside) => inside.watch(rows),
                    None => rows,
                },
                session_changes: outcome.session_changes,
                update_type: update_type.filter(|_| outcome.kind == StatementKind::Update),
                progress,
                id: id.clone(),
            })
        };
        caught_async(submitted).instrument(span).await.unwrap_or_else(|panic| Err(of_query(panic, &id)))
    }

    /// Plans a statement without running it.
    pub async fn prepare(&self, session: &Session, text: &str) -> Result<Prepared> {
        let id = QueryId::generate();
        let prepared = async {
            let parsed = computing(|| sql::parse(text).and_then(|parsed| statement::executed(session, parsed)))?;
            let (session, parsed) = statement::with_properties(&self.catalogs.engine(), session, parsed)?;
            let context = StatementContext::new(self, &session, id.clone(), None)?;
            statement::prepare(&context, parsed).boxed().await
        };
        caught_async(prepared).await.unwrap_or_else(|panic| Err(of_query(panic, &id)))
    }

    /// From now on the queries of a front door are listed and killed with the others.
    pub fn open(&self, door: Arc<dyn Door>) {
        self.queries.open(door);
    }

    /// The queries of this coordinator: those that run, and those that have just ended.
    pub fn queries_here(&self) -> Vec<ListedQuery> {
        self.queries.here()
    }

    /// Ends a query of this coordinator, for a user, with a message for its client.
    pub fn kill_here(&self, id: &str, user: &str, message: &str) -> Kill {
        self.queries.kill_here(id, user, message)
    }

    /// Cancels a query: its stream then gives `USER_CANCELED`. Whether it was running.
    pub fn cancel(&self, id: &QueryId) -> bool {
        self.running.cancel(id)
    }
}

/// The error for a defect that a query has met.
fn of_query(panic: Error, id: &QueryId) -> Error {
    panic.with_context("query", id.as_str())
}
