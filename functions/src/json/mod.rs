//! JSON: the type `json`, casts to it and from it, and the functions that Trino has for it.

pub(crate) mod constructors;
mod evaluate;
pub mod from_json;
mod number;
mod path;
pub(crate) mod query;
mod sql_path;
mod sql_tokens;
mod sql_value;
mod text;
pub mod to_json;
pub(crate) mod values;
pub(crate) mod written;

use datafusion::error::DataFusionError;
use nunatak_core::{Code, Error};

/// An error with one of Trino's codes.
fn error(code: Code, message: impl Into<String>) -> DataFusionError {
    DataFusionError::External(Box::new(Error::new(code, message)))
}
