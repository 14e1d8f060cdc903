//! Texts as dates and times, timestamps and UUIDs, and UUIDs as texts, where Arrow has no such cast or takes less than Trino: months, days and hours of one digit, and times
//! without seconds (`2024-5-1 8:00`).

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, FixedSizeBinaryBuilder, Int64Array, StringArray, StringBuilder};
use arrow::compute::{CastOptions, cast, cast_with_options};
use arrow::datatypes::{DataType, Int64Type, TimeUnit, TimestampSecondType};
use datafusion::common::format::DEFAULT_CAST_OPTIONS;
use datafusion::error::{DataFusionError, Result};
use nunatak_core::{Code, Error};
use nunatak_functions::datetime::Zone;
use uuid::Uuid;

use crate::error::into_datafusion;
use crate::type_name::type_name;

/// What a UUID is in Arrow. Nothing else has this type: bytes of a fixed length of 16 are read as such of any length.
pub const UUID: DataType = DataType::FixedSizeBinary(UUID_BYTES);
const UUID_BYTES: i32 = 16;

/// The most digits of a fraction of a second that are read.
pub const FRACTION_DIGITS_MAX: usize = 12;

const NANOS_OF_DAY: i64 = 24 * 60 * 60 * 1_000_000_000;

/// `f79c3e09-677c-4bbd-a479-3f349cb785e7`; what else has its digits is none in Trino.
const UUID_CHARACTERS: usize = 36;

/// Whether a type is one of texts.
pub fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

/// Whether a cast is one of these.
pub(super) fn is_needed(from: &DataType, to: &DataType) -> bool {
    match from {
        from if is_text(from) => matches!(to, DataType::Timestamp(..) | DataType::Time64(_) | DataType::FixedSizeBinary(UUID_BYTES)),
        from => *from == UUID && is_text(to),
    }
}

/// Values for whose type a cast [is needed](is_needed). `is_try` gives NULL for what cannot be cast.
///
/// Errors: `INVALID_CAST_ARGUMENT`.
pub(super) fn cast_texts(values: &ArrayRef, to: &DataType, is_try: bool) -> Result<ArrayRef> {
    if *values.data_type() == UUID {
        let mut texts = StringBuilder::with_capacity(values.len(), values.len() * UUID_CHARACTERS);
        let mut letters = Uuid::encode_buffer();
        for bytes in values.as_fixed_size_binary() {
            match bytes {
                Some(bytes) => texts.append_value(Uuid::from_slice(bytes).unwrap_or_default().hyphenated().encode_lower(&mut letters)),
                None => texts.append_null(),
            }
        }
        return Ok(cast(&texts.finish(), to)?);
    }
    let texts = cast(values, &DataType::Utf8)?;
    let texts = texts.as_string::<i32>();
    if *to == UUID {
        return uuids(texts, is_try);
    }
    if let DataType::Time64(unit) = to {
        return clocks(texts, *unit, to, is_try);
    }
    if texts.iter().flatten().any(has_leap_second) {
        if let Some(text) = texts.iter().flatten().find(|text| has_leap_second(text) && !is_try) {
            return Err(wrong(text, to));
        }
        let texts = texts.iter().map(|text| text.filter(|text| !has_leap_second(text)).map(written_out)).collect();
        return rounded(times(&texts, to, is_try)?, &texts);
    }
    // As most are.
    if texts.iter().flatten().all(|text| matches!(written_out(text), Cow::Borrowed(same) if same.len() == text.len())) {
        return rounded(times(texts, to, is_try)?, texts);
    }
    let texts = texts.iter().map(|text| text.map(written_out)).collect();
    rounded(times(&texts, to, is_try)?, &texts)
}

/// Texts as dates and times. Arrow reads none that clocks of their zone show twice or never. As in Trino, the first of two counts, and where clocks are put forward, what they
/// show goes on as if they were not.
fn times(texts: &StringArray, to: &DataType, is_try: bool) -> Result<ArrayRef> {
    let read = |texts: &StringArray, safe: bool| cast_with_options(texts, to, &CastOptions { safe, ..DEFAULT_CAST_OPTIONS });
    if matches!(to, DataType::Timestamp(_, None)) && texts.iter().flatten().any(|text| without_zone(text).len() < text.len()) {
        return Ok(read(&texts.iter().map(|text| text.map(without_zone)).collect(), is_try)?);
    }
    let DataType::Timestamp(_, Some(zone)) = to else { return Ok(read(texts, is_try)?) };
    let moments = read(texts, true)?;
    if moments.null_count() == texts.null_count() {
        return Ok(moments);
    }
    let with_offsets = texts.iter().enumerate().map(|(row, text)| {
        text.map(|text| {
            let whole = if moments.is_null(row) { with_offset(text, zone) } else { None };
            whole.map_or(Cow::Borrowed(text), Cow::Owned)
        })
    });
    Ok(read(&with_offsets.collect(), is_try)?)
}

/// The text with the offset that its zone had then, which is that of the session if it names none; `None` if it is no such text.
fn with_offset(text: &str, session: &str) -> Option<String> {
    let (local, zone) = split_zone(text)?;
    let zone = Zone::parse(zone.unwrap_or(session))?;
    let micros = local_micros(local)?;
    let seconds = (micros - zone.utc(micros).ok()?) / 1_000_000;
    let (sign, minutes) = (if seconds < 0 { '-' } else { '+' }, seconds.abs() / 60);
    // Those of long ago have seconds.
    (seconds % 60 == 0).then(|| format!("{local}{sign}{:02}:{:02}", minutes / 60, minutes % 60))
}

/// What clocks show, and the zone that is written behind it.
fn split_zone(text: &str) -> Option<(&str, Option<&str>)> {
    let time = text.find(':')?;
    // Neither letters nor signs are in a time of day.
    let is_zone = |character: char| character.is_ascii_alphabetic() || matches!(character, '+' | '-');
    match text.get(time..)?.find(is_zone) {
        Some(start) => {
            let (local, zone) = text.split_at_checked(time + start)?;
            Some((local.trim_end(), Some(zone.trim())))
        }
        None => Some((text.trim_end(), None)),
    }
}

/// What clocks show, without the zone that is written behind it, if there is such a zone: what a timestamp without one keeps, as in Trino. Arrow would move it to UTC.
fn without_zone(text: &str) -> &str {
    match split_zone(text) {
        Some((local, Some(zone))) if Zone::parse(zone).is_some() => local,
        _ => text,
    }
}

/// What clocks show, in microseconds since the epoch without those within a second.
fn local_micros(text: &str) -> Option<i64> {
    let options = CastOptions { safe: true, ..DEFAULT_CAST_OPTIONS };
    let seconds = cast_with_options(&StringArray::from(vec![text]), &DataType::Timestamp(TimeUnit::Second, None), &options).ok()?;
    let seconds = seconds.as_primitive::<TimestampSecondType>();
    if seconds.is_null(0) { None } else { seconds.value(0).checked_mul(1_000_000) }
}

/// Whether a text names a zone whose clocks were put forward over what it says.
pub fn is_skipped(text: &str) -> bool {
    let text = written_out(text);
    let Some((local, Some(zone))) = split_zone(&text) else { return false };
    let (Some(zone), Some(micros)) = (Zone::parse(zone), local_micros(local)) else { return false };
    zone.utc(micros).and_then(|utc| zone.local(utc)).is_ok_and(|shown| shown != micros)
}

/// The error for a text that is no value of a type.
pub(super) fn wrong(text: &str, to: &DataType) -> DataFusionError {
    into_datafusion(Error::new(Code::InvalidCastArgument, format!("cannot cast string '{text}' to value of {} type", type_name(to))))
}

/// Whether the 61st second of a minute is written. Arrow reads it as the one before.
fn has_leap_second(text: &str) -> bool {
    let seconds = text.split(':').nth(2).map(str::trim_start);
    seconds.is_some_and(|seconds| seconds.starts_with("60"))
}

/// Texts as times of day. Arrow reads whole numbers as such, too, and leap seconds.
fn clocks(texts: &StringArray, unit: TimeUnit, to: &DataType, is_try: bool) -> Result<ArrayRef> {
    let nanos_of_unit = if unit == TimeUnit::Nanosecond { 1 } else { 1_000 };
    let times = texts.iter().map(|text| match text.map(|text| (text, nanos_of_day(text))) {
        // What is left over is rounded, and midnight comes after the last one.
        Some((_, Some(nanos))) => Ok(Some((nanos + nanos_of_unit / 2) / nanos_of_unit % (NANOS_OF_DAY / nanos_of_unit))),
        Some((text, None)) if !is_try => Err(wrong(text, to)),
        _ => Ok(None),
    });
    Ok(cast(&times.collect::<Result<Int64Array>>()?, to)?)
}

/// The nanoseconds since midnight of `8:00`, `08:00:00` or `8:0:0.5`; `None` for what is no time of day.
fn nanos_of_day(text: &str) -> Option<i64> {
    let number = |digits: &str, limit: i64| {
        let is_one = matches!(digits.len(), 1 | 2) && is_number(digits);
        if is_one { digits.parse::<i64>().ok().filter(|number| *number < limit) } else { None }
    };
    let (hours, rest) = text.trim().split_once(':')?;
    let (minutes, seconds) = rest.split_once(':').unwrap_or((rest, "0"));
    let (seconds, fraction) = seconds.split_once('.').unwrap_or((seconds, "0"));
    let fraction = if is_number(fraction) && fraction.len() <= FRACTION_DIGITS_MAX { format!("{fraction:0<9}") } else { return None };
    let (nanos, after) = fraction.split_at_checked(9)?;
    let nanos = nanos.parse::<i64>().ok()? + i64::from(after.starts_with(|digit: char| digit >= '5'));
    Some(((number(hours, 24)? * 60 + number(minutes, 60)?) * 60 + number(seconds, 60)?) * 1_000_000_000 + nanos)
}

/// Moments, rounded by the digits of their texts that their type has no place for. Arrow leaves these away.
fn rounded(moments: ArrayRef, texts: &StringArray) -> Result<ArrayRef> {
    let places = match moments.data_type() {
        DataType::Timestamp(TimeUnit::Second, _) => 0,
        DataType::Timestamp(TimeUnit::Millisecond, _) => 3,
        DataType::Timestamp(TimeUnit::Microsecond, _) => 6,
        _ => return Ok(moments),
    };
    let is_more = |text: &str| {
        let fraction = text.split_once(':').and_then(|(_, time)| time.split_once('.')).map_or("", |(_, fraction)| fraction);
        let digits = fraction.bytes().take_while(u8::is_ascii_digit).count();
        digits > places && fraction.as_bytes()[places] >= b'5'
    };
    if !texts.iter().flatten().any(is_more) {
        return Ok(moments);
    }
    let units = cast(&moments, &DataType::Int64)?;
    let more = texts.iter().map(|text| i64::from(text.is_some_and(is_more)));
    let units = units.as_primitive::<Int64Type>().iter().zip(more).map(|(unit, more)| unit.map(|unit| unit + more));
    Ok(cast(&units.collect::<Int64Array>(), moments.data_type())?)
}

fn uuids(texts: &StringArray, is_try: bool) -> Result<ArrayRef> {
    let mut uuids = FixedSizeBinaryBuilder::with_capacity(texts.len(), UUID_BYTES);
    for text in texts {
        let Some(text) = text else {
            uuids.append_null();
            continue;
        };
        match Uuid::try_parse(text).ok().filter(|_| text.len() == UUID_CHARACTERS) {
            Some(uuid) => uuids.append_value(uuid.as_bytes())?,
            None if is_try => uuids.append_null(),
            None => return Err(into_datafusion(Error::new(Code::InvalidCastArgument, format!("cannot cast '{text}' to uuid")))),
        }
    }
    Ok(Arc::new(uuids.finish()))
}

/// A date or time with all digits that Arrow wants, and no blanks around it: `2024-5-1 8:00 UTC` becomes `2024-05-01 08:00:00 UTC`. Other texts stay as they are.
pub fn written_out(text: &str) -> Cow<'_, str> {
    let text = text.trim();
    let is_at = |place: usize, byte: u8| text.as_bytes().get(place) == Some(&byte);
    // As most are.
    let has_seconds = text.get(17..19).is_some_and(is_number);
    if is_at(4, b'-') && is_at(7, b'-') && is_at(13, b':') && is_at(16, b':') && has_seconds {
        return Cow::Borrowed(text);
    }
    let mut whole = two_digits(text).unwrap_or_else(|| text.to_owned());
    add_seconds(&mut whole);
    Cow::Owned(whole)
}

/// The text with two digits for its month, day and hour, if it begins with a date or an hour.
fn two_digits(text: &str) -> Option<String> {
    let Some((year, rest)) = text.split_once('-').filter(|(year, _)| year.len() >= 4 && is_number(year)) else { return two_digits_of_time(text) };
    let (month, rest) = rest.split_once('-')?;
    let (day, time) = rest.split_at(rest.bytes().take_while(u8::is_ascii_digit).count());
    if !is_number(month) || !is_number(day) {
        return None;
    }
    let date = format!("{year}-{month:0>2}-{day:0>2}");
    match time.strip_prefix([' ', 'T']) {
        Some(time) => Some(format!("{date} {}", two_digits_of_time(time).unwrap_or_else(|| time.to_owned()))),
        None => Some(date + time),
    }
}

fn two_digits_of_time(time: &str) -> Option<String> {
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let (hour, rest) = time.split_once(':').filter(|(hour, _)| is_number(hour))?;
    let (minute, rest) = rest.split_at(digits(rest));
    let whole = format!("{hour:0>2}:{minute:0>2}");
    match rest.strip_prefix(':') {
        Some(rest) if !minute.is_empty() => {
            let (second, rest) = rest.split_at(digits(rest));
            // What has no second is none.
            let second = if second.is_empty() { String::new() } else { format!("{second:0>2}") };
            Some(format!("{whole}:{second}{rest}"))
        }
        _ if minute.is_empty() => None,
        _ => Some(whole + rest),
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// `2024-05-01 08:00 UTC` becomes `2024-05-01 08:00:00 UTC`.
fn add_seconds(text: &mut String) {
    let Some((hours, rest)) = text.split_once(':') else { return };
    let minutes = rest.bytes().take_while(u8::is_ascii_digit).count();
    // Behind the minutes is the end, or what has no part in the time of day: a zone.
    let ends = minutes == 2 && !rest[minutes..].starts_with([':', '.']);
    if ends && hours.ends_with(|last: char| last.is_ascii_digit()) {
        let end = hours.len() + 1 + minutes;
        text.insert_str(end, ":00");
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{Time64MicrosecondType, TimestampMicrosecondType};

    use super::*;
    use crate::error::from_datafusion;

    fn texts(values: &[&str]) -> ArrayRef {
        Arc::new(StringArray::from(values.to_vec()))
    }

    #[test]
    fn digits_and_seconds_need_not_be_written() {
        for (text, whole) in [
            ("2024-05-01 08:00", "2024-05-01 08:00:00"),
            ("2024-05-01 08:00 UTC", "2024-05-01 08:00:00 UTC"),
            ("2024-05-01T08:00+02:00", "2024-05-01 08:00:00+02:00"),
            ("2024-5-1 8:00:01.5 Europe/Berlin", "2024-05-01 08:00:01.5 Europe/Berlin"),
            ("2024-5-1", "2024-05-01"),
            ("2024-5-1 UTC", "2024-05-01 UTC"),
            ("8:00", "08:00:00"),
            ("08:00:01.5", "08:00:01.5"),
            (" 2024-05-01 08:00:00 ", "2024-05-01 08:00:00"),
            ("2024-05-01", "2024-05-01"),
            ("08:0", "08:00:00"),
            ("2024-1-1 1:2:3.5 UTC", "2024-01-01 01:02:03.5 UTC"),
            ("8:", "8:"),
            ("24-05-01", "24-05-01"),
            ("", ""),
        ] {
            assert_eq!(written_out(text), whole);
        }
    }

    #[test]
    fn texts_become_timestamps() {
        let to = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        let moments = cast_texts(&texts(&["1970-1-1 2:00", "1970-01-01 00:00:01 -01:00"]), &to, false).unwrap();
        assert_eq!(moments.as_primitive::<TimestampMicrosecondType>().values(), &[7_200_000_000, 3_601_000_000]);
        assert!(cast_texts(&texts(&["x"]), &to, false).is_err() && cast_texts(&texts(&["x"]), &to, true).unwrap().is_null(0));
    }

    #[test]
    fn times_of_day() {
        const HOUR: i64 = 3_600_000_000_000;
        for (text, nanos) in [
            ("8:0", Some(8 * HOUR)),
            ("08:00:00.5 ", Some(8 * HOUR + 500_000_000)),
            ("0:0:1.0000000005", Some(1_000_000_001)),
            ("0:0:1.0000000000001", None),
            ("10", None),
            ("24:00", None),
            ("10:00:60", None),
            ("10:00:", None),
            ("10:00:00.", None),
            ("010:00", None),
        ] {
            assert_eq!(nanos_of_day(text), nanos, "{text}");
        }
        let micros = cast_texts(&texts(&["23:59:59.9999999", "0:0:0.0000014"]), &DataType::Time64(TimeUnit::Microsecond), false).unwrap();
        assert_eq!(micros.as_primitive::<Time64MicrosecondType>().values(), &[0, 1]);
    }

    #[test]
    fn moments_are_rounded() {
        let to = DataType::Timestamp(TimeUnit::Microsecond, None);
        let given = texts(&["1970-01-01 00:00:00.0000015", "1969-12-31 23:59:59.9999999", "1970-01-01 00:00:00.0000014"]);
        let moments = cast_texts(&given, &to, false).unwrap();
        assert_eq!(moments.as_primitive::<TimestampMicrosecondType>().values(), &[2, 0, 1]);
        let leap = texts(&["2016-12-31 23:59:60"]);
        assert!(cast_texts(&leap, &to, false).is_err() && cast_texts(&leap, &to, true).unwrap().is_null(0));
    }

    #[test]
    fn timestamps_without_zone_keep_what_clocks_show() {
        let to = DataType::Timestamp(TimeUnit::Microsecond, None);
        let given =
            ["1970-01-01 00:00:01 Asia/Tokyo", "1970-01-01 00:00:01+02:00", "1970-1-1 0:00:01 Z", " 1970-01-01 00:00:01 ", "1970-01-01 00:00:01"];
        let moments = cast_texts(&texts(&given), &to, false).unwrap();
        assert_eq!(moments.as_primitive::<TimestampMicrosecondType>().values(), &[1_000_000; 5]);
        let wrong = texts(&["1970-01-01 00:00:01 Asia/Nowhere"]);
        assert!(cast_texts(&wrong, &to, false).is_err() && cast_texts(&wrong, &to, true).unwrap().is_null(0));
    }

    #[test]
    fn clocks_that_are_put_forward_and_back() {
        let to = DataType::Timestamp(TimeUnit::Microsecond, Some("Europe/Berlin".into()));
        let given = ["2024-03-31 02:30:00.5", "2024-3-31 2:30 America/New_York", "2024-10-27 02:30:00", "2024-11-03 01:30:00 America/New_York", "x"];
        let wanted = ["2024-03-31 01:30:00.5Z", "2024-03-31 06:30:00Z", "2024-10-27 00:30:00Z", "2024-11-03 05:30:00Z"];
        let (moments, wanted) = (cast_texts(&texts(&given), &to, true).unwrap(), cast_texts(&texts(&wanted), &to, false).unwrap());
        assert!(moments.is_null(4) && cast_texts(&texts(&given), &to, false).is_err());
        assert_eq!(&moments.slice(0, 4), &wanted);
        for (text, skipped) in [
            ("2024-3-31 2:30 Europe/Berlin", true),
            ("2024-03-31 02:30:00 America/New_York", false),
            ("2024-03-31 02:30:00+01:00", false),
            ("2024-03-31 02:30:00", false),
            ("2024-10-27 02:30:00 Europe/Berlin", false),
            ("x", false),
        ] {
            assert_eq!(is_skipped(text), skipped, "{text}");
        }
    }

    #[test]
    fn uuids_are_texts_and_back() {
        let text = "f79c3e09-677c-4bbd-a479-3f349cb785e7";
        let uuids = cast_texts(&texts(&[text]), &UUID, false).unwrap();
        assert_eq!(uuids.as_fixed_size_binary().value(0)[..2], [0xf7, 0x9c]);
        let back = cast_texts(&uuids, &DataType::Utf8View, false).unwrap();
        assert_eq!(back.as_string_view().value(0), text);
        for wrong in ["", "f79c3e09677c4bbda4793f349cb785e7", "g79c3e09-677c-4bbd-a479-3f349cb785e7"] {
            let error = from_datafusion(cast_texts(&texts(&[wrong]), &UUID, false).unwrap_err());
            assert_eq!(error.to_string(), format!("INVALID_CAST_ARGUMENT: cannot cast '{wrong}' to uuid"));
            assert!(cast_texts(&texts(&[wrong]), &UUID, true).unwrap().is_null(0));
        }
    }
}
