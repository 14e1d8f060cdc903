//! Metadata files of tables and views: where they lie, how they are read and written. Shared by all back ends that write them themselves.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::{Read, Write};

use bytes::Bytes;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use futures::TryStreamExt;
use nunatak_core::{Code, Error, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};
use uuid::Uuid;

use super::Catalog;
use crate::error::guarded;
use crate::properties;
use crate::snapshot::refs;
use crate::spec::{FormatVersion, MAIN_BRANCH, MetadataLog, SnapshotReference, TableMetadata};
use crate::storage::{FileStatus, Location, Storage};
use crate::table::{Table, TableName};
use crate::{unsupported, void_fields};

/// The first bytes of a gzip file. Readers go by these, not by the file's name.
const GZIP_MAGIC: &[u8] = &[0x1f, 0x8b];
/// A metadata file that unpacks to more than this is taken for damaged.
const UNPACKED_BYTES_MAX: u64 = 2 * 1024 * 1024 * 1024;

pub(crate) const COMPRESSION: &str = "write.metadata.compression-codec";
pub(crate) const DELETE_EXPIRED: &str = "write.metadata.delete-after-commit.enabled";

/// Reads a table's metadata file.
pub async fn load(storage: &Storage, name: &TableName, location: &str) -> Result<TableMetadata> {
    let bytes = storage.read(location).await.map_err(|error| error.with_context("table", name.to_string()))?;
    parse_table(bytes, name, location)
}

/// The metadata in the bytes of a table's metadata file, which may be packed. `name` and `location` are for messages.
///
/// Errors: `ICEBERG_INVALID_METADATA` for bytes that are none, `NOT_SUPPORTED`.
pub fn parse_table(bytes: Bytes, name: &TableName, location: &str) -> Result<TableMetadata> {
    guarded(format_args!("metadata file '{location}' of table '{name}'"), || {
        let json = unpacked(bytes, name, location)?;
        let parsed = match unsupported::may_have_defaults(&json) {
            // The crate forgets those that it cannot read.
            true => mended(&json).map_or_else(|| parse(&json), Ok),
            false => parse(&json),
        };
        let metadata = parsed.or_else(|error| mended(&json).ok_or_else(|| explain(&json, name, location, error)))?;
        let metadata = void_fields::renamed(metadata).map_err(|error| invalid(name, location, "its partition specs").with_source(error))?;
        match metadata.format_version() {
            FormatVersion::V1 => with_refs(metadata, &json).map_err(|error| invalid(name, location, "its branches and tags").with_source(error)),
            FormatVersion::V2 | FormatVersion::V3 => Ok(metadata),
        }
    })
}

/// Metadata of version 1 with the branches and tags that are in its file: the crate reads and writes none.
fn with_refs(metadata: TableMetadata, json: &[u8]) -> iceberg::Result<TableMetadata> {
    #[derive(Deserialize)]
    struct Refs {
        refs: Option<BTreeMap<String, SnapshotReference>>,
    }
    let Refs { refs } = serde_json::from_slice(json)?;
    let mut refs = refs.unwrap_or_default();
    refs.remove(MAIN_BRANCH);
    if refs.is_empty() {
        return Ok(metadata);
    }
    let mut builder = metadata.into_builder(None);
    for (name, reference) in refs {
        builder = builder.set_ref(&name, reference)?;
    }
    Ok(builder.build()?.metadata)
}

/// Metadata of version 1 as it is written.
#[derive(Serialize)]
struct WithRefs<'a> {
    #[serde(flatten)]
    metadata: &'a TableMetadata,
    refs: BTreeMap<String, SnapshotReference>,
}

/// The metadata as the crate wants it, where the spec has more: a snapshot from the time when the table was of version 1 has no sequence number, which
/// means 0, also after an upgrade to version 3; and columns may have types that the crate does not know. `None` if that is not what is wrong.
fn mended(json: &[u8]) -> Option<TableMetadata> {
    let mut metadata: Value = serde_json::from_slice(json).ok()?;
    for snapshot in metadata.get_mut("snapshots").and_then(Value::as_array_mut).into_iter().flatten() {
        snapshot.as_object_mut()?.entry("sequence-number").or_insert(0.into());
    }
    for schema in metadata.get_mut("schemas").and_then(Value::as_array_mut).into_iter().flatten() {
        unsupported::mark(schema);
    }
    if let Some(schema) = metadata.get_mut("schema") {
        unsupported::mark(schema);
    }
    serde_json::from_value(metadata).ok()
}

/// Reads the text of a metadata file, unpacked.
pub(crate) async fn read(storage: &Storage, name: &TableName, location: &str) -> Result<Bytes> {
    let bytes = storage.read(location).await.map_err(|error| error.with_context("table", name.to_string()))?;
    unpacked(bytes, name, location)
}

fn unpacked(bytes: Bytes, name: &TableName, location: &str) -> Result<Bytes> {
    if !bytes.starts_with(GZIP_MAGIC) {
        return Ok(bytes);
    }
    let mut unpacked = Vec::new();
    let read = GzDecoder::new(&bytes[..]).take(UNPACKED_BYTES_MAX).read_to_end(&mut unpacked);
    read.map_err(|error| invalid(name, location, "it is not a whole gzip file").with_source(error))?;
    Ok(unpacked.into())
}

pub(super) fn parse<T: DeserializeOwned>(json: &[u8]) -> serde_json::Result<T> {
    serde_json::from_slice(json)
}

/// Writes the next metadata file of a table and returns its location. `previous` is the file before it, `None` for a new table.
pub async fn write(storage: &Storage, metadata: &TableMetadata, previous: Option<&str>) -> Result<String> {
    let location = next_location(&metadata_folder(metadata), metadata.properties(), previous)?;
    storage.write(&location, bytes(metadata, &location)?).await?;
    Ok(location)
}

/// Writes a metadata file to a location of its own; one that ends in `.gz.metadata.json` is packed.
pub(super) async fn put(storage: &Storage, metadata: &impl Serialize, location: &str) -> Result<()> {
    let json = serde_json::to_vec(metadata).map_err(|error| unwritable(location, error.into()))?;
    storage.write(location, packed(json, location)?).await
}

/// The bytes of a table's metadata file at a location.
pub(crate) fn bytes(metadata: &TableMetadata, location: &str) -> Result<Bytes> {
    let json = match metadata.format_version() {
        FormatVersion::V1 => serde_json::to_vec(&WithRefs { metadata, refs: refs(metadata)? }),
        FormatVersion::V2 | FormatVersion::V3 => serde_json::to_vec(metadata),
    };
    let json = json.and_then(|json| in_order(&json)).map_err(|error| unwritable(location, error.into()))?;
    packed(json, location)
}

/// The metadata with schemas, partition specs and sort orders by their ids; the crate has them in any order. Trino takes the partition fields of its metadata tables
/// as the specs come, and their values by the ids of the fields.
fn in_order(json: &[u8]) -> serde_json::Result<Vec<u8>> {
    let mut metadata: BTreeMap<String, Box<RawValue>> = serde_json::from_slice(json)?;
    for (key, id) in [("schemas", "schema-id"), ("partition-specs", "spec-id"), ("sort-orders", "order-id")] {
        if let Some(list) = metadata.get_mut(key) {
            let mut items: Vec<Box<RawValue>> = serde_json::from_str(list.get())?;
            items.sort_by_cached_key(|item| serde_json::from_str::<Value>(item.get()).ok().and_then(|item| item.get(id).and_then(Value::as_i64)));
            *list = to_raw_value(&items)?;
        }
    }
    serde_json::to_vec(&metadata)
}

fn packed(json: Vec<u8>, location: &str) -> Result<Bytes> {
    if !location.ends_with(".gz.metadata.json") {
        return Ok(json.into());
    }
    let mut packer = GzEncoder::new(Vec::new(), Compression::default());
    let bytes = packer.write_all(&json).and_then(|()| packer.finish());
    bytes.map(Bytes::from).map_err(|error| unwritable(location, error))
}

fn unwritable(location: &str, error: std::io::Error) -> Error {
    Error::internal(format!("cannot write metadata file '{location}'")).with_source(error)
}

/// The newest metadata file of the table at a location.
///
/// Errors: `NOT_FOUND`, those of listing files.
pub async fn newest(storage: &Storage, table_location: &str) -> Result<String> {
    let folder = format!("{}/metadata", table_location.trim_end_matches('/'));
    let files: Vec<FileStatus> = storage.list(&folder)?.try_collect().await?;
    let files = files.into_iter().filter(|file| file.location.ends_with(".metadata.json"));
    let newest = files.max_by_key(|file| (version(&file.location), file.modified_ms));
    newest.map(|file| file.location).ok_or_else(|| {
        Error::new(Code::NotFound, format!("there is no metadata file in '{folder}'"))
            .with_hint("table_location is the folder that holds the folder 'metadata'")
    })
}

/// The folder of a table's metadata files, manifests and manifest lists.
pub fn metadata_folder(metadata: &TableMetadata) -> String {
    match metadata.properties().get(properties::METADATA_PATH) {
        Some(folder) => folder.trim_end_matches('/').to_owned(),
        None => format!("{}/metadata", metadata.location().trim_end_matches('/')),
    }
}

/// `<folder>/<version>-<uuid>.metadata.json`, counting on from the previous file.
pub(super) fn next_location(folder: &str, properties: &HashMap<String, String>, previous: Option<&str>) -> Result<String> {
    let version = previous.map_or(0, |previous| version(previous).map_or(0, |version| version + 1));
    let suffix = if packs(properties)? { ".gz" } else { "" };
    Ok(format!("{folder}/{version:05}-{}{suffix}.metadata.json", Uuid::new_v4()))
}

/// Whether a table wants its metadata files packed. Errors: `INVALID_TABLE_PROPERTY`.
pub(super) fn is_packed(metadata: &TableMetadata) -> Result<bool> {
    packs(metadata.properties())
}

/// The same by the table's properties.
pub(crate) fn packs(properties: &HashMap<String, String>) -> Result<bool> {
    match properties.get(COMPRESSION).map(|codec| codec.to_ascii_lowercase()).as_deref() {
        None | Some("none" | "") => Ok(false),
        Some("gzip") => Ok(true),
        Some(other) => Err(properties::invalid(COMPRESSION, other, "gzip or none")),
    }
}

/// The version in a metadata file's name: `00003-<uuid>.metadata.json`, or `v3.metadata.json` from a Hadoop catalog.
fn version(location: &str) -> Option<u64> {
    let file = location.rsplit('/').next()?;
    let file = file.strip_prefix('v').unwrap_or(file);
    let digits = file.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(file.len());
    file[..digits].parse().ok()
}

/// Deletes the metadata files that fell out of a table's log, if the table wants that, but for those that another table of the catalog has, such as one that was registered
/// at the same place.
pub(super) async fn delete_expired(catalog: &dyn Catalog, table: &Table, expired: &[MetadataLog]) {
    let wanted = properties::flag(table.metadata.properties(), DELETE_EXPIRED, false).unwrap_or(false);
    if !wanted || expired.is_empty() {
        return;
    }
    let deleted = async {
        let mut kept = HashSet::new();
        for neighbour in catalog.neighbours(table).await? {
            let log = neighbour.metadata.metadata_log().iter().map(|entry| entry.metadata_file.as_str());
            for file in log.chain(neighbour.metadata_location.as_deref()) {
                kept.insert(Location::parse(file)?);
            }
        }
        let is_kept = |file: &str| !Location::parse(file).is_ok_and(|place| !kept.contains(&place));
        let files: Vec<String> = expired.iter().map(|entry| entry.metadata_file.clone()).filter(|file| !is_kept(file)).collect();
        table.storage.delete_files(&files).await
    };
    if let Err(error) = deleted.await {
        tracing::warn!(%error, table = %table.name, "old metadata files were left behind");
    }
}

pub(super) fn invalid(name: &TableName, location: &str, why: &str) -> Error {
    Error::new(Code::IcebergInvalidMetadata, format!("metadata file '{location}' of table '{name}' cannot be read: {why}"))
}

/// Says which of the things that the crate cannot read is in the file, if it is one that we know.
fn explain(json: &[u8], name: &TableName, location: &str, error: serde_json::Error) -> Error {
    let Ok(metadata) = serde_json::from_slice::<Value>(json) else {
        return invalid(name, location, "it is not JSON").with_source(error);
    };
    if let Some(version) = metadata["format-version"].as_u64().filter(|version| *version > FormatVersion::V3 as u64) {
        return Error::not_supported(format!(
            "table '{name}' is of format version {version}, which is not supported: its metadata file is '{location}'"
        ))
        .with_hint("versions 1, 2 and 3 are")
        .with_source(error);
    }
    let snapshots = metadata["snapshots"].as_array();
    if snapshots.is_some_and(|snapshots| snapshots.iter().any(|snapshot| snapshot.get("manifests").is_some())) {
        return Error::not_supported(format!("table '{name}' has a v1 snapshot without a manifest list, which is not supported"))
            .with_hint("expire its old snapshots with the engine that wrote them")
            .with_source(error);
    }
    invalid(name, location, &error.to_string()).with_source(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn specs_are_in_the_order_of_their_ids() {
        let json = br#"{"x": 1.10, "partition-specs": [{"spec-id": 2}, {"spec-id": 0, "fields": []}, {"spec-id": 1}]}"#;
        let ordered = r#"{"partition-specs":[{"spec-id": 0, "fields": []},{"spec-id": 1},{"spec-id": 2}],"x":1.10}"#;
        assert_eq!(String::from_utf8(in_order(json).unwrap()).unwrap(), ordered);
    }

    #[test]
    fn names_count_on_from_those_of_any_writer() {
        let next = |previous| next_location("/t/metadata", &HashMap::new(), previous).unwrap();
        assert!(next(None).starts_with("/t/metadata/00000-"));
        assert!(next(Some("/t/metadata/00009-6b5d.metadata.json")).starts_with("/t/metadata/00010-"));
        assert!(next(Some("/t/metadata/v3.gz.metadata.json")).starts_with("/t/metadata/00004-"));
        assert!(next(Some("/t/metadata/odd.json")).starts_with("/t/metadata/00000-"));
    }

    #[test]
    fn a_version_that_is_not_known_is_named() {
        let error = parse_table(br#"{"format-version": 4, "location": "/t"}"#.as_slice().into(), &TableName::new("s", "t"), "/t/x").unwrap_err();
        assert_eq!(error.code(), Code::NotSupported);
        assert!(error.message().contains("format version 4"), "{error}");
    }

    #[test]
    fn a_codec_is_gzip_or_none() {
        let with = |codec: &str| next_location("/m", &HashMap::from([(COMPRESSION.to_owned(), codec.to_owned())]), None);
        assert!(with("GZIP").unwrap().ends_with(".gz.metadata.json"));
        assert_eq!(with("zstd").unwrap_err().code(), Code::InvalidTableProperty);
    }
}
