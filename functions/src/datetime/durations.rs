//! Durations as people write them.

use arrow::array::ArrayRef;
use arrow::datatypes::IntervalMonthDayNanoType;
use datafusion::error::Result;

use super::intervals::of_nanos;
use crate::{Call, Scalar, invalid};

pub(crate) const FUNCTIONS: &[Scalar] = &[
    Scalar::new(
        "human_readable_seconds",
        &["(double) -> varchar"],
        human_readable_seconds,
        "So many seconds in weeks, days, hours, minutes and seconds.",
    ),
    Scalar::new("parse_duration", &["(varchar) -> interval"], parse_duration, "The interval of a text such as '3.5 h'."),
];

const UNITS: [(&str, i64); 5] = [("week", 604_800), ("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1)];

/// The milliseconds of units.
const DURATIONS: [(&str, f64); 7] = [("ns", 1e-6), ("us", 1e-3), ("ms", 1.0), ("s", 1e3), ("m", 6e4), ("h", 3.6e6), ("d", 8.64e7)];

/// The longest duration, in milliseconds.
const MILLIS_MAX: f64 = 1e14;

fn human_readable_seconds(call: &Call<'_>) -> Result<ArrayRef> {
    let seconds = call.double(0)?;
    call.texts(|row| {
        let value = seconds.value(row);
        if !value.is_finite() {
            return Err(invalid("the number of seconds is not finite"));
        }
        // As Java rounds, and as large as can be.
        let mut rest = ((value + 0.5).floor() as i64).saturating_abs();
        let mut parts = Vec::new();
        for (name, length) in UNITS {
            let count = rest / length;
            rest %= length;
            if count > 0 || (name == "second" && parts.is_empty()) {
                parts.push(format!("{count} {name}{}", if count == 1 { "" } else { "s" }));
            }
        }
        Ok(Some(parts.join(", ")))
    })
}

fn parse_duration(call: &Call<'_>) -> Result<ArrayRef> {
    let texts = call.text(0)?;
    call.primitives::<IntervalMonthDayNanoType>(|row| {
        let text = texts.value(row);
        let millis = millis(text).ok_or_else(|| invalid(format!("'{text}' is no duration: it is a number and ns, us, ms, s, m, h or d")))?;
        of_nanos(millis * 1_000_000).map(Some)
    })
}

/// Whole milliseconds of a number and a unit.
fn millis(text: &str) -> Option<i128> {
    let text = text.trim();
    let end = text.find(|character: char| !character.is_ascii_digit() && character != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let (_, scale) = DURATIONS.iter().find(|(name, _)| *name == unit.trim())?;
    let whole = (number.parse::<f64>().ok()? * scale).round();
    (whole <= MILLIS_MAX).then_some(whole as i128)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read() {
        assert_eq!((millis("42.8ms"), millis(" 3.81 d "), millis("1500us")), (Some(43), Some(329_184_000), Some(2)));
        for wrong in ["", "2", "-1s", "1 weeks", ".", ".s", "1.2.3s", "9e9s", "99999999999999999999d", "é"] {
            assert_eq!(millis(wrong), None, "{wrong}");
        }
    }
}
