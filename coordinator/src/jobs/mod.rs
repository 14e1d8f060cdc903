//! What a coordinator does by itself, unasked. There is one coordinator; of several, the leading one will do it.

pub mod maintenance;
