//! From a parsed statement to DataFusion's logical plan, with every name resolved and every table at one snapshot.

mod constants;
mod insert;
mod origins;

use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::common::{DFSchema, TableReference};
use datafusion::datasource::ViewTable;
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::{DmlStatement, EmptyRelation, Expr, ExprSchemable, Filter, LogicalPlan, LogicalPlanBuilder, WriteOp};
use datafusion::sql::parser::Statement as DataFusionStatement;
use datafusion::sql::sqlparser::ast;
use futures::future::BoxFuture;
use nunatak_catalog::spec::{FormatVersion, MAIN_BRANCH};
use nunatak_catalog::{Branch, Catalog, Table, TableName, View, snapshot};
use nunatak_core::{Code, Error, Result};

use super::changes::{self, Change, ChangePlan};
use super::column_case::{self, ColumnNames, OutputNames};
use super::hidden_columns::{self, HIDDEN_MARK};
use super::listing::{self, RelationKind};
use super::names::{INFORMATION_SCHEMA, LookedUp, QualifiedName, SYSTEM};
use super::pinned::PinnedTables;
use super::place::{Places, start_of};
use super::relations::{self, CHANGES_CATALOG, ChangesCall, FILES_CATALOG, FileCall, Relations, SOURCES_CATALOG, VERSION_MARK, VersionExpression};
use super::row_stars::{self, Wanted};
use super::statement::{ColumnDefinition, Statement};
use super::temporal_types::SessionTypes;
use super::types::new_schema;
use super::{
    array_calls, conditions, corresponding, derived_tables, functions, information_schema, join_using, merge, order_keys, outer_names, overwrite,
    parse, plain_groups, queries, row_comparisons, row_memberships, row_subqueries, same_relations, select_items, sequences, shadowed_queries,
    spellings, system_catalog, system_tables, table_samples, ties, unnest, values,
};
use crate::computing::{computing, in_steps};
use crate::context::EngineContext;
use crate::error::{from_datafusion, suggest};
use crate::files::{FileOptions, file_table};
use crate::rules::{alike_rows, with_integers, with_integers_within, with_plain_recursion};
use crate::scan::types::table_schema;
use crate::scan::{HiddenColumn, IcebergTable, ScanFiles, ScanShape, metadata_table, table_changes};

pub use insert::InsertPlan;
pub use origins::ColumnOrigin;

/// How deeply views may refer to views.
const VIEW_DEPTH_MAX: usize = 32;

/// Plans the statements of one query. Whatever it looks up stays pinned for its life.
pub struct Planner {
    context: Arc<EngineContext>,
    state: SessionState,
    looked_up: LookedUp,
    session: PlannerSession,
    view_depth: usize,
    /// Whether it plans a query over all catalogs, which one that is down must not keep.
    is_over_all: bool,
}

/// What a session means for planning.
#[derive(Clone, Debug)]
pub struct PlannerSession {
    /// Its user.
    pub user: String,
    /// The catalog of names without one.
    pub catalog: String,
    /// The schema of names without one.
    pub schema: Option<String>,
    /// How many partitions a query is split into; the process's default without it.
    pub partitions: Option<usize>,
    /// Whether joins are put in the order that costs least, rather than that of the text.
    pub join_reordering: bool,
    /// The branch on which tables with the property `write.wap.enabled` are read and changed.
    pub wap_branch: Branch,
    /// The name of its time zone, as [`crate::sql::Zone`] gives it.
    pub time_zone: String,
    /// What `current_path` is.
    pub path: String,
    /// The tables that its transaction has read, if it is in one.
    pub pinned: Option<PinnedTables>,
}

impl Planner {
    /// A planner for one query.
    pub fn new(context: &Arc<EngineContext>, session: PlannerSession) -> Self {
        Self::with_tables(context, LookedUp::default(), session, 0)
    }

    fn with_tables(context: &Arc<EngineContext>, looked_up: LookedUp, session: PlannerSession, view_depth: usize) -> Self {
        let mut config = context.base().config().clone();
        if let Some(partitions) = session.partitions {
            config = config.with_target_partitions(partitions);
        }
        config.options_mut().execution.time_zone = Some(session.time_zone.clone());
        config.options_mut().optimizer.join_reordering = session.join_reordering;
        let types = SessionTypes(session.time_zone.as_str().into());
        // A name without a schema is refused before DataFusion sees it, so the default may be empty.
        config = config.with_default_catalog_and_schema(&session.catalog, session.schema.as_deref().unwrap_or_default());
        let mut state = SessionStateBuilder::new_from_existing(context.base().clone())
            .with_config(config)
            .with_catalog_list(Arc::new(looked_up.clone()))
            .with_type_planner(Arc::new(types))
            .build();
        // From here on "now" is one moment for the whole query.
        state.mark_start_execution();
        Self { context: Arc::clone(context), state, looked_up, session, view_depth, is_over_all: false }
    }

    fn session_names(&self) -> queries::SessionNames<'_> {
        queries::SessionNames {
            user: &self.session.user,
            catalog: &self.session.catalog,
            schema: self.session.schema.as_deref(),
            time_zone: &self.session.time_zone,
            path: &self.session.path,
        }
    }

    /// The DataFusion session of this query.
    pub fn state(&self) -> &SessionState {
        &self.state
    }

    /// What `name` means in this session.
    pub fn resolve(&self, name: &ast::ObjectName) -> Result<QualifiedName> {
        QualifiedName::resolve(name, &self.session.catalog, self.session.schema.as_deref())
    }

    /// Plans a query. Its types are those that its rows will have: before analysis a union, for one, has those of its first part.
    pub async fn plan_query(&self, query: ast::Query) -> Result<LogicalPlan> {
        let plan = self.plan(ast::Statement::Query(Box::new(query))).await?;
        let parameters = plan.get_parameter_names().map_err(from_datafusion)?;
        match self.analyzed(plan.clone()) {
            // Where parameters have no type yet, it is done when they have values.
            Err(_) if !parameters.is_empty() => Ok(plan),
            analyzed => analyzed,
        }
    }

    /// The same for a query whose rows go to a client: its columns have the names that its text has for them, in their letters.
    pub async fn plan_outward(&self, mut query: ast::Query) -> Result<LogicalPlan> {
        let names = OutputNames::as_written(&query);
        select_items::set_order_apart(&mut query);
        let has_names = values::width(&query.body).is_none();
        let plan = names.restore(self.plan_query(query).await?)?;
        if has_names { Ok(plan) } else { column_case::unnamed(plan) }
    }

    /// A plan with the types of all expressions made alike where they have to be.
    pub fn analyzed(&self, plan: LogicalPlan) -> Result<LogicalPlan> {
        computing(|| self.state.analyzer().execute_and_check(plan, self.state.config_options(), |_, _| {})).map_err(from_datafusion)
    }

    /// A table of that name at its current snapshot, and the files that may have rows for which `filter` is true.
    pub async fn table_files(&self, name: &QualifiedName, filter: Option<&ast::Expr>) -> Result<(IcebergTable, ScanFiles)> {
        let table = self.table(name).await?;
        self.files_of(&table, filter).await
    }

    /// The same for a table that was loaded.
    pub async fn files_of(&self, table: &Table, filter: Option<&ast::Expr>) -> Result<(IcebergTable, ScanFiles)> {
        let table = self.at_head(table)?;
        let mut filters = Vec::new();
        if let Some(filter) = filter {
            let schema = Arc::new(DFSchema::try_from(TableProvider::schema(&table)).map_err(from_datafusion)?);
            let mut filter = filter.clone();
            ColumnNames::of([TableProvider::schema(&table)]).respell_within(&mut filter);
            let planned = self.expression(&filter, &schema)?;
            if planned.get_type(schema.as_ref()).map_err(from_datafusion)? != DataType::Boolean {
                return Err(Error::new(Code::TypeMismatch, format!("'{filter}' is no condition: it is neither true nor false")));
            }
            // It is analysed as the condition of a query is.
            let nothing = LogicalPlan::EmptyRelation(EmptyRelation { produce_one_row: false, schema: Arc::clone(&schema) });
            let filtered = LogicalPlanBuilder::from(nothing).filter(planned).and_then(LogicalPlanBuilder::build).map_err(from_datafusion)?;
            let LogicalPlan::Filter(Filter { predicate, .. }) = self.analyzed(filtered)? else {
                return Err(Error::internal(format!("the condition '{filter}' became something else")));
            };
            // Files are told apart by constants, not by what becomes one: a number may be cast.
            let predicate = self.simplified(predicate, &schema)?;
            filters.push(self.state.create_physical_expr(predicate, &schema).map_err(from_datafusion)?);
        }
        let files = table.plan_files(filters).await?;
        Ok((table, files))
    }

    /// A table at the head of its branch.
    pub fn at_head(&self, table: &Table) -> Result<IcebergTable> {
        IcebergTable::new(table.clone(), table.head().cloned(), Arc::clone(self.context.scan()))
    }

    /// Plans a statement that changes rows: finds out which, and what becomes of them.
    pub async fn plan_change(&self, change: &Change) -> Result<ChangePlan> {
        let target = change.target()?;
        let table = self.changed_table(&self.resolve(target)?).await.map_err(|error| match (error.location(), start_of(target)) {
            (None, Some(place)) => error.at(place),
            _ => error,
        })?;
        let rows = match change {
            Change::Delete(delete) => self.plan_query(changes::delete_query(delete)?).await?,
            Change::Update(update) => {
                let (query, defaults) = changes::update_query(update, &table)?;
                changes::with_types(self.plan_query(query).await?, &table, defaults)?
            }
            Change::Merge(merge) => self.plan_merge(merge, &table).await?,
            Change::Truncate(name) => self.plan_query(changes::truncate_query(name)?).await?,
        };
        Ok(ChangePlan { table, rows })
    }

    /// A table whose rows are to be changed, with its hidden columns. The whole statement sees it at the same snapshot.
    async fn changed_table(&self, name: &QualifiedName) -> Result<Arc<IcebergTable>> {
        let loaded = self.load_for_rows(name).await?;
        let Some(loaded) = loaded else {
            self.look_up(name, &Relations::default()).await?;
            return Err(Error::not_supported(format!("'{name}' is not a table whose rows can be changed")));
        };
        let table = Arc::new(self.at_head(&loaded)?.with_hidden_columns());
        let has_lineage = loaded.metadata.format_version() >= FormatVersion::V3;
        let needed = [HiddenColumn::File, HiddenColumn::Position].into_iter().chain(has_lineage.then_some(HiddenColumn::RowId));
        if let Some(hidden) = needed.into_iter().find(|column| !table.hidden_columns().contains(column)) {
            return Err(Error::not_supported(format!(
                "table '{name}' has a column '{}': rows of a table with a column of that name cannot be changed",
                hidden.name()
            )));
        }
        self.looked_up.insert(name.clone(), Arc::new(self.at_head(&loaded)?));
        let marked = QualifiedName { table: format!("{}{HIDDEN_MARK}", name.table), ..name.clone() };
        self.looked_up.insert(marked, Arc::clone(&table) as _);
        Ok(table)
    }

    async fn plan_merge(&self, merge: &ast::Merge, table: &Arc<IcebergTable>) -> Result<LogicalPlan> {
        let mut merge = merge.clone();
        let names = ColumnNames::of([TableProvider::schema(table.as_ref())]);
        for clause in &mut merge.clauses {
            names.respell_targets(&mut clause.action);
            changes::name_values(&mut clause.action, table)?;
        }
        merge::check_columns(&merge, table)?;
        if let Some((name, target)) = merge::name_target(&mut merge) {
            let known = self.looked_up.get(&self.resolve(&name)?);
            self.looked_up.insert(target, known.ok_or_else(|| Error::internal(format!("{name} was not looked up")))?);
        }
        let statement = ast::Statement::Merge(merge);
        if hidden_columns::are_named(&statement) {
            return Err(Error::not_supported("MERGE with hidden columns is not supported").with_hint("select them in a query after USING"));
        }
        match self.plan(statement).await? {
            LogicalPlan::Dml(DmlStatement { table_name, input, op: WriteOp::MergeInto(op), .. }) => {
                merge::rows(&table_name, table, Arc::unwrap_or_clone(input), *op)
            }
            other => Err(Error::internal(format!("MERGE was planned as {}", other.display()))),
        }
    }

    /// The rows of files, as a plan. `schema` is that of the table they go to, if they go to one.
    pub fn plan_files(&self, table: Arc<dyn TableProvider>) -> Result<LogicalPlan> {
        let source = datafusion::datasource::provider_as_source(table);
        LogicalPlanBuilder::scan("files", source, None).and_then(|builder| builder.build()).map_err(from_datafusion)
    }

    /// Whether what was planned names a table or view, in a view too.
    pub fn has_looked_up(&self, name: &QualifiedName) -> bool {
        self.looked_up.get(name).is_some()
    }

    /// Whether what was planned reads rows of a table, in a view too.
    pub fn reads(&self, table: &Table) -> bool {
        self.looked_up.any(|read| read.downcast_ref::<IcebergTable>().is_some_and(|read| read.table().metadata.uuid() == table.metadata.uuid()))
    }

    /// The table of that name, on its main branch unless the name is `table@branch`. Errors: `TABLE_NOT_FOUND` and those above it.
    pub async fn table(&self, name: &QualifiedName) -> Result<Table> {
        match self.load(name).await? {
            Some(table) => Ok(table),
            None => Err(self.not_found(self.context.catalog(&name.catalog)?, name).await),
        }
    }

    /// The same; `None` if there is none. In a transaction it is as it was when that read it first.
    async fn load(&self, name: &QualifiedName) -> Result<Option<Table>> {
        let Some(pinned) = &self.session.pinned else { return self.load_newest(name).await };
        if let Some(table) = pinned.get(name) {
            return Ok(Some(table));
        }
        Ok(self.load_newest(name).await?.map(|table| pinned.keep(name, table)))
    }

    async fn load_newest(&self, name: &QualifiedName) -> Result<Option<Table>> {
        let catalog = self.context.catalog(&name.catalog)?;
        let found = self.context.health().one(catalog, catalog.load_table(&name.in_catalog())).await?;
        // What has a `$` behind the `@` is a metadata table of a branch.
        let at = name.table.rsplit_once('@').filter(|(_, branch)| found.is_none() && !branch.contains('$'));
        let Some((table, branch)) = at else { return Ok(found) };
        let found = catalog.load_table(&TableName::new(&name.schema, table)).await?;
        found.map(|table| table.on_branch(branch)).transpose()
    }

    /// The same, where its rows are read or changed: on the session's branch if the name says none.
    async fn load_for_rows(&self, name: &QualifiedName) -> Result<Option<Table>> {
        let Some(table) = self.load(name).await? else { return Ok(None) };
        let waits = table.name == name.in_catalog() && table.is_audited();
        match &self.session.wap_branch {
            _ if !waits => Ok(Some(table)),
            Branch::Named(name) if table.metadata.snapshot_for_ref(name).is_some() => table.on_branch(name).map(Some),
            branch => Ok(Some(Table { branch: branch.clone(), ..table })),
        }
    }

    async fn plan(&self, statement: ast::Statement) -> Result<LogicalPlan> {
        in_steps(self.with_rows_expanded(statement)).await
    }

    /// Plans a statement, and before it what is matched by names in it, and what the rows are whose fields it selects.
    fn with_rows_expanded(&self, mut statement: ast::Statement) -> BoxFuture<'_, Result<LogicalPlan>> {
        Box::pin(async move {
            // Before anything else looks into it.
            conditions::flatten(&mut statement)?;
            order_keys::adapt(&mut statement, &self.state);
            same_relations::tell_apart(&mut statement);
            while let Some([left, right]) = corresponding::probe(&mut statement)? {
                let (left, right) = (self.with_rows_expanded(left).await?, self.with_rows_expanded(right).await?);
                corresponding::expand(&mut statement, left.schema(), right.schema())?;
            }
            self.expand_stars(&mut statement, Wanted::Rows).await?;
            let again = row_stars::has_stars(&mut statement, Wanted::Beside).then(|| statement.clone());
            match (self.planned(statement).await, again) {
                (Err(error), Some(mut again)) if matches!(error.code(), Code::DuplicateColumnName | Code::AmbiguousName) => {
                    // Columns that stars stand for may be selected beside them.
                    match self.expand_stars(&mut again, Wanted::Beside).await {
                        Ok(()) => self.planned(again).await.map_err(|_| error),
                        Err(_) => Err(error),
                    }
                }
                (planned, _) => planned,
            }
        })
    }

    async fn expand_stars(&self, statement: &mut ast::Statement, wanted: Wanted) -> Result<()> {
        while let Some(query) = row_stars::probe(statement, wanted) {
            let rows = self.planned(query).await?;
            row_stars::expand(statement, rows.schema(), wanted)?;
        }
        Ok(())
    }

    async fn planned(&self, mut statement: ast::Statement) -> Result<LogicalPlan> {
        values::spread_rows(&mut statement);
        values::take_names(&mut statement);
        derived_tables::name_all(&mut statement);
        shadowed_queries::set_apart(&mut statement);
        row_memberships::write_out(&mut statement)?;
        row_subqueries::write_out(&mut statement)?;
        row_comparisons::write_out(&mut statement);
        table_samples::take_out(&mut statement)?;
        let relations = relations::take_out(&mut statement, self.looked_up.reserve_numbers())?;
        plain_groups::write_out(&mut statement, &self.state)?;
        row_comparisons::name_rows(&mut statement);
        queries::adapt(&mut statement, self.session_names())?;
        functions::check(&statement, &self.state)?;
        functions::by_own_names(&mut statement, &self.state);
        values::replace_all(&mut statement, &mut |values| self.typed_values(values))?;
        sequences::replace_long(&mut statement, |bounds| self.long_sequence(bounds))?;
        self.look_up_all(&statement, &relations).await?;
        let outputs = OutputNames::of(&statement);
        let names = ColumnNames::of(self.looked_up.schemas());
        names.respell_all(&mut statement);
        spellings::unify(&mut statement, |name| names.contains(name));
        select_items::name_all(&mut statement);
        outer_names::qualify(&mut statement, |name| names.contains(name));
        if relations.want_hidden_columns() {
            hidden_columns::exclude(&mut statement, |name| self.hidden_columns(name))?;
        }
        join_using::set_apart(&mut statement, |name| self.columns(name));
        unnest::set_apart(&mut statement);
        let places = Places::of(&statement);
        array_calls::write_out(&mut statement);
        let statement = DataFusionStatement::Statement(Box::new(statement));
        let plan = self.state.statement_to_plan(statement).await.map_err(|error| places.add_to(from_datafusion(error)))?;
        let plan = ties::written_out(plan).map_err(from_datafusion)?;
        // What is wrong with types is said when the plan is analysed.
        let plan = with_integers(plan.clone()).unwrap_or(plan);
        let plan = with_plain_recursion(plan).map_err(from_datafusion)?;
        outputs.restore(plan)
    }

    /// The names of the columns of a table that was looked up.
    fn columns(&self, name: &ast::ObjectName) -> Option<Vec<String>> {
        let table = self.looked_up.get(&self.resolve(name).ok()?)?;
        Some(table.schema().fields().iter().map(|field| field.name().clone()).collect())
    }

    /// What stands for `VALUES` whose types are not plain to see: a query for their rows, which are planned by themselves, or a union of them. `None` leaves them, and what is
    /// wrong with them, to DataFusion.
    fn typed_values(&self, values: &ast::Values) -> Result<Option<ast::SetExpr>> {
        if let Some(rows) = values::of_columns(values)? {
            return Ok(Some(rows));
        }
        if !values::are_mixed(values) || values.rows.iter().any(|row| row.content.len() != values.rows[0].content.len()) {
            return Ok(None);
        }
        let nothing = DFSchema::empty();
        let row = |row: &[ast::Expr]| {
            row.iter()
                .map(|value| with_integers_within(self.expression(value, &nothing)?, &nothing).map_err(from_datafusion))
                .collect::<Result<Vec<Expr>>>()
        };
        let Ok(rows) = values.rows.iter().map(|values| row(&values.content)).collect::<Result<Vec<_>>>() else { return Ok(None) };
        let plan = alike_rows(rows).and_then(LogicalPlanBuilder::values).and_then(LogicalPlanBuilder::build);
        match plan {
            Ok(plan) if plan.get_parameter_names().is_ok_and(|names| names.is_empty()) => {
                let query = self.kept(plan, &[])?;
                Ok(Some(*query.body))
            }
            _ => Ok(None),
        }
    }

    /// A query for the rows of a plan, with further columns of these values.
    fn kept(&self, plan: LogicalPlan, values: &[ast::Expr]) -> Result<Box<ast::Query>> {
        self.kept_table(Arc::new(ViewTable::new(plan, None)), values)
    }

    /// The same for the rows of a table.
    fn kept_table(&self, table: Arc<dyn TableProvider>, values: &[ast::Expr]) -> Result<Box<ast::Query>> {
        let name = self.looked_up.reserve_numbers().to_string();
        let name = QualifiedName { catalog: SOURCES_CATALOG.to_owned(), schema: SOURCES_CATALOG.to_owned(), table: name };
        let query = overwrite::select_from(&name, values)?;
        self.looked_up.insert(name, table);
        Ok(query)
    }

    /// The hidden columns of a table that was looked up.
    fn hidden_columns(&self, name: &ast::ObjectName) -> Vec<HiddenColumn> {
        let table = self.resolve(name).ok().and_then(|name| self.looked_up.get(&name));
        table.and_then(|table| table.downcast_ref::<IcebergTable>().map(|table| table.hidden_columns().to_vec())).unwrap_or_default()
    }

    async fn look_up_all(&self, statement: &ast::Statement, relations: &Relations) -> Result<()> {
        let whole = DataFusionStatement::Statement(Box::new(statement.clone()));
        let references = self.state.resolve_table_references(&whole).map_err(from_datafusion)?;
        for reference in references {
            let name = self.qualified(reference.clone())?;
            if self.looked_up.get(&name).is_some() {
                continue;
            }
            let table = self.look_up(&name, relations).await.map_err(|error| at_place_of(error, statement, &reference))?;
            self.looked_up.insert(name, table);
        }
        Ok(())
    }

    fn qualified(&self, reference: TableReference) -> Result<QualifiedName> {
        if self.session.schema.is_none() && reference.schema().is_none() {
            return Err(Error::new(Code::MissingSchemaName, format!("'{}' has no schema and the session has none", reference.table()))
                .with_hint("write schema.table, or USE schema first"));
        }
        Ok(reference.resolve(&self.session.catalog, self.session.schema.as_deref().unwrap_or_default()).into())
    }

    async fn look_up(&self, name: &QualifiedName, relations: &Relations) -> Result<Arc<dyn TableProvider>> {
        let with_hidden = name.table.strip_suffix(HIDDEN_MARK).map(|table| QualifiedName { table: table.to_owned(), ..name.clone() });
        let (name, hidden) = (with_hidden.as_ref().unwrap_or(name), with_hidden.is_some());
        if name.catalog == FILES_CATALOG {
            return self.files(relations.file(&name.table)?).await;
        }
        if name.catalog == CHANGES_CATALOG {
            return self.changes(relations.changes(&name.table)?).await;
        }
        if name.catalog == SYSTEM && self.context.catalog(SYSTEM).is_err() {
            return self.system_table(name).await;
        }
        let catalog = self.context.catalog(&name.catalog)?;
        if name.schema == INFORMATION_SCHEMA {
            return information_schema::table(&self.context, &self.session, catalog, name, self.is_over_all);
        }
        if let Some(tables) = self.context.system_tables()
            && let Some(table) = system_tables::table(tables.as_ref(), name).await?
        {
            return Ok(table);
        }
        if let Some((table, number)) = name.table.split_once(VERSION_MARK) {
            let name = QualifiedName { table: table.to_owned(), ..name.clone() };
            return self.table_at(&name, relations.version(number)?, hidden).await;
        }
        if let Some(table) = self.load_for_rows(name).await? {
            return self.provider(table, hidden);
        }
        if let Some(view) = catalog.load_view(&name.in_catalog()).await? {
            return self.view(view).await;
        }
        if let Some((base, kind)) = name.table.rsplit_once('$')
            && let Some(table) = self.load(&QualifiedName { table: base.to_owned(), ..name.clone() }).await?
        {
            return metadata_table(&table, kind, self.context.scan())
                .await?
                .ok_or_else(|| Error::new(Code::TableNotFound, format!("there is no metadata table '{kind}'")));
        }
        Err(self.not_found(catalog, name).await)
    }

    fn provider(&self, table: Table, hidden: bool) -> Result<Arc<dyn TableProvider>> {
        let head = table.head().cloned();
        Ok(self.provider_of(ScanShape::new(table, head)?, hidden))
    }

    fn provider_of(&self, shape: ScanShape, hidden: bool) -> Arc<dyn TableProvider> {
        let table = IcebergTable::of_shape(shape, Arc::clone(self.context.scan()));
        Arc::new(if hidden { table.with_hidden_columns() } else { table })
    }

    async fn table_at(&self, name: &QualifiedName, version: &VersionExpression, hidden: bool) -> Result<Arc<dyn TableProvider>> {
        let version = match version {
            VersionExpression::Version(expression) => self.version(expression)?,
            VersionExpression::Timestamp(expression) => snapshot::Version::AsOfMillis(self.timestamp_millis(expression)?),
        };
        let table = self.table(name).await?;
        // The main branch is there before it has a snapshot.
        if matches!(&version, snapshot::Version::Ref(branch) if branch == MAIN_BRANCH) && table.metadata.current_snapshot().is_none() {
            return self.provider(table.on_branch(MAIN_BRANCH)?, hidden);
        }
        let snapshot = snapshot::resolve(&table.metadata, &version)?;
        let is_branch = |name: &String| table.metadata.snapshot_for_ref(name).is_some() && table.clone().on_branch(name).is_ok();
        match version {
            // With the columns that the table has now, as those who change the branch see it.
            snapshot::Version::Ref(branch) if is_branch(&branch) => self.provider(table.on_branch(&branch)?, hidden),
            _ => match snapshot {
                Some(snapshot) => Ok(self.provider_of(ScanShape::as_it_was(table, snapshot)?, hidden)),
                None => self.provider(table, hidden),
            },
        }
    }

    async fn changes(&self, call: &ChangesCall) -> Result<Arc<dyn TableProvider>> {
        let mut name = self.resolve(&call.table)?;
        if let Some(catalog) = &call.catalog {
            name.catalog.clone_from(catalog);
        }
        let table = self.table(&name).await?;
        let snapshot = |version: &ast::Expr| {
            let found = snapshot::resolve(&table.metadata, &self.version(version)?)?;
            found.ok_or_else(|| Error::new(Code::InvalidArguments, format!("table '{name}' has no snapshots")))
        };
        let plan = table_changes(&table, &snapshot(&call.from)?, &snapshot(&call.to)?, self.context.scan()).await?;
        Ok(Arc::new(ViewTable::new(plan, None)))
    }

    async fn files(&self, call: &FileCall) -> Result<Arc<dyn TableProvider>> {
        let options = FileOptions::from_pairs(call.format, &call.options)?;
        let schema = call.columns.as_deref().map(declared_schema).transpose()?;
        file_table(&self.state, call.format, &call.pattern, &options, schema).await
    }

    /// The columns that a view has. Errors: those of planning it.
    pub(super) async fn view_schema(&self, view: View) -> Result<SchemaRef> {
        Ok(self.view(view).await?.schema())
    }

    /// A view, planned against the names it was made under and the snapshots this query has pinned.
    fn view(&self, view: View) -> BoxFuture<'_, Result<Arc<dyn TableProvider>>> {
        Box::pin(async move {
            if self.view_depth >= VIEW_DEPTH_MAX {
                return Err(Error::new(Code::ViewIsRecursive, format!("view '{}' refers to itself or to too many views", view.name)));
            }
            let session = PlannerSession { catalog: view.default_catalog, schema: Some(view.default_schema), ..self.session.clone() };
            let inner = Self::with_tables(&self.context, self.looked_up.clone(), session, self.view_depth + 1);
            let plan = match parse(&view.sql)? {
                Statement::Query(query) => inner.plan_query(*query).await.map_err(|error| {
                    if error.code() == Code::ViewIsRecursive {
                        return error;
                    }
                    Error::new(Code::InvalidView, format!("view '{}' can't be planned: {error}", view.name))
                })?,
                _ => return Err(Error::new(Code::InvalidView, format!("the text of view '{}' is not a query", view.name))),
            };
            let plan = column_case::frozen(plan, &view.name.to_string(), &view.sql, &view.columns)?;
            let table: Arc<dyn TableProvider> = Arc::new(ViewTable::new(column_case::folded(plan)?, Some(view.sql)));
            Ok(table)
        })
    }

    /// A table of the catalog `system`, which is a query.
    fn system_table<'a>(&'a self, name: &'a QualifiedName) -> BoxFuture<'a, Result<Arc<dyn TableProvider>>> {
        Box::pin(async move {
            let catalogs: Vec<&str> = self.context.catalogs().map(|(name, _)| name).collect();
            let text = system_catalog::query(&catalogs, name).ok_or_else(|| system_catalog::not_found(name))?;
            let Statement::Query(query) = parse(&text)? else { return Err(Error::internal(format!("table '{name}' is no query"))) };
            let mut inner = Self::with_tables(&self.context, self.looked_up.clone(), self.session.clone(), self.view_depth + 1);
            inner.is_over_all = true;
            let plan = column_case::folded(inner.plan_query(*query).await?)?;
            let table: Arc<dyn TableProvider> = Arc::new(ViewTable::new(plan, Some(text)));
            Ok(table)
        })
    }

    /// The error for a name that means nothing, with the name that is most like it.
    async fn not_found(&self, catalog: &Arc<dyn Catalog>, name: &QualifiedName) -> Error {
        match (table_not_found(catalog, name).await, self.context.system_tables()) {
            (Ok(error), Some(tables)) if name.schema == SYSTEM && error.code() == Code::SchemaNotFound => {
                system_tables::not_found(tables.as_ref(), name)
            }
            (Ok(error) | Err(error), _) => error,
        }
    }
}

/// The schema of files whose columns are declared.
fn declared_schema(columns: &[ColumnDefinition]) -> Result<SchemaRef> {
    table_schema(&new_schema(columns)?)
}

async fn table_not_found(catalog: &Arc<dyn Catalog>, name: &QualifiedName) -> Result<Error> {
    if catalog.namespace(&name.schema).await?.is_none() {
        return Ok(listing::schema_not_found(catalog.as_ref(), &name.schema).await);
    }
    // It is looked for here where a table is needed: a view stands for a query in all other places.
    if catalog.load_view(&name.in_catalog()).await?.is_some() {
        let error = Error::new(Code::TableNotFound, format!("'{}' is a view, and a table is needed here", name.table));
        return Ok(error.with_hint("name the table that it reads; SHOW CREATE VIEW shows its query"));
    }
    let missing = Error::new(Code::TableNotFound, format!("table '{}' does not exist", name.table));
    let relations = listing::for_hint(listing::relations_of(catalog.as_ref(), &name.schema, &RelationKind::ALL)).await;
    Ok(suggest(missing, &name.table, relations.iter().map(|relation| relation.name.table.as_str())))
}

/// Adds to `error` the place where `reference` stands in the text.
fn at_place_of(error: Error, statement: &ast::Statement, reference: &TableReference) -> Error {
    if error.location().is_some() {
        return error;
    }
    let mut place = None;
    let _: ControlFlow<()> = ast::visit_relations(statement, |name| {
        let same = super::names::parts(name).last().is_some_and(|table| table == reference.table());
        place = start_of(name).filter(|_| same);
        if place.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    match place {
        Some(place) => error.at(place),
        None => error,
    }
}
