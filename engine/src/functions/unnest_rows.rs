//! `$unnest_rows(array or map, ...)`, which no statement can call: one array of rows that has what `UNNEST` makes rows of. An array has a column of its elements, or one
//! of each field where these are rows; a map has one of its keys and one of its values; the last column numbers the rows from 1 on. What is shorter goes on with NULL,
//! and what is NULL is empty.

use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, ListArray, MapArray, StructArray, UInt64Array};
use arrow::buffer::OffsetBuffer;
use arrow::compute::take;
use arrow::datatypes::{DataType, Field, Fields};
use datafusion::common::{exec_datafusion_err, exec_err};
use datafusion::error::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use nunatak_core::{Code, Error};

use crate::error::into_datafusion;

const NAME: &str = "$unnest_rows";

static FUNCTION: LazyLock<Arc<ScalarUDF>> =
    LazyLock::new(|| Arc::new(ScalarUDF::new_from_impl(UnnestRows { signature: Signature::variadic_any(Volatility::Immutable) })));

/// The function.
pub fn function() -> Arc<ScalarUDF> {
    Arc::clone(&FUNCTION)
}

/// The name of a field of its rows.
pub(crate) fn field_name(place: usize) -> String {
    format!("c{place}")
}

/// The names that the columns of arguments of these types have by themselves behind so many others, the number of the row left out. Errors: `INVALID_FUNCTION_ARGUMENT`
/// for other types.
pub(crate) fn column_names(types: &[DataType], before: usize) -> Result<Vec<String>> {
    let columns = columns(types)?;
    Ok((before..).zip(columns).map(|(place, (name, _))| name.unwrap_or_else(|| format!("_col{place}"))).collect())
}

/// The columns of arguments: the names of fields of rows, and the types.
fn columns(types: &[DataType]) -> Result<Vec<(Option<String>, DataType)>> {
    let mut columns = Vec::new();
    for data_type in types {
        match data_type {
            DataType::List(element) => match element.data_type() {
                DataType::Struct(fields) => columns.extend(fields.iter().enumerate().map(|(place, field)| {
                    // Those without names are known so.
                    let is_named = *field.name() != format!("c{place}");
                    (is_named.then(|| field.name().clone()), field.data_type().clone())
                })),
                other => columns.push((None, other.clone())),
            },
            DataType::Map(entries, _) => match entries.data_type() {
                DataType::Struct(pair) => columns.extend(pair.iter().map(|field| (None, field.data_type().clone()))),
                other => return exec_err!("a map has entries of type {other}"),
            },
            DataType::Null => columns.push((None, DataType::Null)),
            other => {
                let message = format!("UNNEST takes arrays and maps, not {}", other.to_string().to_lowercase());
                return Err(into_datafusion(Error::new(Code::InvalidFunctionArgument, message)));
            }
        }
    }
    Ok(columns)
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct UnnestRows {
    signature: Signature,
}

impl ScalarUDFImpl for UnnestRows {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        let types = columns(types)?.into_iter().map(|(_, data_type)| data_type).chain([DataType::Int64]);
        let fields: Fields = types.enumerate().map(|(place, data_type)| Field::new(field_name(place), data_type, true)).collect();
        Ok(DataType::new_list(DataType::Struct(fields), true))
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let count = arguments.number_rows;
        let values = arguments.args.iter().map(|value| value.to_array(count)).collect::<Result<Vec<_>>>()?;
        let DataType::List(element) = arguments.return_field.data_type() else { return exec_err!("{NAME} gives an array") };
        let DataType::Struct(fields) = element.data_type() else { return exec_err!("{NAME} gives rows") };
        let length = |values: &ArrayRef, row: usize| offsets(values).filter(|_| values.is_valid(row)).map_or(0, |offsets| range(offsets, row).len());
        let lengths: Vec<usize> = (0..count).map(|row| values.iter().map(|values| length(values, row)).max().unwrap_or_default()).collect();
        let mut columns = Vec::with_capacity(fields.len());
        for values in &values {
            columns.extend(columns_of(values, &lengths)?);
        }
        let numbers = lengths.iter().flat_map(|length| (1..).take(*length)).collect::<Vec<i64>>();
        columns.push(Arc::new(Int64Array::from(numbers)));
        let total = lengths.iter().sum::<usize>();
        if i32::try_from(total).is_err() {
            return exec_err!("UNNEST has {total} rows for a batch, which are too many");
        }
        let rows = StructArray::try_new(fields.clone(), columns, None)?;
        let offsets = OffsetBuffer::from_lengths(lengths);
        Ok(ColumnarValue::Array(Arc::new(ListArray::try_new(Arc::clone(element), offsets, Arc::new(rows), None)?)))
    }
}

fn offsets(values: &ArrayRef) -> Option<&[i32]> {
    let of_map = || values.as_any().downcast_ref::<MapArray>().map(MapArray::value_offsets);
    values.as_list_opt::<i32>().map(ListArray::value_offsets).or_else(of_map)
}

fn range(offsets: &[i32], row: usize) -> std::ops::Range<usize> {
    offsets[row] as usize..offsets[row + 1] as usize
}

/// The columns of an argument, of so many rows for each.
fn columns_of(values: &ArrayRef, lengths: &[usize]) -> Result<Vec<ArrayRef>> {
    let elements: Vec<&ArrayRef> = match values.as_any().downcast_ref::<MapArray>() {
        Some(map) => vec![map.keys(), map.values()],
        None => match values.as_list_opt::<i32>() {
            Some(list) => vec![list.values()],
            // What is NULL by its type.
            None => vec![values],
        },
    };
    let Some(first) = elements.first() else { return exec_err!("{NAME} has an argument without elements") };
    // Where a row is NULL, so are its fields.
    let is_there = |index: &usize| !matches!(first.data_type(), DataType::Struct(_)) || first.is_valid(*index);
    let mut indices = Vec::with_capacity(lengths.iter().sum());
    for (row, length) in lengths.iter().enumerate() {
        let range = match offsets(values) {
            Some(offsets) if values.is_valid(row) => range(offsets, row),
            _ => 0..0,
        };
        indices.extend(
            (0..*length).map(|place| Some(range.start + place).filter(|index| *index < range.end && is_there(index)).map(|index| index as u64)),
        );
    }
    let indices = UInt64Array::from(indices);
    let columns: Vec<&ArrayRef> = match (elements.as_slice(), first.data_type()) {
        ([_], DataType::Struct(_)) => {
            let rows = first.as_struct_opt().ok_or_else(|| exec_datafusion_err!("{NAME} has rows that are none"))?;
            rows.columns().iter().collect()
        }
        (all, _) => all.to_vec(),
    };
    columns.into_iter().map(|column| Ok(take(column, &indices, None)?)).collect()
}

#[cfg(test)]
mod tests {
    use arrow::array::Int32Array;
    use arrow::datatypes::{Int32Type, Int64Type};
    use datafusion::common::config::ConfigOptions;

    use super::*;

    #[test]
    fn arrays_stand_beside_each_other() {
        let lists = |rows: Vec<Option<Vec<Option<i32>>>>| Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(rows)) as ArrayRef;
        let one = lists(vec![Some(vec![Some(9)]), Some(vec![Some(1), None]), None, Some(vec![])]).slice(1, 3);
        let other = lists(vec![Some(vec![Some(5)]), Some(vec![Some(6)]), Some(vec![])]);
        let types = [one.data_type().clone(), other.data_type().clone()];
        let gives = UnnestRows { signature: Signature::variadic_any(Volatility::Immutable) };
        let field = |data_type: &DataType| Arc::new(Field::new("", data_type.clone(), true));
        let arguments = ScalarFunctionArgs {
            args: vec![ColumnarValue::Array(one), ColumnarValue::Array(other)],
            arg_fields: types.iter().map(field).collect(),
            number_rows: 3,
            return_field: field(&gives.return_type(&types).unwrap()),
            config_options: Arc::new(ConfigOptions::default()),
        };
        let made = gives.invoke_with_args(arguments).unwrap().into_array(3).unwrap();
        let made = made.as_list::<i32>();
        assert_eq!(made.value_offsets(), [0, 2, 3, 3]);
        let rows = made.values().as_struct();
        assert_eq!(rows.column(0).as_primitive::<Int32Type>(), &Int32Array::from(vec![Some(1), None, None]));
        assert_eq!(rows.column(1).as_primitive::<Int32Type>(), &Int32Array::from(vec![Some(5), None, Some(6)]));
        assert_eq!(rows.column(2).as_primitive::<Int64Type>(), &Int64Array::from(vec![1, 2, 1]));
    }
}
