//! Texts as dates and times, timestamps and UUIDs, and UUIDs as texts, where Arrow has no such cast or takes less than Trino: months, days and hours of one digit, and times
//! without seconds (`2024-5-1 8:00`).

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, FixedSizeBinaryBuilder, StringArray, StringBuilder};
use arrow::compute::{CastOptions, cast, cast_with_options};
use arrow::datatypes::{DataType, TimeUnit, TimestampSecondType};
use datafusion::common::format::DEFAULT_CAST_OPTIONS;
use datafusion::error::Result;
use nunatak_core::{Code, Error};
use nunatak_functions::datetime::Zone;
use uuid::Uuid;

use crate::error::into_datafusion;

/// What a UUID is in Arrow. Nothing else has this type: bytes of a fixed length of 16 are read as such of any length.
pub const UUID: DataType = DataType::FixedSizeBinary(UUID_BYTES);
const UUID_BYTES: i32 = 16;
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
    // As most are.
    if texts.iter().flatten().all(|text| matches!(written_out(text), Cow::Borrowed(same) if same.len() == text.len())) {
        return times(texts, to, is_try);
    }
    times(&texts.iter().map(|text| text.map(written_out)).collect(), to, is_try)
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
    if is_at(4, b'-') && is_at(7, b'-') && is_at(13, b':') && is_at(16, b':') {
        return Cow::Borrowed(text);
    }
    let mut whole = two_digits(text).unwrap_or_else(|| text.to_owned());
    add_seconds(&mut whole);
    Cow::Owned(whole)
}

/// The text with two digits for its month, day and hour, if it begins with a date or an hour.
fn two_digits(text: &str) -> Option<String> {
    let Some((year, rest)) = text.split_once('-').filter(|(year, _)| year.len() >= 4 && is_number(year)) else { return two_digits_of_hour(text) };
    let (month, rest) = rest.split_once('-')?;
    let (day, time) = rest.split_at(rest.bytes().take_while(u8::is_ascii_digit).count());
    if !is_number(month) || !is_number(day) {
        return None;
    }
    let date = format!("{year}-{month:0>2}-{day:0>2}");
    match time.strip_prefix([' ', 'T']) {
        Some(time) => Some(format!("{date} {}", two_digits_of_hour(time).unwrap_or_else(|| time.to_owned()))),
        None => Some(date + time),
    }
}

fn two_digits_of_hour(time: &str) -> Option<String> {
    let (hour, rest) = time.split_once(':')?;
    is_number(hour).then(|| format!("{hour:0>2}:{rest}"))
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
    use arrow::datatypes::TimestampMicrosecondType;

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
            ("08:0", "08:0"),
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
