//! The slots of this process, for the tasks of all coordinators.
//!
//! Each coordinator believes that all slots of an executor are its own. So tasks wait here, in the order in which they come. They read only what other tasks have finished
//! to write, so that none waits for one behind it. Tasks of pipelined queries do not wait: all of them must be live at once.
//!
//! A task also waits while most of the memory is taken and others run: each more that runs leaves less to all before they must spill. A task that is alone begins in any
//! case, so that the memory of pipelined queries, which may be held for as long as their clients like, stops nobody.

use std::sync::Arc;
use std::time::Duration;

use datafusion::execution::memory_pool::{MemoryLimit, MemoryPool};
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};
use tracing::debug;

/// The part of the memory, in percent, of which no more may be taken when a task begins beside others.
const MEMORY_TAKEN_PERCENT_MAX: usize = 75;
/// How often a task that waits for memory looks again: pools tell nobody when it is given back.
const MEMORY_CHECK_INTERVAL: Duration = Duration::from_millis(50);

/// The slots.
pub(crate) struct Slots {
    total: u32,
    free: Arc<Semaphore>,
    memory: Arc<dyn MemoryPool>,
    /// Held by the task that is next to begin.
    next: Mutex<()>,
}

/// Slots that a task has, until it is dropped.
pub(crate) struct Taken {
    _permit: Option<OwnedSemaphorePermit>,
}

impl Slots {
    pub(crate) fn new(total: usize, memory: Arc<dyn MemoryPool>) -> Self {
        let total = u32::try_from(total).unwrap_or(u32::MAX).max(1);
        Self { total, free: Arc::new(Semaphore::new(total as usize)), memory, next: Mutex::new(()) }
    }

    /// Waits for so many slots, for a task that wants more than there are, for all of them; then for memory.
    pub(crate) async fn take(&self, wanted: u32) -> Taken {
        let wanted = wanted.clamp(1, self.total);
        let _next = self.next.lock().await;
        let permit = Arc::clone(&self.free).acquire_many_owned(wanted).await;
        let is_alone = || self.free.available_permits() + wanted as usize >= self.total as usize;
        if self.is_memory_scarce() && !is_alone() {
            debug!(taken_bytes = self.memory.reserved(), "a task waits for memory");
            while self.is_memory_scarce() && !is_alone() {
                tokio::time::sleep(MEMORY_CHECK_INTERVAL).await;
            }
        }
        // It fails only when the semaphore is closed, which nobody does.
        Taken { _permit: permit.ok() }
    }

    fn is_memory_scarce(&self) -> bool {
        match self.memory.memory_limit() {
            MemoryLimit::Finite(limit) => self.memory.reserved() > limit / 100 * MEMORY_TAKEN_PERCENT_MAX,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use datafusion::execution::memory_pool::{FairSpillPool, MemoryConsumer};
    use futures::FutureExt;

    use super::*;

    const MEMORY_BYTES: usize = 1_000;

    fn slots(total: usize) -> Slots {
        Slots::new(total, Arc::new(FairSpillPool::new(MEMORY_BYTES)))
    }

    #[tokio::test]
    async fn tasks_wait_for_memory_unless_they_are_alone() {
        let slots = slots(4);
        let reservation = MemoryConsumer::new("a query").register(&slots.memory);
        reservation.try_grow(MEMORY_BYTES * 8 / 10).unwrap();
        let first = slots.take(1).now_or_never().unwrap();
        let mut second = Box::pin(slots.take(1));
        assert!(second.as_mut().now_or_never().is_none());
        drop(first);
        let second = tokio::time::timeout(Duration::from_secs(5), second).await.unwrap();
        let mut third = Box::pin(slots.take(1));
        assert!(third.as_mut().now_or_never().is_none());
        reservation.shrink(MEMORY_BYTES * 2 / 10);
        assert!(tokio::time::timeout(Duration::from_secs(5), third).await.is_ok());
        drop(second);
    }

    #[tokio::test]
    async fn tasks_wait_in_the_order_in_which_they_come() {
        let slots = slots(2);
        let (first, _second) = (slots.take(1).await, slots.take(1).await);
        let mut large = Box::pin(slots.take(9));
        let mut small = Box::pin(slots.take(1));
        assert!(large.as_mut().now_or_never().is_none() && small.as_mut().now_or_never().is_none());
        drop(first);
        assert!(small.as_mut().now_or_never().is_none(), "the one before it wants more");
        // A task that is cancelled while it waits holds nobody up.
        drop(large);
        assert!(tokio::time::timeout(Duration::from_secs(5), small).await.is_ok());
    }
}
