//! `cherrypick_snapshot` and `publish_changes`: changes that another branch has, or none, on the table's branch too ("write-audit-publish").

use nunatak_catalog::Table;
use nunatak_catalog::commit::{cherry_pick, waiting};
use nunatak_core::Result;
use nunatak_engine::sql::QualifiedName;

use super::super::StatementContext;
use super::Metrics;
use super::arguments::Arguments;

/// Publishes a snapshot.
pub(super) fn snapshot(
    context: StatementContext,
    name: QualifiedName,
    table: Table,
    mut arguments: Arguments,
) -> Result<impl Future<Output = Result<Metrics>> + Send> {
    let snapshot_id = arguments.number("snapshot_id")?;
    let snapshot_id = snapshot_id.ok_or_else(|| arguments.missing("snapshot_id"))?;
    arguments.end()?;
    Ok(publish(context, name, table, snapshot_id))
}

/// Publishes the snapshot that waits under an id, which the session property `wap_id` gave it.
pub(super) fn changes(
    context: StatementContext,
    name: QualifiedName,
    table: Table,
    mut arguments: Arguments,
) -> Result<impl Future<Output = Result<Metrics>> + Send> {
    let wap_id = arguments.text("wap_id").ok_or_else(|| arguments.missing("wap_id"))?;
    arguments.end()?;
    let snapshot_id = waiting(&table, &wap_id)?;
    Ok(publish(context, name, table, snapshot_id))
}

async fn publish(context: StatementContext, name: QualifiedName, table: Table, snapshot_id: i64) -> Result<Metrics> {
    let catalog = context.engine.catalog(&name.catalog)?;
    let published = cherry_pick(catalog.as_ref(), &table, snapshot_id, &context.summary(&table)).await?;
    let id = |id: i64| u64::try_from(id).unwrap_or_default();
    Ok(vec![("source_snapshot_id", id(snapshot_id)), ("current_snapshot_id", id(published.snapshot_id))])
}
