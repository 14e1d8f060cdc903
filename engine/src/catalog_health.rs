//! Which catalogs answer: what calls to them have shown, so that listings over all of them neither wait long for one that is down nor ask it again and again.
//!
//! Nobody asks catalogs for this alone: each call that a statement or a listing makes is reported here, with what it has asked for. A failed answer to a question for names
//! says something of all that is in the catalog, one of one table only where nobody has answered. What is known of one begins anew when another one has taken its name.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant, SystemTime};

use nunatak_catalog::Catalog;
use nunatak_core::error::Kind;
use nunatak_core::expiring::lock;
use nunatak_core::units::HumanDuration;
use nunatak_core::{Code, Error, Result, Retry};
use tracing::{debug, info, warn};

/// How long listings over all catalogs leave out one that was down.
const PAUSE: Duration = Duration::from_secs(30);

/// How much of an error is kept, in characters.
const ERROR_CHARS_MAX: usize = 500;

/// What is known of the catalogs.
#[derive(Debug)]
pub struct CatalogHealth {
    /// How long a listing over all catalogs waits for the first answer of each.
    wait: Duration,
    known: Mutex<BTreeMap<String, Known>>,
}

#[derive(Debug)]
struct Known {
    /// Which of all that have had its name.
    catalog: Weak<dyn Catalog>,
    state: CatalogState,
    since: SystemTime,
    /// When it was seen to be down last.
    failed: Option<Instant>,
    last_error: Option<String>,
}

/// Whether a catalog answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CatalogState {
    /// It has answered when it was asked last.
    Up,
    /// It could not be reached, or gave no answer in time.
    Down,
    /// Nobody has asked it yet.
    Unknown,
}

impl CatalogState {
    /// Its name in SQL.
    pub fn name(self) -> &'static str {
        match self {
            Self::Up => "UP",
            Self::Down => "DOWN",
            Self::Unknown => "UNKNOWN",
        }
    }
}

/// The health of a catalog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// Whether it answers.
    pub state: CatalogState,
    /// Since when it is so; `None` while nothing is known.
    pub since: Option<SystemTime>,
    /// How it has failed last, if it has: also of one that is up again.
    pub last_error: Option<String>,
}

/// What a call was for, which says what its failure means.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    /// Names: without them nothing of the catalog can be seen, wherever it keeps them.
    Names,
    /// One thing, whose files may be elsewhere.
    One,
}

impl CatalogHealth {
    /// Nothing is known yet. A listing over all catalogs waits so long for the first answer of each.
    pub fn new(wait: Duration) -> Self {
        Self { wait, known: Mutex::default() }
    }

    /// How long a listing over all catalogs waits for the first answer of each.
    pub fn wait(&self) -> Duration {
        self.wait
    }

    /// Asks a catalog that was named for names, whatever is known of it.
    ///
    /// Errors: those of asking.
    pub async fn names<T>(&self, catalog: &Arc<dyn Catalog>, asked: impl Future<Output = Result<T>>) -> Result<T> {
        let answer = asked.await;
        self.learn(catalog, answer.as_ref().err(), Asked::Names);
        answer
    }

    /// Asks a catalog that was named for one table or view.
    ///
    /// Errors: those of asking.
    pub async fn one<T>(&self, catalog: &Arc<dyn Catalog>, asked: impl Future<Output = Result<T>>) -> Result<T> {
        let answer = asked.await;
        self.learn(catalog, answer.as_ref().err(), Asked::One);
        answer
    }

    /// Asks a catalog that was named for a change. What is wrong with the statement is no failure of the catalog.
    ///
    /// Errors: those of asking.
    pub async fn change<T>(&self, catalog: &Arc<dyn Catalog>, asked: impl Future<Output = Result<T>>) -> Result<T> {
        let answer = asked.await;
        if answer.as_ref().err().is_none_or(|error| error.code().kind() != Kind::User) {
            self.learn(catalog, answer.as_ref().err(), Asked::One);
        }
        answer
    }

    /// Asks one of all catalogs for the names with which a listing begins; `None` if it is left out: it was down a moment ago, or fails, or gives no answer in time.
    pub async fn names_of_each<T>(&self, catalog: &Arc<dyn Catalog>, asked: impl Future<Output = Result<T>>) -> Option<T> {
        if self.is_paused(catalog) {
            debug!(catalog = catalog.name(), "a catalog that is down is left out of a listing");
            return None;
        }
        let answer = tokio::time::timeout(self.wait, asked).await.unwrap_or_else(|_| {
            let message = format!("catalog '{}' gives no answer within {}", catalog.name(), HumanDuration(self.wait));
            Err(Error::new(Code::CatalogUnavailable, message)
                .with_hint("execution.listing_wait says how long listings over all catalogs wait for each"))
        });
        self.learn(catalog, answer.as_ref().err(), Asked::Names);
        answer.map_err(|error| warn!(%error, catalog = catalog.name(), "a catalog is left out of a listing")).ok()
    }

    /// Leaves one of all catalogs out of a listing, because of an answer after its first one. What that says of it was learned where it was asked.
    pub fn leave_out(catalog: &dyn Catalog, error: &Error) {
        warn!(%error, catalog = catalog.name(), "a catalog is left out of a listing");
    }

    /// What is known of a catalog.
    pub fn of(&self, catalog: &Arc<dyn Catalog>) -> Health {
        match lock(&self.known).get(catalog.name()).filter(|known| known.is_of(catalog)) {
            Some(Known { state, since, last_error, .. }) => {
                let since = (*state != CatalogState::Unknown).then_some(*since);
                Health { state: *state, since, last_error: last_error.clone() }
            }
            None => Health { state: CatalogState::Unknown, since: None, last_error: None },
        }
    }

    /// Whether a catalog was down a moment ago.
    fn is_paused(&self, catalog: &Arc<dyn Catalog>) -> bool {
        let known = lock(&self.known);
        let known = known.get(catalog.name()).filter(|known| known.is_of(catalog) && known.state == CatalogState::Down);
        known.and_then(|known| known.failed).is_some_and(|failed| failed.elapsed() < PAUSE)
    }

    /// Keeps what an answer says of its catalog.
    fn learn(&self, catalog: &Arc<dyn Catalog>, error: Option<&Error>, asked: Asked) {
        let state = match error.map(|error| (error.code(), error.retry())) {
            None => Some(CatalogState::Up),
            Some((Code::CatalogUnavailable, _)) => Some(CatalogState::Down),
            // A bucket that is not there is no server that is away.
            Some((Code::StorageUnavailable, retry)) if asked == Asked::Names && retry != Retry::Never => Some(CatalogState::Down),
            // It has said something, or what is wrong lies elsewhere.
            Some(_) => None,
        };
        let (mut all, name) = (lock(&self.known), catalog.name());
        if all.get(name).is_none_or(|known| !known.is_of(catalog)) {
            all.insert(name.to_owned(), Known::new(catalog));
            // Those that nobody has any more.
            all.retain(|_, known| known.catalog.strong_count() > 0);
        }
        let Some(known) = all.get_mut(name) else { return };
        if let Some(error) = error {
            known.last_error = Some(error.to_string().chars().take(ERROR_CHARS_MAX).collect());
        }
        let Some(state) = state else { return };
        if state == CatalogState::Down {
            known.failed = Some(Instant::now());
        }
        if known.state != state {
            if known.state == CatalogState::Down {
                info!(catalog = name, "a catalog answers again");
            }
            (known.state, known.since) = (state, SystemTime::now());
        }
    }
}

impl Known {
    fn new(catalog: &Arc<dyn Catalog>) -> Self {
        Self { catalog: Arc::downgrade(catalog), state: CatalogState::Unknown, since: SystemTime::now(), failed: None, last_error: None }
    }

    fn is_of(&self, catalog: &Arc<dyn Catalog>) -> bool {
        std::ptr::addr_eq(self.catalog.as_ptr(), Arc::as_ptr(catalog))
    }
}

#[cfg(test)]
mod tests {
    use nunatak_catalog::backend::hadoop::{HadoopCatalog, HadoopCatalogOptions};
    use nunatak_catalog::storage::{StorageProperties, Storages};

    use super::*;

    fn catalog() -> Arc<dyn Catalog> {
        let storage = Storages::default().get(&StorageProperties::default());
        let options = HadoopCatalogOptions { name: "a".to_owned(), warehouse: "file:///nowhere".to_owned(), storage };
        Arc::new(HadoopCatalog::open(options).unwrap())
    }

    async fn fails(code: Code) -> Result<()> {
        Err(Error::new(code, "no").with_retry(Retry::Query))
    }

    #[tokio::test]
    async fn a_catalog_that_is_down_is_not_asked_by_listings_of_all() {
        let (health, catalog) = (CatalogHealth::new(Duration::from_millis(50)), catalog());
        assert_eq!(health.of(&catalog).state, CatalogState::Unknown);
        assert_eq!(health.names_of_each(&catalog, async { Ok(1) }).await, Some(1));
        let up = health.of(&catalog);
        assert!(up.state == CatalogState::Up && up.since.is_some() && up.last_error.is_none());
        // One that says nothing is waited for once.
        assert_eq!(health.names_of_each(&catalog, std::future::pending::<Result<()>>()).await, None);
        let down = health.of(&catalog);
        assert!(down.state == CatalogState::Down && down.last_error.is_some_and(|error| error.contains("no answer within 50ms")));
        assert_eq!(health.names_of_each(&catalog, async { Ok(1) }).await, None);
        // Who names it asks it all the same, and all hear that it is up again.
        assert_eq!(health.names(&catalog, async { Ok(1) }).await.unwrap(), 1);
        assert_eq!(health.of(&catalog).state, CatalogState::Up);
        assert_eq!(health.names_of_each(&catalog, async { Ok(1) }).await, Some(1));
    }

    #[tokio::test]
    async fn not_every_failure_is_a_catalogs() {
        let (health, first) = (CatalogHealth::new(Duration::from_secs(5)), catalog());
        assert!(health.one(&first, fails(Code::StorageUnavailable)).await.is_err());
        assert!(health.one(&first, fails(Code::IcebergCatalogError)).await.is_err());
        assert!(health.names(&first, fails(Code::CatalogAccessDenied)).await.is_err());
        let known = health.of(&first);
        assert!(known.state == CatalogState::Unknown && known.since.is_none() && known.last_error.is_some());
        assert!(health.names(&first, fails(Code::StorageUnavailable)).await.is_err());
        assert_eq!(health.of(&first).state, CatalogState::Down);
        // Nor is one of the statement.
        assert!(health.change(&first, fails(Code::SchemaAlreadyExists)).await.is_err());
        assert!(health.of(&first).last_error.is_some_and(|error| !error.contains("SCHEMA_ALREADY_EXISTS")));
        assert_eq!(health.of(&first).state, CatalogState::Down);
        // Another one of its name has another history.
        let second = catalog();
        assert_eq!(health.of(&second).state, CatalogState::Unknown);
        assert!(health.one(&second, fails(Code::CatalogUnavailable)).await.is_err());
        assert_eq!(health.of(&second).state, CatalogState::Down);
        assert_eq!(health.one(&second, async { Ok(2) }).await.unwrap(), 2);
        assert_eq!(health.of(&second).state, CatalogState::Up);
    }
}
