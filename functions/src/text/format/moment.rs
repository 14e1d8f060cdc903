//! Dates and times as `%t` conversions write them, in English.

use arrow::array::timezone::Tz;
use chrono::{DateTime, Datelike, NaiveDate, NaiveTime, Timelike, Utc};

use super::value::Value;

const MONTHS: [&str; 12] = ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"];
const DAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

/// What a value knows of a moment.
struct Moment<'a> {
    date: Option<NaiveDate>,
    time: Option<NaiveTime>,
    zone: Option<Zone<'a>>,
}

struct Zone<'a> {
    name: &'a str,
    offset_seconds: i32,
    epoch_millis: i64,
}

impl<'a> Moment<'a> {
    fn of(value: &Value<'a>) -> Option<Self> {
        Some(match value {
            Value::Date(date) => Self { date: Some(*date), time: None, zone: None },
            Value::Time(time) => Self { date: None, time: Some(*time), zone: None },
            Value::Local(local) => Self { date: Some(local.date()), time: Some(local.time()), zone: None },
            Value::Zoned(moment, zone) => Self::zoned(moment, zone),
            // Milliseconds since 1970.
            Value::Integer(millis) => {
                let moment = DateTime::<Utc>::from_timestamp_millis(*millis)?;
                let zone = Zone { name: "UTC", offset_seconds: 0, epoch_millis: *millis };
                Self { date: Some(moment.date_naive()), time: Some(moment.time()), zone: Some(zone) }
            }
            _ => return None,
        })
    }

    fn zoned(moment: &DateTime<Tz>, name: &'a str) -> Self {
        let offset_seconds = moment.fixed_offset().offset().local_minus_utc();
        let local = moment.naive_local();
        let zone = Zone { name, offset_seconds, epoch_millis: moment.timestamp_millis() };
        Self { date: Some(local.date()), time: Some(local.time()), zone: Some(zone) }
    }

    /// `None` for what the value does not know.
    fn field(&self, field: char) -> Option<String> {
        Some(match field {
            'H' => format!("{:02}", self.time?.hour()),
            'I' => format!("{:02}", self.time?.hour12().1),
            'k' => self.time?.hour().to_string(),
            'l' => self.time?.hour12().1.to_string(),
            'M' => format!("{:02}", self.time?.minute()),
            'S' => format!("{:02}", self.time?.second()),
            'L' => format!("{:03}", self.time?.nanosecond() / 1_000_000),
            'N' => format!("{:09}", self.time?.nanosecond()),
            'p' => String::from(if self.time?.hour12().0 { "pm" } else { "am" }),
            'z' => {
                let minutes = self.zone.as_ref()?.offset_seconds / 60;
                format!("{}{:02}{:02}", if minutes < 0 { '-' } else { '+' }, minutes.abs() / 60, minutes.abs() % 60)
            }
            // The abbreviations of others are not known.
            'Z' => self.zone.as_ref().filter(|zone| zone.name == "UTC" || zone.name.starts_with(['+', '-']))?.name.to_owned(),
            's' => self.zone.as_ref()?.epoch_millis.div_euclid(1_000).to_string(),
            'Q' => self.zone.as_ref()?.epoch_millis.to_string(),
            'B' => self.month()?.to_owned(),
            'b' | 'h' => self.month()?.get(..3)?.to_owned(),
            'A' => self.day()?.to_owned(),
            'a' => self.day()?.get(..3)?.to_owned(),
            'C' => format!("{:02}", self.date?.year() / 100),
            'Y' => format!("{:04}", self.date?.year()),
            'y' => format!("{:02}", self.date?.year().rem_euclid(100)),
            'j' => format!("{:03}", self.date?.ordinal()),
            'm' => format!("{:02}", self.date?.month()),
            'd' => format!("{:02}", self.date?.day()),
            'e' => self.date?.day().to_string(),
            'R' => self.fields("H:M")?,
            'T' => self.fields("H:M:S")?,
            'r' => format!("{} {}", self.fields("I:M:S")?, self.field('p')?.to_uppercase()),
            'D' => self.fields("m/d/y")?,
            'F' => self.fields("Y-m-d")?,
            'c' => self.fields("a b d T Z Y")?,
            _ => return None,
        })
    }

    /// Fields with what is no letter between them.
    fn fields(&self, fields: &str) -> Option<String> {
        let mut out = String::new();
        for character in fields.chars() {
            if character.is_ascii_alphabetic() {
                out.push_str(&self.field(character)?);
            } else {
                out.push(character);
            }
        }
        Some(out)
    }

    fn month(&self) -> Option<&'static str> {
        MONTHS.get(usize::try_from(self.date?.month0()).ok()?).copied()
    }

    fn day(&self) -> Option<&'static str> {
        DAYS.get(usize::try_from(self.date?.weekday().num_days_from_monday()).ok()?).copied()
    }
}

/// A field of a moment; `None` if the value has none.
pub(super) fn written(field: char, value: &Value<'_>) -> Option<String> {
    Moment::of(value)?.field(field)
}
