//! Numbers: Trino's mathematical and bitwise functions, and the operators that DataFusion computes otherwise.

pub(crate) mod bases;
pub(crate) mod bits;
pub(crate) mod buckets;
pub(crate) mod decimal_operators;
pub(crate) mod distributions;
pub(crate) mod doubles;
pub(crate) mod integer_operators;
pub(crate) mod magnitudes;
pub(crate) mod powers_of_ten;
pub(crate) mod random;
pub(crate) mod rounding;
mod special;
pub(crate) mod truncation;
