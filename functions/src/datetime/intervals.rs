//! Intervals: of months, or of days and parts of them, which have 24 hours each.

use arrow::array::{ArrayRef, IntervalMonthDayNanoArray};
use arrow::datatypes::{DataType, IntervalMonthDayNano, IntervalMonthDayNanoType};
use datafusion::error::{DataFusionError, Result};

use super::add::moved_months;
use super::calendar::DAY_MICROS;
use super::clock::Clock;
use super::not_supported;
use crate::{Call, Scalar, invalid, out_of_range};

pub(crate) const FUNCTIONS: &[Scalar] = &[
    Scalar::new("to_milliseconds", &["(interval) -> bigint"], to_milliseconds, "The milliseconds of an interval of days and parts of them."),
    Scalar::new("$moment_plus", &["(timestamptz(p), interval) -> timestamptz(p)"], moment_plus, "A moment that is later by an interval.")
        .returning(first_type),
    Scalar::new("$interval_text", &["(interval) -> varchar"], interval_text, "An interval as text."),
];

const MICRO_NANOS: i128 = 1_000;
const MILLI_NANOS: i128 = 1_000 * MICRO_NANOS;
const DAY_NANOS: i128 = DAY_MICROS as i128 * MICRO_NANOS;

/// Intervals in their parts.
pub(crate) struct Lengths<'a>(&'a IntervalMonthDayNanoArray);

impl<'a> Lengths<'a> {
    pub(crate) fn of(call: &Call<'a>, index: usize) -> Result<Self> {
        call.primitive::<IntervalMonthDayNanoType>(index).map(Self)
    }

    /// The months.
    pub(crate) fn months(&self, row: usize) -> i32 {
        self.0.value(row).months
    }

    /// The days and what is shorter, in nanoseconds.
    pub(crate) fn nanos(&self, row: usize) -> i128 {
        let value = self.0.value(row);
        i128::from(value.days) * DAY_NANOS + i128::from(value.nanoseconds)
    }
}

/// The whole days.
pub(crate) fn days_part(nanos: i128) -> i64 {
    i64::try_from(nanos / DAY_NANOS).unwrap_or(i64::MAX)
}

/// How many units of so many microseconds have passed within one of `of`; negative for a negative interval.
pub(crate) fn nanos_part(nanos: i128, unit: i64, of: i64) -> i64 {
    let within = nanos % (i128::from(of) * MICRO_NANOS);
    i64::try_from(within / (i128::from(unit) * MICRO_NANOS)).unwrap_or(0)
}

/// An interval of so many nanoseconds, and days as far as they are whole.
pub(crate) fn of_nanos(nanos: i128) -> Result<IntervalMonthDayNano> {
    let days = i32::try_from(nanos / DAY_NANOS).map_err(|_| too_long())?;
    let rest = i64::try_from(nanos % DAY_NANOS).map_err(|_| too_long())?;
    Ok(IntervalMonthDayNano::new(0, days, rest))
}

pub(crate) fn first_type(types: &[DataType]) -> Result<DataType> {
    types.first().cloned().ok_or_else(|| invalid("an argument is missing"))
}

fn too_long() -> DataFusionError {
    out_of_range("an interval is too long")
}

fn to_milliseconds(call: &Call<'_>) -> Result<ArrayRef> {
    let lengths = Lengths::of(call, 0)?;
    call.bigints(|row| match lengths.months(row) {
        0 => i64::try_from(lengths.nanos(row) / MILLI_NANOS).map(Some).map_err(|_| too_long()),
        _ => Err(invalid("months have no number of milliseconds")),
    })
}

/// Months are added to what the clocks of the zone show, the rest to the moment: a day has 24 hours.
fn moment_plus(call: &Call<'_>) -> Result<ArrayRef> {
    let (clock, lengths) = (Clock::of(call, 0)?, Lengths::of(call, 1)?);
    let zone = clock.zone();
    clock.moments(call, |row| {
        let moment = match lengths.months(row) {
            0 => clock.utc(row)?,
            months => zone.utc(moved_months(clock.micros(row)?, i64::from(months))?)?,
        };
        let micros = i64::try_from(lengths.nanos(row) / MICRO_NANOS).map_err(|_| too_long())?;
        moment.checked_add(micros).ok_or_else(too_long)
    })
}

/// `1-3` or `2 03:04:05.678`, as Trino writes them.
fn interval_text(call: &Call<'_>) -> Result<ArrayRef> {
    let lengths = Lengths::of(call, 0)?;
    call.texts(|row| written(lengths.0.value(row)).map(Some))
}

/// An interval as text.
///
/// Errors: `NOT_SUPPORTED` for one of months and of days.
pub fn written(interval: IntervalMonthDayNano) -> Result<String> {
    let nanos = i128::from(interval.days) * DAY_NANOS + i128::from(interval.nanoseconds);
    match (i64::from(interval.months), nanos / MILLI_NANOS) {
        (0, millis) => {
            let (sign, millis) = (if millis < 0 { "-" } else { "" }, millis.abs());
            let (seconds, rest) = (millis / 1_000, millis % 1_000);
            let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
            Ok(format!("{sign}{days} {hours:02}:{minutes:02}:{:02}.{rest:03}", seconds % 60))
        }
        (months, 0) => {
            let sign = if months < 0 { "-" } else { "" };
            Ok(format!("{sign}{}-{}", months.abs() / 12, months.abs() % 12))
        }
        _ => Err(not_supported("an interval of months and of days has no text")),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::AsArray;
    use arrow::datatypes::Int64Type;
    use datafusion::common::config::ConfigOptions;

    use super::*;

    fn intervals(values: Vec<Option<(i32, i32, i64)>>) -> ArrayRef {
        let values = values.into_iter().map(|value| value.map(|(months, days, nanos)| IntervalMonthDayNano::new(months, days, nanos)));
        Arc::new(values.collect::<IntervalMonthDayNanoArray>())
    }

    #[test]
    fn intervals_in_milliseconds() {
        let config = ConfigOptions::new();
        let run = |values: ArrayRef| to_milliseconds(&Call::new(&[values], 3, &DataType::Int64, &config, false));
        let counted = run(intervals(vec![Some((0, 1, -1_000_000)), None, Some((0, -1, 0))])).unwrap();
        let counted: Vec<Option<i64>> = counted.as_primitive::<Int64Type>().iter().collect();
        assert_eq!(counted, [Some(86_399_999), None, Some(-86_400_000)]);
        assert!(run(intervals(vec![Some((1, 0, 0)), None, None])).is_err());
    }
}
