//! `RANGE BETWEEN 1.5 PRECEDING ...`: what is sorted by and the offset get the type of their sum, as in Trino. DataFusion would give the offset the type of what is sorted by, and
//! take all rows where it does not fit.

use datafusion::arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType, IntervalUnit};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::logical_expr::expr::WindowFunctionParams;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, WindowFrameBound, WindowFrameUnits, cast};
use datafusion::optimizer::AnalyzerRule;
use nunatak_core::{Code, Error};

use super::map_expressions;
use crate::error::into_datafusion;
use crate::type_name::type_name;

const NANOS_OF_DAY: i64 = 24 * 60 * 60 * 1_000_000_000;

/// The rule. It comes before DataFusion looks at the types of frames.
#[derive(Debug)]
pub(super) struct WindowOffsets;

impl AnalyzerRule for WindowOffsets {
    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        map_expressions(plan, &|schema, expression| {
            expression.transform_up(|expression| match expression {
                Expr::WindowFunction(mut window) => {
                    let changed = with_common_type(&mut window.params, schema)?;
                    Ok(Transformed::new_transformed(Expr::WindowFunction(window), changed))
                }
                other => Ok(Transformed::no(other)),
            })
        })
    }

    fn name(&self) -> &str {
        "window_offsets"
    }
}

/// Gives a window's order and offsets one type; whether it has changed something.
///
/// Errors: `TYPE_MISMATCH` for offsets that cannot be added, `INVALID_FUNCTION_ARGUMENT` for hours that are added to dates, `NOT_SUPPORTED` for types that have no such frames here.
fn with_common_type(window: &mut WindowFunctionParams, schema: &DFSchema) -> Result<bool> {
    let frame = &mut window.window_frame;
    let offsets: Vec<String> = [&frame.start_bound, &frame.end_bound].into_iter().filter_map(written).collect();
    let [key] = window.order_by.as_mut_slice() else { return Ok(false) };
    if frame.units != WindowFrameUnits::Range || offsets.is_empty() {
        return Ok(false);
    }
    // What has no type is a parameter without a value.
    let Ok(key_type) = key.expr.get_type(schema) else { return Ok(false) };
    let mismatch = |offset: &str| {
        let message = format!("the offset '{offset}' of a window frame cannot be added to {}, which the window is sorted by", type_name(&key_type));
        into_datafusion(Error::new(Code::TypeMismatch, message))
    };
    match &key_type {
        DataType::Null => Ok(false),
        key_type if key_type.is_unsigned_integer() => Ok(false),
        DataType::Date32 | DataType::Timestamp(..) => {
            for offset in &offsets {
                if number_type(offset).is_some() {
                    return Err(mismatch(offset));
                }
                if key_type == DataType::Date32 && has_hours(offset)? {
                    let message = format!("the offset '{offset}' of a window frame has hours, minutes or seconds, which dates do not have");
                    return Err(into_datafusion(Error::new(Code::InvalidFunctionArgument, message)));
                }
            }
            Ok(false)
        }
        DataType::Time32(_) | DataType::Time64(_) | DataType::Interval(_) => {
            let message = format!("a window frame of RANGE with an offset is not supported over {}", type_name(&key_type));
            Err(into_datafusion(Error::not_supported(message).with_hint("use ROWS, or RANGE without an offset")))
        }
        key_type if key_type.is_numeric() => {
            let mut common = key_type.clone();
            for offset in &offsets {
                let offset_type = number_type(offset).ok_or_else(|| mismatch(offset))?;
                common = sum_type(&common, &offset_type).ok_or_else(|| mismatch(offset))?;
            }
            for bound in [&mut frame.start_bound, &mut frame.end_bound] {
                if let (Some(text), WindowFrameBound::Preceding(offset) | WindowFrameBound::Following(offset)) = (written(bound), &mut *bound) {
                    *offset = ScalarValue::try_from_string(text, &common)?;
                }
            }
            if common != *key_type {
                key.expr = cast(std::mem::take(&mut key.expr), common);
            }
            Ok(true)
        }
        _ => Err(mismatch(&offsets[0])),
    }
}

/// The offset of a bound as it was written.
fn written(bound: &WindowFrameBound) -> Option<String> {
    match bound {
        WindowFrameBound::Preceding(ScalarValue::Utf8(Some(text))) | WindowFrameBound::Following(ScalarValue::Utf8(Some(text))) => Some(text.clone()),
        _ => None,
    }
}

/// The type of a number; `None` for an interval.
fn number_type(text: &str) -> Option<DataType> {
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if !is_digits(whole) || !is_digits(fraction) || whole.len() + fraction.len() == 0 {
        return (text.contains(['e', 'E']) && text.parse::<f64>().is_ok()).then_some(DataType::Float64);
    }
    if !text.contains('.') && text.parse::<i64>().is_ok() {
        return Some(if text.parse::<i32>().is_ok() { DataType::Int32 } else { DataType::Int64 });
    }
    let digits = (whole.trim_start_matches('0').len() + fraction.len()).max(1);
    decimal(digits, fraction.len())
}

fn decimal(digits: usize, scale: usize) -> Option<DataType> {
    let digits = u8::try_from(digits).ok().filter(|digits| *digits <= DECIMAL128_MAX_PRECISION)?;
    Some(DataType::Decimal128(digits, i8::try_from(scale).ok()?))
}

/// The type in which numbers of both types are added; `None` for those of more digits than a decimal has, and for types that Trino does not have.
fn sum_type(left: &DataType, right: &DataType) -> Option<DataType> {
    use DataType::{Decimal128, Float32, Float64, Int8, Int16, Int32, Int64};
    match (left, right) {
        (left, right) if left == right => Some(left.clone()),
        (Float64, _) | (_, Float64) => Some(Float64),
        (Float32, _) | (_, Float32) => Some(Float32),
        (Decimal128(..), _) | (_, Decimal128(..)) => {
            let ((left, left_scale), (right, right_scale)) = (digits(left)?, digits(right)?);
            let scale = left_scale.max(right_scale);
            decimal((left - left_scale).max(right - right_scale) + scale, scale)
        }
        (left, right) => [Int64, Int32, Int16, Int8].into_iter().find(|wide| wide == left || wide == right),
    }
}

/// How many digits an exact number has, and how many of them behind the point.
fn digits(data_type: &DataType) -> Option<(usize, usize)> {
    match data_type {
        DataType::Int8 => Some((3, 0)),
        DataType::Int16 => Some((5, 0)),
        DataType::Int32 => Some((10, 0)),
        DataType::Int64 => Some((19, 0)),
        DataType::Decimal128(digits, scale) => Some((usize::from(*digits), usize::try_from(*scale).ok()?)),
        _ => None,
    }
}

/// Whether an interval has parts of days. `24` hours are a day, as in Trino.
fn has_hours(interval: &str) -> Result<bool> {
    let value = ScalarValue::try_from_string(interval.to_owned(), &DataType::Interval(IntervalUnit::MonthDayNano))?;
    Ok(matches!(value, ScalarValue::IntervalMonthDayNano(Some(value)) if value.nanoseconds % NANOS_OF_DAY != 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_have_types() {
        use DataType::{Decimal128, Float64, Int32, Int64};
        for (text, expected) in [
            ("40000", Some(Int32)),
            ("3000000000", Some(Int64)),
            ("9223372036854775808", Some(Decimal128(19, 0))),
            ("0.5", Some(Decimal128(1, 1))),
            (".25", Some(Decimal128(2, 2))),
            ("10.", Some(Decimal128(2, 0))),
            ("1.5e1", Some(Float64)),
            ("1 days", None),
            ("", None),
        ] {
            assert_eq!(number_type(text), expected, "{text}");
        }
    }

    #[test]
    fn days_may_be_written_as_hours() {
        assert_eq!(
            ["1 days", "24 hours", "-48 hours", "25 hours", "1 seconds"].map(|text| has_hours(text).unwrap()),
            [false, false, false, true, true]
        );
    }

    #[test]
    fn sums_have_types() {
        use DataType::{Decimal128, Float32, Float64, Int16, Int32, Int64};
        for (left, right, expected) in [
            (Int16, Int32, Some(Int32)),
            (Int64, Int32, Some(Int64)),
            (Int32, Decimal128(2, 1), Some(Decimal128(11, 1))),
            (Decimal128(3, 2), Decimal128(5, 1), Some(Decimal128(6, 2))),
            (Decimal128(3, 2), Int32, Some(Decimal128(12, 2))),
            (Decimal128(38, 0), Decimal128(1, 1), None),
            (Float32, Decimal128(1, 1), Some(Float32)),
            (Float32, Float64, Some(Float64)),
            (Int32, Float64, Some(Float64)),
        ] {
            assert_eq!(sum_type(&left, &right), expected, "{left} + {right}");
        }
    }
}
