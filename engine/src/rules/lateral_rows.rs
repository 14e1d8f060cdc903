//! `LATERAL` before a query that reads no table, as `LATERAL (SELECT t.a + 1)` or `LATERAL (VALUES (t.a), (t.b))`: the values of one row are further columns of what stands
//! before it; of several rows each is beside a number, by which it is taken. DataFusion finds joins only for queries that name these columns in conditions.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{Column, DFSchema, JoinType, ScalarValue};
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::logical_expr::{Case, Expr, Join, LogicalPlan, LogicalPlanBuilder, Projection, Subquery, col, lit};
use datafusion::optimizer::AnalyzerRule;

/// The column of the number of a row, which no statement can name.
const NUMBER: &str = "\u{1}lateral row";

/// The rule.
#[derive(Debug)]
pub(super) struct LateralRows;

impl AnalyzerRule for LateralRows {
    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        plan.transform_up_with_subqueries(|node| match node {
            LogicalPlan::Join(join) => match beside(&join)? {
                Some(projection) => Ok(Transformed::yes(projection)),
                None => Ok(Transformed::no(LogicalPlan::Join(join))),
            },
            other => Ok(Transformed::no(other)),
        })
        .data()
    }

    fn name(&self) -> &str {
        "lateral_rows"
    }
}

/// The columns of the left side of a join with those of its right side, if that is as many rows for each of the left, of its values.
fn beside(join: &Join) -> Result<Option<LogicalPlan>> {
    let right = match join.right.as_ref() {
        LogicalPlan::SubqueryAlias(alias) => alias.input.as_ref(),
        other => other,
    };
    let LogicalPlan::Subquery(subquery) = right else { return Ok(None) };
    if !is_lateral(join, subquery) {
        return Ok(None);
    }
    let Some(rows) = rows_of(&subquery.subquery)? else { return Ok(None) };
    let mut columns: Vec<Expr> = join.left.schema().columns().into_iter().map(Expr::Column).collect();
    for (place, (relation, field)) in join.right.schema().iter().enumerate() {
        let mut values = Vec::with_capacity(rows.len());
        for value in rows.iter().filter_map(|row| row.get(place)) {
            let Some(value) = of_left(value.clone(), join.left.schema())? else { return Ok(None) };
            values.push(value);
        }
        let Some(value) = of_its_row(values) else { return Ok(None) };
        columns.push(value.alias_qualified(relation.cloned(), field.name()));
    }
    let input = if rows.len() > 1 { numbered(&join.left, rows.len())? } else { Arc::clone(&join.left) };
    Ok(Some(LogicalPlan::Projection(Projection::try_new(columns, input)?)))
}

/// Whether a join is one of `LATERAL` with columns from before it, without a condition of its own.
pub(super) fn is_lateral(join: &Join, right: &Subquery) -> bool {
    let always = match &join.filter {
        None => true,
        Some(condition) => matches!(condition, Expr::Literal(ScalarValue::Boolean(Some(true)), _)),
    };
    let has_type = matches!(join.join_type, JoinType::Inner | JoinType::Left);
    !right.outer_ref_columns.is_empty() && always && join.on.is_empty() && has_type
}

/// Each row as many times, with a number from 0.
fn numbered(left: &Arc<LogicalPlan>, count: usize) -> Result<Arc<LogicalPlan>> {
    let numbers = LogicalPlanBuilder::values((0..count).map(|number| vec![lit(number as i64)]).collect())?;
    let numbers = numbers.project([col("column1").alias(NUMBER)])?.build()?;
    LogicalPlanBuilder::new_from_arc(Arc::clone(left)).cross_join(numbers)?.build().map(Arc::new)
}

/// The value of the row that the number says; `None` if there are none.
fn of_its_row(mut values: Vec<Expr>) -> Option<Expr> {
    let last = values.pop()?;
    if values.is_empty() {
        return Some(last);
    }
    let is_at = |place: usize| Expr::Column(Column::new_unqualified(NUMBER)).eq(lit(place as i64));
    // Their types are made alike later.
    let cases = values.into_iter().enumerate().map(|(place, value)| (Box::new(is_at(place)), Box::new(value)));
    Some(Expr::Case(Case { expr: None, when_then_expr: cases.collect(), else_expr: Some(Box::new(last)) }))
}

/// The rows of a plan that reads no table.
fn rows_of(plan: &LogicalPlan) -> Result<Option<Vec<Vec<Expr>>>> {
    Ok(match plan {
        LogicalPlan::EmptyRelation(nothing) if nothing.produce_one_row => Some(vec![Vec::new()]),
        LogicalPlan::SubqueryAlias(alias) => rows_of(&alias.input)?,
        LogicalPlan::Values(values) => Some(values.values.clone()),
        LogicalPlan::Union(union) => {
            let parts = union.inputs.iter().map(|input| rows_of(input)).collect::<Result<Option<Vec<_>>>>()?;
            parts.map(|parts| parts.into_iter().flatten().collect())
        }
        LogicalPlan::Projection(Projection { expr, input, .. }) => {
            let Some(rows) = rows_of(input)? else { return Ok(None) };
            let value = |expression: &Expr, row: &[Expr]| {
                let replaced = expression.clone().unalias().transform(|part| match part {
                    Expr::Column(column) => {
                        let place = input.schema().index_of_column(&column)?;
                        Ok(Transformed::yes(row.get(place).cloned().unwrap_or(Expr::Column(column))))
                    }
                    other => Ok(Transformed::no(other)),
                });
                replaced.data()
            };
            let values = |row: Vec<Expr>| expr.iter().map(|expression| value(expression, &row)).collect::<Result<Vec<Expr>>>();
            Some(rows.into_iter().map(values).collect::<Result<_>>()?)
        }
        _ => None,
    })
}

/// A value over the columns of the left side; `None` if it is made of others too.
fn of_left(value: Expr, left: &DFSchema) -> Result<Option<Expr>> {
    let is_other = |part: &Expr| match part {
        Expr::OuterReferenceColumn(_, column) => !left.has_column(column),
        part => matches!(part, Expr::Column(_) | Expr::Exists(_) | Expr::InSubquery(_) | Expr::ScalarSubquery(_) | Expr::SetComparison(_)),
    };
    if value.exists(|part| Ok(is_other(part)))? {
        return Ok(None);
    }
    let value = value.transform(|part| {
        Ok(match part {
            Expr::OuterReferenceColumn(_, column) => Transformed::yes(Expr::Column(column)),
            other => Transformed::no(other),
        })
    });
    value.data().map(Some)
}
