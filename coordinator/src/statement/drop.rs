//! `DROP TABLE`, `DROP VIEW` and `ALTER TABLE` or `VIEW ... RENAME TO`.

use datafusion::sql::sqlparser::ast::ObjectName;
use nunatak_core::{Code, Error, Result};
use nunatak_engine::sql::QualifiedName;

use super::{Outcome, StatementContext};

/// Drops a table with its files, as Trino does. It is not loaded here: one whose metadata is lost can be dropped too.
pub(super) async fn table(context: &StatementContext, name: &ObjectName, if_exists: bool) -> Result<Outcome> {
    let name = context.resolve(name)?;
    let catalog = context.engine.catalog(&name.catalog)?;
    if context.engine.health().one(catalog, catalog.has_table(&name.in_catalog())).await? {
        catalog.drop_table(&name.in_catalog(), true).await?;
        return Ok(Outcome::done());
    }
    if catalog.has_view(&name.in_catalog()).await? {
        return Err(Error::new(Code::TableNotFound, format!("'{}' is a view", name.table)).with_hint("DROP VIEW drops it"));
    }
    missing(context, if_exists, &name).await
}

pub(super) async fn view(context: &StatementContext, name: &ObjectName, if_exists: bool) -> Result<Outcome> {
    let name = context.resolve(name)?;
    let catalog = context.engine.catalog(&name.catalog)?;
    if context.engine.health().one(catalog, catalog.has_view(&name.in_catalog())).await? {
        catalog.drop_view(&name.in_catalog()).await?;
        return Ok(Outcome::done());
    }
    if catalog.has_table(&name.in_catalog()).await? {
        return Err(Error::new(Code::TableNotFound, format!("'{}' is a table", name.table)).with_hint("DROP TABLE drops it"));
    }
    if if_exists {
        return Ok(Outcome::done());
    }
    Err(Error::new(Code::TableNotFound, format!("view '{}' does not exist", name.table)))
}

pub(super) async fn rename(context: &StatementContext, name: &ObjectName, to: &ObjectName, if_exists: bool) -> Result<Outcome> {
    let (name, to) = both_names(context, name, to)?;
    let catalog = context.engine.catalog(&name.catalog)?;
    if !context.engine.health().one(catalog, catalog.has_table(&name.in_catalog())).await? {
        if catalog.has_view(&name.in_catalog()).await? {
            return Err(Error::new(Code::TableNotFound, format!("'{}' is a view", name.table)).with_hint("ALTER VIEW ... RENAME TO renames it"));
        }
        return missing(context, if_exists, &name).await;
    }
    catalog.rename_table(&name.in_catalog(), &to.in_catalog()).await?;
    Ok(Outcome::done())
}

pub(super) async fn rename_view(context: &StatementContext, name: &ObjectName, to: &ObjectName) -> Result<Outcome> {
    let (name, to) = both_names(context, name, to)?;
    context.engine.catalog(&name.catalog)?.rename_view(&name.in_catalog(), &to.in_catalog()).await?;
    Ok(Outcome::done())
}

/// What is renamed, and how it is called then: in its own catalog and schema where the new name says no other.
fn both_names(context: &StatementContext, name: &ObjectName, to: &ObjectName) -> Result<(QualifiedName, QualifiedName)> {
    let name = context.resolve(name)?;
    let to = QualifiedName::resolve(to, &name.catalog, Some(&name.schema))?;
    to.check_new()?;
    if name.catalog != to.catalog {
        return Err(Error::not_supported(format!("'{}' can't be renamed from catalog '{}' to '{}'", name.table, name.catalog, to.catalog)));
    }
    Ok((name, to))
}

/// The answer for a table that isn't there: fine with `IF EXISTS`, else the planner's own error with the name that is most like it.
async fn missing(context: &StatementContext, if_exists: bool, name: &QualifiedName) -> Result<Outcome> {
    if if_exists {
        return Ok(Outcome::done());
    }
    let table = context.planner.table(name).await?;
    Err(Error::new(Code::TableNotFound, format!("'{}' is a branch", name.table))
        .with_hint(format!("ALTER TABLE {} DROP BRANCH drops it", table.name)))
}
