//! Numbers made whole, or made of fewer digits.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float32Array, Float64Array, Int64Array};
use arrow::compute::{CastOptions, cast, cast_with_options};
use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType, Decimal128Type, Float32Type, Float64Type, Int64Type};
use datafusion::error::Result;

use super::magnitudes::NUMBERS;
use super::powers_of_ten::{Rounding, digits_left_away, divided, power_of_ten};
use crate::{Call, Scalar, out_of_range};

const TO_DIGITS: &[&str] = &[
    "(tinyint) -> tinyint",
    "(smallint) -> smallint",
    "(integer) -> integer",
    "(bigint) -> bigint",
    "(decimal) -> decimal",
    "(real) -> real",
    "(double) -> double",
    "(tinyint, bigint) -> tinyint",
    "(smallint, bigint) -> smallint",
    "(integer, bigint) -> integer",
    "(bigint, bigint) -> bigint",
    "(decimal, bigint) -> decimal",
    "(real, bigint) -> real",
    "(double, bigint) -> double",
];

pub(crate) const FUNCTIONS: &[Scalar] = &[
    Scalar::new("ceil", NUMBERS, |call| whole(call, f64::ceil, Rounding::Up), "The least whole number that is not less.")
        .also(&["ceiling"])
        .returning(|types| Ok(whole_type(types))),
    Scalar::new("floor", NUMBERS, |call| whole(call, f64::floor, Rounding::Down), "The greatest whole number that is not greater.")
        .returning(|types| Ok(whole_type(types))),
    Scalar::new("round", TO_DIGITS, round, "The nearest number of so many digits after the point, halves away from zero.").returning(|types| {
        Ok(match types {
            [DataType::Decimal128(digits, scale), _] => DataType::Decimal128(digits.saturating_add(1).min(DECIMAL128_MAX_PRECISION), *scale),
            _ => whole_type(types),
        })
    }),
];

/// The type of the first argument.
pub(super) fn first(types: &[DataType]) -> DataType {
    types.first().cloned().unwrap_or(DataType::Null)
}

/// The type of a number that is made whole: of a decimal one with a digit more for what is carried.
fn whole_type(types: &[DataType]) -> DataType {
    match types.first() {
        Some(DataType::Decimal128(digits, scale @ 1..)) => DataType::Decimal128(digits.saturating_add(1).saturating_sub(scale.unsigned_abs()), 0),
        _ => first(types),
    }
}

fn whole(call: &Call<'_>, of_double: impl Fn(f64) -> f64, rounding: Rounding) -> Result<ArrayRef> {
    let argument = call.argument(0)?;
    Ok(match argument.data_type() {
        DataType::Float64 => Arc::new(call.double(0)?.unary::<_, Float64Type>(of_double)),
        DataType::Float32 => Arc::new(call.primitive::<Float32Type>(0)?.unary::<_, Float32Type>(|number| of_double(f64::from(number)) as f32)),
        DataType::Decimal128(_, scale) => whole_decimals(call, u32::from(scale.unsigned_abs()), rounding)?,
        _ => Arc::clone(argument),
    })
}

/// Decimals without the digits after the point, of the type that the call returns.
pub(super) fn whole_decimals(call: &Call<'_>, scale: u32, rounding: Rounding) -> Result<ArrayRef> {
    let whole = call.primitive::<Decimal128Type>(0)?.unary::<_, Decimal128Type>(|value| divided(value, scale, rounding));
    Ok(Arc::new(whole.with_data_type(call.returns().clone())))
}

fn round(call: &Call<'_>) -> Result<ArrayRef> {
    if call.len() < 2 {
        return whole(call, f64::round, Rounding::Nearest);
    }
    let digits = call.bigint(1)?;
    Ok(match call.argument(0)?.data_type() {
        DataType::Float64 => {
            let rounded: Float64Array = arrow::compute::binary(call.double(0)?, digits, rounded)?;
            Arc::new(rounded)
        }
        DataType::Float32 => {
            let numbers = call.primitive::<Float32Type>(0)?;
            let rounded: Float32Array = arrow::compute::binary(numbers, digits, |number, digits| rounded(f64::from(number), digits) as f32)?;
            Arc::new(rounded)
        }
        DataType::Decimal128(_, scale) => shortened(call, i64::from(*scale), Rounding::Nearest)?,
        _ => rounded_integers(call)?,
    })
}

/// Decimals of the call's type whose digits behind as many as the second argument says are zeros.
pub(super) fn shortened(call: &Call<'_>, scale: i64, rounding: Rounding) -> Result<ArrayRef> {
    let (numbers, digits) = (call.primitive::<Decimal128Type>(0)?, call.bigint(1)?);
    let limit = power_of_ten(u32::from(DECIMAL128_MAX_PRECISION)).unwrap_or(i128::MAX);
    call.primitives::<Decimal128Type>(|row| {
        let number = numbers.value(row);
        let exponent = digits_left_away(scale, digits.value(row));
        let count = divided(number, exponent, rounding);
        // Of nothing there is nothing left, however many digits are zeros.
        let value = if count == 0 { Some(0) } else { power_of_ten(exponent).and_then(|power| count.checked_mul(power)) };
        match value.filter(|value| value.unsigned_abs() < limit.unsigned_abs()) {
            Some(value) => Ok(Some(value)),
            None => Err(out_of_range("a rounded decimal has more than 38 digits")),
        }
    })
}

fn rounded_integers(call: &Call<'_>) -> Result<ArrayRef> {
    let (numbers, digits) = (cast(call.argument(0)?, &DataType::Int64)?, call.bigint(1)?);
    let numbers = numbers.as_primitive::<Int64Type>();
    let rounded = call.values(|row| rounded_integer(numbers.value(row), digits_left_away(0, digits.value(row))).map(Some));
    Ok(cast_with_options(&rounded.collect::<Result<Int64Array>>()?, call.returns(), &CastOptions { safe: false, ..CastOptions::default() })?)
}

fn rounded_integer(number: i64, exponent: u32) -> Result<i64> {
    let count = divided(i128::from(number), exponent, Rounding::Nearest);
    let value = if count == 0 { Some(0) } else { power_of_ten(exponent).and_then(|power| count.checked_mul(power)) };
    value.and_then(|value| i64::try_from(value).ok()).ok_or_else(|| out_of_range(format!("round: {number} becomes too large for its type")))
}

/// From here on doubles have nothing behind the point.
const WHOLE: f64 = 4_503_599_627_370_496.0;

/// A double of so many digits after the point, as Trino computes it: what is rounded is a product, with its error.
fn rounded(number: f64, digits: i64) -> f64 {
    if digits >= 0 && number.abs() >= WHOLE {
        return number;
    }
    // What is beyond has no effect, or leaves nothing.
    let factor = 10_f64.powi(digits.clamp(-400, 400) as i32);
    let scaled = number * factor;
    if !scaled.is_finite() {
        return number;
    }
    if factor == 0.0 { 0.0 } else { scaled.round() / factor }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_are_rounded() {
        for (number, digits, expected) in
            [(1.235, 2, 1.24), (2.675, 2, 2.68), (-1.255, 2, -1.25), (153.456, -2, 200.0), (1.5, 400, 1.5), (1e300, 5, 1e300), (5.0, -400, 0.0)]
        {
            assert_eq!(rounded(number, digits), expected, "{number} {digits}");
        }
    }

    #[test]
    fn integers_are_rounded() {
        assert_eq!(rounded_integer(-15, 1).unwrap(), -20);
        assert_eq!(rounded_integer(4_999_999_999_999_999_999, 19).unwrap(), 0);
        assert!(rounded_integer(5_000_000_000_000_000_000, 19).is_err());
        assert_eq!(rounded_integer(i64::MAX, u32::MAX).unwrap(), 0);
    }
}
