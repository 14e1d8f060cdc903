//! Rows as JSON, each value as Trino writes one of its type.

mod announced;
mod keys;
mod moments;
#[cfg(test)]
mod tests;

use std::fmt::Display;
use std::io::Write;

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, PrimitiveArray, RecordBatch, StringArray, StringArrayType, UInt64Array};
use arrow::datatypes::{
    DataType, Date32Type, Date64Type, Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type, DecimalType, Fields, Float16Type, Float32Type,
    Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, IntervalDayTimeType, IntervalUnit, IntervalYearMonthType, Schema, UInt8Type, UInt16Type,
    UInt32Type,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use nunatak_core::{Code, Error, Result};
use uuid::Uuid;

pub(super) use self::announced::announced;
use self::keys::key;
use self::moments::{SECONDS_PER_DAY, date, durations, elapsed, intervals, months, times_of_day, timestamps};
use super::types::padded_length;

/// Writes the value of a row.
type Writer<'a> = Box<dyn Fn(usize, &mut Vec<u8>) -> Result<()> + 'a>;

/// Adds the rows of a batch, separated by commas. `schema` is what [`announced`] gave; clients that are not `parametric` take milliseconds.
///
/// Errors: `NOT_SUPPORTED` for types, and intervals, that Trino has nothing like; `NUMERIC_VALUE_OUT_OF_RANGE` for times that no calendar has.
pub(super) fn write_rows(batch: &RecordBatch, schema: &Schema, parametric: bool, out: &mut Vec<u8>) -> Result<()> {
    let columns = batch.columns().iter().zip(schema.fields());
    let writers = columns.map(|(column, field)| match (padded_length(field), column.as_string_opt::<i32>()) {
        (Some(length), Some(texts)) => Ok(padded(texts, length)),
        _ => writer(column, field.data_type(), parametric),
    });
    let writers = writers.collect::<Result<Vec<_>>>()?;
    for row in 0..batch.num_rows() {
        if !out.is_empty() {
            out.push(b',');
        }
        out.push(b'[');
        for (at, write) in writers.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            write(row, out)?;
        }
        out.push(b']');
    }
    Ok(())
}

fn writes<'a>(write: impl Fn(usize, &mut Vec<u8>) -> Result<()> + 'a) -> Writer<'a> {
    Box::new(write)
}

/// Writes the values of a column that is told to have a type.
fn writer<'a>(array: &'a ArrayRef, told: &'a DataType, parametric: bool) -> Result<Writer<'a>> {
    let values = values(array, told, parametric)?;
    Ok(writes(move |row, out| {
        if array.is_null(row) {
            out.extend_from_slice(b"null");
            return Ok(());
        }
        values(row, out)
    }))
}

fn values<'a>(array: &'a ArrayRef, told: &'a DataType, parametric: bool) -> Result<Writer<'a>> {
    Ok(match array.data_type() {
        DataType::Null => writes(|_, out| raw(out, "null")),
        DataType::Boolean => {
            let values = array.as_boolean();
            writes(move |row, out| raw(out, values.value(row)))
        }
        DataType::Int8 => numbers::<Int8Type>(array),
        DataType::Int16 => numbers::<Int16Type>(array),
        DataType::Int32 => numbers::<Int32Type>(array),
        DataType::Int64 => numbers::<Int64Type>(array),
        DataType::UInt8 => numbers::<UInt8Type>(array),
        DataType::UInt16 => numbers::<UInt16Type>(array),
        DataType::UInt32 => numbers::<UInt32Type>(array),
        DataType::UInt64 => unsigned(array.as_primitive()),
        DataType::Float16 => {
            let values = array.as_primitive::<Float16Type>();
            writes(move |row, out| float(out, f64::from(values.value(row)), f64::from(values.value(row))))
        }
        DataType::Float32 => {
            let values = array.as_primitive::<Float32Type>();
            writes(move |row, out| float(out, values.value(row), f64::from(values.value(row))))
        }
        DataType::Float64 => {
            let values = array.as_primitive::<Float64Type>();
            writes(move |row, out| float(out, values.value(row), values.value(row)))
        }
        DataType::Decimal32(..) => decimals::<Decimal32Type>(array),
        DataType::Decimal64(..) => decimals::<Decimal64Type>(array),
        DataType::Decimal128(..) => decimals::<Decimal128Type>(array),
        DataType::Decimal256(..) => decimals::<Decimal256Type>(array),
        DataType::Utf8 => texts(array.as_string::<i32>()),
        DataType::LargeUtf8 => texts(array.as_string::<i64>()),
        DataType::Utf8View => texts(array.as_string_view()),
        DataType::FixedSizeBinary(16) => {
            let values = array.as_fixed_size_binary();
            writes(move |row, out| quoted(out, Uuid::from_slice(values.value(row)).unwrap_or_default()))
        }
        DataType::FixedSizeBinary(_) => {
            let values = array.as_fixed_size_binary();
            writes(move |row, out| quoted(out, STANDARD.encode(values.value(row))))
        }
        DataType::Binary => {
            let values = array.as_binary::<i32>();
            writes(move |row, out| quoted(out, STANDARD.encode(values.value(row))))
        }
        DataType::LargeBinary => {
            let values = array.as_binary::<i64>();
            writes(move |row, out| quoted(out, STANDARD.encode(values.value(row))))
        }
        DataType::Date32 => times::<Date32Type>(array, |value, out| quoted(out, date(i128::from(value))?)),
        DataType::Date64 => times::<Date64Type>(array, |value, out| quoted(out, date(i128::from(value / 86_400_000))?)),
        DataType::Time32(unit) | DataType::Time64(unit) => times_of_day(array, *unit, parametric),
        DataType::Timestamp(unit, zone) => timestamps(array, *unit, zone.as_deref(), parametric),
        DataType::Interval(IntervalUnit::YearMonth) => times::<IntervalYearMonthType>(array, |value, out| months(out, i64::from(value))),
        DataType::Interval(IntervalUnit::DayTime) => times::<IntervalDayTimeType>(array, |value, out| {
            elapsed(out, (i128::from(value.days) * SECONDS_PER_DAY * 1_000 + i128::from(value.milliseconds)) * 1_000_000)
        }),
        DataType::Interval(IntervalUnit::MonthDayNano) => intervals(array, told),
        DataType::Duration(unit) => durations(array, *unit),
        DataType::List(_) => {
            let (lists, values) = (array.as_list::<i32>(), element_writer(array.as_list::<i32>().values(), told, parametric)?);
            let offsets = lists.value_offsets();
            elements(move |row| Ok((position(offsets[row])?, position(offsets[row + 1])?)), values)
        }
        DataType::LargeList(_) => {
            let (lists, values) = (array.as_list::<i64>(), element_writer(array.as_list::<i64>().values(), told, parametric)?);
            let offsets = lists.value_offsets();
            elements(move |row| Ok((position(offsets[row])?, position(offsets[row + 1])?)), values)
        }
        DataType::FixedSizeList(_, length) => {
            let (lists, values) = (array.as_fixed_size_list(), element_writer(array.as_fixed_size_list().values(), told, parametric)?);
            let length = position(*length)?;
            elements(move |row| position(lists.value_offset(row)).map(|start| (start, start + length)), values)
        }
        DataType::Struct(_) => {
            let told_fields = fields_of(told).unwrap_or_else(|| array.as_struct().fields());
            let columns = array.as_struct().columns().iter().zip(told_fields);
            let fields = columns.map(|(column, field)| writer(column, field.data_type(), parametric)).collect::<Result<Vec<_>>>()?;
            writes(move |row, out| {
                out.push(b'[');
                for (at, write) in fields.iter().enumerate() {
                    if at > 0 {
                        out.push(b',');
                    }
                    write(row, out)?;
                }
                out.push(b']');
                Ok(())
            })
        }
        DataType::Map(..) => {
            let map = array.as_map();
            let (keys, values) = (map.keys(), map.values());
            let (key_type, value_type) = match fields_of(told).map(|fields| &fields[..]) {
                Some([key, value]) => (key.data_type(), value.data_type()),
                _ => (keys.data_type(), values.data_type()),
            };
            let (keys, values) = (writer(keys, key_type, parametric)?, writer(values, value_type, parametric)?);
            let offsets = map.value_offsets();
            writes(move |row, out| {
                out.push(b'{');
                let (start, end) = (position(offsets[row])?, position(offsets[row + 1])?);
                for entry in start..end {
                    if entry > start {
                        out.push(b',');
                    }
                    key(&keys, entry, out)?;
                    out.push(b':');
                    values(entry, out)?;
                }
                out.push(b'}');
                Ok(())
            })
        }
        other => return Err(Error::not_supported(format!("values of type {other} cannot be sent by this protocol")).with_hint("cast them")),
    })
}

/// Of the values of lists, whose type is told as the type of the list.
fn element_writer<'a>(values: &'a ArrayRef, told: &'a DataType, parametric: bool) -> Result<Writer<'a>> {
    let element = match told {
        DataType::List(field) | DataType::LargeList(field) | DataType::FixedSizeList(field, _) => field.data_type(),
        _ => values.data_type(),
    };
    writer(values, element, parametric)
}

/// The fields of a row, or of the entries of a map.
fn fields_of(told: &DataType) -> Option<&Fields> {
    match told {
        DataType::Struct(fields) => Some(fields),
        DataType::Map(entries, _) => fields_of(entries.data_type()),
        _ => None,
    }
}

fn elements<'a>(range: impl Fn(usize) -> Result<(usize, usize)> + 'a, values: Writer<'a>) -> Writer<'a> {
    writes(move |row, out| {
        let (start, end) = range(row)?;
        out.push(b'[');
        for at in start..end {
            if at > start {
                out.push(b',');
            }
            values(at, out)?;
        }
        out.push(b']');
        Ok(())
    })
}

fn position(offset: impl TryInto<usize>) -> Result<usize> {
    offset.try_into().map_err(|_| Error::internal("a list has an offset below zero"))
}

/// Adds a value that stands in JSON as it is shown.
fn raw(out: &mut Vec<u8>, value: impl Display) -> Result<()> {
    write!(out, "{value}").map_err(|error| Error::internal(error.to_string()))
}

/// Adds what needs no escapes, as a text.
fn quoted(out: &mut Vec<u8>, value: impl Display) -> Result<()> {
    raw(out, format_args!("\"{value}\""))
}

/// Adds a text.
fn text(out: &mut Vec<u8>, value: &str) {
    out.push(b'"');
    let mut from = 0;
    for (at, byte) in value.bytes().enumerate() {
        let escape: &[u8] = match byte {
            b'"' => b"\\\"",
            b'\\' => b"\\\\",
            b'\n' => b"\\n",
            b'\r' => b"\\r",
            b'\t' => b"\\t",
            0..0x20 => b"",
            _ => continue,
        };
        out.extend_from_slice(&value.as_bytes()[from..at]);
        if escape.is_empty() {
            out.extend_from_slice(format!("\\u{byte:04x}").as_bytes());
        } else {
            out.extend_from_slice(escape);
        }
        from = at + 1;
    }
    out.extend_from_slice(&value.as_bytes()[from..]);
    out.push(b'"');
}

fn texts<'a>(values: impl StringArrayType<'a> + 'a) -> Writer<'a> {
    writes(move |row, out| {
        text(out, values.value(row));
        Ok(())
    })
}

/// Texts of a `char(n)`, which have blanks at their end.
fn padded(values: &StringArray, length: usize) -> Writer<'_> {
    writes(move |row, out| {
        if values.is_null(row) {
            return raw(out, "null");
        }
        text(out, &format!("{:<length$}", values.value(row)));
        Ok(())
    })
}

fn numbers<T: ArrowPrimitiveType<Native: Display>>(array: &ArrayRef) -> Writer<'_> {
    let values = array.as_primitive::<T>();
    writes(move |row, out| raw(out, values.value(row)))
}

/// They are told to be of type bigint.
fn unsigned(values: &UInt64Array) -> Writer<'_> {
    writes(move |row, out| {
        let value = values.value(row);
        let fits = i64::try_from(value);
        raw(out, fits.map_err(|_| Error::new(Code::NumericValueOutOfRange, format!("{value} is too large for type bigint")))?)
    })
}

/// A number with as few digits as tell it from others of its own width; what is none in JSON is a text.
fn float(out: &mut Vec<u8>, shortest: impl std::fmt::Debug, value: f64) -> Result<()> {
    if value.is_finite() {
        return raw(out, format_args!("{shortest:?}"));
    }
    raw(
        out,
        if value.is_nan() {
            "\"NaN\""
        } else if value > 0.0 {
            "\"Infinity\""
        } else {
            "\"-Infinity\""
        },
    )
}

fn decimals<T: DecimalType>(array: &ArrayRef) -> Writer<'_> {
    let values = array.as_primitive::<T>();
    writes(move |row, out| quoted(out, values.value_as_string(row)))
}

fn times<'a, T: ArrowPrimitiveType>(array: &'a ArrayRef, write: impl Fn(T::Native, &mut Vec<u8>) -> Result<()> + 'a) -> Writer<'a> {
    let values: &PrimitiveArray<T> = array.as_primitive();
    writes(move |row, out| write(values.value(row), out))
}
