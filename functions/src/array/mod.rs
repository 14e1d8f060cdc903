//! Functions of arrays.

pub(crate) mod combine;
pub(crate) mod distance;
pub(crate) mod join;
pub(crate) mod order;
pub(crate) mod part;
pub(crate) mod search;
pub(crate) mod sequence;
pub(crate) mod set;
