//! What other parts of the server are told of the queries of Trino's clients.

use async_trait::async_trait;
use nunatak_coordinator::query::{Door, Kill, ListedQuery};
use nunatak_core::Result;

use super::queries::Queries;
use crate::flight_sql;

/// The door of Trino's clients. Coordinators ask each other by Flight.
pub(super) struct TrinoDoor(pub(super) Queries);

#[async_trait]
impl Door for TrinoDoor {
    fn queries(&self) -> Vec<ListedQuery> {
        self.0.all().iter().map(|query| query.listed()).collect()
    }

    fn kill(&self, id: &str, message: &str) -> Kill {
        match self.0.get(id) {
            None => Kill::Unknown,
            Some(query) if query.phase().is_over() => Kill::NotRunning,
            Some(query) => {
                query.kill(message);
                Kill::Done
            }
        }
    }

    async fn queries_at(&self, flight: &str) -> Result<Vec<ListedQuery>> {
        flight_sql::queries_at(flight).await
    }

    async fn kill_at(&self, flight: &str, id: &str, user: &str, message: &str) -> Result<Kill> {
        flight_sql::kill_at(flight, id, user, message).await
    }
}
