//! `date_diff(unit, start, end)`.

use arrow::array::ArrayRef;
use chrono::{Datelike, NaiveDate};
use datafusion::error::{DataFusionError, Result};

use super::calendar::{DAY_MICROS, MILLI_MICROS, date_of, day_of, joined, month_end, month_start, split};
use super::clock::Clock;
use super::unit::{Kind, Unit};
use super::zone::Zone;
use crate::{Call, Scalar, out_of_range};

pub(crate) const FUNCTIONS: &[Scalar] = &[Scalar::new(
    "date_diff",
    &[
        "(varchar, date, date) -> bigint",
        "(varchar, timestamp(p), timestamp(p)) -> bigint",
        "(varchar, timestamptz(p), timestamptz(p)) -> bigint",
        "(varchar, time(p), time(p)) -> bigint",
    ],
    date_diff,
    "The whole units from one date, time or moment to another.",
)];

/// The days of a year before the 29th of February.
const DAYS_TO_29_FEBRUARY: i64 = 59;

fn date_diff(call: &Call<'_>) -> Result<ArrayRef> {
    let (units, start, end) = (call.text(0)?, Clock::of(call, 1)?, Clock::of(call, 2)?);
    let kind = match &start {
        Clock::Date(_) => Kind::Date,
        Clock::Time(_) | Clock::TimeNanos(_) => Kind::Time,
        Clock::Moment(..) | Clock::MomentNanos(..) => Kind::Moment,
    };
    // What clocks show is compared in the zone of the first.
    let zone = start.zone();
    call.bigints(|row| {
        let unit = Unit::of(units.value(row), kind)?;
        if let (Unit::Days(days), Clock::Date(_)) = (unit, &start) {
            return Ok(Some((end.day(row)? - start.day(row)?) / days));
        }
        let difference = match unit {
            Unit::Micros(micros) => {
                let (start, end) = (whole_millis(start.utc(row)?), whole_millis(end.utc(row)?));
                end.checked_sub(start).ok_or_else(too_far)? / micros
            }
            Unit::Days(days) => local(&end, zone, row)?.checked_sub(local(&start, zone, row)?).ok_or_else(too_far)? / (days * DAY_MICROS),
            Unit::Months(months) => {
                let (start, end) = (local(&start, zone, row)?, local(&end, zone, row)?);
                if months == 12 { years_between(start, end)? } else { months_between(start, end)? / months }
            }
        };
        Ok(Some(difference))
    })
}

/// Trino compares whole milliseconds.
fn whole_millis(micros: i64) -> i64 {
    micros - micros.rem_euclid(MILLI_MICROS)
}

fn local(clock: &Clock<'_>, zone: Zone, row: usize) -> Result<i64> {
    match clock {
        Clock::Moment(..) | Clock::MomentNanos(..) => zone.local(whole_millis(clock.utc(row)?)),
        other => other.micros(row),
    }
}

fn dates(micros: i64) -> Result<(NaiveDate, i64)> {
    date_of(split(micros).0).map(|date| (date, micros))
}

/// Whole months. The last day of a month is as far as any later day of another one.
fn months_between(start: i64, end: i64) -> Result<i64> {
    if end < start {
        return months_between(end, start).map(|months| -months);
    }
    let ((first, mut first_micros), (last, last_micros)) = (dates(start)?, dates(end)?);
    let months = (i64::from(last.year()) - i64::from(first.year())) * 12 + i64::from(last.month()) - i64::from(first.month());
    if last == month_end(last)? && first.day() > last.day() {
        first_micros -= i64::from(first.day() - last.day()) * DAY_MICROS;
    }
    let since = |date: NaiveDate, micros: i64| Ok::<_, DataFusionError>(micros - joined(day_of(month_start(date)), 0)?);
    Ok(months - i64::from(since(last, last_micros)? < since(first, first_micros)?))
}

/// Whole years. Days after February are as far into a year whether it has a 29th of February or not.
fn years_between(start: i64, end: i64) -> Result<i64> {
    if end < start {
        return years_between(end, start).map(|years| -years);
    }
    let ((first, first_micros), (last, last_micros)) = (dates(start)?, dates(end)?);
    let since = |date: NaiveDate, micros: i64| {
        let new_year = date.with_ordinal(1).ok_or_else(too_far)?;
        Ok::<_, DataFusionError>(micros - joined(day_of(new_year), 0)?)
    };
    let (mut first_rest, mut last_rest) = (since(first, first_micros)?, since(last, last_micros)?);
    let bound = DAYS_TO_29_FEBRUARY * DAY_MICROS;
    if first_rest >= bound {
        match (first.leap_year(), last.leap_year()) {
            (true, false) => first_rest -= DAY_MICROS,
            (false, true) if last_rest >= bound => last_rest -= DAY_MICROS,
            _ => {}
        }
    }
    Ok(i64::from(last.year()) - i64::from(first.year()) - i64::from(last_rest < first_rest))
}

fn too_far() -> DataFusionError {
    out_of_range("the difference is too large")
}

#[cfg(test)]
mod tests {
    use chrono::NaiveDateTime;

    use super::*;

    fn micros(text: &str) -> i64 {
        text.parse::<NaiveDateTime>().unwrap().and_utc().timestamp_micros()
    }

    #[test]
    fn months_and_years_are_whole() {
        let months = |start: &str, end: &str| months_between(micros(start), micros(end)).unwrap();
        assert_eq!(months("2020-01-31T10:00:00", "2020-02-29T09:00:00"), 0);
        assert_eq!(months("2020-01-31T10:00:00", "2020-02-29T10:00:00"), 1);
        assert_eq!(months("2020-03-31T10:00:00", "2020-02-29T11:00:00"), -1);
        let years = |start: &str, end: &str| years_between(micros(start), micros(end)).unwrap();
        assert_eq!(years("2020-02-29T00:00:00", "2021-02-28T00:00:00"), 1);
        assert_eq!(years("2019-03-01T00:00:00", "2020-02-29T23:00:00"), 0);
        assert_eq!(years("2020-03-31T10:00:00", "2021-03-31T09:59:59"), 0);
        assert!(months_between(i64::MIN, i64::MAX).is_err());
    }
}
