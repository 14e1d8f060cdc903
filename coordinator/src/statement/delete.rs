//! `DELETE`: finds out the rows, writes what deletes them, commits it. When other writers were faster, all of it again.

use std::collections::BTreeMap;
use std::time::Instant;

use arrow::array::{AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use datafusion::sql::sqlparser::ast::Delete;
use futures::StreamExt;
use nunatak_catalog::commit::{self, CommitError, Isolation, RetryPolicy};
use nunatak_core::{Code, Error, Result};
use nunatak_engine::error::from_datafusion;
use nunatak_engine::sql::{DeletePlan, delete_target};
use nunatak_engine::write::{discard_deletes, row_deletes};
use roaring::RoaringTreemap;

use super::{Outcome, StatementContext, parameters};
use crate::query::Prepared;

const MODE: &str = "write.delete.mode";
const ISOLATION: &str = "write.delete.isolation-level";

pub(super) async fn run(mut context: StatementContext, delete: Delete) -> Result<Outcome> {
    let mut planned = plan(&context, &delete).await?;
    Ok(Outcome::update(async move {
        let policy = RetryPolicy::from_properties(planned.table.table().metadata.properties())?;
        let begun = Instant::now();
        for number in 1.. {
            let error = match attempt(&context, &delete, planned).await {
                Ok(count) => return Ok(Some(count)),
                Err(CommitError::Conflict(error)) => error,
                Err(error) => return Err(error.into_error()),
            };
            match policy.wait(number, begun.elapsed(), rand::random()) {
                Some(wait) => tokio::time::sleep(wait).await,
                None => return Err(error),
            }
            context.forget_tables();
            planned = plan(&context, &delete).await?;
        }
        Err(Error::internal("a DELETE ran out of attempts"))
    }))
}

pub(super) async fn prepare(context: &StatementContext, delete: &Delete) -> Result<Prepared> {
    Ok(super::update(parameters::schema(&plan(context, delete).await?.rows)?))
}

async fn plan(context: &StatementContext, delete: &Delete) -> Result<DeletePlan> {
    let planned = context.planner.plan_delete(delete).await?;
    match planned.table.table().metadata.properties().get(MODE).map(|mode| mode.to_ascii_lowercase()) {
        None => Ok(planned),
        Some(mode) if mode == "merge-on-read" => Ok(planned),
        Some(mode) if mode == "copy-on-write" => Err(Error::not_supported(format!(
            "table '{}' wants its data files written again by DELETE, which is not supported yet",
            planned.table.table().name
        ))
        .with_hint(format!("set the table property {MODE} to 'merge-on-read'"))),
        Some(mode) => Err(Error::new(Code::InvalidTableProperty, format!("table property '{MODE}' is '{mode}'"))
            .with_hint("set it to 'merge-on-read' or 'copy-on-write'")),
    }
}

/// One attempt: how many rows it has deleted.
async fn attempt(context: &StatementContext, delete: &Delete, planned: DeletePlan) -> Result<u64, CommitError> {
    let failed = CommitError::Failed;
    let rows = parameters::bind(planned.rows, context.parameters.as_ref()).map_err(failed)?;
    let rows = positions(context.physical_plan(&rows, None).await.map_err(failed)?).await.map_err(failed)?;
    let count = rows.values().map(RoaringTreemap::len).sum();
    if count == 0 {
        return Ok(0);
    }
    let (table, base) = (&planned.table, planned.table.table());
    let isolation = Isolation::from_property(&base.metadata, ISOLATION).map_err(failed)?;
    let name = context.resolve(delete_target(delete).map_err(failed)?).map_err(failed)?;
    let catalog = context.engine.catalog(&name.catalog).map_err(failed)?;
    let delta = row_deletes(table, context.engine.scan(), rows, &context.id.to_string()).await.map_err(failed)?;
    match commit::row_delta(catalog.as_ref(), base, delta.clone(), isolation, &context.summary()).await {
        Ok(_) => Ok(count),
        Err(CommitError::Unknown(error)) => Err(CommitError::Unknown(error)),
        Err(error) => {
            discard_deletes(table, &delta).await;
            Err(error)
        }
    }
}

/// The positions of rows by data file.
async fn positions(rows: crate::execution::Planned) -> Result<BTreeMap<String, RoaringTreemap>> {
    let mut found = BTreeMap::new();
    let mut batches = rows.run().await?;
    while let Some(batch) = batches.next().await {
        add(&mut found, &batch.map_err(from_datafusion)?)?;
    }
    Ok(found)
}

fn add(found: &mut BTreeMap<String, RoaringTreemap>, batch: &RecordBatch) -> Result<()> {
    let column = |number: usize, data_type| {
        cast(batch.column(number), &data_type).map_err(|error| Error::internal("the place of a row is of another type").with_source(error))
    };
    let (paths, positions) = (column(0, DataType::Utf8)?, column(1, DataType::Int64)?);
    let positions = positions.as_primitive::<Int64Type>().values().iter().map(|position| position.unsigned_abs());
    let mut last: Option<(&str, RoaringTreemap)> = None;
    let mut put = |(path, positions): (&str, RoaringTreemap)| *found.entry(path.to_owned()).or_default() |= positions;
    for (path, position) in paths.as_string::<i32>().iter().map(Option::unwrap_or_default).zip(positions) {
        match &mut last {
            Some((of, run)) if *of == path => {
                run.insert(position);
            }
            _ => last.replace((path, RoaringTreemap::from_iter([position]))).into_iter().for_each(&mut put),
        }
    }
    last.into_iter().for_each(put);
    Ok(())
}
