//! Functions of floating-point numbers.

use std::f64::consts::{E, PI};
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Float64Array};
use arrow::datatypes::{Float32Type, Float64Type};
use datafusion::error::Result;

use crate::{Call, Scalar};

const CONSTANT: &[&str] = &["() -> double"];
const ONE: &[&str] = &["(double) -> double"];
const TWO: &[&str] = &["(double, double) -> double"];
const TEST: &[&str] = &["(double) -> boolean"];

pub(crate) const FUNCTIONS: &[Scalar] = &[
    Scalar::new("e", CONSTANT, |call| constant(call, E), "Euler's number."),
    Scalar::new("pi", CONSTANT, |call| constant(call, PI), "The ratio of a circle's circumference to its diameter."),
    Scalar::new("infinity", CONSTANT, |call| constant(call, f64::INFINITY), "The number that is larger than all others."),
    Scalar::new("nan", CONSTANT, |call| constant(call, f64::NAN), "What is no number."),
    Scalar::new("cbrt", ONE, |call| one(call, f64::cbrt), "The cube root."),
    Scalar::new("sqrt", ONE, |call| one(call, f64::sqrt), "The square root."),
    Scalar::new("exp", ONE, |call| one(call, f64::exp), "Euler's number to a power."),
    Scalar::new("ln", ONE, |call| one(call, f64::ln), "The natural logarithm."),
    Scalar::new("log2", ONE, |call| one(call, f64::log2), "The logarithm to base 2."),
    Scalar::new("log10", ONE, |call| one(call, f64::log10), "The logarithm to base 10."),
    Scalar::new("log", TWO, |call| two(call, |base, number| number.ln() / base.ln()), "The logarithm to a base, which stands first."),
    Scalar::new("power", TWO, |call| two(call, power), "A number to a power.").also(&["pow"]),
    Scalar::new("degrees", ONE, |call| one(call, f64::to_degrees), "An angle in degrees, of one in radians."),
    Scalar::new("radians", ONE, |call| one(call, f64::to_radians), "An angle in radians, of one in degrees."),
    Scalar::new("sin", ONE, |call| one(call, f64::sin), "The sine."),
    Scalar::new("cos", ONE, |call| one(call, f64::cos), "The cosine."),
    Scalar::new("tan", ONE, |call| one(call, f64::tan), "The tangent."),
    Scalar::new("asin", ONE, |call| one(call, f64::asin), "The arc sine."),
    Scalar::new("acos", ONE, |call| one(call, f64::acos), "The arc cosine."),
    Scalar::new("atan", ONE, |call| one(call, f64::atan), "The arc tangent."),
    Scalar::new("atan2", TWO, |call| two(call, f64::atan2), "The arc tangent of a quotient."),
    Scalar::new("sinh", ONE, |call| one(call, f64::sinh), "The hyperbolic sine."),
    Scalar::new("cosh", ONE, |call| one(call, f64::cosh), "The hyperbolic cosine."),
    Scalar::new("tanh", ONE, |call| one(call, f64::tanh), "The hyperbolic tangent."),
    Scalar::new("is_finite", TEST, |call| test(call, f64::is_finite), "Whether a number is neither infinite nor no number."),
    Scalar::new("is_infinite", TEST, |call| test(call, f64::is_infinite), "Whether a number is infinite."),
    Scalar::new("is_nan", &["(double) -> boolean", "(real) -> boolean"], is_nan, "Whether a value is no number."),
];

fn constant(call: &Call<'_>, value: f64) -> Result<ArrayRef> {
    Ok(Arc::new(Float64Array::from_value(value, call.rows())))
}

fn one(call: &Call<'_>, value: impl Fn(f64) -> f64) -> Result<ArrayRef> {
    Ok(Arc::new(call.double(0)?.unary::<_, Float64Type>(value)))
}

fn two(call: &Call<'_>, value: impl Fn(f64, f64) -> f64) -> Result<ArrayRef> {
    let values: Float64Array = arrow::compute::binary(call.double(0)?, call.double(1)?, value)?;
    Ok(Arc::new(values))
}

fn test(call: &Call<'_>, holds: impl Fn(f64) -> bool) -> Result<ArrayRef> {
    Ok(Arc::new(BooleanArray::from_unary(call.double(0)?, holds)))
}

fn is_nan(call: &Call<'_>) -> Result<ArrayRef> {
    match call.double(0) {
        Ok(doubles) => Ok(Arc::new(BooleanArray::from_unary(doubles, f64::is_nan))),
        Err(_) => Ok(Arc::new(BooleanArray::from_unary(call.primitive::<Float32Type>(0)?, f32::is_nan))),
    }
}

/// Java's: one to the power of what is no number is none, and so is the power of one to infinity.
fn power(number: f64, exponent: f64) -> f64 {
    if exponent.is_nan() || (number.abs() == 1.0 && exponent.is_infinite()) { f64::NAN } else { number.powf(exponent) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_are_javas() {
        assert!(power(1.0, f64::NAN).is_nan() && power(-1.0, f64::INFINITY).is_nan());
        assert_eq!((power(f64::NAN, 0.0), power(2.0, -1.0), power(0.0, 0.0)), (1.0, 0.5, 1.0));
    }
}
