//! `EXPLAIN` and `EXPLAIN ANALYZE`.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arrow::array::{AsArray, BooleanArray, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use datafusion::logical_expr::LogicalPlan;
use futures::StreamExt;
use nunatak_core::{Error, Result};
use nunatak_engine::error::from_datafusion;
use nunatak_engine::sql::Statement;
use nunatak_engine::sql::statement::Explain;
use nunatak_engine::write::WriteTarget;

use super::{COUNT, Outcome, StatementContext, change, insert, parameters};
use crate::execution::{Choice, Planned};

/// The one column, as Trino names it.
pub(super) fn schema(validate: bool) -> SchemaRef {
    let field = if validate { Field::new("Valid", DataType::Boolean, true) } else { Field::new("Query Plan", DataType::Utf8, true) };
    Arc::new(Schema::new(vec![field]))
}

/// The parameters of what is explained.
pub(super) async fn prepare(context: &StatementContext, explain: Explain) -> Result<SchemaRef> {
    if explain.validate && !is_explained(&explain.statement) {
        return Ok(Arc::new(Schema::empty()));
    }
    let (plan, _) = logical(context, *explain.statement).await?;
    parameters::schema(&plan)
}

/// That a statement can be planned, if it has a plan: what it changes, and whether that can be, is looked at when it is run. As in Trino.
async fn validate(context: &StatementContext, statement: Statement) -> Result<Outcome> {
    if is_explained(&statement) {
        logical(context, statement).await?;
    }
    let batch = RecordBatch::try_new(schema(true), vec![Arc::new(BooleanArray::from(vec![true]))]);
    Ok(Outcome::listing(batch.map_err(|error| Error::internal(error.to_string()))?))
}

pub(super) async fn run(context: StatementContext, explain: Explain) -> Result<Outcome> {
    if explain.validate {
        return validate(&context, *explain.statement).await;
    }
    if explain.analyze && !matches!(*explain.statement, Statement::Query(_)) {
        return analyze_write(context, explain).await;
    }
    let (plan, target) = logical(&context, *explain.statement).await?;
    let plan = parameters::bind(plan, context.parameters.as_ref())?;
    let planned = context.physical_plan(&plan, target.as_ref()).await?;
    if explain.analyze {
        return Ok(shown(async move {
            let header = header(planned.choice());
            let analyzed = planned.analyze(explain.verbose, None).await?;
            Ok(format!("{header}Output rows: {}\n{}\n\n{}", analyzed.rows, elapsed(analyzed.elapsed), analyzed.text))
        }));
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

/// Whether a statement has a plan to show.
fn is_explained(statement: &Statement) -> bool {
    match statement {
        Statement::Query(_) | Statement::Insert(_) | Statement::Change(_) => true,
        Statement::CreateTable(create) => create.query.is_some(),
        _ => false,
    }
}

fn not_explained() -> Error {
    Error::not_supported("EXPLAIN shows the plans of queries, INSERT, DELETE, UPDATE, MERGE and CREATE TABLE AS")
}

/// The plan of a statement, and where it writes its rows if it writes them.
async fn logical(context: &StatementContext, statement: Statement) -> Result<(LogicalPlan, Option<WriteTarget>)> {
    match statement {
        Statement::Query(query) => Ok((context.planner.plan_outward(*query).await?, None)),
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
            None => Err(not_explained()),
        },
        _ => Err(not_explained()),
    }
}

/// Runs a statement that writes, with all that it changes, then shows the plans of its writes with what was measured.
async fn analyze_write(mut context: StatementContext, explain: Explain) -> Result<Outcome> {
    if !is_explained(&explain.statement) {
        return Err(not_explained());
    }
    let analysis = Arc::new(Analysis { verbose: explain.verbose, plans: Mutex::default() });
    context.analysis = Some(Arc::clone(&analysis));
    let start = Instant::now();
    let mut rows = Box::pin(super::run(context, *explain.statement)).await?.rows;
    Ok(shown(async move {
        let mut changed = None;
        while let Some(batch) = rows.next().await {
            changed = changed.or(batch?.column_by_name(COUNT).and_then(|count| count.as_primitive::<Int64Type>().iter().next().flatten()));
        }
        let changed = changed.map(|changed| format!("Changed rows: {changed}\n")).unwrap_or_default();
        let plans = std::mem::take(&mut *analysis.lock());
        let plans = if plans.is_empty() { String::from("No rows were written: metadata told what to change.") } else { plans.join("\n") };
        Ok(format!("{changed}{}\n\n{plans}", elapsed(start.elapsed())))
    }))
}

/// What the writes of a statement have measured.
pub(super) struct Analysis {
    verbose: bool,
    plans: Mutex<Vec<String>>,
}

impl Analysis {
    fn lock(&self) -> MutexGuard<'_, Vec<String>> {
        self.plans.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs a writer to its end. Each of its reports goes to `add`, also those that come before an error.
    pub(super) async fn run(&self, writer: &Planned, add: &mut (dyn FnMut(&RecordBatch) -> Result<()> + Send)) -> Result<()> {
        let mut reports = Vec::new();
        let analyzed = writer.analyze(self.verbose, Some(&mut reports)).await;
        reports.iter().try_for_each(add)?;
        let analyzed = analyzed?;
        let header = header(writer.choice());
        self.lock().push(format!("{header}{}\n{}", elapsed(analyzed.elapsed), analyzed.text));
        Ok(())
    }
}

fn elapsed(elapsed: Duration) -> String {
    format!("Elapsed: {:.3} s", elapsed.as_secs_f64())
}

/// A text that is made while it is read.
fn shown(text: impl Future<Output = Result<String>> + Send + 'static) -> Outcome {
    let shown = async move { batch(&text.await?) };
    Outcome { rows: futures::stream::once(shown).boxed(), ..Outcome::listing(RecordBatch::new_empty(schema(false))) }
}

fn batch(text: &str) -> Result<RecordBatch> {
    // Names that were made for the planner hold characters that a terminal should not see.
    let text = text.trim_end().replace(|character: char| character.is_control() && character != '\n', "");
    RecordBatch::try_new(schema(false), vec![Arc::new(StringArray::from(vec![text]))]).map_err(|error| Error::internal(error.to_string()))
}
