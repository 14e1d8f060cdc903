//! Arguments that are dates, times of day or moments, as clocks of their zones show them.

use arrow::array::{
    Array, ArrayRef, Date32Array, Time64MicrosecondArray, Time64NanosecondArray, TimestampMicrosecondArray, TimestampNanosecondArray,
};
use arrow::datatypes::{
    DataType, Date32Type, Time64MicrosecondType, Time64NanosecondType, TimeUnit, TimestampMicrosecondType, TimestampNanosecondType,
};
use chrono::NaiveDate;
use datafusion::common::internal_err;
use datafusion::error::Result;

use super::calendar::{DAY_MICROS, date_of, joined, too_far};
use super::zone::Zone;
use crate::Call;

const MICRO_NANOS: i64 = 1_000;

/// An argument of one of these types.
pub(crate) enum Clock<'a> {
    /// Dates.
    Date(&'a Date32Array),
    /// Times of day.
    Time(&'a Time64MicrosecondArray),
    /// Moments, in UTC if they have no zone.
    Moment(&'a TimestampMicrosecondArray, Zone),
    /// Times of day in nanoseconds.
    TimeNanos(&'a Time64NanosecondArray),
    /// Moments in nanoseconds.
    MomentNanos(&'a TimestampNanosecondArray, Zone),
}

impl<'a> Clock<'a> {
    /// The argument at that place.
    pub(crate) fn of(call: &Call<'a>, index: usize) -> Result<Self> {
        let data_type = call.argument(index)?.data_type();
        Ok(match data_type {
            DataType::Date32 => Self::Date(call.primitive::<Date32Type>(index)?),
            DataType::Time64(TimeUnit::Nanosecond) => Self::TimeNanos(call.primitive::<Time64NanosecondType>(index)?),
            DataType::Timestamp(TimeUnit::Nanosecond, _) => {
                Self::MomentNanos(call.primitive::<TimestampNanosecondType>(index)?, Zone::of_type(data_type)?)
            }
            DataType::Time64(_) => Self::Time(call.primitive::<Time64MicrosecondType>(index)?),
            DataType::Timestamp(..) => Self::Moment(call.primitive::<TimestampMicrosecondType>(index)?, Zone::of_type(data_type)?),
            other => return internal_err!("argument {index} has the type {other}"),
        })
    }

    /// Its zone; UTC if it has none.
    pub(crate) fn zone(&self) -> Zone {
        match self {
            Self::Moment(_, zone) | Self::MomentNanos(_, zone) => *zone,
            _ => Zone::Utc,
        }
    }

    /// What clocks show, in whole microseconds since the epoch, or since midnight for a time of day.
    pub(crate) fn micros(&self, row: usize) -> Result<i64> {
        match self {
            Self::Date(days) => joined(i64::from(days.value(row)), 0),
            Self::Time(times) => Ok(times.value(row)),
            Self::Moment(moments, zone) => zone.local(moments.value(row)),
            Self::TimeNanos(times) => Ok(times.value(row).div_euclid(MICRO_NANOS)),
            Self::MomentNanos(moments, zone) => zone.local(moments.value(row).div_euclid(MICRO_NANOS)),
        }
    }

    /// The nanoseconds behind the whole microseconds; `None` if none are counted.
    pub(crate) fn nanos(&self, row: usize) -> Option<i64> {
        match self {
            Self::TimeNanos(times) => Some(times.value(row).rem_euclid(MICRO_NANOS)),
            Self::MomentNanos(moments, _) => Some(moments.value(row).rem_euclid(MICRO_NANOS)),
            _ => None,
        }
    }

    /// So many microseconds, and the nanoseconds of a row, as the argument counts them.
    fn counted(&self, row: usize, micros: i64) -> Result<i64> {
        match self.nanos(row) {
            Some(nanos) => micros.checked_mul(MICRO_NANOS).and_then(|start| start.checked_add(nanos)).ok_or_else(too_far),
            None => Ok(micros),
        }
    }

    /// Times of day that count what the argument counts, by those of its rows in microseconds; the nanoseconds stay.
    pub(crate) fn times(&self, call: &Call<'_>, micros: impl Fn(usize) -> Result<i64>) -> Result<ArrayRef> {
        let time = |row: usize| self.counted(row, micros(row)?).map(Some);
        match self {
            Self::TimeNanos(_) | Self::MomentNanos(..) => call.primitives::<Time64NanosecondType>(time),
            _ => call.primitives::<Time64MicrosecondType>(time),
        }
    }

    /// The same of moments.
    pub(crate) fn moments(&self, call: &Call<'_>, micros: impl Fn(usize) -> Result<i64>) -> Result<ArrayRef> {
        let moment = |row: usize| self.counted(row, micros(row)?).map(Some);
        match self {
            Self::MomentNanos(..) => call.primitives::<TimestampNanosecondType>(moment),
            _ => call.primitives::<TimestampMicrosecondType>(moment),
        }
    }

    /// The moment, in whole microseconds since the epoch.
    pub(crate) fn utc(&self, row: usize) -> Result<i64> {
        match self {
            Self::Moment(moments, _) => Ok(moments.value(row)),
            Self::MomentNanos(moments, _) => Ok(moments.value(row).div_euclid(MICRO_NANOS)),
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
