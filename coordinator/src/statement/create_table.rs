//! `CREATE TABLE`, empty or `AS` a query. A table made from a query becomes visible with all its rows in one step.

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use datafusion::sql::sqlparser::ast::{ObjectName, Query};
use nunatak_catalog::backend::is_lost;
use nunatak_catalog::evolution::check_defaults;
use nunatak_catalog::properties::{check_places, name_places};
use nunatak_catalog::spec::{Schema, TableMetadata, TableMetadataBuilder};
use nunatak_catalog::{Catalog, Table, commit, reserved_columns};
use nunatak_core::{Code, Error, Result};
use nunatak_engine::error::from_datafusion;
use nunatak_engine::functions::column_cast::cast_columns;
use nunatak_engine::scan::types::{arrow_to_iceberg_schema, table_schema};
use nunatak_engine::sql::statement::{ColumnDefinition, CreateTable};
use nunatak_engine::sql::{QualifiedName, is_unnamed, output_name, start_of};
use tracing::warn;

use super::table_properties::TableProperties;
use super::{Outcome, StatementContext, insert, parameters, replace_table, table_like};

pub(super) async fn run(context: StatementContext, create: CreateTable) -> Result<Outcome> {
    let mut create = table_like::written_out(&context, create).await?;
    let name = context.resolve(&create.name)?;
    let catalog = Arc::clone(context.engine.catalog(&name.catalog)?);
    if create.or_replace
        && let Some(table) = catalog.load_table(&name.in_catalog()).await.map_err(|error| irreplaceable(error, &name))?
    {
        return replace_table::run(context, catalog, table, create).await;
    }
    if let Some(error) = context.engine.health().one(&catalog, existing(&catalog, &name)).await? {
        return match (create.if_not_exists, &create.query) {
            (false, _) => Err(at(error, &create.name)),
            // It has written no rows.
            (true, Some(_)) => Ok(Outcome::update(async { Ok(Some(0)) })),
            (true, None) => Ok(Outcome::done()),
        };
    }
    name.check_new()?;
    match create.query.take() {
        Some(query) => create_as(context, catalog, name, create, *query).await,
        None => {
            let metadata = new_metadata(&catalog, &name, &create, context.planner.new_schema(&create.columns)?).await?;
            match catalog.create_table(&name.in_catalog(), metadata).await {
                Err(error) if !(create.if_not_exists && error.code() == Code::TableAlreadyExists) => Err(error),
                _ => Ok(Outcome::done()),
            }
        }
    }
}

/// The error for a table that is to be replaced and cannot be read: it would keep its history, and nobody knows that.
fn irreplaceable(error: Error, name: &QualifiedName) -> Error {
    match is_lost(&error) {
        true => error.with_hint(format!("DROP TABLE {} takes it out of its catalog, and then it can be made anew", name.table)),
        false => error,
    }
}

/// The error for a name that a table or a view has; `None` if it is free.
async fn existing(catalog: &Arc<dyn Catalog>, name: &QualifiedName) -> Result<Option<Error>> {
    let found = |text: String, hint: &str| Ok(Some(Error::new(Code::TableAlreadyExists, text).with_hint(hint)));
    if catalog.has_table(&name.in_catalog()).await? {
        return found(format!("table '{}' exists already", name.table), "DROP TABLE first, or CREATE TABLE IF NOT EXISTS");
    }
    if catalog.has_view(&name.in_catalog()).await? {
        return found(format!("'{}' is a view", name.table), "DROP VIEW first, or give the table another name");
    }
    Ok(None)
}

/// The error with the place of the name that it is about.
pub(super) fn at(error: Error, name: &ObjectName) -> Error {
    match start_of(name) {
        Some(place) => error.at(place),
        None => error,
    }
}

/// The metadata of a table without rows.
async fn new_metadata(catalog: &Arc<dyn Catalog>, name: &QualifiedName, create: &CreateTable, schema: Schema) -> Result<TableMetadata> {
    if catalog.namespace(&name.schema).await?.is_none() {
        return Err(
            Error::new(Code::SchemaNotFound, format!("schema '{}' does not exist", name.schema)).with_hint(format!("CREATE SCHEMA {}", name.schema))
        );
    }
    reserved_columns::check_names(&schema)?;
    let mut properties = TableProperties::of_new(&create.properties, &schema)?;
    if schema.as_struct().fields().iter().any(|field| field.write_default.is_some()) {
        check_defaults(properties.format_version)?;
    }
    if let Some(comment) = &create.comment {
        properties.iceberg.insert("comment".to_owned(), comment.clone());
    }
    let location = match properties.location {
        Some(location) => {
            check_is_empty(catalog, name, &location).await?;
            location
        }
        None => catalog.stage_location(&name.in_catalog()).await?,
    };
    let given = properties.iceberg.clone();
    let metadata = TableMetadataBuilder::new(schema, properties.spec, properties.sort_order, location, properties.format_version, properties.iceberg)
        .and_then(TableMetadataBuilder::build)
        .map(|built| built.metadata)
        .map_err(|error| Error::new(Code::InvalidTableProperty, error.to_string()))?;
    if name_places(&given) {
        let storage = catalog.staged_storage(&name.in_catalog(), metadata.location()).await?;
        let staged = Table::new(name.in_catalog(), Arc::new(metadata.clone()), None, storage);
        check_places(catalog.as_ref(), &staged, &given).await?;
    }
    Ok(metadata)
}

/// That a table may be made at a place: what lies there would be deleted with it, whoever it belongs to.
async fn check_is_empty(catalog: &Arc<dyn Catalog>, name: &QualifiedName, location: &str) -> Result<()> {
    catalog.check_location(&name.in_catalog(), location)?;
    if catalog.staged_storage(&name.in_catalog(), location).await?.is_empty(location).await? {
        return Ok(());
    }
    Err(Error::new(Code::InvalidTableProperty, format!("cannot create table '{}' at '{location}', which is not empty", name.table))
        .with_hint("leave the property location out, or name an empty folder; CALL system.register_table(...) takes a table that is there already"))
}

/// Plans the query of `AS`, with the names of the columns that are given: its rows, and the table's schema.
pub(super) async fn plan_query(context: &StatementContext, query: Query, columns: &[ColumnDefinition]) -> Result<(LogicalPlan, Schema)> {
    let plan = parameters::bind(context.planner.plan_query(query).await?, context.parameters.as_ref())?;
    let plan = context.planner.analyzed(plan)?;
    let plan = rename(plan, columns)?;
    let schema = arrow_to_iceberg_schema(plan.schema().as_arrow())?;
    Ok((plan, schema))
}

async fn create_as(context: StatementContext, catalog: Arc<dyn Catalog>, name: QualifiedName, create: CreateTable, query: Query) -> Result<Outcome> {
    let (plan, schema) = plan_query(&context, query, &create.columns).await?;
    let own_location = !create.properties.iter().any(|(name, _)| name == "location");
    let metadata = new_metadata(&catalog, &name, &create, schema).await?;
    if !create.with_data {
        catalog.create_table(&name.in_catalog(), metadata).await?;
        // It has written no rows.
        return Ok(Outcome::update(async { Ok(Some(0)) }));
    }
    let storage = catalog.staged_storage(&name.in_catalog(), metadata.location()).await?;
    // Where a place follows from the name, what lies there may be the table of somebody who was faster.
    let is_apart = catalog.stages_apart();
    let staged = Table::new(name.in_catalog(), Arc::new(metadata), None, storage);
    let input = cast_to_table(plan, &staged)?;
    let writer = insert::writer(&context, &staged, &input).await?;
    Ok(Outcome::update(async move {
        let written = insert::write(&context, &writer, &staged).await?;
        let created = async {
            let metadata = commit::append_to_staged(&staged, written.files.clone(), context.summary(&staged)).await?;
            let created = catalog.create_table(&staged.name, metadata.clone()).await;
            if created.as_ref().is_err_and(|error| error.code() != Code::CommitStateUnknown) {
                commit::discard_staged(&staged, &metadata).await;
            }
            created
        };
        match created.await {
            Ok(_) => Ok(Some(written.changed_rows())),
            Err(error) => {
                insert::discard_unless_unknown(&written, &staged, &error).await;
                if own_location && error.code() != Code::CommitStateUnknown {
                    discard_folder(&staged, is_apart).await;
                }
                let lost_race = create.if_not_exists && error.code() == Code::TableAlreadyExists;
                if lost_race { Ok(Some(0)) } else { Err(error) }
            }
        }
    }))
}

/// Removes the folder of a table that did not come to be, with whatever is in it if nobody else writes there. Only for a folder whose name was made here: a place that
/// the user named may hold more.
async fn discard_folder(staged: &Table, is_apart: bool) {
    let (storage, location) = (&staged.storage, staged.metadata.location());
    let removed = if is_apart { storage.delete_folder(location).await } else { storage.remove_empty_folders(location).await };
    if let Err(failure) = removed {
        warn!(table = %staged.name, %failure, "the files of a table that was not created could not be removed");
    }
}

/// What is stored needs names: a column without one, or one that is selected twice, is refused.
///
/// Errors: `MISSING_COLUMN_NAME`, `DUPLICATE_COLUMN_NAME`.
pub(super) fn check_names(plan: &LogicalPlan, statement: &str) -> Result<()> {
    let mut seen = HashSet::new();
    for (position, field) in (1..).zip(plan.schema().fields()) {
        if is_unnamed(field.name()) {
            return Err(Error::new(Code::MissingColumnName, format!("column {position} of {statement} has no name")).with_hint("give it an alias"));
        }
        let name = output_name(field.name());
        if !seen.insert(name.to_lowercase()) {
            return Err(Error::new(Code::DuplicateColumnName, format!("column '{name}' occurs twice")).with_hint("give one of them an alias"));
        }
    }
    Ok(())
}

/// That a list of names has one of its own for each column of a query.
///
/// Errors: `MISMATCHED_COLUMN_ALIASES`, `DUPLICATE_COLUMN_NAME`.
pub(super) fn check_list(names: &[&str], columns: usize) -> Result<()> {
    if names.len() != columns {
        let text = format!("the list names {} columns, and the query gives {columns}", names.len());
        return Err(Error::new(Code::MismatchedColumnAliases, text).with_hint("name each column of the query, or leave the list out"));
    }
    let mut seen = HashSet::new();
    match names.iter().find(|name| !seen.insert(name.to_lowercase())) {
        Some(twice) => {
            Err(Error::new(Code::DuplicateColumnName, format!("column '{twice}' is in the list twice")).with_hint("give one of them another name"))
        }
        None => Ok(()),
    }
}

/// Gives the columns the names of `CREATE TABLE t (a, b) AS`, if there are any.
fn rename(plan: LogicalPlan, columns: &[ColumnDefinition]) -> Result<LogicalPlan> {
    if columns.is_empty() {
        check_names(&plan, "CREATE TABLE AS")?;
        return Ok(plan);
    }
    if let Some(typed) = columns.iter().find(|column| column.column_type.is_some()) {
        return Err(
            Error::new(Code::SyntaxError, format!("column '{}' of CREATE TABLE AS can't have a type", typed.name)).with_hint("CAST it in the query")
        );
    }
    let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
    check_list(&names, plan.schema().fields().len())?;
    let expressions: Vec<Expr> =
        plan.schema().columns().into_iter().zip(columns).map(|(column, named)| Expr::Column(column).alias(&named.name)).collect();
    LogicalPlanBuilder::from(plan).project(expressions).and_then(LogicalPlanBuilder::build).map_err(from_datafusion)
}

/// Casts the columns, by position, to the types of the table.
pub(super) fn cast_to_table(plan: LogicalPlan, table: &Table) -> Result<LogicalPlan> {
    cast_columns(plan, &*table_schema(table.metadata.current_schema())?).map_err(from_datafusion)
}
