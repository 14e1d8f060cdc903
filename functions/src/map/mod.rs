//! Functions of maps.

pub(crate) mod make;
pub(crate) mod part;
