//! Seconds and nanoseconds since the epoch.

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::{DataType, Decimal128Type, TimeUnit, TimestampMicrosecondType, TimestampNanosecondType};
use datafusion::common::ScalarValue;
use datafusion::error::Result;

use super::calendar::MILLI_MICROS;
use super::clock::Clock;
use super::zones::{constant_text, session_zone, zoned};
use super::{Zone, not_supported};
use crate::{Call, Scalar, invalid, out_of_range};

pub(crate) const FUNCTIONS: &[Scalar] = &[
    Scalar::new(
        "from_unixtime",
        &["(double) -> timestamptz", "(double, varchar) -> timestamptz", "(double, bigint, bigint) -> timestamptz"],
        from_unixtime,
        "The moment so many seconds after the epoch, in a zone or at so many hours and minutes before UTC.",
    )
    .returning_for(from_unixtime_type),
    Scalar::new(
        "from_unixtime_nanos",
        &["(bigint) -> timestamptz", "(decimal) -> timestamptz", "(bigint, varchar) -> timestamptz", "(decimal, varchar) -> timestamptz"],
        from_unixtime_nanos,
        "The moment so many nanoseconds after the epoch.",
    )
    .returning_for(nanos_type),
    Scalar::new(
        "to_unixtime",
        &["(timestamp) -> double", "(timestamptz) -> double", "(timestamp, varchar) -> double", "(timestamptz, varchar) -> double"],
        to_unixtime,
        "The seconds of a moment since the epoch.",
    ),
];

/// The zone that a constant argument names; UTC without that argument, and for NULL.
fn zone_at(arguments: &[Option<&ScalarValue>], index: usize) -> Result<Zone> {
    if index >= arguments.len() {
        return Ok(Zone::Utc);
    }
    match constant_text(arguments, index)? {
        Some(name) => Zone::parse(name).ok_or_else(|| not_supported(format!("time zone '{name}' is not supported"))),
        None => Ok(Zone::Utc),
    }
}

fn from_unixtime_type(_types: &[DataType], arguments: &[Option<&ScalarValue>]) -> Result<DataType> {
    if arguments.len() < 3 {
        return zone_at(arguments, 1).map(zoned);
    }
    let part = |index: usize| match arguments.get(index).copied().flatten() {
        Some(value) if value.is_null() => Ok(Some(0)),
        Some(ScalarValue::Int64(Some(value))) => Ok(Some(*value)),
        Some(ScalarValue::Int32(Some(value))) => Ok(Some(i64::from(*value))),
        _ => Err(not_supported("an offset of a zone that is no constant is not supported: the zone is that of the type")),
    };
    let (Some(hours), Some(minutes)) = (part(1)?, part(2)?) else { return Ok(zoned(Zone::Utc)) };
    let offset = hours.checked_mul(60).and_then(|hours| hours.checked_add(minutes)).and_then(|offset| i32::try_from(offset).ok());
    offset.and_then(Zone::of_minutes).map(zoned).ok_or_else(|| invalid(format!("{hours} hours and {minutes} minutes are no offset of a time zone")))
}

/// Seconds are rounded to milliseconds, as Java's `Math.round` does.
fn from_unixtime(call: &Call<'_>) -> Result<ArrayRef> {
    let seconds = call.double(0)?;
    call.primitives::<TimestampMicrosecondType>(|row| {
        let seconds = seconds.value(row);
        let millis = if seconds.is_nan() { 0.0 } else { (seconds * 1_000.0 + 0.5).floor() };
        if millis.abs() > MILLIS_MAX {
            return Err(invalid(format!("{seconds} seconds are outside of the calendar")));
        }
        Ok(Some(millis as i64 * MILLI_MICROS))
    })
}

/// The largest number of milliseconds that a moment of Trino has.
const MILLIS_MAX: f64 = 2_251_799_813_685_247.0;

fn nanos_type(_types: &[DataType], arguments: &[Option<&ScalarValue>]) -> Result<DataType> {
    Ok(DataType::Timestamp(TimeUnit::Nanosecond, Some(zone_at(arguments, 1)?.name().into())))
}

fn from_unixtime_nanos(call: &Call<'_>) -> Result<ArrayRef> {
    match call.argument(0)?.data_type() {
        DataType::Decimal128(_, scale) => {
            let (values, divisor) =
                (call.primitive::<Decimal128Type>(0)?, 10_i128.checked_pow(u32::try_from(*scale).unwrap_or(0)).unwrap_or(i128::MAX));
            call.primitives::<TimestampNanosecondType>(|row| {
                let (whole, rest) = (values.value(row) / divisor, values.value(row) % divisor);
                // Halves go away from zero.
                let nanos = if rest.abs() >= divisor - rest.abs() { whole + rest.signum() } else { whole };
                i64::try_from(nanos).map(Some).map_err(|_| out_of_range(format!("{nanos} nanoseconds are outside of the years 1677 to 2262")))
            })
        }
        _ => {
            let values = call.bigint(0)?;
            call.primitives::<TimestampNanosecondType>(|row| Ok(Some(values.value(row))))
        }
    }
}

/// A moment without a zone is one of the session's, which is the second argument.
fn to_unixtime(call: &Call<'_>) -> Result<ArrayRef> {
    let (clock, session) = (Clock::of(call, 0)?, session_zone(call, 1)?);
    let has_zone = matches!(call.argument(0)?.data_type(), DataType::Timestamp(_, Some(_)));
    call.doubles(|row| {
        let micros = if has_zone { clock.utc(row)? } else { session.utc(clock.micros(row)?)? };
        Ok(Some(seconds(micros)))
    })
}

fn seconds(micros: i64) -> f64 {
    // Whole milliseconds are divided once, so that they are as exact as can be.
    if micros % MILLI_MICROS == 0 { (micros / MILLI_MICROS) as f64 / 1e3 } else { micros as f64 / 1e6 }
}
