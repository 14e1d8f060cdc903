//! `SHOW ...` and `DESCRIBE`, with Trino's columns.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::sql::sqlparser::ast::ObjectName;
use nunatak_catalog::unsupported::comment;
use nunatak_core::{Error, Result};
use nunatak_engine::functions::listing::{ListedFunction, listed};
use nunatak_engine::scan::types::{arrow_to_iceberg_schema, trino_column_type};
use nunatak_engine::sql::listing::{RelationKind, relations_of};
use nunatak_engine::sql::statement::{RolesOf, Show};
use nunatak_engine::sql::{INFORMATION_TABLES, Like, Statement, parse, parts, system_schema_tables, system_schemas};
use nunatak_engine::type_name::type_name;

use super::{Outcome, StatementContext, schema as schemas, show_create};
use crate::query::PROPERTIES;

/// The schema of the tables in which the server tells of itself, and the catalog of those that are queries over others.
const SYSTEM: &str = "system";
/// The schema of the listings that every catalog has.
const INFORMATION_SCHEMA: &str = "information_schema";

/// The one column that is no text.
const DETERMINISTIC: &str = "Deterministic";

/// The names of the columns of each listing; all but one are text.
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
        Show::Functions { .. } => &["Function", "Return Type", "Argument Types", "Function Type", DETERMINISTIC, "Description"],
        Show::Grants { .. } => {
            &["Grantor", "Grantor Type", "Grantee", "Grantee Type", "Catalog", "Schema", "Table", "Privilege", "Grantable", "With Hierarchy"]
        }
        Show::Roles { of: RolesOf::All | RolesOf::Session, .. } => &["Role"],
        Show::Roles { of: RolesOf::User, .. } => &["Role Grants"],
    }
}

/// The schema of a listing.
pub(super) fn schema(show: &Show) -> SchemaRef {
    let type_of = |name: &str| if name == DETERMINISTIC { DataType::Boolean } else { DataType::Utf8 };
    Arc::new(Schema::new(columns(show).iter().map(|name| Field::new(*name, type_of(name), true)).collect::<Vec<_>>()))
}

pub(super) async fn run(context: &StatementContext, show: Show) -> Result<Outcome> {
    let rows = match &show {
        Show::Catalogs { like } => singles(context.engine.catalogs().map(|(name, _)| name.to_owned()), &Like::new(like.as_ref())?),
        Show::Schemas { catalog, like } => schema_rows(context, catalog.as_deref(), &Like::new(like.as_ref())?).await?,
        Show::Tables { schema, like } => table_rows(context, schema.as_ref(), &Like::new(like.as_ref())?).await?,
        Show::Columns { table, like } => column_rows(context, table, &Like::new(like.as_ref())?).await?,
        Show::CreateTable(name) => vec![vec![show_create::table(context, name).await?]],
        Show::CreateView(name) => vec![vec![show_create::view(context, name).await?]],
        Show::CreateSchema(name) => vec![vec![show_create::schema(context, name).await?]],
        Show::Session { like } => session_rows(context, &Like::new(like.as_ref())?),
        // There are no functions of users yet.
        Show::Functions { schema: Some(_), .. } => Rows::new(),
        Show::Functions { schema: None, like } => function_rows(context, &Like::new(like.as_ref())?),
        Show::Grants { table } => grant_rows(context, table.as_ref()).await?,
        Show::Roles { catalog, .. } => role_rows(context, catalog.as_deref())?,
    };
    let schema = schema(&show);
    let arrays = schema.fields().iter().enumerate().map(|(column, field)| -> ArrayRef {
        let texts = rows.iter().map(|row| row[column].as_str());
        match field.data_type() {
            DataType::Boolean => Arc::new(texts.map(|text| Some(text == "true")).collect::<BooleanArray>()),
            _ => Arc::new(texts.map(Some).collect::<StringArray>()),
        }
    });
    let batch = RecordBatch::try_new(Arc::clone(&schema), arrays.collect()).map_err(|error| Error::internal(error.to_string()))?;
    Ok(Outcome::listing(batch))
}

type Rows = Vec<Vec<String>>;

fn singles(names: impl IntoIterator<Item = String>, like: &Like) -> Rows {
    names.into_iter().filter(|name| like.matches(name)).map(|name| vec![name]).collect()
}

/// Whether it is the catalog of tables that are queries, which is no catalog of the engine's.
pub(super) fn is_system(context: &StatementContext, catalog: &str) -> bool {
    catalog == SYSTEM && context.engine.catalog(SYSTEM).is_err()
}

async fn schema_rows(context: &StatementContext, catalog: Option<&str>, like: &Like) -> Result<Rows> {
    let catalog = catalog.unwrap_or(&context.session.catalog);
    if is_system(context, catalog) {
        return Ok(singles(system_schemas().map(str::to_owned), like));
    }
    let catalog = context.engine.catalog(catalog)?;
    let mut names = context.engine.health().names(catalog, catalog.namespace_names()).await?;
    names.push(INFORMATION_SCHEMA.to_owned());
    names.extend(context.engine.system_tables().map(|_| SYSTEM.to_owned()));
    names.sort();
    names.dedup();
    Ok(singles(names, like))
}

async fn table_rows(context: &StatementContext, schema: Option<&ObjectName>, like: &Like) -> Result<Rows> {
    let (catalog, schema) = match (schema, &context.session.schema) {
        (Some(name), _) => schemas::resolve(context, name)?,
        (None, Some(schema)) => (context.session.catalog.clone(), schema.clone()),
        (None, None) => {
            return Err(
                Error::new(nunatak_core::Code::MissingSchemaName, "no schema is named and the session has none").with_hint("SHOW TABLES FROM schema")
            );
        }
    };
    if is_system(context, &catalog) {
        return Ok(singles(system_schema_tables(&schema)?.iter().map(|name| (*name).to_owned()), like));
    }
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
async fn column_rows(context: &StatementContext, name: &ObjectName, like: &Like) -> Result<Rows> {
    let qualified = context.resolve(name)?;
    let catalog = match context.engine.catalog(&qualified.catalog) {
        Ok(catalog) => Some(catalog),
        // It has no tables but queries.
        Err(_) if qualified.catalog == SYSTEM => None,
        Err(error) => return Err(error),
    };
    let table = match catalog {
        Some(catalog) => context.engine.health().one(catalog, catalog.load_table(&qualified.in_catalog())).await?,
        None => None,
    };
    if let Some(table) = table {
        let fields = table.metadata.current_schema().as_struct().fields();
        let rows = fields.iter().map(|field| {
            let extra = if field.required { "not null" } else { "" };
            vec![field.name.clone(), trino_column_type(field), extra.to_owned(), comment(field).unwrap_or_default().to_owned()]
        });
        return Ok(rows.filter(|row| like.matches(&row[0])).collect());
    }
    let quoted: Vec<String> = parts(name).into_iter().map(|part| format!("\"{}\"", part.replace('"', "\"\""))).collect();
    let Statement::Query(query) = parse(&format!("SELECT * FROM {}", quoted.join(".")))? else { return Err(Error::internal("a SELECT is a query")) };
    let plan = context.planner.plan_query(*query).await?;
    if is_system(context, &qualified.catalog) {
        // It has types that no table of Iceberg has.
        let fields = plan.schema().fields().iter();
        let rows = fields.map(|field| vec![field.name().clone(), type_name(field.data_type()), String::new(), String::new()]);
        return Ok(rows.filter(|row| like.matches(&row[0])).collect());
    }
    let schema = arrow_to_iceberg_schema(plan.schema().as_arrow())?;
    let view = match catalog {
        Some(catalog) => catalog.load_view(&qualified.in_catalog()).await?,
        None => None,
    };
    let comment_of = |name: &str| view.as_ref().and_then(|view| view.column_comment(name)).unwrap_or_default().to_owned();
    let fields = schema.as_struct().fields().iter();
    let rows = fields.map(|field| vec![field.name.clone(), trino_column_type(field), String::new(), comment_of(&field.name)]);
    Ok(rows.filter(|row| like.matches(&row[0])).collect())
}

fn session_rows(context: &StatementContext, like: &Like) -> Rows {
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
    PROPERTIES.iter().filter(|property| like.matches(property.name)).map(row).collect()
}

fn function_rows(context: &StatementContext, like: &Like) -> Rows {
    let functions = listed(context.planner.state()).into_iter().filter(|function| like.matches(&function.name));
    let row = |function: ListedFunction| {
        vec![function.name, function.returns, function.arguments, function.kind.to_owned(), function.is_deterministic.to_string(), function.about]
    };
    functions.map(row).collect()
}

/// Nothing is granted yet: who may log in may do all.
async fn grant_rows(context: &StatementContext, table: Option<&ObjectName>) -> Result<Rows> {
    if let Some(name) = table {
        column_rows(context, name, &Like::new(None)?).await?;
    }
    Ok(Rows::new())
}

/// There are no roles yet, and none of catalogs.
fn role_rows(context: &StatementContext, catalog: Option<&str>) -> Result<Rows> {
    let Some(catalog) = catalog else { return Ok(Rows::new()) };
    if !is_system(context, catalog) {
        context.engine.catalog(catalog)?;
    }
    Err(Error::not_supported(format!("catalog '{catalog}' does not support roles")))
}
