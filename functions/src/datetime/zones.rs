//! Moments in other zones.

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::{DataType, Date32Type, TimeUnit};
use datafusion::common::ScalarValue;
use datafusion::error::Result;

use super::calendar::{day_value, split};
use super::clock::Clock;
use super::{Zone, not_supported};
use crate::{Call, Scalar};

pub(crate) const FUNCTIONS: &[Scalar] = &[
    Scalar::new(
        "at_timezone",
        &[
            "(timestamptz(p), varchar) -> timestamptz(p)",
            "(timestamp(p), varchar) -> timestamptz(p)",
            "(timestamptz(p), varchar, varchar) -> timestamptz(p)",
            "(timestamp(p), varchar, varchar) -> timestamptz(p)",
        ],
        at_timezone,
        "The same moment in a time zone.",
    )
    .returning_for(second_zone),
    Scalar::new(
        "with_timezone",
        &["(timestamp(p), varchar) -> timestamptz(p)"],
        with_timezone,
        "The moment at which the clocks of a time zone show that.",
    )
    .returning_for(second_zone),
    Scalar::new("timezone", &["(timestamptz(p)) -> varchar"], timezone, "The name of the time zone."),
    Scalar::new("$local_timestamp", &["(timestamptz(p)) -> timestamp(p)"], local_timestamp, "What the clocks of the zone show."),
    Scalar::new("$local_time", &["(timestamptz(p)) -> time(p)"], local_time, "The time of day that the clocks of the zone show."),
    Scalar::new("$local_date", &["(timestamptz(p)) -> date"], local_date, "The date in the zone."),
];

/// A type of moments in a zone.
pub(crate) fn zoned(zone: Zone) -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some(zone.name().into()))
}

/// The text of a constant argument; `None` for NULL. Errors: `NOT_SUPPORTED` if it is no constant.
pub(crate) fn constant_text<'a>(arguments: &[Option<&'a ScalarValue>], index: usize) -> Result<Option<&'a str>> {
    match arguments.get(index).copied().flatten() {
        Some(value) if value.is_null() => Ok(None),
        Some(value) => match value.try_as_str() {
            Some(text) => Ok(text),
            None => Err(not_supported("the name of a time zone is a text")),
        },
        None => Err(not_supported("a time zone that is no constant is not supported: the zone is that of the type, and the same for all rows")),
    }
}

/// The session's zone, which the planner writes as the last argument if it is not UTC: the same in all rows.
pub(crate) fn session_zone(call: &Call<'_>, index: usize) -> Result<Zone> {
    if call.len() <= index {
        return Ok(Zone::Utc);
    }
    call.text(index)?.iter().flatten().next().map_or(Ok(Zone::Utc), Zone::named)
}

fn second_zone(types: &[DataType], arguments: &[Option<&ScalarValue>]) -> Result<DataType> {
    let zone = constant_text(arguments, 1)?.map_or(Ok(Zone::Utc), Zone::named)?;
    Ok(match types.first() {
        Some(DataType::Timestamp(TimeUnit::Nanosecond, _)) => DataType::Timestamp(TimeUnit::Nanosecond, Some(zone.name().into())),
        _ => zoned(zone),
    })
}

/// A moment without a zone is one of the session's, which is the last argument.
fn at_timezone(call: &Call<'_>) -> Result<ArrayRef> {
    let (clock, session) = (Clock::of(call, 0)?, session_zone(call, 2)?);
    let has_zone = matches!(call.argument(0)?.data_type(), DataType::Timestamp(_, Some(_)));
    clock.moments(call, |row| if has_zone { clock.utc(row) } else { session.utc(clock.micros(row)?) })
}

fn with_timezone(call: &Call<'_>) -> Result<ArrayRef> {
    let (clock, zone) = (Clock::of(call, 0)?, Zone::of_type(call.returns())?);
    clock.moments(call, |row| zone.utc(clock.micros(row)?))
}

fn timezone(call: &Call<'_>) -> Result<ArrayRef> {
    let name = Zone::of_type(call.argument(0)?.data_type())?.name();
    let name: &str = &name;
    call.texts(|_| Ok(Some(name)))
}

fn local_timestamp(call: &Call<'_>) -> Result<ArrayRef> {
    let clock = Clock::of(call, 0)?;
    clock.moments(call, |row| clock.micros(row))
}

fn local_time(call: &Call<'_>) -> Result<ArrayRef> {
    let clock = Clock::of(call, 0)?;
    clock.times(call, |row| Ok(split(clock.micros(row)?).1))
}

fn local_date(call: &Call<'_>) -> Result<ArrayRef> {
    let clock = Clock::of(call, 0)?;
    call.primitives::<Date32Type>(|row| day_value(clock.day(row)?).map(Some))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_zone_is_that_of_the_type() {
        let zone = |value: Option<&ScalarValue>| second_zone(&[], &[None, value]);
        let tokyo = ScalarValue::Utf8(Some("Asia/Tokyo".into()));
        assert_eq!(zone(Some(&tokyo)).unwrap(), DataType::Timestamp(TimeUnit::Microsecond, Some("Asia/Tokyo".into())));
        let of_nanos = second_zone(&[DataType::Timestamp(TimeUnit::Nanosecond, None)], &[None, Some(&tokyo)]).unwrap();
        assert_eq!(of_nanos, DataType::Timestamp(TimeUnit::Nanosecond, Some("Asia/Tokyo".into())));
        assert_eq!(zone(Some(&ScalarValue::Null)).unwrap(), DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())));
        assert!(zone(None).unwrap_err().to_string().contains("no constant"));
        assert!(zone(Some(&ScalarValue::Utf8(Some("x".into())))).unwrap_err().to_string().contains("'x' is not a valid time zone"));
    }
}
