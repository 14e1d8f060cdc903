//! `to_iso8601(value)`.

use std::fmt::Write;

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::DataType;
use chrono::{Datelike, NaiveDate};
use datafusion::error::Result;

use super::calendar::{HOUR_MICROS, MINUTE_MICROS, SECOND_MICROS, date_of, split};
use super::clock::Clock;
use super::zone::offset_text;
use crate::{Call, Scalar};

pub(crate) const FUNCTIONS: &[Scalar] = &[
    Scalar::new(
        "to_iso8601",
        &["(date) -> varchar", "(timestamp(p)) -> varchar", "(timestamptz(p)) -> varchar"],
        to_iso8601,
        "A date or a moment as text of ISO 8601.",
    ),
    Scalar::new("$moment_text", &["(timestamp(p)) -> varchar", "(timestamptz(p)) -> varchar"], moment_text, "A moment as text, as a cast gives it."),
];

fn to_iso8601(call: &Call<'_>) -> Result<ArrayRef> {
    let clock = Clock::of(call, 0)?;
    let has_zone = matches!(call.argument(0)?.data_type(), DataType::Timestamp(_, Some(_)));
    call.texts(|row| {
        let mut text = String::with_capacity(32);
        if let Clock::Date(_) = &clock {
            write_date(&mut text, clock.date(row)?);
            return Ok(Some(text));
        }
        write_moment(&mut text, clock.micros(row)?, clock.nanos(row), 'T')?;
        if has_zone {
            match clock.zone().offset_seconds(clock.utc(row)?)? {
                0 => text.push('Z'),
                seconds => text.push_str(&offset_text(seconds, ":")),
            }
        }
        Ok(Some(text))
    })
}

fn moment_text(call: &Call<'_>) -> Result<ArrayRef> {
    let clock = Clock::of(call, 0)?;
    let has_zone = matches!(call.argument(0)?.data_type(), DataType::Timestamp(_, Some(_)));
    let name = clock.zone().name();
    call.texts(|row| {
        let mut text = String::with_capacity(48);
        write_moment(&mut text, clock.micros(row)?, clock.nanos(row), ' ')?;
        if has_zone {
            text.push(' ');
            text.push_str(&name);
        }
        Ok(Some(text))
    })
}

/// `2020-05-10`; years of more than four digits have as many as they need.
fn write_date(text: &mut String, date: NaiveDate) {
    let (sign, year) = (if date.year() < 0 { "-" } else { "" }, date.year().unsigned_abs());
    // Writing to a text does not fail.
    let _ = write!(text, "{sign}{year:04}-{:02}-{:02}", date.month(), date.day());
}

/// `nanos` stand behind the microseconds.
fn write_moment(text: &mut String, micros: i64, nanos: Option<i64>, between: char) -> Result<()> {
    let (day, micros) = split(micros);
    write_date(text, date_of(day)?);
    let (hour, minute, second) = (micros / HOUR_MICROS, micros / MINUTE_MICROS % 60, micros / SECOND_MICROS % 60);
    let _ = write!(text, "{between}{hour:02}:{minute:02}:{second:02}.{:06}", micros % SECOND_MICROS);
    if let Some(nanos) = nanos {
        let _ = write!(text, "{nanos:03}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nanoseconds_are_written_where_they_are_counted() {
        let written = |nanos| {
            let mut text = String::new();
            write_moment(&mut text, -1, nanos, 'T').unwrap();
            text
        };
        assert_eq!([written(None), written(Some(7))], ["1969-12-31T23:59:59.999999", "1969-12-31T23:59:59.999999007"]);
    }
}
