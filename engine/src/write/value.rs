//! Single values in Iceberg's binary form (spec, appendix D), the one form in which partition values and bounds travel from the writing task to the
//! commit, and their text in the names of partition folders.

use arrow::array::{Array, AsArray};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int32Type, Int64Type, Time64MicrosecondType, TimeUnit, TimestampMicrosecondType,
    TimestampNanosecondType,
};
use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta};
use nunatak_catalog::spec::{PrimitiveType, Transform};
use nunatak_core::{Error, Result};

/// The value of `array` in `row`; `None` for NULL.
pub(crate) fn encode(array: &dyn Array, row: usize) -> Result<Option<Vec<u8>>> {
    if array.is_null(row) {
        return Ok(None);
    }
    Ok(Some(match array.data_type() {
        DataType::Boolean => vec![u8::from(array.as_boolean().value(row))],
        DataType::Int32 => array.as_primitive::<Int32Type>().value(row).to_le_bytes().to_vec(),
        DataType::Date32 => array.as_primitive::<Date32Type>().value(row).to_le_bytes().to_vec(),
        DataType::Int64 => array.as_primitive::<Int64Type>().value(row).to_le_bytes().to_vec(),
        DataType::Time64(TimeUnit::Microsecond) => array.as_primitive::<Time64MicrosecondType>().value(row).to_le_bytes().to_vec(),
        DataType::Timestamp(TimeUnit::Microsecond, _) => array.as_primitive::<TimestampMicrosecondType>().value(row).to_le_bytes().to_vec(),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => array.as_primitive::<TimestampNanosecondType>().value(row).to_le_bytes().to_vec(),
        DataType::Float32 => array.as_primitive::<Float32Type>().value(row).to_le_bytes().to_vec(),
        DataType::Float64 => array.as_primitive::<Float64Type>().value(row).to_le_bytes().to_vec(),
        DataType::Decimal128(_, _) => decimal(array.as_primitive::<Decimal128Type>().value(row)),
        DataType::Utf8View => array.as_string_view().value(row).as_bytes().to_vec(),
        DataType::Utf8 => array.as_string::<i32>().value(row).as_bytes().to_vec(),
        DataType::Binary => array.as_binary::<i32>().value(row).to_vec(),
        DataType::BinaryView => array.as_binary_view().value(row).to_vec(),
        DataType::FixedSizeBinary(_) => array.as_fixed_size_binary().value(row).to_vec(),
        other => return Err(Error::internal(format!("a partition value cannot have type {other}"))),
    }))
}

/// A decimal's unscaled value in the fewest bytes.
pub(super) fn decimal(unscaled: i128) -> Vec<u8> {
    unscaled.to_be_bytes()[crate::transform::significant_from(unscaled)..].to_vec()
}

/// How a partition value reads in the name of a folder: Java's `Transform.toHumanString`. Nobody reads it back, so what cannot be shown well is shown
/// somehow.
pub(super) fn to_text(transform: Transform, data_type: &PrimitiveType, value: Option<&[u8]>) -> String {
    let Some(value) = value else {
        return "null".to_owned();
    };
    let number = || value.try_into().map(i32::from_le_bytes).unwrap_or_default();
    match transform {
        Transform::Year => (1970 + i64::from(number())).to_string(),
        Transform::Month => {
            let months = number();
            format!("{:04}-{:02}", 1970 + i64::from(months.div_euclid(12)), months.rem_euclid(12) + 1)
        }
        Transform::Hour => {
            let seconds = i64::from(number()) * 3_600;
            DateTime::from_timestamp(seconds, 0).map_or_else(|| seconds.to_string(), |time| time.format("%Y-%m-%d-%H").to_string())
        }
        _ => plain_text(data_type, value),
    }
}

fn plain_text(data_type: &PrimitiveType, value: &[u8]) -> String {
    let int = || value.try_into().map(i32::from_le_bytes).unwrap_or_default();
    let long = || value.try_into().map(i64::from_le_bytes).unwrap_or_default();
    match data_type {
        PrimitiveType::Boolean => (value != [0]).to_string(),
        PrimitiveType::Int => int().to_string(),
        PrimitiveType::Long => long().to_string(),
        PrimitiveType::Float => value.try_into().map(f32::from_le_bytes).unwrap_or_default().to_string(),
        PrimitiveType::Double => value.try_into().map(f64::from_le_bytes).unwrap_or_default().to_string(),
        PrimitiveType::Date => date(int()),
        PrimitiveType::Time => time(long()),
        PrimitiveType::Timestamp => timestamp(long().div_euclid(1_000_000), long().rem_euclid(1_000_000) * 1_000, ""),
        PrimitiveType::Timestamptz => timestamp(long().div_euclid(1_000_000), long().rem_euclid(1_000_000) * 1_000, "Z"),
        PrimitiveType::TimestampNs => timestamp(long().div_euclid(1_000_000_000), long().rem_euclid(1_000_000_000), ""),
        PrimitiveType::TimestamptzNs => timestamp(long().div_euclid(1_000_000_000), long().rem_euclid(1_000_000_000), "Z"),
        PrimitiveType::String => String::from_utf8_lossy(value).into_owned(),
        PrimitiveType::Uuid => uuid::Uuid::from_slice(value).unwrap_or_default().to_string(),
        PrimitiveType::Decimal { scale, .. } => decimal_text(value, *scale as usize),
        PrimitiveType::Binary | PrimitiveType::Fixed(_) => base64(value),
    }
}

fn date(day: i32) -> String {
    let date = NaiveDate::default().checked_add_signed(TimeDelta::days(i64::from(day)));
    date.map_or_else(|| day.to_string(), |date| date.to_string())
}

fn time(micros: i64) -> String {
    let parts = u32::try_from(micros.div_euclid(1_000_000)).ok().zip(u32::try_from(micros.rem_euclid(1_000_000) * 1_000).ok());
    let time = parts.and_then(|(seconds, nanos)| NaiveTime::from_num_seconds_from_midnight_opt(seconds, nanos));
    time.map_or_else(|| micros.to_string(), |time| time.format("%H:%M:%S%.f").to_string())
}

fn timestamp(seconds: i64, nanos: i64, zone: &str) -> String {
    let time = u32::try_from(nanos).ok().and_then(|nanos| DateTime::from_timestamp(seconds, nanos));
    time.map_or_else(|| seconds.to_string(), |time| format!("{}{zone}", time.format("%Y-%m-%dT%H:%M:%S%.f")))
}

fn decimal_text(bytes: &[u8], scale: usize) -> String {
    let negative = bytes.first().is_some_and(|byte| byte & 0x80 != 0);
    let start = if negative { -1_i128 } else { 0 };
    let unscaled = bytes.iter().fold(start, |value, byte| value << 8 | i128::from(*byte));
    let digits = format!("{:0width$}", unscaled.unsigned_abs(), width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    let sign = if negative { "-" } else { "" };
    if scale == 0 { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let bits = group.iter().chain([&0, &0]).take(3).fold(0_usize, |bits, byte| bits << 8 | usize::from(*byte));
        for position in 0..4 {
            let character = if position <= group.len() { ALPHABET[bits >> (18 - 6 * position) & 63] } else { b'=' };
            text.push(char::from(character));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partition_values_read_as_in_java() {
        let text = |transform, data_type, value: &[u8]| to_text(transform, &data_type, Some(value));
        assert_eq!(text(Transform::Year, PrimitiveType::Int, &47_i32.to_le_bytes()), "2017");
        assert_eq!(text(Transform::Month, PrimitiveType::Int, &574_i32.to_le_bytes()), "2017-11");
        assert_eq!(text(Transform::Month, PrimitiveType::Int, &(-1_i32).to_le_bytes()), "1969-12");
        assert_eq!(text(Transform::Day, PrimitiveType::Date, &17_486_i32.to_le_bytes()), "2017-11-16");
        assert_eq!(text(Transform::Hour, PrimitiveType::Int, &419_686_i32.to_le_bytes()), "2017-11-16-22");
        assert_eq!(text(Transform::Bucket(16), PrimitiveType::Int, &3_i32.to_le_bytes()), "3");
        assert_eq!(text(Transform::Identity, PrimitiveType::Boolean, &[1]), "true");
        let at = 1_510_871_468_000_001_i64.to_le_bytes();
        assert_eq!(text(Transform::Identity, PrimitiveType::Timestamptz, &at), "2017-11-16T22:31:08.000001Z");
        assert_eq!(text(Transform::Identity, PrimitiveType::Decimal { precision: 9, scale: 2 }, &decimal(-5)), "-0.05");
        assert_eq!(text(Transform::Identity, PrimitiveType::Decimal { precision: 9, scale: 2 }, &decimal(1_420)), "14.20");
        assert_eq!(text(Transform::Identity, PrimitiveType::Binary, &[0, 1, 2, 3]), "AAECAw==");
        assert_eq!(to_text(Transform::Identity, &PrimitiveType::String, None), "null");
    }
}
