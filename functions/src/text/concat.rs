//! Texts, bytes and arrays put together.

use std::sync::Arc;

use arrow::array::{Array, ArrayData, ArrayRef, AsArray, ListArray, MutableArrayData, make_array};
use arrow::buffer::OffsetBuffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType, FieldRef};
use datafusion::error::Result;

use crate::{Call, Scalar, invalid};

pub(crate) const FUNCTIONS: &[Scalar] = &[
    Scalar::new(
        "concat",
        &[
            "(varchar, varchar...) -> varchar",
            "(varbinary, varbinary...) -> varbinary",
            "(array(T), array(T)...) -> array(T)",
            "(array(T), T) -> array(T)",
            "(T, array(T)) -> array(T)",
        ],
        concat,
        "Texts, bytes or arrays one behind the other; to an array also an element is added.",
    ),
    Scalar::new(
        "concat_ws",
        &["(varchar, varchar...) -> varchar", "(varchar, array(varchar)) -> varchar"],
        concat_ws,
        "Texts with a separator between them, without those that are NULL.",
    )
    .seeing_nulls(),
];

fn concat(call: &Call<'_>) -> Result<ArrayRef> {
    if call.len() < 2 {
        return Err(invalid("concat takes two values or more"));
    }
    match call.returns() {
        DataType::List(element) => arrays(call, element),
        DataType::Binary => {
            let parts = (0..call.len()).map(|index| call.bytes(index)).collect::<Result<Vec<_>>>()?;
            call.written_binaries(|row, out| {
                parts.iter().for_each(|part| out.extend_from_slice(part.value(row)));
                Ok(true)
            })
        }
        _ => {
            let parts = (0..call.len()).map(|index| call.text(index)).collect::<Result<Vec<_>>>()?;
            call.written_texts(|row, out| {
                parts.iter().for_each(|part| out.push_str(part.value(row)));
                Ok(true)
            })
        }
    }
}

/// Arrays; an argument that is no array of this type is an element.
fn arrays(call: &Call<'_>, element: &FieldRef) -> Result<ArrayRef> {
    let mut values: Vec<ArrayData> = Vec::new();
    let mut lists: Vec<Option<&ListArray>> = Vec::new();
    for index in 0..call.len() {
        let argument = call.argument(index)?;
        let list = argument.as_list_opt::<i32>().filter(|list| list.value_type() == *element.data_type());
        values.push(match list {
            Some(list) => list.values().to_data(),
            None => cast(argument, element.data_type())?.to_data(),
        });
        lists.push(list);
    }
    let mut elements = MutableArrayData::new(values.iter().collect(), true, 0);
    let mut lengths = Vec::with_capacity(call.rows());
    for row in 0..call.rows() {
        let mut length = 0;
        for (index, list) in lists.iter().enumerate().filter(|_| !call.is_null(row)) {
            let (start, end) = match list {
                Some(list) => {
                    let start = usize::try_from(list.value_offsets()[row]).unwrap_or_default();
                    (start, start + usize::try_from(list.value_length(row)).unwrap_or_default())
                }
                None => (row, row + 1),
            };
            elements.try_extend(index, start, end)?;
            length += end - start;
        }
        lengths.push(length);
    }
    let nulls = call.valid().cloned();
    Ok(Arc::new(ListArray::try_new(Arc::clone(element), OffsetBuffer::from_lengths(lengths), make_array(elements.freeze()), nulls)?))
}

fn concat_ws(call: &Call<'_>) -> Result<ArrayRef> {
    if call.len() < 2 {
        return Err(invalid("concat_ws takes a separator and one value or more"));
    }
    let separators = call.text(0)?;
    if let DataType::List(_) = call.argument(1)?.data_type() {
        let lists = call.list(1)?;
        let Some(values) = lists.values().as_string_opt::<i32>() else { return Err(invalid("concat_ws takes arrays of texts")) };
        return call.written_texts(|row, out| {
            if separators.is_null(row) || lists.is_null(row) {
                return Ok(false);
            }
            let start = usize::try_from(lists.value_offsets()[row]).unwrap_or_default();
            let end = start + usize::try_from(lists.value_length(row)).unwrap_or_default();
            join(out, separators.value(row), (start..end).filter(|&place| !values.is_null(place)).map(|place| values.value(place)));
            Ok(true)
        });
    }
    let parts = (1..call.len()).map(|index| call.text(index)).collect::<Result<Vec<_>>>()?;
    call.written_texts(|row, out| {
        if separators.is_null(row) {
            return Ok(false);
        }
        join(out, separators.value(row), parts.iter().filter(|part| !part.is_null(row)).map(|part| part.value(row)));
        Ok(true)
    })
}

fn join<'a>(out: &mut String, separator: &str, parts: impl Iterator<Item = &'a str>) {
    for (index, part) in parts.enumerate() {
        if index > 0 {
            out.push_str(separator);
        }
        out.push_str(part);
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, StringViewArray};
    use arrow::datatypes::Int64Type;
    use datafusion::common::config::ConfigOptions;

    use super::*;

    #[test]
    fn elements_are_added_to_arrays_that_are_parts_of_others() {
        let lists = ListArray::from_iter_primitive::<Int64Type, _, _>([Some(vec![Some(6)]), Some(vec![Some(1), None]), None, Some(vec![])]);
        let values = Int64Array::from(vec![7, 8, 9]);
        let arguments: [ArrayRef; 2] = [Arc::new(lists.slice(1, 3)), Arc::new(values)];
        let returns = arguments[0].data_type().clone();
        let config = ConfigOptions::default();
        let joined = concat(&Call::new(&arguments, 3, &returns, &config, false)).unwrap();
        let expected = ListArray::from_iter_primitive::<Int64Type, _, _>([Some(vec![Some(1), None, Some(7)]), None, Some(vec![Some(9)])]);
        assert_eq!(joined.as_list::<i32>(), &expected);
    }

    #[test]
    fn nulls_are_left_out_between_separators() {
        let text = |values: Vec<Option<&str>>| -> ArrayRef { Arc::new(StringViewArray::from(values)) };
        let arguments = [text(vec![Some(","), None, Some("-")]), text(vec![Some("a"), Some("b"), None]), text(vec![None, Some("c"), Some("")])];
        let config = ConfigOptions::default();
        let joined = concat_ws(&Call::new(&arguments, 3, &DataType::Utf8View, &config, true)).unwrap();
        assert_eq!(joined.as_string_view().iter().collect::<Vec<_>>(), [Some("a"), None, Some("")]);
    }
}
