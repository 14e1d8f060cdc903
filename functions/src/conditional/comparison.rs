//! Comparison of arrays of the same type, also of arrays and rows.

use std::cmp::Ordering;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, make_comparator};
use arrow::compute::SortOptions;
use arrow::compute::kernels::cmp;
use arrow::datatypes::{DataType, Float32Type, Float64Type};
use datafusion::error::Result;

/// Where the left value comes `before_or_behind` the right one ([`Ordering::Less`] or [`Ordering::Greater`]); what is no number is never so, and all others are before
/// and behind it.
pub(super) fn compared(left: &ArrayRef, right: &ArrayRef, before_or_behind: Ordering) -> Result<BooleanArray> {
    let is_less = before_or_behind == Ordering::Less;
    Ok(match left.data_type() {
        DataType::Float64 => {
            let holds = |left: f64, right: f64| if right.is_nan() { !left.is_nan() } else { is_further(left < right, left > right, is_less) };
            BooleanArray::from_binary(left.as_primitive::<Float64Type>(), right.as_primitive::<Float64Type>(), holds)
        }
        DataType::Float32 => {
            let holds = |left: f32, right: f32| if right.is_nan() { !left.is_nan() } else { is_further(left < right, left > right, is_less) };
            BooleanArray::from_binary(left.as_primitive::<Float32Type>(), right.as_primitive::<Float32Type>(), holds)
        }
        nested if nested.is_nested() => by_rows(left, right, |ordering| ordering == before_or_behind)?,
        _ if is_less => cmp::lt(left, right)?,
        _ => cmp::gt(left, right)?,
    })
}

fn is_further(is_less: bool, is_greater: bool, wants_less: bool) -> bool {
    if wants_less { is_less } else { is_greater }
}

/// Where values are equal; NULL where one is.
pub(super) fn equal(left: &ArrayRef, right: &ArrayRef) -> Result<BooleanArray> {
    if left.data_type().is_nested() { by_rows(left, right, Ordering::is_eq) } else { Ok(cmp::eq(left, right)?) }
}

fn by_rows(left: &ArrayRef, right: &ArrayRef, holds: impl Fn(Ordering) -> bool) -> Result<BooleanArray> {
    let comparator = make_comparator(left.as_ref(), right.as_ref(), SortOptions::default())?;
    let rows = 0..left.len().min(right.len());
    Ok(rows.map(|row| if left.is_null(row) || right.is_null(row) { None } else { Some(holds(comparator(row, row))) }).collect())
}
