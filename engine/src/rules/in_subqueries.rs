//! `x IN (subquery)` where it matters that it is neither true nor false.
//!
//! DataFusion makes joins of such conditions. Where one stands alone in `WHERE` they are right: what is not true is no row. Within other expressions its join says only
//! whether there is a match, and `NOT (x IN (...) AND ...)`, `(x IN (...)) IS NULL` or `x NOT IN (...) OR ...` would take NULL for false; `NOT IN` with a correlated
//! subquery would count NULLs of rows that the correlation leaves out. Here it becomes what the standard says it is (SQL:2016, 8.4 "in predicate"), in terms of
//! `EXISTS`, which is never NULL.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, JoinType, ScalarValue, not_impl_err};
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::logical_expr::expr::{Exists, InSubquery};
use datafusion::logical_expr::utils::{merge_schema, split_conjunction};
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, Filter, Join, LogicalPlan, LogicalPlanBuilder, Operator, Subquery, lit, not, when};
use datafusion::optimizer::AnalyzerRule;

/// The rule.
#[derive(Debug)]
pub(super) struct InSubqueries;

impl AnalyzerRule for InSubqueries {
    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        let plan = plan.transform_up_with_subqueries(|node| match node {
            LogicalPlan::Filter(Filter { predicate, input, .. }) => {
                let changed = in_condition(predicate, input.schema(), true)?;
                let filter = Filter::try_new(changed.data, input)?;
                Ok(Transformed::new_transformed(LogicalPlan::Filter(filter), changed.transformed))
            }
            LogicalPlan::Join(join) => joined(join),
            other => Ok(Transformed::no(other)),
        });
        let plan = plan.data()?;
        check(&plan)?;
        Ok(plan)
    }

    fn name(&self) -> &str {
        "in_subqueries"
    }
}

/// The condition of a join, which is that of a filter above it where rows without a partner are gone.
fn joined(mut join: Join) -> Result<Transformed<LogicalPlan>> {
    let Some(condition) = join.filter.take() else { return Ok(Transformed::no(LogicalPlan::Join(join))) };
    let changed = in_condition(condition.clone(), &merge_schema(&[&join.left, &join.right]), true)?;
    if !changed.transformed {
        join.filter = Some(condition);
        return Ok(Transformed::no(LogicalPlan::Join(join)));
    }
    if join.join_type != JoinType::Inner {
        return not_impl_err!("IN with a subquery is supported in ON of an inner join, and elsewhere alone, without NOT; here it is not");
    }
    let filter = Filter::try_new(changed.data, Arc::new(LogicalPlan::Join(join)))?;
    Ok(Transformed::yes(LogicalPlan::Filter(filter)))
}

/// DataFusion takes several marks within a correlated subquery for one and the same: `EXISTS` and `IN` that do not stand alone there.
fn check(plan: &LogicalPlan) -> Result<()> {
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expression| {
            expression.apply(|part| {
                let (Expr::Exists(Exists { subquery, .. }) | Expr::InSubquery(InSubquery { subquery, .. }) | Expr::ScalarSubquery(subquery)) = part
                else {
                    return Ok(TreeNodeRecursion::Continue);
                };
                if !subquery.outer_ref_columns.is_empty() && marks(&subquery.subquery)? > 1 {
                    return not_impl_err!(
                        "several IN or EXISTS within OR, NOT or CASE are not supported in a subquery that names columns of the query around it"
                    );
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })
    .map(|_| ())
}

/// How many subqueries of the conditions of a plan, not of those in it, do not stand alone.
fn marks(plan: &LogicalPlan) -> Result<usize> {
    let mut count = 0;
    plan.apply(|node| {
        if let LogicalPlan::Filter(Filter { predicate, .. }) = node {
            for condition in split_conjunction(predicate) {
                let alone = match condition {
                    Expr::Not(inner) => inner.as_ref(),
                    other => other,
                };
                if matches!(alone, Expr::Exists(_) | Expr::InSubquery(_)) {
                    continue;
                }
                condition.apply(|part| {
                    count += usize::from(matches!(part, Expr::Exists(_) | Expr::InSubquery(_)));
                    Ok(TreeNodeRecursion::Continue)
                })?;
            }
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(count)
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
fn anywhere(expression: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    expression.transform_up(|part| match part {
        Expr::InSubquery(membership) => written_out(membership, schema).map(Transformed::yes),
        other => Ok(Transformed::no(other)),
    })
}

/// True if there is a match; NULL if there might be one, if it were known what a NULL stands for; else false.
fn written_out(membership: InSubquery, schema: &DFSchema) -> Result<Expr> {
    let InSubquery { expr: value, subquery, negated } = membership;
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

/// A subquery with a projection at its end: without one, DataFusion names the columns of a union twice.
fn named(subquery: Subquery) -> Result<Subquery> {
    if !matches!(*subquery.subquery, LogicalPlan::Union(_) | LogicalPlan::Distinct(_)) {
        return Ok(subquery);
    }
    let element = Expr::Column(Column::from(subquery.subquery.schema().qualified_field(0)));
    let rows = LogicalPlanBuilder::new_from_arc(Arc::clone(&subquery.subquery)).project([element.alias("in_value")])?.build()?;
    Ok(subquery.with_plan(Arc::new(rows)))
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
