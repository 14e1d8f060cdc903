//! Values as bytes that are the same, and have the same order, where the values are not distinct: NULL is the same as NULL here, and NaN as NaN.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, MapArray, StructArray};
use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, Float32Type, Float64Type};
use arrow::row::{RowConverter, Rows, SortField};
use datafusion::error::Result;

use super::as_map;
use crate::{Call, Scalar};

pub(crate) const FUNCTIONS: &[Scalar] =
    &[Scalar::new("$one_zero", &["(T) -> T"], one_zero, "The same value, with zero for minus zero and one NaN.").seeing_nulls()];

fn one_zero(call: &Call<'_>) -> Result<ArrayRef> {
    canonical(call.argument(0)?)
}

/// The bytes of the values of an array. NULL is behind all others, and NaN behind the numbers.
pub(crate) fn identities(values: &ArrayRef) -> Result<Rows> {
    let options = SortOptions { descending: false, nulls_first: false };
    let converter = RowConverter::new(vec![SortField::new_with_options(values.data_type().clone(), options)])?;
    Ok(converter.convert_columns(&[canonical(values)?])?)
}

fn has_floats(data_type: &DataType) -> bool {
    match data_type {
        DataType::Float32 | DataType::Float64 => true,
        DataType::List(field) | DataType::Map(field, _) => has_floats(field.data_type()),
        DataType::Struct(fields) => fields.iter().any(|field| has_floats(field.data_type())),
        _ => false,
    }
}

/// The same values with one zero and one NaN.
pub(crate) fn canonical(values: &ArrayRef) -> Result<ArrayRef> {
    if !has_floats(values.data_type()) {
        return Ok(Arc::clone(values));
    }
    let same: ArrayRef = match values.data_type() {
        DataType::Float32 => {
            let one = |value: f32| if value.is_nan() { f32::NAN } else { value + 0.0 };
            Arc::new(values.as_primitive::<Float32Type>().unary::<_, Float32Type>(one))
        }
        DataType::Float64 => {
            let one = |value: f64| if value.is_nan() { f64::NAN } else { value + 0.0 };
            Arc::new(values.as_primitive::<Float64Type>().unary::<_, Float64Type>(one))
        }
        DataType::List(field) => {
            let list = values.as_list::<i32>();
            Arc::new(ListArray::try_new(Arc::clone(field), list.offsets().clone(), canonical(list.values())?, list.nulls().cloned())?)
        }
        DataType::Map(field, is_sorted) => {
            let map = as_map(values)?;
            let entries: ArrayRef = Arc::new(map.entries().clone());
            let entries = canonical(&entries)?.as_struct().clone();
            Arc::new(MapArray::try_new(Arc::clone(field), map.offsets().clone(), entries, map.nulls().cloned(), *is_sorted)?)
        }
        DataType::Struct(fields) => {
            let columns = values.as_struct().columns().iter().map(canonical).collect::<Result<Vec<_>>>()?;
            Arc::new(StructArray::try_new(fields.clone(), columns, values.nulls().cloned())?)
        }
        _ => Arc::clone(values),
    };
    Ok(same)
}

#[cfg(test)]
mod tests {
    use arrow::array::{Float64Array, Float64Builder, MapBuilder};

    use super::*;

    #[test]
    fn values_within_others_have_one_zero() {
        let mut maps = MapBuilder::new(None, Float64Builder::new(), Float64Builder::new());
        for zero in [0.0, -0.0] {
            maps.keys().append_value(zero);
            maps.values().append_value(-zero);
            maps.append(true).unwrap();
        }
        let maps: ArrayRef = Arc::new(maps.finish());
        let same = canonical(&maps).unwrap();
        assert_eq!((same.slice(0, 1), same.data_type()), (same.slice(1, 1), maps.data_type()));
        assert_ne!(maps.slice(0, 1).to_data(), maps.slice(1, 1).to_data());
    }

    #[test]
    fn there_is_one_zero_and_one_nan() {
        let values: ArrayRef = Arc::new(Float64Array::from(vec![Some(0.0), Some(-0.0), Some(f64::NAN), Some(-f64::NAN), None, Some(f64::INFINITY)]));
        let rows = identities(&values).unwrap();
        assert_eq!(rows.row(0), rows.row(1));
        assert_eq!(rows.row(2), rows.row(3));
        assert!(rows.row(5) < rows.row(2) && rows.row(2) < rows.row(4));
    }
}
