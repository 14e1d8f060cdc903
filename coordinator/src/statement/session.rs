//! `USE`, `SET SESSION`, `RESET SESSION` and `SET TIME ZONE`: checked here, kept by the front door.

use datafusion::sql::sqlparser::ast::ObjectName;
use nunatak_core::Result;
use nunatak_engine::sql::listing::schema_not_found;

use super::{Outcome, StatementContext, schema};
use crate::query::{SessionChange, TIME_ZONE, check_name, check_property};

pub(super) async fn use_schema(context: &StatementContext, name: &ObjectName) -> Result<Outcome> {
    let (catalog, schema) = schema::resolve(context, name)?;
    let entry = context.engine.catalog(&catalog)?;
    if schema != "information_schema" && entry.namespace(&schema).await?.is_none() {
        return Err(schema_not_found(entry.as_ref(), &schema).await);
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

/// `SET TIME ZONE` sets the property `time_zone`; `LOCAL` is what the session has by itself.
pub(super) fn set_time_zone(zone: Option<String>) -> Result<Outcome> {
    match zone {
        Some(zone) => set(TIME_ZONE.to_owned(), zone),
        None => reset(TIME_ZONE.to_owned()),
    }
}
