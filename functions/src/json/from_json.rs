//! JSON as values of other types: `CAST(json AS type)`.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Decimal128Array, Float32Array, Float64Array, Int64Array, LargeStringArray, ListArray, MapArray, StringArray,
    StringViewArray, StructArray, new_null_array,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::cast;
use arrow::datatypes::{DataType, FieldRef, Fields};
use arrow::util::display::array_value_to_string;
use datafusion::error::{DataFusionError, Result};
use nunatak_core::Code;

use super::error;
use super::number::{decimal_of, whole_of};
use super::text::{Json, parse};
use super::values::shortened;
use super::written::{double_text, is_whole};
use crate::{Call, Scalar, out_of_range};

/// The name of the function that casts of `json` become.
pub const FROM_JSON: &str = "$from_json";

pub(crate) const FUNCTIONS: &[Scalar] =
    &[Scalar::new(FROM_JSON, &["(json, T, boolean) -> T"], from_json, "A JSON value as one of the type of a NULL.").seeing_nulls()];

/// Whether JSON can be cast to a type.
pub fn is_target(data_type: &DataType) -> bool {
    match data_type {
        DataType::Null | DataType::Boolean | DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 => true,
        DataType::Float32 | DataType::Float64 | DataType::Decimal128(..) => true,
        DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8 => true,
        DataType::List(field) => is_target(field.data_type()),
        DataType::Struct(fields) => fields.iter().all(|field| is_target(field.data_type())),
        DataType::Map(entries, _) => matches!(entries.data_type(), DataType::Struct(pair) if pair.iter().all(|field| is_target(field.data_type()))),
        _ => false,
    }
}

fn from_json(call: &Call<'_>) -> Result<ArrayRef> {
    let rows = call.rows();
    let Some(texts) = call.large_text(0)? else { return Ok(new_null_array(call.returns(), rows)) };
    let is_try = rows > 0 && call.boolean(2)?.value(0);
    cast_json(texts, call.returns(), is_try)
}

/// JSON values as ones of another type. `is_try` gives NULL for what has none.
///
/// Errors: `INVALID_CAST_ARGUMENT`, and `TYPE_MISMATCH` for a type that is no [target](is_target).
pub fn cast_json(texts: &LargeStringArray, to: &DataType, is_try: bool) -> Result<ArrayRef> {
    let parsed = texts.iter().map(|text| text.map(|text| parse(text).map_err(|_| not_json(text))).transpose());
    let values = parsed.collect::<Result<Vec<Option<Json>>>>()?;
    let values: Vec<Option<&Json>> = values.iter().map(Option::as_ref).collect();
    match is_try {
        true => Ok(decode_each(&values, to)?.0),
        false => decode(&values, to),
    }
}

fn not_json(text: &str) -> DataFusionError {
    error(Code::InvalidCastArgument, format!("this is no JSON: {}", shortened(text)))
}

/// The values of the type, with NULL for those that have none, and which ones that are.
pub(crate) fn decode_each(values: &[Option<&Json>], to: &DataType) -> Result<(ArrayRef, Vec<bool>)> {
    if let Ok(all) = decode(values, to) {
        return Ok((all, vec![false; values.len()]));
    }
    let failed: Vec<bool> = values.iter().map(|value| decode(&[*value], to).is_err()).collect();
    let valid: Vec<Option<&Json>> = values.iter().zip(&failed).map(|(value, failed)| value.filter(|_| !failed)).collect();
    Ok((decode(&valid, to)?, failed))
}

/// The values of the type. Errors: `INVALID_CAST_ARGUMENT` for one that has none.
pub(crate) fn decode(values: &[Option<&Json>], to: &DataType) -> Result<ArrayRef> {
    Ok(match to {
        DataType::LargeUtf8 => Arc::new(values.iter().map(|value| value.map(Json::written)).collect::<LargeStringArray>()),
        DataType::Boolean => Arc::new(scalars(values, to, boolean)?.into_iter().collect::<BooleanArray>()),
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 => {
            let (least, most) = match to {
                DataType::Int8 => (i64::from(i8::MIN), i64::from(i8::MAX)),
                DataType::Int16 => (i64::from(i16::MIN), i64::from(i16::MAX)),
                DataType::Int32 => (i64::from(i32::MIN), i64::from(i32::MAX)),
                _ => (i64::MIN, i64::MAX),
            };
            let whole = |value: &Json| whole(value).filter(|number| (least..=most).contains(number));
            let numbers: Int64Array = scalars(values, to, whole)?.into_iter().collect();
            cast(&numbers, to)?
        }
        DataType::Float64 => Arc::new(scalars(values, to, double)?.into_iter().collect::<Float64Array>()),
        DataType::Float32 => {
            let real = |value: &Json| double(value).map(|number| number as f32);
            Arc::new(scalars(values, to, real)?.into_iter().collect::<Float32Array>())
        }
        DataType::Decimal128(precision, scale) => {
            let decimal = |value: &Json| decimal(value, *precision, *scale);
            let numbers: Decimal128Array = scalars(values, to, decimal)?.into_iter().collect();
            Arc::new(numbers.with_precision_and_scale(*precision, *scale)?)
        }
        DataType::Utf8View => Arc::new(scalars(values, to, varchar)?.into_iter().collect::<StringViewArray>()),
        DataType::Utf8 => Arc::new(scalars(values, to, varchar)?.into_iter().collect::<StringArray>()),
        DataType::Date32 | DataType::Time64(_) | DataType::Timestamp(..) => {
            let texts = scalars(values, to, varchar)?;
            let wrong = |_| error(Code::InvalidCastArgument, format!("the text is no {to}"));
            let options = arrow::compute::CastOptions { safe: false, ..Default::default() };
            arrow::compute::cast_with_options(&texts.into_iter().collect::<StringArray>(), to, &options).map_err(wrong)?
        }
        DataType::List(element) => lists(values, to, element)?,
        DataType::Map(entries, is_sorted) => maps(values, to, entries, *is_sorted)?,
        DataType::Struct(fields) => rows(values, to, fields)?,
        DataType::Null => new_null_array(to, values.len()),
        other => return Err(error(Code::TypeMismatch, format!("JSON does not become {other}"))),
    })
}

fn mismatch(value: &Json, to: &DataType) -> DataFusionError {
    error(Code::InvalidCastArgument, format!("this JSON value does not become {}: {}", crate::type_name::type_name(to), shortened(&value.written())))
}

/// What is neither NULL nor JSON's null.
fn present(value: Option<&Json>) -> Option<&Json> {
    value.filter(|value| **value != Json::Null)
}

fn scalars<T>(values: &[Option<&Json>], to: &DataType, convert: impl Fn(&Json) -> Option<T>) -> Result<Vec<Option<T>>> {
    let one = |value: &Option<&Json>| present(*value).map(|value| convert(value).ok_or_else(|| mismatch(value, to))).transpose();
    values.iter().map(one).collect()
}

fn boolean(value: &Json) -> Option<bool> {
    match value {
        Json::Boolean(value) => Some(*value),
        // One that no bigint holds is none.
        Json::Number(digits) if is_whole(digits) => Some(digits.parse::<i64>().ok()? != 0),
        Json::Number(digits) => Some(digits.parse::<f64>().ok()? != 0.0),
        Json::Text(text) => match text.to_ascii_lowercase().as_str() {
            "t" | "true" | "1" => Some(true),
            "f" | "false" | "0" => Some(false),
            _ => None,
        },
        _ => None,
    }
}

fn whole(value: &Json) -> Option<i64> {
    match value {
        Json::Boolean(value) => Some(i64::from(*value)),
        Json::Number(digits) if is_whole(digits) => digits.parse().ok(),
        Json::Number(digits) => whole_of(digits.parse().ok()?),
        Json::Text(text) => text.trim().parse().ok(),
        _ => None,
    }
}

fn double(value: &Json) -> Option<f64> {
    match value {
        Json::Boolean(value) => Some(f64::from(u8::from(*value))),
        Json::Number(digits) => digits.parse().ok(),
        Json::Text(text) => double_of(text),
        _ => None,
    }
}

/// A `double` as Java reads it; Rust would take more names of what is no number.
pub(crate) fn double_of(text: &str) -> Option<f64> {
    match text.trim() {
        "NaN" => Some(f64::NAN),
        "Infinity" | "+Infinity" => Some(f64::INFINITY),
        "-Infinity" => Some(f64::NEG_INFINITY),
        text if text.bytes().any(|byte| byte.is_ascii_alphabetic() && !matches!(byte, b'e' | b'E')) => None,
        text => text.parse().ok(),
    }
}

fn decimal(value: &Json, precision: u8, scale: i8) -> Option<i128> {
    match value {
        Json::Boolean(value) => decimal_of(if *value { "1" } else { "0" }, precision, scale),
        Json::Number(text) => decimal_of(text, precision, scale),
        Json::Text(text) => decimal_of(text.trim(), precision, scale),
        _ => None,
    }
}

fn varchar(value: &Json) -> Option<String> {
    match value {
        Json::Text(text) => Some(text.clone()),
        Json::Boolean(value) => Some(value.to_string()),
        Json::Number(digits) if is_whole(digits) => Some(digits.clone()),
        Json::Number(digits) => Some(double_text(digits.parse().ok()?)),
        _ => None,
    }
}

fn offsets(lengths: &[usize]) -> Result<OffsetBuffer<i32>> {
    match i32::try_from(lengths.iter().sum::<usize>()) {
        Ok(_) => Ok(OffsetBuffer::from_lengths(lengths.iter().copied())),
        Err(_) => Err(out_of_range("JSON arrays have more elements than one batch of rows may have")),
    }
}

fn lists(values: &[Option<&Json>], to: &DataType, element: &FieldRef) -> Result<ArrayRef> {
    let (mut elements, mut lengths, mut valid) = (Vec::new(), Vec::with_capacity(values.len()), Vec::with_capacity(values.len()));
    for value in values {
        match present(*value) {
            Some(Json::Array(parts)) => {
                elements.extend(parts.iter().map(Some));
                lengths.push(parts.len());
                valid.push(true);
            }
            Some(other) => return Err(mismatch(other, to)),
            None => {
                lengths.push(0);
                valid.push(false);
            }
        }
    }
    let elements = decode(&elements, element.data_type())?;
    Ok(Arc::new(ListArray::try_new(Arc::clone(element), offsets(&lengths)?, elements, Some(NullBuffer::from(valid)))?))
}

fn maps(values: &[Option<&Json>], to: &DataType, entries: &FieldRef, is_sorted: bool) -> Result<ArrayRef> {
    let DataType::Struct(pair) = entries.data_type() else { return Err(error(Code::TypeMismatch, "a map has no keys")) };
    let [key, value_field] = &pair[..] else { return Err(error(Code::TypeMismatch, "a map has keys and values")) };
    let (mut names, mut members, mut lengths, mut valid) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for value in values {
        match present(*value) {
            Some(Json::Object(parts)) => {
                for (name, part) in parts {
                    names.push(Json::Text(name.clone()));
                    members.push(Some(part));
                }
                lengths.push(parts.len());
                valid.push(true);
            }
            Some(other) => return Err(mismatch(other, to)),
            None => {
                lengths.push(0);
                valid.push(false);
            }
        }
    }
    let keys = decode(&names.iter().map(Some).collect::<Vec<_>>(), key.data_type())?;
    check_keys(&keys, &lengths)?;
    let columns = vec![keys, decode(&members, value_field.data_type())?];
    let pairs = StructArray::try_new_with_length(pair.clone(), columns, None, members.len())?;
    Ok(Arc::new(MapArray::try_new(Arc::clone(entries), offsets(&lengths)?, pairs, Some(NullBuffer::from(valid)), is_sorted)?))
}

/// Names that differ may be keys that do not.
fn check_keys(keys: &ArrayRef, lengths: &[usize]) -> Result<()> {
    let mut start = 0;
    for length in lengths {
        let end = start + length;
        let mut seen = HashSet::with_capacity(*length);
        for key in start..end {
            let text = array_value_to_string(keys, key)?;
            if !seen.insert(text) {
                return Err(error(
                    Code::InvalidCastArgument,
                    format!("a JSON object that becomes a map has the key {} twice", array_value_to_string(keys, key)?),
                ));
            }
        }
        start = end;
    }
    Ok(())
}

fn rows(values: &[Option<&Json>], to: &DataType, fields: &Fields) -> Result<ArrayRef> {
    let mut columns: Vec<Vec<Option<&Json>>> = vec![Vec::with_capacity(values.len()); fields.len()];
    let places: BTreeMap<String, usize> = fields.iter().enumerate().map(|(place, field)| (field.name().to_lowercase(), place)).collect();
    let mut valid = Vec::with_capacity(values.len());
    for value in values {
        let mut row: Vec<Option<&Json>> = vec![None; fields.len()];
        valid.push(true);
        match present(*value) {
            Some(Json::Array(parts)) if parts.len() == fields.len() => row = parts.iter().map(Some).collect(),
            Some(object @ Json::Object(members)) => {
                for (name, part) in members {
                    let place = places.get(name).or_else(|| places.get(&name.to_lowercase()));
                    if let Some(found) = place.and_then(|place| row.get_mut(*place))
                        && found.replace(part).is_some()
                    {
                        return Err(mismatch(object, to));
                    }
                }
            }
            Some(other) => return Err(mismatch(other, to)),
            None => {
                valid.pop();
                valid.push(false);
            }
        }
        columns.iter_mut().zip(row).for_each(|(column, part)| column.push(part));
    }
    let arrays = columns.iter().zip(fields).map(|(column, field)| decode(column, field.data_type())).collect::<Result<Vec<_>>>()?;
    Ok(Arc::new(StructArray::try_new_with_length(fields.clone(), arrays, Some(NullBuffer::from(valid)), values.len())?))
}

#[cfg(test)]
mod tests {
    use arrow::array::{Array, AsArray};
    use arrow::datatypes::{Field, Int64Type};

    use super::*;

    fn decoded(texts: &[Option<&str>], to: &DataType) -> Result<ArrayRef> {
        let values: Vec<Option<Json>> = texts.iter().map(|text| text.map(|text| parse(text).unwrap())).collect();
        decode(&values.iter().map(Option::as_ref).collect::<Vec<_>>(), to)
    }

    #[test]
    fn rows_of_lists_are_decoded_together() {
        let to = DataType::List(Arc::new(Field::new_list_field(DataType::Int64, true)));
        let lists = decoded(&[Some("[1, null]"), None, Some("null"), Some("[]"), Some("[3]")], &to).unwrap();
        let lists = lists.as_list::<i32>();
        assert_eq!((lists.len(), lists.null_count()), (5, 2));
        assert_eq!(lists.value(4).as_primitive::<Int64Type>().values(), &[3]);
        assert_eq!(lists.value(0).null_count(), 1);
        assert!(decoded(&[Some("[1]"), Some("{}")], &to).is_err());
    }

    #[test]
    fn a_value_that_has_none_is_null_alone() {
        let values: Vec<Json> = ["1", "\"x\"", "3"].iter().map(|text| parse(text).unwrap()).collect();
        let (array, failed) = decode_each(&values.iter().map(Some).collect::<Vec<_>>(), &DataType::Int64).unwrap();
        assert_eq!(failed, [false, true, false]);
        assert!(array.is_null(1) && array.is_valid(0) && array.is_valid(2));
    }

    #[test]
    fn fields_are_found_by_name_or_place() {
        let to = DataType::Struct(Fields::from(vec![Field::new("a", DataType::Int64, true), Field::new("b", DataType::Utf8, true)]));
        let found = decoded(&[Some(r#"{"B": "x", "c": 1}"#), Some("[7, \"y\"]"), None], &to).unwrap();
        let found = found.as_struct();
        assert!(found.column(0).is_null(0) && found.is_null(2));
        assert_eq!(found.column(1).as_string::<i32>().value(0), "x");
        assert!(decoded(&[Some("[1]")], &to).is_err());
    }
}
