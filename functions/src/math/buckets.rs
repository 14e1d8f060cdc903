//! `width_bucket`: in which part of a range numbers lie.

use arrow::array::{Array, ArrayRef, AsArray, Float64Array};
use arrow::datatypes::Float64Type;
use datafusion::error::Result;

use crate::{Call, Scalar, invalid, out_of_range};

pub(crate) const FUNCTIONS: &[Scalar] = &[Scalar::new(
    "width_bucket",
    &["(double, double, double, bigint) -> bigint", "(double, array(double)) -> bigint"],
    width_bucket,
    "The number of the part of a range in which a number lies: of so many parts of one width, or of those that an array divides.",
)];

fn width_bucket(call: &Call<'_>) -> Result<ArrayRef> {
    if call.len() == 2 {
        return among_bounds(call);
    }
    let (numbers, firsts, lasts, counts) = (call.double(0)?, call.double(1)?, call.double(2)?, call.bigint(3)?);
    call.bigints(|row| of_width(numbers.value(row), firsts.value(row), lasts.value(row), counts.value(row)).map(Some))
}

fn of_width(number: f64, first: f64, last: f64, count: i64) -> Result<i64> {
    if count < 1 {
        return Err(invalid("width_bucket: the number of buckets must be greater than 0"));
    }
    if number.is_nan() {
        return Err(invalid("width_bucket: the number must not be NaN"));
    }
    if !first.is_finite() || !last.is_finite() {
        return Err(invalid("width_bucket: the bounds must be finite"));
    }
    if first == last {
        return Err(invalid("width_bucket: the bounds must differ"));
    }
    let too_many = || out_of_range(format!("width_bucket: {count} buckets have no bigint for the last"));
    let (lower, upper) = (first.min(last), first.max(last));
    let place = if number < lower {
        0
    } else if number > upper {
        count.checked_add(1).ok_or_else(too_many)?
    } else {
        (count as f64 * (number - lower) / (upper - lower) + 1.0) as i64
    };
    if first < last { Ok(place) } else { count.checked_sub(place).and_then(|place| place.checked_add(1)).ok_or_else(too_many) }
}

fn among_bounds(call: &Call<'_>) -> Result<ArrayRef> {
    let (numbers, lists) = (call.double(0)?, call.list(1)?);
    let (bounds, offsets) = (lists.values().as_primitive::<Float64Type>(), lists.value_offsets());
    call.bigints(|row| {
        let place = |offset: i32| usize::try_from(offset).unwrap_or_default();
        let (start, end) = (offsets.get(row).copied().map_or(0, place), offsets.get(row + 1).copied().map_or(0, place));
        place_of(numbers.value(row), bounds, start, end).map(Some)
    })
}

/// Searches by halves, as Trino does: whether the bounds are in order is seen where the search comes by, and one that is NULL is 0.
fn place_of(number: f64, bounds: &Float64Array, start: usize, end: usize) -> Result<i64> {
    if start >= end {
        return Err(invalid("width_bucket: there must be at least one bound"));
    }
    if number.is_nan() {
        return Err(invalid("width_bucket: the number must not be NaN"));
    }
    let bound = |place: usize| if bounds.is_null(place) { 0.0 } else { bounds.value(place) };
    let (mut lower, mut upper) = (start, end);
    while lower < upper {
        if bound(lower) > bound(upper - 1) {
            return Err(invalid("width_bucket: the bounds must be in ascending order"));
        }
        let middle = lower + (upper - lower) / 2;
        let of_middle = bound(middle);
        if !of_middle.is_finite() {
            return Err(invalid(format!("width_bucket: the bounds must be finite, not {of_middle}")));
        }
        if number < of_middle {
            upper = middle;
        } else {
            lower = middle + 1;
        }
    }
    Ok((lower - start) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_have_one_width() {
        assert_eq!(of_width(3.2, 0.0, 10.0, 5).unwrap(), 2);
        assert_eq!(of_width(10.0, 10.0, 0.0, 5).unwrap(), 0);
        assert!(of_width(11.0, 0.0, 10.0, i64::MAX).is_err() && of_width(1.0, 0.0, 0.0, 5).is_err());
    }

    #[test]
    fn bounds_of_a_later_row() {
        let bounds = Float64Array::from(vec![Some(9.0), Some(1.0), Some(2.0), None]);
        assert_eq!(place_of(1.5, &bounds, 1, 3).unwrap(), 1);
        assert_eq!(place_of(5.0, &bounds, 1, 3).unwrap(), 2);
        assert!(place_of(1.0, &bounds, 0, 3).is_err() && place_of(1.0, &bounds, 2, 2).is_err());
        assert_eq!(place_of(0.5, &bounds, 3, 4).unwrap(), 1);
    }
}
