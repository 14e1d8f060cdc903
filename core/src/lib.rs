//! What every other crate of nunatak shares: the error value, configuration, ids, units, telemetry, a map that forgets, and panics as errors. No DataFusion, no network.

pub mod config;
pub mod error;
pub mod expiring;
pub mod id;
pub mod panics;
pub mod telemetry;
pub mod units;

pub use error::{Code, Error, Location, Result, Retry};
