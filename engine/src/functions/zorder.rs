//! `iceberg_zorder(column, least, most, ...)`: a key by which rows that are alike in several columns at once come to lie together (Morton order: G. M. Morton, "A
//! computer oriented geodetic data base", IBM 1966).
//!
//! Each column has 32 bits in the key, which say where between `least` and `most` a value lies; without them all columns whose values take few of the bits of their
//! type would count for nothing. NULL is less than any value.

use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, AsArray, BinaryBuilder, Float64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use datafusion::common::{ScalarValue, exec_datafusion_err, exec_err};
use datafusion::error::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

/// A column, and what bounds its values.
const ARGUMENTS_PER_COLUMN: usize = 3;

const NAME: &str = "$zorder";

static FUNCTION: LazyLock<Arc<ScalarUDF>> =
    LazyLock::new(|| Arc::new(ScalarUDF::new_from_impl(ZOrder { signature: Signature::variadic_any(Volatility::Immutable) })));

/// The function.
pub fn function() -> Arc<ScalarUDF> {
    Arc::clone(&FUNCTION)
}

/// Whether values of a type have a place in the order.
pub fn takes(data_type: &DataType) -> bool {
    data_type.is_numeric() || data_type.is_temporal() || is_text(data_type) || matches!(data_type, DataType::Boolean)
}

fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct ZOrder {
    signature: Signature,
}

impl ScalarUDFImpl for ZOrder {
    fn name(&self) -> &'static str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::Binary)
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = arguments.number_rows;
        let (columns, []) = arguments.args.as_chunks::<ARGUMENTS_PER_COLUMN>() else {
            return exec_err!("{NAME} takes a column, its least and its most value, for each column");
        };
        let places = columns.iter().map(|[column, least, most]| match (least, most) {
            (ColumnarValue::Scalar(least), ColumnarValue::Scalar(most)) => places(&column.to_array(rows)?, least, most),
            _ => exec_err!("the bounds of {NAME} are constants"),
        });
        let places = places.collect::<Result<Vec<_>>>()?;
        let mut keys = BinaryBuilder::with_capacity(rows, rows * places.len() * size_of::<u32>());
        let mut key = vec![0_u8; places.len() * size_of::<u32>()];
        for row in 0..rows {
            interleave(places.iter().map(|places| places[row]), &mut key);
            keys.append_value(&key);
        }
        Ok(ColumnarValue::Array(Arc::new(keys.finish())))
    }
}

/// Where the values of a column lie between two of them.
fn places(column: &ArrayRef, least: &ScalarValue, most: &ScalarValue) -> Result<Vec<u32>> {
    if is_text(column.data_type()) {
        return text_places(column, least, most);
    }
    let numbers = numbers(column)?;
    let bound = |value: &ScalarValue| Ok::<_, datafusion::error::DataFusionError>(numbers_of(value)?.filter(|bound| bound.is_finite()));
    let least = bound(least)?.unwrap_or(0.0);
    let width = bound(most)?.map_or(0.0, |most| most - least);
    let place = |value: f64| {
        // 0 is for NULL.
        let part = if width > 0.0 { (value - least) / width } else { 0.5 };
        // A float becomes the nearest number there is, NaN becomes 0.
        1 + (part * f64::from(u32::MAX - 1)) as u32
    };
    Ok(numbers.iter().map(|value| value.map_or(0, |value| place(value).max(1))).collect())
}

/// All values as floats, which keep their order but for ties.
fn numbers(column: &ArrayRef) -> Result<Float64Array> {
    let column = match column.data_type() {
        // Temporal values are cast to floats by their numbers only.
        data_type if data_type.is_temporal() => {
            let wide = if data_type.primitive_width() == Some(4) {
                cast(&cast(column, &DataType::Int32)?, &DataType::Int64)?
            } else {
                cast(column, &DataType::Int64)?
            };
            wide.as_primitive::<Int64Type>().unary::<_, Float64Type>(|value| value as f64)
        }
        _ => cast(column, &DataType::Float64)?.as_primitive::<Float64Type>().clone(),
    };
    Ok(column)
}

fn numbers_of(value: &ScalarValue) -> Result<Option<f64>> {
    if value.is_null() {
        return Ok(None);
    }
    let numbers = numbers(&value.to_array()?)?;
    Ok((!numbers.is_null(0)).then(|| numbers.value(0)))
}

/// The bytes of texts behind what all of them begin with.
fn text_places(column: &ArrayRef, least: &ScalarValue, most: &ScalarValue) -> Result<Vec<u32>> {
    let text = |value: &ScalarValue| value.try_as_str().flatten().unwrap_or_default().as_bytes().to_vec();
    let (least, most) = (text(least), text(most));
    let common = least.iter().zip(&most).take_while(|(least, most)| least == most).count();
    let texts = cast(column, &DataType::Utf8)?;
    let texts = texts.as_string_opt::<i32>().ok_or_else(|| exec_datafusion_err!("texts are no texts"))?;
    let place = |text: &str| {
        let mut bytes = [0; size_of::<u32>()];
        match text.as_bytes().get(..common) {
            Some(start) if start == &least[..common] => {
                let rest = &text.as_bytes()[common..];
                let length = rest.len().min(bytes.len());
                bytes[..length].copy_from_slice(&rest[..length]);
            }
            _ if text.as_bytes() > &most[..] => bytes = [u8::MAX; size_of::<u32>()],
            _ => {}
        }
        u32::from_be_bytes(bytes).max(1)
    };
    Ok(texts.iter().map(|text| text.map_or(0, place)).collect())
}

/// The bits of all places, the highest of each first.
fn interleave(places: impl ExactSizeIterator<Item = u32> + Clone, key: &mut [u8]) {
    key.fill(0);
    let count = places.len();
    for bit in 0..u32::BITS as usize {
        for (column, place) in places.clone().enumerate() {
            if place & (1 << (31 - bit)) != 0 {
                let position = bit * count + column;
                key[position / 8] |= 1 << (7 - position % 8);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Date32Array, Int64Array, StringArray};

    use super::*;

    #[test]
    fn bits_come_in_turns() {
        let mut key = [0; 8];
        interleave([0xffff_ffff, 0].into_iter(), &mut key);
        assert_eq!(key, [0xaa; 8]);
    }

    #[test]
    fn places_keep_the_order() {
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![None, Some(-5), Some(0), Some(95)]));
        let found = places(&numbers, &ScalarValue::Int64(Some(-5)), &ScalarValue::Int64(Some(95))).unwrap();
        assert_eq!((found[0], found[1], found[3]), (0, 1, u32::MAX));
        assert!(found.is_sorted() && found[2] > 1);
        let dates: ArrayRef = Arc::new(Date32Array::from(vec![1, 2, 3]));
        assert!(places(&dates, &ScalarValue::Date32(Some(0)), &ScalarValue::Date32(Some(4))).unwrap().is_sorted_by(|one, other| one < other));
        let texts: ArrayRef =
            Arc::new(StringArray::from(vec![None, Some("a"), Some("customer#1"), Some("customer#20"), Some("customer#3"), Some("d")]));
        let (least, most) = (ScalarValue::from("customer#0"), ScalarValue::from("customer#9"));
        assert!(places(&texts, &least, &most).unwrap().is_sorted_by(|one, other| one < other));
        let unknown = places(&numbers, &ScalarValue::Null, &ScalarValue::Null).unwrap();
        assert_eq!((unknown[0], unknown[1]), (0, unknown[3]));
    }
}
