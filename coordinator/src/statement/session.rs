//! `USE`, `SET SESSION`, `RESET SESSION` and `SET TIME ZONE`: checked here, kept by the front door.

use datafusion::sql::sqlparser::ast::ObjectName;
use nunatak_core::{Error, Result};
use nunatak_engine::sql::listing::schema_not_found;

use super::{Outcome, StatementContext, schema};
use crate::query::{SessionChange, check_name, check_property};

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

/// Sessions have the time zone UTC, and no other yet.
pub(super) fn set_time_zone(zone: Option<String>) -> Result<Outcome> {
    match zone {
        Some(zone) if !["UTC", "Z", "GMT", "+00:00", "Etc/UTC"].iter().any(|known| known.eq_ignore_ascii_case(&zone)) => {
            Err(Error::not_supported(format!("the time zone '{zone}' of a session is not supported yet: it is UTC"))
                .with_hint("write the zone into literals: TIMESTAMP '2024-01-01 00:00:00 Europe/Zurich'"))
        }
        _ => Ok(Outcome::done()),
    }
}
