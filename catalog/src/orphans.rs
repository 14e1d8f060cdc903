//! Orphans: files below a table's location that nothing in the table's metadata names. Failed writers leave them behind, and so do snapshots that another engine
//! has expired without their files.

use std::collections::HashSet;

use futures::TryStreamExt;
use nunatak_core::{Code, Error, Result};

use crate::snapshot::{self, ManifestCache};
use crate::storage::{FileStatus, Location};
use crate::table::Table;

/// What a Hadoop catalog keeps beside its metadata files.
const VERSION_HINT: &str = "version-hint.text";

/// How a metadata file's name ends.
const METADATA_FILE: &str = ".metadata.json";

/// Orphans that were found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Orphans {
    /// Their locations.
    pub files: Vec<String>,
    /// Their bytes.
    pub bytes: u64,
}

/// Finds a table's orphans that were last written before `before_ms`, in milliseconds since 1970. Whoever is writing into the table must have begun after that: its
/// files are in no snapshot yet.
///
/// Errors: `NOT_SUPPORTED` if another table lies within this one's location; `ICEBERG_FILESYSTEM_ERROR` if files that the metadata names are not where they should
/// be, since then nobody can say which of the files there are theirs; those of reading metadata and of listing files.
pub async fn orphans(table: &Table, before_ms: i64, cache: &ManifestCache) -> Result<Orphans> {
    let folder = Location::parse(table.metadata.location())?;
    let (needed, others) = named(table, cache).await?;
    let mut missing: HashSet<Location> = needed.iter().filter(|location| folder.contains(location)).cloned().collect();
    let own_metadata = crate::backend::metadata_file::metadata_folder(&table.metadata);
    let own_metadata = Location::parse(&own_metadata)?;

    let mut orphans = Orphans::default();
    let mut files = table.storage.list(table.metadata.location())?;
    while let Some(FileStatus { location, bytes, modified_ms }) = files.try_next().await? {
        let place = Location::parse(&location)?;
        if location.ends_with(METADATA_FILE) && !own_metadata.contains(&place) {
            return Err(Error::not_supported(format!("another table lies within the location of table '{}': '{location}'", table.name))
                .with_hint("orphans can be removed of tables that have a place of their own"));
        }
        missing.remove(&place);
        let is_named = needed.contains(&place) || others.contains(&place) || location.ends_with(VERSION_HINT) || is_hidden(&folder, &place);
        if !is_named && modified_ms < before_ms {
            orphans.bytes += bytes;
            orphans.files.push(location);
        }
    }
    if let Some(missing) = missing.into_iter().next() {
        return Err(Error::new(Code::IcebergFilesystemError, format!("table '{}' needs '{missing}', which was not found", table.name))
            .with_hint("run it again if snapshots were expired meanwhile; if the file is there under another name, the table was moved or damaged"));
    }
    Ok(orphans)
}

/// Whether a name below the table's location begins with `.` or `_`: such files are of file systems and of jobs (Iceberg's other engines leave them alone too).
fn is_hidden(folder: &Location, place: &Location) -> bool {
    place.below(folder).is_some_and(|path| path.split('/').any(|name| name.starts_with(['.', '_'])))
}

/// The locations that the metadata of a table names: those that its snapshots need, and others that may be gone.
async fn named(table: &Table, cache: &ManifestCache) -> Result<(HashSet<Location>, HashSet<Location>)> {
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
    Ok((needed, others))
}
