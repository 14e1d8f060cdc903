//! The year, month, day and hour transforms: how many of them lie between 1970-01-01T00:00Z and a value, rounded down. Timestamps with a zone are
//! taken in UTC, whatever the session's zone.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, Date32Array, Int32Array, PrimitiveArray};
use arrow::datatypes::{
    DataType, Date32Type, Int32Type, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
};
use nunatak_core::{Code, Error, Result};

use super::wrong_type;

const SECONDS_PER_HOUR: i64 = 3_600;
const SECONDS_PER_DAY: i64 = 86_400;

pub(super) fn year(array: &ArrayRef) -> Result<ArrayRef> {
    let years: Int32Array = days("year", array)?.unary(|day| civil(day).0 - 1970);
    Ok(Arc::new(years))
}

pub(super) fn month(array: &ArrayRef) -> Result<ArrayRef> {
    let months: Int32Array = days("month", array)?.unary(|day| {
        let (year, month) = civil(day);
        (year - 1970) * 12 + month - 1
    });
    Ok(Arc::new(months))
}

pub(super) fn day(array: &ArrayRef) -> Result<ArrayRef> {
    Ok(Arc::new(days("day", array)?))
}

pub(super) fn hour(array: &ArrayRef) -> Result<ArrayRef> {
    if array.data_type() == &DataType::Date32 {
        return Err(wrong_type("hour", array.data_type()));
    }
    let hours: Int32Array = periods::<Int32Type>("hour", array, SECONDS_PER_HOUR)?;
    Ok(Arc::new(hours))
}

fn days(transform: &str, array: &ArrayRef) -> Result<Date32Array> {
    match array.data_type() {
        DataType::Date32 => Ok(array.as_primitive::<Date32Type>().clone()),
        _ => periods::<Date32Type>(transform, array, SECONDS_PER_DAY),
    }
}

/// How many periods of `seconds` lie between the epoch and each timestamp.
fn periods<T>(transform: &str, array: &ArrayRef, seconds: i64) -> Result<PrimitiveArray<T>>
where
    T: ArrowPrimitiveType<Native = i32>,
{
    match array.data_type() {
        DataType::Timestamp(TimeUnit::Second, _) => divide(transform, array.as_primitive::<TimestampSecondType>(), seconds),
        DataType::Timestamp(TimeUnit::Millisecond, _) => divide(transform, array.as_primitive::<TimestampMillisecondType>(), seconds * 1_000),
        DataType::Timestamp(TimeUnit::Microsecond, _) => divide(transform, array.as_primitive::<TimestampMicrosecondType>(), seconds * 1_000_000),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => divide(transform, array.as_primitive::<TimestampNanosecondType>(), seconds * 1_000_000_000),
        other => Err(wrong_type(transform, other)),
    }
}

fn divide<S, T>(transform: &str, array: &PrimitiveArray<S>, period: i64) -> Result<PrimitiveArray<T>>
where
    S: ArrowPrimitiveType<Native = i64>,
    T: ArrowPrimitiveType<Native = i32>,
{
    array.try_unary(|value| {
        i32::try_from(value.div_euclid(period)).map_err(|_| {
            Error::new(Code::NumericValueOutOfRange, format!("a timestamp is too far from 1970 for transform {transform}"))
                .with_hint("leave out such rows, or partition by a coarser transform")
        })
    })
}

/// Year and month (from 1) of a day counted from 1970-01-01, in the proleptic Gregorian calendar.
fn civil(day: i32) -> (i32, i32) {
    const DAYS_PER_ERA: i64 = 146_097; // 400 years
    // Years that begin in March have their leap day at the end.
    let day = i64::from(day) + 719_468;
    let era = day.div_euclid(DAYS_PER_ERA);
    let day_of_era = day.rem_euclid(DAYS_PER_ERA);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    // A 32-bit day is less than six million years away.
    (year as i32, month as i32)
}

#[cfg(test)]
mod tests {
    use arrow::array::{TimestampMicrosecondArray, TimestampNanosecondArray};
    use chrono::{Datelike, NaiveDate};

    use super::*;

    fn ints(array: Result<ArrayRef>) -> Vec<Option<i32>> {
        arrow::compute::cast(&array.unwrap(), &DataType::Int32).unwrap().as_primitive::<Int32Type>().iter().collect()
    }

    #[test]
    fn the_spec_examples_and_values_before_1970() {
        // 2017-11-16T22:31:08, 1970-01-01, one microsecond before 1970, 1968-12-31T23:00
        let timestamps = vec![Some(1_510_871_468_000_000), Some(0), Some(-1), Some(-31_626_000_000_000), None];
        let array: ArrayRef = Arc::new(TimestampMicrosecondArray::from(timestamps.clone()).with_timezone("UTC"));
        assert_eq!(ints(year(&array)), [Some(47), Some(0), Some(-1), Some(-2), None]);
        assert_eq!(ints(month(&array)), [Some(574), Some(0), Some(-1), Some(-13), None]);
        assert_eq!(ints(day(&array)), [Some(17_486), Some(0), Some(-1), Some(-367), None]);
        assert_eq!(ints(hour(&array)), [Some(419_686), Some(0), Some(-1), Some(-8_785), None]);
        let nanos: ArrayRef = Arc::new(TimestampNanosecondArray::from_iter(timestamps.iter().map(|value| value.map(|value| value * 1_000))));
        for (micros, nanos) in
            [(year(&array), year(&nanos)), (month(&array), month(&nanos)), (day(&array), day(&nanos)), (hour(&array), hour(&nanos))]
        {
            assert_eq!(ints(micros), ints(nanos));
        }
    }

    #[test]
    fn dates() {
        let array: ArrayRef = Arc::new(Date32Array::from(vec![17_486, 0, -1]));
        assert_eq!(ints(year(&array)), [Some(47), Some(0), Some(-1)]);
        assert_eq!(ints(month(&array)), [Some(574), Some(0), Some(-1)]);
        assert_eq!(day(&array).unwrap().data_type(), &DataType::Date32);
        assert!(hour(&array).is_err());
    }

    #[test]
    fn civil_agrees_with_the_calendar() {
        let epoch = NaiveDate::from_ymd_opt(1970, 1, 1).unwrap();
        for day in (-800_000..800_000).step_by(13) {
            let date = epoch + chrono::Duration::days(i64::from(day));
            assert_eq!(civil(day), (date.year(), date.month() as i32), "{date}");
        }
    }

    #[test]
    fn too_far_away_is_an_error() {
        let array: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![i64::MAX]));
        assert!(hour(&array).is_err());
        assert!(day(&array).is_ok());
    }
}
