//! Dates, times and intervals as Trino writes them.

use arrow::array::ArrayRef;
use arrow::datatypes::{
    DataType, DurationMicrosecondType, DurationMillisecondType, DurationNanosecondType, DurationSecondType, IntervalMonthDayNanoType, IntervalUnit,
    Time32MillisecondType, Time32SecondType, Time64MicrosecondType, Time64NanosecondType, TimeUnit, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
};
use chrono::{Duration, NaiveDate};
use nunatak_coordinator::query::Zone;
use nunatak_core::{Code, Error, Result};

use super::super::types::{PLAIN_DIGITS, digits};
use super::{Writer, quoted, times};

const NANOS_PER_SECOND: i128 = 1_000_000_000;
pub(super) const SECONDS_PER_DAY: i128 = 86_400;

fn out_of_range() -> Error {
    Error::new(Code::NumericValueOutOfRange, "a date or time is beyond what calendars have")
}

/// A date by its days since 1970.
pub(super) fn date(days: i128) -> Result<NaiveDate> {
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

pub(super) fn times_of_day(array: &ArrayRef, unit: TimeUnit, parametric: bool) -> Writer<'_> {
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

pub(super) fn timestamps<'a>(array: &'a ArrayRef, unit: TimeUnit, zone: Option<&'a str>, parametric: bool) -> Writer<'a> {
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

pub(super) fn months(out: &mut Vec<u8>, months: i64) -> Result<()> {
    let sign = if months < 0 { "-" } else { "" };
    let months = months.unsigned_abs();
    quoted(out, format_args!("{sign}{}-{}", months / 12, months % 12))
}

/// An interval of days and seconds, which has milliseconds in Trino.
pub(super) fn elapsed(out: &mut Vec<u8>, nanos: i128) -> Result<()> {
    let sign = if nanos < 0 { "-" } else { "" };
    let nanos = nanos.abs();
    let day = SECONDS_PER_DAY * NANOS_PER_SECOND;
    quoted(out, format_args!("{sign}{} {}", nanos / day, clock(nanos % day, PLAIN_DIGITS)))
}

pub(super) fn intervals<'a>(array: &'a ArrayRef, told: &'a DataType) -> Writer<'a> {
    let of_months = matches!(told, DataType::Interval(IntervalUnit::YearMonth));
    times::<IntervalMonthDayNanoType>(array, move |value, out| match (of_months, value.months, value.days, value.nanoseconds) {
        (true, value, 0, 0) => months(out, i64::from(value)),
        (false, 0, days, nanos) => elapsed(out, i128::from(days) * SECONDS_PER_DAY * NANOS_PER_SECOND + i128::from(nanos)),
        _ => Err(Error::not_supported("intervals of months, and of days or seconds, in one column cannot be sent by this protocol")),
    })
}

pub(super) fn durations(array: &ArrayRef, unit: TimeUnit) -> Writer<'_> {
    let write = move |value: i64, out: &mut Vec<u8>| -> Result<()> { elapsed(out, to_nanos(value, unit, true)) };
    match unit {
        TimeUnit::Second => times::<DurationSecondType>(array, write),
        TimeUnit::Millisecond => times::<DurationMillisecondType>(array, write),
        TimeUnit::Microsecond => times::<DurationMicrosecondType>(array, write),
        TimeUnit::Nanosecond => times::<DurationNanosecondType>(array, write),
    }
}
