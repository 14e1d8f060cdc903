//! `FILTER` of aggregates over windows, as a condition on their arguments: plans that are sent to executors lose it on the way (datafusion-proto has no place for it).

use datafusion::common::not_impl_err;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::logical_expr::expr::WindowFunction;
use datafusion::logical_expr::{Expr, LogicalPlan, WindowFunctionDefinition, when};
use datafusion::optimizer::AnalyzerRule;

use super::map_expressions;

/// Aggregates that see NULLs in their first argument, or the order of all rows.
const NOT_BLIND: [&str; 9] =
    ["array_agg", "first_value", "last_value", "nth_value", "$single_value", "max_by", "min_by", "checksum", "approx_most_frequent"];

/// `sum(x) FILTER (WHERE c) OVER w` becomes `sum(CASE WHEN c THEN x END) OVER w`: these aggregates leave NULLs out.
#[derive(Debug, Default)]
pub(super) struct WindowFilters;

impl AnalyzerRule for WindowFilters {
    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        map_expressions(plan, &|_, expression| {
            expression.transform_up(|expression| match expression {
                Expr::WindowFunction(mut window) if window.params.filter.is_some() => {
                    condition(&mut window)?;
                    Ok(Transformed::yes(Expr::WindowFunction(window)))
                }
                other => Ok(Transformed::no(other)),
            })
        })
    }

    fn name(&self) -> &str {
        "window_filters"
    }
}

fn condition(window: &mut WindowFunction) -> Result<()> {
    let name = window.fun.name().to_owned();
    let is_blind = matches!(window.fun, WindowFunctionDefinition::AggregateUDF(_)) && !NOT_BLIND.contains(&name.as_str());
    match (window.params.filter.take(), window.params.args.first_mut()) {
        (Some(filter), Some(argument)) if is_blind => {
            *argument = when(*filter, std::mem::take(argument)).end()?;
            Ok(())
        }
        _ => not_impl_err!("FILTER of {name} over a window is not supported"),
    }
}
