//! `CREATE SCHEMA` and `DROP SCHEMA`.

use std::collections::BTreeMap;

use datafusion::sql::sqlparser::ast::ObjectName;
use nunatak_core::{Code, Error, Result};
use nunatak_engine::files::OptionValue;
use nunatak_engine::sql::{option_text, parts};

use super::{Outcome, StatementContext};

/// Catalog and schema that `name` means.
pub(super) fn resolve(context: &StatementContext, name: &ObjectName) -> Result<(String, String)> {
    let mut parts = parts(name);
    let schema = parts.pop().unwrap_or_default();
    let catalog = parts.pop().unwrap_or_else(|| context.session.catalog.clone());
    if !parts.is_empty() {
        return Err(Error::new(Code::SyntaxError, format!("'{name}' has too many parts")).with_hint("write catalog.schema"));
    }
    Ok((catalog, schema))
}

pub(super) async fn create(
    context: &StatementContext,
    name: &ObjectName,
    if_not_exists: bool,
    properties: &[(String, OptionValue)],
) -> Result<Outcome> {
    let (catalog, schema) = resolve(context, name)?;
    if schema == "information_schema" {
        return Err(Error::new(Code::SchemaAlreadyExists, "schema 'information_schema' exists in every catalog"));
    }
    let mut checked = BTreeMap::new();
    for (name, value) in properties {
        if name != "location" {
            return Err(Error::new(Code::InvalidSchemaProperty, format!("schema property '{name}' does not exist")).with_hint("there is 'location'"));
        }
        checked.insert(name.clone(), option_text(value));
    }
    let catalog = context.engine.catalog(&catalog)?;
    match context.engine.health().change(catalog, catalog.create_namespace(&schema, checked)).await {
        Err(error) if !(if_not_exists && error.code() == Code::SchemaAlreadyExists) => Err(error),
        _ => Ok(Outcome::done()),
    }
}

pub(super) async fn drop(context: &StatementContext, name: &ObjectName, if_exists: bool) -> Result<Outcome> {
    let (catalog, schema) = resolve(context, name)?;
    let catalog = context.engine.catalog(&catalog)?;
    match context.engine.health().change(catalog, catalog.drop_namespace(&schema)).await {
        Err(error) if !(if_exists && error.code() == Code::SchemaNotFound) => Err(error),
        _ => Ok(Outcome::done()),
    }
}
