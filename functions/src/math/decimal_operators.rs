//! The operators of arithmetic, of decimals: Trino's types of their results, quotients that are rounded, and no number of more than 38 digits.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Decimal128Array};
use arrow::compute::kernels::numeric;
use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType, Decimal128Type, MAX_DECIMAL128_FOR_EACH_PRECISION, i256};
use arrow::error::ArrowError;
use datafusion::error::Result;

use crate::{Call, invalid};

const DIGITS_MAX: i32 = DECIMAL128_MAX_PRECISION as i32;

/// The digits of a decimal type and how many of them are behind the point.
#[derive(Clone, Copy)]
struct Digits {
    all: i32,
    scale: i32,
}

impl Digits {
    fn of(data_type: &DataType) -> Option<Self> {
        match data_type {
            DataType::Decimal128(all, scale) => Some(Self { all: i32::from(*all), scale: i32::from(*scale) }),
            _ => None,
        }
    }

    fn whole(self) -> i32 {
        self.all - self.scale
    }
}

/// The type of a result, by the digits of both sides; that of the left side where they are no decimals.
fn typed(types: &[DataType], digits: impl Fn(Digits, Digits) -> Digits) -> Result<DataType> {
    let (left, right) = match types {
        [left, right] => (Digits::of(left), Digits::of(right)),
        _ => (None, None),
    };
    let (Some(left), Some(right)) = (left, right) else { return Ok(types.first().cloned().unwrap_or(DataType::Null)) };
    let Digits { all, scale } = digits(left, right);
    let (Ok(all), Ok(scale)) = (u8::try_from(all.min(DIGITS_MAX)), i8::try_from(scale)) else {
        return Err(invalid("a decimal has too many digits"));
    };
    if i32::from(scale) > DIGITS_MAX {
        return Err(invalid(format!("the result has {scale} digits after the point: a decimal has at most {DIGITS_MAX} digits")));
    }
    Ok(DataType::Decimal128(all, scale))
}

/// The type of a sum of two or more, which are added from the left to the right.
pub(super) fn type_of_sum(types: &[DataType]) -> Result<DataType> {
    let (first, others) = types.split_first().ok_or_else(|| invalid("a sum has operands"))?;
    others.iter().try_fold(first.clone(), |sum, next| {
        typed(&[sum, next.clone()], |left, right| {
            let scale = left.scale.max(right.scale);
            Digits { all: left.whole().max(right.whole()) + scale + 1, scale }
        })
    })
}

pub(super) fn type_of_product(types: &[DataType]) -> Result<DataType> {
    typed(types, |left, right| Digits { all: left.all + right.all, scale: left.scale + right.scale })
}

pub(super) fn type_of_quotient(types: &[DataType]) -> Result<DataType> {
    typed(types, |left, right| Digits { all: left.all + right.scale + (right.scale - left.scale).max(0), scale: left.scale.max(right.scale) })
}

pub(super) fn type_of_remainder(types: &[DataType]) -> Result<DataType> {
    typed(types, |left, right| {
        let scale = left.scale.max(right.scale);
        Digits { all: left.whole().min(right.whole()) + scale, scale }
    })
}

fn overflow() -> ArrowError {
    ArrowError::ArithmeticOverflow("a decimal has more than 38 digits".to_owned())
}

/// The values as a result of the call, none of which has too many digits.
fn result(call: &Call<'_>, values: Decimal128Array) -> Result<ArrayRef> {
    Ok(Arc::new(values.with_data_type(call.returns().clone())))
}

/// The same for values that may have too many digits, if the type of the result is as large as can be.
fn checked(call: &Call<'_>, values: Decimal128Array) -> Result<ArrayRef> {
    if matches!(call.returns(), DataType::Decimal128(DECIMAL128_MAX_PRECISION, _)) {
        values.validate_decimal_precision(DECIMAL128_MAX_PRECISION).map_err(|_| overflow())?;
    }
    result(call, values)
}

pub(super) fn add(call: &Call<'_>) -> Result<ArrayRef> {
    match exact_factors(call)? {
        Some((1, 1)) => result(call, call.pairwise::<Decimal128Type>(i128::wrapping_add)?),
        Some((by, other)) => {
            result(call, call.pairwise::<Decimal128Type>(|left, right| left.wrapping_mul(by).wrapping_add(right.wrapping_mul(other)))?)
        }
        None => sum(call, numeric::add(&call.operand(0)?, &call.operand(1)?)?),
    }
}

pub(super) fn subtract(call: &Call<'_>) -> Result<ArrayRef> {
    match exact_factors(call)? {
        Some((1, 1)) => result(call, call.pairwise::<Decimal128Type>(i128::wrapping_sub)?),
        Some((by, other)) => {
            result(call, call.pairwise::<Decimal128Type>(|left, right| left.wrapping_mul(by).wrapping_sub(right.wrapping_mul(other)))?)
        }
        None => sum(call, numeric::sub(&call.operand(0)?, &call.operand(1)?)?),
    }
}

/// By what both sides are multiplied before they are added, if the type of the result has room for all sums: no step of them is to be checked then.
fn exact_factors(call: &Call<'_>) -> Result<Option<(i128, i128)>> {
    if matches!(call.returns(), DataType::Decimal128(DECIMAL128_MAX_PRECISION, _)) {
        return Ok(None);
    }
    let factor = |index| -> Result<Option<i128>> {
        let more = call_scale(call) - scale(call.primitive::<Decimal128Type>(index)?);
        Ok(u32::try_from(more).ok().and_then(|more| 10_i128.checked_pow(more)))
    };
    Ok(factor(0)?.zip(factor(1)?))
}

/// What Arrow has added: its types of sums are Trino's, but it takes any number of 128 bits for a decimal.
fn sum(call: &Call<'_>, sum: ArrayRef) -> Result<ArrayRef> {
    checked(call, sum.as_primitive::<Decimal128Type>().clone())
}

pub(super) fn multiply(call: &Call<'_>) -> Result<ArrayRef> {
    let (left, right) = (call.primitive::<Decimal128Type>(0)?, call.primitive::<Decimal128Type>(1)?);
    if i32::from(left.precision()) + i32::from(right.precision()) <= DIGITS_MAX {
        // None can have too many digits.
        return result(call, call.pairwise::<Decimal128Type>(i128::wrapping_mul)?);
    }
    result(call, call.try_pairwise::<Decimal128Type>(product)?)
}

pub(super) fn divide(call: &Call<'_>) -> Result<ArrayRef> {
    let (left, right) = (call.primitive::<Decimal128Type>(0)?, call.primitive::<Decimal128Type>(1)?);
    let exponent = call_scale(call) - scale(left) + scale(right);
    let factor = power(exponent)?;
    checked(call, call.try_pairwise::<Decimal128Type>(|left, right| quotient(left, factor, right))?)
}

pub(super) fn remainder(call: &Call<'_>) -> Result<ArrayRef> {
    let (left, right) = (call.primitive::<Decimal128Type>(0)?, call.primitive::<Decimal128Type>(1)?);
    let (left_factor, right_factor) = (power(call_scale(call) - scale(left))?, power(call_scale(call) - scale(right))?);
    let rest = |left: i128, right: i128| {
        if right == 0 {
            return Err(ArrowError::DivideByZero);
        }
        let scaled = (left_factor.to_i128(), right_factor.to_i128());
        if let (Some(left_factor), Some(right_factor)) = scaled
            && let (Some(left), Some(right)) = (left.checked_mul(left_factor), right.checked_mul(right_factor))
        {
            return left.checked_rem(right).ok_or_else(overflow);
        }
        let (left, right) = (i256::from_i128(left).checked_mul(left_factor), i256::from_i128(right).checked_mul(right_factor));
        left.zip(right).and_then(|(left, right)| left.checked_rem(right)).and_then(i256::to_i128).ok_or_else(overflow)
    };
    checked(call, call.try_pairwise::<Decimal128Type>(rest)?)
}

/// The product, of at most 38 digits. That of two numbers of 64 bits always is, and takes a fraction of the time.
fn product(left: i128, right: i128) -> std::result::Result<i128, ArrowError> {
    if let (Ok(left), Ok(right)) = (i64::try_from(left), i64::try_from(right)) {
        return Ok(i128::from(left) * i128::from(right));
    }
    let most = MAX_DECIMAL128_FOR_EACH_PRECISION[DECIMAL128_MAX_PRECISION as usize];
    left.checked_mul(right).filter(|product| (-most..=most).contains(product)).ok_or_else(overflow)
}

/// `left * factor / right`, halves away from zero.
fn quotient(left: i128, factor: i256, right: i128) -> std::result::Result<i128, ArrowError> {
    if right == 0 {
        return Err(ArrowError::DivideByZero);
    }
    if let Some(dividend) = factor.to_i128().and_then(|factor| left.checked_mul(factor)) {
        let quotient = dividend.checked_div(right).ok_or_else(overflow)?;
        // Twice the rest might be too large.
        let rest = (dividend % right).unsigned_abs();
        let away = rest >= right.unsigned_abs() - rest;
        return Ok(if away { quotient + dividend.signum() * right.signum() } else { quotient });
    }
    let (wide, divisor) = (i256::from_i128(left).checked_mul(factor).ok_or_else(overflow)?, i256::from_i128(right));
    let (quotient, rest) = (wide.checked_div(divisor).ok_or_else(overflow)?, wide.checked_rem(divisor).ok_or_else(overflow)?);
    let quotient = quotient.to_i128().ok_or_else(overflow)?;
    let rest = rest.to_i128().ok_or_else(overflow)?.unsigned_abs();
    let away = rest >= right.unsigned_abs() - rest;
    if away { quotient.checked_add(left.signum() * right.signum()).ok_or_else(overflow) } else { Ok(quotient) }
}

/// 10 to a power; it is at most 76.
fn power(exponent: i32) -> Result<i256> {
    let power = u32::try_from(exponent).ok().and_then(|exponent| i256::from_i128(10).checked_pow(exponent));
    Ok(power.ok_or_else(overflow)?)
}

fn scale(values: &Decimal128Array) -> i32 {
    i32::from(values.scale())
}

fn call_scale(call: &Call<'_>) -> i32 {
    Digits::of(call.returns()).map_or(0, |digits| digits.scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decimal(digits: u8, scale: i8) -> DataType {
        DataType::Decimal128(digits, scale)
    }

    #[test]
    fn types_are_trinos() {
        let both = [decimal(3, 2), decimal(2, 1)];
        assert_eq!(type_of_sum(&both).unwrap(), decimal(4, 2));
        assert_eq!(type_of_product(&both).unwrap(), decimal(5, 3));
        assert_eq!(type_of_quotient(&both).unwrap(), decimal(4, 2));
        assert_eq!(type_of_quotient(&[decimal(2, 1), decimal(4, 3)]).unwrap(), decimal(7, 3));
        assert_eq!(type_of_remainder(&both).unwrap(), decimal(3, 2));
        assert_eq!(type_of_product(&[decimal(38, 10), decimal(38, 10)]).unwrap(), decimal(38, 20));
        assert!(type_of_product(&[decimal(38, 20), decimal(38, 20)]).is_err());
        assert_eq!(type_of_sum(&[DataType::Int64, DataType::Int64]).unwrap(), DataType::Int64);
    }

    #[test]
    fn products_have_38_digits() {
        let smallest = i128::from(i64::MIN);
        assert_eq!(product(smallest, smallest).unwrap(), smallest * smallest);
        let most = 10_i128.pow(38) - 1;
        assert_eq!((product(most, -1).unwrap(), product(10_i128.pow(20), -3).unwrap()), (-most, -3 * 10_i128.pow(20)));
        assert!(product(10_i128.pow(19), 10_i128.pow(19)).is_err() && product(most, most).is_err());
    }

    #[test]
    fn quotients_are_rounded() {
        let one = i256::from_i128(1);
        assert_eq!(
            [(5, 2), (-5, 2), (5, -2), (-5, -2), (4, 3), (5, 3), (1, 3)].map(|(left, right)| quotient(left, one, right).unwrap()),
            [3, -3, -3, 3, 1, 2, 0]
        );
        let most = 10_i128.pow(38) - 1;
        let factor = power(38).unwrap();
        assert_eq!(quotient(most, factor, most).unwrap(), 10_i128.pow(38));
        assert_eq!(quotient(2, factor, 3 * 10_i128.pow(37)).unwrap(), 7);
        assert_eq!(quotient(most, factor, -most).unwrap(), -(10_i128.pow(38)));
        assert!(quotient(most, factor, 1).is_err() && matches!(quotient(1, one, 0), Err(ArrowError::DivideByZero)));
    }
}
