//! `ALTER TABLE t EXECUTE procedure(...)` and `CALL system.procedure(...)`: what keeps a table in order. Each procedure tells what it did as rows of a name and a number.

mod add_files;
mod arguments;
mod call;
mod expire;
mod optimize;
mod orphans;
mod publish;

use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::sql::sqlparser::ast::Expr;
use futures::{FutureExt, StreamExt};
use nunatak_catalog::Table;
use nunatak_catalog::commit::{RefChange, change_metadata, ref_updates, rewrite_manifests, set_current_snapshot};
use nunatak_catalog::spec::TableUpdate;
use nunatak_core::{Code, Error, Result};
use nunatak_engine::error::suggest;
use nunatak_engine::sql::QualifiedName;
use nunatak_engine::sql::statement::Execute;

use self::arguments::Arguments;
pub(super) use self::call::{call, changes_catalog};
pub(crate) use self::optimize::SMALL_BYTES;
use super::{Outcome, StatementContext};

/// The procedures there are.
const NAMES: [&str; 11] = [
    "add_files",
    "cherrypick_snapshot",
    "drop_extended_stats",
    "expire_snapshots",
    "fast_forward",
    "optimize",
    "optimize_manifests",
    "publish_changes",
    "remove_orphan_files",
    "rollback_to_snapshot",
    "set_current_snapshot",
];

/// What a procedure did, by name.
type Metrics = Vec<(&'static str, u64)>;

/// The columns of a procedure's answer, as Trino names them.
pub(super) fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("metric_name", DataType::Utf8, true), Field::new("metric_value", DataType::Int64, true)]))
}

pub(super) async fn run(context: StatementContext, execute: Execute) -> Result<Outcome> {
    let name = context.resolve(&execute.table)?;
    let Execute { procedure, arguments, filter, .. } = execute;
    run_on(context, name, &procedure, Arguments::new(&procedure, arguments), filter).await
}

/// Runs a procedure on a table.
async fn run_on(context: StatementContext, name: QualifiedName, procedure: &str, arguments: Arguments, filter: Option<Expr>) -> Result<Outcome> {
    let table = context.planner.table(&name).await?;
    if filter.is_some() && procedure != "optimize" {
        return Err(Error::not_supported(format!("{procedure} takes no WHERE")));
    }
    let work = match procedure {
        "add_files" => add_files::prepare(context, name, table, arguments)?.boxed(),
        "cherrypick_snapshot" => publish::snapshot(context, name, table, arguments)?.boxed(),
        "drop_extended_stats" => statistics(context, name, table, &arguments)?.boxed(),
        "optimize" => optimize::prepare(context, name, arguments, filter)?.boxed(),
        "optimize_manifests" => manifests(context, name, table, &arguments)?.boxed(),
        "publish_changes" => publish::changes(context, name, table, arguments)?.boxed(),
        "remove_orphan_files" => orphans::prepare(context, name, table, arguments)?.boxed(),
        "expire_snapshots" => expire::prepare(context, name, table, arguments)?.boxed(),
        "fast_forward" => fast_forward(context, name, table, arguments)?.boxed(),
        "rollback_to_snapshot" => snapshot(context, name, table, arguments, true)?.boxed(),
        "set_current_snapshot" => snapshot(context, name, table, arguments, false)?.boxed(),
        _ => {
            of_hive_tables(procedure)?;
            let unknown = Error::new(Code::ProcedureNotFound, format!("procedure '{procedure}' does not exist"));
            return Err(suggest(unknown.with_hint(format!("there are {}", NAMES.join(", "))), procedure, NAMES));
        }
    };
    let rows = futures::stream::once(async move { batch(&work.await?) });
    Ok(Outcome { rows: StreamExt::boxed(rows), ..Outcome::listing(RecordBatch::new_empty(schema())) })
}

/// Errors: `NOT_SUPPORTED` for the procedures that make Iceberg tables of Hive tables.
fn of_hive_tables(procedure: &str) -> Result<()> {
    if ["migrate", "add_files_from_table"].contains(&procedure) {
        return Err(Error::not_supported(format!("{procedure} reads Hive tables, which no catalog here has"))
            .with_hint("CREATE TABLE, and EXECUTE add_files for the location of the Hive table"));
    }
    Ok(())
}

fn batch(metrics: &Metrics) -> Result<RecordBatch> {
    let names: StringArray = metrics.iter().map(|(name, _)| Some(*name)).collect();
    let values: Int64Array = metrics.iter().map(|(_, value)| i64::try_from(*value).ok()).collect();
    RecordBatch::try_new(schema(), vec![Arc::new(names), Arc::new(values)]).map_err(|error| Error::internal(error.to_string()))
}

/// Makes another snapshot the current one.
fn snapshot(
    context: StatementContext,
    name: QualifiedName,
    table: Table,
    mut arguments: Arguments,
    only_back: bool,
) -> Result<impl Future<Output = Result<Metrics>> + Send> {
    let snapshot_id = arguments.number("snapshot_id")?;
    let snapshot_id = snapshot_id.ok_or_else(|| arguments.missing("snapshot_id"))?;
    arguments.end()?;
    Ok(async move {
        let before = table.head_id();
        set_current_snapshot(context.engine.catalog(&name.catalog)?.as_ref(), &table, snapshot_id, only_back).await?;
        let id = |id: i64| u64::try_from(id).unwrap_or_default();
        Ok(vec![("previous_snapshot_id", before.map(id).unwrap_or_default()), ("current_snapshot_id", id(snapshot_id))])
    })
}

/// Drops what `ANALYZE` has counted, of all snapshots. The files go with the snapshots, since others may be reading them.
fn statistics(
    context: StatementContext,
    name: QualifiedName,
    table: Table,
    arguments: &Arguments,
) -> Result<impl Future<Output = Result<Metrics>> + Send + use<>> {
    arguments.end()?;
    Ok(async move {
        let dropped = table.metadata.statistics_iter().len() as u64;
        change_metadata(context.engine.catalog(&name.catalog)?.as_ref(), &table, |table| {
            let snapshots = table.metadata.statistics_iter().map(|file| file.snapshot_id);
            Ok(snapshots.map(|snapshot_id| TableUpdate::RemoveStatistics { snapshot_id }).collect())
        })
        .await?;
        Ok(vec![("dropped_statistics_files_count", dropped)])
    })
}

/// Writes manifests again, fewer and sorted by partition.
fn manifests(
    context: StatementContext,
    name: QualifiedName,
    table: Table,
    arguments: &Arguments,
) -> Result<impl Future<Output = Result<Metrics>> + Send + use<>> {
    arguments.end()?;
    Ok(async move {
        let done = rewrite_manifests(context.engine.catalog(&name.catalog)?.as_ref(), &table, &context.summary(&table)).await?;
        Ok(vec![("rewritten_manifests_count", done.replaced as u64), ("added_manifests_count", done.added as u64)])
    })
}

/// Takes a branch on to the head of another one.
fn fast_forward(
    context: StatementContext,
    name: QualifiedName,
    table: Table,
    mut arguments: Arguments,
) -> Result<impl Future<Output = Result<Metrics>> + Send> {
    let (branch, to) = (arguments.text("branch"), arguments.text("to"));
    let branch = branch.ok_or_else(|| arguments.missing("branch"))?;
    let to = to.ok_or_else(|| arguments.missing("to"))?;
    arguments.end()?;
    Ok(async move {
        let change = RefChange::FastForward { name: branch, to: to.clone() };
        let catalog = context.engine.catalog(&name.catalog)?;
        let after = change_metadata(catalog.as_ref(), &table, |table| ref_updates(table, &change)).await?;
        let head = after.metadata.snapshot_for_ref(&to).map(|snapshot| snapshot.snapshot_id());
        Ok(vec![("current_snapshot_id", head.and_then(|id| u64::try_from(id).ok()).unwrap_or_default())])
    })
}
