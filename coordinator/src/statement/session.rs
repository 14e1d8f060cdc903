//! `USE`, `WITH SESSION`, `SET SESSION`, `RESET SESSION`, `SET TIME ZONE`, `SET ROLE`, `SET SESSION AUTHORIZATION` and `SET PATH`: checked here, kept by the front door.

use std::collections::HashSet;

use datafusion::sql::sqlparser::ast::ObjectName;
use nunatak_core::{Code, Error, Result};
use nunatak_engine::context::EngineContext;
use nunatak_engine::sql::listing::schema_not_found;
use nunatak_engine::sql::statement::{Explain, Role, WithSession};
use nunatak_engine::sql::{Statement, parts, system_schema_tables};

use super::show::is_system;
use super::{Outcome, StatementContext, schema};
use crate::query::{Session, SessionChange, TIME_ZONE, check_name, check_property};

/// The catalog by which roles of the whole server are named.
const SYSTEM: &str = "system";

pub(super) async fn use_schema(context: &StatementContext, name: &ObjectName) -> Result<Outcome> {
    let (catalog, schema) = schema::resolve(context, name)?;
    if is_system(context, &catalog) {
        system_schema_tables(&schema).map_err(not_found)?;
        return Ok(Outcome::done().with_changes(vec![SessionChange::Use { catalog: Some(catalog), schema }]));
    }
    let entry = context.engine.catalog(&catalog)?;
    if schema != "information_schema" && entry.namespace(&schema).await?.is_none() {
        return Err(not_found(schema_not_found(entry.as_ref(), &schema).await));
    }
    Ok(Outcome::done().with_changes(vec![SessionChange::Use { catalog: Some(catalog), schema }]))
}

/// The error for a schema that is not there, with the code that it has in Trino's `USE`: in all other statements it is `SCHEMA_NOT_FOUND`.
fn not_found(error: Error) -> Error {
    if error.code() != Code::SchemaNotFound {
        return error;
    }
    let missing = Error::new(Code::NotFound, error.message());
    match error.hint() {
        Some(hint) => missing.with_hint(hint),
        None => missing,
    }
}

/// The session that a statement runs in, which has the properties of its `WITH SESSION`, and the statement without that.
///
/// Errors: `INVALID_SESSION_PROPERTY`, `CATALOG_NOT_FOUND` for a property of a catalog that is not there.
pub(crate) fn with_properties(engine: &EngineContext, session: &Session, statement: Statement) -> Result<(Session, Statement)> {
    match statement {
        Statement::WithSession(WithSession { properties, query }) => {
            let mut own = session.clone();
            let mut names = HashSet::new();
            for (name, value) in properties {
                if let Some((catalog, property)) = name.split_once('.')
                    && !property.contains('.')
                {
                    engine.catalog(catalog)?;
                }
                // As Trino calls it.
                let name = if name == "time_zone_id" { TIME_ZONE.to_owned() } else { name };
                check_property(&name, &value)?;
                if !names.insert(name.clone()) {
                    return Err(Error::new(Code::InvalidSessionProperty, format!("session property '{name}' is given twice")));
                }
                own.properties.insert(name, value);
            }
            Ok((own, Statement::Query(query)))
        }
        Statement::Explain(explain) => {
            let (session, inner) = with_properties(engine, session, *explain.statement)?;
            Ok((session, Statement::Explain(Explain { statement: Box::new(inner), ..explain })))
        }
        other => Ok((session.clone(), other)),
    }
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

/// There are no roles yet: all of them, and none, are the same.
pub(super) fn set_role(context: &StatementContext, role: &Role, catalog: Option<String>) -> Result<Outcome> {
    if let Some(catalog) = &catalog {
        context.engine.catalog(catalog)?;
    }
    let role = match (role, &catalog) {
        (Role::All, _) => "ALL",
        (Role::None, _) => "NONE",
        (Role::Named(role), None) => return Err(Error::new(Code::RoleNotFound, format!("role '{role}' does not exist"))),
        (Role::Named(_), Some(catalog)) => return Err(Error::not_supported(format!("catalog '{catalog}' does not support roles"))),
    };
    let catalog = catalog.unwrap_or_else(|| SYSTEM.to_owned());
    Ok(Outcome::done().with_changes(vec![SessionChange::SetRole { catalog, role }]))
}

/// Nobody may act for another yet.
pub(super) fn set_authorization(context: &StatementContext, user: String) -> Result<Outcome> {
    if user != context.session.user {
        return Err(cannot_impersonate(&context.session.user, &user));
    }
    Ok(Outcome::done().with_changes(vec![SessionChange::SetAuthorization { user }]))
}

/// The error for who wants to act for another.
fn cannot_impersonate(user: &str, other: &str) -> Error {
    Error::new(Code::PermissionDenied, format!("user '{user}' cannot act for user '{other}'")).with_hint("log in as the other user")
}

/// Functions of users are not there yet, so that only `current_path` tells of it.
pub(super) fn set_path(context: &StatementContext, path: &[ObjectName]) -> Result<Outcome> {
    if context.session.path.is_none() {
        return Err(Error::not_supported("SET PATH is not supported by this client, or by its protocol"));
    }
    for element in path {
        match parts(element).as_slice() {
            [_schema] => {}
            [catalog, _schema] => {
                context.engine.catalog(catalog)?;
            }
            _ => return Err(Error::new(Code::SyntaxError, format!("'{element}' has too many parts")).with_hint("write catalog.schema")),
        }
    }
    let path = path.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    Ok(Outcome::done().with_changes(vec![SessionChange::SetPath { path }]))
}
