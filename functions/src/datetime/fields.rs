//! Patterns of dates and times: what they read, and the moment that this is.
//!
//! As Joda's formatter does: what is longest is set first, what is not written is that of the first moment of 1970, or of the year 2000 if there is a part of a date but
//! no year.

use chrono::{Datelike, Days, NaiveDate, Weekday};
use datafusion::error::Result;

use super::calendar::{DAY_NAMES, MILLI_MICROS, MONTH_NAMES, day_of, joined};
use super::from_iso8601::read_zone;
use super::not_supported;
use super::pattern::{Item, Number, Pattern};
use super::read::{Reader, fraction};
use super::zone::Zone;
use crate::invalid;

/// Zones by what they are called at some time, as Joda knows them.
const ABBREVIATIONS: [(&str, &str); 11] = [
    ("UTC", "UTC"),
    ("UT", "UTC"),
    ("GMT", "UTC"),
    ("EST", "America/New_York"),
    ("EDT", "America/New_York"),
    ("CST", "America/Chicago"),
    ("CDT", "America/Chicago"),
    ("MST", "America/Denver"),
    ("MDT", "America/Denver"),
    ("PST", "America/Los_Angeles"),
    ("PDT", "America/Los_Angeles"),
];

/// What was read of a text.
#[derive(Clone, Copy, Debug, Default)]
struct Fields {
    year: Option<i64>,
    is_before_christ: bool,
    week_year: Option<i64>,
    month: Option<i64>,
    week: Option<i64>,
    day: Option<i64>,
    day_of_year: Option<i64>,
    day_of_week: Option<i64>,
    /// 0 to 23.
    hour: Option<i64>,
    /// 0 to 11.
    halfday_hour: Option<i64>,
    is_afternoon: Option<bool>,
    minute: i64,
    second: i64,
    millis: i64,
    zone: Option<Zone>,
}

/// What clocks show, in microseconds since the epoch, and the zone if the text has one.
pub(crate) type Read = (i64, Option<Zone>);

impl Pattern {
    /// Reads a text as a whole. Errors: `INVALID_FUNCTION_ARGUMENT` if it has another form, or is no date.
    pub(crate) fn read(&self, text: &str) -> Result<Read> {
        if self.0.iter().any(|item| matches!(item, Item::Number(Number::Century, ..))) {
            return Err(not_supported("centuries are not read, only written"));
        }
        self.fields(text).and_then(|fields| fields.resolved()).ok_or_else(|| invalid(format!("'{text}' is not of the pattern, or no date")))
    }

    fn fields(&self, text: &str) -> Option<Fields> {
        let (mut reader, mut fields) = (Reader(text), Fields::default());
        for item in &self.0 {
            fields.take(item, &mut reader)?;
        }
        reader.is_at_end().then_some(fields)
    }
}

impl Fields {
    fn take(&mut self, item: &Item, reader: &mut Reader<'_>) -> Option<()> {
        match item {
            Item::Text(text) => return reader.text(text).then_some(()),
            Item::Number(number @ (Number::Year | Number::WeekYear), _, digits) => self.set(*number, reader.signed(1, *digits)?)?,
            Item::Number(number, _, digits) => self.set(*number, reader.number(1, *digits)?)?,
            Item::TwoDigits { number, since, is_lenient } => self.set(*number, two_digits(reader, *since, *is_lenient)?)?,
            Item::Fraction(_, digits) => self.millis = fraction(reader.digits(*digits), 1_000),
            Item::MonthName { .. } => self.month = Some(name(reader, &MONTH_NAMES)?),
            Item::DayName { .. } => self.day_of_week = Some(name(reader, &DAY_NAMES)?),
            Item::Halfday => self.is_afternoon = Some(reader.name([(0, "AM"), (1, "PM")].into_iter())? == 1),
            Item::Era => self.is_before_christ = reader.name([(0, "AD"), (1, "BC")].into_iter())? == 1,
            Item::Offset { .. } => self.zone = Some(read_zone(reader)??),
            Item::ZoneName => self.zone = Some(zone_name(reader)?),
            Item::ZoneAbbreviation => {
                let known = ABBREVIATIONS.iter().enumerate().map(|(index, (letters, _))| (index, *letters));
                let (_, zone) = ABBREVIATIONS.get(reader.name(known)?)?;
                self.zone = Some(Zone::parse(zone)?);
            }
        }
        Some(())
    }

    fn set(&mut self, number: Number, value: i64) -> Option<()> {
        let within = |first: i64, last: i64| (first..=last).contains(&value).then_some(value);
        match number {
            Number::Year | Number::YearOfEra => self.year = Some(value),
            Number::WeekYear => self.week_year = Some(value),
            Number::Century => return None,
            Number::Month => self.month = Some(within(1, 12)?),
            Number::Week => self.week = Some(within(1, 53)?),
            Number::Day => self.day = Some(within(1, 31)?),
            Number::DayOfYear => self.day_of_year = Some(within(1, 366)?),
            Number::DayOfWeek => self.day_of_week = Some(within(1, 7)?),
            Number::Hour => self.hour = Some(within(0, 23)?),
            Number::ClockHour => self.hour = Some(within(1, 24)? % 24),
            Number::HalfdayHour => self.halfday_hour = Some(within(0, 11)?),
            Number::HalfdayClockHour => self.halfday_hour = Some(within(1, 12)? % 12),
            Number::Minute => self.minute = within(0, 59)?,
            Number::Second => self.second = within(0, 59)?,
        }
        Some(())
    }

    fn resolved(&self) -> Option<Read> {
        let date = self.date()?;
        let afternoon = if self.is_afternoon == Some(true) { 12 } else { 0 };
        let hour = self.hour.unwrap_or(self.halfday_hour.unwrap_or(0) + afternoon);
        let millis = ((hour * 60 + self.minute) * 60 + self.second) * 1_000 + self.millis;
        joined(day_of(date), millis * MILLI_MICROS).ok().map(|micros| (micros, self.zone))
    }

    fn date(&self) -> Option<NaiveDate> {
        let has_parts = [self.month, self.week, self.day, self.day_of_year, self.day_of_week].iter().any(Option::is_some);
        let year = self.year.map(|year| if self.is_before_christ { 1 - year } else { year });
        let mut date = match (self.week_year, year) {
            (Some(year), _) => NaiveDate::from_isoywd_opt(i32::try_from(year).ok()?, 1, Weekday::Mon)?,
            (None, year) => NaiveDate::from_ymd_opt(i32::try_from(year.unwrap_or(if has_parts { 2000 } else { 1970 })).ok()?, 1, 1)?,
        };
        if let Some(month) = self.month {
            date = NaiveDate::from_ymd_opt(date.year(), u32::try_from(month).ok()?, 1)?;
        }
        if let Some(week) = self.week {
            date = NaiveDate::from_isoywd_opt(date.iso_week().year(), u32::try_from(week).ok()?, Weekday::Mon)?;
        }
        if let Some(day) = self.day_of_year {
            date = date.with_ordinal(u32::try_from(day).ok()?)?;
        }
        if let Some(day) = self.day {
            date = date.with_day(u32::try_from(day).ok()?)?;
        }
        if let Some(day) = self.day_of_week {
            let monday = date.checked_sub_days(Days::new(u64::from(date.weekday().num_days_from_monday())))?;
            date = monday.checked_add_days(Days::new(u64::try_from(day - 1).ok()?))?;
        }
        Some(date)
    }
}

/// The number from 1 of a name, which may be cut to its start.
fn name(reader: &mut Reader<'_>, names: &[&'static str]) -> Option<i64> {
    let all = names.iter().enumerate().flat_map(|(index, &name)| [(index, name), (index, name.get(..3).unwrap_or(name))]);
    i64::try_from(reader.name(all)?).ok().map(|index| index + 1)
}

fn two_digits(reader: &mut Reader<'_>, since: i64, is_lenient: bool) -> Option<i64> {
    if is_lenient {
        let mut ahead = *reader;
        let has_sign = ahead.one_of(&['+', '-']).is_some();
        if has_sign || ahead.digits(9).len() != 2 {
            return reader.signed(1, 9);
        }
    }
    let digits = reader.number(2, 2)?;
    Some(since + (digits - since).rem_euclid(100))
}

/// The longest name of a zone that stands there.
fn zone_name(reader: &mut Reader<'_>) -> Option<Zone> {
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || b"/_+-:".contains(byte);
    let length = reader.0.bytes().take_while(is_part).count();
    (1..=length).rev().find_map(|length| {
        let zone = Zone::parse(reader.0.get(..length)?)?;
        reader.0 = reader.0.get(length..)?;
        Some(zone)
    })
}

#[cfg(test)]
mod tests {
    use super::super::{joda, mysql};
    use super::*;

    fn read(pattern: &str, text: &str) -> Option<(String, Option<Zone>)> {
        let (micros, zone) = joda::parse(pattern).unwrap().read(text).ok()?;
        Some((chrono::DateTime::from_timestamp_micros(micros).unwrap().naive_utc().to_string(), zone))
    }

    #[test]
    fn texts_are_read() {
        let date = |pattern: &str, text: &str| read(pattern, text).map(|(moment, _)| moment[..10].to_owned());
        assert_eq!(date("xxxx ww e", "2020 53 7").as_deref(), Some("2021-01-03"));
        assert_eq!(date("yyyy w", "2020 60"), None);
        assert_eq!(date("G yyyy", "BC 0001").as_deref(), Some("0000-01-01"));
        assert_eq!(date("dd", "31").as_deref(), Some("2000-01-31"));
        assert_eq!(date("yyyyyyyyyy", "9999999999"), None);
        assert_eq!(date("yyyy-MM-dd", "2020-05-10é"), None);
        assert_eq!(read("HH ZZZ", "01 Asia/Tokyo").unwrap().1, Zone::parse("Asia/Tokyo"));
        assert_eq!(read("ZZZ HH", "Asia/Tokyox 01"), None);
        assert_eq!(read("HH Z", "01 Z").unwrap().1, Some(Zone::Utc));
    }

    #[test]
    fn years_of_two_digits() {
        let year = |text: &str, since: i64, is_lenient: bool| two_digits(&mut Reader(text), since, is_lenient);
        assert_eq!((year("69", 1970, false), year("70", 1970, false), year("7", 1970, false)), (Some(2069), Some(1970), None));
        assert_eq!((year("2019", 1970, true), year("-5", 1970, true), year("7", 1970, true)), (Some(2019), Some(-5), Some(7)));
        assert!(mysql::parse("%y").unwrap().read("2019").is_err());
    }
}
