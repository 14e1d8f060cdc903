//! Compares decimals with numbers as they are written. DataFusion reads `1234567.89` as a double, and makes of it a decimal of fifteen digits after the point, which is
//! another number.

use datafusion::arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::{Between, BinaryExpr, Expr, ExprSchemable, LogicalPlan, Operator};
use datafusion::optimizer::AnalyzerRule;

use super::map_expressions;

/// Where a decimal is compared with a number that is written out, `0.06 + 0.01` included, that number becomes a decimal.
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

/// Makes decimals of all doubles among what is compared, if there are decimals and all of the doubles are written out. Other doubles are left as they are.
fn adapt(schema: &DFSchema, compared: &mut [&mut Expr]) -> Result<bool> {
    // What has no type yet has no decimals in it either.
    let types: Vec<Option<DataType>> = compared.iter().map(|expression| expression.get_type(schema).ok()).collect();
    let is_decimal = |data_type: &Option<DataType>| matches!(data_type, Some(DataType::Decimal128(..) | DataType::Decimal256(..)));
    if !types.iter().any(is_decimal) {
        return Ok(false);
    }
    let doubles = compared.iter_mut().zip(&types).filter(|(_, data_type)| **data_type == Some(DataType::Float64));
    let written: Option<Vec<(&mut &mut Expr, ScalarValue)>> =
        doubles.map(|(expression, _)| written(expression).and_then(Written::scalar).map(|value| (expression, value))).collect();
    let Some(written) = written.filter(|written| !written.is_empty()) else { return Ok(false) };
    for (expression, value) in written {
        **expression = Expr::Literal(value, None);
    }
    Ok(true)
}

/// A number as it is written: `0.06` is 6 with a scale of 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Written {
    unscaled: i128,
    scale: u32,
}

impl Written {
    fn with_scale(self, scale: u32) -> Option<i128> {
        10_i128.checked_pow(scale.checked_sub(self.scale)?)?.checked_mul(self.unscaled)
    }

    fn scalar(self) -> Option<ScalarValue> {
        let digits = self.unscaled.unsigned_abs().checked_ilog10().map_or(1, |log| log + 1).max(self.scale).max(1);
        let (precision, scale) = (u8::try_from(digits).ok().filter(|digits| *digits <= DECIMAL128_MAX_PRECISION)?, i8::try_from(self.scale).ok()?);
        Some(ScalarValue::Decimal128(Some(self.unscaled), precision, scale))
    }
}

/// The number that an expression of literals means, exactly. A double was written as the shortest text that means it.
fn written(expression: &Expr) -> Option<Written> {
    match expression {
        Expr::Literal(ScalarValue::Int64(Some(value)), _) => Some(Written { unscaled: i128::from(*value), scale: 0 }),
        Expr::Literal(ScalarValue::Float64(Some(value)), _) => {
            let text = format!("{value}");
            let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
            Some(Written { unscaled: format!("{whole}{fraction}").parse().ok()?, scale: u32::try_from(fraction.len()).ok()? })
        }
        Expr::Negative(inner) => written(inner).map(|value| Written { unscaled: -value.unscaled, ..value }),
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            let (left, right) = (written(left)?, written(right)?);
            let scale = left.scale.max(right.scale);
            match op {
                Operator::Plus => Some(Written { unscaled: left.with_scale(scale)?.checked_add(right.with_scale(scale)?)?, scale }),
                Operator::Minus => Some(Written { unscaled: left.with_scale(scale)?.checked_sub(right.with_scale(scale)?)?, scale }),
                Operator::Multiply => Some(Written { unscaled: left.unscaled.checked_mul(right.unscaled)?, scale: left.scale + right.scale }),
                _ => None,
            }
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use datafusion::logical_expr::lit;

    use super::*;

    #[test]
    fn numbers_are_what_they_were_written_as() {
        let of = |expression: Expr| written(&expression).and_then(Written::scalar);
        let decimal = |unscaled, precision, scale| Some(ScalarValue::Decimal128(Some(unscaled), precision, scale));
        assert_eq!(of(lit(1_234_567.89)), decimal(123_456_789, 9, 2));
        assert_eq!(of(lit(-0.5)), decimal(-5, 1, 1));
        assert_eq!(of(lit(100.0)), decimal(100, 3, 0));
        assert_eq!(of(lit(0.0)), decimal(0, 1, 0));
        assert_eq!((of(lit(1e300)), of(lit(f64::NAN)), of(lit(1e-40))), (None, None, None));
        // Doubles would give 0.049999999999999996.
        assert_eq!(of(lit(0.06) - lit(0.01)), decimal(5, 2, 2));
        assert_eq!(of(lit(0.06) + lit(2_i64)), decimal(206, 3, 2));
        assert_eq!(of(lit(1.5) * lit(0.5)), decimal(75, 2, 2));
        assert_eq!(of(lit(1.0) / lit(3.0)), None);
    }
}
