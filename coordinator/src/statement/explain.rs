//! `EXPLAIN` and `EXPLAIN ANALYZE`.

use std::sync::Arc;

use arrow::array::{RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::logical_expr::LogicalPlan;
use futures::StreamExt;
use nunatak_core::{Error, Result};
use nunatak_engine::error::from_datafusion;
use nunatak_engine::sql::Statement;
use nunatak_engine::sql::statement::Explain;
use nunatak_engine::write::WriteTarget;

use super::{Outcome, StatementContext, change, insert, parameters};
use crate::execution::{Choice, Planned};

/// The one column, as Trino names it.
pub(super) fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("Query Plan", DataType::Utf8, true)]))
}

/// The parameters of what is explained.
pub(super) async fn prepare(context: &StatementContext, explain: Explain) -> Result<SchemaRef> {
    let (plan, _) = logical(context, *explain.statement).await?;
    parameters::schema(&plan)
}

pub(super) async fn run(context: &StatementContext, explain: Explain) -> Result<Outcome> {
    let (plan, target) = logical(context, *explain.statement).await?;
    let plan = parameters::bind(plan, context.parameters.as_ref())?;
    if explain.analyze && target.is_some() {
        return Err(Error::not_supported("EXPLAIN ANALYZE of a statement that writes is not supported yet").with_hint("leave out ANALYZE"));
    }
    let planned = context.physical_plan(&plan, target.as_ref()).await?;
    if explain.analyze {
        return Ok(analyze(planned, explain.verbose));
    }
    let optimized = context.planner.state().optimize(&plan).map_err(from_datafusion)?;
    let text = format!(
        "{}\nLogical plan:\n{}\n\nPhysical plan:\n{}",
        header(planned.choice()),
        optimized.display_indent(),
        planned.describe(explain.verbose).await?
    );
    Ok(Outcome::listing(batch(&text)?))
}

fn header(choice: &Choice) -> String {
    format!("Execution mode: {} ({})\n", choice.mode, choice.reason)
}

/// The plan of a statement, and where it writes its rows if it writes them.
async fn logical(context: &StatementContext, statement: Statement) -> Result<(LogicalPlan, Option<WriteTarget>)> {
    match statement {
        Statement::Query(query) => Ok((context.planner.plan_query(*query).await?, None)),
        Statement::Insert(statement) => {
            let plan = context.planner.plan_insert(*statement).await?;
            Ok((plan.input, Some(insert::target(context, &plan.table))))
        }
        Statement::Change(change) => {
            let plan = context.planner.plan_change(&change).await?;
            let target = change::target(context, plan.table.table());
            Ok((plan.rows, Some(target)))
        }
        Statement::CreateTable(create) => match create.query {
            Some(query) => Ok((context.planner.plan_query(*query).await?, None)),
            None => Err(Error::not_supported("EXPLAIN of CREATE TABLE without AS has no plan to show")),
        },
        _ => Err(Error::not_supported("EXPLAIN shows the plans of queries, INSERT, DELETE, UPDATE, MERGE and CREATE TABLE AS")),
    }
}

/// Runs the plan to its end, then shows it with what was measured.
fn analyze(planned: Planned, verbose: bool) -> Outcome {
    let shown = async move {
        let header = header(planned.choice());
        let analyzed = planned.analyze(verbose).await?;
        let elapsed = analyzed.elapsed.as_secs_f64();
        batch(&format!("{header}Output rows: {}\nElapsed: {elapsed:.3} s\n\n{}", analyzed.rows, analyzed.text))
    };
    Outcome { rows: futures::stream::once(shown).boxed(), ..Outcome::listing(RecordBatch::new_empty(schema())) }
}

fn batch(text: &str) -> Result<RecordBatch> {
    // Names that were made for the planner hold characters that a terminal should not see.
    let text = text.trim_end().replace(|character: char| character.is_control() && character != '\n', "");
    RecordBatch::try_new(schema(), vec![Arc::new(StringArray::from(vec![text]))]).map_err(|error| Error::internal(error.to_string()))
}
