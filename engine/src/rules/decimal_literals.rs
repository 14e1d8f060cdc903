//! Compares decimals with numbers as they are written. DataFusion reads `1234567.89` as a double, and makes of it a decimal of fifteen digits after the point, which is
//! another number.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::{Between, BinaryExpr, Expr, ExprSchemable, LogicalPlan, cast};
use datafusion::optimizer::AnalyzerRule;

use super::map_expressions;

/// Digits of the widest decimal.
const DIGITS_MAX: usize = 38;

/// Where a decimal is compared with a number that is written out, that number becomes the same decimal; other doubles are compared as doubles.
#[derive(Debug, Default)]
pub(super) struct DecimalLiterals;

impl AnalyzerRule for DecimalLiterals {
    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        map_expressions(plan, &|schema, expression| expression.transform_up(|expression| compared(schema, expression)))
    }

    fn name(&self) -> &str {
        "decimal_literals"
    }
}

fn compared(schema: &DFSchema, expression: Expr) -> Result<Transformed<Expr>> {
    match expression {
        Expr::BinaryExpr(BinaryExpr { mut left, op, mut right }) if op.supports_propagation() => {
            let changed = adapt(schema, &mut [&mut left, &mut right])?;
            Ok(Transformed::new_transformed(Expr::BinaryExpr(BinaryExpr { left, op, right }), changed))
        }
        Expr::Between(Between { mut expr, negated, mut low, mut high }) => {
            let changed = adapt(schema, &mut [&mut expr, &mut low, &mut high])?;
            Ok(Transformed::new_transformed(Expr::Between(Between { expr, negated, low, high }), changed))
        }
        Expr::InList(InList { mut expr, mut list, negated }) => {
            let mut compared: Vec<&mut Expr> = std::iter::once(expr.as_mut()).chain(&mut list).collect();
            let changed = adapt(schema, &mut compared)?;
            Ok(Transformed::new_transformed(Expr::InList(InList { expr, list, negated }), changed))
        }
        other => Ok(Transformed::no(other)),
    }
}

/// Makes what is compared alike, if it is decimals and doubles.
fn adapt(schema: &DFSchema, compared: &mut [&mut Expr]) -> Result<bool> {
    // What has no type yet has no decimals in it either.
    let types: Vec<Option<DataType>> = compared.iter().map(|expression| expression.get_type(schema).ok()).collect();
    let is_decimal = |data_type: &Option<DataType>| matches!(data_type, Some(DataType::Decimal128(..) | DataType::Decimal256(..)));
    let is_double = |data_type: &Option<DataType>| matches!(data_type, Some(DataType::Float64));
    if !types.iter().any(is_decimal) || !types.iter().any(is_double) {
        return Ok(false);
    }
    let written: Vec<Option<ScalarValue>> = compared.iter().map(|expression| decimal(expression)).collect();
    let all_written = types.iter().zip(&written).all(|(data_type, written)| !is_double(data_type) || written.is_some());
    for ((expression, data_type), written) in compared.iter_mut().zip(&types).zip(written) {
        match written {
            Some(value) if all_written => **expression = Expr::Literal(value, None),
            None if !all_written && is_decimal(data_type) => **expression = cast(std::mem::take(*expression), DataType::Float64),
            _ => {}
        }
    }
    Ok(true)
}

/// The decimal that a double was written as: the shortest text that means the double.
fn decimal(expression: &Expr) -> Option<ScalarValue> {
    let Expr::Literal(ScalarValue::Float64(Some(value)), _) = expression else { return None };
    let text = format!("{value}");
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let digits = whole.trim_start_matches(['-', '0']).len() + fraction.len();
    let unscaled: i128 = format!("{whole}{fraction}").parse().ok().filter(|_| digits <= DIGITS_MAX)?;
    let (precision, scale) = (u8::try_from(digits.max(1)).ok()?, i8::try_from(fraction.len()).ok()?);
    Some(ScalarValue::Decimal128(Some(unscaled), precision, scale))
}

#[cfg(test)]
mod tests {
    use datafusion::logical_expr::lit;

    use super::*;

    #[test]
    fn doubles_are_what_they_were_written_as() {
        let of = |value: f64| decimal(&lit(value));
        assert_eq!(of(1_234_567.89), Some(ScalarValue::Decimal128(Some(123_456_789), 9, 2)));
        assert_eq!(of(-0.5), Some(ScalarValue::Decimal128(Some(-5), 1, 1)));
        assert_eq!(of(100.0), Some(ScalarValue::Decimal128(Some(100), 3, 0)));
        assert_eq!(of(0.0), Some(ScalarValue::Decimal128(Some(0), 1, 0)));
        assert_eq!((of(1e300), of(f64::NAN), of(1e-40)), (None, None, None));
    }
}
