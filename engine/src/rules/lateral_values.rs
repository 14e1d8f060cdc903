//! `LATERAL (SELECT u.v - t.v FROM u WHERE u.k = t.k)`: values that are made of columns from before `LATERAL`. DataFusion makes joins of queries that name these in conditions
//! only, so such values are computed above the join, of columns of both sides; and so are constants beside an aggregation of all rows, which are there without any row.

use std::cell::Cell;
use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{Column, DFSchema, JoinType, TableReference};
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, Join, Limit, LogicalPlan, LogicalPlanBuilder, Projection, Sort, SortExpr, Subquery, SubqueryAlias, lit, when};
use datafusion::optimizer::AnalyzerRule;

use super::correlated_subqueries::gives_one_row;
use super::lateral_rows::is_lateral;
use super::lifted_conditions::is_subquery;

/// How the names of columns begin that such values are made of. No statement can name them.
const PART: &str = "\u{1}part ";

/// The column that is NULL where a row of the left side has none beside it.
const BESIDE: &str = "\u{1}beside";

/// The rule. It comes before those that bring up conditions.
#[derive(Debug)]
pub(super) struct LateralValues;

impl AnalyzerRule for LateralValues {
    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        let count = Cell::new(0);
        plan.transform_up_with_subqueries(|node| match node {
            LogicalPlan::Join(join) => match above(&join, &count)? {
                Some(projection) => Ok(Transformed::yes(projection)),
                None => Ok(Transformed::no(LogicalPlan::Join(join))),
            },
            other => Ok(Transformed::no(other)),
        })
        .data()
    }

    fn name(&self) -> &str {
        "lateral_values"
    }
}

/// A plan without those of its columns that name others around it, and what these are, over its columns.
struct Pulled {
    plan: LogicalPlan,
    values: Vec<(Column, Expr)>,
}

/// A join with such values above it; `None` if it has none, or some that cannot be computed there.
fn above(join: &Join, count: &Cell<usize>) -> Result<Option<LogicalPlan>> {
    let (alias, right) = match join.right.as_ref() {
        LogicalPlan::SubqueryAlias(alias) => (Some(alias.alias.clone()), alias.input.as_ref()),
        other => (None, other),
    };
    let LogicalPlan::Subquery(subquery) = right else { return Ok(None) };
    if !is_lateral(join, subquery) {
        return Ok(None);
    }
    let Some(Pulled { mut plan, values }) = pulled(&subquery.subquery, count)? else { return Ok(None) };
    if values.is_empty() {
        return Ok(None);
    }
    let may_lack = join.join_type == JoinType::Left && !gives_one_row(&plan);
    if may_lack {
        // A row that an aggregation of no rows gives is none of the join.
        if plan.exists(|node| Ok(matches!(node, LogicalPlan::Aggregate(aggregate) if aggregate.group_expr.is_empty())))? {
            return Ok(None);
        }
        let columns = plan.schema().columns().into_iter().map(Expr::Column).chain([lit(true).alias(BESIDE)]);
        plan = LogicalPlanBuilder::from(plan).project(columns.collect::<Vec<_>>())?.build()?;
    }
    let outer_ref_columns = plan.all_out_ref_exprs();
    let mut rows = plan;
    if !outer_ref_columns.is_empty() {
        rows = LogicalPlan::Subquery(Subquery { subquery: Arc::new(rows), outer_ref_columns, spans: subquery.spans.clone() });
    }
    if let Some(alias) = &alias {
        rows = LogicalPlan::SubqueryAlias(SubqueryAlias::try_new(Arc::new(rows), alias.clone())?);
    }
    let (on, filter) = (join.on.clone(), join.filter.clone());
    let (left, right) = (Arc::clone(&join.left), Arc::new(rows));
    let joined = Join::try_new(left, right, on, filter, join.join_type, join.join_constraint, join.null_equality, join.null_aware)?;
    let mut columns: Vec<Expr> = join.left.schema().columns().into_iter().map(Expr::Column).collect();
    for (own, (relation, field)) in subquery.subquery.schema().columns().iter().zip(join.right.schema().iter()) {
        let Some((_, value)) = values.iter().find(|(column, _)| column == own) else {
            columns.push(Expr::from((relation, field)));
            continue;
        };
        let Some(mut value) = of_join(value, join.left.schema(), alias.as_ref())? else { return Ok(None) };
        if may_lack {
            value = when(Expr::Column(Column::new(alias.clone(), BESIDE)).is_not_null(), value).end()?;
        }
        columns.push(value.alias_qualified(relation.cloned(), field.name()));
    }
    Ok(Some(LogicalPlan::Projection(Projection::try_new(columns, Arc::new(LogicalPlan::Join(joined)))?)))
}

/// The same rows without such values; `None` if something else than what is selected is made of them.
fn pulled(plan: &LogicalPlan, count: &Cell<usize>) -> Result<Option<Pulled>> {
    Ok(match plan {
        LogicalPlan::Projection(projection) => match pulled(&projection.input, count)? {
            Some(below) => selected(projection, below, count)?,
            None => None,
        },
        LogicalPlan::Sort(sort) if sort.fetch.is_none() => pulled(&sort.input, count)?.and_then(|Pulled { plan, values }| {
            let names_one = |by: &SortExpr| values.iter().any(|(column, _)| by.expr.column_refs().contains(column));
            if sort.expr.iter().any(names_one) {
                return None;
            }
            let plan = LogicalPlan::Sort(Sort { expr: sort.expr.clone(), input: Arc::new(plan), fetch: None });
            Some(Pulled { plan, values })
        }),
        LogicalPlan::Limit(limit) => pulled(&limit.input, count)?.map(|Pulled { plan, values }| {
            let plan = LogicalPlan::Limit(Limit { skip: limit.skip.clone(), fetch: limit.fetch.clone(), input: Arc::new(plan) });
            Pulled { plan, values }
        }),
        other => Some(Pulled { plan: other.clone(), values: Vec::new() }),
    })
}

/// What is selected of a plan, with what the values need that are not.
fn selected(projection: &Projection, below: Pulled, count: &Cell<usize>) -> Result<Option<Pulled>> {
    let (mut kept, mut values): (Vec<Expr>, Vec<(Column, Expr)>) = (Vec::new(), Vec::new());
    for (expression, column) in projection.expr.iter().zip(projection.schema.columns()) {
        let whole = expression.clone().transform(|part| {
            let value = match &part {
                Expr::Column(column) => below.values.iter().find(|(other, _)| other == column).map(|(_, value)| value.clone()),
                _ => None,
            };
            Ok(value.map_or_else(|| Transformed::no(part), Transformed::yes))
        });
        let whole = whole.data()?;
        if !whole.contains_outer() {
            // DataFusion's join would have NULL beside a row of the left side for which nothing is aggregated.
            match gives_one_row(&below.plan) && is_constant(&whole) {
                true => values.push((column, whole.unalias())),
                false => kept.push(whole),
            }
            continue;
        }
        if whole.exists(|part| Ok(is_subquery(part)))? {
            return Ok(None);
        }
        let value = whole.unalias().transform(|part| {
            Ok(match part {
                Expr::Column(_) => Transformed::yes(part_of(part, &mut kept, count)),
                other => Transformed::no(other),
            })
        });
        values.push((column, value.data()?));
    }
    if kept.is_empty() {
        part_of(lit(true), &mut kept, count);
    }
    let plan = LogicalPlan::Projection(Projection::try_new(kept, Arc::new(below.plan))?);
    Ok(Some(Pulled { plan, values }))
}

/// Whether a value is the same for all rows.
fn is_constant(value: &Expr) -> bool {
    !value.any_column_refs() && !value.is_volatile() && !value.exists(|part| Ok(is_subquery(part))).unwrap_or(true)
}

/// The column under which a value is selected, too.
fn part_of(value: Expr, kept: &mut Vec<Expr>, count: &Cell<usize>) -> Expr {
    let name = format!("{PART}{}", count.replace(count.get() + 1));
    kept.push(value.alias(&name));
    Expr::Column(Column::new_unqualified(name))
}

/// A value over the columns of both sides of the join; `None` if it is made of others too.
fn of_join(value: &Expr, left: &DFSchema, alias: Option<&TableReference>) -> Result<Option<Expr>> {
    if value.exists(|part| Ok(matches!(part, Expr::OuterReferenceColumn(_, column) if !left.has_column(column))))? {
        return Ok(None);
    }
    let value = value.clone().transform(|part| {
        Ok(match part {
            Expr::OuterReferenceColumn(_, column) => Transformed::yes(Expr::Column(column)),
            Expr::Column(column) => Transformed::yes(Expr::Column(Column::new(alias.cloned(), column.name))),
            other => Transformed::no(other),
        })
    });
    value.data().map(Some)
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::datatypes::DataType;
    use datafusion::logical_expr::{col, out_ref_col};

    use super::*;

    #[test]
    fn values_are_made_of_what_is_selected() {
        let rows = LogicalPlanBuilder::values(vec![vec![lit(1_i64), lit(2_i64)]]).and_then(|rows| rows.alias("u")).unwrap();
        let difference = (col("u.column2") - out_ref_col(DataType::Int64, "t.v")).alias("d");
        let plan = rows.project([col("u.column1"), difference]).and_then(|rows| rows.limit(0, Some(1))).and_then(LogicalPlanBuilder::build).unwrap();
        let below = pulled(&plan, &Cell::new(0)).unwrap().unwrap();
        assert!(below.plan.all_out_ref_exprs().is_empty());
        let [(column, value)] = below.values.as_slice() else { panic!("{} values", below.values.len()) };
        assert_eq!((column.name(), value.column_refs().len()), ("d", 1));
        assert!(value.contains_outer() && below.plan.schema().has_column(value.column_refs().into_iter().next().unwrap()));
        let sorted = LogicalPlanBuilder::from(plan).sort([col("d").sort(true, true)]).and_then(LogicalPlanBuilder::build).unwrap();
        assert!(pulled(&sorted, &Cell::new(0)).unwrap().is_none());
    }
}
