//! `FETCH FIRST n ROWS WITH TIES`: also the rows behind the last one that are equal to it by `ORDER BY`. In the text of a query it is a limit with a mark; in its plan the
//! rows that are left by `OFFSET` get their ranks, and those up to `n` stay.

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TransformedResult};
use datafusion::common::{Column, internal_err};
use datafusion::error::Result;
use datafusion::functions_window::expr_fn::rank;
use datafusion::logical_expr::{Expr, ExprFunctionExt, Limit, LogicalPlan, LogicalPlanBuilder, Projection, Sort, SortExpr, cast};
use datafusion::sql::sqlparser::ast;

use super::special_forms::call;
use crate::functions::apart;

/// Tells a limit with ties from others.
const MARK: &str = "with ties";

/// How the names of the columns begin that rows are ordered by. No statement can name them.
const KEY: &str = "\u{1}key ";

/// A number of rows, and those that are equal to the last one.
pub(super) fn marked(count: ast::Expr) -> ast::Expr {
    call(apart::NAME, [count, ast::Expr::Value(ast::Value::SingleQuotedString(MARK.to_owned()).into())])
}

/// A plan without marks.
pub(super) fn written_out(plan: LogicalPlan) -> Result<LogicalPlan> {
    plan.transform_up_with_subqueries(|node| match node {
        LogicalPlan::Limit(limit) => match count(&limit).cloned() {
            Some(count) => ranked(limit, count).map(Transformed::yes),
            None => Ok(Transformed::no(LogicalPlan::Limit(limit))),
        },
        other => Ok(Transformed::no(other)),
    })
    .data()
}

/// The number of rows of a limit with ties.
fn count(limit: &Limit) -> Option<&Expr> {
    match limit.fetch.as_deref()? {
        Expr::ScalarFunction(call) if call.name() == apart::NAME => match call.args.as_slice() {
            [count, Expr::Literal(mark, _)] if mark.try_as_str() == Some(Some(MARK)) => Some(count),
            _ => None,
        },
        _ => None,
    }
}

fn ranked(limit: Limit, count: Expr) -> Result<LogicalPlan> {
    let Some((sort, outputs)) = sorted(&limit.input) else {
        return internal_err!("rows WITH TIES have no order");
    };
    let mut items: Vec<Expr> = sort.input.schema().columns().into_iter().map(Expr::Column).collect();
    let mut keys: Vec<SortExpr> = Vec::with_capacity(sort.expr.len());
    for (place, key) in sort.expr.iter().enumerate() {
        let name = format!("{KEY}{place}");
        items.push(key.expr.clone().alias(&name));
        keys.push(SortExpr { expr: Expr::Column(Column::new_unqualified(name)), asc: key.asc, nulls_first: key.nulls_first });
    }
    let mut rows = LogicalPlanBuilder::new_from_arc(Arc::clone(&sort.input)).project(items)?;
    if let Some(skip) = limit.skip {
        rows = rows.sort(keys.clone())?.limit_by_expr(Some(*skip), None)?;
    }
    let rows = rows.window([rank().order_by(keys.clone()).build()?])?;
    let Some(place) = rows.schema().columns().pop() else {
        return internal_err!("ranked rows have no rank");
    };
    let is_within = cast(Expr::Column(place), DataType::Int64).lt_eq(count);
    rows.filter(is_within)?.sort(keys)?.project(outputs)?.build()
}

/// What orders the rows of a plan, and what these are made of above it: columns that only the order needs are left out there.
fn sorted(plan: &LogicalPlan) -> Option<(&Sort, Vec<Expr>)> {
    match plan {
        LogicalPlan::Sort(sort) => Some((sort, sort.input.schema().columns().into_iter().map(Expr::Column).collect())),
        LogicalPlan::Projection(Projection { expr, input, .. }) => match input.as_ref() {
            LogicalPlan::Sort(sort) => Some((sort, expr.clone())),
            _ => None,
        },
        _ => None,
    }
}
