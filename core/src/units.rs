//! Values with a unit: sizes in bytes and lengths of time, as people write them in a configuration file or on a command line.
//!
//! Both print the way they are read, so that `nunatak config` shows what was typed.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};

/// A number of bytes: `4GiB`, `512MiB` (powers of 1024), `64KB` (powers of 1000), `100B`, or a plain number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(pub u64);

/// A length of time: `100ms`, `5s`, `10m`, `2h`, `7d`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HumanDuration(pub Duration);

/// A text that is not a value with a unit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidUnit(String);

/// Units of [`ByteSize`]; of two that fit exactly, the earlier one is printed.
const BYTE_UNITS: &[(&str, u64)] = &[
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
    ("B", 1),
];

/// Units of [`HumanDuration`] in nanoseconds, longest first.
const TIME_UNITS: &[(&str, u64)] =
    &[("d", 86_400_000_000_000), ("h", 3_600_000_000_000), ("m", 60_000_000_000), ("s", 1_000_000_000), ("ms", 1_000_000), ("us", 1_000), ("ns", 1)];

/// Splits `1.5GiB` into its number and its unit.
fn split_unit(text: &str) -> (&str, &str) {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    (&text[..end], text[end..].trim_start())
}

/// `number * factor`, exact for whole numbers; `None` where it is no number or does not fit.
fn scale(number: &str, factor: u64) -> Option<u64> {
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(factor);
    }
    let (whole, fraction) = number.split_once('.')?;
    if fraction.is_empty() || fraction.len() > 9 {
        return None;
    }
    let scale = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
    let part = u128::from(fraction.parse::<u64>().ok()?) * u128::from(factor) / scale;
    whole.parse::<u64>().ok()?.checked_mul(factor)?.checked_add(u64::try_from(part).ok()?)
}

/// The value in the first unit that divides it.
fn print_exact(f: &mut fmt::Formatter<'_>, value: u64, units: &[(&str, u64)], zero: &str) -> fmt::Result {
    if value == 0 {
        return f.write_str(zero);
    }
    match units.iter().find(|(_, factor)| value.is_multiple_of(*factor)) {
        Some((unit, factor)) => write!(f, "{}{unit}", value / factor),
        None => write!(f, "{value}"),
    }
}

impl ByteSize {
    /// The size in the largest binary unit below it with one decimal, for people: `5.2GiB`.
    pub fn rounded(self) -> String {
        match BYTE_UNITS[..4].iter().find(|(_, factor)| self.0 >= *factor) {
            Some((unit, factor)) => format!("{:.1}{unit}", self.0 as f64 / *factor as f64),
            None => format!("{}B", self.0),
        }
    }
}

impl FromStr for ByteSize {
    type Err = InvalidUnit;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (number, unit) = split_unit(text);
        let factor = match unit {
            "" => Some(1),
            _ => BYTE_UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)).map(|(_, factor)| *factor),
        };
        factor
            .and_then(|factor| scale(number, factor))
            .map(Self)
            .ok_or_else(|| InvalidUnit(format!("'{text}' is not a size such as 4GiB, 512MiB or 64KB")))
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        print_exact(f, self.0, BYTE_UNITS, "0B")
    }
}

impl FromStr for HumanDuration {
    type Err = InvalidUnit;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (number, unit) = split_unit(text);
        TIME_UNITS
            .iter()
            .find(|(name, _)| *name == unit)
            .and_then(|(_, factor)| scale(number, *factor))
            .map(|nanos| Self(Duration::from_nanos(nanos)))
            .ok_or_else(|| InvalidUnit(format!("'{text}' is not a length of time such as 100ms, 5s or 10m")))
    }
}

impl fmt::Display for HumanDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        print_exact(f, u64::try_from(self.0.as_nanos()).unwrap_or(u64::MAX), TIME_UNITS, "0s")
    }
}

/// Reads a value with a unit from a string, or from a plain number where that has a meaning.
struct UnitVisitor<T> {
    expecting: &'static str,
    from_number: Option<fn(u64) -> T>,
}

impl<T: FromStr<Err = InvalidUnit>> Visitor<'_> for UnitVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expecting)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<T, E> {
        match self.from_number {
            Some(from_number) => Ok(from_number(number)),
            None => Err(E::invalid_type(de::Unexpected::Unsigned(number), &self)),
        }
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<T, E> {
        match u64::try_from(number) {
            Ok(number) => self.visit_u64(number),
            Err(_) => Err(E::invalid_value(de::Unexpected::Signed(number), &self)),
        }
    }
}

impl Serialize for ByteSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(UnitVisitor { expecting: "a size such as 4GiB", from_number: Some(Self) })
    }
}

impl Serialize for HumanDuration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for HumanDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(UnitVisitor { expecting: "a length of time such as 5s", from_number: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_printed() {
        for (text, bytes, printed) in [
            ("4GiB", 4 << 30, "4GiB"),
            ("512MiB", 512 << 20, "512MiB"),
            ("64KB", 64_000, "64KB"),
            ("64kb", 64_000, "64KB"),
            ("1.5 GiB", 3 << 29, "1536MiB"),
            ("1024", 1024, "1KiB"),
            ("1001", 1001, "1001B"),
            ("0", 0, "0B"),
        ] {
            let size: ByteSize = text.parse().unwrap();
            assert_eq!((size.0, size.to_string().as_str()), (bytes, printed), "{text}");
            assert_eq!(size.to_string().parse(), Ok(size));
        }
        for wrong in ["", "GiB", "4XB", "-1", "1.GiB", "1.2.3B", "99999999999TiB", "4 GiB x"] {
            assert!(wrong.parse::<ByteSize>().is_err(), "{wrong}");
        }
        assert_eq!(ByteSize(5_583_457_484).rounded(), "5.2GiB");
    }

    #[test]
    fn durations_are_read_and_printed() {
        for (text, millis, printed) in
            [("5s", 5_000, "5s"), ("100ms", 100, "100ms"), ("10m", 600_000, "10m"), ("1.5s", 1_500, "1500ms"), ("24h", 86_400_000, "1d")]
        {
            let duration: HumanDuration = text.parse().unwrap();
            assert_eq!((duration.0, duration.to_string().as_str()), (Duration::from_millis(millis), printed), "{text}");
        }
        for wrong in ["5", "", "s", "5 minutes", "-1s"] {
            assert!(wrong.parse::<HumanDuration>().is_err(), "{wrong}");
        }
    }
}
