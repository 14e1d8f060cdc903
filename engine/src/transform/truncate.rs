//! The truncate transform: numbers rounded down to a multiple of the width, strings cut after that many code points, binary after that many bytes.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BinaryViewArray, Decimal128Array, Int64Array, LargeBinaryArray, LargeStringArray, StringArray,
    StringViewArray,
};
use arrow::datatypes::{DataType, Decimal128Type, Int32Type, Int64Type};
use nunatak_core::{Code, Error, Result};

use super::wrong_type;

pub(super) fn truncate(array: &ArrayRef, width: u32) -> Result<ArrayRef> {
    let length = width as usize;
    let width = i32::try_from(width)
        .ok()
        .filter(|width| *width > 0)
        .ok_or_else(|| Error::new(Code::InvalidFunctionArgument, format!("truncate takes a width of 1 to {}, not {width}", i32::MAX)))?;
    Ok(match array.data_type() {
        // Java wraps around as well below the smallest multiple that fits.
        DataType::Int32 => {
            Arc::new(array.as_primitive::<Int32Type>().unary::<_, Int32Type>(|value| value.wrapping_sub(value.rem_euclid(width)))) as ArrayRef
        }
        DataType::Int64 => {
            let width = i64::from(width);
            let array: Int64Array = array.as_primitive::<Int64Type>().unary(|value| value.wrapping_sub(value.rem_euclid(width)));
            Arc::new(array)
        }
        // The width has the scale of the column: it counts units of the last digit.
        DataType::Decimal128(precision, scale) => {
            let width = i128::from(width);
            let array: Decimal128Array = array.as_primitive::<Decimal128Type>().unary(|value| value.wrapping_sub(value.rem_euclid(width)));
            Arc::new(
                array.with_precision_and_scale(*precision, *scale).map_err(|error| Error::internal("decimal changed its type").with_source(error))?,
            )
        }
        DataType::Utf8 => Arc::new(array.as_string::<i32>().iter().map(|value| Some(prefix(value?, length))).collect::<StringArray>()),
        DataType::LargeUtf8 => Arc::new(array.as_string::<i64>().iter().map(|value| Some(prefix(value?, length))).collect::<LargeStringArray>()),
        DataType::Utf8View => Arc::new(array.as_string_view().iter().map(|value| Some(prefix(value?, length))).collect::<StringViewArray>()),
        DataType::Binary => Arc::new(array.as_binary::<i32>().iter().map(|value| Some(head(value?, length))).collect::<BinaryArray>()),
        DataType::LargeBinary => Arc::new(array.as_binary::<i64>().iter().map(|value| Some(head(value?, length))).collect::<LargeBinaryArray>()),
        DataType::BinaryView => Arc::new(array.as_binary_view().iter().map(|value| Some(head(value?, length))).collect::<BinaryViewArray>()),
        other => return Err(wrong_type("truncate", other)),
    })
}

/// The first `length` code points of `text`.
pub(crate) fn prefix(text: &str, length: usize) -> &str {
    match text.char_indices().nth(length) {
        Some((end, _)) => &text[..end],
        None => text,
    }
}

fn head(bytes: &[u8], length: usize) -> &[u8] {
    &bytes[..length.min(bytes.len())]
}

#[cfg(test)]
mod tests {
    use arrow::array::Int32Array;

    use super::*;

    fn run(array: impl Array + 'static, width: u32) -> ArrayRef {
        truncate(&(Arc::new(array) as ArrayRef), width).unwrap()
    }

    #[test]
    fn the_spec_examples() {
        assert_eq!(run(Int32Array::from(vec![Some(1), Some(-1), None]), 10).as_ref(), &Int32Array::from(vec![Some(0), Some(-10), None]));
        assert_eq!(run(Int64Array::from(vec![1, -1, 19]), 10).as_ref(), &Int64Array::from(vec![0, -10, 10]));
        let decimal = |values: Vec<i128>| Decimal128Array::from(values).with_precision_and_scale(9, 2).unwrap();
        assert_eq!(run(decimal(vec![1065, -5]), 50).as_ref(), &decimal(vec![1050, -50]));
        assert_eq!(run(StringArray::from(vec!["iceberg", "ic"]), 3).as_ref(), &StringArray::from(vec!["ice", "ic"]));
        assert_eq!(run(StringViewArray::from(vec!["\u{1f600}\u{e9}xyz"]), 2).as_ref(), &StringViewArray::from(vec!["\u{1f600}\u{e9}"]));
        assert_eq!(run(BinaryViewArray::from_iter_values([[1_u8, 2, 3, 4, 5]]), 3).as_ref(), &BinaryViewArray::from_iter_values([[1_u8, 2, 3]]));
    }

    #[test]
    fn width_zero_is_refused() {
        assert!(truncate(&(Arc::new(Int32Array::from(vec![1])) as ArrayRef), 0).is_err());
    }
}
