//! The metadata of a table as clients get it: the text of its file, as whoever wrote it wrote it.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use moka::future::Cache;
use nunatak_core::{Code, Error, Result};
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};
use sha2::{Digest, Sha256};

use super::RestServer;
use super::signing::Place;
use crate::backend::{metadata_file, update};
use crate::commit::CommitError;
use crate::table::Table;

/// How much text of metadata files is kept, in bytes.
const BYTES_MAX: u64 = 64 * 1024 * 1024;
/// How much of the digest makes a tag, in bytes.
const TAG_BYTES: usize = 16;

/// For how long it is believed that a table lies where it did, and nothing else does, when requests to its storage are signed.
const PLACES_KEPT: Duration = Duration::from_secs(30);
const PLACES_MAX: u64 = 10_000;

/// What is kept of tables. Cheap to clone.
#[derive(Clone)]
pub struct MetadataCache {
    /// Texts of metadata files, by the tags of their tables. They never change.
    texts: Cache<String, Arc<RawValue>>,
    /// Where tables lie, for a while.
    pub(super) places: Cache<String, Arc<Place>>,
}

impl fmt::Debug for MetadataCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MetadataCache").field("texts", &self.texts.entry_count()).finish_non_exhaustive()
    }
}

impl Default for MetadataCache {
    fn default() -> Self {
        let weigher = |_: &String, text: &Arc<RawValue>| u32::try_from(text.get().len()).unwrap_or(u32::MAX);
        Self {
            texts: Cache::builder().max_capacity(BYTES_MAX).weigher(weigher).build(),
            places: Cache::builder().max_capacity(PLACES_MAX).time_to_live(PLACES_KEPT).build(),
        }
    }
}

impl RestServer {
    /// The metadata of a table, whole or without the snapshots that no branch and no tag has. `tag` is the table's.
    pub(super) async fn metadata_of(&self, table: &Table, tag: Option<&str>, refs_only: bool) -> Result<Arc<RawValue>> {
        let whole = self.text(table, tag).await?;
        if refs_only { of_refs(&whole).map_err(|error| damaged(table, error)) } else { Ok(whole) }
    }

    async fn text(&self, table: &Table, tag: Option<&str>) -> Result<Arc<RawValue>> {
        let (Some(location), Some(tag)) = (&table.metadata_location, tag) else { return written(table) };
        if let Some(kept) = self.metadata.texts.get(tag).await {
            return Ok(kept);
        }
        let json = metadata_file::read(&table.storage, &table.name, location).await?;
        let text: Box<RawValue> = serde_json::from_slice(&json).map_err(|error| damaged(table, error))?;
        let text: Arc<RawValue> = text.into();
        self.metadata.texts.insert(tag.to_owned(), Arc::clone(&text)).await;
        Ok(text)
    }

    /// What tells a table at its metadata from others; `None` if it is not known where that lies. The same names can be those of other files later, after a table was
    /// dropped and made again.
    pub(super) fn tag(&self, table: &Table) -> Option<String> {
        let location = table.metadata_location.as_deref()?;
        let (uuid, updated) = (table.metadata.uuid().to_string(), table.metadata.last_updated_ms().to_string());
        let mut hasher = Sha256::new();
        for part in [self.catalog.name(), location, uuid.as_str(), updated.as_str()] {
            hasher.update((part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        Some(hasher.finalize().iter().take(TAG_BYTES).map(|byte| format!("{byte:02x}")).collect())
    }
}

/// The metadata of a table as we write it.
///
/// Errors: `NOT_SUPPORTED` for a table of which we do not know everything.
pub(super) fn written(table: &Table) -> Result<Arc<RawValue>> {
    update::check(&table.name, &[], &table.metadata).map_err(CommitError::into_error)?;
    let json = metadata_file::bytes(&table.metadata, "v1.metadata.json")?;
    let text: Box<RawValue> = serde_json::from_slice(&json).map_err(|error| damaged(table, error))?;
    Ok(text.into())
}

/// Metadata without the snapshots that nothing refers to by name.
fn of_refs(text: &RawValue) -> serde_json::Result<Arc<RawValue>> {
    let mut metadata: Value = serde_json::from_str(text.get())?;
    let named = metadata["refs"].as_object().into_iter().flat_map(|refs| refs.values()).map(|reference| &reference["snapshot-id"]);
    let kept: HashSet<i64> = named.chain([&metadata["current-snapshot-id"]]).filter_map(Value::as_i64).collect();
    if let Some(snapshots) = metadata.get_mut("snapshots").and_then(Value::as_array_mut) {
        snapshots.retain(|snapshot| snapshot["snapshot-id"].as_i64().is_some_and(|id| kept.contains(&id)));
    }
    to_raw_value(&metadata).map(Arc::from)
}

fn damaged(table: &Table, error: serde_json::Error) -> Error {
    let location = table.metadata_location.as_deref().unwrap_or_default();
    Error::new(Code::IcebergInvalidMetadata, format!("metadata file '{location}' of table '{}' cannot be read: it is not JSON", table.name))
        .with_source(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn snapshots_without_a_name_are_left_out() {
        let text = r#"{"current-snapshot-id": 3, "unknown": {"x": 1.50}, "refs": {"b": {"snapshot-id": 1, "type": "branch"}},
            "snapshots": [{"snapshot-id": 1}, {"snapshot-id": 2}, {"snapshot-id": 3}]}"#;
        let left: Value = serde_json::from_str(of_refs(&serde_json::from_str::<Box<RawValue>>(text).unwrap()).unwrap().get()).unwrap();
        let ids: Vec<_> = left["snapshots"].as_array().unwrap().iter().map(|snapshot| snapshot["snapshot-id"].as_i64().unwrap()).collect();
        assert_eq!((ids, &left["unknown"]["x"]), (vec![1, 3], &Value::from(1.5)));
        let empty = of_refs(&serde_json::from_str::<Box<RawValue>>(r#"{"current-snapshot-id": null}"#).unwrap()).unwrap();
        assert_eq!(empty.get(), r#"{"current-snapshot-id":null}"#);
    }
}
