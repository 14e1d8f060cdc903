//! The slots of this process, for the tasks of all coordinators.
//!
//! Each coordinator believes that all slots of an executor are its own. So tasks wait here, in the order in which they come. They read only what other tasks have finished
//! to write, so that none waits for one behind it. Tasks of pipelined queries do not wait: all of them must be live at once.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The slots.
pub(crate) struct Slots {
    total: u32,
    free: Arc<Semaphore>,
}

/// Slots that a task has, until it is dropped.
pub(crate) struct Taken {
    _permit: Option<OwnedSemaphorePermit>,
}

impl Slots {
    pub(crate) fn new(total: usize) -> Self {
        let total = u32::try_from(total).unwrap_or(u32::MAX).max(1);
        Self { total, free: Arc::new(Semaphore::new(total as usize)) }
    }

    /// Waits for so many slots; for a task that wants more than there are, for all of them.
    pub(crate) async fn take(&self, wanted: u32) -> Taken {
        let permit = Arc::clone(&self.free).acquire_many_owned(wanted.clamp(1, self.total)).await;
        // It fails only when the semaphore is closed, which nobody does.
        Taken { _permit: permit.ok() }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn tasks_wait_in_the_order_in_which_they_come() {
        let slots = Slots::new(2);
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
