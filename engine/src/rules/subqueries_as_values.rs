//! `EXISTS`, `IN`, `ANY` and `ALL` with a subquery where their value is wanted and not only the rows for which they are true: in `SELECT`, in what is aggregated or ordered
//! by, in the conditions and values of `MERGE`. DataFusion makes joins of those in conditions only; the number of rows it also finds elsewhere, so that is asked for.
//!
//! The value of a subquery that names columns of the query around it DataFusion finds in `SELECT` and `WHERE` only, so it is selected for what else asks for it.

use std::sync::Arc;

use datafusion::common::Column;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::functions_aggregate::expr_fn::count;
use datafusion::logical_expr::expr::Exists;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{Aggregate, Expr, FetchType, LogicalPlan, LogicalPlanBuilder, Projection, SkipType, Sort, SortExpr, Subquery, lit};

use super::correlated_subqueries::{any_order, prepared};
use super::in_subqueries::anywhere;
use super::lifted_conditions::subquery_of;
use super::set_comparisons;

/// The column with the number of rows of a subquery, which no statement can name.
const ROWS: &str = "\u{1}rows";

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
        let value = prepared(expression).data().and_then(|value| set_comparisons::written_out(value, schema));
        let value = value.and_then(|value| anywhere(value, schema).data()).and_then(counted_within)?;
        Ok(name.restore(value))
    });
    let projection = Projection::try_new(values.collect::<Result<_>>()?, Arc::clone(&input))?;
    Ok(Transformed::yes(LogicalPlan::Projection(projection)))
}

/// An aggregation over a projection with their values.
pub(super) fn aggregated(node: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let names = NamePreserver::new(&node);
    let (input, group_expr, aggr_expr) = match node {
        LogicalPlan::Aggregate(Aggregate { input, group_expr, aggr_expr, .. }) if group_expr.iter().chain(&aggr_expr).any(has_value) => {
            (input, group_expr, aggr_expr)
        }
        other => return Ok(Transformed::no(other)),
    };
    let mut values = Values::default();
    let mut replaced = |expressions: Vec<Expr>| {
        let each = expressions.into_iter().map(|expression| {
            let name = names.save(&expression);
            Ok(name.restore(values.taken_from(expression)?))
        });
        each.collect::<Result<Vec<_>>>()
    };
    let (group_expr, aggr_expr) = (replaced(group_expr)?, replaced(aggr_expr)?);
    let input = values.beside(input)?;
    Ok(Transformed::yes(LogicalPlan::Aggregate(Aggregate::try_new(Arc::new(input), group_expr, aggr_expr)?)))
}

/// Rows that are ordered by their values, which are taken away again.
pub(super) fn sorted(node: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let (order, input, fetch) = match node {
        LogicalPlan::Sort(Sort { expr, input, fetch }) if expr.iter().any(|by| has_value(&by.expr)) => (expr, input, fetch),
        other => return Ok(Transformed::no(other)),
    };
    let columns: Vec<Expr> = input.schema().columns().into_iter().map(Expr::Column).collect();
    let mut values = Values::default();
    let order = order.into_iter().map(|by| Ok(SortExpr { expr: values.taken_from(by.expr)?, ..by })).collect::<Result<Vec<_>>>()?;
    let input = with_named(input, &values.0)?;
    let input = Arc::new(values.beside(input)?);
    let sorted = LogicalPlan::Sort(Sort { expr: order, input, fetch });
    Ok(Transformed::yes(LogicalPlan::Projection(Projection::try_new(columns, Arc::new(sorted))?)))
}

/// The same rows with those columns that subqueries of values name, where these are not selected.
fn with_named(input: Arc<LogicalPlan>, values: &[Expr]) -> Result<Arc<LogicalPlan>> {
    let LogicalPlan::Projection(Projection { expr, input: selected, schema, .. }) = input.as_ref() else { return Ok(input) };
    let mut missing: Vec<Expr> = Vec::new();
    for value in values {
        value.apply(|part| {
            let Some(subquery) = subquery_of(part) else { return Ok(TreeNodeRecursion::Continue) };
            for reference in &subquery.outer_ref_columns {
                if let Expr::OuterReferenceColumn(_, column) = reference
                    && !schema.has_column(column)
                    && selected.schema().has_column(column)
                    && !missing.contains(&Expr::Column(column.clone()))
                {
                    missing.push(Expr::Column(column.clone()));
                }
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
    }
    if missing.is_empty() {
        return Ok(input);
    }
    let expr = expr.iter().cloned().chain(missing).collect();
    Ok(Arc::new(LogicalPlan::Projection(Projection::try_new(expr, Arc::clone(selected))?)))
}

/// What is selected for an expression that DataFusion does not find it in.
#[derive(Default)]
struct Values(Vec<Expr>);

impl Values {
    /// The expression with columns in the places of these values.
    fn taken_from(&mut self, expression: Expr) -> Result<Expr> {
        let taken = expression.transform_down(|part| {
            if !is_value(&part) {
                return Ok(Transformed::no(part));
            }
            let place = self.0.iter().position(|other| *other == part).unwrap_or(self.0.len());
            if place == self.0.len() {
                self.0.push(part);
            }
            Ok(Transformed::new(Expr::Column(Column::new_unqualified(value_name(place))), true, TreeNodeRecursion::Jump))
        });
        taken.data()
    }

    /// A projection with them as further columns.
    fn beside(self, input: Arc<LogicalPlan>) -> Result<LogicalPlan> {
        let columns = input.schema().columns().into_iter().map(Expr::Column);
        let values = self.0.into_iter().enumerate().map(|(place, value)| value.alias(value_name(place)));
        let projection = Projection::try_new(columns.chain(values).collect(), input)?;
        projected(LogicalPlan::Projection(projection)).data()
    }
}

/// The column of a value, which no statement can name.
fn value_name(place: usize) -> String {
    format!("\u{1}exists {place}")
}

fn is_membership(part: &Expr) -> bool {
    matches!(part, Expr::Exists(_) | Expr::InSubquery(_) | Expr::SetComparison(_))
}

fn has_membership(expression: &Expr) -> bool {
    expression.exists(|part| Ok(is_membership(part))).unwrap_or(true)
}

/// Whether DataFusion finds it in projections only.
fn is_value(part: &Expr) -> bool {
    is_membership(part) || matches!(part, Expr::ScalarSubquery(subquery) if !subquery.outer_ref_columns.is_empty())
}

fn has_value(expression: &Expr) -> bool {
    expression.exists(|part| Ok(is_value(part))).unwrap_or(true)
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
    // By a name of its own: the query around may count, too.
    let number = count(lit(1_i64)).alias(ROWS);
    let plan = rows.aggregate(Vec::<Expr>::new(), vec![number])?.project([Expr::Column(Column::new_unqualified(ROWS))])?.build()?;
    let number = Expr::ScalarSubquery(Subquery { subquery: Arc::new(plan), ..subquery });
    Ok(if negated { number.eq(lit(0_i64)) } else { number.gt(lit(0_i64)) })
}

/// A plan that has rows if this one has: without its order, and without a limit that leaves some.
pub(super) fn unlimited(plan: &Arc<LogicalPlan>) -> Result<Arc<LogicalPlan>> {
    let plan = any_order(plan);
    if let LogicalPlan::Limit(limit) = plan.as_ref()
        && matches!(limit.get_skip_type()?, SkipType::Literal(0))
        && matches!(limit.get_fetch_type()?, FetchType::Literal(Some(1..) | None))
    {
        return unlimited(&limit.input);
    }
    Ok(plan)
}
