//! `SHOW ...` and `DESCRIBE`, with Trino's columns.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::sql::sqlparser::ast::ObjectName;
use nunatak_catalog::unsupported::comment;
use nunatak_core::{Error, Result};
use nunatak_engine::functions::listing::{ListedFunction, listed};
use nunatak_engine::scan::types::{arrow_to_iceberg_schema, trino_column_type};
use nunatak_engine::sql::listing::{RelationKind, relations_of};
use nunatak_engine::sql::statement::Show;
use nunatak_engine::sql::{INFORMATION_TABLES, Statement, like_matches, parse, parts};

use super::{Outcome, StatementContext, schema as schemas, show_create};
use crate::query::PROPERTIES;

/// The schema of the tables in which the server tells of itself, and the catalog of those that are queries over others.
const SYSTEM: &str = "system";
/// The schema of the listings that every catalog has.
const INFORMATION_SCHEMA: &str = "information_schema";

/// The names of the columns of each listing; all are text.
fn columns(show: &Show) -> &'static [&'static str] {
    match show {
        Show::Catalogs { .. } => &["Catalog"],
        Show::Schemas { .. } => &["Schema"],
        Show::Tables { .. } => &["Table"],
        Show::Columns { .. } => &["Column", "Type", "Extra", "Comment"],
        Show::CreateTable(_) => &["Create Table"],
        Show::CreateView(_) => &["Create View"],
        Show::CreateSchema(_) => &["Create Schema"],
        Show::Session { .. } => &["Name", "Value", "Default", "Type", "Description"],
        Show::Functions { .. } => &["Function", "Return Type", "Argument Types", "Function Type", "Deterministic", "Description"],
    }
}

/// The schema of a listing.
pub(super) fn schema(show: &Show) -> SchemaRef {
    Arc::new(Schema::new(columns(show).iter().map(|name| Field::new(*name, DataType::Utf8, true)).collect::<Vec<_>>()))
}

pub(super) async fn run(context: &StatementContext, show: Show) -> Result<Outcome> {
    let rows = match &show {
        Show::Catalogs { like } => singles(context.engine.catalogs().map(|(name, _)| name.to_owned()), like.as_deref()),
        Show::Schemas { catalog, like } => schema_rows(context, catalog.as_deref(), like.as_deref()).await?,
        Show::Tables { schema, like } => table_rows(context, schema.as_ref(), like.as_deref()).await?,
        Show::Columns { table, like } => column_rows(context, table, like.as_deref()).await?,
        Show::CreateTable(name) => singles([show_create::table(context, name).await?], None),
        Show::CreateView(name) => singles([show_create::view(context, name).await?], None),
        Show::CreateSchema(name) => singles([show_create::schema(context, name).await?], None),
        Show::Session { like } => session_rows(context, like.as_deref()),
        Show::Functions { like } => function_rows(context, like.as_deref()),
    };
    let schema = schema(&show);
    let arrays =
        (0..schema.fields().len()).map(|column| -> ArrayRef { Arc::new(rows.iter().map(|row| Some(row[column].as_str())).collect::<StringArray>()) });
    let batch = RecordBatch::try_new(Arc::clone(&schema), arrays.collect()).map_err(|error| Error::internal(error.to_string()))?;
    Ok(Outcome::listing(batch))
}

type Rows = Vec<Vec<String>>;

fn singles(names: impl IntoIterator<Item = String>, like: Option<&str>) -> Rows {
    names.into_iter().filter(|name| like_matches(like, name)).map(|name| vec![name]).collect()
}

async fn schema_rows(context: &StatementContext, catalog: Option<&str>, like: Option<&str>) -> Result<Rows> {
    let catalog = context.engine.catalog(catalog.unwrap_or(&context.session.catalog))?;
    let mut names = context.engine.health().names(catalog, catalog.namespace_names()).await?;
    names.push(INFORMATION_SCHEMA.to_owned());
    names.extend(context.engine.system_tables().map(|_| SYSTEM.to_owned()));
    names.sort();
    names.dedup();
    Ok(singles(names, like))
}

async fn table_rows(context: &StatementContext, schema: Option<&ObjectName>, like: Option<&str>) -> Result<Rows> {
    let (catalog, schema) = match (schema, &context.session.schema) {
        (Some(name), _) => schemas::resolve(context, name)?,
        (None, Some(schema)) => (context.session.catalog.clone(), schema.clone()),
        (None, None) => {
            return Err(
                Error::new(nunatak_core::Code::MissingSchemaName, "no schema is named and the session has none").with_hint("SHOW TABLES FROM schema")
            );
        }
    };
    let catalog = context.engine.catalog(&catalog)?;
    if let (SYSTEM, Some(tables)) = (schema.as_str(), context.engine.system_tables()) {
        return Ok(singles(tables.names().iter().map(|name| (*name).to_owned()), like));
    }
    if schema == INFORMATION_SCHEMA {
        return Ok(singles(INFORMATION_TABLES.map(str::to_owned), like));
    }
    let relations = context.engine.health().names(catalog, relations_of(catalog.as_ref(), &schema, &RelationKind::ALL)).await?;
    Ok(singles(relations.into_iter().map(|relation| relation.name.table), like))
}

/// The columns of whatever can stand in `FROM`: tables, views, metadata tables.
async fn column_rows(context: &StatementContext, name: &ObjectName, like: Option<&str>) -> Result<Rows> {
    let qualified = context.resolve(name)?;
    let table = match context.engine.catalog(&qualified.catalog) {
        Ok(catalog) => catalog.load_table(&qualified.in_catalog()).await?,
        // It has no tables but queries.
        Err(_) if qualified.catalog == SYSTEM => None,
        Err(error) => return Err(error),
    };
    if let Some(table) = table {
        let fields = table.metadata.current_schema().as_struct().fields();
        let rows = fields.iter().map(|field| {
            let extra = if field.required { "not null" } else { "" };
            vec![field.name.clone(), trino_column_type(field), extra.to_owned(), comment(field).unwrap_or_default().to_owned()]
        });
        return Ok(rows.filter(|row| like_matches(like, &row[0])).collect());
    }
    let quoted: Vec<String> = parts(name).into_iter().map(|part| format!("\"{}\"", part.replace('"', "\"\""))).collect();
    let Statement::Query(query) = parse(&format!("SELECT * FROM {}", quoted.join(".")))? else { return Err(Error::internal("a SELECT is a query")) };
    let plan = context.planner.plan_query(*query).await?;
    let schema = arrow_to_iceberg_schema(plan.schema().as_arrow())?;
    let rows = schema.as_struct().fields().iter().map(|field| vec![field.name.clone(), trino_column_type(field), String::new(), String::new()]);
    Ok(rows.filter(|row| like_matches(like, &row[0])).collect())
}

fn session_rows(context: &StatementContext, like: Option<&str>) -> Rows {
    let value = |name: &str, default: &str| context.session.properties.get(name).cloned().unwrap_or_else(|| default.to_owned());
    let row = |property: &crate::query::Property| {
        vec![
            property.name.to_owned(),
            value(property.name, property.default),
            property.default.to_owned(),
            property.data_type.to_owned(),
            property.description.to_owned(),
        ]
    };
    PROPERTIES.iter().filter(|property| like_matches(like, property.name)).map(row).collect()
}

fn function_rows(context: &StatementContext, like: Option<&str>) -> Rows {
    let functions = listed(context.planner.state()).into_iter().filter(|function| like_matches(like, &function.name));
    let row = |function: ListedFunction| {
        vec![function.name, function.returns, function.arguments, function.kind.to_owned(), function.is_deterministic.to_string(), function.about]
    };
    functions.map(row).collect()
}
