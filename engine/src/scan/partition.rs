//! What a partition value tells about the column it was made from.
//!
//! A transform keeps order, except `bucket`: so the values of its result that occur bound the values of its source. The same works for one data
//! file (one value) and for a manifest (the smallest and the largest value of its files).

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::ScalarValue;
use nunatak_catalog::spec::{PrimitiveLiteral, Transform};

use super::values::scalar;

const MICROS_OF_HOUR: i64 = 3_600_000_000;
const MICROS_OF_DAY: i64 = 24 * MICROS_OF_HOUR;

/// The smallest and the largest value of a column, as far as they are known; both may lie outside what really occurs, never inside.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Range {
    /// No value is smaller.
    pub min: Option<ScalarValue>,
    /// No value is larger.
    pub max: Option<ScalarValue>,
}

/// The range of a column of `data_type` whose transformed values lie between `lower` and `upper`.
pub fn source_range(transform: &Transform, data_type: &DataType, lower: Option<&PrimitiveLiteral>, upper: Option<&PrimitiveLiteral>) -> Range {
    let lower = lower.filter(|lower| !matches!(transform, Transform::Truncate(width) if may_be_wrapped(*width, lower, upper)));
    Range { min: lower.and_then(|lower| first_of(transform, data_type, lower)), max: upper.and_then(|upper| last_of(transform, data_type, upper)) }
}

/// Whether among whole numbers that were cut there may be some that are the least of their type: cut further down they come out at its other end, in Java too.
fn may_be_wrapped(width: u32, lower: &PrimitiveLiteral, upper: Option<&PrimitiveLiteral>) -> bool {
    let room = i64::from(width) - 1;
    match (lower, upper) {
        (PrimitiveLiteral::Int(_), Some(PrimitiveLiteral::Int(upper))) => i64::from(*upper) + room > i64::from(i32::MAX),
        (PrimitiveLiteral::Long(_), Some(PrimitiveLiteral::Long(upper))) => upper.checked_add(room).is_none(),
        (PrimitiveLiteral::Int(_) | PrimitiveLiteral::Long(_), _) => true,
        _ => false,
    }
}

/// The smallest source value that the transform turns into `value`.
fn first_of(transform: &Transform, data_type: &DataType, value: &PrimitiveLiteral) -> Option<ScalarValue> {
    match transform {
        Transform::Identity => identity(value, data_type),
        // The prefix of a string is its smallest continuation, and a number is cut downwards.
        Transform::Truncate(_) if truncates(data_type) => scalar(value, data_type),
        Transform::Year | Transform::Month | Transform::Day | Transform::Hour => start_of(transform, data_type, unit_before_epoch(value)?),
        _ => None,
    }
}

/// The largest source value that the transform turns into `value`.
fn last_of(transform: &Transform, data_type: &DataType, value: &PrimitiveLiteral) -> Option<ScalarValue> {
    match transform {
        Transform::Identity => identity(value, data_type),
        Transform::Truncate(width) => last_truncated(*width, data_type, value),
        Transform::Year | Transform::Month | Transform::Day | Transform::Hour => {
            let PrimitiveLiteral::Int(unit) = value else { return None };
            just_before(&start_of(transform, data_type, i64::from(*unit) + 1)?)
        }
        _ => None,
    }
}

/// NaN is larger than everything in Arrow but outside Iceberg's bounds, so it bounds nothing.
fn identity(value: &PrimitiveLiteral, data_type: &DataType) -> Option<ScalarValue> {
    if value.is_nan() { None } else { scalar(value, data_type) }
}

fn truncates(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Int32 | DataType::Int64 | DataType::Decimal128(..) | DataType::Utf8View | DataType::Utf8)
}

fn last_truncated(width: u32, data_type: &DataType, value: &PrimitiveLiteral) -> Option<ScalarValue> {
    let more = width.checked_sub(1)?;
    match value {
        PrimitiveLiteral::Int(value) => {
            let last = value.saturating_add(i32::try_from(more).ok()?);
            scalar(&PrimitiveLiteral::Int(last), data_type)
        }
        PrimitiveLiteral::Long(value) => scalar(&PrimitiveLiteral::Long(value.saturating_add(i64::from(more))), data_type),
        PrimitiveLiteral::Int128(value) => scalar(&PrimitiveLiteral::Int128(value.saturating_add(i128::from(more))), data_type),
        // A string shorter than the width was not cut.
        PrimitiveLiteral::String(text) if text.chars().count() < width as usize => scalar(value, data_type),
        PrimitiveLiteral::String(text) => scalar(&PrimitiveLiteral::String(next_prefix(text)?), data_type),
        _ => None,
    }
}

/// The smallest string larger than every string that begins with `prefix`.
fn next_prefix(prefix: &str) -> Option<String> {
    let mut characters: Vec<char> = prefix.chars().collect();
    while let Some(last) = characters.pop() {
        let next = match last {
            char::MAX => continue,
            // The next code point lies behind the surrogates, which are no characters.
            '\u{d7ff}' => '\u{e000}',
            other => char::from_u32(u32::from(other) + 1)?,
        };
        characters.push(next);
        return Some(characters.into_iter().collect());
    }
    None
}

/// Old writers cut dates and times before 1970 towards zero, so that a unit up to the first may also hold values of the unit before it.
fn unit_before_epoch(value: &PrimitiveLiteral) -> Option<i64> {
    let PrimitiveLiteral::Int(unit) = value else { return None };
    Some(if *unit <= 0 { i64::from(*unit) - 1 } else { i64::from(*unit) })
}

/// The first moment (or day) of a year, month, day or hour counted from 1970.
fn start_of(transform: &Transform, data_type: &DataType, unit: i64) -> Option<ScalarValue> {
    let days = match transform {
        Transform::Year => days_of_month(unit.checked_mul(12)?)?,
        Transform::Month => days_of_month(unit)?,
        Transform::Day => unit,
        Transform::Hour => return timestamp(unit.checked_mul(MICROS_OF_HOUR)?, data_type),
        _ => return None,
    };
    match data_type {
        DataType::Date32 => Some(ScalarValue::Date32(Some(i32::try_from(days).ok()?))),
        _ => timestamp(days.checked_mul(MICROS_OF_DAY)?, data_type),
    }
}

/// The day, counted from 1970-01-01, on which a month begins that is counted from 1970-01.
fn days_of_month(month: i64) -> Option<i64> {
    let year = i32::try_from(1970 + month.div_euclid(12)).ok()?;
    let first = chrono::NaiveDate::from_ymd_opt(year, u32::try_from(month.rem_euclid(12)).ok()? + 1, 1)?;
    Some(first.signed_duration_since(chrono::NaiveDate::from_ymd_opt(1970, 1, 1)?).num_days())
}

fn timestamp(micros: i64, data_type: &DataType) -> Option<ScalarValue> {
    match data_type {
        DataType::Timestamp(TimeUnit::Microsecond, zone) => Some(ScalarValue::TimestampMicrosecond(Some(micros), zone.clone())),
        DataType::Timestamp(TimeUnit::Nanosecond, zone) => Some(ScalarValue::TimestampNanosecond(Some(micros.checked_mul(1000)?), zone.clone())),
        _ => None,
    }
}

fn just_before(value: &ScalarValue) -> Option<ScalarValue> {
    Some(match value {
        ScalarValue::Date32(Some(days)) => ScalarValue::Date32(Some(days.checked_sub(1)?)),
        ScalarValue::TimestampMicrosecond(Some(micros), zone) => ScalarValue::TimestampMicrosecond(Some(micros.checked_sub(1)?), zone.clone()),
        ScalarValue::TimestampNanosecond(Some(nanos), zone) => ScalarValue::TimestampNanosecond(Some(nanos.checked_sub(1)?), zone.clone()),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(transform: Transform, data_type: &DataType, value: PrimitiveLiteral) -> Range {
        source_range(&transform, data_type, Some(&value), Some(&value))
    }

    #[test]
    fn times_cover_their_unit() {
        let micros = DataType::Timestamp(TimeUnit::Microsecond, None);
        let at = |value| Some(ScalarValue::TimestampMicrosecond(Some(value), None));
        let day = range(Transform::Day, &micros, PrimitiveLiteral::Int(2));
        assert_eq!((day.min, day.max), (at(2 * MICROS_OF_DAY), at(3 * MICROS_OF_DAY - 1)));
        let hour = range(Transform::Hour, &micros, PrimitiveLiteral::Int(5));
        assert_eq!((hour.min, hour.max), (at(5 * MICROS_OF_HOUR), at(6 * MICROS_OF_HOUR - 1)));
        let year = range(Transform::Year, &DataType::Date32, PrimitiveLiteral::Int(2));
        assert_eq!((year.min, year.max), (Some(ScalarValue::Date32(Some(730))), Some(ScalarValue::Date32(Some(1095)))));
        let february = range(Transform::Month, &DataType::Date32, PrimitiveLiteral::Int(1));
        assert_eq!((february.min, february.max), (Some(ScalarValue::Date32(Some(31))), Some(ScalarValue::Date32(Some(58)))));
    }

    #[test]
    fn units_up_to_1970_reach_one_further_back() {
        let month = range(Transform::Month, &DataType::Date32, PrimitiveLiteral::Int(-1));
        assert_eq!((month.min, month.max), (Some(ScalarValue::Date32(Some(-61))), Some(ScalarValue::Date32(Some(-1)))));
    }

    #[test]
    fn cut_values_cover_what_was_cut() {
        let numbers = range(Transform::Truncate(10), &DataType::Int64, PrimitiveLiteral::Int(-10));
        assert_eq!((numbers.min, numbers.max), (Some(ScalarValue::Int64(Some(-10))), Some(ScalarValue::Int64(Some(-1)))));
        let text = |value: &str| Some(ScalarValue::Utf8View(Some(value.to_owned())));
        let cut = range(Transform::Truncate(2), &DataType::Utf8View, PrimitiveLiteral::String("ab".into()));
        assert_eq!((cut.min, cut.max), (text("ab"), text("ac")));
        let whole = range(Transform::Truncate(3), &DataType::Utf8View, PrimitiveLiteral::String("ab".into()));
        assert_eq!((whole.min, whole.max), (text("ab"), text("ab")));
        assert_eq!(next_prefix("a\u{10ffff}").as_deref(), Some("b"));
        assert_eq!(next_prefix("\u{10ffff}"), None);
    }

    #[test]
    fn the_least_numbers_are_cut_to_large_ones() {
        let cut = i32::MIN.wrapping_sub(i32::MIN.rem_euclid(10));
        assert_eq!(cut, 2_147_483_646);
        let at = |value| Some(ScalarValue::Int32(Some(value)));
        let wrapped = range(Transform::Truncate(10), &DataType::Int32, PrimitiveLiteral::Int(cut));
        assert_eq!((wrapped.min, wrapped.max), (None, at(i32::MAX)));
        // Of a manifest that has a file with them among others.
        let (lower, upper) = (PrimitiveLiteral::Int(-10), PrimitiveLiteral::Int(cut));
        assert_eq!(source_range(&Transform::Truncate(10), &DataType::Int32, Some(&lower), Some(&upper)).min, None);
        assert_eq!(source_range(&Transform::Truncate(10), &DataType::Int32, Some(&lower), Some(&PrimitiveLiteral::Int(2_147_483_630))).min, at(-10));
        let long = range(Transform::Truncate(1000), &DataType::Int64, PrimitiveLiteral::Long(i64::MAX - 500));
        assert_eq!((long.min, long.max), (None, Some(ScalarValue::Int64(Some(i64::MAX)))));
    }

    #[test]
    fn nothing_is_known_from_buckets_and_nan() {
        assert_eq!(range(Transform::Bucket(4), &DataType::Int64, PrimitiveLiteral::Int(2)), Range::default());
        assert_eq!(range(Transform::Void, &DataType::Int64, PrimitiveLiteral::Int(2)), Range::default());
    }
}
