//! `LATERAL` before a query of one row that reads no table, as `LATERAL (SELECT t.a + 1)` or `LATERAL (VALUES (t.a))`: its values are further columns of what stands before it.
//! DataFusion finds joins only for queries that name these columns in conditions.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{DFSchema, JoinType, ScalarValue};
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, Join, LogicalPlan, Projection};
use datafusion::optimizer::AnalyzerRule;

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

/// The columns of the left side of a join with those of its right side, if that is one row for each of the left.
fn beside(join: &Join) -> Result<Option<LogicalPlan>> {
    let right = match join.right.as_ref() {
        LogicalPlan::SubqueryAlias(alias) => alias.input.as_ref(),
        other => other,
    };
    let LogicalPlan::Subquery(subquery) = right else { return Ok(None) };
    let always = match &join.filter {
        None => true,
        Some(condition) => matches!(condition, Expr::Literal(ScalarValue::Boolean(Some(true)), _)),
    };
    if subquery.outer_ref_columns.is_empty() || !always || !join.on.is_empty() || !matches!(join.join_type, JoinType::Inner | JoinType::Left) {
        return Ok(None);
    }
    let Some(row) = row_of(&subquery.subquery)? else { return Ok(None) };
    let mut columns: Vec<Expr> = join.left.schema().columns().into_iter().map(Expr::Column).collect();
    for (value, (relation, field)) in row.into_iter().zip(join.right.schema().iter()) {
        let Some(value) = of_left(value, join.left.schema())? else { return Ok(None) };
        columns.push(value.alias_qualified(relation.cloned(), field.name()));
    }
    Ok(Some(LogicalPlan::Projection(Projection::try_new(columns, Arc::clone(&join.left))?)))
}

/// The values of a plan that gives one row and reads no table.
fn row_of(plan: &LogicalPlan) -> Result<Option<Vec<Expr>>> {
    Ok(match plan {
        LogicalPlan::EmptyRelation(nothing) if nothing.produce_one_row => Some(Vec::new()),
        LogicalPlan::SubqueryAlias(alias) => row_of(&alias.input)?,
        LogicalPlan::Values(values) => match values.values.as_slice() {
            [row] => Some(row.clone()),
            _ => None,
        },
        LogicalPlan::Projection(Projection { expr, input, .. }) => {
            let Some(row) = row_of(input)? else { return Ok(None) };
            let value = |expression: &Expr| {
                let replaced = expression.clone().unalias().transform(|part| match part {
                    Expr::Column(column) => {
                        let place = input.schema().index_of_column(&column)?;
                        Ok(Transformed::yes(row.get(place).cloned().unwrap_or(Expr::Column(column))))
                    }
                    other => Ok(Transformed::no(other)),
                });
                replaced.data()
            };
            Some(expr.iter().map(value).collect::<Result<_>>()?)
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
