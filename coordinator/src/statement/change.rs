//! `DELETE`, `UPDATE` and `MERGE`: finds out the rows, writes new ones and what deletes the old ones, commits both. When other writers were faster, all of it
//! again.

use std::collections::{HashMap, HashSet};

use datafusion::logical_expr::LogicalPlan;
use nunatak_catalog::Table;
use nunatak_catalog::commit::{self, CommitError, Isolation, Retries, RetryPolicy, RowDelta};
use nunatak_catalog::properties::invalid;
use nunatak_catalog::snapshot::ancestors;
use nunatak_catalog::spec::{FormatVersion, TableMetadata};
use nunatak_core::Result;
use nunatak_engine::scan::IcebergTable;
use nunatak_engine::sql::{Change, ChangePlan};
use nunatak_engine::write::{
    Rows, WriteTarget, Written, all_rows, discard, discard_deletes, discard_delta, remaining_rows, row_deletes, with_rewritten,
};

use super::{Outcome, StatementContext, insert, parameters};
use crate::query::Prepared;

/// How often it is looked at what others have added meanwhile, before a statement runs again.
const LOOKS_MAX: usize = 10;

pub(super) async fn run(mut context: StatementContext, change: Change) -> Result<Outcome> {
    let mut planned = context.planner.plan_change(&change).await?;
    Ok(Outcome::update(async move {
        let mut retries = Retries::new(RetryPolicy::from_properties(planned.table.table().metadata.properties())?);
        loop {
            match attempt(&context, &change, planned).await {
                // As in Trino, nobody counts what TRUNCATE takes.
                Ok(count) => return Ok(Some(count).filter(|_| !matches!(change, Change::Truncate(_)))),
                Err(CommitError::Conflict(error)) => retries.wait(error).await?,
                Err(error) => return Err(error.into_error()),
            }
            context.forget_tables();
            planned = context.planner.plan_change(&change).await?;
        }
    }))
}

pub(super) async fn prepare(context: &StatementContext, change: &Change) -> Result<Prepared> {
    Ok(super::update(parameters::schema(&context.planner.plan_change(change).await?.rows)?))
}

/// Whether a table wants data files with changed rows to be written again. One of version 1 can have no deletes beside them.
fn copies_on_write(change: &Change, metadata: &TableMetadata) -> Result<bool> {
    match metadata.format_version() {
        FormatVersion::V1 => Ok(true),
        FormatVersion::V2 | FormatVersion::V3 => is_copy_on_write(metadata.properties(), &format!("write.{}.mode", change.kind())),
    }
}

/// The same for one kind of change, by the property that says so.
///
/// Errors: `INVALID_TABLE_PROPERTY`.
pub(super) fn is_copy_on_write(properties: &HashMap<String, String>, name: &str) -> Result<bool> {
    match properties.get(name).map(|mode| mode.to_ascii_lowercase()).as_deref() {
        None | Some("merge-on-read") => Ok(false),
        Some("copy-on-write") => Ok(true),
        Some(other) => Err(invalid(name, other, "merge-on-read or copy-on-write")),
    }
}

/// Where the rows of a change go.
pub(super) fn target(context: &StatementContext, table: &Table) -> WriteTarget {
    WriteTarget::new(table.clone(), &context.id.to_string(), Rows::Changes)
}

/// One attempt: how many rows it has changed.
async fn attempt(context: &StatementContext, change: &Change, planned: ChangePlan) -> Result<u64, CommitError> {
    let ChangePlan { table, rows } = planned;
    let base = table.table();
    let isolation = Isolation::from_property(base.metadata.properties(), &format!("write.{}.isolation-level", change.kind()))?;
    let name = context.resolve(change.target()?)?;
    let catalog = context.engine.catalog(&name.catalog)?;

    let rows = parameters::bind(rows, context.parameters.as_ref())?;
    let whole = if change.deletes_all() { all_rows(&table, context.engine.scan()).await? } else { (RowDelta::default(), None) };
    let (delta, count) = match (whole, change) {
        ((delta, count), Change::Truncate(_)) => (delta, count.unwrap_or_default()),
        ((delta, Some(count)), _) => (delta, count),
        _ => changed(context, change, &table, &rows).await?,
    };
    if delta.is_empty() {
        return Ok(0);
    }
    let summary = context.summary(base);
    let (mut isolation, mut looks) = (isolation, 0);
    loop {
        let error = match commit::row_delta(catalog.as_ref(), base, delta.clone(), isolation, &summary).await {
            Ok(_) => return Ok(count),
            Err(CommitError::Unknown(error)) => return Err(CommitError::Unknown(error)),
            Err(error) => error,
        };
        let is_conflict = matches!(error, CommitError::Conflict(_)) && isolation != Isolation::Snapshot && looks < LOOKS_MAX;
        looks += 1;
        let harmless = if is_conflict { harmless(context, change, base).await.map(Isolation::SerializableSince) } else { None };
        match harmless.filter(|since| *since != isolation) {
            Some(since) => isolation = since,
            None => {
                discard_delta(base, &delta).await;
                return Err(error);
            }
        }
    }
}

/// The snapshot up to which others have only added rows since that the change would have left alone, by what is known of their files: then it need not run again.
async fn harmless(context: &StatementContext, change: &Change, base: &Table) -> Option<i64> {
    let condition = change.own_condition()?;
    let name = context.resolve(change.target().ok()?).ok()?;
    let now = context.engine.catalog(&name.catalog).ok()?.load_table(&base.name).await.ok()??;
    if now.metadata.uuid() != base.metadata.uuid() {
        return None;
    }
    let now = Table { branch: base.branch.clone(), ..now };
    let (head, before) = (now.head_id()?, base.head_id());
    let since = ancestors(&now.metadata, Some(head)).map(|snapshot| snapshot.snapshot_id()).take_while(|id| Some(*id) != before);
    let since: HashSet<i64> = since.collect();
    let (_, files) = context.planner.files_of(&now, Some(condition)).await.ok()?;
    (!files.files.iter().any(|entry| since.contains(&entry.snapshot_id))).then_some(head)
}

/// Runs the plan of a change: what is to be committed of it, and how many rows it has changed.
async fn changed(context: &StatementContext, change: &Change, table: &IcebergTable, rows: &LogicalPlan) -> Result<(RowDelta, u64)> {
    let base = table.table();
    let target = target(context, base);
    let copies = copies_on_write(change, &base.metadata)?;
    let written = insert::write(context, &context.write_plan(rows, target).await?, base).await?;
    let count = written.changed_rows();
    let delta = delta(context, table, written).await?;
    Ok((if copies { without_deletes(context, table, delta).await? } else { delta }, count))
}

/// The same for a change that is part of another statement.
pub(super) async fn removal(context: &StatementContext, change: &Change, planned: ChangePlan) -> Result<RowDelta> {
    let rows = parameters::bind(planned.rows, context.parameters.as_ref())?;
    Ok(changed(context, change, &planned.table, &rows).await?.0)
}

/// What is to be committed of what was written: its data files, and files that delete the rows that are no longer.
async fn delta(context: &StatementContext, table: &IcebergTable, written: Written) -> Result<RowDelta> {
    match row_deletes(table, context.engine.scan(), written.deleted, &context.id.to_string()).await {
        Ok(delta) => Ok(RowDelta { data: written.files, ..delta }),
        Err(error) => {
            discard(table.table(), &written.files).await;
            Err(error)
        }
    }
}

/// The same change with data files written again in place of those with deleted rows.
async fn without_deletes(context: &StatementContext, table: &IcebergTable, delta: RowDelta) -> Result<RowDelta> {
    if delta.deletes.is_empty() {
        return Ok(delta);
    }
    let target = WriteTarget::new(table.table().clone(), &context.id.to_string(), Rows::Rewritten);
    let rewritten = async {
        let rest = remaining_rows(table, context.engine.scan(), &delta).await?;
        insert::write(context, &context.write_plan(&rest, target).await?, table.table()).await
    };
    match rewritten.await {
        Ok(rewritten) => {
            discard_deletes(table.table(), &delta).await;
            with_rewritten(table, delta, rewritten.files).await
        }
        Err(error) => {
            discard_delta(table.table(), &delta).await;
            Err(error)
        }
    }
}
