//! The queries of Trino's clients at this coordinator.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use dashmap::DashMap;
use nunatak_coordinator::query::{Coordinator, Session, TIME_ZONE};
use nunatak_core::{Code, Error, Result};
use tokio_util::sync::CancellationToken;

use super::headers::Sent;
use super::query::Query;
use super::spooling::Spooling;
use crate::limits;

/// How often it is looked whose client is gone.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// The characters of a coordinator's id with which the ids of its queries end.
const SUFFIX_CHARACTERS: usize = 5;

/// Trino numbers the queries of a coordinator with five digits.
const NUMBERS: u32 = 100_000;

/// The queries. Cheap to clone.
#[derive(Clone)]
pub(super) struct Queries(Arc<Inner>);

struct Inner {
    queries: DashMap<String, Arc<Query>>,
    numbers: AtomicU32,
    /// What the ids of this coordinator's queries end with: those of others differ.
    suffix: String,
    /// A query whose results nobody has asked for in this time is cancelled.
    client_timeout: Duration,
}

impl Queries {
    /// None yet, of the coordinator with this id. Until `shutdown` those whose clients are gone are forgotten, then all are cancelled.
    pub(super) fn start(coordinator: &str, client_timeout: Duration, shutdown: CancellationToken) -> Self {
        let suffix = coordinator.chars().take(SUFFIX_CHARACTERS).collect();
        let queries = Self(Arc::new(Inner { queries: DashMap::new(), numbers: AtomicU32::new(0), suffix, client_timeout }));
        let watched = queries.clone();
        tokio::spawn(async move {
            while tokio::time::timeout(LOOK_INTERVAL, shutdown.cancelled()).await.is_err() {
                watched.forget(Instant::now());
            }
            // Nobody can ask for their results any more.
            for query in watched.all().iter().filter(|query| !query.phase().is_over()) {
                query.cancel("the server stops");
            }
        });
        queries
    }

    /// Takes a statement, whose query starts when its results are asked for. They are spooled if its client takes that.
    ///
    /// Errors: `QUERY_QUEUE_FULL`, `QUERY_TEXT_TOO_LARGE`.
    pub(super) fn create(&self, coordinator: &Coordinator, spooling: Option<&Spooling>, sql: String, sent: Sent) -> Result<Arc<Query>> {
        if self.0.queries.len() >= limits::QUERIES_MAX {
            let error = Error::new(Code::QueryQueueFull, format!("there are {} queries already", limits::QUERIES_MAX));
            return Err(error.with_hint("run the statement again later"));
        }
        let length = sql.chars().count();
        if length > limits::STATEMENT_CHARACTERS_MAX {
            let maximum = limits::STATEMENT_CHARACTERS_MAX;
            return Err(Error::new(Code::QueryTextTooLarge, format!("the statement has {length} characters, more than the limit of {maximum}")));
        }
        let id = self.id(Utc::now());
        let spooled = spooling.and_then(|spooling| spooling.result(&id, &sent.encodings));
        let query = Arc::new(Query::new(id, sql, sent.clone(), session(coordinator, sent), spooled));
        self.0.queries.insert(query.id.clone(), Arc::clone(&query));
        Ok(query)
    }

    /// An id such as `20261126_153158_00000_kw37b`.
    pub(super) fn id(&self, now: DateTime<Utc>) -> String {
        let number = self.0.numbers.fetch_add(1, Ordering::Relaxed) % NUMBERS;
        format!("{}_{number:05}_{}", now.format("%Y%m%d_%H%M%S"), self.0.suffix)
    }

    pub(super) fn get(&self, id: &str) -> Option<Arc<Query>> {
        self.0.queries.get(id).map(|query| Arc::clone(query.value()))
    }

    /// What the id of another coordinator begins with, if a query is one of that; `None` for those of this one.
    pub(super) fn coordinator_of<'a>(&self, id: &'a str) -> Option<&'a str> {
        let (_, suffix) = id.rsplit_once('_')?;
        (suffix.chars().count() == SUFFIX_CHARACTERS && suffix != self.0.suffix).then_some(suffix)
    }

    /// All of them, the oldest first.
    pub(super) fn all(&self) -> Vec<Arc<Query>> {
        let mut all: Vec<_> = self.0.queries.iter().map(|query| Arc::clone(query.value())).collect();
        all.sort_by(|one, other| (one.created_at, &one.id).cmp(&(other.created_at, &other.id)));
        all
    }

    fn forget(&self, now: Instant) {
        self.0.queries.retain(|_, query| !query.is_forgotten(now, self.0.client_timeout));
    }
}

/// The session that a client says, over the one that its user begins with. The default schema is one of the default catalog.
fn session(coordinator: &Coordinator, sent: Sent) -> Session {
    let mut session = coordinator.default_session(&sent.user);
    if let Some(catalog) = sent.catalog {
        if catalog != session.catalog {
            session.schema = None;
        }
        session.catalog = catalog;
    }
    session.schema = sent.schema.or(session.schema);
    session.properties = sent.properties;
    if let Some(zone) = sent.time_zone {
        session.properties.entry(TIME_ZONE.to_owned()).or_insert(zone);
    }
    session.prepared = Some(sent.prepared);
    session.transaction = sent.transaction;
    session.path = sent.path;
    session
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn ids_have_trinos_form() {
        let queries = Queries::start("kw37b0e5", Duration::from_secs(60), CancellationToken::new());
        let at = DateTime::from_timestamp(1_795_707_118, 0).unwrap_or_default();
        let ids = [queries.id(at), queries.id(at)];
        assert_eq!(ids, ["20261126_153158_00000_kw37b", "20261126_153158_00001_kw37b"]);
        assert_eq!(queries.coordinator_of(&ids[0]), None);
        assert_eq!(queries.coordinator_of("20261126_153158_00000_abcde"), Some("abcde"));
        assert_eq!(queries.coordinator_of("nope"), None);
    }
}
