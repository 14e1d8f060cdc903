//! Values of other types as JSON: `CAST(x AS json)`.

use std::fmt::Write;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Date32Array, Decimal128Array, FixedSizeBinaryArray, Float32Array, Float64Array, Int64Array,
    LargeStringArray, ListArray, MapArray, StringArray, StringViewArray, StructArray, Time64NanosecondArray, TimestampMicrosecondArray,
    TimestampNanosecondArray,
};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Field, Float32Type, Float64Type, Int64Type, Time64NanosecondType, TimeUnit, TimestampMicrosecondType,
    TimestampNanosecondType,
};
use arrow::temporal_conversions::{date32_to_datetime, time64ns_to_time, timestamp_ns_to_datetime, timestamp_us_to_datetime};
use datafusion::error::Result;
use nunatak_core::Code;

use super::error;
use super::written::{compare_names, java_text, not_finite, write_double, write_text};
use crate::{Call, Scalar};

/// The name of the function that casts to `json` become.
pub const TO_JSON: &str = "$to_json";

pub(crate) const FUNCTIONS: &[Scalar] = &[Scalar::new(TO_JSON, &["(any) -> json"], to_json, "A value as JSON.")];

/// Whether values of a type can be cast to `json`.
pub fn is_source(data_type: &DataType) -> bool {
    match data_type {
        DataType::Null | DataType::Boolean | DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 => true,
        DataType::Float32 | DataType::Float64 | DataType::Decimal128(..) | DataType::Date32 | DataType::Timestamp(_, None) => true,
        DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8 => true,
        DataType::List(field) | DataType::LargeList(field) | DataType::FixedSizeList(field, _) => is_source(field.data_type()),
        DataType::Dictionary(_, value) => is_source(value),
        DataType::Struct(fields) => fields.iter().all(|field| is_source(field.data_type())),
        DataType::Map(entries, _) => {
            matches!(entries.data_type(), DataType::Struct(pair) if pair.get(1).is_some_and(|value| is_source(value.data_type())))
        }
        _ => false,
    }
}

/// Values as JSON; NULL stays NULL.
///
/// Errors: `TYPE_MISMATCH` for values of a type that is no [source](is_source), `INVALID_CAST_ARGUMENT` for keys that are no names.
pub fn cast_to_json(values: &ArrayRef) -> Result<LargeStringArray> {
    let encoder = Encoder::of(values)?;
    let written = |row| {
        let mut out = String::new();
        encoder.write(row, &mut out);
        out
    };
    Ok((0..values.len()).map(|row| (!encoder.is_null(row)).then(|| written(row))).collect())
}

fn to_json(call: &Call<'_>) -> Result<ArrayRef> {
    Ok(Arc::new(cast_to_json(call.argument(0)?)?))
}

/// What writes the values of an array as JSON.
pub(crate) enum Encoder {
    Null,
    Boolean(BooleanArray),
    Whole(Int64Array),
    Real(Float32Array),
    Double(Float64Array),
    Decimal(Decimal128Array),
    Text(StringArray),
    View(StringViewArray),
    Json(LargeStringArray),
    Date(Date32Array),
    Time(Time64NanosecondArray),
    Timestamp(TimestampMicrosecondArray),
    /// Of nanoseconds, which reach less far.
    Nanos(TimestampNanosecondArray),
    Uuid(FixedSizeBinaryArray),
    List(ListArray, Box<Encoder>),
    Map(MapArray, Box<Encoder>, Box<Encoder>),
    Row(StructArray, Vec<(String, Encoder)>),
}

impl Encoder {
    /// Errors: `TYPE_MISMATCH` for types that are never JSON, `INVALID_CAST_ARGUMENT` for keys that are no names.
    pub(crate) fn of(array: &ArrayRef) -> Result<Self> {
        Ok(match array.data_type() {
            DataType::Null => Self::Null,
            DataType::Boolean => Self::Boolean(array.as_boolean().clone()),
            DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 => {
                Self::Whole(cast(array, &DataType::Int64)?.as_primitive::<Int64Type>().clone())
            }
            DataType::Float32 => Self::Real(array.as_primitive::<Float32Type>().clone()),
            DataType::Float64 => Self::Double(array.as_primitive::<Float64Type>().clone()),
            DataType::Decimal128(..) => Self::Decimal(array.as_primitive::<Decimal128Type>().clone()),
            DataType::Utf8 => Self::Text(array.as_string::<i32>().clone()),
            DataType::Utf8View => Self::View(array.as_string_view().clone()),
            DataType::LargeUtf8 => Self::Json(array.as_string::<i64>().clone()),
            DataType::Date32 => Self::Date(array.as_primitive::<Date32Type>().clone()),
            DataType::Time32(_) | DataType::Time64(_) => {
                let nanos = cast(array, &DataType::Time64(TimeUnit::Nanosecond))?;
                Self::Time(nanos.as_primitive::<Time64NanosecondType>().clone())
            }
            DataType::Timestamp(TimeUnit::Nanosecond, None) => Self::Nanos(array.as_primitive::<TimestampNanosecondType>().clone()),
            DataType::Timestamp(_, None) => {
                let micros = cast(array, &DataType::Timestamp(TimeUnit::Microsecond, None))?;
                Self::Timestamp(micros.as_primitive::<TimestampMicrosecondType>().clone())
            }
            DataType::FixedSizeBinary(16) => Self::Uuid(array.as_fixed_size_binary().clone()),
            DataType::List(_) => {
                let list = array.as_list::<i32>();
                Self::List(list.clone(), Box::new(Self::of(list.values())?))
            }
            DataType::LargeList(field) | DataType::FixedSizeList(field, _) => Self::of(&cast(array, &DataType::List(Arc::clone(field)))?)?,
            DataType::Dictionary(_, value) => Self::of(&cast(array, value)?)?,
            DataType::Map(..) => {
                let map = array.as_map();
                if !matches!(
                    map.key_type(),
                    DataType::Boolean
                        | DataType::Int8
                        | DataType::Int16
                        | DataType::Int32
                        | DataType::Int64
                        | DataType::Float32
                        | DataType::Float64
                        | DataType::Decimal128(..)
                        | DataType::Utf8
                        | DataType::Utf8View
                        | DataType::Null
                ) {
                    return Err(error(Code::InvalidCastArgument, "the keys of a map that becomes JSON are text, numbers or booleans"));
                }
                Self::Map(map.clone(), Box::new(Self::of(map.keys())?), Box::new(Self::of(map.values())?))
            }
            DataType::Struct(fields) => {
                let row = array.as_struct();
                let is_unnamed = fields.iter().enumerate().all(|(place, field)| *field.name() == format!("c{place}"));
                let name = |field: &Field| if is_unnamed { String::new() } else { field.name().clone() };
                let columns = fields.iter().zip(row.columns()).map(|(field, column)| Ok((name(field.as_ref()), Self::of(column)?)));
                Self::Row(row.clone(), columns.collect::<Result<_>>()?)
            }
            other => return Err(error(Code::TypeMismatch, format!("values of type {other} do not become JSON"))),
        })
    }

    pub(crate) fn is_null(&self, row: usize) -> bool {
        match self {
            Self::Null => true,
            Self::Boolean(values) => values.is_null(row),
            Self::Whole(values) => values.is_null(row),
            Self::Real(values) => values.is_null(row),
            Self::Double(values) => values.is_null(row),
            Self::Decimal(values) => values.is_null(row),
            Self::Text(values) => values.is_null(row),
            Self::View(values) => values.is_null(row),
            Self::Json(values) => values.is_null(row),
            Self::Date(values) => values.is_null(row),
            Self::Time(values) => values.is_null(row),
            Self::Timestamp(values) => values.is_null(row),
            Self::Nanos(values) => values.is_null(row),
            Self::Uuid(values) => values.is_null(row),
            Self::List(values, _) => values.is_null(row),
            Self::Map(values, ..) => values.is_null(row),
            Self::Row(values, _) => values.is_null(row),
        }
    }

    /// Writes the value of a row.
    pub(crate) fn write(&self, row: usize, out: &mut String) {
        if self.is_null(row) {
            return out.push_str("null");
        }
        match self {
            Self::Null => {}
            Self::Boolean(values) => out.push_str(if values.value(row) { "true" } else { "false" }),
            Self::Whole(values) => write(out, values.value(row)),
            Self::Real(values) => {
                let value = values.value(row);
                if value.is_finite() {
                    out.push_str(&java_text(&format!("{value:e}")));
                } else {
                    write_text(not_finite(f64::from(value)), out);
                }
            }
            Self::Double(values) => write_double(values.value(row), out),
            Self::Decimal(values) => out.push_str(&values.value_as_string(row)),
            Self::Text(values) => write_text(values.value(row), out),
            Self::View(values) => write_text(values.value(row), out),
            Self::Json(values) => out.push_str(values.value(row)),
            Self::Date(values) => write_moment(date32_to_datetime(values.value(row)).map(|moment| moment.date()), out),
            Self::Time(values) => write_moment(time64ns_to_time(values.value(row)), out),
            Self::Timestamp(values) => write_moment(timestamp_us_to_datetime(values.value(row)), out),
            Self::Nanos(values) => write_moment(timestamp_ns_to_datetime(values.value(row)), out),
            Self::Uuid(values) => write_text(&uuid_text(values.value(row)), out),
            Self::List(list, elements) => {
                let part = part_of(list.value_offsets(), row);
                out.push('[');
                for element in part.clone() {
                    if element > part.start {
                        out.push(',');
                    }
                    elements.write(element, out);
                }
                out.push(']');
            }
            Self::Map(map, keys, values) => {
                let mut members: Vec<(String, usize)> = part_of(map.value_offsets(), row).map(|entry| (keys.name(entry), entry)).collect();
                members.sort_by(|left, right| compare_names(&left.0, &right.0));
                write_members(members.iter().map(|(name, entry)| (name.as_str(), values.as_ref(), *entry)), out);
            }
            Self::Row(_, columns) => write_members(columns.iter().map(|(name, column)| (name.as_str(), column, row)), out),
        }
    }

    /// A key as the name of a member.
    pub(crate) fn name(&self, row: usize) -> String {
        match self {
            Self::Text(values) if values.is_valid(row) => values.value(row).to_owned(),
            Self::View(values) if values.is_valid(row) => values.value(row).to_owned(),
            keys => {
                let mut name = String::new();
                keys.write(row, &mut name);
                name.trim_matches('"').to_owned()
            }
        }
    }
}

fn write(out: &mut String, value: impl std::fmt::Display) {
    // Text never refuses to be written to.
    let _ = write!(out, "{value}");
}

/// Writes a moment in quotes, or null for one that is too far away to be written.
fn write_moment(moment: Option<impl std::fmt::Display>, out: &mut String) {
    match moment {
        Some(moment) => write_text(&moment.to_string(), out),
        None => out.push_str("null"),
    }
}

fn part_of(offsets: &[i32], row: usize) -> std::ops::Range<usize> {
    let at = |index: usize| offsets.get(index).map_or(0, |offset| usize::try_from(*offset).unwrap_or(0));
    at(row)..at(row + 1)
}

fn write_members<'a>(members: impl Iterator<Item = (&'a str, &'a Encoder, usize)>, out: &mut String) {
    out.push('{');
    for (place, (name, values, row)) in members.enumerate() {
        if place > 0 {
            out.push(',');
        }
        write_text(name, out);
        out.push(':');
        values.write(row, out);
    }
    out.push('}');
}

/// A UUID as text.
pub(crate) fn uuid_text(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(36);
    for (place, byte) in bytes.iter().enumerate() {
        if matches!(place, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        write(&mut text, format_args!("{byte:02x}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use arrow::array::NullArray;
    use arrow::datatypes::Int32Type;

    use super::*;

    fn written(array: ArrayRef) -> Vec<String> {
        let encoder = Encoder::of(&array).unwrap();
        let one = |row| {
            let mut out = String::new();
            encoder.write(row, &mut out);
            out
        };
        (0..array.len()).map(one).collect()
    }

    #[test]
    fn parts_of_arrays_are_written() {
        let lists = ListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(1), None]), None, Some(vec![]), Some(vec![Some(7)])]);
        assert_eq!(written(Arc::new(lists.slice(1, 3))), ["null", "[]", "[7]"]);
        assert_eq!(written(Arc::new(NullArray::new(2))), ["null", "null"]);
        assert_eq!(written(Arc::new(TimestampNanosecondArray::from(vec![Some(1), None]))), ["\"1970-01-01 00:00:00.000000001\"", "null"]);
        assert_eq!(
            cast_to_json(&(Arc::new(Int64Array::from(vec![Some(1), None])) as ArrayRef)).unwrap().iter().collect::<Vec<_>>(),
            [Some("1"), None]
        );
        assert_eq!(written(Arc::new(StringArray::from(vec![Some("a\"b"), None]))), ["\"a\\\"b\"", "null"]);
    }

    #[test]
    fn rows_have_the_names_of_their_fields() {
        let column: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None]));
        let named = StructArray::from(vec![(Arc::new(Field::new("x", DataType::Int64, true)), Arc::clone(&column))]);
        assert_eq!(written(Arc::new(named)), [r#"{"x":1}"#, r#"{"x":null}"#]);
        let unnamed = StructArray::from(vec![(Arc::new(Field::new("c0", DataType::Int64, true)), column)]);
        assert_eq!(written(Arc::new(unnamed)), [r#"{"":1}"#, r#"{"":null}"#]);
    }
}
