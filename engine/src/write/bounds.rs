//! Lower and upper bounds of a column in a data file, from the statistics of its column chunks.
//!
//! A wrong bound makes scans lose rows, a missing one only costs time: whatever is in doubt gives no bound.

use nunatak_catalog::spec::PrimitiveType;
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::statistics::Statistics;

use super::metrics_mode::MetricsMode;
use super::value::decimal;
use crate::transform::prefix;

/// Lower and upper bound in Iceberg's binary form.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Bounds {
    pub(super) lower: Option<Vec<u8>>,
    pub(super) upper: Option<Vec<u8>>,
}

/// A value that can be compared with others of its column.
#[derive(Clone, Debug, PartialEq, PartialOrd)]
enum Value {
    Boolean(bool),
    Whole(i128),
    Float(f32),
    Double(f64),
    Bytes(Vec<u8>),
}

/// The bounds over all row groups. `data_type` is the column's type in the table.
pub(super) fn bounds<'a>(chunks: impl Iterator<Item = &'a ColumnChunkMetaData>, data_type: &PrimitiveType, mode: MetricsMode) -> Bounds {
    let Some(range) = merge(chunks, data_type) else {
        return Bounds::default();
    };
    let Some((min, max)) = range else {
        return Bounds::default();
    };
    Bounds { lower: lower(min, data_type, mode), upper: upper(max, data_type, mode) }
}

/// Smallest and greatest value of all chunks; `Some(None)` when all values are NULL, `None` when a chunk with values does not say.
fn merge<'a>(chunks: impl Iterator<Item = &'a ColumnChunkMetaData>, data_type: &PrimitiveType) -> Option<Option<(Value, Value)>> {
    let mut merged: Option<(Value, Value)> = None;
    for chunk in chunks {
        let statistics = chunk.statistics()?;
        if statistics.null_count_opt().is_some_and(|nulls| i64::try_from(nulls) == Ok(chunk.num_values())) {
            continue;
        }
        let (min, max) = chunk_range(statistics, data_type)?;
        merged = Some(match merged {
            None => (min, max),
            Some((least, greatest)) => (if min < least { min } else { least }, if max > greatest { max } else { greatest }),
        });
    }
    Some(merged)
}

fn chunk_range(statistics: &Statistics, data_type: &PrimitiveType) -> Option<(Value, Value)> {
    Some(match statistics {
        Statistics::Boolean(values) => (Value::Boolean(*values.min_opt()?), Value::Boolean(*values.max_opt()?)),
        Statistics::Int32(values) => (Value::Whole(i128::from(*values.min_opt()?)), Value::Whole(i128::from(*values.max_opt()?))),
        Statistics::Int64(values) => (Value::Whole(i128::from(*values.min_opt()?)), Value::Whole(i128::from(*values.max_opt()?))),
        // NaN is no bound; the Parquet writer leaves it out of its statistics.
        Statistics::Float(values) => {
            let (min, max) = (*values.min_opt()?, *values.max_opt()?);
            (!min.is_nan() && !max.is_nan()).then_some((Value::Float(min), Value::Float(max)))?
        }
        Statistics::Double(values) => {
            let (min, max) = (*values.min_opt()?, *values.max_opt()?);
            (!min.is_nan() && !max.is_nan()).then_some((Value::Double(min), Value::Double(max)))?
        }
        // Writers of a time before `min_value` and `max_value` compared signed bytes: what is in other letters than ASCII may lie outside.
        Statistics::ByteArray(_) if statistics.is_min_max_deprecated() => return None,
        Statistics::ByteArray(values) => (Value::Bytes(values.min_opt()?.data().to_vec()), Value::Bytes(values.max_opt()?.data().to_vec())),
        Statistics::FixedLenByteArray(values) => match data_type {
            // Cut statistics of a decimal would be another number.
            PrimitiveType::Decimal { .. } if !values.min_is_exact() || !values.max_is_exact() => return None,
            PrimitiveType::Decimal { .. } => (signed(values.min_opt()?.data())?, signed(values.max_opt()?.data())?),
            _ => (Value::Bytes(values.min_opt()?.data().to_vec()), Value::Bytes(values.max_opt()?.data().to_vec())),
        },
        Statistics::Int96(_) => return None,
    })
}

/// The number in big-endian two's complement bytes.
fn signed(bytes: &[u8]) -> Option<Value> {
    let start = if bytes.first()? & 0x80 == 0 { 0 } else { -1_i128 };
    (bytes.len() <= 16).then(|| Value::Whole(bytes.iter().fold(start, |value, byte| value << 8 | i128::from(*byte))))
}

fn lower(value: Value, data_type: &PrimitiveType, mode: MetricsMode) -> Option<Vec<u8>> {
    match (value, mode) {
        // Both zeros are one value to most readers: the bound has the one that takes in both.
        (Value::Float(0.0), _) => Some((-0.0_f32).to_le_bytes().to_vec()),
        (Value::Double(0.0), _) => Some((-0.0_f64).to_le_bytes().to_vec()),
        (Value::Bytes(bytes), MetricsMode::Truncate(length)) => match data_type {
            PrimitiveType::String => Some(prefix(str::from_utf8(&bytes).ok()?, length).as_bytes().to_vec()),
            PrimitiveType::Uuid => Some(bytes),
            _ => Some(bytes[..length.min(bytes.len())].to_vec()),
        },
        (value, _) => plain(value, data_type),
    }
}

fn upper(value: Value, data_type: &PrimitiveType, mode: MetricsMode) -> Option<Vec<u8>> {
    match (value, mode) {
        (Value::Float(0.0), _) => Some(0.0_f32.to_le_bytes().to_vec()),
        (Value::Double(0.0), _) => Some(0.0_f64.to_le_bytes().to_vec()),
        (Value::Bytes(bytes), MetricsMode::Truncate(length)) => match data_type {
            PrimitiveType::String => truncate_text_up(str::from_utf8(&bytes).ok()?, length).map(String::into_bytes),
            PrimitiveType::Uuid => Some(bytes),
            _ => truncate_bytes_up(bytes, length),
        },
        (value, _) => plain(value, data_type),
    }
}

fn plain(value: Value, data_type: &PrimitiveType) -> Option<Vec<u8>> {
    Some(match value {
        Value::Boolean(value) => vec![u8::from(value)],
        Value::Whole(value) => match data_type {
            PrimitiveType::Decimal { .. } => decimal(value),
            PrimitiveType::Int | PrimitiveType::Date => i32::try_from(value).ok()?.to_le_bytes().to_vec(),
            _ => i64::try_from(value).ok()?.to_le_bytes().to_vec(),
        },
        Value::Float(value) => value.to_le_bytes().to_vec(),
        Value::Double(value) => value.to_le_bytes().to_vec(),
        Value::Bytes(bytes) => {
            if data_type == &PrimitiveType::String {
                str::from_utf8(&bytes).ok()?;
            }
            bytes
        }
    })
}

/// A text of at most `length` code points that is not less than `text`; `None` when there is none.
fn truncate_text_up(text: &str, length: usize) -> Option<String> {
    let kept = prefix(text, length);
    if kept.len() == text.len() {
        return Some(text.to_owned());
    }
    let mut kept: Vec<char> = kept.chars().collect();
    while let Some(last) = kept.pop() {
        if let Some(next) = next_char(last) {
            kept.push(next);
            return Some(kept.into_iter().collect());
        }
    }
    None
}

/// The next code point that can stand in UTF-8.
fn next_char(character: char) -> Option<char> {
    match u32::from(character) + 1 {
        0xd800 => Some('\u{e000}'),
        next => char::from_u32(next),
    }
}

fn truncate_bytes_up(mut bytes: Vec<u8>, length: usize) -> Option<Vec<u8>> {
    if bytes.len() <= length {
        return Some(bytes);
    }
    bytes.truncate(length);
    while let Some(last) = bytes.pop() {
        if let Some(next) = last.checked_add(1) {
            bytes.push(next);
            return Some(bytes);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_upwards() {
        let cut = |text: &str, length| truncate_text_up(text, length);
        assert_eq!(cut("iceberg", 3).as_deref(), Some("icf"));
        assert_eq!(cut("ice", 3).as_deref(), Some("ice"));
        assert_eq!(cut("a\u{10ffff}b", 2).as_deref(), Some("b"));
        assert_eq!(cut("\u{10ffff}\u{10ffff}b", 2), None);
        assert_eq!(cut("\u{d7ff}x", 1).as_deref(), Some("\u{e000}"));
        assert_eq!(cut("\u{7f}x", 1).as_deref(), Some("\u{80}"));
        assert_eq!(cut("\u{1f600}\u{1f600}", 1).as_deref(), Some("\u{1f601}"));
    }

    #[test]
    fn bytes_are_cut_upwards() {
        assert_eq!(truncate_bytes_up(vec![1, 2, 3], 2), Some(vec![1, 3]));
        assert_eq!(truncate_bytes_up(vec![1, 0xff, 3], 2), Some(vec![2]));
        assert_eq!(truncate_bytes_up(vec![0xff, 0xff, 3], 2), None);
        assert_eq!(truncate_bytes_up(vec![0xff], 2), Some(vec![0xff]));
    }

    #[test]
    fn texts_of_old_writers_have_no_bounds() {
        let range =
            |is_old| chunk_range(&Statistics::byte_array(Some("\u{e4}".into()), Some("z".into()), None, Some(0), is_old), &PrimitiveType::String);
        assert_eq!(range(true), None);
        assert!(range(false).is_some());
    }

    #[test]
    fn zeros_take_in_both_signs() {
        let mode = MetricsMode::Truncate(16);
        assert_eq!(lower(Value::Double(0.0), &PrimitiveType::Double, mode), Some((-0.0_f64).to_le_bytes().to_vec()));
        assert_eq!(upper(Value::Float(-0.0), &PrimitiveType::Float, mode), Some(0.0_f32.to_le_bytes().to_vec()));
    }

    #[test]
    fn whole_numbers_have_the_width_of_their_type() {
        assert_eq!(plain(Value::Whole(5), &PrimitiveType::Date), Some(vec![5, 0, 0, 0]));
        assert_eq!(plain(Value::Whole(5), &PrimitiveType::Timestamp), Some(vec![5, 0, 0, 0, 0, 0, 0, 0]));
        assert_eq!(plain(Value::Whole(-129), &PrimitiveType::Decimal { precision: 9, scale: 2 }), Some(vec![0xff, 0x7f]));
        assert_eq!(signed(&[0xff, 0x7f]), Some(Value::Whole(-129)));
    }
}
