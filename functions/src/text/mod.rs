//! Functions of text.

pub(crate) mod case;
pub(crate) mod characters;
pub(crate) mod concat;
pub(crate) mod distance;
pub(crate) mod find;
pub(crate) mod format;
mod last;
pub(crate) mod pad;
pub(crate) mod regexp;
pub(crate) mod render;
pub(crate) mod replace;
pub(crate) mod reverse;
pub(crate) mod split;
pub(crate) mod substr;
pub(crate) mod trim;
mod uri;
pub(crate) mod url;
pub(crate) mod words;
