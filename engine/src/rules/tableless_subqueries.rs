//! Subqueries that read no table: `(SELECT t.k + 1)`, `EXISTS (SELECT 1 WHERE t.k = 0)`, `(SELECT * FROM (SELECT t.k))`. Each is a value of columns of the queries around it.

use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::error::Result;
use datafusion::logical_expr::expr::Exists;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, LogicalPlan, lit, when};

use super::lifted_conditions::{is_correlated, is_subquery};

/// What such a subquery stands for; `None` for any other expression.
pub(super) fn value(part: &Expr) -> Result<Option<Expr>> {
    let (Expr::ScalarSubquery(subquery) | Expr::Exists(Exists { subquery, .. })) = part else { return Ok(None) };
    let Some(Row { values, conditions }) = row(&subquery.subquery)? else { return Ok(None) };
    let conditions = conjunction(conditions);
    if let Expr::Exists(Exists { negated, .. }) = part {
        let is_there = conditions.unwrap_or(lit(true));
        return Ok(Some(if *negated { is_there.is_not_true() } else { is_there.is_true() }));
    }
    match (<[Expr; 1]>::try_from(values), conditions) {
        (Ok([value]), None) => Ok(Some(value)),
        (Ok([value]), Some(conditions)) => when(conditions, value).end().map(Some),
        (Err(_), _) => Ok(None),
    }
}

/// A row that comes of no table, and the conditions under which it is there.
struct Row {
    values: Vec<Expr>,
    conditions: Vec<Expr>,
}

/// That of a plan without tables, as `SELECT * FROM (SELECT t.k) WHERE t.v > 1`; `None` for any other plan.
fn row(plan: &LogicalPlan) -> Result<Option<Row>> {
    let (input, expressions): (&LogicalPlan, Vec<&Expr>) = match plan {
        LogicalPlan::EmptyRelation(nothing) if nothing.produce_one_row && nothing.schema.fields().is_empty() => {
            return Ok(Some(Row { values: Vec::new(), conditions: Vec::new() }));
        }
        LogicalPlan::SubqueryAlias(alias) => return row(&alias.input),
        LogicalPlan::Projection(projection) => (projection.input.as_ref(), projection.expr.iter().collect()),
        LogicalPlan::Filter(filter) => (filter.input.as_ref(), vec![&filter.predicate]),
        _ => return Ok(None),
    };
    let Some(mut row) = row(input)? else { return Ok(None) };
    // A random value is to be found once, and a subquery that names columns of the row would have to be changed within.
    let is_in_the_way = |part: &Expr| part.is_volatile_node() || !row.values.is_empty() && is_subquery(part);
    if expressions.iter().any(|expression| expression.exists(|part| Ok(is_in_the_way(part))).unwrap_or(true)) {
        return Ok(None);
    }
    let of_row = |expression: &Expr| {
        let found = expression.clone().unalias().transform(|part| {
            Ok(match &part {
                Expr::Column(column) => match input.schema().maybe_index_of_column(column) {
                    Some(place) => Transformed::yes(row.values[place].clone()),
                    None => Transformed::no(part),
                },
                _ => Transformed::no(part),
            })
        });
        found.data()
    };
    let found = expressions.into_iter().map(of_row).collect::<Result<Vec<_>>>()?;
    match plan {
        LogicalPlan::Filter(_) => row.conditions.extend(found),
        _ => row.values = found,
    }
    Ok(Some(row))
}

/// Whether a value names columns of a query around, in its subqueries too.
pub(super) fn names_around(value: &Expr) -> bool {
    value.exists(|part| Ok(matches!(part, Expr::OuterReferenceColumn(..)) || is_correlated(part))).unwrap_or(false)
}
