//! Texts, bytes and arrays from their ends.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int32Array, ListArray};
use arrow::buffer::OffsetBuffer;
use arrow::compute::take;
use arrow::datatypes::DataType;
use datafusion::error::Result;

use crate::{Call, Scalar};

pub(crate) const FUNCTIONS: &[Scalar] = &[Scalar::new(
    "reverse",
    &["(varchar) -> varchar", "(varbinary) -> varbinary", "(array(T)) -> array(T)"],
    reverse,
    "The characters, bytes or elements in the opposite order.",
)];

fn reverse(call: &Call<'_>) -> Result<ArrayRef> {
    match call.argument(0)?.data_type() {
        DataType::List(_) => elements(call.list(0)?),
        DataType::Binary => {
            let bytes = call.bytes(0)?;
            call.written_binaries(|row, out| {
                out.extend(bytes.value(row).iter().rev());
                Ok(true)
            })
        }
        _ => {
            let texts = call.text(0)?;
            call.written_texts(|row, out| {
                out.extend(texts.value(row).chars().rev());
                Ok(true)
            })
        }
    }
}

fn elements(list: &ListArray) -> Result<ArrayRef> {
    let DataType::List(field) = list.data_type() else { return Ok(Arc::new(list.clone())) };
    let bounds = || list.offsets().windows(2).filter_map(|pair| Some((*pair.first()?, *pair.last()?)));
    let places: Int32Array = bounds().flat_map(|(start, end)| (start..end).rev()).collect::<Vec<_>>().into();
    let values = take(list.values(), &places, None)?;
    let offsets = OffsetBuffer::from_lengths(bounds().map(|(start, end)| (end - start).unsigned_abs() as usize));
    Ok(Arc::new(ListArray::try_new(Arc::clone(field), offsets, values, list.nulls().cloned())?))
}

#[cfg(test)]
mod tests {
    use arrow::array::AsArray;
    use arrow::datatypes::Int64Type;

    use super::*;

    #[test]
    fn arrays_that_are_parts_of_others_are_reversed() {
        let all = ListArray::from_iter_primitive::<Int64Type, _, _>([
            Some(vec![Some(1)]),
            Some(vec![Some(2), None, Some(4)]),
            None,
            Some(vec![]),
            Some(vec![Some(5), Some(6)]),
        ]);
        let reversed = elements(&all.slice(1, 4)).unwrap();
        let expected =
            ListArray::from_iter_primitive::<Int64Type, _, _>([Some(vec![Some(4), None, Some(2)]), None, Some(vec![]), Some(vec![Some(6), Some(5)])]);
        assert_eq!(reversed.as_list::<i32>(), &expected);
    }
}
