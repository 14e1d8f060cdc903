//! Makes sure that a subquery which stands for one value gives one. Where it becomes a join, as in the distributed modes, nobody would count its rows.
//!
//! Values that are arrays, maps or rows get plain types: a value by itself loses what the type of its column says of the fields within (their ids), and would not fit.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, Subquery, col};
use datafusion::optimizer::AnalyzerRule;

use super::correlated_subqueries::gives_one_row;
use super::map_expressions;
use crate::functions::{same_value, single_value};
use crate::scan::types::plain_type;

/// Puts `single_value` on top of subqueries that may give several rows. Those that refer to the query around them are aggregated in any case, or refused.
#[derive(Debug, Default)]
pub(super) struct SingleSubqueries;

impl AnalyzerRule for SingleSubqueries {
    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        map_expressions(plan, &|_, expression| {
            expression.transform_up(|expression| match expression {
                Expr::ScalarSubquery(mut subquery) => {
                    let (nested, unsure, empty) = (has_ids(&subquery), is_unsure(&subquery), is_wrongly_sure(&subquery));
                    if empty && !unsure {
                        subquery = nullable(subquery)?;
                    }
                    if nested {
                        subquery = plain(subquery)?;
                    }
                    if unsure {
                        subquery = single(subquery)?;
                    }
                    Ok(Transformed::new_transformed(Expr::ScalarSubquery(subquery), nested || unsure || empty))
                }
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
    let is_alone = subquery.outer_ref_columns.is_empty() && plan.schema().fields().len() == 1;
    is_alone && (plan.max_rows().is_none_or(|rows| rows > 1) || is_wrongly_sure(subquery))
}

/// Whether the value may be NULL for want of a row, and nothing says so.
fn is_wrongly_sure(subquery: &Subquery) -> bool {
    let fields = subquery.subquery.schema().fields();
    fields.len() == 1 && !fields[0].is_nullable() && !gives_one_row(&subquery.subquery)
}

fn nullable(subquery: Subquery) -> Result<Subquery> {
    let plan = &subquery.subquery;
    let (relation, field) = plan.schema().qualified_field(0);
    let value = same_value::nullable().call(vec![Expr::from((relation, field))]).alias(field.name());
    let plan = LogicalPlanBuilder::from(plan.as_ref().clone()).project([value])?.build()?;
    Ok(Subquery { subquery: Arc::new(plan), ..subquery })
}

/// Whether the type of the value says more than a value by itself has.
fn has_ids(subquery: &Subquery) -> bool {
    let fields = subquery.subquery.schema().fields();
    fields.len() == 1 && fields[0].data_type().is_nested() && plain_type(fields[0].data_type()) != *fields[0].data_type()
}

fn plain(subquery: Subquery) -> Result<Subquery> {
    let plan = &subquery.subquery;
    let (relation, field) = plan.schema().qualified_field(0);
    let value = Expr::from((relation, field)).cast_to(&plain_type(field.data_type()), plan.schema())?.alias(field.name());
    let plan = LogicalPlanBuilder::from(plan.as_ref().clone()).project([value])?.build()?;
    Ok(Subquery { subquery: Arc::new(plan), ..subquery })
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
