//! Time zones by their names.

use std::borrow::Cow;

use arrow::datatypes::DataType;
use chrono::{DateTime, LocalResult, NaiveDateTime, Offset, TimeZone};
use chrono_tz::{GapInfo, OffsetName, Tz};
use datafusion::error::Result;

use super::calendar::SECOND_MICROS;
use crate::{invalid, out_of_range};

/// How far a zone may be from UTC, in minutes.
const OFFSET_MINUTES_MAX: i32 = 14 * 60;

/// Names that all mean UTC, beside those with an offset of zero.
const UTC_NAMES: [&str; 9] = ["utc", "z", "ut", "uct", "gmt", "gmt0", "greenwich", "universal", "zulu"];

/// A time zone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Zone {
    /// UTC, whatever it is called.
    #[default]
    Utc,
    /// So many minutes before UTC, all the time.
    Fixed(i32),
    /// One of the time zone database.
    Named(Tz),
}

impl Zone {
    /// Reads a name as Trino does: `UTC`, `+05:30`, `GMT+5`, `Europe/Zurich`. `None` if it is none.
    pub fn parse(name: &str) -> Option<Self> {
        let lower = name.to_ascii_lowercase();
        let rest = lower.strip_prefix("etc/").unwrap_or(&lower);
        if UTC_NAMES.contains(&rest) {
            return Some(Self::Utc);
        }
        // `Etc/GMT+5` is five hours behind UTC.
        let flips = lower.starts_with("etc/gmt");
        let offset = ["utc", "gmt", "ut"].iter().find_map(|prefix| rest.strip_prefix(prefix)).unwrap_or(rest);
        match offset_minutes(offset) {
            Some(minutes) => Self::of_minutes(if flips { -minutes } else { minutes }),
            None => name.parse().ok().map(Self::Named),
        }
    }

    /// The zone that is so far before UTC; `None` if none is.
    pub fn of_minutes(minutes: i32) -> Option<Self> {
        match minutes {
            0 => Some(Self::Utc),
            minutes if minutes.abs() <= OFFSET_MINUTES_MAX => Some(Self::Fixed(minutes)),
            _ => None,
        }
    }

    /// The zone of that name. Errors: `INVALID_FUNCTION_ARGUMENT`.
    pub(crate) fn named(name: &str) -> Result<Self> {
        Self::parse(name).ok_or_else(|| invalid(format!("'{name}' is not a valid time zone")))
    }

    /// The zone of a type of moments; UTC for one without.
    pub(crate) fn of_type(data_type: &DataType) -> Result<Self> {
        match data_type {
            DataType::Timestamp(_, Some(zone)) => Self::named(zone),
            _ => Ok(Self::Utc),
        }
    }

    /// Its name, as types of moments have it.
    pub fn name(self) -> Cow<'static, str> {
        match self {
            Self::Utc => Cow::Borrowed("UTC"),
            Self::Fixed(minutes) => Cow::Owned(offset_text(minutes * 60, ":")),
            Self::Named(zone) => Cow::Borrowed(zone.name()),
        }
    }

    /// How it is called at a moment, in microseconds since the epoch: `EDT`.
    pub(crate) fn abbreviation(self, micros: i64) -> Cow<'static, str> {
        let Self::Named(zone) = self else { return self.name() };
        let Some(utc) = naive(micros) else { return self.name() };
        let offset = zone.offset_from_utc_datetime(&utc);
        match offset.abbreviation() {
            Some(letters) if letters.starts_with(|first: char| first.is_ascii_alphabetic()) => Cow::Owned(letters.to_owned()),
            _ => Cow::Owned(offset_text(offset.fix().local_minus_utc(), ":")),
        }
    }

    /// How many seconds it is before UTC at a moment, in microseconds since the epoch. Errors: `NUMERIC_VALUE_OUT_OF_RANGE`.
    pub fn offset_seconds(self, micros: i64) -> Result<i32> {
        match self {
            Self::Utc => Ok(0),
            Self::Fixed(minutes) => Ok(minutes * 60),
            Self::Named(zone) => Ok(zone.offset_from_utc_datetime(&naive(micros).ok_or_else(too_far)?).fix().local_minus_utc()),
        }
    }

    /// What its clocks show at a moment; both in microseconds since the epoch. Errors: `NUMERIC_VALUE_OUT_OF_RANGE`.
    pub fn local(self, micros: i64) -> Result<i64> {
        let offset = i64::from(self.offset_seconds(micros)?) * SECOND_MICROS;
        micros.checked_add(offset).ok_or_else(too_far)
    }

    /// The moment at which its clocks show that. Of two it is the first; where clocks are put forward, what they show goes on as if they were not.
    ///
    /// Errors: `NUMERIC_VALUE_OUT_OF_RANGE`.
    pub fn utc(self, local_micros: i64) -> Result<i64> {
        let offset = match self {
            Self::Utc => 0,
            Self::Fixed(minutes) => minutes * 60,
            Self::Named(zone) => {
                let local = naive(local_micros).ok_or_else(too_far)?;
                match zone.offset_from_local_datetime(&local) {
                    LocalResult::Single(offset) | LocalResult::Ambiguous(offset, _) => offset.fix().local_minus_utc(),
                    LocalResult::None => {
                        GapInfo::new(&local, &zone).and_then(|gap| gap.begin).map_or(0, |(_, offset)| offset.fix().local_minus_utc())
                    }
                }
            }
        };
        local_micros.checked_sub(i64::from(offset) * SECOND_MICROS).ok_or_else(too_far)
    }
}

/// An offset as text: `+05:30`, `-0400` without the colon.
pub(crate) fn offset_text(seconds: i32, colon: &str) -> String {
    let sign = if seconds < 0 { '-' } else { '+' };
    let minutes = seconds.abs() / 60;
    format!("{sign}{:02}{colon}{:02}", minutes / 60, minutes % 60)
}

/// Reads `+5`, `+05`, `+0530` and `+05:30`.
fn offset_minutes(text: &str) -> Option<i32> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text.strip_prefix('+')?),
    };
    let (hours, minutes) = match digits.split_once(':') {
        Some((hours, minutes)) if minutes.len() == 2 => (hours, minutes),
        Some(_) => return None,
        None if digits.len() == 4 => digits.split_at_checked(2)?,
        None => (digits, "0"),
    };
    let is_number = |text: &str| matches!(text.len(), 1 | 2) && text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(hours) || !is_number(minutes) {
        return None;
    }
    let minutes: i32 = minutes.parse().ok().filter(|minutes| *minutes < 60)?;
    Some(sign * (hours.parse::<i32>().ok()? * 60 + minutes))
}

fn naive(micros: i64) -> Option<NaiveDateTime> {
    DateTime::from_timestamp_micros(micros).map(|moment| moment.naive_utc())
}

fn too_far() -> datafusion::error::DataFusionError {
    out_of_range("a moment is outside of the calendar")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn micros(text: &str) -> i64 {
        text.parse::<NaiveDateTime>().unwrap().and_utc().timestamp_micros()
    }

    #[test]
    fn names_are_read_as_in_trino() {
        for (name, expected) in [
            ("UTC", "UTC"),
            ("Z", "UTC"),
            ("+00:00", "UTC"),
            ("Etc/GMT", "UTC"),
            ("+05:30", "+05:30"),
            ("-0330", "-03:30"),
            ("GMT+5", "+05:00"),
            ("Etc/GMT+5", "-05:00"),
            ("Europe/Zurich", "Europe/Zurich"),
        ] {
            assert_eq!(Zone::parse(name).unwrap().name(), expected, "{name}");
        }
        for name in ["", "Europe", "europe/zurich", "+15:00", "+05:3", "+5:60", "+é", "+1234567"] {
            assert_eq!(Zone::parse(name), None, "{name}");
        }
    }

    #[test]
    fn clocks_that_are_put_forward_and_back() {
        let zone = Zone::parse("America/New_York").unwrap();
        let utc = |text: &str| zone.utc(micros(text)).unwrap();
        assert_eq!(utc("2020-03-08T02:30:00"), micros("2020-03-08T07:30:00"));
        assert_eq!(utc("2020-11-01T01:30:00"), micros("2020-11-01T05:30:00"));
        assert_eq!(zone.local(micros("2020-11-01T06:30:00")).unwrap(), micros("2020-11-01T01:30:00"));
        assert_eq!(
            (zone.abbreviation(micros("2020-06-01T00:00:00")), zone.abbreviation(micros("2020-12-01T00:00:00"))),
            ("EDT".into(), "EST".into())
        );
        assert!(zone.local(i64::MAX).is_err());
    }
}
