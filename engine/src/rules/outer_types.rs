//! The types of what subqueries name of the query around them. They keep those that the columns had when the statement was planned, also where these have others since.

use std::sync::Arc;

use datafusion::common::DFSchema;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::error::Result;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, LogicalPlan};

/// A plan whose subqueries know the types that columns around them have.
pub(super) fn refreshed(plan: LogicalPlan) -> Result<LogicalPlan> {
    plan.transform_up_with_subqueries(|node| {
        let around = merge_schema(&node.inputs());
        node.map_subqueries(|subquery| with_types_of(&around, subquery))
    })
    .data()
}

fn with_types_of(around: &DFSchema, subquery: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let mut changed = false;
    subquery.transform_up_with_subqueries(|node| {
        let node = node.map_expressions(|expression| {
            expression.transform_up(|part| {
                let fresh = fresh(around, &part);
                changed |= fresh.is_some();
                Ok(fresh.map_or_else(|| Transformed::no(part), Transformed::yes))
            })
        })?;
        // Those above it have their types from it.
        if changed { node.data.recompute_schema().map(Transformed::yes) } else { Ok(node) }
    })
}

/// A column of the query around with the type that it has now; `None` for any other expression, and if that is the one that it has.
fn fresh(around: &DFSchema, expression: &Expr) -> Option<Expr> {
    let Expr::OuterReferenceColumn(field, column) = expression else { return None };
    let (_, found) = around.qualified_field_from_column(column).ok()?;
    (found.data_type() != field.data_type()).then(|| Expr::OuterReferenceColumn(Arc::clone(found), column.clone()))
}

/// Whether an expression names a column of the query around.
pub(super) fn is_outer(expression: &Expr) -> bool {
    matches!(expression, Expr::OuterReferenceColumn(..))
}
