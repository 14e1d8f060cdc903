//! Arrays of numbers, and maps of numbers by names, as vectors.

use arrow::array::{Array, ArrayRef, Float64Array};
use datafusion::common::internal_datafusion_err;
use datafusion::error::Result;

use crate::nested::equality::equality;
use crate::nested::{as_map, range};
use crate::{Call, Scalar, invalid};

pub(crate) const FUNCTIONS: &[Scalar] = &[
    Scalar::new("dot_product", &["(array(double), array(double)) -> double"], dot_product, "The dot product of two vectors."),
    Scalar::new("euclidean_distance", &["(array(double), array(double)) -> double"], euclidean_distance, "How far two vectors are from each other."),
    Scalar::new(
        "cosine_similarity",
        &["(array(double), array(double)) -> double", "(map(varchar, double), map(varchar, double)) -> double"],
        cosine_similarity,
        "The cosine of the angle between two vectors.",
    ),
    Scalar::new(
        "cosine_distance",
        &["(array(double), array(double)) -> double"],
        cosine_distance,
        "One less the cosine of the angle between two vectors.",
    ),
];

fn numbers(values: &ArrayRef) -> Result<&Float64Array> {
    values.as_any().downcast_ref().ok_or_else(|| internal_datafusion_err!("a vector has values of type {:?}", values.data_type()))
}

/// A number for each row, of the pairs of numbers at the same position; NULL among them is 0.
fn of_pairs(call: &Call<'_>, number: impl Fn(&mut dyn Iterator<Item = (f64, f64)>) -> Result<Option<f64>>, sees_nulls: bool) -> Result<ArrayRef> {
    let (left, right) = (call.list(0)?, call.list(1)?);
    let (left_numbers, right_numbers) = (numbers(left.values())?, numbers(right.values())?);
    let value = |numbers: &Float64Array, index: usize| if numbers.is_null(index) { 0.0 } else { numbers.value(index) };
    call.doubles(|row| {
        let (one, other) = (range(left.value_offsets(), row), range(right.value_offsets(), row));
        if one.len() != other.len() {
            return Err(invalid("the arrays must have the same length"));
        }
        if !sees_nulls && (one.clone().any(|index| left_numbers.is_null(index)) || other.clone().any(|index| right_numbers.is_null(index))) {
            return Ok(None);
        }
        number(&mut one.zip(other).map(|(one, other)| (value(left_numbers, one), value(right_numbers, other))))
    })
}

fn dot_product(call: &Call<'_>) -> Result<ArrayRef> {
    of_pairs(call, |pairs| Ok(Some(pairs.map(|(left, right)| left * right).sum::<f64>() + 0.0)), true)
}

fn euclidean_distance(call: &Call<'_>) -> Result<ArrayRef> {
    of_pairs(call, |pairs| Ok(Some((pairs.map(|(left, right)| (left - right) * (left - right)).sum::<f64>() + 0.0).sqrt())), true)
}

fn cosine_similarity(call: &Call<'_>) -> Result<ArrayRef> {
    match as_map(call.argument(0)?) {
        Ok(_) => similarity_of_maps(call),
        Err(_) => of_pairs(call, |pairs| cosine(pairs).map(Some), false),
    }
}

fn cosine_distance(call: &Call<'_>) -> Result<ArrayRef> {
    of_pairs(call, |pairs| cosine(pairs).map(|cosine| Some(1.0 - cosine)), false)
}

fn cosine(pairs: &mut dyn Iterator<Item = (f64, f64)>) -> Result<f64> {
    let (mut product, mut left_square, mut right_square) = (0.0, 0.0, 0.0);
    for (left, right) in pairs {
        product += left * right;
        left_square += left * left;
        right_square += right * right;
    }
    if left_square == 0.0 || right_square == 0.0 {
        return Err(invalid("a vector of length 0 has no direction"));
    }
    Ok(product / (f64::sqrt(left_square) * f64::sqrt(right_square)))
}

fn similarity_of_maps(call: &Call<'_>) -> Result<ArrayRef> {
    let (left, right) = (as_map(call.argument(0)?)?, as_map(call.argument(1)?)?);
    let (left_numbers, right_numbers) = (numbers(left.values())?, numbers(right.values())?);
    let same_key = equality(left.keys(), right.keys())?;
    call.doubles(|row| {
        let (one, other) = (range(left.value_offsets(), row), range(right.value_offsets(), row));
        if one.clone().any(|index| left_numbers.is_null(index)) || other.clone().any(|index| right_numbers.is_null(index)) {
            return Ok(None);
        }
        let square = |numbers: &Float64Array, range: std::ops::Range<usize>| range.map(|index| numbers.value(index).powi(2)).sum::<f64>() + 0.0;
        let (left_square, right_square) = (square(left_numbers, one.clone()), square(right_numbers, other.clone()));
        let product = one.filter_map(|index| {
            let same = other.clone().find(|other| same_key(index, *other) == Some(true))?;
            Some(left_numbers.value(index) * right_numbers.value(same))
        });
        Ok(Some((product.sum::<f64>() + 0.0) / (left_square.sqrt() * right_square.sqrt())))
    })
}
