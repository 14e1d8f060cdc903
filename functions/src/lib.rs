//! Trino's functions on Arrow arrays: those that DataFusion does not have, or has with another meaning.
//!
//! A function is a [`Scalar`]: its name, its signatures as Trino's documentation writes them, and what computes it. The signatures say which arguments it takes,
//! to which types they are converted, and what it returns ([`signature`]); the name is all that executors need to find it.
//!
//! Text that is a value of its own is `Utf8View` on both sides of a function, and `Utf8` within arrays, maps and rows, as in the columns of tables. Moments and times
//! of day count microseconds. A value of type `json` is `LargeUtf8` everywhere. A function returns NULL if one of its arguments is NULL, unless it says otherwise.

pub mod aggregate;
mod array;
mod binary;
pub mod call;
mod conditional;
pub mod datetime;
pub mod json;
pub mod lambda;
mod map;
mod math;
mod nested;
pub mod scalar;
mod session;
pub mod signature;
mod sketch;
mod text;
pub mod type_name;

use std::sync::{Arc, LazyLock};

use datafusion::logical_expr::ScalarUDF;
use nunatak_core::{Code, Error};

pub use aggregate::aggregates;
pub use array::part::SUBSCRIPT;
pub use call::Call;
pub use nested::identity::has_twins;
pub use scalar::Scalar;

static SCALARS: LazyLock<Vec<Arc<ScalarUDF>>> = LazyLock::new(|| scalar::functions(definitions()));

/// The definitions of all scalar functions.
pub fn definitions() -> impl Iterator<Item = &'static Scalar> {
    let groups = [
        array::combine::FUNCTIONS,
        array::distance::FUNCTIONS,
        array::join::FUNCTIONS,
        array::order::FUNCTIONS,
        array::part::FUNCTIONS,
        array::search::FUNCTIONS,
        array::sequence::FUNCTIONS,
        array::set::FUNCTIONS,
        binary::encoding::FUNCTIONS,
        binary::hash::FUNCTIONS,
        binary::numbers::FUNCTIONS,
        binary::uuid::FUNCTIONS,
        conditional::extremes::FUNCTIONS,
        conditional::failure::FUNCTIONS,
        conditional::lengths::FUNCTIONS,
        conditional::nothing::FUNCTIONS,
        conditional::quantities::FUNCTIONS,
        conditional::rows::FUNCTIONS,
        conditional::types::FUNCTIONS,
        datetime::add::FUNCTIONS,
        datetime::diff::FUNCTIONS,
        datetime::durations::FUNCTIONS,
        datetime::format::FUNCTIONS,
        datetime::from_iso8601::FUNCTIONS,
        datetime::intervals::FUNCTIONS,
        datetime::iso8601::FUNCTIONS,
        datetime::parts::FUNCTIONS,
        datetime::unixtime::FUNCTIONS,
        datetime::zones::FUNCTIONS,
        json::constructors::FUNCTIONS,
        json::from_json::FUNCTIONS,
        json::query::FUNCTIONS,
        json::to_json::FUNCTIONS,
        json::values::FUNCTIONS,
        map::make::FUNCTIONS,
        map::part::FUNCTIONS,
        math::bases::FUNCTIONS,
        math::bits::FUNCTIONS,
        math::buckets::FUNCTIONS,
        math::distributions::FUNCTIONS,
        math::doubles::FUNCTIONS,
        math::integer_operators::FUNCTIONS,
        math::magnitudes::FUNCTIONS,
        math::random::FUNCTIONS,
        math::rounding::FUNCTIONS,
        math::truncation::FUNCTIONS,
        nested::identity::FUNCTIONS,
        session::FUNCTIONS,
        sketch::FUNCTIONS,
        text::case::FUNCTIONS,
        text::characters::FUNCTIONS,
        text::concat::FUNCTIONS,
        text::distance::FUNCTIONS,
        text::find::FUNCTIONS,
        text::format::FUNCTIONS,
        text::pad::FUNCTIONS,
        text::regexp::FUNCTIONS,
        text::render::FUNCTIONS,
        text::replace::FUNCTIONS,
        text::reverse::FUNCTIONS,
        text::split::FUNCTIONS,
        text::substr::FUNCTIONS,
        text::trim::FUNCTIONS,
        text::url::FUNCTIONS,
        text::words::FUNCTIONS,
    ];
    groups.into_iter().flatten()
}

/// All scalar functions.
pub fn scalars() -> &'static [Arc<ScalarUDF>] {
    &SCALARS
}

/// The scalar function of that name.
pub fn scalar(name: &str) -> Option<&'static Arc<ScalarUDF>> {
    SCALARS.iter().find(|function| function.name() == name)
}

/// The error of a function that was given a value which it does not take.
pub fn invalid(message: impl Into<String>) -> datafusion::error::DataFusionError {
    datafusion::error::DataFusionError::External(Box::new(Error::new(Code::InvalidFunctionArgument, message)))
}

/// The error of a result that does not fit its type.
pub fn out_of_range(message: impl Into<String>) -> datafusion::error::DataFusionError {
    datafusion::error::DataFusionError::External(Box::new(Error::new(Code::NumericValueOutOfRange, message)))
}

/// The error of a function that does not take values of these types.
pub(crate) fn not_found(message: impl Into<String>) -> datafusion::error::DataFusionError {
    datafusion::error::DataFusionError::External(Box::new(Error::new(Code::FunctionNotFound, message)))
}

/// The error of what is not done.
pub fn not_supported(message: impl Into<String>) -> datafusion::error::DataFusionError {
    datafusion::error::DataFusionError::External(Box::new(Error::not_supported(message)))
}
