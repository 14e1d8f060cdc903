//! Where the tables of a catalog lie: found out for those that ask who else may have files at a place, and remembered for a while.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures::stream::{self, StreamExt, TryStreamExt};
use nunatak_core::Result;
use tokio::sync::Mutex;

use super::CALLS_MAX;
use super::client::Call;
use super::connection::Connection;
use super::messages::{LoadedPlace, PlaceMetadata};
use crate::storage::Location;
use crate::table::TableName;

/// For how long it is remembered where tables lie. Those that come to lie elsewhere are new ones, with files of their own.
const KEPT: Duration = Duration::from_secs(60);

/// What is remembered.
#[derive(Default)]
pub(super) struct Places {
    /// Held by the one who asks for all.
    kept: Mutex<Option<Found>>,
    /// How often it came out of date.
    changes: AtomicU64,
}

struct Found {
    at: Instant,
    /// After so many changes.
    changes: u64,
    places: Arc<Vec<Place>>,
}

/// Where a table lies.
pub(super) struct Place {
    /// The table.
    pub(super) name: TableName,
    folder: Location,
    metadata_file: Option<Location>,
}

impl Places {
    /// Where all tables lie.
    pub(super) async fn all(&self, connection: &Connection) -> Result<Arc<Vec<Place>>> {
        let mut kept = self.kept.lock().await;
        let changes = self.changes.load(Ordering::Acquire);
        if let Some(found) = kept.as_ref().filter(|found| found.at.elapsed() < KEPT && found.changes == changes) {
            return Ok(Arc::clone(&found.places));
        }
        let mut names = Vec::new();
        for namespace in connection.namespace_names().await? {
            let url = connection.paths.of_namespace(&namespace, "tables")?;
            let found = connection.names(url, &format!("list tables of schema '{namespace}'")).await?.unwrap_or_default();
            names.extend(found.into_iter().map(|table| TableName::new(&namespace, table)));
        }
        let asked: Vec<_> = names.into_iter().map(|name| find(connection, name)).collect();
        let places: Vec<Option<Place>> = stream::iter(asked).buffer_unordered(CALLS_MAX).try_collect().await?;
        let places = Arc::new(places.into_iter().flatten().collect::<Vec<_>>());
        *kept = Some(Found { at: Instant::now(), changes, places: Arc::clone(&places) });
        Ok(places)
    }

    /// What is remembered is out of date, and so is what somebody finds out now. Nobody waits for that: of many tables it takes a while.
    pub(super) fn forget(&self) {
        self.changes.fetch_add(1, Ordering::Release);
    }
}

impl Place {
    /// Whether files of the table can be in this folder, or what is in this folder lies in the table's.
    pub(super) fn overlaps(&self, folder: &Location) -> bool {
        let has_metadata = self.metadata_file.as_ref().is_some_and(|file| folder.contains(file));
        has_metadata || folder.contains(&self.folder) || self.folder.contains(folder)
    }
}

/// Where one table lies; `None` if it is gone by now. All of its snapshots are not asked for.
async fn find(connection: &Connection, name: TableName) -> Result<Option<Place>> {
    let mut url = connection.paths.of_table(&name)?;
    url.set_query(Some("snapshots=refs"));
    let reply = connection.reply(Call::get(url, format!("load table '{name}'"))).await?;
    if reply.answer.is_missing() {
        return Ok(None);
    }
    if !reply.answer.status.is_success() {
        return Err(reply.failure().into_error());
    }
    let LoadedPlace { metadata_location, metadata: PlaceMetadata { location } } = reply.parsed()?;
    let metadata_file = metadata_location.as_deref().map(Location::parse).transpose()?;
    Ok(Some(Place { name, folder: Location::parse(&location)?, metadata_file }))
}
