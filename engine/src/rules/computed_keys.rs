//! `ORDER BY abs(x) > 3`, `OVER (PARTITION BY length(s) < 2)`, `array_agg(x ORDER BY coalesce(y, 0) > 1)`: what rows are sorted by is computed below, as a column.
//! DataFusion derives the order of an expression from bounds of what it is made of. Those of functions and of `CASE` have no type, which comparisons and sums take for a
//! mistake: then it does not believe that rows are sorted which it has sorted itself, and its last check (`SanityCheckPlan`) refuses the plan.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchemaRef, Result};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{Aggregate, Expr, LogicalPlan, Projection, Sort, SortExpr, Window};

/// How the names of such columns begin. No statement can name them.
const KEY: &str = "\u{1}key ";

/// An optimised plan in which nothing is sorted by an expression whose order DataFusion cannot tell.
pub fn with_computed_keys(plan: LogicalPlan) -> Result<LogicalPlan> {
    plan.transform_up_with_subqueries(|node| match node {
        LogicalPlan::Sort(sort) if sort.expr.iter().any(|by| has_unknown_bounds(&by.expr)) => {
            let Sort { mut expr, input, fetch } = sort;
            let (mut keys, schema) = (Keys::default(), Arc::clone(input.schema()));
            keys.replace_all(&mut [], &mut expr);
            only(schema, LogicalPlan::Sort(Sort { expr, input: keys.beside(input)?, fetch })).map(Transformed::yes)
        }
        LogicalPlan::Window(window) if window.window_expr.iter().any(is_sorted_by_such) => {
            let Window { window_expr, input, schema } = window;
            let mut keys = Keys::default();
            let window_expr = keys.of_calls(window_expr)?;
            only(schema, LogicalPlan::Window(Window::try_new(window_expr, keys.beside(input)?)?)).map(Transformed::yes)
        }
        LogicalPlan::Aggregate(aggregate) if aggregate.aggr_expr.iter().any(is_sorted_by_such) => {
            let Aggregate { input, group_expr, aggr_expr, schema, .. } = aggregate;
            let mut keys = Keys::default();
            let aggr_expr = keys.of_calls(aggr_expr)?;
            let aggregate = Aggregate::try_new_with_schema(keys.beside(input)?, group_expr, aggr_expr, schema)?;
            Ok(Transformed::yes(LogicalPlan::Aggregate(aggregate)))
        }
        other => Ok(Transformed::no(other)),
    })
    .data()
}

/// The columns of a plan that has others beside them.
fn only(schema: DFSchemaRef, plan: LogicalPlan) -> Result<LogicalPlan> {
    let columns = schema.columns().into_iter().map(Expr::Column).collect();
    Projection::try_new_with_schema(columns, Arc::new(plan), schema).map(LogicalPlan::Projection)
}

/// Whether an operator is applied to something else than columns and constants.
fn has_unknown_bounds(key: &Expr) -> bool {
    let is_operator = |part: &Expr| matches!(part, Expr::BinaryExpr(_) | Expr::Between(_) | Expr::Not(_) | Expr::Negative(_));
    let is_known = |part: &Expr| is_operator(part) || matches!(part, Expr::Column(_) | Expr::Literal(..) | Expr::Cast(_) | Expr::Alias(_));
    let has = |wanted: &dyn Fn(&Expr) -> bool| key.exists(|part| Ok(wanted(part))).unwrap_or(false);
    has(&is_operator) && has(&|part: &Expr| !is_known(part))
}

/// What a call sorts rows by.
fn keys_of(part: &Expr) -> (&[Expr], &[SortExpr]) {
    match part {
        Expr::WindowFunction(window) => (&window.params.partition_by, &window.params.order_by),
        Expr::AggregateFunction(aggregate) => (&[], &aggregate.params.order_by),
        _ => (&[], &[]),
    }
}

fn is_sorted_by_such(call: &Expr) -> bool {
    let found = call.exists(|part| {
        let (partitions, order) = keys_of(part);
        Ok(partitions.iter().chain(order.iter().map(|by| &by.expr)).any(has_unknown_bounds))
    });
    found.unwrap_or(false)
}

/// The keys that become columns, each once.
#[derive(Default)]
struct Keys(Vec<Expr>);

impl Keys {
    fn replace_all(&mut self, partitions: &mut [Expr], order: &mut [SortExpr]) {
        for key in partitions.iter_mut().chain(order.iter_mut().map(|by| &mut by.expr)) {
            if has_unknown_bounds(key) {
                let place = self.0.iter().position(|known| known == key).unwrap_or(self.0.len());
                let column = Expr::Column(Column::new_unqualified(format!("{KEY}{place}")));
                let key = std::mem::replace(key, column);
                if place == self.0.len() {
                    self.0.push(key);
                }
            }
        }
    }

    /// Calls that sort by columns instead, with the names that they had.
    fn of_calls(&mut self, calls: Vec<Expr>) -> Result<Vec<Expr>> {
        let names = NamePreserver::new_for_projection();
        let calls = calls.into_iter().map(|call| {
            let name = names.save(&call);
            let changed = call.transform_down(|part| {
                let part = match part {
                    Expr::WindowFunction(mut window) => {
                        self.replace_all(&mut window.params.partition_by, &mut window.params.order_by);
                        Expr::WindowFunction(window)
                    }
                    Expr::AggregateFunction(mut aggregate) => {
                        let params = &mut aggregate.params;
                        // With DISTINCT, what is sorted by is what is aggregated.
                        for argument in &mut params.args {
                            if params.order_by.iter().any(|by| by.expr == *argument) {
                                self.replace_all(std::slice::from_mut(argument), &mut []);
                            }
                        }
                        self.replace_all(&mut [], &mut params.order_by);
                        Expr::AggregateFunction(aggregate)
                    }
                    other => return Ok(Transformed::no(other)),
                };
                Ok(Transformed::new(part, true, TreeNodeRecursion::Jump))
            });
            Ok(name.restore(changed.data()?))
        });
        calls.collect()
    }

    /// A plan with these columns behind its own.
    fn beside(self, input: Arc<LogicalPlan>) -> Result<Arc<LogicalPlan>> {
        let keys = self.0.into_iter().enumerate().map(|(place, key)| key.alias(format!("{KEY}{place}")));
        let columns = input.schema().columns().into_iter().map(Expr::Column).chain(keys).collect();
        Projection::try_new(columns, input).map(|projection| Arc::new(LogicalPlan::Projection(projection)))
    }
}

#[cfg(test)]
mod tests {
    use datafusion::prelude::SessionContext;

    use super::*;

    async fn planned(sql: &str) -> (LogicalPlan, LogicalPlan) {
        let state = SessionContext::new().state();
        let plan = state.optimize(&state.create_logical_plan(sql).await.unwrap()).unwrap();
        (with_computed_keys(plan.clone()).unwrap(), plan)
    }

    #[tokio::test]
    async fn keys_are_columns() {
        let rows = "(VALUES (1, 'a'), (2, 'bc')) AS t(x, s)";
        for sql in [
            format!("SELECT x FROM {rows} ORDER BY length(s) > 1, x"),
            format!("SELECT x, sum(x) OVER (PARTITION BY length(s) > 1 ORDER BY lower(s) > 'b') FROM {rows}"),
            format!("SELECT s, array_agg(x ORDER BY length(s) > 1, x) FROM {rows} GROUP BY s"),
        ] {
            let (computed, plan) = planned(&sql).await;
            assert_ne!(computed, plan, "{sql}");
            assert_eq!(computed.schema(), plan.schema(), "{sql}");
            // What is there already is not done again.
            assert_eq!(with_computed_keys(computed.clone()).unwrap(), computed, "{sql}");
            let state = SessionContext::new().state();
            state.query_planner().create_physical_plan(&computed, &state).await.unwrap();
        }
    }

    #[tokio::test]
    async fn other_plans_stay() {
        let (computed, plan) = planned("SELECT x FROM (VALUES (1, 'a'), (2, 'bc')) AS t(x, s) ORDER BY length(s), x > 1, x + 1 > 2").await;
        assert_eq!(computed, plan);
    }
}
