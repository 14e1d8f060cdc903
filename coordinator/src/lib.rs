//! The brain: one query's life from its text to its rows, the statements, and the seam behind which a plan runs.
//!
//! Front doors know only [`query`].

pub mod execution;
pub mod jobs;
pub mod query;
pub mod statement;
