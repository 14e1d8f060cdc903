//! `LIMIT` and `OFFSET` in subqueries that name columns of the query around them, and behind `LATERAL`: `(SELECT v FROM u WHERE u.k = t.k ORDER BY v LIMIT 1)`.
//!
//! DataFusion makes joins of conditions that stand above all else, and a limit above them is one of the rows for each row around. Where such conditions are `column = value of
//! the query around`, the rows of each value of the column are numbered, and those with the right numbers left: the conditions come above these. Any other condition may
//! leave another row for each row around, so that limits of it stay, and are refused.

use std::sync::Arc;

use datafusion::common::Column;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::functions_window::expr_fn::row_number;
use datafusion::logical_expr::expr::Exists;
use datafusion::logical_expr::{
    Expr, ExprFunctionExt, FetchType, Limit, LogicalPlan, LogicalPlanBuilder, Projection, SkipType, SortExpr, Subquery, lit,
};
use datafusion::optimizer::AnalyzerRule;

use super::correlated_subqueries::gives_one_row;
use super::lifted_conditions::{Ties, filtered, is_subquery, is_tied, names_around_within};
use super::map_node;
use super::subqueries_as_values::unlimited;

/// The column of numbers, which no statement can name.
const NUMBER: &str = "\u{1}number of the row";

/// The rule. It comes before those that look at what subqueries are made of.
#[derive(Debug)]
pub(super) struct CorrelatedLimits;

impl AnalyzerRule for CorrelatedLimits {
    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        let ties = Ties::of("limit ");
        let plan = plan.transform_down_with_subqueries(|node| match has_limited_exists(&node)? {
            true => map_node(node, &|_, expression| expression.transform_up(any_row)),
            false => Ok(Transformed::no(node)),
        });
        let plan = plan.data()?.transform_up_with_subqueries(|node| match node {
            LogicalPlan::Subquery(subquery) if !subquery.outer_ref_columns.is_empty() && has_limit(&subquery.subquery)? => {
                let changed = numbered_within(subquery.subquery.as_ref().clone(), &ties)?;
                let is_changed = changed.transformed;
                let subquery = Subquery { subquery: Arc::new(changed.data), ..subquery };
                Ok(Transformed::new_transformed(LogicalPlan::Subquery(subquery), is_changed))
            }
            other => Ok(Transformed::no(other)),
        });
        plan.data()
    }

    fn name(&self) -> &str {
        "correlated_limits"
    }
}

fn has_limit(plan: &LogicalPlan) -> Result<bool> {
    plan.exists(|node| Ok(matches!(node, LogicalPlan::Limit(_))))
}

fn is_limited_exists(part: &Expr) -> bool {
    matches!(part, Expr::Exists(Exists { subquery, .. })
        if !subquery.outer_ref_columns.is_empty() && matches!(subquery.subquery.as_ref(), LogicalPlan::Limit(_)))
}

fn has_limited_exists(node: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    node.apply_expressions(|expression| {
        found |= expression.exists(|part| Ok(is_limited_exists(part)))?;
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(found)
}

/// `EXISTS` without a limit that leaves some row where there are any.
pub(super) fn any_row(part: Expr) -> Result<Transformed<Expr>> {
    let is_limited = is_limited_exists(&part);
    match part {
        Expr::Exists(Exists { subquery, negated }) if is_limited => {
            let plan = unlimited(&subquery.subquery)?;
            Ok(Transformed::yes(Expr::Exists(Exists { subquery: Subquery { subquery: plan, ..subquery }, negated })))
        }
        other => Ok(Transformed::no(other)),
    }
}

/// The plan of a subquery with numbers for limits. What stands behind `LATERAL` in it is another one.
fn numbered_within(plan: LogicalPlan, ties: &Ties) -> Result<Transformed<LogicalPlan>> {
    if matches!(plan, LogicalPlan::Subquery(_)) {
        return Ok(Transformed::no(plan));
    }
    let Transformed { data, transformed, .. } = plan.map_children(|child| numbered_within(child, ties))?;
    let plan = if transformed { data.recompute_schema()? } else { data };
    match plan {
        LogicalPlan::Limit(limit) => Ok(match numbered(&limit, ties)? {
            Some(numbered) => Transformed::yes(numbered),
            None => Transformed::new_transformed(LogicalPlan::Limit(limit), transformed),
        }),
        other => Ok(Transformed::new_transformed(other, transformed)),
    }
}

/// The same rows without a limit; `None` if it is of other rows for each row of the query around, or of all of them.
fn numbered(limit: &Limit, ties: &Ties) -> Result<Option<LogicalPlan>> {
    let (SkipType::Literal(skip), FetchType::Literal(fetch)) = (limit.get_skip_type()?, limit.get_fetch_type()?) else { return Ok(None) };
    if !names_around_within(&limit.input) {
        return Ok(None);
    }
    if skip == 0 && (fetch.is_none() || fetch > Some(0) && gives_one_row(&limit.input)) {
        return Ok(Some(limit.input.as_ref().clone()));
    }
    let Ordered { selected, order, rows } = ordered(&limit.input);
    if order.iter().any(|by| by.expr.exists(|part| Ok(is_subquery(part) || matches!(part, Expr::OuterReferenceColumn(..)))).unwrap_or(true)) {
        return Ok(None);
    }
    let (rows, conditions) = ties.lift(ties.lifted(rows.as_ref().clone())?.data)?;
    if names_around_within(&rows) || !conditions.iter().all(|condition| divides(condition, &rows)) {
        return Ok(None);
    }
    let mut keys: Vec<Expr> = Vec::new();
    for column in conditions.iter().flat_map(Expr::column_refs) {
        let key = Expr::Column(column.clone());
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    let columns: Vec<Expr> = rows.schema().columns().into_iter().map(Expr::Column).collect();
    let number = row_number().partition_by(keys);
    // An empty order would still get the frame of a window that has one.
    let number = if order.is_empty() { number } else { number.order_by(order) };
    let rows = LogicalPlanBuilder::from(rows).window([number.build()?])?;
    let number = rows.schema().columns().pop().map(|column| Expr::Column(column).alias(NUMBER));
    let rows = rows.project(columns.into_iter().chain(number))?.build()?;
    let number = || Expr::Column(Column::new_unqualified(NUMBER));
    let skipped = (skip > 0).then(|| number().gt(lit(skip as u64)));
    let fetched = fetch.map(|fetch| number().lt_eq(lit(skip.saturating_add(fetch) as u64)));
    let rows = filtered(rows, skipped.into_iter().chain(fetched).collect())?;
    let rows = filtered(rows, conditions)?;
    Ok(Some(LogicalPlan::Projection(Projection::try_new(selected, Arc::new(rows))?)))
}

/// Whether the rows for which a condition holds are all those of one value of its column, or all or none.
fn divides(condition: &Expr, rows: &LogicalPlan) -> bool {
    condition.column_refs().is_empty() || is_tied(condition, rows.schema())
}

/// What is under a limit: the order of rows, and what is selected of these.
struct Ordered<'a> {
    selected: Vec<Expr>,
    order: Vec<SortExpr>,
    rows: &'a Arc<LogicalPlan>,
}

fn ordered(plan: &Arc<LogicalPlan>) -> Ordered<'_> {
    let columns = || plan.schema().columns().into_iter().map(Expr::Column).collect();
    match plan.as_ref() {
        LogicalPlan::Sort(sort) if sort.fetch.is_none() => Ordered { selected: columns(), order: sort.expr.clone(), rows: &sort.input },
        // Of rows that are ordered by what is not selected.
        LogicalPlan::Projection(Projection { expr, input, .. }) => match input.as_ref() {
            LogicalPlan::Sort(sort) if sort.fetch.is_none() && !expr.iter().any(Expr::contains_outer) => {
                Ordered { selected: expr.clone(), order: sort.expr.clone(), rows: &sort.input }
            }
            _ => Ordered { selected: columns(), order: Vec::new(), rows: plan },
        },
        _ => Ordered { selected: columns(), order: Vec::new(), rows: plan },
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::datatypes::DataType;
    use datafusion::logical_expr::{WindowFrame, col, out_ref_col};

    use super::*;

    /// `SELECT u.column2 FROM u WHERE <condition> ORDER BY u.column2 LIMIT 2`.
    fn limited(condition: Expr) -> LogicalPlan {
        let rows = LogicalPlanBuilder::values(vec![vec![lit(1_i64), lit(2_i64)]]).and_then(|rows| rows.alias("u")).unwrap();
        let rows = rows.filter(condition).and_then(|rows| rows.project([col("u.column2")])).unwrap();
        rows.sort([col("u.column2").sort(true, false)]).and_then(|rows| rows.limit(0, Some(2))).and_then(LogicalPlanBuilder::build).unwrap()
    }

    #[test]
    fn rows_of_each_value_are_numbered() {
        let plan = limited(col("u.column1").eq(out_ref_col(DataType::Int64, "t.k")));
        let columns = plan.schema().columns();
        let numbered = numbered_within(plan, &Ties::of("limit ")).unwrap();
        assert!(numbered.transformed && !has_limit(&numbered.data).unwrap());
        assert_eq!(numbered.data.schema().columns(), columns);
        let LogicalPlan::Projection(Projection { input, .. }) = numbered.data else { panic!("a projection is one") };
        let LogicalPlan::Filter(filter) = input.as_ref() else { panic!("{} is no filter", input.display()) };
        assert!(filter.predicate.contains_outer() && !names_around_within(&filter.input), "{}", filter.predicate);
    }

    #[test]
    fn rows_without_an_order_are_all_in_the_frame() {
        let sorted = limited(col("u.column1").eq(out_ref_col(DataType::Int64, "t.k")));
        let LogicalPlan::Limit(mut limit) = sorted else { panic!("a limit is one") };
        let LogicalPlan::Sort(sort) = limit.input.as_ref() else { panic!("{} is no order", limit.input.display()) };
        limit.input = Arc::clone(&sort.input);
        let numbered = numbered(&limit, &Ties::of("limit ")).unwrap().unwrap();
        let has_frame = |part: &Expr| match part {
            Expr::WindowFunction(window) => window.params.order_by.is_empty() && window.params.window_frame == WindowFrame::new(None),
            _ => false,
        };
        let has_window = |node: &LogicalPlan| matches!(node, LogicalPlan::Window(window) if window.window_expr.iter().all(has_frame));
        assert!(numbered.exists(|node| Ok(has_window(node))).unwrap(), "{}", numbered.display_indent());
    }

    #[test]
    fn limits_of_other_conditions_stay() {
        let ties = Ties::of("limit ");
        for condition in [
            col("u.column1").lt(out_ref_col(DataType::Int64, "t.k")),
            (col("u.column1") + lit(1_i64)).eq(out_ref_col(DataType::Int64, "t.k")),
            col("u.column1").eq(out_ref_col(DataType::Float64, "t.k")),
        ] {
            assert!(!numbered_within(limited(condition), &ties).unwrap().transformed);
        }
    }

    #[test]
    fn exists_needs_no_limit() {
        let plan = Arc::new(limited(col("u.column1").lt(out_ref_col(DataType::Int64, "t.k"))));
        let outer_ref_columns = plan.all_out_ref_exprs();
        let subquery = Subquery { subquery: plan, outer_ref_columns, spans: Default::default() };
        let exists = Expr::Exists(Exists::new(subquery, false));
        assert!(is_limited_exists(&exists));
        assert!(!is_limited_exists(&any_row(exists).unwrap().data));
    }
}
