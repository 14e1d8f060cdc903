//! What functions of arrays, maps and rows share: values that are looked at by their positions in the array of all elements of a batch, and results that are taken
//! from there.

pub(crate) mod equality;
pub(crate) mod identity;
pub(crate) mod taken;

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, MapArray, StructArray, UInt64Array};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::{cast, take};
use arrow::datatypes::{DataType, Fields};
use datafusion::common::{internal_datafusion_err, internal_err};
use datafusion::error::Result;

/// Where the elements of a row lie.
pub(crate) fn range(offsets: &[i32], row: usize) -> Range<usize> {
    let at = |index: usize| offsets.get(index).map_or(0, |offset| *offset as usize);
    at(row)..at(row + 1)
}

/// Values of another type, the same array where it is of that type.
pub(crate) fn of_type(values: &ArrayRef, data_type: &DataType) -> Result<ArrayRef> {
    if values.data_type() == data_type { Ok(Arc::clone(values)) } else { Ok(cast(values, data_type)?) }
}

/// A value of each row that lies among others; NULL where none does.
pub(crate) fn picked(values: &ArrayRef, indices: &UInt64Array, data_type: &DataType) -> Result<ArrayRef> {
    of_type(&take(values, indices, None)?, data_type)
}

/// The types of the keys and the values of a type of maps.
pub(crate) fn pair(data_type: &DataType) -> Result<&Fields> {
    match data_type {
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(fields) if fields.len() == 2 => Ok(fields),
            other => internal_err!("a map has entries of type {other}"),
        },
        other => internal_err!("{other} is no map"),
    }
}

/// Maps of keys and values that have been checked.
pub(crate) fn maps(
    data_type: &DataType,
    offsets: OffsetBuffer<i32>,
    keys: &ArrayRef,
    values: &ArrayRef,
    nulls: Option<NullBuffer>,
) -> Result<ArrayRef> {
    let fields = pair(data_type)?;
    let DataType::Map(entries, sorted) = data_type else { return internal_err!("{data_type} is no map") };
    let typed = |values: &ArrayRef, place: usize| match fields.get(place) {
        Some(field) => of_type(values, field.data_type()),
        None => internal_err!("a map has no field {place}"),
    };
    let columns = vec![typed(keys, 0)?, typed(values, 1)?];
    let entries_of_all = StructArray::try_new(fields.clone(), columns, None)?;
    Ok(Arc::new(MapArray::try_new(Arc::clone(entries), offsets, entries_of_all, nulls, *sorted)?))
}

/// An argument of a type of maps.
pub(crate) fn as_map(values: &ArrayRef) -> Result<&MapArray> {
    values.as_any().downcast_ref().ok_or_else(|| internal_datafusion_err!("{:?} is no map", values.data_type()))
}
