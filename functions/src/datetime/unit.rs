//! Units of time by their names.

use datafusion::error::Result;

use super::calendar::{DAY_MICROS, HOUR_MICROS, MILLI_MICROS, MINUTE_MICROS, SECOND_MICROS};
use crate::invalid;

/// What dates and times are counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Parts of a day, of so many microseconds.
    Micros(i64),
    /// So many days.
    Days(i64),
    /// So many months.
    Months(i64),
}

/// What a unit is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Date,
    Time,
    Moment,
}

impl Unit {
    /// The unit of that name. Errors: `INVALID_FUNCTION_ARGUMENT` if there is none, or what has that kind has none of it.
    pub(crate) fn of(name: &str, kind: Kind) -> Result<Self> {
        let unit = Self::parse(name);
        let fits = match unit {
            Some(Self::Micros(_)) => kind != Kind::Date,
            Some(Self::Days(_) | Self::Months(_)) => kind != Kind::Time,
            None => false,
        };
        let what = match kind {
            Kind::Date => "dates",
            Kind::Time => "times of day",
            Kind::Moment => "time",
        };
        unit.filter(|_| fits).ok_or_else(|| invalid(format!("'{name}' is no unit of {what}")))
    }

    fn parse(name: &str) -> Option<Self> {
        const NAMES: [(&str, Unit); 9] = [
            ("millisecond", Unit::Micros(MILLI_MICROS)),
            ("second", Unit::Micros(SECOND_MICROS)),
            ("minute", Unit::Micros(MINUTE_MICROS)),
            ("hour", Unit::Micros(HOUR_MICROS)),
            ("day", Unit::Days(1)),
            ("week", Unit::Days(7)),
            ("month", Unit::Months(1)),
            ("quarter", Unit::Months(3)),
            ("year", Unit::Months(12)),
        ];
        NAMES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, unit)| *unit)
    }

    /// How long so many are, in microseconds; `None` for months, and for what cannot be counted.
    pub(crate) fn micros(self, count: i64) -> Option<i64> {
        match self {
            Self::Micros(micros) => count.checked_mul(micros),
            Self::Days(days) => count.checked_mul(days)?.checked_mul(DAY_MICROS),
            Self::Months(_) => None,
        }
    }
}
