//! The versions of a table in a Hadoop catalog: `metadata/v3.metadata.json` is the third, and the file with the highest number is the current one.
//!
//! `version-hint.text` only says where to begin to look: it is written after the version that it names, by whoever comes last
//! (Java: `HadoopTableOperations`).

use bytes::Bytes;
use nunatak_core::{Code, Error, Result};
use tokio::join;

use crate::storage::Storage;

const HINT: &str = "version-hint.text";
/// After how many steps from one version to the next the folder is listed.
const STEPS_MAX: usize = 64;
/// How metadata files end, packed ones in two ways.
const ENDINGS: [&str; 3] = [".metadata.json", ".gz.metadata.json", ".metadata.json.gz"];

/// The file of one version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct VersionFile {
    pub(super) version: u64,
    pub(super) location: String,
    /// What tells it from another file that had the same location.
    pub(super) tag: String,
}

/// Where the metadata files of a table are.
pub(super) fn metadata_folder(table_folder: &str) -> String {
    format!("{table_folder}/metadata")
}

/// Whether a file of this name is the metadata of a table, but no version in a Hadoop catalog.
pub(super) fn is_of_other_catalog(file: &str) -> bool {
    ENDINGS.iter().any(|ending| file.ends_with(ending)) && version_of(file).is_none()
}

/// The file of a new version, packed if the table wants that.
pub(super) fn location_of(table_folder: &str, version: u64, packed: bool) -> String {
    format!("{}/v{version}{}", metadata_folder(table_folder), ENDINGS[usize::from(packed)])
}

/// The current version of the table in a folder; `None` if there is no table.
pub(super) async fn current(storage: &Storage, table_folder: &str) -> Result<Option<VersionFile>> {
    let hinted = match hint(storage, table_folder).await? {
        Some(version) => find(storage, table_folder, version).await?,
        None => None,
    };
    let known = match hinted {
        Some(file) => Some(file),
        None => match listed(storage, table_folder).await? {
            Some(version) => find(storage, table_folder, version).await?,
            None => None,
        },
    };
    let Some(mut newest) = known else { return Ok(None) };
    let mut steps: usize = 0;
    while let Some(next) = find(storage, table_folder, newest.version + 1).await? {
        newest = next;
        steps += 1;
        if steps.is_multiple_of(STEPS_MAX) {
            newest = last_listed(storage, table_folder, newest).await?;
        }
    }
    Ok(Some(newest))
}

/// The version from which it is looked further after many steps: the last one in the folder. What answers that each version is there, whichever it is asked for, would be asked for ever.
async fn last_listed(storage: &Storage, table_folder: &str, newest: VersionFile) -> Result<VersionFile> {
    let last = listed(storage, table_folder).await?.unwrap_or_default();
    if last < newest.version {
        return Err(Error::new(
            Code::StorageUnavailable,
            format!("the store of '{}' says that it is there, and lists no such file", newest.location),
        )
        .with_hint("what answers is no store, or something before it does; see that its endpoint is right"));
    }
    Ok(find(storage, table_folder, last).await?.unwrap_or(newest))
}

/// Whether there is a table in a folder. Cheaper than [`current`].
pub(super) async fn is_table(storage: &Storage, table_folder: &str) -> Result<bool> {
    Ok(hint(storage, table_folder).await?.is_some() || listed(storage, table_folder).await?.is_some())
}

/// Names a version for those that look for the newest one. Best effort: they look further.
pub(super) async fn set_hint(storage: &Storage, table_folder: &str, version: u64) {
    let location = format!("{}/{HINT}", metadata_folder(table_folder));
    if let Err(error) = storage.write(&location, Bytes::from(version.to_string())).await {
        tracing::warn!(%error, location, "the hint at a table's version could not be written");
    }
}

/// The version that the hint names, if there is one that names any.
pub(super) async fn hint(storage: &Storage, table_folder: &str) -> Result<Option<u64>> {
    let bytes = storage.read_if_there(&format!("{}/{HINT}", metadata_folder(table_folder))).await?;
    Ok(bytes.and_then(|bytes| std::str::from_utf8(&bytes).ok()?.trim().parse::<u32>().ok().map(u64::from)))
}

/// The file of a version, however it is packed.
pub(super) async fn find(storage: &Storage, table_folder: &str, version: u64) -> Result<Option<VersionFile>> {
    let look = |ending: &'static str| async move {
        let location = format!("{}/v{version}{ending}", metadata_folder(table_folder));
        let tag = storage.tag(&location).await?;
        Ok::<_, Error>(tag.map(|tag| VersionFile { version, location, tag }))
    };
    let (plain, packed, packed_of_old) = join!(look(ENDINGS[0]), look(ENDINGS[1]), look(ENDINGS[2]));
    Ok(plain?.or(packed?).or(packed_of_old?))
}

/// The highest version that lies in the folder.
pub(super) async fn listed(storage: &Storage, table_folder: &str) -> Result<Option<u64>> {
    let Some(content) = storage.list_folder(&metadata_folder(table_folder)).await? else { return Ok(None) };
    Ok(content.files.iter().filter_map(|name| version_of(name)).max())
}

/// The version in the name of a metadata file.
pub(super) fn version_of(name: &str) -> Option<u64> {
    let rest = name.strip_prefix('v')?;
    let digits = rest.find(|letter: char| !letter.is_ascii_digit())?;
    let (digits, ending) = rest.split_at(digits);
    ENDINGS.contains(&ending).then(|| digits.parse::<u32>().ok().map(u64::from))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_in_names() {
        assert_eq!(version_of("v3.metadata.json"), Some(3));
        assert_eq!(version_of("v12.gz.metadata.json"), Some(12));
        assert_eq!(version_of("v12.metadata.json.gz"), Some(12));
        for other in [
            "00003-6b5d.metadata.json",
            "v3.metadata.json.tmp",
            "version-hint.text",
            "v.metadata.json",
            "vx3.metadata.json",
            "snap-3.avro",
            "v18446744073709551615.metadata.json",
        ] {
            assert_eq!(version_of(other), None, "{other}");
        }
        assert_eq!(location_of("/w/s/t", 7, true), "/w/s/t/metadata/v7.gz.metadata.json");
    }
}
