//! Tests of the workspace as a whole, in the crate that everything stands on.

mod architecture;
