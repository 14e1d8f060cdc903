//! Orphans: files below a table's location that no table's metadata names. Failed writers leave them behind, and so do snapshots that another engine
//! has expired without their files.

use std::collections::{HashMap, HashSet};

use futures::TryStreamExt;
use nunatak_core::{Code, Error, Result};

use crate::backend::Catalog;
use crate::named_files::{self, NamedFiles};
use crate::snapshot::ManifestCache;
use crate::storage::{self, FileStatus, Location};
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
/// files are in no snapshot yet. What other tables of the catalog name, such as one that is registered a second time, is no orphan.
///
/// Errors: `NOT_SUPPORTED` if another table has a place of its own within this one's location; `ICEBERG_FILESYSTEM_ERROR` if files that the metadata names are
/// not where they should be, or are named as if they lay in another file system, since then nobody can say which of the files there are theirs; those of reading
/// metadata and of listing files.
pub async fn orphans(catalog: &dyn Catalog, table: &Table, before_ms: i64, cache: &ManifestCache) -> Result<Orphans> {
    let folder = Location::parse(table.metadata.location())?;
    let NamedFiles { needed, others } = named_files::of_table(table, cache).await?;
    let of_neighbours = named_files::of_neighbours(catalog, table, cache).await?;
    let mut missing: HashSet<Location> = needed.iter().filter(|location| folder.contains(location)).cloned().collect();
    let own_metadata = crate::backend::metadata_file::metadata_folder(&table.metadata);
    let own_metadata = Location::parse(&own_metadata)?;
    let under_other_names = [&needed, &others, &of_neighbours].into_iter().flatten().filter(|named| named.may_share_store(&folder));
    let under_other_names: HashMap<&str, &Location> = under_other_names.map(|named| (named.path(), named)).collect();

    let mut orphans = Orphans::default();
    let mut files = table.storage.list(table.metadata.location())?;
    while let Some(FileStatus { location, bytes, modified_ms }) = files.try_next().await? {
        let place = Location::parse(&location)?;
        if location.ends_with(METADATA_FILE) && !own_metadata.contains(&place) {
            return Err(Error::not_supported(format!("another table lies within the location of table '{}': '{location}'", table.name))
                .with_hint("orphans can be removed of tables that have a place of their own"));
        }
        missing.remove(&place);
        let is_named = [&needed, &others, &of_neighbours].iter().any(|named| named.contains(&place));
        if !is_named && !location.ends_with(VERSION_HINT) && !is_hidden(&folder, &place) && modified_ms < before_ms {
            if let Some(named) = under_other_names.get(place.path()) {
                let doubt = format!("'{location}' may be the file that the metadata of table '{}' names '{named}'", table.name);
                return Err(Error::new(Code::IcebergFilesystemError, doubt)
                    .with_hint("optimize writes files anew under the name that the table's location has"));
            }
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
/// Those that a writer of ours has not finished are not of others.
fn is_hidden(folder: &Location, place: &Location) -> bool {
    place.below(folder).is_some_and(|path| path.split('/').any(|name| name.starts_with(['.', '_']) && !storage::is_unfinished(name)))
}
