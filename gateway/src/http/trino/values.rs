//! Rows as JSON, each value as Trino writes one of its type.

use std::borrow::Cow;
use std::fmt::Display;
use std::io::Write;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, PrimitiveArray, RecordBatch, StringArray, StringArrayType, UInt64Array};
use arrow::datatypes::{
    DataType, Date32Type, Date64Type, Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type, DecimalType, DurationMicrosecondType,
    DurationMillisecondType, DurationNanosecondType, DurationSecondType, FieldRef, Fields, Float16Type, Float32Type, Float64Type, Int8Type,
    Int16Type, Int32Type, Int64Type, IntervalDayTimeType, IntervalMonthDayNanoType, IntervalUnit, IntervalYearMonthType, Schema,
    Time32MillisecondType, Time32SecondType, Time64MicrosecondType, Time64NanosecondType, TimeUnit, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type, UInt32Type,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{Duration, NaiveDate};
use nunatak_coordinator::query::Zone;
use nunatak_core::{Code, Error, Result};
use uuid::Uuid;

use super::types::{PLAIN_DIGITS, digits, padded_length};

/// Writes the value of a row.
type Writer<'a> = Box<dyn Fn(usize, &mut Vec<u8>) -> Result<()> + 'a>;

const NANOS_PER_SECOND: i128 = 1_000_000_000;
const SECONDS_PER_DAY: i128 = 86_400;

/// The columns as clients are told of them. Intervals of months, days and seconds are of the one kind or the other in Trino, also within lists, maps and rows: the first
/// one that is not zero tells which.
pub(super) fn announced(schema: &Schema, first: Option<&RecordBatch>) -> Schema {
    let column = |(at, field): (usize, &FieldRef)| match first {
        Some(batch) => told_field(field, batch.column(at)),
        None => Arc::clone(field),
    };
    Schema::new(schema.fields().iter().enumerate().map(column).collect::<Vec<_>>())
}

fn told_field(field: &FieldRef, values: &ArrayRef) -> FieldRef {
    let told = told_type(field.data_type(), values);
    if told == *field.data_type() { Arc::clone(field) } else { Arc::new(field.as_ref().clone().with_data_type(told)) }
}

/// What values of a type are told to be.
fn told_type(data_type: &DataType, values: &ArrayRef) -> DataType {
    match (data_type, values.data_type()) {
        (DataType::Interval(IntervalUnit::MonthDayNano), DataType::Interval(IntervalUnit::MonthDayNano)) => {
            let intervals = values.as_primitive::<IntervalMonthDayNanoType>();
            let telling = intervals.iter().flatten().find(|value| (value.months, value.days, value.nanoseconds) != (0, 0, 0));
            let has_months = telling.is_some_and(|value| value.months != 0);
            DataType::Interval(if has_months { IntervalUnit::YearMonth } else { IntervalUnit::DayTime })
        }
        (DataType::List(element), DataType::List(_)) => DataType::List(told_field(element, values.as_list::<i32>().values())),
        (DataType::LargeList(element), DataType::LargeList(_)) => DataType::LargeList(told_field(element, values.as_list::<i64>().values())),
        (DataType::FixedSizeList(element, length), DataType::FixedSizeList(..)) => {
            DataType::FixedSizeList(told_field(element, values.as_fixed_size_list().values()), *length)
        }
        (DataType::Struct(fields), DataType::Struct(_)) => {
            let columns = values.as_struct().columns();
            DataType::Struct(fields.iter().zip(columns).map(|(field, column)| told_field(field, column)).collect())
        }
        (DataType::Map(entries, is_sorted), DataType::Map(..)) => {
            let pairs: ArrayRef = Arc::new(values.as_map().entries().clone());
            DataType::Map(told_field(entries, &pairs), *is_sorted)
        }
        _ => data_type.clone(),
    }
}

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

/// A key of a map is a text in JSON, whatever its type.
fn key(keys: &Writer<'_>, entry: usize, out: &mut Vec<u8>) -> Result<()> {
    let start = out.len();
    keys(entry, out)?;
    if out.get(start) != Some(&b'"') {
        let written = String::from_utf8_lossy(&out.split_off(start)).into_owned();
        text(out, &as_java_shows(&written));
    }
    Ok(())
}

/// What is written in JSON as Java shows it, which Trino makes keys of: `["a",1]` as `[a, 1]`, and `{"k":1e10}` as `{k=1.0E10}`.
fn as_java_shows(json: &str) -> String {
    let mut shown = String::with_capacity(json.len());
    let (mut rest, mut is_text) = (json, false);
    while let Some(character) = rest.chars().next() {
        if !is_text && (character.is_ascii_digit() || character == '-') {
            let length = rest.bytes().take_while(|byte| byte.is_ascii_digit() || b"+-.eE".contains(byte)).count();
            let (number, behind) = rest.split_at(length);
            shown.push_str(&number_of_java(number));
            rest = behind;
            continue;
        }
        let mut behind = rest.chars();
        behind.next();
        match character {
            '"' => is_text = !is_text,
            '\\' => shown.extend(escaped(&mut behind)),
            ',' if !is_text => shown.push_str(", "),
            ':' if !is_text => shown.push('='),
            character => shown.push(character),
        }
        rest = behind.as_str();
    }
    shown
}

/// A number with an exponent where Java writes one.
fn number_of_java(text: &str) -> Cow<'_, str> {
    let is_float = text.contains(['.', 'e', 'E']);
    let Some(value) = text.parse::<f64>().ok().filter(|_| is_float) else { return Cow::Borrowed(text) };
    if value == 0.0 || (1e-3..1e7).contains(&value.abs()) {
        return Cow::Owned(format!("{value:?}"));
    }
    let scientific = format!("{value:E}");
    Cow::Owned(match scientific.split_once('E') {
        Some((mantissa, exponent)) if !mantissa.contains('.') => format!("{mantissa}.0E{exponent}"),
        _ => scientific,
    })
}

/// The character that [`text`] has written behind a backslash.
fn escaped(characters: &mut std::str::Chars<'_>) -> Option<char> {
    match characters.next()? {
        'n' => Some('\n'),
        'r' => Some('\r'),
        't' => Some('\t'),
        'u' => {
            let digits: String = characters.by_ref().take(4).collect();
            u32::from_str_radix(&digits, 16).ok().and_then(char::from_u32)
        }
        other => Some(other),
    }
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

fn out_of_range() -> Error {
    Error::new(Code::NumericValueOutOfRange, "a date or time is beyond what calendars have")
}

/// A date by its days since 1970.
fn date(days: i128) -> Result<NaiveDate> {
    let days = i64::try_from(days).ok().and_then(Duration::try_days).ok_or_else(out_of_range)?;
    NaiveDate::default().checked_add_signed(days).ok_or_else(out_of_range)
}

/// What counts in `unit`, as nanoseconds; to the nearest millisecond for clients that know no more digits.
fn to_nanos(value: i64, unit: TimeUnit, parametric: bool) -> i128 {
    let nanos = i128::from(value) * (NANOS_PER_SECOND / 10_i128.pow(digits(unit)));
    let millisecond = NANOS_PER_SECOND / 10_i128.pow(PLAIN_DIGITS);
    if parametric { nanos } else { (nanos + millisecond / 2).div_euclid(millisecond) * millisecond }
}

/// A time of day, with digits of a second.
fn clock(nanos_of_day: i128, digits: u32) -> String {
    let (seconds, nanos) = (nanos_of_day / NANOS_PER_SECOND, nanos_of_day % NANOS_PER_SECOND);
    let whole = format!("{:02}:{:02}:{:02}", seconds / 3_600, seconds / 60 % 60, seconds % 60);
    match digits {
        0 => whole,
        digits => format!("{whole}.{:0width$}", nanos / 10_i128.pow(9 - digits), width = digits as usize),
    }
}

fn shown_digits(unit: TimeUnit, parametric: bool) -> u32 {
    if parametric { digits(unit) } else { PLAIN_DIGITS }
}

fn times_of_day(array: &ArrayRef, unit: TimeUnit, parametric: bool) -> Writer<'_> {
    let shown = shown_digits(unit, parametric);
    let write = move |value: i64, out: &mut Vec<u8>| -> Result<()> {
        let day = SECONDS_PER_DAY * NANOS_PER_SECOND;
        quoted(out, clock(to_nanos(value, unit, parametric).rem_euclid(day), shown))
    };
    match unit {
        TimeUnit::Second => times::<Time32SecondType>(array, move |value, out| write(i64::from(value), out)),
        TimeUnit::Millisecond => times::<Time32MillisecondType>(array, move |value, out| write(i64::from(value), out)),
        TimeUnit::Microsecond => times::<Time64MicrosecondType>(array, write),
        TimeUnit::Nanosecond => times::<Time64NanosecondType>(array, write),
    }
}

fn timestamps<'a>(array: &'a ArrayRef, unit: TimeUnit, zone: Option<&'a str>, parametric: bool) -> Writer<'a> {
    let shown = shown_digits(unit, parametric);
    // A zone whose offsets are not known here is shown as the same moment in UTC.
    let zone = zone.map(|zone| Zone::parse(zone).unwrap_or_default());
    let name = zone.map(|zone| format!(" {}", zone.name())).unwrap_or_default();
    let write = move |value: i64, out: &mut Vec<u8>| -> Result<()> {
        let mut nanos = to_nanos(value, unit, parametric);
        if let Some(zone) = zone {
            nanos += offset_seconds(nanos, zone)? * NANOS_PER_SECOND;
        }
        let day = SECONDS_PER_DAY * NANOS_PER_SECOND;
        let (date, clock) = (date(nanos.div_euclid(day))?, clock(nanos.rem_euclid(day), shown));
        quoted(out, format_args!("{date} {clock}{name}"))
    };
    match unit {
        TimeUnit::Second => times::<TimestampSecondType>(array, write),
        TimeUnit::Millisecond => times::<TimestampMillisecondType>(array, write),
        TimeUnit::Microsecond => times::<TimestampMicrosecondType>(array, write),
        TimeUnit::Nanosecond => times::<TimestampNanosecondType>(array, write),
    }
}

/// How far a zone is before UTC at a moment.
fn offset_seconds(nanos: i128, zone: Zone) -> Result<i128> {
    let micros = i64::try_from(nanos.div_euclid(1_000)).map_err(|_| out_of_range())?;
    zone.offset_seconds(micros).map(i128::from).map_err(|_| out_of_range())
}

fn months(out: &mut Vec<u8>, months: i64) -> Result<()> {
    let sign = if months < 0 { "-" } else { "" };
    let months = months.unsigned_abs();
    quoted(out, format_args!("{sign}{}-{}", months / 12, months % 12))
}

/// An interval of days and seconds, which has milliseconds in Trino.
fn elapsed(out: &mut Vec<u8>, nanos: i128) -> Result<()> {
    let sign = if nanos < 0 { "-" } else { "" };
    let nanos = nanos.abs();
    let day = SECONDS_PER_DAY * NANOS_PER_SECOND;
    quoted(out, format_args!("{sign}{} {}", nanos / day, clock(nanos % day, PLAIN_DIGITS)))
}

fn intervals<'a>(array: &'a ArrayRef, told: &'a DataType) -> Writer<'a> {
    let of_months = matches!(told, DataType::Interval(IntervalUnit::YearMonth));
    times::<IntervalMonthDayNanoType>(array, move |value, out| match (of_months, value.months, value.days, value.nanoseconds) {
        (true, value, 0, 0) => months(out, i64::from(value)),
        (false, 0, days, nanos) => elapsed(out, i128::from(days) * SECONDS_PER_DAY * NANOS_PER_SECOND + i128::from(nanos)),
        _ => Err(Error::not_supported("intervals of months, and of days or seconds, in one column cannot be sent by this protocol")),
    })
}

fn durations(array: &ArrayRef, unit: TimeUnit) -> Writer<'_> {
    let write = move |value: i64, out: &mut Vec<u8>| -> Result<()> { elapsed(out, to_nanos(value, unit, true)) };
    match unit {
        TimeUnit::Second => times::<DurationSecondType>(array, write),
        TimeUnit::Millisecond => times::<DurationMillisecondType>(array, write),
        TimeUnit::Microsecond => times::<DurationMicrosecondType>(array, write),
        TimeUnit::Nanosecond => times::<DurationNanosecondType>(array, write),
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{
        BinaryArray, Date32Array, Decimal128Array, FixedSizeBinaryArray, Float32Array, Float64Array, Int32Array, Int64Array, Int64Builder,
        IntervalMonthDayNanoArray, ListArray, MapArray, MapBuilder, NullArray, StructArray, Time64MicrosecondArray, TimestampMicrosecondArray,
    };
    use arrow::buffer::OffsetBuffer;
    use arrow::datatypes::{Field, IntervalMonthDayNano};
    use nunatak_coordinator::query::TYPE_MARK;

    use super::*;

    fn written(column: ArrayRef, parametric: bool) -> String {
        let batch = RecordBatch::try_from_iter_with_nullable([("c", column, true)]).unwrap();
        let schema = announced(&batch.schema(), Some(&batch));
        let mut out = Vec::new();
        write_rows(&batch, &schema, parametric, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn json(column: impl Array + 'static) -> String {
        written(Arc::new(column), true)
    }

    /// The texts are those of Trino 476.
    #[test]
    fn values_are_written_as_trino_writes_them() {
        assert_eq!(json(Int64Array::from(vec![Some(9_007_199_254_740_993), None])), "[9007199254740993],[null]");
        assert_eq!(
            json(Float64Array::from(vec![1.5, 1.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY])),
            r#"[1.5],[1.0],["NaN"],["Infinity"],["-Infinity"]"#
        );
        assert_eq!(json(Float32Array::from(vec![0.1])), "[0.1]");
        let decimals = Decimal128Array::from(vec![125, -5]).with_precision_and_scale(3, 2).unwrap();
        assert_eq!(json(decimals), r#"["1.25"],["-0.05"]"#);
        assert_eq!(json(StringArray::from(vec!["a\"b\\\n\u{1}ü"])), r#"["a\"b\\\n\u0001ü"]"#);
        assert_eq!(json(BinaryArray::from(vec![&[0_u8, 255][..]])), r#"["AP8="]"#);
        let uuid = Uuid::parse_str("12151fd2-7586-11e9-8f9e-2a86e4085a59").unwrap();
        assert_eq!(json(FixedSizeBinaryArray::try_from_iter([uuid.as_bytes()].into_iter()).unwrap()), format!("[\"{uuid}\"]"));
        assert_eq!(json(Date32Array::from(vec![19_782, -719_893])), r#"["2024-02-29"],["-0001-01-01"]"#);
        assert_eq!(json(Time64MicrosecondArray::from(vec![3_723_123_456])), r#"["01:02:03.123456"]"#);
        assert_eq!(json(NullArray::new(1)), "[null]");
    }

    #[test]
    fn timestamps_have_the_digits_that_the_client_takes() {
        let at = vec![1_704_070_923_123_456, -1];
        let plain = TimestampMicrosecondArray::from(at.clone());
        assert_eq!(json(plain.clone()), r#"["2024-01-01 01:02:03.123456"],["1969-12-31 23:59:59.999999"]"#);
        assert_eq!(written(Arc::new(plain), false), r#"["2024-01-01 01:02:03.123"],["1970-01-01 00:00:00.000"]"#);
        assert_eq!(
            json(TimestampMicrosecondArray::from(at.clone()).with_timezone("UTC")),
            r#"["2024-01-01 01:02:03.123456 UTC"],["1969-12-31 23:59:59.999999 UTC"]"#
        );
        let zoned = TimestampMicrosecondArray::from(at[..1].to_vec()).with_timezone("+02:00");
        assert_eq!(json(zoned), r#"["2024-01-01 03:02:03.123456 +02:00"]"#);
        let named = TimestampMicrosecondArray::from(at[..1].to_vec()).with_timezone("Asia/Kolkata");
        assert_eq!(json(named), r#"["2024-01-01 06:32:03.123456 Asia/Kolkata"]"#);
    }

    #[test]
    fn texts_of_a_length_have_blanks_at_their_end() {
        let field = Field::new("c", DataType::Utf8, true).with_metadata([(TYPE_MARK.to_owned(), "char(3)".to_owned())].into());
        let texts: ArrayRef = Arc::new(StringArray::from(vec![Some("ü"), None, Some("abc")]));
        let batch = RecordBatch::try_new(Arc::new(Schema::new(vec![field])), vec![texts]).unwrap();
        let mut out = Vec::new();
        write_rows(&batch, &announced(&batch.schema(), Some(&batch)), true, &mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), r#"["ü  "],[null],["abc"]"#);
    }

    #[test]
    fn intervals_are_of_months_or_of_days() {
        let value = IntervalMonthDayNano::new;
        assert_eq!(json(IntervalMonthDayNanoArray::from(vec![value(-3, 0, 0), value(14, 0, 0)])), r#"["-0-3"],["1-2"]"#);
        let nanos = ((2 * 60 + 3) * 60 + 4) * 1_000_000_000 + 567_000_000;
        assert_eq!(
            json(IntervalMonthDayNanoArray::from(vec![value(0, 1, nanos), value(0, 0, -1_000_000_000)])),
            r#"["1 02:03:04.567"],["-0 00:00:01.000"]"#
        );
        let both: ArrayRef = Arc::new(IntervalMonthDayNanoArray::from(vec![value(1, 1, 0)]));
        let batch = RecordBatch::try_from_iter([("c", both)]).unwrap();
        let refused = write_rows(&batch, &announced(&batch.schema(), Some(&batch)), true, &mut Vec::new());
        assert_eq!(refused.err().map(|error| error.code()), Some(Code::NotSupported));
        assert_eq!(json(IntervalMonthDayNanoArray::from(vec![None, Some(value(0, 0, 0)), Some(value(1, 0, 0))])), r#"[null],["0-0"],["0-1"]"#);
    }

    #[test]
    fn intervals_within_others_are_of_a_kind_each() {
        let interval = |months, days| -> ArrayRef { Arc::new(IntervalMonthDayNanoArray::from(vec![IntervalMonthDayNano::new(months, days, 0)])) };
        let data_type = DataType::Interval(IntervalUnit::MonthDayNano);
        let fields: Fields = vec![Field::new("m", data_type.clone(), true), Field::new("d", data_type.clone(), true)].into();
        let row = StructArray::new(fields, vec![interval(1, 0), interval(0, 2)], None);
        assert_eq!(json(row.clone()), r#"[["0-1","2 00:00:00.000"]]"#);
        let element = Arc::new(Field::new("element", data_type, true));
        let list = ListArray::new(element, OffsetBuffer::from_lengths([1]), interval(14, 0), None);
        assert_eq!(json(list.clone()), r#"[["1-2"]]"#);
        let entries = Field::new("entries", row.data_type().clone(), false);
        let batch = RecordBatch::try_from_iter([("l", Arc::new(list) as ArrayRef), ("r", Arc::new(row) as ArrayRef)]).unwrap();
        let told = announced(&batch.schema(), Some(&batch));
        let kind = DataType::Interval;
        let DataType::List(element) = told.field(0).data_type() else { panic!("a list is one") };
        assert_eq!(element.data_type(), &kind(IntervalUnit::YearMonth));
        let of_row: Vec<_> = fields_of(told.field(1).data_type()).unwrap().iter().map(|field| field.data_type().clone()).collect();
        assert_eq!(of_row, [kind(IntervalUnit::YearMonth), kind(IntervalUnit::DayTime)]);
        let keys = StructArray::new(
            vec![Field::new("key", kind(IntervalUnit::MonthDayNano), false), Field::new("value", kind(IntervalUnit::MonthDayNano), true)].into(),
            vec![interval(0, 2), interval(1, 0)],
            None,
        );
        let entries = Arc::new(entries.with_data_type(keys.data_type().clone()));
        assert_eq!(json(MapArray::new(entries, OffsetBuffer::from_lengths([1]), keys, None, false)), r#"[{"2 00:00:00.000":"0-1"}]"#);
    }

    #[test]
    fn nested_values_are_lists_and_objects() {
        let lists = ListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(1), None]), None, Some(vec![])]);
        assert_eq!(json(lists), "[[1,null]],[null],[[]]");
        let fields: Fields = vec![Field::new("x", DataType::Int32, true), Field::new("y", DataType::Utf8, true)].into();
        let columns: Vec<ArrayRef> = vec![Arc::new(Int32Array::from(vec![1])), Arc::new(StringArray::from(vec!["a"]))];
        assert_eq!(json(StructArray::new(fields, columns, None)), r#"[[1,"a"]]"#);
        let mut map = MapBuilder::new(None, Int64Builder::new(), Int64Builder::new());
        map.keys().append_value(7);
        map.values().append_null();
        map.append(true).unwrap();
        assert_eq!(json(map.finish()), r#"[{"7":null}]"#);
    }

    #[test]
    fn keys_are_shown_as_by_java() {
        assert_eq!(as_java_shows(r#"[1,null,"a, \"b\"\\\u0001",["x:y"],{"k":1.5}]"#), "[1, null, a, \"b\"\\\u{1}, [x:y], {k=1.5}]");
        let shown = ["7", "-7", "1.0", "10000000.0", "-0.00015", "1e300", "1.5e-7", "-0.0", "100.25"].map(as_java_shows);
        assert_eq!(shown, ["7", "-7", "1.0", "1.0E7", "-1.5E-4", "1.0E300", "1.5E-7", "-0.0", "100.25"]);
    }
}
