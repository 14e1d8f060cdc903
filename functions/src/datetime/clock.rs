//! Arguments that are dates, times of day or moments, as clocks of their zones show them.

use arrow::array::{Array, Date32Array, Time64MicrosecondArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Date32Type, Time64MicrosecondType, TimestampMicrosecondType};
use chrono::NaiveDate;
use datafusion::common::internal_err;
use datafusion::error::Result;

use super::calendar::{DAY_MICROS, date_of, joined};
use super::zone::Zone;
use crate::Call;

/// An argument of one of these types.
pub(crate) enum Clock<'a> {
    /// Dates.
    Date(&'a Date32Array),
    /// Times of day.
    Time(&'a Time64MicrosecondArray),
    /// Moments, in UTC if they have no zone.
    Moment(&'a TimestampMicrosecondArray, Zone),
}

impl<'a> Clock<'a> {
    /// The argument at that place.
    pub(crate) fn of(call: &Call<'a>, index: usize) -> Result<Self> {
        let data_type = call.argument(index)?.data_type();
        Ok(match data_type {
            DataType::Date32 => Self::Date(call.primitive::<Date32Type>(index)?),
            DataType::Time64(_) => Self::Time(call.primitive::<Time64MicrosecondType>(index)?),
            DataType::Timestamp(..) => Self::Moment(call.primitive::<TimestampMicrosecondType>(index)?, Zone::of_type(data_type)?),
            other => return internal_err!("argument {index} has the type {other}"),
        })
    }

    /// Its zone; UTC if it has none.
    pub(crate) fn zone(&self) -> Zone {
        match self {
            Self::Moment(_, zone) => *zone,
            _ => Zone::Utc,
        }
    }

    /// What clocks show, in microseconds since the epoch, or since midnight for a time of day.
    pub(crate) fn micros(&self, row: usize) -> Result<i64> {
        match self {
            Self::Date(days) => joined(i64::from(days.value(row)), 0),
            Self::Time(times) => Ok(times.value(row)),
            Self::Moment(moments, zone) => zone.local(moments.value(row)),
        }
    }

    /// The moment, in microseconds since the epoch.
    pub(crate) fn utc(&self, row: usize) -> Result<i64> {
        match self {
            Self::Moment(moments, _) => Ok(moments.value(row)),
            other => other.micros(row),
        }
    }

    /// The day since the epoch.
    pub(crate) fn day(&self, row: usize) -> Result<i64> {
        match self {
            Self::Date(days) => Ok(i64::from(days.value(row))),
            other => Ok(other.micros(row)?.div_euclid(DAY_MICROS)),
        }
    }

    /// The date.
    pub(crate) fn date(&self, row: usize) -> Result<NaiveDate> {
        date_of(self.day(row)?)
    }
}
