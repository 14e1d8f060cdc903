//! Dates, times of day, moments and intervals.
//!
//! A moment with a time zone is one of UTC, and its zone is that of its type: Trino keeps a zone with each value. So a zone that a function is given has to be
//! written as a constant. Where a function depends on the session's zone that zone is its last argument, which the planner writes there.

pub(crate) mod add;
pub(crate) mod calendar;
pub(crate) mod clock;
pub(crate) mod diff;
pub(crate) mod durations;
pub(crate) mod fields;
pub(crate) mod format;
pub(crate) mod from_iso8601;
pub(crate) mod intervals;
pub(crate) mod iso8601;
pub(crate) mod joda;
pub(crate) mod mysql;
pub(crate) mod parts;
pub(crate) mod pattern;
pub(crate) mod read;
pub(crate) mod unit;
pub(crate) mod unixtime;
pub(crate) mod zone;
pub(crate) mod zones;

use datafusion::error::DataFusionError;
use nunatak_core::{Code, Error};

pub use intervals::written as interval_text;
pub use zone::Zone;

/// The error of what is not supported, which Trino has.
fn not_supported(message: impl Into<String>) -> DataFusionError {
    DataFusionError::External(Box::new(Error::new(Code::NotSupported, message)))
}
