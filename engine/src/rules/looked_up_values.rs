//! `(SELECT name FROM u WHERE u.id = t.id)`: a subquery that stands for one value, names columns of the query around it, and may have several rows. DataFusion finds joins for
//! aggregations only, so it becomes one, of which the one value is taken.

use std::sync::Arc;

use datafusion::common::Column;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, Subquery};
use datafusion::optimizer::AnalyzerRule;

use super::correlated_subqueries::gives_one_row;
use super::map_expressions;
use crate::functions::few_values::{few_values, only_value};

/// The column of values, which no statement can name.
const VALUES: &str = "\u{1}values";

/// The rule. It comes before those that look at what subqueries are made of.
#[derive(Debug)]
pub(super) struct LookedUpValues;

impl AnalyzerRule for LookedUpValues {
    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        map_expressions(plan, &|_, expression| {
            expression.transform_up(|part| match part {
                Expr::ScalarSubquery(subquery) if may_have_several(&subquery) => looked_up(subquery).map(Transformed::yes),
                other => Ok(Transformed::no(other)),
            })
        })
    }

    fn name(&self) -> &str {
        "looked_up_values"
    }
}

fn may_have_several(subquery: &Subquery) -> bool {
    let plan = &subquery.subquery;
    !subquery.outer_ref_columns.is_empty() && plan.schema().fields().len() == 1 && !gives_one_row(plan) && plan.max_rows().is_none_or(|rows| rows > 1)
}

fn looked_up(subquery: Subquery) -> Result<Expr> {
    let plan = &subquery.subquery;
    let (relation, field) = plan.schema().qualified_field(0);
    let values = few_values().call(vec![Expr::from((relation, field))]).alias(VALUES);
    let name = field.name().clone();
    let rows = LogicalPlanBuilder::from(plan.as_ref().clone()).aggregate(Vec::<Expr>::new(), vec![values])?;
    let plan = rows.project([Expr::Column(Column::new_unqualified(VALUES)).alias(name)])?.build()?;
    Ok(only_value().call(vec![Expr::ScalarSubquery(Subquery { subquery: Arc::new(plan), ..subquery })]))
}
