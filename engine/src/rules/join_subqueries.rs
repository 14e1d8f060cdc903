//! Conditions of `ON` with subqueries, brought to where subqueries are looked for: above an inner join, and below an outer one where they are about the rows of the side only
//! that it may have no match for.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, JoinType};
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{Expr, Filter, Join, LogicalPlan};
use datafusion::optimizer::AnalyzerRule;

use super::lifted_conditions::{is_correlated, is_subquery, subquery_of};

/// The rule. It comes before all others that look at subqueries.
#[derive(Debug)]
pub(super) struct JoinSubqueries;

impl AnalyzerRule for JoinSubqueries {
    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        plan.transform_up_with_subqueries(|node| match node {
            LogicalPlan::Join(join) if join.filter.as_ref().is_some_and(has_subquery) => moved(join),
            other => Ok(Transformed::no(other)),
        })
        .data()
    }

    fn name(&self) -> &str {
        "join_subqueries"
    }
}

fn moved(mut join: Join) -> Result<Transformed<LogicalPlan>> {
    let conditions = join.filter.take().map(split_conjunction_owned).unwrap_or_default();
    let optional = match join.join_type {
        JoinType::Left => Some(Arc::clone(join.right.schema())),
        JoinType::Right => Some(Arc::clone(join.left.schema())),
        _ => None,
    };
    let is_moved = |condition: &Expr| {
        has_subquery(condition) && (join.join_type == JoinType::Inner || optional.as_ref().is_some_and(|side| is_about(condition, side)))
    };
    let (apart, kept): (Vec<Expr>, Vec<Expr>) = conditions.into_iter().partition(is_moved);
    join.filter = conjunction(kept);
    let Some(apart) = conjunction(apart) else { return Ok(Transformed::no(LogicalPlan::Join(join))) };
    let side = match join.join_type {
        JoinType::Left => &mut join.right,
        JoinType::Right => &mut join.left,
        _ => return Ok(Transformed::yes(LogicalPlan::Filter(Filter::try_new(apart, Arc::new(LogicalPlan::Join(join)))?))),
    };
    *side = Arc::new(LogicalPlan::Filter(Filter::try_new(apart, Arc::clone(side))?));
    Ok(Transformed::yes(LogicalPlan::Join(join)))
}

/// Whether a condition asks for a subquery by other than its value alone. Those values are found anywhere.
fn has_subquery(condition: &Expr) -> bool {
    let is_one = |part: &Expr| if matches!(part, Expr::ScalarSubquery(_)) { is_correlated(part) } else { is_subquery(part) };
    condition.exists(|part| Ok(is_one(part))).unwrap_or(false)
}

/// Whether all columns that a condition names, in its subqueries too, are of one side.
fn is_about(condition: &Expr, side: &DFSchema) -> bool {
    let is_of_side = |part: &Expr| match part {
        Expr::Column(column) | Expr::OuterReferenceColumn(_, column) => side.has_column(column),
        _ => true,
    };
    let mut all = true;
    let searched = condition.apply(|part| {
        all &= is_of_side(part) && subquery_of(part).is_none_or(|subquery| subquery.outer_ref_columns.iter().all(is_of_side));
        Ok(if all { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
    });
    searched.is_ok() && all
}
