//! The memory that all queries of a process share.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};

use datafusion::error::Result;
use datafusion::execution::memory_pool::{FairSpillPool, MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation};

/// What DataFusion names its exchanges between threads.
const EXCHANGE: &str = "RepartitionExec";

/// DataFusion's [`FairSpillPool`], which gives exchanges between threads more than their share, up to half of the memory. What an exchange gets no memory for it writes to disk,
/// and with rows of two inputs there at once it may wait for itself for ever (apache/datafusion#24883). The share of one is small where there are many.
pub(crate) struct MemoryOfQueries {
    pool: FairSpillPool,
    exchanges_bytes_max: usize,
    exchanges_bytes: AtomicUsize,
}

impl MemoryOfQueries {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { pool: FairSpillPool::new(bytes_max), exchanges_bytes_max: bytes_max / 2, exchanges_bytes: AtomicUsize::new(0) }
    }
}

fn is_exchange(consumer: &MemoryConsumer) -> bool {
    consumer.name().starts_with(EXCHANGE)
}

impl MemoryPool for MemoryOfQueries {
    fn name(&self) -> &str {
        self.pool.name()
    }

    fn register(&self, consumer: &MemoryConsumer) {
        self.pool.register(consumer);
    }

    fn unregister(&self, consumer: &MemoryConsumer) {
        self.pool.unregister(consumer);
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        if is_exchange(reservation.consumer()) {
            self.exchanges_bytes.fetch_add(additional, Ordering::Relaxed);
        }
        self.pool.grow(reservation, additional);
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        if is_exchange(reservation.consumer()) {
            self.exchanges_bytes.fetch_sub(shrink, Ordering::Relaxed);
        }
        self.pool.shrink(reservation, shrink);
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> Result<()> {
        if !is_exchange(reservation.consumer()) {
            return self.pool.try_grow(reservation, additional);
        }
        if self.exchanges_bytes.load(Ordering::Relaxed).saturating_add(additional) <= self.exchanges_bytes_max {
            self.grow(reservation, additional);
            return Ok(());
        }
        self.pool.try_grow(reservation, additional)?;
        self.exchanges_bytes.fetch_add(additional, Ordering::Relaxed);
        Ok(())
    }

    fn reserved(&self) -> usize {
        self.pool.reserved()
    }

    fn memory_limit(&self) -> MemoryLimit {
        self.pool.memory_limit()
    }
}

impl fmt::Debug for MemoryOfQueries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryOfQueries").field("pool", &self.pool).finish_non_exhaustive()
    }
}

impl fmt::Display for MemoryOfQueries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.pool.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn exchanges_have_half_of_the_memory() {
        let pool: Arc<dyn MemoryPool> = Arc::new(MemoryOfQueries::new(1_000));
        let spilling = |name: &str| MemoryConsumer::new(name).with_can_spill(true).register(&pool);
        let (sort, exchange, other) = (spilling("ExternalSorter[0]"), spilling("RepartitionExec[0]"), spilling("RepartitionExec[1]"));
        // The share of each is a third.
        assert!(sort.try_grow(334).is_err());
        exchange.try_grow(400).unwrap();
        assert!(exchange.try_grow(101).is_err());
        // Within its share it has what is there.
        other.try_grow(333).unwrap();
        exchange.shrink(300);
        exchange.try_grow(60).unwrap();
        assert!(exchange.try_grow(200).is_err());
        sort.try_grow(333).unwrap();
        drop((exchange, other));
        assert_eq!(pool.reserved(), 333);
        spilling("RepartitionExec[2]").try_grow(500).unwrap();
    }
}
