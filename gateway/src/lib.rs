//! The front doors of nunatak: Flight SQL over gRPC, and a small HTTP server.
//!
//! A door turns what its protocol says into calls of [`nunatak_coordinator::query`] and the answers back. It owns what is of the protocol: its
//! sessions, handles, encodings and the map of errors. It plans nothing and knows nothing of tables. [`bind`] takes the ports, [`Bound::serve`]
//! answers on them.

mod flight_sql;
mod http;
mod limits;
mod listen;

pub use listen::{Bound, Options, bind, listen};
