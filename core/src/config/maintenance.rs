//! `[maintenance]`: what keeping tables in order may do.

use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Invalid, Key};
use crate::units::{ByteSize, HumanDuration};

pub(super) const KEYS: &[Key] = &[
    Key { name: "interval", description: "How often tables that opt in are looked at, and put in order where they need it; 0s for never." },
    Key {
        name: "tables",
        description: "Tables that are looked after without a property of their own: names as schema.table with * for any text, separated by commas.",
    },
    Key { name: "quiet_hours", description: "The hours of the day, in UTC, in which tables are put in order, such as 22:00-06:00; empty for all." },
    Key { name: "budget", description: "How many bytes of data files are written again within 24 hours." },
    Key {
        name: "orphan_age_min",
        description: "The least age of files that remove_orphan_files may delete. It must be longer than any writer, of this or another engine, takes to commit.",
    },
];

/// Spark's limit too.
const ORPHAN_AGE_MIN: Duration = Duration::from_secs(24 * 60 * 60);
const INTERVAL: Duration = Duration::from_secs(10 * 60);
const BUDGET: ByteSize = ByteSize(100_000_000_000);

/// What keeping tables in order may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Maintenance {
    /// How often tables are looked at; `None` for never.
    pub interval: Option<Duration>,
    /// The tables that are looked after without a property of their own.
    pub tables: Vec<TablePattern>,
    /// When tables are put in order; `None` for always.
    pub quiet_hours: Option<QuietHours>,
    /// Bytes of data files that may be written again within 24 hours.
    pub budget_bytes: u64,
    /// Orphans younger than this are never deleted.
    pub orphan_age_min: Duration,
}

/// Names of tables, `schema.table`, in which `*` stands for any text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TablePattern {
    schema: String,
    table: String,
}

impl TablePattern {
    /// Whether a table has such a name.
    pub fn matches(&self, schema: &str, table: &str) -> bool {
        is_like(&self.schema, schema) && is_like(&self.table, table)
    }
}

impl FromStr for TablePattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.trim().split_once('.') {
            Some((schema, table)) if !schema.is_empty() && !table.is_empty() => Ok(Self { schema: schema.to_owned(), table: table.to_owned() }),
            _ => Err(format!("'{text}' is not schema.table")),
        }
    }
}

/// Whether `text` is `pattern`, in which `*` stands for any text.
fn is_like(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((start, rest)) => {
            let Some(after) = text.strip_prefix(start) else { return false };
            (0..=after.len()).filter(|at| after.is_char_boundary(*at)).any(|at| is_like(rest, &after[at..]))
        }
    }
}

/// A part of each day, in minutes since midnight UTC. It ends on the next day if it does not end after its begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuietHours {
    from: u32,
    to: u32,
}

impl QuietHours {
    /// Whether a minute of the day is within.
    pub fn contains(self, minute: u32) -> bool {
        match self.from < self.to {
            true => (self.from..self.to).contains(&minute),
            false => minute >= self.from || minute < self.to,
        }
    }
}

impl FromStr for QuietHours {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let minute = |text: &str| {
            let (hour, minute) = text.trim().split_once(':')?;
            let (hour, minute) = (hour.parse::<u32>().ok()?, minute.parse::<u32>().ok()?);
            (hour < 24 && minute < 60).then_some(hour * 60 + minute)
        };
        let hours = text.split_once('-').and_then(|(from, to)| Some(Self { from: minute(from)?, to: minute(to)? }));
        hours.ok_or_else(|| format!("'{text}' is not a part of a day such as 22:00-06:00"))
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Raw {
    interval: HumanDuration,
    tables: String,
    quiet_hours: String,
    budget: ByteSize,
    orphan_age_min: HumanDuration,
}

impl Default for Raw {
    fn default() -> Self {
        Self {
            interval: HumanDuration(INTERVAL),
            tables: String::new(),
            quiet_hours: String::new(),
            budget: BUDGET,
            orphan_age_min: HumanDuration(ORPHAN_AGE_MIN),
        }
    }
}

impl Raw {
    pub(super) fn check(self) -> Result<Maintenance, Invalid> {
        let names = self.tables.split(',').map(str::trim).filter(|name| !name.is_empty());
        let tables = names.map(str::parse).collect::<Result<_, String>>().map_err(|why| Invalid::new("maintenance.tables", why))?;
        let hours = Some(self.quiet_hours.trim()).filter(|hours| !hours.is_empty()).map(str::parse).transpose();
        Ok(Maintenance {
            interval: Some(self.interval.0).filter(|interval| !interval.is_zero()),
            tables,
            quiet_hours: hours.map_err(|why| Invalid::new("maintenance.quiet_hours", why))?,
            budget_bytes: self.budget.0,
            orphan_age_min: self.orphan_age_min.0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_tables() {
        let matches = |pattern: &str, schema: &str, table: &str| pattern.parse::<TablePattern>().unwrap().matches(schema, table);
        assert!(matches("nyc.*", "nyc", "trips"));
        assert!(matches("*.*_log", "any", "web_log"));
        assert!(matches("nyc.t*p*", "nyc", "trips"));
        assert!(!matches("nyc.trip", "nyc", "trips"));
        assert!(!matches("*.*_log", "any", "web_logs"));
        assert!("nyc".parse::<TablePattern>().is_err());
    }

    #[test]
    fn quiet_hours_may_go_over_midnight() {
        let hours = |text: &str| text.parse::<QuietHours>();
        let night = hours("22:30-06:00").unwrap();
        assert!(night.contains(22 * 60 + 30) && night.contains(0) && night.contains(359));
        assert!(!night.contains(360) && !night.contains(22 * 60 + 29));
        let noon = hours("12:00 - 13:00").unwrap();
        assert!(noon.contains(12 * 60) && !noon.contains(13 * 60));
        assert!(hours("0:00-0:00").unwrap().contains(700));
        for wrong in ["22:00", "24:00-01:00", "a-b", "1-2"] {
            assert!(hours(wrong).is_err(), "{wrong}");
        }
    }
}
