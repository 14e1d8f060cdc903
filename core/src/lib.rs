//! What every other crate of nunatak shares: the error value, configuration, ids, units, telemetry, and a map that forgets. No DataFusion, no network.

pub mod config;
pub mod error;
pub mod expiring;
pub mod id;
pub mod telemetry;
pub mod units;

pub use error::{Code, Error, Location, Result, Retry};
