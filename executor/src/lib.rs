//! An executor: runs the tasks of every distributed mode under one memory pool.
//!
//! One gRPC server on the cluster port answers three services: Ballista's `ExecutorGrpc`, served by ourselves ([`tasks`], which wait for [`slots`]), the Flight service that gives
//! shuffle files to their readers, and the `Worker` of datafusion-distributed ([`worker`]), whose tasks fetch rows from other executors ([`peers`]). [`announce`] keeps the membership
//! where one coordinator keeps the cluster's state, [`deliver`] brings what became of a task to the coordinator that asked for it, and [`abandoned`] cleans up after
//! coordinators that are gone.

mod abandoned;
mod announce;
mod deliver;
mod describe;
mod in_flight;
mod peers;
mod server;
mod shuffle;
mod slots;
mod tasks;
mod worker;

pub use server::{Cluster, Options, Running, engine, start};
