//! `EXISTS` and `IN` with a subquery where their value is wanted and not only the rows for which they are true: in `SELECT`, in what is aggregated, in the conditions and
//! values of `MERGE`. DataFusion makes joins of those in conditions only; the number of rows it also finds elsewhere, so that is asked for.

use std::sync::Arc;

use datafusion::common::Column;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::error::Result;
use datafusion::functions_aggregate::expr_fn::count;
use datafusion::logical_expr::expr::Exists;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{Aggregate, Expr, FetchType, LogicalPlan, LogicalPlanBuilder, Projection, SkipType, Subquery, lit};

use super::correlated_subqueries::{any_order, prepared};
use super::in_subqueries::anywhere;

/// A projection without them.
pub(super) fn projected(node: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let names = NamePreserver::new(&node);
    let (expr, input) = match node {
        LogicalPlan::Projection(Projection { expr, input, .. }) if expr.iter().any(has_membership) => (expr, input),
        other => return Ok(Transformed::no(other)),
    };
    let values = expr.into_iter().map(|expression| {
        let name = names.save(&expression);
        let schema = input.schema();
        let value = prepared(expression).data().and_then(|value| anywhere(value, schema).data()).and_then(counted_within)?;
        Ok(name.restore(value))
    });
    let projection = Projection::try_new(values.collect::<Result<_>>()?, Arc::clone(&input))?;
    Ok(Transformed::yes(LogicalPlan::Projection(projection)))
}

/// An aggregation over a projection with their values.
pub(super) fn aggregated(node: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let names = NamePreserver::new(&node);
    let (input, group_expr, aggr_expr) = match node {
        LogicalPlan::Aggregate(Aggregate { input, group_expr, aggr_expr, .. }) if group_expr.iter().chain(&aggr_expr).any(has_membership) => {
            (input, group_expr, aggr_expr)
        }
        other => return Ok(Transformed::no(other)),
    };
    let mut found: Vec<Expr> = Vec::new();
    let mut replaced = |expressions: Vec<Expr>| {
        let each = expressions.into_iter().map(|expression| {
            let name = names.save(&expression);
            let value = expression.transform_up(|part| match part {
                membership @ (Expr::Exists(_) | Expr::InSubquery(_)) => {
                    let place = found.iter().position(|other| *other == membership).unwrap_or(found.len());
                    if place == found.len() {
                        found.push(membership);
                    }
                    Ok(Transformed::yes(Expr::Column(Column::new_unqualified(value_name(place)))))
                }
                other => Ok(Transformed::no(other)),
            });
            Ok(name.restore(value.data()?))
        });
        each.collect::<Result<Vec<_>>>()
    };
    let (group_expr, aggr_expr) = (replaced(group_expr)?, replaced(aggr_expr)?);
    let columns = input.schema().columns().into_iter().map(Expr::Column);
    let values = found.into_iter().enumerate().map(|(place, membership)| membership.alias(value_name(place)));
    let projection = Projection::try_new(columns.chain(values).collect(), input)?;
    let input = projected(LogicalPlan::Projection(projection)).data()?;
    Ok(Transformed::yes(LogicalPlan::Aggregate(Aggregate::try_new(Arc::new(input), group_expr, aggr_expr)?)))
}

/// The column of a value, which no statement can name.
fn value_name(place: usize) -> String {
    format!("\u{1}exists {place}")
}

fn has_membership(expression: &Expr) -> bool {
    expression.exists(|part| Ok(matches!(part, Expr::Exists(_) | Expr::InSubquery(_)))).unwrap_or(true)
}

fn counted_within(expression: Expr) -> Result<Expr> {
    let counted = expression.transform_up(|part| match part {
        Expr::Exists(exists) => counted(exists).map(Transformed::yes),
        other => Ok(Transformed::no(other)),
    });
    counted.data()
}

/// Whether there are more than no rows.
fn counted(exists: Exists) -> Result<Expr> {
    let Exists { subquery, negated } = exists;
    let rows = LogicalPlanBuilder::new_from_arc(unlimited(&subquery.subquery)?);
    // For all rows of the query around it, one row is as good as many.
    let rows = if subquery.outer_ref_columns.is_empty() { rows.limit(0, Some(1))? } else { rows };
    let number = count(lit(1_i64));
    let name = number.schema_name().to_string();
    let plan = rows.aggregate(Vec::<Expr>::new(), vec![number])?.project([Expr::Column(Column::new_unqualified(name))])?.build()?;
    let number = Expr::ScalarSubquery(Subquery { subquery: Arc::new(plan), ..subquery });
    Ok(if negated { number.eq(lit(0_i64)) } else { number.gt(lit(0_i64)) })
}

/// A plan that has rows if this one has: without its order, and without a limit that leaves some.
fn unlimited(plan: &Arc<LogicalPlan>) -> Result<Arc<LogicalPlan>> {
    let plan = any_order(plan);
    if let LogicalPlan::Limit(limit) = plan.as_ref()
        && matches!(limit.get_skip_type()?, SkipType::Literal(0))
        && matches!(limit.get_fetch_type()?, FetchType::Literal(Some(1..) | None))
    {
        return unlimited(&limit.input);
    }
    Ok(plan)
}
