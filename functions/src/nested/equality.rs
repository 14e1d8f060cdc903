//! `=` of SQL between values of arrays, by their positions. Arrow's comparators take NULL for a value; here it is neither equal to anything nor not, be it the value or
//! within it.

use arrow::array::{Array, ArrayRef, AsArray, Float32Array, Float64Array, make_comparator};
use arrow::buffer::NullBuffer;
use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, Float32Type, Float64Type};
use datafusion::error::Result;

use super::{as_map, range};

/// Whether the values at two positions are equal; `None` for NULL.
pub(crate) type Equal = Box<dyn Fn(usize, usize) -> Option<bool>>;

/// Compares values of two arrays of the same type.
pub(crate) fn equality(left: &ArrayRef, right: &ArrayRef) -> Result<Equal> {
    let (left_nulls, right_nulls) = (left.logical_nulls(), right.logical_nulls());
    let equal = of_values(left, right)?;
    let is_null = |nulls: &Option<NullBuffer>, at: usize| nulls.as_ref().is_some_and(|nulls| nulls.is_null(at));
    Ok(Box::new(move |one, other| if is_null(&left_nulls, one) || is_null(&right_nulls, other) { None } else { equal(one, other) }))
}

fn of_values(left: &ArrayRef, right: &ArrayRef) -> Result<Equal> {
    let equal: Equal = match (left.data_type(), right.data_type()) {
        (DataType::Float32, DataType::Float32) => {
            let (left, right): (Float32Array, Float32Array) =
                (left.as_primitive::<Float32Type>().clone(), right.as_primitive::<Float32Type>().clone());
            Box::new(move |one, other| Some(left.value(one) == right.value(other)))
        }
        (DataType::Float64, DataType::Float64) => {
            let (left, right): (Float64Array, Float64Array) =
                (left.as_primitive::<Float64Type>().clone(), right.as_primitive::<Float64Type>().clone());
            Box::new(move |one, other| Some(left.value(one) == right.value(other)))
        }
        (DataType::List(_), DataType::List(_)) => {
            let (left, right) = (left.as_list::<i32>(), right.as_list::<i32>());
            let elements = equality(left.values(), right.values())?;
            let (left, right) = (left.offsets().clone(), right.offsets().clone());
            Box::new(move |one, other| {
                let (one, other) = (range(&left, one), range(&right, other));
                if one.len() == other.len() { all(one.zip(other).map(|(one, other)| elements(one, other))) } else { Some(false) }
            })
        }
        (DataType::Struct(_), DataType::Struct(_)) => {
            let pairs = left.as_struct().columns().iter().zip(right.as_struct().columns());
            let fields = pairs.map(|(left, right)| equality(left, right)).collect::<Result<Vec<_>>>()?;
            Box::new(move |one, other| all(fields.iter().map(|equal| equal(one, other))))
        }
        (DataType::Map(..), DataType::Map(..)) => {
            let (left, right) = (as_map(left)?, as_map(right)?);
            let (keys, values) = (equality(left.keys(), right.keys())?, equality(left.values(), right.values())?);
            let (left, right) = (left.offsets().clone(), right.offsets().clone());
            Box::new(move |one, other| {
                let (one, other) = (range(&left, one), range(&right, other));
                if one.len() != other.len() {
                    return Some(false);
                }
                all(one.map(|one| match other.clone().find(|other| keys(one, *other) == Some(true)) {
                    Some(other) => values(one, other),
                    None => Some(false),
                }))
            })
        }
        _ => {
            let compare = make_comparator(left, right, SortOptions::default())?;
            Box::new(move |one, other| Some(compare(one, other).is_eq()))
        }
    };
    Ok(equal)
}

fn all(parts: impl Iterator<Item = Option<bool>>) -> Option<bool> {
    let mut known = true;
    for part in parts {
        match part {
            Some(true) => {}
            Some(false) => return Some(false),
            None => known = false,
        }
    }
    known.then_some(true)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int32Array, ListArray};
    use arrow::datatypes::Int32Type;

    use super::*;

    #[test]
    fn null_is_neither_equal_nor_not() {
        let values: ArrayRef = Arc::new(Int32Array::from(vec![Some(1), None, Some(2)]));
        let equal = equality(&values, &values).unwrap();
        assert_eq!((equal(0, 0), equal(0, 2), equal(1, 1)), (Some(true), Some(false), None));
        let rows = [Some(vec![Some(1), None]), None, Some(vec![Some(2), None]), Some(vec![Some(1)])];
        let lists: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(rows).slice(0, 4));
        let equal = equality(&lists, &lists).unwrap();
        assert_eq!((equal(0, 0), equal(0, 1), equal(0, 2), equal(0, 3), equal(3, 3)), (None, None, Some(false), Some(false), Some(true)));
        let floats: ArrayRef = Arc::new(Float64Array::from(vec![f64::NAN, 0.0, -0.0]));
        let equal = equality(&floats, &floats).unwrap();
        assert_eq!((equal(0, 0), equal(1, 2)), (Some(false), Some(true)));
    }
}
