//! The threads of the membership: whoever announces a member, hears of one, or decides that one is gone does so here. The other threads of a process plan and run
//! queries, and one step of those may take longer than a lease lasts.

use std::io;
use std::sync::LazyLock;

use nunatak_core::{Error, Result};
use tokio::runtime::{Builder, Handle, Runtime};

/// They do little, and wait for networks most of the time; there are two so that the one goes on while the other one reads a long message.
const THREADS_COUNT: usize = 2;

/// They never end before the process does: members leave while everything else has ended already.
static THREADS: LazyLock<io::Result<Runtime>> =
    LazyLock::new(|| Builder::new_multi_thread().worker_threads(THREADS_COUNT).thread_name("membership").enable_all().build());

/// Where the work of the membership is spawned. What has a connection of its own has to be made within it too: a connection is driven by the runtime that it was made
/// in.
///
/// Errors: `GENERIC_INTERNAL_ERROR` if the threads cannot be started.
pub fn threads() -> Result<&'static Handle> {
    match THREADS.as_ref() {
        Ok(runtime) => Ok(runtime.handle()),
        Err(error) => Err(Error::internal(format!("the threads of the membership cannot be started: {error}"))),
    }
}
