//! Makes sure that a subquery which stands for one value gives one. Where it becomes a join, as in the distributed modes, nobody would count its rows.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, Subquery, col};
use datafusion::optimizer::AnalyzerRule;

use super::map_expressions;
use crate::functions::single_value;

/// Puts `single_value` on top of subqueries that may give several rows. Those that refer to the query around them are aggregated in any case, or refused.
#[derive(Debug, Default)]
pub(super) struct SingleSubqueries;

impl AnalyzerRule for SingleSubqueries {
    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        map_expressions(plan, &|_, expression| {
            expression.transform_up(|expression| match expression {
                Expr::ScalarSubquery(subquery) if is_unsure(&subquery) => Ok(Transformed::yes(Expr::ScalarSubquery(single(subquery)?))),
                other => Ok(Transformed::no(other)),
            })
        })
    }

    fn name(&self) -> &str {
        "single_subqueries"
    }
}

fn is_unsure(subquery: &Subquery) -> bool {
    let plan = &subquery.subquery;
    subquery.outer_ref_columns.is_empty() && plan.schema().fields().len() == 1 && plan.max_rows().is_none_or(|rows| rows > 1)
}

fn single(subquery: Subquery) -> Result<Subquery> {
    let plan = &subquery.subquery;
    let name = plan.schema().field(0).name().clone();
    let columns: Vec<Expr> = plan.schema().columns().into_iter().map(Expr::Column).collect();
    let value = single_value::function().call(columns).alias("value");
    let builder = LogicalPlanBuilder::from(plan.as_ref().clone()).aggregate(Vec::<Expr>::new(), vec![value])?;
    let plan = builder.project(vec![col("value").alias(name)])?.build()?;
    Ok(Subquery { subquery: Arc::new(plan), ..subquery })
}
