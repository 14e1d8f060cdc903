//! Casts of numbers that Arrow does otherwise than Trino: what becomes a whole number is rounded, halves away from zero, and what goes from a decimal to a floating-point
//! number or back keeps the digits that are written.

use std::str::FromStr;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::logical_expr::expr::{Cast, TryCast};
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan};
use datafusion::optimizer::AnalyzerRule;

use super::map_expressions;
use crate::functions::number_cast;

/// The rule. It comes after types are made alike, when all casts are there.
#[derive(Debug)]
pub(super) struct ExactCasts;

impl AnalyzerRule for ExactCasts {
    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        map_expressions(plan, &|schema, expression| expression.transform_up(|expression| exact_cast(schema, expression)))
    }

    fn name(&self) -> &str {
        "exact_casts"
    }
}

/// An expression with exact casts in it.
///
/// Errors: those of changing expressions.
pub(crate) fn with_exact_casts(expression: Expr, schema: &DFSchema) -> Result<Expr> {
    expression.transform_up(|expression| exact_cast(schema, expression)).map(|changed| changed.data)
}

fn exact_cast(schema: &DFSchema, expression: Expr) -> Result<Transformed<Expr>> {
    let (value, to, is_try) = match &expression {
        Expr::Cast(Cast { expr, field }) => (expr, field.data_type(), false),
        Expr::TryCast(TryCast { expr, field }) => (expr, field.data_type(), true),
        _ => return Ok(Transformed::no(expression)),
    };
    if let Expr::Literal(literal, metadata) = value.as_ref()
        && let Some(float) = exact_float(literal, to)
    {
        return Ok(Transformed::yes(Expr::Literal(float, metadata.clone())));
    }
    // What has no type is a parameter without a value.
    let Ok(from) = value.get_type(schema) else { return Ok(Transformed::no(expression)) };
    match number_cast::is_needed(&from, to) {
        true => Ok(Transformed::yes(number_cast::call(value.as_ref().clone(), to, is_try)?)),
        false => Ok(Transformed::no(expression)),
    }
}

/// The floating-point number that is written like a decimal; `None` for other values and types.
pub(crate) fn exact_float(value: &ScalarValue, data_type: &DataType) -> Option<ScalarValue> {
    let ScalarValue::Decimal128(Some(unscaled), _, scale) = value else { return None };
    let text = format!("{unscaled}e{}", -i16::from(*scale));
    match data_type {
        DataType::Float64 => f64::from_str(&text).ok().map(ScalarValue::from),
        DataType::Float32 => f32::from_str(&text).ok().map(ScalarValue::from),
        _ => None,
    }
}
