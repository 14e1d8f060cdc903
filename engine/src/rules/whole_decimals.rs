//! `ceil` and `floor` of decimals, which are whole decimals as in Trino. DataFusion has no place for the 1 of `ceil(0.5)`.

use datafusion::arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType};
use datafusion::common::DFSchema;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::logical_expr::expr::{Cast, ScalarFunction};
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan};
use datafusion::optimizer::AnalyzerRule;

use super::map_expressions;

/// Gives a decimal that is rounded to a whole one a digit more.
#[derive(Debug)]
pub(super) struct WholeDecimals;

impl AnalyzerRule for WholeDecimals {
    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        map_expressions(plan, &|schema, expression| expression.transform_up(|expression| whole(schema, expression)))
    }

    fn name(&self) -> &str {
        "whole_decimals"
    }
}

fn whole(schema: &DFSchema, mut expression: Expr) -> Result<Transformed<Expr>> {
    let Expr::ScalarFunction(ScalarFunction { func, args }) = &mut expression else { return Ok(Transformed::no(expression)) };
    if !matches!(func.name(), "ceil" | "floor") {
        return Ok(Transformed::no(expression));
    }
    match args.first_mut().map_or(Ok(None), |argument| widen(schema, argument))? {
        Some(whole) => expression.cast_to(&whole, schema).map(Transformed::yes),
        None => Ok(Transformed::no(expression)),
    }
}

/// The type of the result, if there was something to do.
fn widen(schema: &DFSchema, argument: &mut Expr) -> Result<Option<DataType>> {
    let Ok(DataType::Decimal128(digits, scale @ 1..)) = argument.get_type(schema) else { return Ok(None) };
    let is_wide = matches!(&*argument, Expr::Cast(Cast { expr, .. }) if expr.get_type(schema)? == DataType::Decimal128(digits - 1, scale));
    if is_wide || digits == DECIMAL128_MAX_PRECISION {
        return Ok(None);
    }
    *argument = std::mem::take(argument).cast_to(&DataType::Decimal128(digits + 1, scale), schema)?;
    Ok(Some(DataType::Decimal128(digits + 1 - scale.unsigned_abs(), 0)))
}
