//! `x IN (subquery)` where it matters that it is neither true nor false.
//!
//! DataFusion makes joins of such conditions. Where one stands alone in `WHERE` they are right: what is not true is no row. Within other expressions its join says only
//! whether there is a match, and `NOT (x IN (...) AND ...)`, `(x IN (...)) IS NULL` or `x NOT IN (...) OR ...` would take NULL for false; `NOT IN` with a correlated
//! subquery would count NULLs of rows that the correlation leaves out. Here it becomes what the standard says it is (SQL:2016, 8.4 "in predicate"), in terms of
//! `EXISTS`, which is never NULL.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{Column, DFSchema, JoinType, ScalarValue, not_impl_err};
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::logical_expr::expr::{Exists, InSubquery};
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, Filter, Join, LogicalPlan, LogicalPlanBuilder, Operator, Subquery, lit, not, when};
use datafusion::optimizer::AnalyzerRule;

use super::correlated_subqueries::{self, named, prepared};
use super::other_ties::with_equal_ties;
use super::subqueries_as_values;

/// The rule.
#[derive(Debug)]
pub(super) struct InSubqueries;

impl AnalyzerRule for InSubqueries {
    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        let plan = plan.transform_up_with_subqueries(|node| match node {
            LogicalPlan::Filter(Filter { predicate, input, .. }) => {
                let changed = prepared(predicate)?.transform_data(|predicate| in_condition(predicate, input.schema(), true))?;
                let filter = Filter::try_new(changed.data, input)?;
                Ok(Transformed::new_transformed(LogicalPlan::Filter(filter), changed.transformed))
            }
            LogicalPlan::Join(join) => joined(join),
            node @ LogicalPlan::Projection(_) => subqueries_as_values::projected(node),
            node @ LogicalPlan::Aggregate(_) => subqueries_as_values::aggregated(node),
            node @ LogicalPlan::Sort(_) => subqueries_as_values::sorted(node),
            other => Ok(Transformed::no(other)),
        });
        // Their values are made of aggregations too.
        let plan = with_equal_ties(plan.data()?, "member ")?;
        correlated_subqueries::check(&plan)?;
        Ok(plan)
    }

    fn name(&self) -> &str {
        "in_subqueries"
    }
}

/// The condition of a join, which is that of a filter above it where rows without a partner are gone.
fn joined(mut join: Join) -> Result<Transformed<LogicalPlan>> {
    let Some(condition) = join.filter.take() else { return Ok(Transformed::no(LogicalPlan::Join(join))) };
    let schema = merge_schema(&[&join.left, &join.right]);
    let condition = prepared(condition)?;
    let changed = in_condition(condition.data.clone(), &schema, true)?;
    if !changed.transformed {
        join.filter = Some(condition.data);
        return Ok(Transformed::new_transformed(LogicalPlan::Join(join), condition.transformed));
    }
    if join.join_type != JoinType::Inner {
        return not_impl_err!("IN with a subquery is supported in ON of an inner join, and elsewhere alone, without NOT; here it is not");
    }
    let filter = Filter::try_new(changed.data, Arc::new(LogicalPlan::Join(join)))?;
    Ok(Transformed::yes(LogicalPlan::Filter(filter)))
}

/// A condition of which only matters whether it is true, `alone` if nothing else makes a row of it.
fn in_condition(condition: Expr, schema: &DFSchema, alone: bool) -> Result<Transformed<Expr>> {
    match condition {
        Expr::BinaryExpr(BinaryExpr { left, op: op @ (Operator::And | Operator::Or), right }) => {
            let alone = alone && op == Operator::And;
            let (left, right) = (in_condition(*left, schema, alone)?, in_condition(*right, schema, alone)?);
            let transformed = left.transformed || right.transformed;
            let condition = Expr::BinaryExpr(BinaryExpr::new(Box::new(left.data), op, Box::new(right.data)));
            Ok(if transformed { Transformed::yes(condition) } else { Transformed::no(condition) })
        }
        plain if is_plain_in(&plain) || alone && is_plain_not_in(&plain) => Ok(Transformed::no(plain)),
        other => anywhere(other, schema),
    }
}

fn is_plain_in(condition: &Expr) -> bool {
    matches!(condition, Expr::InSubquery(InSubquery { negated: false, .. }))
}

/// Where it is a column that is looked for, a join tells NULLs apart.
fn is_plain_not_in(condition: &Expr) -> bool {
    let is_plain = |membership: &InSubquery| membership.subquery.outer_ref_columns.is_empty() && matches!(*membership.expr, Expr::Column(_));
    match condition {
        Expr::InSubquery(membership @ InSubquery { negated: true, .. }) => is_plain(membership),
        Expr::Not(inner) => matches!(inner.as_ref(), Expr::InSubquery(membership @ InSubquery { negated: false, .. }) if is_plain(membership)),
        _ => false,
    }
}

/// An expression whose value may be asked for.
pub(super) fn anywhere(expression: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    expression.transform_up(|part| match part {
        Expr::InSubquery(membership) => written_out(membership, schema).map(Transformed::yes),
        other => Ok(Transformed::no(other)),
    })
}

/// True if there is a match; NULL if there might be one, if it were known what a NULL stands for; else false.
pub(super) fn written_out(membership: InSubquery, schema: &DFSchema) -> Result<Expr> {
    let InSubquery { expr: value, subquery, negated } = membership;
    // Without a projection at its end, DataFusion names the columns of a union twice.
    let subquery = named(subquery)?;
    let element = Expr::Column(Column::from(subquery.subquery.schema().qualified_field(0)));
    let (outer, references) = outer(value.as_ref().clone(), schema)?;
    let exists = |condition: Option<Expr>| {
        let mut rows = LogicalPlanBuilder::from(subquery.subquery.as_ref().clone());
        let mut outer_ref_columns = subquery.outer_ref_columns.clone();
        if let Some(condition) = condition {
            outer_ref_columns.extend(references.iter().filter(|reference| condition.exists(|part| Ok(part == *reference)).unwrap_or(true)).cloned());
            rows = rows.filter(condition)?;
        }
        let rows = Subquery { subquery: Arc::new(rows.build()?), outer_ref_columns, spans: subquery.spans.clone() };
        Ok::<_, datafusion::error::DataFusionError>(Expr::Exists(Exists::new(rows, false)))
    };
    let unknown = || lit(ScalarValue::Boolean(None));
    let mut cases = when(exists(Some(element.clone().eq(outer)))?, lit(true));
    if value.nullable(schema).unwrap_or(true) {
        cases = cases.when(value.is_null().and(exists(None)?), unknown());
    }
    if element.nullable(subquery.subquery.schema().as_ref())? {
        cases = cases.when(exists(Some(element.is_null()))?, unknown());
    }
    let is_in = cases.otherwise(lit(false))?;
    Ok(if negated { not(is_in) } else { is_in })
}

/// An expression as a subquery sees it, and the columns that are of the query around it.
fn outer(expression: Expr, schema: &DFSchema) -> Result<(Expr, Vec<Expr>)> {
    let mut references = Vec::new();
    let outer = expression.transform(|part| match part {
        Expr::Column(column) => {
            let field = schema.qualified_field_from_column(&column)?.1;
            let reference = Expr::OuterReferenceColumn(Arc::clone(field), column);
            references.push(reference.clone());
            Ok(Transformed::yes(reference))
        }
        other => Ok(Transformed::no(other)),
    });
    Ok((outer.data()?, references))
}
