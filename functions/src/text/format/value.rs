//! Values that are formatted.

use std::fmt::{Display, Formatter};

use arrow::array::timezone::Tz;
use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Date32Array, Decimal128Array, FixedSizeBinaryArray, Float32Array, Float64Array, Int64Array,
    StringViewArray, Time64MicrosecondArray, TimestampMicrosecondArray,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, TimeUnit};
use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Timelike};
use datafusion::common::internal_datafusion_err;
use datafusion::error::Result;

use super::digits::Digits;
use crate::{invalid, not_supported};

/// The values of all rows.
#[derive(Debug)]
pub(super) enum Argument {
    Null,
    Boolean(BooleanArray),
    Integer(Int64Array),
    Real(Float32Array),
    Double(Float64Array),
    Decimal(Decimal128Array, i8),
    Text(StringViewArray),
    Date(Date32Array),
    Time(Time64MicrosecondArray),
    Local(TimestampMicrosecondArray),
    Zoned(TimestampMicrosecondArray, Tz, String),
    Uuid(FixedSizeBinaryArray),
}

/// A value.
#[derive(Debug)]
pub(super) enum Value<'a> {
    Null,
    Boolean(bool),
    Integer(i64),
    Real(f32),
    Double(f64),
    /// Without its point, and how many digits are behind that.
    Decimal(i128, i8),
    Text(&'a str),
    Date(NaiveDate),
    Time(NaiveTime),
    Local(NaiveDateTime),
    /// With the name of its zone.
    Zoned(DateTime<Tz>, &'a str),
    Uuid(uuid::Uuid),
}

impl Argument {
    /// Errors: `NOT_SUPPORTED` for types that are not formatted.
    pub(super) fn new(array: &ArrayRef) -> Result<Self> {
        let found = match array.data_type() {
            DataType::Null => Some(Self::Null),
            DataType::Boolean => array.as_boolean_opt().cloned().map(Self::Boolean),
            DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 => {
                cast(array, &DataType::Int64)?.as_primitive_opt().cloned().map(Self::Integer)
            }
            DataType::Float32 => array.as_primitive_opt().cloned().map(Self::Real),
            DataType::Float64 => array.as_primitive_opt().cloned().map(Self::Double),
            DataType::Decimal128(_, scale) => array.as_primitive_opt().cloned().map(|values| Self::Decimal(values, *scale)),
            DataType::Utf8View => array.as_string_view_opt().cloned().map(Self::Text),
            DataType::Date32 => array.as_primitive_opt().cloned().map(Self::Date),
            DataType::Time32(_) | DataType::Time64(_) => {
                cast(array, &DataType::Time64(TimeUnit::Microsecond))?.as_primitive_opt().cloned().map(Self::Time)
            }
            DataType::Timestamp(_, None) => {
                cast(array, &DataType::Timestamp(TimeUnit::Microsecond, None))?.as_primitive_opt().cloned().map(Self::Local)
            }
            DataType::Timestamp(_, Some(zone)) => {
                let values = cast(array, &DataType::Timestamp(TimeUnit::Microsecond, Some(zone.clone())))?;
                let tz: Tz = zone.parse()?;
                values.as_primitive_opt().cloned().map(|values| Self::Zoned(values, tz, zone.to_string()))
            }
            DataType::FixedSizeBinary(16) => array.as_fixed_size_binary_opt().cloned().map(Self::Uuid),
            other => return Err(not_supported(format!("format does not take values of type {other}"))),
        };
        found.ok_or_else(|| internal_datafusion_err!("an argument of format has the type {}", array.data_type()))
    }

    fn is_null(&self, row: usize) -> bool {
        match self {
            Self::Null => true,
            Self::Boolean(values) => values.is_null(row),
            Self::Integer(values) => values.is_null(row),
            Self::Real(values) => values.is_null(row),
            Self::Double(values) => values.is_null(row),
            Self::Decimal(values, _) => values.is_null(row),
            Self::Text(values) => values.is_null(row),
            Self::Date(values) => values.is_null(row),
            Self::Time(values) => values.is_null(row),
            Self::Local(values) | Self::Zoned(values, ..) => values.is_null(row),
            Self::Uuid(values) => values.is_null(row),
        }
    }

    /// The value of a row. Errors: `INVALID_FUNCTION_ARGUMENT` for moments that have no date.
    pub(super) fn value(&self, row: usize) -> Result<Value<'_>> {
        if self.is_null(row) {
            return Ok(Value::Null);
        }
        let value = match self {
            Self::Null => Some(Value::Null),
            Self::Boolean(values) => Some(Value::Boolean(values.value(row))),
            Self::Integer(values) => Some(Value::Integer(values.value(row))),
            Self::Real(values) => Some(Value::Real(values.value(row))),
            Self::Double(values) => Some(Value::Double(values.value(row))),
            Self::Decimal(values, scale) => Some(Value::Decimal(values.value(row), *scale)),
            Self::Text(values) => Some(Value::Text(values.value(row))),
            Self::Date(values) => values.value_as_date(row).map(Value::Date),
            Self::Time(values) => values.value_as_time(row).map(Value::Time),
            Self::Local(values) => values.value_as_datetime(row).map(Value::Local),
            Self::Zoned(values, tz, zone) => {
                DateTime::from_timestamp_micros(values.value(row)).map(|moment| Value::Zoned(moment.with_timezone(tz), zone))
            }
            Self::Uuid(values) => uuid::Uuid::from_slice(values.value(row)).ok().map(Value::Uuid),
        };
        value.ok_or_else(|| invalid("format: a moment is too far from now to be written"))
    }
}

impl Value<'_> {
    /// What `%h` writes: Java's hash code. `None` for types whose hash code means nothing here.
    pub(super) fn hash(&self) -> Option<i32> {
        let of_long = |bits: u64| ((bits ^ (bits >> 32)) as u32).cast_signed();
        match self {
            Self::Boolean(value) => Some(if *value { 1231 } else { 1237 }),
            Self::Integer(value) => Some(of_long(value.cast_unsigned())),
            Self::Real(value) => Some(value.to_bits().cast_signed()),
            Self::Double(value) => Some(of_long(value.to_bits())),
            Self::Text(text) => Some(text.encode_utf16().fold(0_i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)))),
            _ => None,
        }
    }
}

/// As Java's `toString` writes it.
impl Display for Value<'_> {
    fn fmt(&self, out: &mut Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Null => out.write_str("null"),
            Self::Boolean(value) => write!(out, "{value}"),
            Self::Integer(value) => write!(out, "{value}"),
            Self::Real(value) if value.is_finite() => double(value.is_sign_negative(), &Digits::shortest_real(*value), out),
            Self::Real(value) => not_finite(f64::from(*value), out),
            Self::Double(value) if value.is_finite() => double(value.is_sign_negative(), &Digits::shortest(*value), out),
            Self::Double(value) => not_finite(*value, out),
            Self::Decimal(unscaled, scale) => decimal(*unscaled, *scale, out),
            Self::Text(text) => out.write_str(text),
            Self::Date(date) => write!(out, "{date:?}"),
            Self::Time(value) => time(*value, out),
            Self::Local(value) => local(*value, out),
            Self::Zoned(moment, zone) => {
                local(moment.naive_local(), out)?;
                let offset = moment.fixed_offset().offset().to_string();
                out.write_str(if offset == "+00:00" { "Z" } else { &offset })?;
                if zone.starts_with(['+', '-']) { Ok(()) } else { write!(out, "[{zone}]") }
            }
            Self::Uuid(value) => write!(out, "{value}"),
        }
    }
}

fn not_finite(value: f64, out: &mut Formatter<'_>) -> std::fmt::Result {
    out.write_str(if value.is_nan() {
        "NaN"
    } else if value < 0.0 {
        "-Infinity"
    } else {
        "Infinity"
    })
}

/// At least one digit on both sides of the point; with a power of ten if it is less than a thousandth, or ten million and more.
fn double(is_negative: bool, digits: &Digits, out: &mut Formatter<'_>) -> std::fmt::Result {
    if is_negative {
        out.write_str("-")?;
    }
    let exponent = digits.exponent();
    let count = digits.text().len() as i64;
    if (-3..7).contains(&exponent) {
        let precision = usize::try_from(count - 1 - exponent).unwrap_or_default().max(1);
        return out.write_str(&digits.fixed(precision));
    }
    let (number, exponent) = digits.scientific(usize::try_from(count - 1).unwrap_or_default().max(1));
    write!(out, "{number}E{exponent}")
}

/// With a power of ten if there are more than five zeros behind the point.
fn decimal(unscaled: i128, scale: i8, out: &mut Formatter<'_>) -> std::fmt::Result {
    if unscaled < 0 {
        out.write_str("-")?;
    }
    let text = unscaled.unsigned_abs().to_string();
    let exponent = text.len() as i64 - 1 - i64::from(scale);
    if scale >= 0 && exponent >= -6 {
        let digits = Digits::decimal(unscaled, scale);
        return out.write_str(&digits.fixed(usize::from(scale.unsigned_abs())));
    }
    let (first, rest) = text.split_at(1);
    write!(out, "{first}{}{rest}E{}{exponent}", if rest.is_empty() { "" } else { "." }, if exponent < 0 { "" } else { "+" })
}

/// Without seconds if there are none, and with three, six or nine digits of their fraction.
fn time(value: NaiveTime, out: &mut Formatter<'_>) -> std::fmt::Result {
    write!(out, "{:02}:{:02}", value.hour(), value.minute())?;
    let nanos = value.nanosecond();
    if value.second() == 0 && nanos == 0 {
        return Ok(());
    }
    write!(out, ":{:02}", value.second())?;
    match nanos {
        0 => Ok(()),
        _ if nanos.is_multiple_of(1_000_000) => write!(out, ".{:03}", nanos / 1_000_000),
        _ if nanos.is_multiple_of(1_000) => write!(out, ".{:06}", nanos / 1_000),
        _ => write!(out, ".{nanos:09}"),
    }
}

fn local(value: NaiveDateTime, out: &mut Formatter<'_>) -> std::fmt::Result {
    write!(out, "{:?}T", value.date())?;
    time(value.time(), out)
}
