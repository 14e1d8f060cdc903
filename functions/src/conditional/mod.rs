//! Which of several values is taken, of what types values are, and how quantities are written. `if`, `try` and `coalesce` are parts of plans: the engine has them.

mod comparison;
pub(crate) mod extremes;
pub(crate) mod failure;
pub(crate) mod lengths;
pub(crate) mod nothing;
pub(crate) mod quantities;
pub(crate) mod rows;
pub(crate) mod types;
