//! `date_add(unit, count, value)`.

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, Date32Type};
use datafusion::error::Result;

use super::calendar::{DAY_MICROS, date_of, day_of, day_value, joined, plus_months, split, too_far};
use super::clock::Clock;
use super::unit::{Kind, Unit};
use crate::{Call, Scalar, invalid};

pub(crate) const FUNCTIONS: &[Scalar] = &[Scalar::new(
    "date_add",
    &[
        "(varchar, bigint, date) -> date",
        "(varchar, bigint, timestamp(p)) -> timestamp(p)",
        "(varchar, bigint, timestamptz(p)) -> timestamptz(p)",
        "(varchar, bigint, time(p)) -> time(p)",
    ],
    date_add,
    "A date, time or moment that is later by so many units.",
)
.returning(third_type)];

fn third_type(types: &[DataType]) -> Result<DataType> {
    types.get(2).cloned().ok_or_else(|| invalid("an argument is missing"))
}

/// What clocks show so many months later.
pub(crate) fn moved_months(local_micros: i64, months: i64) -> Result<i64> {
    let (day, micros) = split(local_micros);
    joined(day_of(plus_months(date_of(day)?, months)?), micros)
}

/// What clocks show so many units later.
fn moved(local_micros: i64, unit: Unit, count: i64) -> Result<i64> {
    match unit {
        Unit::Months(months) => moved_months(local_micros, count.checked_mul(months).ok_or_else(too_far)?),
        unit => unit.micros(count).and_then(|micros| local_micros.checked_add(micros)).ok_or_else(too_far),
    }
}

fn date_add(call: &Call<'_>) -> Result<ArrayRef> {
    let (units, counts, clock) = (call.text(0)?, call.bigint(1)?, Clock::of(call, 2)?);
    match &clock {
        Clock::Date(days) => call.primitives::<Date32Type>(|row| {
            let (day, count) = (i64::from(days.value(row)), counts.value(row));
            let moved = match Unit::of(units.value(row), Kind::Date)? {
                Unit::Months(months) => day_of(plus_months(date_of(day)?, count.checked_mul(months).ok_or_else(too_far)?)?),
                Unit::Days(days) => count.checked_mul(days).and_then(|days| day.checked_add(days)).ok_or_else(too_far)?,
                Unit::Micros(_) => return Err(invalid("a date has no parts of days")),
            };
            day_value(moved).map(Some)
        }),
        Clock::Time(_) | Clock::TimeNanos(_) => clock.times(call, |row| {
            let Unit::Micros(micros) = Unit::of(units.value(row), Kind::Time)? else { return Err(invalid("a time of day has no days")) };
            // Around the clock it is the same.
            let count = counts.value(row) % (DAY_MICROS / micros);
            Ok((clock.micros(row)? + count * micros).rem_euclid(DAY_MICROS))
        }),
        Clock::Moment(_, zone) | Clock::MomentNanos(_, zone) => clock.moments(call, |row| {
            let count = counts.value(row);
            // Parts of days have passed; a day later clocks show the same.
            match Unit::of(units.value(row), Kind::Moment)? {
                unit @ Unit::Micros(_) => moved(clock.utc(row)?, unit, count),
                unit => zone.utc(moved(clock.micros(row)?, unit, count)?),
            }
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{AsArray, Int64Array, StringViewArray, Time64NanosecondArray, TimestampNanosecondArray};
    use arrow::datatypes::{Time64NanosecondType, TimestampNanosecondType};
    use datafusion::common::config::ConfigOptions;

    use super::*;

    #[test]
    fn nanoseconds_stay() {
        let added = |unit: &str, values: ArrayRef| {
            let units: ArrayRef = Arc::new(StringViewArray::from(vec![unit; values.len()]));
            let counts: ArrayRef = Arc::new(Int64Array::from(vec![1; values.len()]));
            let (rows, returns, config) = (values.len(), values.data_type().clone(), ConfigOptions::new());
            date_add(&Call::new(&[units, counts, values], rows, &returns, &config, false)).unwrap()
        };
        let moments: ArrayRef = Arc::new(TimestampNanosecondArray::from(vec![Some(-1), None, Some(1_234)]));
        let days = added("day", Arc::clone(&moments));
        let day = DAY_MICROS * 1_000;
        assert_eq!(days.as_primitive::<TimestampNanosecondType>().iter().collect::<Vec<_>>(), [Some(day - 1), None, Some(day + 1_234)]);
        let millis = added("millisecond", moments);
        assert_eq!(millis.as_primitive::<TimestampNanosecondType>().value(0), 999_999);
        let times = added("millisecond", Arc::new(Time64NanosecondArray::from(vec![day - 1])));
        assert_eq!(times.as_primitive::<Time64NanosecondType>().value(0), 999_999);
    }

    #[test]
    fn nothing_overflows() {
        assert!(moved(0, Unit::Months(12), i64::MAX).is_err());
        assert!(moved(0, Unit::Months(1), i64::MIN).is_err());
        assert!(moved(i64::MAX, Unit::Micros(1_000), 1).is_err());
        assert!(moved(0, Unit::Days(7), i64::MAX).is_err());
        assert_eq!(moved(DAY_MICROS, Unit::Days(7), -1).unwrap(), -6 * DAY_MICROS);
    }
}
