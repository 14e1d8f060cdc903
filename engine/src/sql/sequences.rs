//! `TABLE(sequence(start, stop, step))` of more numbers than the function `sequence` puts into an array: a table that makes them as they are asked for.

use std::ops::ControlFlow;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::functions_table::generate_series::{GenSeriesArgs, GenerateSeriesTable};
use datafusion::logical_expr::{Expr as PlannedExpr, TableType};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::memory::LazyMemoryExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::sql::sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Query, Statement, TableFactor, VisitMut, VisitorMut,
};
use nunatak_core::{Error, Result};

/// The name that `UNNEST(sequence(...))` has where it stands for such a table. No statement can write it.
pub(super) const ALIAS: &str = "\u{1}sequence";

/// The name of its column.
pub(super) const COLUMN: &str = "sequential_number";

/// How many numbers the function gives.
const ELEMENTS_MAX: i128 = 10_000;

/// Puts queries in the place of such tables. `query` gives one for a start, a stop and a step, or `None` where the function is to be called.
pub(super) fn replace_long(statement: &mut Statement, query: impl FnMut([&Expr; 3]) -> Result<Option<Box<Query>>>) -> Result<()> {
    match statement.visit(&mut Replacer { query }) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

struct Replacer<F> {
    query: F,
}

impl<F: FnMut([&Expr; 3]) -> Result<Option<Box<Query>>>> VisitorMut for Replacer<F> {
    type Break = Error;

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Error> {
        let TableFactor::UNNEST { alias: Some(alias), array_exprs, .. } = &*factor else { return ControlFlow::Continue(()) };
        let Some(bounds) = bounds(array_exprs).filter(|_| alias.name.value == ALIAS) else { return ControlFlow::Continue(()) };
        match (self.query)(bounds) {
            Ok(Some(subquery)) => {
                *factor = TableFactor::Derived { lateral: false, subquery, alias: Some(alias.clone()), sample: None };
                ControlFlow::Continue(())
            }
            Ok(None) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error),
        }
    }
}

/// The arguments of the call that is the one array of an `UNNEST`.
fn bounds(arrays: &[Expr]) -> Option<[&Expr; 3]> {
    let [Expr::Function(Function { args: FunctionArguments::List(list), .. })] = arrays else { return None };
    match list.args.as_slice() {
        [
            FunctionArg::Unnamed(FunctionArgExpr::Expr(start)),
            FunctionArg::Unnamed(FunctionArgExpr::Expr(stop)),
            FunctionArg::Unnamed(FunctionArgExpr::Expr(step)),
        ] => Some([start, stop, step]),
        _ => None,
    }
}

/// The numbers from one to another one.
#[derive(Debug)]
pub(super) struct SequenceTable {
    series: GenerateSeriesTable,
}

impl SequenceTable {
    /// Those from `start` to `stop`; `None` if the function gives as many, or refuses them.
    pub(super) fn new(start: i64, stop: i64, step: i64) -> Option<Self> {
        let steps = (i128::from(stop) - i128::from(start)).checked_div(i128::from(step))?;
        // The name is one that DataFusion sends to other processes.
        let args = GenSeriesArgs::Int64Args { start, end: stop, step, include_end: true, name: "generate_series" };
        let schema = Arc::new(Schema::new(vec![Field::new(COLUMN, DataType::Int64, false)]));
        (steps >= ELEMENTS_MAX).then(|| Self { series: GenerateSeriesTable::new(schema, args) })
    }
}

#[async_trait]
impl TableProvider for SequenceTable {
    fn schema(&self) -> SchemaRef {
        self.series.schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    /// The column is chosen above what makes it: DataFusion does not send a choice within to other processes.
    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[PlannedExpr],
        _: Option<usize>,
    ) -> datafusion::error::Result<Arc<dyn ExecutionPlan>> {
        let generator = self.series.as_generator(state.config().batch_size())?;
        let numbers = Arc::new(LazyMemoryExec::try_new(self.schema(), vec![generator])?);
        let Some(columns) = projection else { return Ok(numbers) };
        let chosen: Vec<(Arc<dyn PhysicalExpr>, String)> =
            columns.iter().map(|&place| (Arc::new(Column::new(COLUMN, place)) as Arc<dyn PhysicalExpr>, COLUMN.to_owned())).collect();
        Ok(Arc::new(ProjectionExec::try_new(chosen, numbers)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_sequences_are_tables() {
        for (start, stop, step) in [(1, 10_001, 1), (0, -30_000, -3), (i64::MIN, i64::MAX, 1)] {
            assert!(SequenceTable::new(start, stop, step).is_some(), "{start}, {stop}, {step}");
        }
        for (start, stop, step) in [(1, 10_000, 1), (1, 20_000, -1), (20_000, 1, 1), (1, 20_000, 0), (1, 1, 1)] {
            assert!(SequenceTable::new(start, stop, step).is_none(), "{start}, {stop}, {step}");
        }
    }
}
