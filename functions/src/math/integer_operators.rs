//! The operators of arithmetic, of whole numbers: what is out of range is refused. DataFusion lets it wrap.
//!
//! No statement can call these by name: a rule of the engine puts them in place of the operators. Decimals are in [`super::decimal_operators`].

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Datum};
use arrow::compute::kernels::numeric;
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use datafusion::common::ScalarValue;
use datafusion::error::Result;

use super::decimal_operators as decimals;
use super::magnitudes::integers;
use crate::{Call, Scalar, out_of_range};

/// Every type of numbers, twice. Floating-point numbers are left to the operators, but for parameters of functions within statements: what is a decimal there when the
/// operator is replaced may become a double with the array that it is of.
const ALL: &[&str] = &[
    "(tinyint, tinyint) -> tinyint",
    "(smallint, smallint) -> smallint",
    "(integer, integer) -> integer",
    "(bigint, bigint) -> bigint",
    "(decimal, decimal) -> decimal",
    "(real, real) -> real",
    "(double, double) -> double",
];
/// The same, and more of them: sums of sums are one call.
const SUMS: &[&str] = &[
    "(tinyint, tinyint, tinyint...) -> tinyint",
    "(smallint, smallint, smallint...) -> smallint",
    "(integer, integer, integer...) -> integer",
    "(bigint, bigint, bigint...) -> bigint",
    "(decimal, decimal, decimal...) -> decimal",
    "(real, real, real...) -> real",
    "(double, double, double...) -> double",
];
const NEGATE: &[&str] = &["(tinyint) -> tinyint", "(smallint) -> smallint", "(integer) -> integer", "(bigint) -> bigint"];

type Kernel = fn(&dyn Datum, &dyn Datum) -> std::result::Result<ArrayRef, ArrowError>;

pub(crate) const FUNCTIONS: &[Scalar] = &[
    Scalar::new("$add", SUMS, sum, "The sum.").returning(decimals::type_of_sum).taking_constants().with_preimage_beside(
        |data_type, constant, result| range(data_type, constant, result, |constant, result| Some((result - constant, result - constant + 1))),
    ),
    Scalar::new("$subtract", ALL, |call| either(call, numeric::sub, decimals::subtract), "The difference.")
        .returning(decimals::type_of_sum)
        .taking_constants()
        .with_preimage_beside(|data_type, constant, result| {
            range(data_type, constant, result, |constant, result| Some((result + constant, result + constant + 1)))
        }),
    Scalar::new("$multiply", ALL, |call| either(call, numeric::mul, decimals::multiply), "The product.")
        .returning(decimals::type_of_product)
        .taking_constants()
        .with_preimage_beside(|data_type, constant, result| range(data_type, constant, result, quotients)),
    Scalar::new("$divide", ALL, |call| either(call, numeric::div, decimals::divide), "The quotient.")
        .returning(decimals::type_of_quotient)
        .taking_constants(),
    Scalar::new("$remainder", ALL, |call| either(call, numeric::rem, decimals::remainder), "The remainder.")
        .returning(decimals::type_of_remainder)
        .taking_constants(),
    Scalar::new("$negate", NEGATE, negate, "The number with the other sign."),
    Scalar::new("mod", ALL, |call| either(call, numeric::rem, decimals::remainder), "The remainder of a division.")
        .returning(decimals::type_of_remainder)
        .taking_constants(),
];

/// For which whole numbers a result comes out beside a constant, as [`crate::scalar::Preimage`] says it: comparisons with results become such with a column, of which there
/// are statistics. A row for which the result would be out of range is then compared as if it were not, and fails no more.
fn range(
    data_type: &DataType,
    constant: &ScalarValue,
    result: &ScalarValue,
    of: fn(i128, i128) -> Option<(i128, i128)>,
) -> Option<(ScalarValue, ScalarValue)> {
    let whole = |value: &ScalarValue| match value.cast_to(&DataType::Int64) {
        Ok(ScalarValue::Int64(number)) if value.data_type() == *data_type => number.map(i128::from),
        _ => None,
    };
    if !data_type.is_signed_integer() {
        return None;
    }
    let (first, end) = of(whole(constant)?, whole(result)?)?;
    let typed = |number: i128| {
        let number = ScalarValue::Int64(Some(i64::try_from(number).ok()?)).cast_to(data_type).ok()?;
        (!number.is_null()).then_some(number)
    };
    typed(first).zip(typed(end))
}

/// The least factor whose product is not less than the result, and the least one whose product is more.
fn quotients(constant: i128, result: i128) -> Option<(i128, i128)> {
    (constant > 0).then(|| (-(-result).div_euclid(constant), result.div_euclid(constant) + 1))
}

fn either(call: &Call<'_>, kernel: Kernel, of_decimals: fn(&Call<'_>) -> Result<ArrayRef>) -> Result<ArrayRef> {
    match call.returns() {
        DataType::Decimal128(..) => of_decimals(call),
        _ => Ok(kernel(&call.operand(0)?, &call.operand(1)?)?),
    }
}

/// The sum, from the left to the right: what one step has made is an operand of the next one.
fn sum(call: &Call<'_>) -> Result<ArrayRef> {
    let mut sum = Arc::clone(call.argument(0)?);
    for index in 1..call.len() {
        let next = Arc::clone(call.argument(index)?);
        let returns = decimals::type_of_sum(&[sum.data_type().clone(), next.data_type().clone()])?;
        let pair = [sum, next];
        sum = either(&Call::new(&pair, call.rows(), &returns, call.config(), true), numeric::add, decimals::add)?;
    }
    Ok(sum)
}

fn negate(call: &Call<'_>) -> Result<ArrayRef> {
    integers(call, |number| number.checked_neg().ok_or_else(|| out_of_range(format!("{number} has no positive number in its type"))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comparisons_with_results_are_such_with_arguments() {
        let of = |name: &str, constant: i64, result: i64| {
            let preimage = FUNCTIONS.iter().find(|function| function.name == name).unwrap().preimage_beside.unwrap();
            let range = preimage(&DataType::Int64, &ScalarValue::from(constant), &ScalarValue::from(result));
            range.map(|(first, end)| (first.to_string(), end.to_string()))
        };
        let numbers = |first: &str, end: &str| Some((first.to_owned(), end.to_owned()));
        assert_eq!(of("$add", 3, 10), numbers("7", "8"));
        assert_eq!(of("$subtract", 3, 10), numbers("13", "14"));
        assert_eq!((of("$multiply", 2, 200), of("$multiply", 2, 201)), (numbers("100", "101"), numbers("101", "101")));
        assert_eq!((of("$multiply", 2, -200), of("$multiply", 2, -201)), (numbers("-100", "-99"), numbers("-100", "-100")));
        assert_eq!((of("$multiply", -2, 200), of("$add", -1, i64::MAX)), (None, None));
    }
}
