//! The statements: one file per kind. This one only dispatches, and holds what they share.

mod alter;
mod analyze;
mod catalog;
mod change;
mod copy;
mod create_table;
mod drop;
mod explain;
mod insert;
mod overwrite;
mod parameters;
mod prepared;
mod procedure;
mod replace_table;
mod rows;
mod schema;
mod session;
mod show;
mod show_create;
mod show_stats;
mod table_like;
mod table_properties;
mod transaction;
mod view;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::logical_expr::LogicalPlan;
use futures::{StreamExt, stream};
use nunatak_core::id::QueryId;
use nunatak_core::{Error, Result};
use nunatak_engine::context::EngineContext;
use nunatak_engine::error::from_datafusion;
use nunatak_engine::sql::{PinnedTables, Planner, PlannerSession, QualifiedName, Statement};
use nunatak_engine::write::{Sample, WriteTarget};

use self::explain::Analysis;
pub(crate) use self::prepared::executed;
pub(crate) use self::procedure::SMALL_BYTES;
pub(crate) use self::session::with_properties;
use crate::execution::{Execution, Planned};
use crate::query::{
    Catalogs, Coordinator, Options, Prepared, Progress, Queries, Registry, RowStream, Session, SessionChange, Settings, StatementKind, Transactions,
};

/// What a statement runs in.
pub(crate) struct StatementContext {
    engine: Arc<EngineContext>,
    execution: Execution,
    planner: Planner,
    session: Session,
    settings: Settings,
    parameters: Option<RecordBatch>,
    id: QueryId,
    options: Arc<Options>,
    running: Registry,
    queries: Queries,
    transactions: Transactions,
    catalogs: Arc<Catalogs>,
    /// Where it is told what its writes have measured, if somebody asks.
    analysis: Option<Arc<Analysis>>,
    /// Where its plans are told, for those who ask how far it is.
    progress: Progress,
}

impl StatementContext {
    pub(crate) fn new(coordinator: &Coordinator, session: &Session, id: QueryId, parameters: Option<RecordBatch>) -> Result<Self> {
        let settings = Settings::from_properties(&session.properties)?;
        let engine = coordinator.catalogs.engine();
        Ok(Self {
            planner: planner(&engine, session, &settings, coordinator.transactions.pinned(session)),
            engine,
            execution: coordinator.execution.clone(),
            session: session.clone(),
            settings,
            parameters,
            id,
            options: Arc::clone(&coordinator.options),
            running: coordinator.running.clone(),
            queries: coordinator.queries.clone(),
            transactions: coordinator.transactions.clone(),
            catalogs: Arc::clone(&coordinator.catalogs),
            analysis: None,
            progress: Progress::default(),
        })
    }

    /// How far its plans will be.
    pub(crate) fn progress(&self) -> Progress {
        self.progress.clone()
    }

    /// How long its session lets it run, if that is limited.
    pub(crate) fn run_time_max(&self) -> Option<Duration> {
        self.settings.run_time_max
    }

    /// From now on tables are as they are now.
    fn forget_tables(&mut self) {
        self.planner = planner(&self.engine, &self.session, &self.settings, self.transactions.pinned(&self.session));
    }

    /// What `name` means in this session.
    fn resolve(&self, name: &datafusion::sql::sqlparser::ast::ObjectName) -> Result<QualifiedName> {
        self.planner.resolve(name)
    }

    /// Chooses how a plan runs, and makes the physical plan for that; with a `target`, one that writes its rows there.
    async fn physical_plan(&self, plan: &LogicalPlan, target: Option<&WriteTarget>) -> Result<Planned> {
        let planned = self.execution.plan(self.settings.execution_mode, plan, self.planner.state(), target).await?;
        self.progress.begins(&planned);
        Ok(planned)
    }

    /// A physical plan that writes its rows to `target`. Where that makes a better one, some of the rows are looked at first.
    async fn write_plan(&self, plan: &LogicalPlan, mut target: WriteTarget) -> Result<Writer> {
        let mut planned = self.physical_plan(plan, Some(&target)).await?;
        if let Some(sampling) = planned.sampling(plan)? {
            let rows = self.physical_plan(&sampling, None).await?.run().await?;
            target.sample = Some(Sample::collect(rows).await.map_err(from_datafusion)?);
            planned = self.physical_plan(plan, Some(&target)).await?;
        }
        Ok(Writer { plan: planned, name: target.name })
    }
}

/// A planned write.
struct Writer {
    plan: Planned,
    /// The name of its [`WriteTarget`].
    name: String,
}

fn planner(engine: &Arc<EngineContext>, session: &Session, settings: &Settings, pinned: Option<PinnedTables>) -> Planner {
    let session = PlannerSession {
        user: session.user.clone(),
        catalog: session.catalog.clone(),
        schema: session.schema.clone(),
        partitions: settings.task_concurrency,
        join_reordering: settings.join_reordering,
        wap_branch: settings.wap_branch(),
        time_zone: settings.time_zone.name().into_owned(),
        path: session.path.clone().unwrap_or_default(),
        pinned,
    };
    Planner::new(engine, session)
}

/// A statement that was accepted.
pub(crate) struct Outcome {
    pub(crate) kind: StatementKind,
    pub(crate) schema: SchemaRef,
    pub(crate) rows: RowStream,
    pub(crate) session_changes: Vec<SessionChange>,
}

impl Outcome {
    /// Rows that are there already.
    fn listing(batch: RecordBatch) -> Self {
        let schema = batch.schema();
        Self { kind: StatementKind::Query, schema, rows: stream::once(async { Ok(batch) }).boxed(), session_changes: Vec::new() }
    }

    /// A change whose work is done while its stream is polled, and that tells how many rows it touched.
    fn update(work: impl Future<Output = Result<Option<u64>>> + Send + 'static) -> Self {
        let rows = stream::once(async move { count_batch(work.await?) }).boxed();
        Self { kind: StatementKind::Update, schema: count_schema(), rows, session_changes: Vec::new() }
    }

    /// A change that is done.
    fn done() -> Self {
        Self::update(async { Ok(None) })
    }

    fn with_changes(mut self, changes: Vec<SessionChange>) -> Self {
        self.session_changes = changes;
        self
    }
}

/// The one column of an update's one row.
const COUNT: &str = "rows";

/// The schema of an update's one row.
fn count_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new(COUNT, DataType::Int64, true)]))
}

fn count_batch(count: Option<u64>) -> Result<RecordBatch> {
    let count = count.map(|count| i64::try_from(count).unwrap_or(i64::MAX));
    RecordBatch::try_new(count_schema(), vec![Arc::new(Int64Array::from(vec![count]))]).map_err(|error| Error::internal(error.to_string()))
}

/// Runs a statement.
pub(crate) async fn run(context: StatementContext, statement: Statement) -> Result<Outcome> {
    match statement {
        Statement::Query(query) => rows::run(&context, *query).await,
        Statement::Explain(explain) => explain::run(context, explain).await,
        Statement::Insert(insert) => insert::run(context, *insert).await,
        Statement::Change(change) => change::run(context, change).await,
        Statement::CreateTable(create) => create_table::run(context, *create).await,
        Statement::CopyInto(copy) => copy::run(context, copy).await,
        Statement::DropTable { name, if_exists } => drop::table(&context, &name, if_exists).await,
        Statement::RenameTable { name, to, if_exists } => drop::rename(&context, &name, &to, if_exists).await,
        Statement::AlterTable { name, if_exists, change } => alter::run(&context, &name, if_exists, &change).await,
        Statement::Execute(execute) => procedure::run(context, *execute).await,
        Statement::Call(call) => procedure::call(context, *call).await,
        Statement::RenameView { name, to } => drop::rename_view(&context, &name, &to).await,
        Statement::DropView { name, if_exists } => drop::view(&context, &name, if_exists).await,
        Statement::CreateView { name, or_replace, if_not_exists, columns, comment, invoker, query, text, .. } => {
            view::create(&context, view::NewView { name, or_replace, if_not_exists, columns, comment, invoker, query: *query, text }).await
        }
        Statement::CreateCatalog(create) => catalog::create(&context, create).await,
        Statement::DropCatalog { name, if_exists } => catalog::drop(&context, &name, if_exists).await,
        Statement::CommentOnView { name, comment } => view::comment_on(&context, &name, comment).await,
        Statement::CreateSchema { name, if_not_exists, properties } => schema::create(&context, &name, if_not_exists, &properties).await,
        Statement::DropSchema { name, if_exists } => schema::drop(&context, &name, if_exists).await,
        Statement::Analyze { name, properties } => analyze::run(context, &name, &properties).await,
        Statement::Show(show) => show::run(&context, show).await,
        Statement::ShowStats(of) => show_stats::run(&context, of).await,
        Statement::Use(name) => session::use_schema(&context, &name).await,
        Statement::SetSession { name, value } => session::set(name, value),
        Statement::ResetSession { name } => session::reset(name),
        Statement::SetTimeZone(zone) => session::set_time_zone(zone),
        Statement::StartTransaction(modes) => transaction::start(&context, modes),
        Statement::Commit => transaction::commit(&context),
        Statement::Rollback => transaction::rollback(&context),
        Statement::SetRole { role, catalog } => session::set_role(&context, &role, catalog),
        Statement::SetAuthorization(user) => session::set_authorization(&context, user),
        Statement::ResetAuthorization => Ok(Outcome::done().with_changes(vec![SessionChange::ResetAuthorization])),
        Statement::SetPath(path) => session::set_path(&context, &path),
        Statement::Prepare { name, text, .. } => prepared::prepare(&context, name, text),
        Statement::Deallocate { name } => prepared::deallocate(&context, name),
        Statement::DescribePrepared { name, part } => prepared::describe(&context, &name, part).await,
        Statement::ExecutePrepared(_) => Err(Error::internal("EXECUTE was not replaced by what it runs")),
        Statement::WithSession(_) => Err(Error::internal("WITH SESSION was not replaced by its query")),
    }
}

/// Plans a statement without running it.
pub(crate) async fn prepare(context: &StatementContext, statement: Statement) -> Result<Prepared> {
    match statement {
        Statement::Query(query) => rows::prepare(context, *query).await,
        Statement::WithSession(with) => rows::prepare(context, *with.query).await,
        Statement::Insert(insert) => insert::prepare(context, *insert).await,
        Statement::Change(change) => change::prepare(context, &change).await,
        Statement::Explain(explain) => {
            let schema = explain::schema(explain.validate);
            Ok(listing(explain::prepare(context, explain).await?, schema))
        }
        Statement::Show(show) => Ok(listing(no_parameters(), show::schema(&show))),
        Statement::Execute(_) => Ok(listing(no_parameters(), procedure::schema())),
        Statement::Call(call) if !procedure::changes_catalog(&call) => Ok(listing(no_parameters(), procedure::schema())),
        Statement::ShowStats(of) => Ok(listing(show_stats::prepare(context, of).await?, show_stats::schema())),
        Statement::DescribePrepared { part, .. } => Ok(listing(no_parameters(), prepared::schema(part))),
        Statement::ExecutePrepared(_) => Err(Error::internal("EXECUTE was not replaced by what it runs")),
        Statement::CreateTable(_)
        | Statement::DropTable { .. }
        | Statement::RenameTable { .. }
        | Statement::AlterTable { .. }
        | Statement::CreateCatalog(_)
        | Statement::DropCatalog { .. }
        | Statement::CreateSchema { .. }
        | Statement::DropSchema { .. }
        | Statement::CreateView { .. }
        | Statement::RenameView { .. }
        | Statement::CommentOnView { .. }
        | Statement::DropView { .. }
        | Statement::CopyInto(_)
        | Statement::Analyze { .. }
        | Statement::Call(_)
        | Statement::Use(_)
        | Statement::SetSession { .. }
        | Statement::ResetSession { .. }
        | Statement::SetTimeZone(_)
        | Statement::StartTransaction(_)
        | Statement::Commit
        | Statement::Rollback
        | Statement::SetRole { .. }
        | Statement::SetAuthorization(_)
        | Statement::ResetAuthorization
        | Statement::SetPath(_)
        | Statement::Prepare { .. }
        | Statement::Deallocate { .. } => Ok(update(no_parameters())),
    }
}

fn no_parameters() -> SchemaRef {
    Arc::new(Schema::empty())
}

fn listing(parameters: SchemaRef, schema: SchemaRef) -> Prepared {
    Prepared { kind: StatementKind::Query, schema, parameters }
}

fn update(parameters: SchemaRef) -> Prepared {
    Prepared { kind: StatementKind::Update, schema: count_schema(), parameters }
}
