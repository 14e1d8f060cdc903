//! Queries: `SELECT`, `VALUES`, `TABLE`.

use datafusion::sql::sqlparser::ast::Query;
use futures::StreamExt;
use nunatak_core::{Code, Error, Result};
use nunatak_engine::error::from_datafusion;
use nunatak_engine::sql::{outward_batch, outward_query_schema, text_lengths};

use super::{Outcome, StatementContext, parameters};
use crate::query::{Prepared, StatementKind};

pub(super) async fn run(context: &StatementContext, query: Query) -> Result<Outcome> {
    let plan = context.planner.plan_outward(query).await?;
    // As long as casts are as they were written.
    let lengths = text_lengths(&plan);
    let plan = context.planner.analyzed(parameters::bind(plan, context.parameters.as_ref())?)?;
    let schema = outward_query_schema(plan.schema().as_arrow(), lengths);
    let stream = context.physical_plan(&plan, None).await?.run().await?;
    let outward = schema.clone();
    let rows = stream.map(move |batch| {
        let batch = batch.map_err(from_datafusion)?;
        outward_batch(&batch, &outward).map_err(|error| Error::new(Code::GenericInternalError, error.to_string()))
    });
    Ok(Outcome { kind: StatementKind::Query, schema, rows: rows.boxed(), session_changes: Vec::new() })
}

pub(super) async fn prepare(context: &StatementContext, query: Query) -> Result<Prepared> {
    let plan = context.planner.plan_outward(query).await?;
    let schema = outward_query_schema(plan.schema().as_arrow(), text_lengths(&plan));
    Ok(Prepared { kind: StatementKind::Query, schema, parameters: parameters::schema(&plan)? })
}
