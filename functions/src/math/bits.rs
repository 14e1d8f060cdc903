//! Functions of the bits of integers.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use datafusion::error::Result;

use crate::{Call, Scalar, invalid};

const BOTH: &[&str] = &["(bigint, bigint) -> bigint"];
const SHIFT: &[&str] =
    &["(tinyint, bigint) -> tinyint", "(smallint, bigint) -> smallint", "(integer, bigint) -> integer", "(bigint, bigint) -> bigint"];

pub(crate) const FUNCTIONS: &[Scalar] = &[
    Scalar::new("bit_count", BOTH, bit_count, "The number of bits that are set in a number of so many bits."),
    Scalar::new("bitwise_and", BOTH, |call| both(call, |left, right| left & right), "The bits that are set in both numbers."),
    Scalar::new("bitwise_or", BOTH, |call| both(call, |left, right| left | right), "The bits that are set in one of the numbers."),
    Scalar::new("bitwise_xor", BOTH, |call| both(call, |left, right| left ^ right), "The bits that differ between the numbers."),
    Scalar::new("bitwise_not", &["(bigint) -> bigint"], bitwise_not, "The bits that are not set."),
    Scalar::new("bitwise_left_shift", SHIFT, |call| shifted(call, left_shift), "The bits, so many places to the left."),
    Scalar::new("bitwise_right_shift", SHIFT, |call| shifted(call, right_shift), "The bits, so many places to the right, with zeros before them."),
    Scalar::new(
        "bitwise_right_shift_arithmetic",
        SHIFT,
        |call| shifted(call, arithmetic_right_shift),
        "The bits, so many places to the right, with copies of the sign before them.",
    ),
];

fn bit_count(call: &Call<'_>) -> Result<ArrayRef> {
    let (numbers, bits) = (call.bigint(0)?, call.bigint(1)?);
    call.bigints(|row| {
        let (number, bits) = (numbers.value(row), bits.value(row));
        let unused = match bits {
            2..=64 => 64 - bits,
            _ => return Err(invalid(format!("bit_count takes numbers of 2 to 64 bits, not of {bits}"))),
        };
        if (number << unused) >> unused != number {
            return Err(invalid(format!("bit_count: {number} has more than {bits} bits")));
        }
        Ok(Some(i64::from((number << unused).count_ones())))
    })
}

fn bitwise_not(call: &Call<'_>) -> Result<ArrayRef> {
    Ok(Arc::new(call.bigint(0)?.unary::<_, Int64Type>(|number| !number)))
}

fn both(call: &Call<'_>, combined: impl Fn(i64, i64) -> i64) -> Result<ArrayRef> {
    let combined: Int64Array = arrow::compute::binary(call.bigint(0)?, call.bigint(1)?, combined)?;
    Ok(Arc::new(combined))
}

/// Shifts numbers of any integer type: `shift` is given a number, how far, and how many bits the type has.
fn shifted(call: &Call<'_>, shift: impl Fn(i64, i64, u32) -> i64) -> Result<ArrayRef> {
    let bits = match call.returns() {
        DataType::Int8 => 8,
        DataType::Int16 => 16,
        DataType::Int32 => 32,
        _ => 64,
    };
    let numbers = cast(call.argument(0)?, &DataType::Int64)?;
    let shift = |number, places| signed(shift(number, places, bits), bits);
    let shifted: Int64Array = arrow::compute::binary(numbers.as_primitive::<Int64Type>(), call.bigint(1)?, shift)?;
    Ok(cast(&shifted, call.returns())?)
}

/// The number that the lowest bits are.
fn signed(number: i64, bits: u32) -> i64 {
    let unused = 64 - bits;
    (number << unused) >> unused
}

/// As many places as a processor shifts 64 bits by: the six lowest bits of the number of places, also of a negative one.
fn places_of(places: i64) -> u32 {
    (places & 63) as u32
}

fn left_shift(number: i64, places: i64, bits: u32) -> i64 {
    if places >= i64::from(bits) { 0 } else { number << places_of(places) }
}

fn right_shift(number: i64, places: i64, bits: u32) -> i64 {
    if places >= i64::from(bits) {
        return 0;
    }
    let mask = u64::MAX >> (64 - bits);
    ((number as u64 & mask) >> places_of(places)) as i64
}

fn arithmetic_right_shift(number: i64, places: i64, bits: u32) -> i64 {
    if places >= i64::from(bits) { number >> 63 } else { number >> places_of(places) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_stay_within_their_type() {
        assert_eq!(signed(left_shift(127, 1, 8), 8), -2);
        assert_eq!(signed(right_shift(-8, 1, 8), 8), 124);
        assert_eq!(signed(right_shift(-8, 0, 8), 8), -8);
        assert_eq!(arithmetic_right_shift(-256, 300, 32), -1);
        assert_eq!((left_shift(1, 64, 64), left_shift(1, i64::MIN, 64), right_shift(8, -1, 64)), (0, 1, 0));
    }
}
