//! What one asks a server for while all others wait, such as a token: when it fails, it has failed for those who have waited, too. They would ask one after the other
//! otherwise, and a server that says nothing would keep each of them for as long as all before it together.

use std::time::Instant;

use nunatak_core::{Error, Result};
use parking_lot::Mutex;

/// The last failure of who asked, and when it came.
#[derive(Debug, Default)]
pub(crate) struct SharedFailure(Mutex<Option<(Instant, Error)>>);

impl SharedFailure {
    /// Does `work`, unless it has failed for somebody else since this caller wanted it done. Callers take turns.
    ///
    /// Errors: those of `work`.
    pub(crate) async fn share<T>(&self, wanted: Instant, work: impl Future<Output = Result<T>>) -> Result<T> {
        if let Some(failure) = self.since(wanted) {
            return Err(failure);
        }
        let outcome = work.await;
        if let Err(error) = &outcome {
            *self.0.lock() = Some((Instant::now(), error.clone_without_source()));
        }
        outcome
    }

    fn since(&self, wanted: Instant) -> Option<Error> {
        let last = self.0.lock();
        last.as_ref().filter(|(failed, _)| *failed >= wanted).map(|(_, error)| error.clone_without_source())
    }
}

#[cfg(test)]
mod tests {
    use nunatak_core::Code;

    use super::*;

    #[tokio::test]
    async fn who_has_waited_hears_of_the_failure() {
        let failure = SharedFailure::default();
        let (first, second) = (Instant::now(), Instant::now());
        let failed = failure.share(first, async { Err::<(), _>(Error::new(Code::CatalogUnavailable, "silent")) }).await;
        assert!(failed.is_err());
        let waited = failure.share(second, async { Ok(()) }).await;
        assert_eq!(waited.unwrap_err().message(), "silent");
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        assert!(failure.share(Instant::now(), async { Ok(()) }).await.is_ok());
    }
}
