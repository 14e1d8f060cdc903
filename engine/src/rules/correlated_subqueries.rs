//! Subqueries of `IN` and `EXISTS` that name columns of the query around them: what DataFusion makes a join of them by, and clear errors for what it cannot, or would
//! do wrongly.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, not_impl_err};
use datafusion::error::Result;
use datafusion::logical_expr::expr::{Exists, InSubquery};
use datafusion::logical_expr::utils::{merge_schema, split_conjunction};
use datafusion::logical_expr::{Distinct, Expr, LogicalPlan, LogicalPlanBuilder, Projection, SkipType, Subquery, lit};

/// The name of what `IN` looks into. The columns that a join needs beside it never have it.
const ELEMENT: &str = "in_value";

/// Such subqueries of a condition in the form that joins are made of: each part of a `UNION` by itself, with elements of a name of their own.
pub(super) fn prepared(condition: Expr) -> Result<Transformed<Expr>> {
    condition.transform_up(|part| match part {
        // No rows of the tables still make one of an aggregation, which a join would not have.
        Expr::InSubquery(InSubquery { expr, subquery, negated }) if is_correlated(&subquery) && gives_one_row(&subquery.subquery) => {
            let value = Expr::ScalarSubquery(subquery);
            Ok(Transformed::yes(if negated { (*expr).not_eq(value) } else { (*expr).eq(value) }))
        }
        Expr::Exists(Exists { subquery, negated }) if is_correlated(&subquery) && gives_one_row(&subquery.subquery) => {
            Ok(Transformed::yes(lit(!negated)))
        }
        Expr::InSubquery(InSubquery { expr, subquery, negated }) if is_correlated(&subquery) => {
            let each = parts(subquery).into_iter().map(|subquery| {
                let subquery = named(subquery)?;
                Ok(Expr::InSubquery(InSubquery { expr: expr.clone(), subquery, negated }))
            });
            Ok(joined(each.collect::<Result<_>>()?, negated))
        }
        Expr::Exists(Exists { subquery, negated }) if is_correlated(&subquery) => {
            let each = parts(subquery).into_iter().map(|subquery| Expr::Exists(Exists { subquery, negated }));
            Ok(joined(each.collect(), negated))
        }
        other => Ok(Transformed::no(other)),
    })
}

fn is_correlated(subquery: &Subquery) -> bool {
    !subquery.outer_ref_columns.is_empty()
}

/// Whether a plan gives one row, whatever there is in its tables: an aggregation of all rows, with nothing above it that leaves rows out.
pub(super) fn gives_one_row(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Aggregate(aggregate) => aggregate.group_expr.is_empty(),
        LogicalPlan::Projection(projection) => gives_one_row(&projection.input),
        LogicalPlan::SubqueryAlias(alias) => gives_one_row(&alias.input),
        LogicalPlan::Sort(sort) => sort.fetch.is_none() && gives_one_row(&sort.input),
        LogicalPlan::Distinct(Distinct::All(input)) => gives_one_row(input),
        _ => false,
    }
}

/// In none of the parts, or in one of them.
fn joined(each: Vec<Expr>, negated: bool) -> Transformed<Expr> {
    match each.into_iter().reduce(if negated { Expr::and } else { Expr::or }) {
        Some(condition) => Transformed::yes(condition),
        None => Transformed::no(lit(negated)),
    }
}

/// The parts of a `UNION`. Neither their order nor whether a row is there twice matters.
fn parts(subquery: Subquery) -> Vec<Subquery> {
    let plan = any_order(&subquery.subquery);
    match plan.as_ref() {
        LogicalPlan::Union(union) => {
            let part = |input: &Arc<LogicalPlan>| {
                let outer_ref_columns = input.all_out_ref_exprs();
                parts(Subquery { subquery: Arc::clone(input), outer_ref_columns, spans: subquery.spans.clone() })
            };
            union.inputs.iter().flat_map(part).collect()
        }
        _ => vec![subquery.with_plan(plan)],
    }
}

/// A plan without what orders its rows or takes those away that are there already.
pub(super) fn any_order(plan: &Arc<LogicalPlan>) -> Arc<LogicalPlan> {
    match plan.as_ref() {
        LogicalPlan::Distinct(Distinct::All(input)) => any_order(input),
        LogicalPlan::Sort(sort) if sort.fetch.is_none() => any_order(&sort.input),
        // Of rows that are ordered by what is not selected.
        LogicalPlan::Projection(Projection { expr, input, schema, .. }) => match input.as_ref() {
            LogicalPlan::Sort(sort) if sort.fetch.is_none() => {
                let ordered = Projection::try_new_with_schema(expr.clone(), Arc::clone(&sort.input), Arc::clone(schema));
                ordered.map_or_else(|_| Arc::clone(plan), |projection| Arc::new(LogicalPlan::Projection(projection)))
            }
            _ => Arc::clone(plan),
        },
        _ => Arc::clone(plan),
    }
}

/// A subquery of `IN` with a projection at its end that gives its column a name of its own.
pub(super) fn named(subquery: Subquery) -> Result<Subquery> {
    let plan = match subquery.subquery.as_ref() {
        LogicalPlan::Projection(Projection { expr, input, .. }) if expr.len() == 1 => {
            let element = expr.iter().map(|element| element.clone().unalias().alias(ELEMENT)).collect();
            LogicalPlan::Projection(Projection::try_new(element, Arc::clone(input))?)
        }
        plan => {
            let element = Expr::Column(Column::from(plan.schema().qualified_field(0))).alias(ELEMENT);
            LogicalPlanBuilder::new_from_arc(Arc::clone(&subquery.subquery)).project([element])?.build()?
        }
    };
    Ok(subquery.with_plan(Arc::new(plan)))
}

/// Errors: `NOT_SUPPORTED` for subqueries that cannot become joins, with the reason.
pub(super) fn check(plan: &LogicalPlan) -> Result<()> {
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expression| {
            expression.apply(|part| {
                match part {
                    Expr::Exists(Exists { subquery, .. }) => check_subquery(node, subquery, true)?,
                    Expr::InSubquery(InSubquery { subquery, .. }) | Expr::ScalarSubquery(subquery) => check_subquery(node, subquery, false)?,
                    _ => {}
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })
    .map(|_| ())
}

fn check_subquery(node: &LogicalPlan, subquery: &Subquery, is_exists: bool) -> Result<()> {
    if !is_correlated(subquery) {
        return Ok(());
    }
    let around = merge_schema(&node.inputs());
    if let Some(column) = subquery.outer_ref_columns.iter().find_map(|reference| far(reference, &around, &subquery.subquery)) {
        return not_impl_err!(
            "a subquery names column '{}', which is of a query further out than the one right around it: select it there too, or write a join",
            column.name
        );
    }
    if let Some(what) = obstacle(&subquery.subquery, &around, is_exists)? {
        return not_impl_err!("{what} is not supported in a subquery whose conditions name columns of the query around it: write a join");
    }
    if marks(&subquery.subquery)? > 1 {
        return not_impl_err!(
            "several IN or EXISTS within OR, NOT or CASE are not supported in a subquery that names columns of the query around it"
        );
    }
    Ok(())
}

/// The column that is neither of the query right around a subquery nor, as what stands behind `LATERAL` names it, of one within it.
fn far<'a>(reference: &'a Expr, around: &DFSchema, subquery: &LogicalPlan) -> Option<&'a Column> {
    let Expr::OuterReferenceColumn(_, column) = reference else { return None };
    let is_within = || subquery.exists(|node| Ok(node.schema().has_column(column))).unwrap_or(true);
    (!around.has_column(column) && !is_within()).then_some(column)
}

/// What stands above a condition that names columns of the query around, and would be done for all rows at once if that condition became one of a join.
fn obstacle(plan: &LogicalPlan, around: &DFSchema, is_exists: bool) -> Result<Option<&'static str>> {
    let names_around = |expression: &Expr| matches!(expression, Expr::OuterReferenceColumn(_, column) if around.has_column(column));
    let below = || plan.inputs().iter().any(|input| input.all_out_ref_exprs().iter().any(names_around));
    let found = match plan {
        LogicalPlan::Limit(limit) if below() => match limit.get_skip_type()? {
            SkipType::Literal(0) if is_exists => None,
            SkipType::Literal(0) => Some("LIMIT"),
            _ => Some("OFFSET"),
        },
        LogicalPlan::Sort(sort) if sort.fetch.is_some() && below() => Some("LIMIT"),
        LogicalPlan::Sort(_) if below() => Some("ORDER BY"),
        LogicalPlan::Union(_) if below() => Some("UNION"),
        LogicalPlan::Filter(filter) if gives_one_row(&filter.input) && below() => Some("HAVING without GROUP BY"),
        LogicalPlan::Window(_) if below() => Some("a window function"),
        LogicalPlan::Distinct(Distinct::On(_)) if below() => Some("DISTINCT ON"),
        _ => None,
    };
    if found.is_some() {
        return Ok(found);
    }
    for input in plan.inputs() {
        if let Some(found) = obstacle(input, around, is_exists)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// How many subqueries of the conditions of a plan, not of those in it, do not stand alone. DataFusion takes several marks within a correlated subquery for one and the
/// same.
fn marks(plan: &LogicalPlan) -> Result<usize> {
    let mut count = 0;
    plan.apply(|node| {
        if let LogicalPlan::Filter(filter) = node {
            for condition in split_conjunction(&filter.predicate) {
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
