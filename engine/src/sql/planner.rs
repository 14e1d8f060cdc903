//! From a parsed statement to DataFusion's logical plan, with every name resolved and every table at one snapshot.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, SchemaRef, TimeUnit};
use datafusion::catalog::TableProvider;
use datafusion::common::{DFSchema, ScalarValue, TableReference};
use datafusion::datasource::ViewTable;
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::{DmlStatement, Expr, ExprSchemable, LogicalPlan, WriteOp};
use datafusion::optimizer::simplify_expressions::ExprSimplifier;

use datafusion::sql::parser::Statement as DataFusionStatement;
use datafusion::sql::sqlparser::ast;
use futures::future::BoxFuture;
use nunatak_catalog::spec::{FormatVersion, SnapshotRef, Type};
use nunatak_catalog::{Catalog, Table, View, snapshot};
use nunatak_core::{Code, Error, Result};

use super::changes::{self, Change, ChangePlan};
use super::hidden_columns::{self, HIDDEN_MARK};
use super::names::{INFORMATION_SCHEMA, LookedUp, QualifiedName, parts};
use super::place::{Places, start_of};
use super::relations::{self, CHANGES_CATALOG, ChangesCall, FILES_CATALOG, FileCall, Relations, VERSION_MARK, VersionExpression};
use super::statement::{ColumnDefinition, Statement};
use super::types::new_schema;
use super::{functions, information_schema, merge, nested_values, parse, queries, row_values, select_items};
use crate::context::EngineContext;
use crate::error::{from_datafusion, suggest};
use crate::files::{FileOptions, file_table};
use crate::scan::types::table_schema;
use crate::scan::{HiddenColumn, IcebergTable, ScanFiles, metadata_table, table_changes};

/// How deeply views may refer to views.
const VIEW_DEPTH_MAX: usize = 32;

/// Plans the statements of one query. Whatever it looks up stays pinned for its life.
pub struct Planner {
    context: Arc<EngineContext>,
    state: SessionState,
    looked_up: LookedUp,
    user: String,
    catalog: String,
    schema: Option<String>,
    view_depth: usize,
}

/// A planned `INSERT`.
pub struct InsertPlan {
    /// The table, as it was when planned.
    pub table: Table,
    /// Its rows: the table's columns in order, cast to their types.
    pub input: LogicalPlan,
}

impl Planner {
    /// A planner for one query of `user`. `partitions` is how many partitions it is split into, `None` for the process's default.
    pub fn new(context: &Arc<EngineContext>, user: &str, catalog: &str, schema: Option<&str>, partitions: Option<usize>) -> Self {
        Self::with_tables(context, LookedUp::default(), user, catalog, schema, partitions, 0)
    }

    fn with_tables(
        context: &Arc<EngineContext>,
        looked_up: LookedUp,
        user: &str,
        catalog: &str,
        schema: Option<&str>,
        partitions: Option<usize>,
        view_depth: usize,
    ) -> Self {
        let mut config = context.base().config().clone();
        if let Some(partitions) = partitions {
            config = config.with_target_partitions(partitions);
        }
        // A name without a schema is refused before DataFusion sees it, so the default may be empty.
        config = config.with_default_catalog_and_schema(catalog, schema.unwrap_or_default());
        let mut state =
            SessionStateBuilder::new_from_existing(context.base().clone()).with_config(config).with_catalog_list(Arc::new(looked_up.clone())).build();
        // From here on "now" is one moment for the whole query.
        state.mark_start_execution();
        let (user, catalog, schema) = (user.to_owned(), catalog.to_owned(), schema.map(str::to_owned));
        Self { context: Arc::clone(context), state, looked_up, user, catalog, schema, view_depth }
    }

    fn session_names(&self) -> queries::SessionNames<'_> {
        queries::SessionNames { user: &self.user, catalog: &self.catalog, schema: self.schema.as_deref() }
    }

    /// The DataFusion session of this query.
    pub fn state(&self) -> &SessionState {
        &self.state
    }

    /// What `name` means in this session.
    pub fn resolve(&self, name: &ast::ObjectName) -> Result<QualifiedName> {
        QualifiedName::resolve(name, &self.catalog, self.schema.as_deref())
    }

    /// Plans a query.
    pub async fn plan_query(&self, query: ast::Query) -> Result<LogicalPlan> {
        self.plan(ast::Statement::Query(Box::new(query))).await
    }

    /// Plans an `INSERT`; DataFusion maps and casts its columns.
    pub async fn plan_insert(&self, mut insert: ast::Statement) -> Result<InsertPlan> {
        if let ast::Statement::Insert(insert) = &mut insert {
            if insert.overwrite || insert.on.is_some() || insert.returning.is_some() || insert.partitioned.is_some() {
                return Err(Error::not_supported("of INSERT only INSERT INTO table [(columns)] query is supported yet"));
            }
            self.name_rows(insert).await?;
        }
        match self.plan(insert).await? {
            LogicalPlan::Dml(DmlStatement { table_name, input, op: WriteOp::Insert(_), .. }) => {
                let name = self.qualified(table_name)?;
                let table = self.looked_up.get(&name).ok_or_else(|| Error::internal(format!("{name} was planned but not looked up")))?;
                let Some(iceberg) = table.downcast_ref::<IcebergTable>() else {
                    return Err(Error::not_supported(format!("'{name}' is not a table that can be written")));
                };
                Ok(InsertPlan { table: iceberg.table().clone(), input: Arc::unwrap_or_clone(input) })
            }
            other => Err(Error::internal(format!("INSERT was planned as {}", other.display()))),
        }
    }

    /// Gives the rows that are inserted the field names of their columns.
    async fn name_rows(&self, insert: &mut ast::Insert) -> Result<()> {
        let (ast::TableObject::TableName(name), Some(source)) = (&insert.table, &mut insert.source) else { return Ok(()) };
        let name = self.resolve(name)?;
        let table = self.context.catalog(&name.catalog)?.load_table(&name.in_catalog()).await?;
        // What is no table gets its error from planning.
        let Some(table) = table else { return Ok(()) };
        let fields = table.metadata.current_schema().as_struct().fields();
        let types: Vec<&Type> = match insert.columns.is_empty() {
            true => fields.iter().map(|field| field.field_type.as_ref()).collect(),
            false => {
                let names = insert.columns.iter().filter_map(|column| parts(column).pop());
                names.filter_map(|name| fields.iter().find(|field| field.name == name)).map(|field| field.field_type.as_ref()).collect()
            }
        };
        row_values::name_fields_of_query(source, &types);
        let snapshot = table.metadata.current_snapshot().cloned();
        let provider = self.provider(table.clone(), snapshot, false)?;
        self.looked_up.insert(name, provider);
        Ok(())
    }

    /// A table of that name at its current snapshot, and the files that may have rows for which `filter` is true.
    pub async fn table_files(&self, name: &QualifiedName, filter: Option<&ast::Expr>) -> Result<(IcebergTable, ScanFiles)> {
        let table = self.table(name).await?;
        let snapshot = table.metadata.current_snapshot().cloned();
        let table = IcebergTable::new(table, snapshot, Arc::clone(self.context.scan()))?;
        let mut filters = Vec::new();
        if let Some(filter) = filter {
            let schema = DFSchema::try_from(TableProvider::schema(&table)).map_err(from_datafusion)?;
            let with_alias = ast::ExprWithAlias { expr: filter.clone(), alias: None };
            let planned = self.state.create_logical_expr_from_sql_expr(with_alias, &schema).map_err(from_datafusion)?;
            let physical = self.state.create_physical_expr(planned, &schema).map_err(from_datafusion)?;
            if physical.data_type(schema.as_arrow()).map_err(from_datafusion)? != DataType::Boolean {
                return Err(Error::new(Code::TypeMismatch, format!("'{filter}' is no condition: it is neither true nor false")));
            }
            filters.push(physical);
        }
        let files = table.plan_files(filters).await?;
        Ok((table, files))
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
        let loaded = self.context.catalog(&name.catalog)?.load_table(&name.in_catalog()).await?;
        let Some(loaded) = loaded else {
            self.look_up(name, &Relations::default()).await?;
            return Err(Error::not_supported(format!("'{name}' is not a table whose rows can be changed")));
        };
        let at_head = || IcebergTable::new(loaded.clone(), loaded.metadata.current_snapshot().cloned(), Arc::clone(self.context.scan()));
        let table = Arc::new(at_head()?.with_hidden_columns());
        let has_lineage = loaded.metadata.format_version() >= FormatVersion::V3;
        let needed = [HiddenColumn::File, HiddenColumn::Position].into_iter().chain(has_lineage.then_some(HiddenColumn::RowId));
        if let Some(hidden) = needed.into_iter().find(|column| !table.hidden_columns().contains(column)) {
            return Err(Error::not_supported(format!(
                "table '{name}' has a column '{}': rows of a table with a column of that name cannot be changed",
                hidden.name()
            )));
        }
        self.looked_up.insert(name.clone(), Arc::new(at_head()?));
        let marked = QualifiedName { table: format!("{}{HIDDEN_MARK}", name.table), ..name.clone() };
        self.looked_up.insert(marked, Arc::clone(&table) as _);
        Ok(table)
    }

    async fn plan_merge(&self, merge: &ast::Merge, table: &Arc<IcebergTable>) -> Result<LogicalPlan> {
        let mut merge = merge.clone();
        for clause in &mut merge.clauses {
            changes::name_rows(&mut clause.action, table);
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
        datafusion::logical_expr::LogicalPlanBuilder::scan("files", source, None).and_then(|builder| builder.build()).map_err(from_datafusion)
    }

    /// The table of that name at its current snapshot. Errors: `TABLE_NOT_FOUND` and those above it.
    pub async fn table(&self, name: &QualifiedName) -> Result<Table> {
        let catalog = self.context.catalog(&name.catalog)?;
        match catalog.load_table(&name.in_catalog()).await? {
            Some(table) => Ok(table),
            None => Err(self.not_found(catalog, name).await),
        }
    }

    async fn plan(&self, mut statement: ast::Statement) -> Result<LogicalPlan> {
        let relations = relations::take_out(&mut statement, self.looked_up.reserve_numbers())?;
        queries::adapt(&mut statement, self.session_names())?;
        functions::check(&statement, &self.state)?;
        select_items::name_all(&mut statement);
        let places = Places::of(&statement);
        let mut statement = DataFusionStatement::Statement(Box::new(statement));
        self.look_up_all(&statement, &relations).await?;
        if let (true, DataFusionStatement::Statement(statement)) = (relations.want_hidden_columns(), &mut statement) {
            hidden_columns::exclude(statement, |name| self.hidden_columns(name))?;
        }
        let plan = self.state.statement_to_plan(statement).await.and_then(nested_values::with_casts_above);
        plan.map_err(|error| places.add_to(from_datafusion(error)))
    }

    /// The hidden columns of a table that was looked up.
    fn hidden_columns(&self, name: &ast::ObjectName) -> Vec<HiddenColumn> {
        let table = self.resolve(name).ok().and_then(|name| self.looked_up.get(&name));
        table.and_then(|table| table.downcast_ref::<IcebergTable>().map(|table| table.hidden_columns().to_vec())).unwrap_or_default()
    }

    async fn look_up_all(&self, statement: &DataFusionStatement, relations: &Relations) -> Result<()> {
        let references = self.state.resolve_table_references(statement).map_err(from_datafusion)?;
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
        if self.schema.is_none() && reference.schema().is_none() {
            return Err(Error::new(Code::MissingSchemaName, format!("'{}' has no schema and the session has none", reference.table()))
                .with_hint("write schema.table, or USE schema first"));
        }
        Ok(reference.resolve(&self.catalog, self.schema.as_deref().unwrap_or_default()).into())
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
        let catalog = self.context.catalog(&name.catalog)?;
        if name.schema == INFORMATION_SCHEMA {
            return information_schema::table(catalog, name).await;
        }
        if let Some((table, number)) = name.table.split_once(VERSION_MARK) {
            let name = QualifiedName { table: table.to_owned(), ..name.clone() };
            return self.table_at(&name, relations.version(number)?, hidden).await;
        }
        if let Some(table) = catalog.load_table(&name.in_catalog()).await? {
            let snapshot = table.metadata.current_snapshot().cloned();
            return self.provider(table, snapshot, hidden);
        }
        if let Some(view) = catalog.load_view(&name.in_catalog()).await? {
            return self.view(view).await;
        }
        if let Some((base, kind)) = name.table.rsplit_once('$')
            && let Some(table) = catalog.load_table(&nunatak_catalog::TableName::new(&name.schema, base)).await?
        {
            return metadata_table(&table, kind, self.context.scan())
                .await?
                .ok_or_else(|| Error::new(Code::TableNotFound, format!("there is no metadata table '{kind}'")));
        }
        Err(self.not_found(catalog, name).await)
    }

    fn provider(&self, table: Table, snapshot: Option<SnapshotRef>, hidden: bool) -> Result<Arc<dyn TableProvider>> {
        let table = IcebergTable::new(table, snapshot, Arc::clone(self.context.scan()))?;
        Ok(Arc::new(if hidden { table.with_hidden_columns() } else { table }))
    }

    async fn table_at(&self, name: &QualifiedName, version: &VersionExpression, hidden: bool) -> Result<Arc<dyn TableProvider>> {
        let version = match version {
            VersionExpression::Version(expression) => self.version(expression)?,
            VersionExpression::Timestamp(expression) => snapshot::Version::AsOfMillis(self.timestamp_millis(expression)?),
        };
        let table = self.table(name).await?;
        let snapshot = snapshot::resolve(&table.metadata, &version)?;
        self.provider(table, snapshot, hidden)
    }

    fn version(&self, expression: &ast::Expr) -> Result<snapshot::Version> {
        match self.constant(expression, None)? {
            ScalarValue::Int64(Some(id)) => Ok(snapshot::Version::Id(id)),
            ScalarValue::Utf8(Some(name)) | ScalarValue::Utf8View(Some(name)) | ScalarValue::LargeUtf8(Some(name)) => {
                Ok(snapshot::Version::Ref(name))
            }
            other => Err(Error::new(Code::TypeMismatch, format!("a version is a snapshot id or the name of a branch or tag, not {other}"))),
        }
    }

    fn timestamp_millis(&self, expression: &ast::Expr) -> Result<i64> {
        match self.constant(expression, Some(&DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()))))? {
            ScalarValue::TimestampMillisecond(Some(millis), _) => Ok(millis),
            _ => Err(Error::new(Code::InvalidArguments, "FOR TIMESTAMP AS OF needs a timestamp that is not null")),
        }
    }

    /// The value of an expression without columns.
    fn constant(&self, expression: &ast::Expr, cast_to: Option<&DataType>) -> Result<ScalarValue> {
        let schema = Arc::new(DFSchema::empty());
        let with_alias = datafusion::sql::sqlparser::ast::ExprWithAlias { expr: expression.clone(), alias: None };
        let mut planned = self.state.create_logical_expr_from_sql_expr(with_alias, &schema).map_err(from_datafusion)?;
        if let Some(data_type) = cast_to {
            planned = planned.cast_to(data_type, schema.as_ref()).map_err(from_datafusion)?;
        }
        let context =
            SimplifyContext::builder().with_schema(schema).with_config_options(Arc::clone(self.state.config_options())).with_current_time().build();
        match ExprSimplifier::new(context).simplify(planned).map_err(from_datafusion)? {
            Expr::Literal(value, _) => Ok(value),
            _ => Err(Error::new(Code::ExpressionNotConstant, format!("'{expression}' is not a constant"))),
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

    /// A view, planned against the names it was made under and the snapshots this query has pinned.
    fn view(&self, view: View) -> BoxFuture<'_, Result<Arc<dyn TableProvider>>> {
        Box::pin(async move {
            if self.view_depth >= VIEW_DEPTH_MAX {
                return Err(Error::new(Code::ViewIsRecursive, format!("view '{}' refers to itself or to too many views", view.name)));
            }
            let inner = Self::with_tables(
                &self.context,
                self.looked_up.clone(),
                &self.user,
                &view.default_catalog,
                Some(&view.default_schema),
                Some(self.state.config().target_partitions()),
                self.view_depth + 1,
            );
            let plan = match parse(&view.sql)? {
                Statement::Query(query) => inner.plan_query(*query).await.map_err(|error| {
                    if error.code() == Code::ViewIsRecursive {
                        return error;
                    }
                    Error::new(Code::InvalidView, format!("view '{}' can't be planned: {error}", view.name))
                })?,
                _ => return Err(Error::new(Code::InvalidView, format!("the text of view '{}' is not a query", view.name))),
            };
            let table: Arc<dyn TableProvider> = Arc::new(ViewTable::new(plan, Some(view.sql)));
            Ok(table)
        })
    }

    /// The error for a name that means nothing, with the name that is most like it.
    async fn not_found(&self, catalog: &Arc<dyn Catalog>, name: &QualifiedName) -> Error {
        match table_not_found(catalog, name).await {
            Ok(error) | Err(error) => error,
        }
    }
}

/// The schema of files whose columns are declared.
fn declared_schema(columns: &[ColumnDefinition]) -> Result<SchemaRef> {
    table_schema(&new_schema(columns)?)
}

async fn table_not_found(catalog: &Arc<dyn Catalog>, name: &QualifiedName) -> Result<Error> {
    let schemas = catalog.namespaces().await?;
    if !schemas.iter().any(|schema| schema.name == name.schema) {
        let missing = Error::new(Code::SchemaNotFound, format!("schema '{}' does not exist", name.schema));
        return Ok(suggest(missing, &name.schema, schemas.iter().map(|schema| schema.name.as_str())));
    }
    let names: BTreeSet<String> = catalog.tables(&name.schema).await?.into_iter().chain(catalog.views(&name.schema).await?).collect();
    let missing = Error::new(Code::TableNotFound, format!("table '{}' does not exist", name.table));
    Ok(suggest(missing, &name.table, names.iter().map(String::as_str)))
}

/// Adds to `error` the place where `reference` stands in the text.
fn at_place_of(error: Error, statement: &DataFusionStatement, reference: &TableReference) -> Error {
    let DataFusionStatement::Statement(statement) = statement else { return error };
    if error.location().is_some() {
        return error;
    }
    let mut place = None;
    let _: ControlFlow<()> = ast::visit_relations(statement.as_ref(), |name| {
        let same = super::names::parts(name).last().is_some_and(|table| table == reference.table());
        place = start_of(name).filter(|_| same);
        if place.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    match place {
        Some(place) => error.at(place),
        None => error,
    }
}
