//! How large numbers are, and of which sign.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array};
use arrow::compute::{CastOptions, cast, cast_with_options};
use arrow::datatypes::{DataType, Decimal128Type, Float32Type, Float64Type, Int64Type};
use datafusion::error::Result;

use crate::{Call, Scalar, out_of_range};

/// Every type of numbers, to the same.
pub(super) const NUMBERS: &[&str] = &[
    "(tinyint) -> tinyint",
    "(smallint) -> smallint",
    "(integer) -> integer",
    "(bigint) -> bigint",
    "(decimal) -> decimal",
    "(real) -> real",
    "(double) -> double",
];

pub(crate) const FUNCTIONS: &[Scalar] = &[
    Scalar::new("abs", NUMBERS, abs, "The number without its sign.").returning(|types| Ok(super::rounding::first(types))),
    Scalar::new("sign", NUMBERS, sign, "-1, 0 or 1 as a number is negative, zero or positive.").returning(|types| {
        Ok(match super::rounding::first(types) {
            DataType::Decimal128(..) => DataType::Decimal128(1, 0),
            other => other,
        })
    }),
];

fn abs(call: &Call<'_>) -> Result<ArrayRef> {
    Ok(match call.argument(0)?.data_type() {
        DataType::Float64 => Arc::new(call.double(0)?.unary::<_, Float64Type>(f64::abs)),
        DataType::Float32 => Arc::new(call.primitive::<Float32Type>(0)?.unary::<_, Float32Type>(f32::abs)),
        DataType::Decimal128(..) => {
            let absolute = call.primitive::<Decimal128Type>(0)?.unary::<_, Decimal128Type>(i128::wrapping_abs);
            Arc::new(absolute.with_data_type(call.returns().clone()))
        }
        _ => integers(call, |number| number.checked_abs().ok_or_else(|| out_of_range(format!("abs: {number} has no positive number in its type"))))?,
    })
}

fn sign(call: &Call<'_>) -> Result<ArrayRef> {
    Ok(match call.argument(0)?.data_type() {
        DataType::Float64 => Arc::new(call.double(0)?.unary::<_, Float64Type>(|number| if number == 0.0 { 0.0 } else { number.signum() })),
        DataType::Float32 => {
            let sign = |number: f32| if number == 0.0 { 0.0 } else { number.signum() };
            Arc::new(call.primitive::<Float32Type>(0)?.unary::<_, Float32Type>(sign))
        }
        DataType::Decimal128(..) => {
            let signs = call.primitive::<Decimal128Type>(0)?.unary::<_, Decimal128Type>(i128::signum);
            Arc::new(signs.with_data_type(call.returns().clone()))
        }
        _ => integers(call, |number| Ok(number.signum()))?,
    })
}

/// A function of whole numbers of any integer type. Errors: `NUMERIC_VALUE_OUT_OF_RANGE` for what is no number of that type.
pub(super) fn integers(call: &Call<'_>, value: impl Fn(i64) -> Result<i64>) -> Result<ArrayRef> {
    let numbers = cast(call.argument(0)?, &DataType::Int64)?;
    let values: Int64Array = numbers.as_primitive::<Int64Type>().try_unary(value)?;
    Ok(cast_with_options(&values, call.returns(), &CastOptions { safe: false, ..CastOptions::default() })?)
}
