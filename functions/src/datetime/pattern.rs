//! Patterns of dates and times: what they write. What they read is in [`super::fields`].

use std::fmt::Write;

use chrono::{Datelike, NaiveDate};
use datafusion::common::internal_datafusion_err;
use datafusion::error::Result;

use super::calendar::{DAY_NAMES, MONTH_NAMES, date_of, rounded_millis};
use super::zone::{Zone, offset_text};

/// The letters of short names.
const SHORT: usize = 3;

const DAY_MILLIS: i64 = 86_400_000;

/// A number of a date or a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Number {
    Year,
    YearOfEra,
    WeekYear,
    Century,
    Month,
    Week,
    Day,
    DayOfYear,
    DayOfWeek,
    /// 0 to 23.
    Hour,
    /// 1 to 24.
    ClockHour,
    /// 0 to 11.
    HalfdayHour,
    /// 1 to 12.
    HalfdayClockHour,
    Minute,
    Second,
}

/// A part of a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Item {
    /// Text that is there.
    Text(String),
    /// A number that is written with at least and read with at most so many digits.
    Number(Number, usize, usize),
    /// The last two digits of a year. Those that are read are of the hundred years from `since`; another number of digits is a year by itself if `is_lenient`.
    TwoDigits { number: Number, since: i64, is_lenient: bool },
    /// A fraction of a second, written with so many digits, and read with at most so many.
    Fraction(usize, usize),
    /// The name of the month, or the start of it.
    MonthName { is_short: bool },
    /// The name of the day of the week, or the start of it.
    DayName { is_short: bool },
    /// `AM` or `PM`.
    Halfday,
    /// `AD` or `BC`.
    Era,
    /// The offset of the zone, with a colon or without.
    Offset { colon: &'static str },
    /// The name of the zone.
    ZoneName,
    /// How the zone is called at that time.
    ZoneAbbreviation,
}

/// A pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pattern(pub(crate) Vec<Item>);

/// A moment as it is written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shown {
    date: NaiveDate,
    /// Since midnight.
    millis: i64,
    zone: Zone,
    utc: i64,
}

impl Shown {
    /// A moment, in microseconds, in a zone. As Trino does it is rounded to milliseconds.
    pub(crate) fn new(utc: i64, zone: Zone) -> Result<Self> {
        let millis = rounded_millis(zone.local(utc)?);
        Ok(Self { date: date_of(millis.div_euclid(DAY_MILLIS))?, millis: millis.rem_euclid(DAY_MILLIS), zone, utc })
    }

    fn number(&self, number: Number) -> i64 {
        let hour = self.millis / 3_600_000;
        let year_of_era = |year: i64| if year > 0 { year } else { 1 - year };
        match number {
            Number::Year => i64::from(self.date.year()),
            Number::YearOfEra => year_of_era(i64::from(self.date.year())),
            Number::Century => year_of_era(i64::from(self.date.year())) / 100,
            Number::WeekYear => i64::from(self.date.iso_week().year()),
            Number::Month => i64::from(self.date.month()),
            Number::Week => i64::from(self.date.iso_week().week()),
            Number::Day => i64::from(self.date.day()),
            Number::DayOfYear => i64::from(self.date.ordinal()),
            Number::DayOfWeek => i64::from(self.date.weekday().number_from_monday()),
            Number::Hour => hour,
            Number::ClockHour => (hour + 23) % 24 + 1,
            Number::HalfdayHour => hour % 12,
            Number::HalfdayClockHour => (hour + 11) % 12 + 1,
            Number::Minute => self.millis / 60_000 % 60,
            Number::Second => self.millis / 1_000 % 60,
        }
    }
}

impl Pattern {
    /// Whether it needs a zone.
    pub(crate) fn has_zone(&self) -> bool {
        self.0.iter().any(|item| matches!(item, Item::Offset { .. } | Item::ZoneName | Item::ZoneAbbreviation))
    }

    /// The moment as text.
    pub(crate) fn write(&self, shown: &Shown) -> Result<String> {
        let mut text = String::with_capacity(32);
        self.0.iter().try_for_each(|item| write_item(item, shown, &mut text))?;
        Ok(text)
    }
}

fn write_item(item: &Item, shown: &Shown, text: &mut String) -> Result<()> {
    // Writing to a text does not fail.
    match item {
        Item::Text(fixed) => text.push_str(fixed),
        Item::Number(number, digits, _) => {
            let value = shown.number(*number);
            let sign = if value < 0 { "-" } else { "" };
            let _ = write!(text, "{sign}{:0digits$}", value.unsigned_abs(), digits = *digits);
        }
        Item::TwoDigits { number, .. } => {
            let _ = write!(text, "{:02}", shown.number(*number).unsigned_abs() % 100);
        }
        Item::Fraction(digits, _) => {
            let millis = format!("{:03}", shown.millis % 1_000);
            text.push_str(&millis[..millis.len().min(*digits)]);
            text.extend(std::iter::repeat_n('0', digits.saturating_sub(millis.len())));
        }
        Item::MonthName { is_short } => text.push_str(named(&MONTH_NAMES, shown.date.month0(), *is_short)?),
        Item::DayName { is_short } => text.push_str(named(&DAY_NAMES, shown.date.weekday().num_days_from_monday(), *is_short)?),
        Item::Halfday => text.push_str(if shown.millis < DAY_MILLIS / 2 { "AM" } else { "PM" }),
        Item::Era => text.push_str(if shown.date.year() > 0 { "AD" } else { "BC" }),
        Item::Offset { colon } => text.push_str(&offset_text(shown.zone.offset_seconds(shown.utc)?, colon)),
        Item::ZoneName => text.push_str(&shown.zone.name()),
        Item::ZoneAbbreviation => text.push_str(&shown.zone.abbreviation(shown.utc)),
    }
    Ok(())
}

fn named(names: &[&'static str], index: u32, is_short: bool) -> Result<&'static str> {
    let name = usize::try_from(index).ok().and_then(|index| names.get(index)).copied();
    let name = name.ok_or_else(|| internal_datafusion_err!("a calendar has no name number {index}"))?;
    Ok(if is_short { name.get(..SHORT).unwrap_or(name) } else { name })
}

/// Patterns by their text: that of the row before, which mostly is that of all.
pub(crate) struct Compiled {
    read: fn(&str) -> Result<Pattern>,
    last: Option<(String, Pattern)>,
}

impl Compiled {
    pub(crate) fn new(read: fn(&str) -> Result<Pattern>) -> Self {
        Self { read, last: None }
    }

    /// The pattern of a text.
    pub(crate) fn of(&mut self, text: &str) -> Result<&Pattern> {
        if self.last.as_ref().is_none_or(|(known, _)| known != text) {
            self.last = Some((text.to_owned(), (self.read)(text)?));
        }
        self.last.as_ref().map(|(_, pattern)| pattern).ok_or_else(|| internal_datafusion_err!("a pattern was not read"))
    }
}
