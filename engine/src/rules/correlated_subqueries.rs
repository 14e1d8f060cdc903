//! Subqueries of `IN` and `EXISTS` that name columns of the query around them: what DataFusion makes a join of them by, and clear errors for what it cannot, or would
//! do wrongly.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, Diagnostic, JoinType, Span};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::expr::{Exists, InSubquery, SetComparison};
use datafusion::logical_expr::utils::{merge_schema, split_conjunction};
use datafusion::logical_expr::{Distinct, Expr, Join, LogicalPlan, LogicalPlanBuilder, Projection, SkipType, Subquery, lit};
use datafusion::optimizer::decorrelate::PullUpCorrelatedExpr;

use super::lifted_conditions::names_around_within;

/// The name of what `IN` looks into. The columns that a join needs beside it never have it.
const ELEMENT: &str = "in_value";

/// What is left of limits behind `correlated_limits`.
const LIMIT: &str = "LIMIT where not '=' alone ties the two together";

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
            let each = parts(subquery).into_iter().map(|subquery| Ok(Expr::Exists(Exists { subquery: unselected(subquery)?, negated })));
            Ok(joined(each.collect::<Result<_>>()?, negated))
        }
        // DataFusion compares its column with those of the query around by the names that both have.
        Expr::SetComparison(SetComparison { expr, subquery, op, quantifier }) => {
            let subquery = named(subquery)?;
            Ok(Transformed::yes(Expr::SetComparison(SetComparison { expr, subquery, op, quantifier })))
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

/// A subquery of `EXISTS` that gives no columns of the query around it: what it selects does not matter.
fn unselected(subquery: Subquery) -> Result<Subquery> {
    match subquery.subquery.as_ref() {
        LogicalPlan::Projection(Projection { expr, input, .. }) if expr.iter().any(Expr::contains_outer) => {
            let plan = LogicalPlan::Projection(Projection::try_new(vec![lit(1_i64)], Arc::clone(input))?);
            let outer_ref_columns = plan.all_out_ref_exprs();
            Ok(Subquery { subquery: Arc::new(plan), outer_ref_columns, spans: subquery.spans.clone() })
        }
        _ => Ok(subquery),
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

/// Errors: `NOT_SUPPORTED` for subqueries that cannot become joins, with the reason and a place in them.
pub(super) fn check(plan: &LogicalPlan) -> Result<()> {
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::Join(join) = node {
            check_lateral(join)?;
        }
        node.apply_expressions(|expression| {
            expression.apply(|part| {
                match part {
                    Expr::Exists(Exists { subquery, .. }) => check_subquery(node, subquery, true)?,
                    Expr::InSubquery(InSubquery { subquery, .. })
                    | Expr::SetComparison(SetComparison { subquery, .. })
                    | Expr::ScalarSubquery(subquery) => check_subquery(node, subquery, false)?,
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
        let what = format!(
            "a subquery names column '{}', which is of a query further out than the one right around it: select it there too, or write a join",
            column.name
        );
        return Err(refused(what, &subquery.subquery));
    }
    if let Some(what) = obstacle(&subquery.subquery, &around, is_exists)? {
        let what = format!("{what} is not supported in a subquery that names columns of the query around it: write a join");
        return Err(refused(what, &subquery.subquery));
    }
    if marks(&subquery.subquery)? > 1 {
        let what = "several IN or EXISTS within OR, NOT or CASE are not supported in a subquery that names columns of the query around it";
        return Err(refused(what.to_owned(), &subquery.subquery));
    }
    if !can_be_joined(&subquery.subquery, is_exists) {
        let what = "a subquery that is aggregated for each row of the query around it is supported only if '=' ties the two together: \
                    write a join, and GROUP BY";
        return Err(refused(what.to_owned(), &subquery.subquery));
    }
    Ok(())
}

/// The same for what stands behind `LATERAL`, which becomes a join in the same way.
fn check_lateral(join: &Join) -> Result<()> {
    let right = match join.right.as_ref() {
        LogicalPlan::SubqueryAlias(alias) => alias.input.as_ref(),
        other => other,
    };
    let LogicalPlan::Subquery(subquery) = right else { return Ok(()) };
    if !is_correlated(subquery) {
        return Ok(());
    }
    if let Some(what) = obstacle(&subquery.subquery, join.left.schema(), false)? {
        return Err(refused(format!("{what} is not supported behind LATERAL with columns from before it: write a join"), &subquery.subquery));
    }
    if !can_be_joined(&subquery.subquery, false) {
        let what = "a query behind LATERAL that is aggregated for each row before it is supported only if '=' ties the two together: \
                    write a join, and GROUP BY";
        return Err(refused(what.to_owned(), &subquery.subquery));
    }
    Ok(())
}

/// Whether DataFusion finds a join for a subquery.
fn can_be_joined(plan: &LogicalPlan, is_exists: bool) -> bool {
    let mut conditions = PullUpCorrelatedExpr::new().with_need_handle_count_bug(!is_exists).with_exists_sub_query(is_exists);
    // What is wrong otherwise is said when it is tried.
    plan.clone().rewrite(&mut conditions).is_err() || conditions.can_pull_up
}

/// The error for a subquery that cannot become a join.
fn refused(what: String, subquery: &LogicalPlan) -> DataFusionError {
    let error = DataFusionError::NotImplemented(what);
    match place(subquery) {
        Some(place) => error.with_diagnostic(Diagnostic::new_error("not supported", Some(place))),
        None => error,
    }
}

/// Where in the text a subquery names a column: beside one of the query around it, or else the first.
fn place(subquery: &LogicalPlan) -> Option<Span> {
    let (mut beside, mut first) = (None, None);
    let searched = subquery.apply(|node| {
        node.apply_expressions(|expression| {
            for part in split_conjunction(expression) {
                let found = if part.contains_outer() { &mut beside } else { &mut first };
                part.apply(|part| {
                    if let Expr::Column(column) = part
                        && found.is_none()
                    {
                        *found = column.spans().first();
                    }
                    Ok(TreeNodeRecursion::Continue)
                })?;
            }
            Ok(TreeNodeRecursion::Continue)
        })
    });
    searched.ok().and(beside.or(first))
}

/// The column that is neither of the query right around a subquery nor, as what stands behind `LATERAL` names it, of one within it.
fn far<'a>(reference: &'a Expr, around: &DFSchema, subquery: &LogicalPlan) -> Option<&'a Column> {
    let Expr::OuterReferenceColumn(_, column) = reference else { return None };
    let is_within = || subquery.exists(|node| Ok(node.schema().has_column(column))).unwrap_or(true);
    (!around.has_column(column) && !is_within()).then_some(column)
}

/// What stands above a condition that names columns of the query around, and would be done for all rows at once if that condition became one of a join; or what else
/// such a column stands in than a condition.
fn obstacle(plan: &LogicalPlan, around: &DFSchema, is_exists: bool) -> Result<Option<&'static str>> {
    let names_around = |expression: &Expr| matches!(expression, Expr::OuterReferenceColumn(_, column) if around.has_column(column));
    let has_around = |expression: &Expr| expression.exists(|part| Ok(names_around(part))).unwrap_or(true);
    let within = |plan: &LogicalPlan| plan.all_out_ref_exprs().iter().any(names_around);
    let below = || plan.inputs().into_iter().any(within);
    let of_all_rows = |plan: &LogicalPlan| {
        let is_one = |node: &LogicalPlan| match node {
            LogicalPlan::Aggregate(aggregate) => aggregate.group_expr.is_empty() && within(aggregate.input.as_ref()),
            _ => false,
        };
        plan.exists(|node| Ok(is_one(node))).unwrap_or(true)
    };
    let found = match plan {
        LogicalPlan::Limit(limit) if below() => match limit.get_skip_type()? {
            SkipType::Literal(0) if is_exists => None,
            SkipType::Literal(0) => Some(LIMIT),
            _ => Some("OFFSET where not '=' alone ties the two together"),
        },
        LogicalPlan::Sort(sort) if sort.fetch.is_some() && below() => Some(LIMIT),
        LogicalPlan::Sort(_) if below() => Some("ORDER BY"),
        LogicalPlan::Union(_) if below() => Some("UNION"),
        LogicalPlan::Filter(filter) if gives_one_row(&filter.input) && below() => Some("HAVING without GROUP BY"),
        LogicalPlan::Window(_) if below() => Some("a window function"),
        LogicalPlan::Unnest(unnest) if unnest.input.expressions().iter().any(has_around) => Some("UNNEST of these columns"),
        LogicalPlan::Unnest(unnest) if names_around_within(&unnest.input) => Some("UNNEST beside rows with conditions that name these"),
        LogicalPlan::Distinct(Distinct::On(_)) if below() => Some("DISTINCT ON"),
        LogicalPlan::Join(join) if lost_rows(join).into_iter().any(within) => {
            Some("an outer join, INTERSECT or EXCEPT with conditions that name these")
        }
        LogicalPlan::Join(join) if join.join_type != JoinType::Inner && plan.expressions().iter().any(has_around) => {
            Some("ON of an outer join with conditions that name these")
        }
        LogicalPlan::Join(_) | LogicalPlan::Aggregate(_) if plan.inputs().into_iter().any(of_all_rows) => {
            Some("an aggregation without GROUP BY in a derived table")
        }
        LogicalPlan::Projection(_) if plan.expressions().iter().any(has_around) => Some("SELECT of these columns"),
        LogicalPlan::Aggregate(_) if plan.expressions().iter().any(has_around) => Some("GROUP BY or an aggregation of these columns"),
        LogicalPlan::Values(_) if plan.expressions().iter().any(has_around) => Some("VALUES of these columns"),
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

/// The sides of a join whose rows are not all those of its result: conditions for these mean something else behind it.
fn lost_rows(join: &Join) -> Vec<&LogicalPlan> {
    match join.join_type {
        JoinType::Inner => Vec::new(),
        JoinType::Left | JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark => vec![join.right.as_ref()],
        JoinType::Right | JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => vec![join.left.as_ref()],
        JoinType::Full => vec![join.left.as_ref(), join.right.as_ref()],
    }
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
                    count += match part {
                        Expr::Exists(_) | Expr::InSubquery(_) => 1,
                        // It becomes several of the former.
                        Expr::SetComparison(_) => 2,
                        _ => 0,
                    };
                    Ok(TreeNodeRecursion::Continue)
                })?;
            }
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(count)
}
