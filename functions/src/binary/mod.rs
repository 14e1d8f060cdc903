//! Functions of bytes.

pub(crate) mod encoding;
pub(crate) mod hash;
pub(crate) mod numbers;
mod spooky;
pub(crate) mod uuid;
