//! `sequence`: numbers, days or moments from one to another.

use std::sync::Arc;

use arrow::array::{ArrayRef, ListArray, NullBufferBuilder, PrimitiveArray};
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Int64Type, IntervalMonthDayNano, IntervalMonthDayNanoType, TimeUnit, TimestampMicrosecondType,
    TimestampNanosecondType,
};
use datafusion::common::internal_err;
use datafusion::error::Result;

use crate::{Call, Scalar, invalid, out_of_range};

/// The most elements of a sequence, as in Trino.
const ELEMENTS_MAX: i64 = 10_000;
const DAY_MICROS: i64 = 86_400_000_000;
const DAY_NANOS: i64 = 86_400_000_000_000;
const MICRO_NANOS: i64 = 1_000;

pub(crate) const FUNCTIONS: &[Scalar] = &[Scalar::new(
    "sequence",
    &[
        "(bigint, bigint) -> array(bigint)",
        "(bigint, bigint, bigint) -> array(bigint)",
        "(date, date) -> array(date)",
        "(date, date, interval) -> array(date)",
        "(timestamp(p), timestamp(p), interval) -> array(timestamp(p))",
    ],
    sequence,
    "The values from one to another, both included, by a step.",
)];

/// By how much each value is more than the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Fixed(i64),
    Months(i64),
}

fn sequence(call: &Call<'_>) -> Result<ArrayRef> {
    let DataType::List(field) = call.returns() else { return internal_err!("a sequence is no {}", call.returns()) };
    match field.data_type() {
        DataType::Int64 => sequences::<Int64Type>(
            call,
            1,
            |number| number,
            Some,
            |row, upwards| match call.len() {
                2 => Ok(Step::Fixed(if upwards { 1 } else { -1 })),
                _ => Ok(Step::Fixed(call.bigint(2)?.value(row))),
            },
        ),
        DataType::Date32 => sequences::<Date32Type>(
            call,
            1,
            i64::from,
            |days| i32::try_from(days).ok(),
            |row, upwards| match call.len() {
                2 => Ok(Step::Fixed(if upwards { 1 } else { -1 })),
                _ => days(call.primitive::<IntervalMonthDayNanoType>(2)?.value(row)),
            },
        ),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => sequences::<TimestampNanosecondType>(
            call,
            DAY_NANOS,
            |nanos| nanos,
            Some,
            |row, _| nanos(call.primitive::<IntervalMonthDayNanoType>(2)?.value(row)),
        ),
        _ => sequences::<TimestampMicrosecondType>(
            call,
            DAY_MICROS,
            |micros| micros,
            Some,
            |row, _| micros(call.primitive::<IntervalMonthDayNanoType>(2)?.value(row)),
        ),
    }
}

/// `number` and `value` turn values into numbers and back, of which `day` are a day; `step` is given a row and whether its sequence goes upwards.
fn sequences<T: ArrowPrimitiveType>(
    call: &Call<'_>,
    day: i64,
    number: impl Fn(T::Native) -> i64,
    value: impl Fn(i64) -> Option<T::Native>,
    step: impl Fn(usize, bool) -> Result<Step>,
) -> Result<ArrayRef> {
    let DataType::List(field) = call.returns() else { return internal_err!("a sequence is no {}", call.returns()) };
    let (starts, ends) = (call.primitive::<T>(0)?, call.primitive::<T>(1)?);
    let mut values: Vec<T::Native> = Vec::new();
    let mut offsets = vec![0];
    let mut valid = NullBufferBuilder::new(call.rows());
    for row in 0..call.rows() {
        if call.is_null(row) {
            valid.append_null();
        } else {
            let (start, end) = (number(starts.value(row)), number(ends.value(row)));
            fill(start, end, step(row, start <= end)?, day, |at| {
                values.push(value(at).ok_or_else(|| out_of_range("a value of the sequence is out of range"))?);
                Ok(())
            })?;
            valid.append_non_null();
        }
        offsets.push(i32::try_from(values.len()).map_err(|_| out_of_range("arrays of a batch have too many elements"))?);
    }
    let elements = PrimitiveArray::<T>::new(values.into(), None).with_data_type(field.data_type().clone());
    let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
    Ok(Arc::new(ListArray::try_new(Arc::clone(field), offsets, Arc::new(elements), valid.finish())?))
}

fn fill(start: i64, end: i64, step: Step, day: i64, mut push: impl FnMut(i64) -> Result<()>) -> Result<()> {
    let (Step::Fixed(length) | Step::Months(length)) = step;
    if length == 0 {
        return Err(invalid("the step of a sequence must not be 0"));
    }
    if (length > 0 && end < start) || (length < 0 && end > start) {
        return Err(invalid("the step of a sequence does not lead from its start to its end"));
    }
    let mut at = Some(start);
    let mut number = 0;
    while let Some(value) = at.filter(|at| if length > 0 { *at <= end } else { *at >= end }) {
        if number == ELEMENTS_MAX {
            return Err(invalid(format!("a sequence has at most {ELEMENTS_MAX} elements")));
        }
        push(value)?;
        number += 1;
        at = match step {
            Step::Fixed(length) => value.checked_add(length),
            Step::Months(months) => months.checked_mul(number).and_then(|months| plus_months(start, months, day)),
        };
    }
    Ok(())
}

/// A step between dates. Errors: `INVALID_FUNCTION_ARGUMENT` for one that is not of whole days.
fn days(interval: IntervalMonthDayNano) -> Result<Step> {
    if interval.nanoseconds % DAY_NANOS != 0 {
        return Err(invalid("the step between dates must be of whole days"));
    }
    step(interval, i64::from(interval.days) + interval.nanoseconds / DAY_NANOS)
}

fn micros(interval: IntervalMonthDayNano) -> Result<Step> {
    // The days of an interval are an i32, so that neither number comes near the limit.
    step(interval, i64::from(interval.days) * DAY_MICROS + interval.nanoseconds / MICRO_NANOS)
}

/// Errors: `NUMERIC_VALUE_OUT_OF_RANGE` for what is longer than nanoseconds can say.
fn nanos(interval: IntervalMonthDayNano) -> Result<Step> {
    let fixed = i64::from(interval.days).checked_mul(DAY_NANOS).and_then(|days| days.checked_add(interval.nanoseconds));
    step(interval, fixed.ok_or_else(|| out_of_range("the step of the sequence is out of range"))?)
}

fn step(interval: IntervalMonthDayNano, fixed: i64) -> Result<Step> {
    match (interval.months, fixed) {
        (0, fixed) => Ok(Step::Fixed(fixed)),
        (months, 0) => Ok(Step::Months(i64::from(months))),
        _ => Err(invalid("the step of a sequence is of months, or of days and times, not of both")),
    }
}

/// A day or a moment some months later, in numbers of which so many are a day: on the same day of the month, or its last one. `None` if it cannot be counted.
fn plus_months(at: i64, months: i64, length_of_day: i64) -> Option<i64> {
    let (day, time) = (at.div_euclid(length_of_day), at.rem_euclid(length_of_day));
    let (year, month, day_of_month) = civil(day);
    let month = year.checked_mul(12)?.checked_add(month - 1)?.checked_add(months)?;
    let (year, month) = (month.div_euclid(12), month.rem_euclid(12) + 1);
    let first = day_of(year, month)?;
    let next = if month == 12 { day_of(year.checked_add(1)?, 1)? } else { day_of(year, month + 1)? };
    let day = first.checked_add((day_of_month - 1).min(next - first - 1))?;
    day.checked_mul(length_of_day)?.checked_add(time)
}

/// Year, month and day of the month of a day since 1970-01-01 in the Gregorian calendar: H. Hinnant, "chrono-compatible low-level date algorithms".
fn civil(day: i64) -> (i64, i64, i64) {
    // Years begin in March here, so that the day of a leap year is the last one.
    let day = day + 719_468;
    let (era, day_of_era) = (day.div_euclid(146_097), day.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day_of_year - (153 * shifted + 2) / 5 + 1)
}

/// The first day of a month.
fn day_of(year: i64, month: i64) -> Option<i64> {
    let year = if month <= 2 { year.checked_sub(1)? } else { year };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era.checked_mul(146_097)?.checked_add(day_of_era - 719_468)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_end_on_their_last_day() {
        for day in [-1_000_000, -719_468, -1, 0, 59, 11_016, 19_782, 2_932_896] {
            let (year, month, day_of_month) = civil(day);
            assert_eq!(day_of(year, month).unwrap() + day_of_month - 1, day);
        }
        assert_eq!(civil(19_782), (2024, 2, 29));
        // From 2024-01-31 on.
        let days: Vec<_> = (0..4).map(|months| civil(plus_months(19_753, months, 1).unwrap())).collect();
        assert_eq!(days, [(2024, 1, 31), (2024, 2, 29), (2024, 3, 31), (2024, 4, 30)]);
        assert_eq!(plus_months(19_753, -12 * 3000, 1).map(civil), Some((-976, 1, 31)));
        assert_eq!(plus_months(DAY_MICROS * 30 + 5, 1, DAY_MICROS), Some(DAY_MICROS * 58 + 5));
        assert_eq!(plus_months(DAY_NANOS * 30 + 5, 1, DAY_NANOS), Some(DAY_NANOS * 58 + 5));
        assert_eq!(plus_months(0, i64::MAX, 1), None);
        assert_eq!(nanos(IntervalMonthDayNano::new(0, 1, 5)).unwrap(), Step::Fixed(DAY_NANOS + 5));
        assert!(nanos(IntervalMonthDayNano::new(0, i32::MAX, 0)).is_err());
    }

    #[test]
    fn sequences_have_bounds() {
        let values = |start, end, step| {
            let mut values = Vec::new();
            fill(start, end, step, DAY_MICROS, |value| {
                values.push(value);
                Ok(())
            })
            .map(|()| values)
        };
        assert_eq!(values(i64::MAX - 1, i64::MAX, Step::Fixed(1)).unwrap(), [i64::MAX - 1, i64::MAX]);
        assert_eq!(values(3, 3, Step::Fixed(-1)).unwrap(), [3]);
        assert!(values(1, 5, Step::Fixed(0)).is_err() && values(1, 5, Step::Fixed(-1)).is_err() && values(0, 10_000, Step::Fixed(1)).is_err());
        assert_eq!(values(0, 9_999, Step::Fixed(1)).unwrap().len(), 10_000);
    }
}
