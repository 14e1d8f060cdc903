//! How long somebody waits for a call. The thread that makes it cannot be ended from outside: it looks from time to time whether anybody still waits.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How often a thread looks that waits for a server.
pub(super) const LOOK: Duration = Duration::from_millis(250);
/// Who waits gives up first, and tells what was waited for: the thread has no more to say then.
const GRACE: Duration = Duration::from_millis(100);
/// The shortest time that a socket takes for one.
const SHORTEST: Duration = Duration::from_millis(1);

/// Whether somebody still waits.
#[derive(Clone, Debug, Default)]
pub(super) struct Waiting {
    until: Option<Instant>,
    is_given_up: Arc<AtomicBool>,
}

/// Who waits, until it is dropped.
pub(super) struct Waiter(Arc<AtomicBool>);

impl Drop for Waiter {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Waiting {
    /// Somebody who gives up by dropping the second of these, and at that time at the latest.
    pub(super) fn until(deadline: Instant) -> (Self, Waiter) {
        let is_given_up = Arc::<AtomicBool>::default();
        (Self { until: Some(deadline + GRACE), is_given_up: Arc::clone(&is_given_up) }, Waiter(is_given_up))
    }

    /// Whether nobody waits any more.
    pub(super) fn is_over(&self) -> bool {
        self.is_given_up.load(Ordering::Relaxed) || self.until.is_some_and(|until| Instant::now() >= until)
    }

    /// So much of a time as is left.
    ///
    /// Errors: `TimedOut` if nobody waits any more.
    pub(super) fn at_most(&self, time: Duration) -> io::Result<Duration> {
        if self.is_over() {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "nobody waits for it any more"));
        }
        let left = self.until.map_or(time, |until| until.saturating_duration_since(Instant::now()));
        Ok(time.min(left).max(SHORTEST))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_waits_once_it_is_given_up_or_too_late() {
        let forever = Waiting::default();
        assert!(!forever.is_over() && forever.at_most(LOOK).unwrap() == LOOK);
        let (waiting, waiter) = Waiting::until(Instant::now() + Duration::from_secs(60));
        assert!(waiting.at_most(Duration::from_secs(600)).unwrap() <= Duration::from_secs(61));
        drop(waiter);
        assert!(waiting.is_over() && waiting.at_most(LOOK).is_err());
        let (late, _waiter) = Waiting::until(Instant::now() - GRACE);
        assert!(late.is_over());
    }
}
