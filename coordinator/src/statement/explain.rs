//! `EXPLAIN` and `EXPLAIN ANALYZE`.

use std::sync::Arc;
use std::time::Instant;

use arrow::array::{RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::display::DisplayableExecutionPlan;
use futures::StreamExt;
use nunatak_core::{Error, Result};
use nunatak_engine::error::from_datafusion;
use nunatak_engine::sql::Statement;
use nunatak_engine::sql::statement::Explain;

use super::{Outcome, StatementContext, insert, parameters};
use crate::execution::{self, Choice};

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
    let (plan, table) = logical(context, *explain.statement).await?;
    let plan = parameters::bind(plan, context.parameters.as_ref())?;
    let choice = execution::choose(context.settings.execution_mode)?;
    if explain.analyze && table.is_some() {
        return Err(Error::not_supported("EXPLAIN ANALYZE of a statement that writes is not supported yet").with_hint("leave out ANALYZE"));
    }
    let physical = match &table {
        Some(table) => insert::writer(context, table, &plan).await?,
        None => context.physical_plan(&plan).await?,
    };
    if explain.analyze {
        return analyze(context, choice, physical, explain.verbose);
    }
    let optimized = context.planner.state().optimize(&plan).map_err(from_datafusion)?;
    let text = format!(
        "{}\nLogical plan:\n{}\n\nPhysical plan:\n{}",
        header(&choice),
        optimized.display_indent(),
        DisplayableExecutionPlan::new(physical.as_ref()).indent(explain.verbose)
    );
    Ok(Outcome::listing(batch(&text)?))
}

fn header(choice: &Choice) -> String {
    format!("Execution mode: {} ({})\n", choice.mode, choice.reason)
}

/// The plan of a statement, and the table it writes if it writes one.
async fn logical(context: &StatementContext, statement: Statement) -> Result<(LogicalPlan, Option<nunatak_catalog::Table>)> {
    match statement {
        Statement::Query(query) => Ok((context.planner.plan_query(*query).await?, None)),
        Statement::Insert(statement) => {
            let plan = context.planner.plan_insert(*statement).await?;
            Ok((plan.input, Some(plan.table)))
        }
        Statement::CreateTable(create) => match create.query {
            Some(query) => Ok((context.planner.plan_query(*query).await?, None)),
            None => Err(Error::not_supported("EXPLAIN of CREATE TABLE without AS has no plan to show")),
        },
        _ => Err(Error::not_supported("EXPLAIN shows the plans of queries, INSERT and CREATE TABLE AS")),
    }
}

/// Runs the plan to its end, then shows it with what was measured.
fn analyze(context: &StatementContext, choice: Choice, plan: Arc<dyn ExecutionPlan>, verbose: bool) -> Result<Outcome> {
    let mut rows = execution::run(&choice, Arc::clone(&plan), context.task())?;
    let shown = async move {
        let start = Instant::now();
        let mut count = 0;
        while let Some(batch) = rows.next().await {
            count += batch.map_err(from_datafusion)?.num_rows();
        }
        let metrics =
            if verbose { DisplayableExecutionPlan::with_full_metrics(plan.as_ref()) } else { DisplayableExecutionPlan::with_metrics(plan.as_ref()) };
        let text = format!("{}Output rows: {count}\nElapsed: {:.3} s\n\n{}", header(&choice), start.elapsed().as_secs_f64(), metrics.indent(verbose));
        batch(&text)
    };
    Ok(Outcome { rows: futures::stream::once(shown).boxed(), ..Outcome::listing(RecordBatch::new_empty(schema())) })
}

fn batch(text: &str) -> Result<RecordBatch> {
    // Names that were made for the planner hold characters that a terminal should not see.
    let text = text.trim_end().replace(|character: char| character.is_control() && character != '\n', "");
    RecordBatch::try_new(schema(), vec![Arc::new(StringArray::from(vec![text]))]).map_err(|error| Error::internal(error.to_string()))
}
