//! `USE`, `SET SESSION` and `RESET SESSION`: checked here, kept by the front door.

use datafusion::sql::sqlparser::ast::ObjectName;
use nunatak_core::{Code, Error, Result};
use nunatak_engine::error::suggest;

use super::{Outcome, StatementContext, schema};
use crate::query::{SessionChange, check_name, check_property};

pub(super) async fn use_schema(context: &StatementContext, name: &ObjectName) -> Result<Outcome> {
    let (catalog, schema) = schema::resolve(context, name)?;
    let entry = context.engine.catalog(&catalog)?;
    if schema != "information_schema" && entry.namespace(&schema).await?.is_none() {
        let namespaces = entry.namespaces().await?;
        let missing = Error::new(Code::SchemaNotFound, format!("schema '{schema}' does not exist"));
        return Err(suggest(missing, &schema, namespaces.iter().map(|namespace| namespace.name.as_str())));
    }
    Ok(Outcome::done().with_changes(vec![SessionChange::Use { catalog: Some(catalog), schema }]))
}

pub(super) fn set(name: String, value: String) -> Result<Outcome> {
    check_property(&name, &value)?;
    Ok(Outcome::done().with_changes(vec![SessionChange::SetProperty { name, value }]))
}

pub(super) fn reset(name: String) -> Result<Outcome> {
    check_name(&name)?;
    Ok(Outcome::done().with_changes(vec![SessionChange::ResetProperty { name }]))
}
