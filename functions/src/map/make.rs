//! Maps made of keys and values, of rows, and of other maps.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, UInt64Array};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::{concat, take};
use arrow::datatypes::{DataType, FieldRef, Fields};
use arrow::row::Row;
use datafusion::common::{HashMap, HashSet, internal_err};
use datafusion::error::Result;

use crate::array::part::shown;
use crate::nested::identity::identities;
use crate::nested::taken::{Parts, Taken};
use crate::nested::{as_map, maps, pair, range};
use crate::signature::{map_type, within};
use crate::type_name::type_name;
use crate::{Call, Scalar, invalid, not_found};

pub(crate) const FUNCTIONS: &[Scalar] = &[
    Scalar::new("map", &["(array(K), array(V)) -> map(K, V)"], map, "A map of an array of keys, and of one of their values."),
    Scalar::new("map_from_entries", &["(array(E)) -> array(E)"], map_from_entries, "A map of rows of a key and its value.").returning(of_entries),
    Scalar::new(
        "multimap_from_entries",
        &["(array(E)) -> array(E)"],
        multimap_from_entries,
        "A map of rows of a key and a value, that has all values of each key.",
    )
    .returning(lists_of_entries),
    Scalar::new(
        "map_concat",
        &["(map(K, V), map(K, V), map(K, V)...) -> map(K, V)"],
        map_concat,
        "What is in any of several maps; a key has the value of the last that has it.",
    ),
];

/// Maps of these keys and values. `offsets` say where rows end among both. Errors: `INVALID_FUNCTION_ARGUMENT` for keys that are NULL, contain it, or are there twice.
pub(crate) fn checked(
    data_type: &DataType,
    offsets: OffsetBuffer<i32>,
    keys: &ArrayRef,
    values: &ArrayRef,
    nulls: Option<NullBuffer>,
) -> Result<ArrayRef> {
    let rows = identities(keys)?;
    let mut seen = HashSet::new();
    for row in (0..offsets.len() - 1).filter(|row| nulls.as_ref().is_none_or(|nulls| nulls.is_valid(*row))) {
        seen.clear();
        for index in range(&offsets, row) {
            if contains_null(keys, index) {
                return Err(invalid("the keys of a map must not be NULL, or contain NULL"));
            }
            if !seen.insert(rows.row(index)) {
                return Err(invalid(format!("a map has each key once, not {} twice", shown(keys, index))));
            }
        }
    }
    maps(data_type, offsets, keys, values, nulls)
}

/// Whether a value is NULL, or one within it is.
fn contains_null(values: &ArrayRef, index: usize) -> bool {
    if values.is_null(index) {
        return true;
    }
    match values.data_type() {
        DataType::Null => true,
        DataType::List(_) => {
            let list = values.as_list::<i32>();
            range(list.value_offsets(), index).any(|index| contains_null(list.values(), index))
        }
        DataType::Struct(_) => values.as_struct().columns().iter().any(|column| contains_null(column, index)),
        _ => false,
    }
}

fn map(call: &Call<'_>) -> Result<ArrayRef> {
    let (keys, values) = (call.list(0)?, call.list(1)?);
    let (mut taken_keys, mut taken_values) = (Taken::new(call.rows()), Taken::new(call.rows()));
    for row in 0..call.rows() {
        if call.is_null(row) {
            taken_keys.null_row()?;
            continue;
        }
        let (of_keys, of_values) = (range(keys.value_offsets(), row), range(values.value_offsets(), row));
        if of_keys.len() != of_values.len() {
            return Err(invalid(format!("a map cannot be made of {} keys and {} values", of_keys.len(), of_values.len())));
        }
        taken_keys.elements(of_keys);
        taken_values.elements(of_values);
        taken_keys.end_row()?;
    }
    let Parts { indices, offsets, nulls } = taken_keys.parts();
    let keys = take(keys.values(), &indices, None)?;
    let values = take(values.values(), &taken_values.parts().indices, None)?;
    checked(call.returns(), offsets, &keys, &values, nulls)
}

/// The fields of the entries of an array. Errors: `FUNCTION_NOT_FOUND` if they are no rows of two fields.
fn entry(types: &[DataType]) -> Result<(DataType, DataType)> {
    match types {
        [DataType::List(field)] => match field.data_type() {
            DataType::Null => Ok((DataType::Null, DataType::Null)),
            DataType::Struct(fields) => match fields.iter().collect::<Vec<&FieldRef>>().as_slice() {
                [key, value] => Ok((key.data_type().clone(), value.data_type().clone())),
                _ => Err(not_found(format!("a map is made of rows of two fields, not of {}", fields.len()))),
            },
            other => Err(not_found(format!("a map is made of rows, not of {}", type_name(other)))),
        },
        _ => Err(not_found("a map is made of an array of rows")),
    }
}

fn of_entries(types: &[DataType]) -> Result<DataType> {
    let (key, value) = entry(types)?;
    Ok(map_type(&key, &value))
}

fn lists_of_entries(types: &[DataType]) -> Result<DataType> {
    let (key, value) = entry(types)?;
    Ok(map_type(&key, &DataType::new_list(within(&value), true)))
}

/// The keys and the values of all entries. Errors: `INVALID_FUNCTION_ARGUMENT` for an entry that is NULL.
fn columns(call: &Call<'_>, list: &ListArray) -> Result<(ArrayRef, ArrayRef)> {
    let entries = list.values();
    let Some(rows) = entries.as_struct_opt() else { return Ok((Arc::clone(entries), Arc::clone(entries))) };
    let has_null = |row: usize| range(list.value_offsets(), row).any(|index| rows.is_null(index));
    if (0..call.rows()).any(|row| !call.is_null(row) && has_null(row)) {
        return Err(invalid("an entry of a map must not be NULL"));
    }
    match rows.columns() {
        [keys, values] => Ok((Arc::clone(keys), Arc::clone(values))),
        other => internal_err!("an entry of a map has {} fields", other.len()),
    }
}

/// Which entries there are in the rows that are not NULL.
fn all(call: &Call<'_>, list: &ListArray) -> Result<Parts> {
    let mut taken = Taken::new(call.rows());
    for row in 0..call.rows() {
        if call.is_null(row) {
            taken.null_row()?;
        } else {
            taken.elements(range(list.value_offsets(), row));
            taken.end_row()?;
        }
    }
    Ok(taken.parts())
}

fn map_from_entries(call: &Call<'_>) -> Result<ArrayRef> {
    let list = call.list(0)?;
    let (keys, values) = columns(call, list)?;
    let Parts { indices, offsets, nulls } = all(call, list)?;
    checked(call.returns(), offsets, &take(&keys, &indices, None)?, &take(&values, &indices, None)?, nulls)
}

fn multimap_from_entries(call: &Call<'_>) -> Result<ArrayRef> {
    let list = call.list(0)?;
    let (keys, values) = columns(call, list)?;
    let rows = identities(&keys)?;
    let (mut taken_keys, mut taken_values) = (Taken::new(call.rows()), Taken::new(call.rows()));
    let mut places: HashMap<Row<'_>, usize> = HashMap::new();
    for row in 0..call.rows() {
        if call.is_null(row) {
            taken_keys.null_row()?;
            continue;
        }
        places.clear();
        let mut groups: Vec<Vec<usize>> = Vec::new();
        for index in range(list.value_offsets(), row) {
            let place = *places.entry(rows.row(index)).or_insert(groups.len());
            match groups.get_mut(place) {
                Some(group) => group.push(index),
                None => groups.push(vec![index]),
            }
        }
        for group in groups {
            if let Some(first) = group.first() {
                taken_keys.element(*first);
            }
            group.into_iter().for_each(|index| taken_values.element(index));
            taken_values.end_row()?;
        }
        taken_keys.end_row()?;
    }
    let lists = taken_values.array(&values, value_type(call.returns())?)?;
    let Parts { indices, offsets, nulls } = taken_keys.parts();
    checked(call.returns(), offsets, &take(&keys, &indices, None)?, &lists, nulls)
}

fn value_type(map: &DataType) -> Result<&DataType> {
    let fields: &Fields = pair(map)?;
    match fields.get(1) {
        Some(field) => Ok(field.data_type()),
        None => internal_err!("a map has no values"),
    }
}

fn map_concat(call: &Call<'_>) -> Result<ArrayRef> {
    let given = (0..call.len()).map(|index| as_map(call.argument(index)?)).collect::<Result<Vec<_>>>()?;
    let keys = concat(&given.iter().map(|map| map.keys().as_ref()).collect::<Vec<_>>())?;
    let values = concat(&given.iter().map(|map| map.values().as_ref()).collect::<Vec<_>>())?;
    let rows = identities(&keys)?;
    let mut taken_keys = Taken::new(call.rows());
    let mut of_values: Vec<u64> = Vec::new();
    let mut places: HashMap<Row<'_>, usize> = HashMap::new();
    for row in 0..call.rows() {
        if call.is_null(row) {
            taken_keys.null_row()?;
            continue;
        }
        places.clear();
        let mut start = 0;
        for map in &given {
            for index in range(map.value_offsets(), row).map(|index| index + start) {
                let place = *places.entry(rows.row(index)).or_insert_with(|| {
                    taken_keys.element(index);
                    of_values.push(0);
                    of_values.len() - 1
                });
                if let Some(value) = of_values.get_mut(place) {
                    *value = index as u64;
                }
            }
            start += map.keys().len();
        }
        taken_keys.end_row()?;
    }
    let Parts { indices, offsets, nulls } = taken_keys.parts();
    let values = take(&values, &UInt64Array::from(of_values), None)?;
    maps(call.returns(), offsets, &take(&keys, &indices, None)?, &values, nulls)
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int32Array, MapArray};
    use arrow::datatypes::Int32Type;
    use datafusion::common::config::ConfigOptions;

    use super::*;

    #[test]
    fn rows_that_are_null_are_not_looked_at() {
        let keys = [Some(vec![Some(7)]), None, Some(vec![Some(1), Some(2)]), Some(vec![])];
        let values = [Some(vec![None]), Some(vec![Some(1), Some(2)]), Some(vec![Some(5), None]), Some(vec![])];
        let lists = |rows: [Option<Vec<Option<i32>>>; 4]| Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(rows).slice(1, 3)) as ArrayRef;
        let (arguments, config) = ([lists(keys), lists(values)], ConfigOptions::default());
        let data_type = map_type(&DataType::Int32, &DataType::Int32);
        let made = map(&Call::new(&arguments, 3, &data_type, &config, false)).unwrap();
        let made: &MapArray = as_map(&made).unwrap();
        assert_eq!((made.is_null(0), made.value_offsets()), (true, [0, 0, 2, 2].as_slice()));
        assert_eq!(made.values().as_primitive::<Int32Type>(), &Int32Array::from(vec![Some(5), None]));
        let twice: ArrayRef = Arc::new(Int32Array::from(vec![1, 1]));
        assert!(checked(&data_type, OffsetBuffer::from_lengths([1, 1]), &twice, &twice, None).is_ok());
        assert!(checked(&data_type, OffsetBuffer::from_lengths([2]), &twice, &twice, None).is_err());
    }
}
