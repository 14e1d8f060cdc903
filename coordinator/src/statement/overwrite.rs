//! `INSERT OVERWRITE`: new rows in the place of others, in one snapshot. Which others, the session property `insert_overwrite_mode` says, as in Spark: all rows, or
//! those that `PARTITION (column = value)` means (`static`), or those of the partitions that new rows are in (`dynamic`).

use std::sync::Arc;

use datafusion::sql::sqlparser::ast::Statement;
use nunatak_catalog::commit::{self, CommitError, Isolation, Retries, RetryPolicy, RowDelta};
use nunatak_catalog::spec::DataFile;
use nunatak_catalog::{Catalog, Table};
use nunatak_core::{Code, Error, Result};
use nunatak_engine::sql::{Change, InsertPlan};
use nunatak_engine::write::{all_rows, discard, discard_delta, replaced_partitions};

use super::{Outcome, StatementContext, change, insert, parameters};
use crate::query::OverwriteMode;

/// The entry of a summary by which other writers know that whole partitions were replaced.
const REPLACE_PARTITIONS: &str = "replace-partitions";

pub(super) async fn run(mut context: StatementContext, statement: Statement) -> Result<Outcome> {
    let mut planned = context.planner.plan_insert(statement.clone()).await?;
    let catalog = Arc::clone(context.engine.catalog(&planned.name.catalog)?);
    Ok(Outcome::update(async move {
        let mut retries = Retries::new(RetryPolicy::from_properties(planned.table.metadata.properties())?);
        loop {
            match attempt(&context, catalog.as_ref(), planned).await {
                Ok(count) => return Ok(Some(count)),
                Err(CommitError::Conflict(error)) => retries.wait(error).await?,
                Err(error) => return Err(error.into_error()),
            }
            context.forget_tables();
            planned = context.planner.plan_insert(statement.clone()).await?;
        }
    }))
}

/// One attempt: how many new rows there are.
async fn attempt(context: &StatementContext, catalog: &dyn Catalog, planned: InsertPlan) -> Result<u64, CommitError> {
    let InsertPlan { table, input, replaced, .. } = planned;
    let input = parameters::bind(input, context.parameters.as_ref())?;
    let written = insert::write(context, &insert::writer(context, &table, &input).await?, &table).await?;
    let count = written.changed_rows();
    let removed = match removed(context, &table, replaced, &written.files).await {
        Ok(removed) => removed,
        Err(error) => {
            discard(&table, &written.files).await;
            return Err(error);
        }
    };
    // A condition may leave parts of files, which are written again and come with the removal.
    let data = removed.data.iter().cloned().chain(written.files).collect();
    let delta = RowDelta { data, ..removed };
    if delta.is_empty() {
        return Ok(0);
    }
    let mut summary = context.summary(&table);
    if context.settings.insert_overwrite_mode == OverwriteMode::Dynamic {
        summary.insert(REPLACE_PARTITIONS.to_owned(), "true".to_owned());
    }
    match commit::row_delta(catalog, &table, delta.clone(), Isolation::Serializable, &summary).await {
        Ok(_) => Ok(count),
        Err(CommitError::Unknown(error)) => Err(CommitError::Unknown(error)),
        Err(error) => {
            discard_delta(&table, &delta).await;
            Err(error)
        }
    }
}

/// The removal of the rows that new ones stand in place of.
async fn removed(context: &StatementContext, table: &Table, replaced: Option<Change>, written: &[DataFile]) -> Result<RowDelta, CommitError> {
    let scan = context.engine.scan();
    let at_head = context.planner.at_head(table)?;
    match (context.settings.insert_overwrite_mode, replaced) {
        (OverwriteMode::Dynamic, _) => Ok(replaced_partitions(&at_head, scan, written).await?),
        (OverwriteMode::Static, None) => Ok(all_rows(&at_head, scan).await?.0),
        (OverwriteMode::Static, Some(delete)) => {
            let planned = context.planner.plan_change(&delete).await?;
            if planned.table.table().metadata_location != table.metadata_location {
                let error = Error::new(Code::TransactionConflict, format!("table '{}' was changed meanwhile", table.name));
                return Err(CommitError::Conflict(error));
            }
            Ok(change::removal(context, &delete, planned).await?)
        }
    }
}
