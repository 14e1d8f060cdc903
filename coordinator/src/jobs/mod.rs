//! What a coordinator does by itself, unasked. Of several coordinators the leading one does it.

pub mod maintenance;
pub mod spooled;
