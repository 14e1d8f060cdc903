//! The files that the metadata of tables names: none of them may be deleted while its table is there.

use std::collections::HashSet;

use nunatak_core::Result;

use crate::backend::Catalog;
use crate::snapshot::{self, ManifestCache};
use crate::storage::Location;
use crate::table::Table;

/// The files that the metadata of a table names.
#[derive(Debug)]
pub(crate) struct NamedFiles {
    /// Those that its snapshots need, and the metadata itself.
    pub(crate) needed: HashSet<Location>,
    /// Others, which may be gone.
    pub(crate) others: HashSet<Location>,
}

/// The files that a table names.
///
/// Errors: those of reading manifests.
pub(crate) async fn of_table(table: &Table, cache: &ManifestCache) -> Result<NamedFiles> {
    let mut needed = HashSet::new();
    let mut manifests = Vec::new();
    let mut seen = HashSet::new();
    for snapshot in table.metadata.snapshots() {
        needed.insert(Location::parse(snapshot.manifest_list())?);
        for manifest in snapshot::manifests(table, snapshot, cache).await?.iter() {
            let location = Location::parse(&manifest.manifest_path)?;
            if seen.insert(manifest.manifest_path.clone()) {
                manifests.push(manifest.clone());
                needed.insert(location);
            }
        }
    }
    let mut unreadable = None;
    snapshot::for_each_file(table, manifests, cache, |path| match Location::parse(path) {
        Ok(location) => drop(needed.insert(location)),
        Err(error) => unreadable = Some(error),
    })
    .await?;
    if let Some(error) = unreadable {
        return Err(error);
    }
    needed.extend(table.metadata_location.as_deref().map(Location::parse).transpose()?);
    let statistics = table.metadata.statistics_iter().map(|file| file.statistics_path.as_str());
    let of_partitions = table.metadata.partition_statistics_iter().map(|file| file.statistics_path.as_str());
    let log = table.metadata.metadata_log().iter().map(|entry| entry.metadata_file.as_str());
    let others = statistics.chain(of_partitions).chain(log).map(Location::parse).collect::<Result<_>>()?;
    Ok(NamedFiles { needed, others })
}

/// The files that other tables name which may have some where this one's are.
///
/// Errors: those of [`Catalog::neighbours`], and of reading manifests: nobody knows then what those tables name.
pub(crate) async fn of_neighbours(catalog: &dyn Catalog, table: &Table, cache: &ManifestCache) -> Result<HashSet<Location>> {
    let mut named = HashSet::new();
    for neighbour in catalog.neighbours(table).await? {
        let files = of_table(&neighbour, cache).await.map_err(|error| error.with_context("table", neighbour.name.to_string()))?;
        named.extend(files.needed);
        named.extend(files.others);
    }
    Ok(named)
}
