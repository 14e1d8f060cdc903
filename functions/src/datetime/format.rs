//! Dates and moments as text of a pattern, and from it.

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::{DataType, TimestampMicrosecondType};
use datafusion::common::ScalarValue;
use datafusion::error::Result;

use super::clock::Clock;
use super::pattern::{Compiled, Pattern, Shown};
use super::zone::Zone;
use super::zones::{session_zone, zoned};
use super::{joda, mysql};
use crate::{Call, Scalar, invalid};

const TO_TEXT: &[&str] = &["(timestamp(p), varchar) -> varchar", "(timestamptz(p), varchar) -> varchar"];

pub(crate) const FUNCTIONS: &[Scalar] = &[
    Scalar::new("date_format", TO_TEXT, date_format, "A moment as text of a pattern of MySQL."),
    Scalar::new("format_datetime", TO_TEXT, format_datetime, "A moment as text of a pattern of Joda."),
    Scalar::new("date_parse", &["(varchar, varchar) -> timestamp"], date_parse, "The moment that a text of a pattern of MySQL is."),
    Scalar::new(
        "parse_datetime",
        &["(varchar, varchar) -> timestamptz", "(varchar, varchar, varchar) -> timestamptz"],
        parse_datetime,
        "The moment that a text of a pattern of Joda is.",
    )
    .returning_for(parsed_type),
];

fn date_format(call: &Call<'_>) -> Result<ArrayRef> {
    written(call, mysql::parse)
}

fn format_datetime(call: &Call<'_>) -> Result<ArrayRef> {
    written(call, joda::parse)
}

fn written(call: &Call<'_>, read: fn(&str) -> Result<Pattern>) -> Result<ArrayRef> {
    let (clock, patterns, mut compiled) = (Clock::of(call, 0)?, call.text(1)?, Compiled::new(read));
    let has_zone = matches!(call.argument(0)?.data_type(), DataType::Timestamp(_, Some(_)));
    let zone = clock.zone();
    call.texts(|row| {
        let pattern = compiled.of(patterns.value(row))?;
        if !has_zone && pattern.has_zone() {
            return Err(invalid("a pattern has a time zone, and the moment has none"));
        }
        pattern.write(&Shown::new(clock.utc(row)?, zone)?).map(Some)
    })
}

fn date_parse(call: &Call<'_>) -> Result<ArrayRef> {
    let (texts, patterns, mut compiled) = (call.text(0)?, call.text(1)?, Compiled::new(mysql::parse));
    call.primitives::<TimestampMicrosecondType>(|row| Ok(Some(compiled.of(patterns.value(row))?.read(texts.value(row))?.0)))
}

/// Of constants the zone is the one that is read.
fn parsed_type(_types: &[DataType], arguments: &[Option<&ScalarValue>]) -> Result<DataType> {
    let text = |index: usize| arguments.get(index).copied().flatten().and_then(ScalarValue::try_as_str).flatten();
    // What cannot be read is told when the function runs.
    let own = match (text(0), text(1)) {
        (Some(text), Some(pattern)) => joda::parse(pattern).and_then(|pattern| pattern.read(text)).ok().and_then(|(_, zone)| zone),
        _ => None,
    };
    Ok(zoned(own.or_else(|| text(2).and_then(Zone::parse)).unwrap_or(Zone::Utc)))
}

fn parse_datetime(call: &Call<'_>) -> Result<ArrayRef> {
    let (texts, patterns, session, mut compiled) = (call.text(0)?, call.text(1)?, session_zone(call, 2)?, Compiled::new(joda::parse));
    call.primitives::<TimestampMicrosecondType>(|row| {
        let (local, zone) = compiled.of(patterns.value(row))?.read(texts.value(row))?;
        zone.unwrap_or(session).utc(local).map(Some)
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Array, AsArray, StringViewArray, TimestampMicrosecondArray};
    use arrow::datatypes::TimeUnit;
    use datafusion::common::config::ConfigOptions;

    use super::*;

    #[test]
    fn each_row_has_its_pattern() {
        let moments: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![Some(7), Some(0), None, Some(-1)]));
        let patterns: ArrayRef = Arc::new(StringViewArray::from(vec![Some("b"), Some("yyyy"), Some("yyyy"), Some("HH:mm")]));
        let arguments = [moments.slice(1, 3), patterns.slice(1, 3)];
        let config = ConfigOptions::new();
        let texts = format_datetime(&Call::new(&arguments, 3, &DataType::Utf8View, &config, false)).unwrap();
        // A microsecond before midnight is rounded to it.
        assert_eq!(texts.as_string_view().iter().collect::<Vec<_>>(), [Some("1970"), None, Some("00:00")]);
    }

    #[test]
    fn constants_have_a_zone() {
        let value = |text: &str| ScalarValue::Utf8(Some(text.to_owned()));
        let (text, pattern, session) = (value("1 +05:30"), value("H ZZ"), value("Asia/Tokyo"));
        let zone = |text: Option<&ScalarValue>| parsed_type(&[], &[text, Some(&pattern), Some(&session)]).unwrap();
        let of = |name: &str| DataType::Timestamp(TimeUnit::Microsecond, Some(name.into()));
        assert_eq!((zone(Some(&text)), zone(Some(&value("x"))), zone(None)), (of("+05:30"), of("Asia/Tokyo"), of("Asia/Tokyo")));
    }
}
