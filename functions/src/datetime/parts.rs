//! Parts of dates, times and moments.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::{DataType, Date32Type, TimeUnit};
use chrono::{Datelike, NaiveDate};
use datafusion::common::ScalarValue;
use datafusion::error::Result;

use super::calendar::{DAY_MICROS, HOUR_MICROS, MILLI_MICROS, MINUTE_MICROS, SECOND_MICROS, day_of, day_value, joined, month_end};
use super::clock::Clock;
use super::intervals::{Lengths, days_part, nanos_part};
use super::zone::Zone;
use crate::{Call, Scalar};

/// What has dates.
const DATES: &[&str] = &["(date) -> bigint", "(timestamp(p)) -> bigint", "(timestamptz(p)) -> bigint"];
const DATES_AND_INTERVALS: &[&str] = &["(date) -> bigint", "(timestamp(p)) -> bigint", "(timestamptz(p)) -> bigint", "(interval) -> bigint"];
/// What has times of day.
const TIMES: &[&str] = &["(timestamp(p)) -> bigint", "(timestamptz(p)) -> bigint", "(time(p)) -> bigint", "(interval) -> bigint"];

pub(crate) const FUNCTIONS: &[Scalar] = &[
    Scalar::new("year", DATES_AND_INTERVALS, year, "The year.").with_preimage(year_range),
    Scalar::new("quarter", DATES, quarter, "The quarter of the year, from 1 to 4."),
    Scalar::new("month", DATES_AND_INTERVALS, month, "The month of the year, from 1 to 12."),
    Scalar::new("week", DATES, week, "The ISO week of the year, from 1 to 53.").also(&["week_of_year"]),
    Scalar::new("year_of_week", DATES, year_of_week, "The year to which the ISO week belongs.").also(&["yow"]),
    Scalar::new("day", DATES_AND_INTERVALS, day, "The day of the month.").also(&["day_of_month"]),
    Scalar::new("day_of_week", DATES, day_of_week, "The day of the ISO week, from 1 for Monday to 7 for Sunday.").also(&["dow"]),
    Scalar::new("day_of_year", DATES, day_of_year, "The day of the year, from 1 to 366.").also(&["doy"]),
    Scalar::new("hour", TIMES, hour, "The hour of the day, from 0 to 23."),
    Scalar::new("minute", TIMES, minute, "The minute of the hour."),
    Scalar::new("second", TIMES, second, "The second of the minute."),
    Scalar::new("millisecond", TIMES, millisecond, "The millisecond of the second."),
    Scalar::new("timezone_hour", &["(timestamptz(p)) -> bigint"], timezone_hour, "The hours by which the zone is before UTC."),
    Scalar::new("timezone_minute", &["(timestamptz(p)) -> bigint"], timezone_minute, "The minutes of the hour by which the zone is before UTC."),
    Scalar::new(
        "last_day_of_month",
        &["(date) -> date", "(timestamp(p)) -> date", "(timestamptz(p)) -> date"],
        last_day_of_month,
        "The last day of the month.",
    ),
];

fn is_interval(call: &Call<'_>) -> Result<bool> {
    Ok(matches!(call.argument(0)?.data_type(), DataType::Interval(_)))
}

fn of_dates(call: &Call<'_>, part: fn(NaiveDate) -> i64) -> Result<ArrayRef> {
    let clock = Clock::of(call, 0)?;
    call.bigints(|row| Ok(Some(part(clock.date(row)?))))
}

fn year(call: &Call<'_>) -> Result<ArrayRef> {
    if is_interval(call)? {
        let lengths = Lengths::of(call, 0)?;
        return call.bigints(|row| Ok(Some(i64::from(lengths.months(row) / 12))));
    }
    of_dates(call, |date| i64::from(date.year()))
}

/// The first moments of a year and of the next one, by which `year(x) = 2024` can be read off statistics.
fn year_range(data_type: &DataType, year: &ScalarValue) -> Option<(ScalarValue, ScalarValue)> {
    let ScalarValue::Int64(Some(year)) = year else { return None };
    let year = i32::try_from(*year).ok()?;
    let bound = |year: i32| {
        let day = day_of(NaiveDate::from_ymd_opt(year, 1, 1)?);
        Some(match data_type {
            DataType::Date32 => ScalarValue::Date32(Some(day_value(day).ok()?)),
            DataType::Timestamp(TimeUnit::Microsecond, zone) => {
                let utc = zone.as_ref().map_or(Some(Zone::Utc), |zone| Zone::parse(zone))?.utc(joined(day, 0).ok()?).ok()?;
                ScalarValue::TimestampMicrosecond(Some(utc), zone.as_ref().map(Arc::clone))
            }
            _ => return None,
        })
    };
    Some((bound(year)?, bound(year.checked_add(1)?)?))
}

fn quarter(call: &Call<'_>) -> Result<ArrayRef> {
    of_dates(call, |date| i64::from(date.month0() / 3 + 1))
}

fn month(call: &Call<'_>) -> Result<ArrayRef> {
    if is_interval(call)? {
        let lengths = Lengths::of(call, 0)?;
        return call.bigints(|row| Ok(Some(i64::from(lengths.months(row) % 12))));
    }
    of_dates(call, |date| i64::from(date.month()))
}

fn week(call: &Call<'_>) -> Result<ArrayRef> {
    of_dates(call, |date| i64::from(date.iso_week().week()))
}

fn year_of_week(call: &Call<'_>) -> Result<ArrayRef> {
    of_dates(call, |date| i64::from(date.iso_week().year()))
}

fn day(call: &Call<'_>) -> Result<ArrayRef> {
    if is_interval(call)? {
        let lengths = Lengths::of(call, 0)?;
        return call.bigints(|row| Ok(Some(days_part(lengths.nanos(row)))));
    }
    of_dates(call, |date| i64::from(date.day()))
}

fn day_of_week(call: &Call<'_>) -> Result<ArrayRef> {
    of_dates(call, |date| i64::from(date.weekday().number_from_monday()))
}

fn day_of_year(call: &Call<'_>) -> Result<ArrayRef> {
    of_dates(call, |date| i64::from(date.ordinal()))
}

/// How many units of so many microseconds have passed within one of `of`.
fn of_times(call: &Call<'_>, unit: i64, of: i64) -> Result<ArrayRef> {
    if is_interval(call)? {
        let lengths = Lengths::of(call, 0)?;
        return call.bigints(|row| Ok(Some(nanos_part(lengths.nanos(row), unit, of))));
    }
    let clock = Clock::of(call, 0)?;
    call.bigints(|row| Ok(Some(clock.micros(row)?.rem_euclid(of) / unit)))
}

fn hour(call: &Call<'_>) -> Result<ArrayRef> {
    of_times(call, HOUR_MICROS, DAY_MICROS)
}

fn minute(call: &Call<'_>) -> Result<ArrayRef> {
    of_times(call, MINUTE_MICROS, HOUR_MICROS)
}

fn second(call: &Call<'_>) -> Result<ArrayRef> {
    of_times(call, SECOND_MICROS, MINUTE_MICROS)
}

fn millisecond(call: &Call<'_>) -> Result<ArrayRef> {
    of_times(call, MILLI_MICROS, SECOND_MICROS)
}

fn offset_minutes(call: &Call<'_>, part: fn(i32) -> i32) -> Result<ArrayRef> {
    let clock = Clock::of(call, 0)?;
    call.bigints(|row| Ok(Some(i64::from(part(clock.zone().offset_seconds(clock.utc(row)?)? / 60)))))
}

fn timezone_hour(call: &Call<'_>) -> Result<ArrayRef> {
    offset_minutes(call, |minutes| minutes / 60)
}

fn timezone_minute(call: &Call<'_>) -> Result<ArrayRef> {
    offset_minutes(call, |minutes| minutes % 60)
}

fn last_day_of_month(call: &Call<'_>) -> Result<ArrayRef> {
    let clock = Clock::of(call, 0)?;
    call.primitives::<Date32Type>(|row| Ok(Some(day_value(day_of(month_end(clock.date(row)?)?))?)))
}

#[cfg(test)]
mod tests {
    use arrow::array::{Array, Int64Array, TimestampMicrosecondArray, TimestampNanosecondArray};
    use datafusion::common::config::ConfigOptions;

    use super::*;

    fn called(run: crate::scalar::Run, argument: ArrayRef) -> Vec<Option<i64>> {
        let (rows, arguments, config) = (argument.len(), [argument], ConfigOptions::new());
        let result = run(&Call::new(&arguments, rows, &DataType::Int64, &config, false)).unwrap();
        result.as_any().downcast_ref::<Int64Array>().unwrap().iter().collect()
    }

    #[test]
    fn parts_are_those_of_the_zone() {
        let moments = TimestampMicrosecondArray::from(vec![Some(0), None, Some(1_577_836_799_000_000)]).with_timezone("Asia/Tokyo");
        let sliced: ArrayRef = Arc::new(moments.slice(1, 2));
        assert_eq!(called(year, Arc::clone(&sliced)), [None, Some(2020)]);
        assert_eq!(called(hour, Arc::clone(&sliced)), [None, Some(8)]);
        assert_eq!(called(timezone_hour, sliced), [None, Some(9)]);
        let nanos: ArrayRef = Arc::new(TimestampNanosecondArray::from(vec![-1, 59_999_999_999]));
        assert_eq!(called(second, Arc::clone(&nanos)), [Some(59), Some(59)]);
        assert_eq!(called(year, nanos), [Some(1969), Some(1970)]);
    }

    #[test]
    fn years_are_ranges() {
        let range = |data_type: &DataType| year_range(data_type, &ScalarValue::Int64(Some(1970)));
        assert_eq!(range(&DataType::Date32), Some((ScalarValue::Date32(Some(0)), ScalarValue::Date32(Some(365)))));
        let tokyo = DataType::Timestamp(TimeUnit::Microsecond, Some("Asia/Tokyo".into()));
        let (first, _) = range(&tokyo).unwrap();
        assert_eq!(first, ScalarValue::TimestampMicrosecond(Some(-9 * HOUR_MICROS), Some("Asia/Tokyo".into())));
        assert_eq!(year_range(&DataType::Date32, &ScalarValue::Int64(Some(i64::MAX))), None);
    }
}
