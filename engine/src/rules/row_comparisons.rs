//! Comparisons with subqueries of several columns, as in `(a, b) = (SELECT x, y FROM t)`, field by field: DataFusion takes a NULL within a row for a value that is equal to another
//! one, and a subquery that has no row is a row of NULLs.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, internal_err};
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, LogicalPlan, Operator, not};
use datafusion::optimizer::AnalyzerRule;

use super::map_expressions;
use crate::functions::row_of_nulls;

const EQUAL: &str = "$rows_equal";
const LESS: &str = "$rows_less";

/// The rule. It comes when types have been made alike.
#[derive(Debug)]
pub(super) struct RowComparisons;

impl AnalyzerRule for RowComparisons {
    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        map_expressions(plan, &|schema, expression| expression.transform_up(|part| by_fields(part, schema)))
    }

    fn name(&self) -> &str {
        "row_comparisons"
    }
}

fn by_fields(expression: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let (left, op, right) = match expression {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if is_of_row(&left, schema)? || is_of_row(&right, schema)? => (*left, op, *right),
        other => return Ok(Transformed::no(other)),
    };
    let compared = match op {
        Operator::Eq => call(EQUAL, left, right)?,
        Operator::NotEq => not(call(EQUAL, left, right)?),
        Operator::Lt => call(LESS, left, right)?,
        Operator::Gt => call(LESS, right, left)?,
        Operator::LtEq => not(call(LESS, right, left)?),
        Operator::GtEq => not(call(LESS, left, right)?),
        op => return Ok(Transformed::no(Expr::BinaryExpr(BinaryExpr::new(Box::new(left), op, Box::new(right))))),
    };
    Ok(Transformed::yes(compared))
}

/// Whether an operand is the row of such a subquery.
fn is_of_row(operand: &Expr, schema: &DFSchema) -> Result<bool> {
    let is_call = |part: &Expr| matches!(part, Expr::ScalarFunction(ScalarFunction { func, .. }) if func.name() == row_of_nulls::NAME);
    Ok(operand.exists(|part| Ok(is_call(part)))? && matches!(operand.get_type(schema)?, DataType::Struct(_)))
}

fn call(name: &str, left: Expr, right: Expr) -> Result<Expr> {
    match nunatak_functions::scalar(name) {
        Some(function) => Ok(function.call(vec![left, right])),
        None => internal_err!("function {name} is missing"),
    }
}
