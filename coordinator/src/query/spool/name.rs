//! The names of segments: when they may be deleted, whose they are, and what nobody guesses.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use uuid::Uuid;

/// What names end with.
const ENDING: &str = ".segment";

/// The digits of a time in milliseconds, until the year 2286.
const TIME_DIGITS: usize = 13;

/// The name of a segment: `1795793518123_20261126_153158_00000_kw37b_000012_UUID.segment`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SegmentName(String);

impl SegmentName {
    /// A new one, of a segment that can be fetched until a time.
    pub(super) fn new(until: SystemTime, query: &str, number: usize) -> Self {
        let millis = until.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        Self(format!("{millis:0TIME_DIGITS$}_{query}_{number:06}_{}{ENDING}", Uuid::new_v4().simple()))
    }

    /// Reads a name. `None` for what is none.
    pub fn parse(text: &str) -> Option<Self> {
        let parts: Vec<&str> = text.strip_suffix(ENDING)?.split('_').collect();
        let is_whole = parts.len() >= 4 && is_time(parts[0]);
        let is_plain = parts.iter().all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric()));
        (is_whole && is_plain).then(|| Self(text.to_owned()))
    }

    /// The name as text: letters, digits, `_` and one `.`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The query whose result it is a part of, as its clients know it.
    pub fn query(&self) -> &str {
        let of_query = self.0.split_once('_').map_or("", |(_, rest)| rest);
        of_query.rsplitn(3, '_').nth(2).unwrap_or_default()
    }

    /// Until when it can be fetched.
    pub fn until(&self) -> SystemTime {
        until(&self.0).unwrap_or(UNIX_EPOCH)
    }
}

impl fmt::Display for SegmentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Until when the segment can be fetched that a file is, or the unfinished beginning of; `None` for a file that is neither.
pub(super) fn until(file: &str) -> Option<SystemTime> {
    let (time, rest) = file.split_once('_')?;
    let is_segment = is_time(time) && rest.contains(ENDING);
    let millis = time.parse().ok().filter(|_| is_segment)?;
    Some(UNIX_EPOCH + Duration::from_millis(millis))
}

fn is_time(text: &str) -> bool {
    text.len() == TIME_DIGITS && text.bytes().all(|digit| digit.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_when_and_whose() {
        let at = UNIX_EPOCH + Duration::from_millis(1_795_793_518_123);
        let name = SegmentName::new(at, "20261126_153158_00000_kw37b", 12);
        assert!(name.as_str().starts_with("1795793518123_20261126_153158_00000_kw37b_000012_"), "{name}");
        assert_eq!((name.query(), name.until()), ("20261126_153158_00000_kw37b", at));
        assert_eq!(SegmentName::parse(name.as_str()), Some(name.clone()));
        assert_ne!(SegmentName::new(at, "20261126_153158_00000_kw37b", 12), name);
        assert_eq!((until(name.as_str()), until(&format!("{name}#1")), until("1795793518123_other")), (Some(at), Some(at), None));
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for text in ["", "x.segment", "1795793518123_a_1_../../x.segment", "1795793518123_a_1_b", "12_a_1_b.segment", "179579351812x_a_1_b.segment"] {
            assert_eq!(SegmentName::parse(text), None, "{text}");
        }
    }
}
