//! Values as bytes that are the same, and have the same order, where the values are not distinct: NULL is the same as NULL here, NaN as NaN, and a map as one with the same
//! entries in another order.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, MapArray, StructArray, UInt64Array};
use arrow::buffer::OffsetBuffer;
use arrow::compute::{SortOptions, take};
use arrow::datatypes::{ArrowNativeType, DataType, Float32Type, Float64Type};
use arrow::row::{RowConverter, Rows, SortField};
use datafusion::error::Result;

use super::as_map;
use crate::{Call, Scalar};

pub(crate) const FUNCTIONS: &[Scalar] =
    &[Scalar::new("$one_zero", &["(T) -> T"], one_zero, "The same value, with zero for minus zero, one NaN, and maps in the order of their keys.")
        .seeing_nulls()];

fn one_zero(call: &Call<'_>) -> Result<ArrayRef> {
    canonical(call.argument(0)?)
}

/// The bytes of the values of an array. NULL is behind all others, and NaN behind the numbers.
pub(crate) fn identities(values: &ArrayRef) -> Result<Rows> {
    let options = SortOptions { descending: false, nulls_first: false };
    let converter = RowConverter::new(vec![SortField::new_with_options(values.data_type().clone(), options)])?;
    Ok(converter.convert_columns(&[canonical(values)?])?)
}

/// Whether values of a type may be the same and have other bytes: zero and minus zero, and maps with the same entries in another order.
pub fn has_twins(data_type: &DataType) -> bool {
    match data_type {
        DataType::Float32 | DataType::Float64 | DataType::Map(_, _) => true,
        DataType::List(field) => has_twins(field.data_type()),
        DataType::Struct(fields) => fields.iter().any(|field| has_twins(field.data_type())),
        _ => false,
    }
}

/// The same values with one zero and one NaN, and with maps in the order of their keys.
pub(crate) fn canonical(values: &ArrayRef) -> Result<ArrayRef> {
    if !has_twins(values.data_type()) {
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
            let (elements, offsets) = own(list.values(), list.offsets());
            Arc::new(ListArray::try_new(Arc::clone(field), offsets, canonical(&elements)?, list.nulls().cloned())?)
        }
        DataType::Map(field, is_sorted) => {
            let map = as_map(values)?;
            let entries: ArrayRef = Arc::new(map.entries().clone());
            let (entries, offsets) = own(&entries, map.offsets());
            let entries = by_key(canonical(&entries)?, &offsets)?.as_struct().clone();
            Arc::new(MapArray::try_new(Arc::clone(field), offsets, entries, map.nulls().cloned(), *is_sorted)?)
        }
        DataType::Struct(fields) => {
            let columns = values.as_struct().columns().iter().map(canonical).collect::<Result<Vec<_>>>()?;
            Arc::new(StructArray::try_new(fields.clone(), columns, values.nulls().cloned())?)
        }
        _ => Arc::clone(values),
    };
    Ok(same)
}

/// What lies within lists or maps, and where among it: an array may be a part of a far longer one, with whose values it comes.
fn own(values: &ArrayRef, offsets: &OffsetBuffer<i32>) -> (ArrayRef, OffsetBuffer<i32>) {
    let (Some(&first), Some(&last)) = (offsets.first(), offsets.last()) else { return (Arc::clone(values), offsets.clone()) };
    (values.slice(first.as_usize(), (last - first).as_usize()), offsets.clone().subtract(first))
}

/// The entries of maps, those of each in the order of their keys.
fn by_key(entries: ArrayRef, offsets: &OffsetBuffer<i32>) -> Result<ArrayRef> {
    let keys = entries.as_struct().column(0);
    let converter = RowConverter::new(vec![SortField::new(keys.data_type().clone())])?;
    let rows = converter.convert_columns(std::slice::from_ref(keys))?;
    let mut order: Vec<usize> = (0..entries.len()).collect();
    for bounds in offsets.windows(2) {
        order[bounds[0].as_usize()..bounds[1].as_usize()].sort_by_key(|position| rows.row(*position));
    }
    if order.is_sorted() {
        return Ok(entries);
    }
    let order: UInt64Array = order.into_iter().map(|position| position as u64).collect();
    Ok(take(&entries, &order, None)?)
}

#[cfg(test)]
mod tests {
    use arrow::array::{Float64Array, Float64Builder, Int64Builder, MapBuilder, StringBuilder};

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
    fn entries_of_maps_have_one_order() {
        let mut maps = MapBuilder::new(None, StringBuilder::new(), Int64Builder::new());
        for entries in [vec![("b", 2), ("a", 1)], vec![], vec![("a", 1), ("b", 2)], vec![("a", 2), ("b", 1)]] {
            for (key, value) in entries {
                maps.keys().append_value(key);
                maps.values().append_value(value);
            }
            maps.append(true).unwrap();
        }
        maps.append(false).unwrap();
        let maps: ArrayRef = Arc::new(maps.finish());
        let rows = identities(&maps.slice(0, 4)).unwrap();
        assert_eq!(rows.row(0), rows.row(2));
        assert_ne!(rows.row(0), rows.row(3));
        let part = canonical(&maps.slice(2, 3)).unwrap();
        assert_eq!((&part, part.data_type()), (&maps.slice(2, 3), maps.data_type()));
        assert_eq!(part.as_map().entries().len(), 4);
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
