//! Dates and moments from text of ISO 8601.

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, Date32Type, TimeUnit, TimestampMicrosecondType, TimestampNanosecondType};
use chrono::{NaiveDate, Weekday};
use datafusion::common::ScalarValue;
use datafusion::error::Result;

use super::calendar::{DAY_MICROS, day_of, day_value};
use super::read::{Reader, fraction};
use super::zone::Zone;
use super::zones::session_zone;
use crate::{Call, Scalar, invalid, out_of_range};

pub(crate) const FUNCTIONS: &[Scalar] = &[
    Scalar::new("from_iso8601_date", &["(varchar) -> date"], from_iso8601_date, "The date that a text of ISO 8601 is."),
    Scalar::new(
        "from_iso8601_timestamp",
        &["(varchar) -> timestamptz", "(varchar, varchar) -> timestamptz"],
        from_iso8601_timestamp,
        "The moment that a text of ISO 8601 is.",
    )
    .returning_for(micros_type),
    Scalar::new(
        "from_iso8601_timestamp_nanos",
        &["(varchar) -> timestamptz", "(varchar, varchar) -> timestamptz"],
        from_iso8601_timestamp_nanos,
        "The moment that a text of ISO 8601 is, with nanoseconds.",
    )
    .returning_for(nanos_type),
];

const SECOND_NANOS: i64 = 1_000_000_000;
const MINUTE_NANOS: i64 = 60 * SECOND_NANOS;
const HOUR_NANOS: i64 = 60 * MINUTE_NANOS;

/// What a text says.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Moment {
    day: i64,
    nanos: i64,
    zone: Option<Zone>,
}

fn micros_type(_types: &[DataType], arguments: &[Option<&ScalarValue>]) -> Result<DataType> {
    Ok(DataType::Timestamp(TimeUnit::Microsecond, Some(zone_of(arguments).name().into())))
}

fn nanos_type(_types: &[DataType], arguments: &[Option<&ScalarValue>]) -> Result<DataType> {
    Ok(DataType::Timestamp(TimeUnit::Nanosecond, Some(zone_of(arguments).name().into())))
}

/// The zone of a text that is a constant; the session's where it has none. What cannot be read is told when the function runs.
fn zone_of(arguments: &[Option<&ScalarValue>]) -> Zone {
    let text = |index: usize| arguments.get(index).copied().flatten().and_then(ScalarValue::try_as_str).flatten();
    let own = text(0).and_then(read).and_then(|moment| moment.zone);
    own.or_else(|| text(1).and_then(Zone::parse)).unwrap_or(Zone::Utc)
}

fn from_iso8601_date(call: &Call<'_>) -> Result<ArrayRef> {
    let texts = call.text(0)?;
    call.primitives::<Date32Type>(|row| {
        let text = texts.value(row);
        let mut reader = Reader(text);
        match read_date(&mut reader) {
            Some(date) if reader.is_at_end() => day_value(day_of(date)).map(Some),
            _ => Err(invalid(format!("'{text}' is no date of ISO 8601"))),
        }
    })
}

fn moment(text: &str, session: Zone) -> Result<(i64, i64)> {
    let moment = read(text).ok_or_else(|| invalid(format!("'{text}' is no moment of ISO 8601")))?;
    let out_of_calendar = || out_of_range(format!("'{text}' is outside of the calendar"));
    let local = moment.day.checked_mul(DAY_MICROS).and_then(|day| day.checked_add(moment.nanos / 1_000)).ok_or_else(out_of_calendar)?;
    Ok((moment.zone.unwrap_or(session).utc(local)?, moment.nanos % 1_000))
}

/// Trino has milliseconds.
fn from_iso8601_timestamp(call: &Call<'_>) -> Result<ArrayRef> {
    let (texts, session) = (call.text(0)?, session_zone(call, 1)?);
    call.primitives::<TimestampMicrosecondType>(|row| {
        let (micros, _) = moment(texts.value(row), session)?;
        Ok(Some(micros - micros.rem_euclid(1_000)))
    })
}

fn from_iso8601_timestamp_nanos(call: &Call<'_>) -> Result<ArrayRef> {
    let (texts, session) = (call.text(0)?, session_zone(call, 1)?);
    call.primitives::<TimestampNanosecondType>(|row| {
        let text = texts.value(row);
        let (micros, nanos) = moment(text, session)?;
        let all = micros.checked_mul(1_000).and_then(|all| all.checked_add(nanos));
        all.map(Some).ok_or_else(|| out_of_range(format!("'{text}' is outside of the years 1677 to 2262")))
    })
}

/// Reads a date, `T` and a time of day, or the one or the other; then a zone may follow.
fn read(text: &str) -> Option<Moment> {
    let mut reader = Reader(text);
    let is_time = reader.text("T");
    let date = if is_time { NaiveDate::from_ymd_opt(1970, 1, 1)? } else { read_date(&mut reader)? };
    let mut nanos = 0;
    let mut zone = None;
    if is_time || reader.text("T") {
        nanos = if reader.0.starts_with(|first: char| first.is_ascii_digit()) { read_time(&mut reader)? } else { 0 };
        zone = read_zone(&mut reader)?;
    }
    reader.is_at_end().then(|| Moment { day: day_of(date), nanos, zone })
}

/// `2020-05-11`, `2020-05`, `2020`, `2020-132`, `2020-W20-1` or `2020-W20`.
fn read_date(reader: &mut Reader<'_>) -> Option<NaiveDate> {
    let year = i32::try_from(reader.signed(1, 9)?).ok()?;
    if reader.one_of(&['-']).is_none() {
        return NaiveDate::from_ymd_opt(year, 1, 1);
    }
    if reader.text("W") {
        let week = u32::try_from(reader.number(1, 2)?).ok()?;
        let day = if reader.one_of(&['-']).is_some() { reader.number(1, 1)? } else { 1 };
        let weekday = Weekday::try_from(u8::try_from(day.checked_sub(1)?).ok()?).ok()?;
        return NaiveDate::from_isoywd_opt(year, week, weekday);
    }
    let digits = reader.digits(3);
    let number: u32 = digits.parse().ok()?;
    if digits.len() == 3 {
        return NaiveDate::from_yo_opt(year, number);
    }
    let day = if reader.one_of(&['-']).is_some() { u32::try_from(reader.number(1, 2)?).ok()? } else { 1 };
    NaiveDate::from_ymd_opt(year, number, day)
}

/// `11:15:05.123`, `11:15`, `11`; the last part may have a fraction. Gives nanoseconds.
fn read_time(reader: &mut Reader<'_>) -> Option<i64> {
    let mut nanos = 0;
    for (unit, limit) in [(HOUR_NANOS, 24), (MINUTE_NANOS, 60), (SECOND_NANOS, 60)] {
        if limit == 60 && reader.one_of(&[':']).is_none() {
            break;
        }
        let count = reader.number(1, 2).filter(|count| *count < limit)?;
        nanos += count * unit;
        if reader.one_of(&['.', ',']).is_some() {
            let digits = reader.digits(usize::MAX);
            return (!digits.is_empty()).then(|| nanos + fraction(digits, unit));
        }
    }
    Some(nanos)
}

/// `Z`, `+05:30`, `+0530` or `+05`; the inner `None` if none is there.
pub(crate) fn read_zone(reader: &mut Reader<'_>) -> Option<Option<Zone>> {
    if reader.text("Z") {
        return Some(Some(Zone::Utc));
    }
    let Some(sign) = reader.one_of(&['+', '-']) else { return Some(None) };
    let hours = reader.number(2, 2)?;
    let has_colon = reader.one_of(&[':']).is_some();
    let minutes =
        if has_colon || reader.0.starts_with(|next: char| next.is_ascii_digit()) { reader.number(2, 2).filter(|minutes| *minutes < 60)? } else { 0 };
    let offset = i32::try_from(hours * 60 + minutes).ok()?;
    Zone::of_minutes(if sign == '-' { -offset } else { offset }).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_read() {
        let date = |text: &str| {
            let mut reader = Reader(text);
            read_date(&mut reader).filter(|_| reader.is_at_end()).map(|date| date.to_string())
        };
        assert_eq!(date("2020-W53-5").as_deref(), Some("2021-01-01"));
        assert_eq!(date("2020-366").as_deref(), Some("2020-12-31"));
        for wrong in ["", "-", "2020-", "2020-W54", "2020-W10-8", "2020-W10-0", "2021-366", "2020-02-30", "2020-00", "é"] {
            assert_eq!(date(wrong), None, "{wrong}");
        }
        let read = |text: &str| read(text).map(|moment| (moment.day, moment.nanos, moment.zone));
        assert_eq!(read("1970-01-02T"), Some((1, 0, None)));
        assert_eq!(read("T00:00.5-03:30"), Some((0, 30 * SECOND_NANOS, Some(Zone::Fixed(-210)))));
        for wrong in ["T24:00", "T1:60", "1970-01-02T1.", "1970-01-02T+5", "1970-01-02T1Zx", "T01:02:03+15:00", "T01:02:03+05:60"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
