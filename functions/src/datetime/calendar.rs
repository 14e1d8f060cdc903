//! Days and microseconds since the epoch, as dates.

use chrono::{Datelike, Months, NaiveDate};
use datafusion::error::{DataFusionError, Result};

use crate::out_of_range;

pub(crate) const MILLI_MICROS: i64 = 1_000;
pub(crate) const SECOND_MICROS: i64 = 1_000_000;
pub(crate) const MINUTE_MICROS: i64 = 60 * SECOND_MICROS;
pub(crate) const HOUR_MICROS: i64 = 60 * MINUTE_MICROS;
pub(crate) const DAY_MICROS: i64 = 24 * HOUR_MICROS;

/// Days from the day before the year 1 to the epoch.
const EPOCH_DAYS: i64 = 719_163;

pub(crate) const DAY_NAMES: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

pub(crate) const MONTH_NAMES: [&str; 12] =
    ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"];

/// The date of a day since the epoch. Errors: `NUMERIC_VALUE_OUT_OF_RANGE` outside of some 260,000 years.
pub(crate) fn date_of(day: i64) -> Result<NaiveDate> {
    let days = day.checked_add(EPOCH_DAYS).and_then(|days| i32::try_from(days).ok());
    days.and_then(NaiveDate::from_num_days_from_ce_opt).ok_or_else(too_far)
}

/// The day of a date since the epoch.
pub(crate) fn day_of(date: NaiveDate) -> i64 {
    i64::from(date.num_days_from_ce()) - EPOCH_DAYS
}

/// The same as a value of a column.
pub(crate) fn day_value(day: i64) -> Result<i32> {
    i32::try_from(day).map_err(|_| too_far())
}

/// The day in which a moment lies, and the microseconds since it began.
pub(crate) fn split(micros: i64) -> (i64, i64) {
    (micros.div_euclid(DAY_MICROS), micros.rem_euclid(DAY_MICROS))
}

/// The moment so long after a day began.
pub(crate) fn joined(day: i64, micros: i64) -> Result<i64> {
    day.checked_mul(DAY_MICROS).and_then(|start| start.checked_add(micros)).ok_or_else(too_far)
}

/// So many months later, on the same day of the month or the last one.
pub(crate) fn plus_months(date: NaiveDate, months: i64) -> Result<NaiveDate> {
    let count = u32::try_from(months.unsigned_abs()).map_err(|_| too_far())?;
    let moved = if months < 0 { date.checked_sub_months(Months::new(count)) } else { date.checked_add_months(Months::new(count)) };
    moved.ok_or_else(too_far)
}

/// The first day of a month.
pub(crate) fn month_start(date: NaiveDate) -> NaiveDate {
    date.with_day(1).unwrap_or(date)
}

/// The last day of a month.
pub(crate) fn month_end(date: NaiveDate) -> Result<NaiveDate> {
    let next = month_start(date).checked_add_months(Months::new(1));
    next.and_then(|next| next.pred_opt()).ok_or_else(too_far)
}

/// Whole milliseconds, rounded as Trino rounds moments to them: half of one counts as one.
pub(crate) fn rounded_millis(micros: i64) -> i64 {
    let millis = micros.div_euclid(MILLI_MICROS);
    millis + i64::from(micros.rem_euclid(MILLI_MICROS) >= MILLI_MICROS / 2)
}

pub(crate) fn too_far() -> DataFusionError {
    out_of_range("a date or a moment is outside of the calendar")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_end_where_they_do() {
        let date = |text: &str| text.parse::<NaiveDate>().unwrap();
        assert_eq!(plus_months(date("2020-01-31"), 1).unwrap(), date("2020-02-29"));
        assert_eq!(plus_months(date("2020-03-31"), -13).unwrap(), date("2019-02-28"));
        assert!(plus_months(date("2020-03-31"), i64::MIN).is_err());
        assert_eq!(month_end(date("2020-12-05")).unwrap(), date("2020-12-31"));
        assert_eq!((day_of(date("1970-01-01")), day_of(date("1969-12-31"))), (0, -1));
        assert_eq!(date_of(day_of(date("0001-01-01"))).unwrap(), date("0001-01-01"));
        assert!(date_of(i64::MAX).is_err());
        assert_eq!((rounded_millis(-1), rounded_millis(-501), rounded_millis(1_500)), (0, -1, 2));
    }
}
