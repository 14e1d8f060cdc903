//! Whose turn it is: commits of this process to one table go one after the other, in the order in which they come. All but one of those that go at once would meet a conflict, make all
//! that they write again, and wait for longer each time; two hundred of them took minutes so, of which the store and we worked for seconds.
//!
//! That is a courtesy and no lock: what makes commits right is the compare-and-swap of the catalog, which other processes meet as well.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Mutex as Place, OwnedMutexGuard};
use tokio::time::timeout;
use uuid::Uuid;

/// How long a commit waits for those before it. After that it goes without a turn: a server that says nothing to one of them is not to cost each of the others as long, one after the
/// other.
const WAIT_MAX: Duration = Duration::from_secs(10);

type Places = HashMap<Uuid, Weak<Place<()>>>;

/// By the table, whichever catalogs it is in.
static PLACES: LazyLock<Mutex<Places>> = LazyLock::new(Mutex::default);

/// A turn, which ends when this is dropped.
pub(super) struct Turn {
    _place: Option<OwnedMutexGuard<()>>,
}

/// Waits until those that have come before are through with a table.
pub(super) async fn turn(table: Uuid) -> Turn {
    Turn { _place: timeout(WAIT_MAX, place(table).lock_owned()).await.ok() }
}

fn place(table: Uuid) -> Arc<Place<()>> {
    let mut places = PLACES.lock();
    if let Some(place) = places.get(&table).and_then(Weak::upgrade) {
        return place;
    }
    places.retain(|_, place| place.strong_count() > 0);
    let place = Arc::new(Place::new(()));
    places.insert(table, Arc::downgrade(&place));
    place
}

#[cfg(test)]
mod tests {
    use std::pin::{Pin, pin};
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[tokio::test]
    async fn one_goes_after_the_other() {
        let table = Uuid::new_v4();
        let first = turn(table).await;
        let mut second = pin!(turn(table));
        let mut third = pin!(turn(table));
        assert!(poll(second.as_mut()).is_pending() && poll(third.as_mut()).is_pending());
        // Another table has turns of its own.
        drop(turn(Uuid::new_v4()).await);
        drop(first);
        assert!(poll(third.as_mut()).is_pending());
        let Poll::Ready(second) = poll(second.as_mut()) else { panic!("the second one still waits") };
        assert!(poll(third.as_mut()).is_pending());
        drop(second);
        assert!(poll(third.as_mut()).is_ready());
    }

    #[test]
    fn nothing_is_kept_of_tables_that_nobody_commits_to() {
        let table = Uuid::new_v4();
        drop(place(table));
        drop(place(Uuid::new_v4()));
        assert!(!PLACES.lock().contains_key(&table));
    }
}
