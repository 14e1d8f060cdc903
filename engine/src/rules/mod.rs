//! Optimiser rules of our own, one a file.

mod yield_in_joins;

pub use yield_in_joins::YieldInJoins;
