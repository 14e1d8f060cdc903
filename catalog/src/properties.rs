//! Properties of tables: how the values of those that the catalog reads are parsed, and that they are checked when they are set. What other writers have set may
//! be any text.

use std::collections::HashMap;
use std::num::ParseIntError;
use std::sync::Arc;

use nunatak_core::{Code, Error, Result};

use crate::adopted::{self, ADOPTED};
use crate::backend::{Catalog, metadata_file};
use crate::commit::{Isolation, MANIFEST_TARGET_BYTES};
use crate::expiry::{REF_AGE_MS, SNAPSHOT_AGE_MS, SNAPSHOTS_MIN};
use crate::name_mapping::{self, NAME_MAPPING};
use crate::spec::TableProperties as P;
use crate::storage::Location;
use crate::table::Table;

/// Whether a table's files are its own.
pub(crate) const GC_ENABLED: &str = P::PROPERTY_GC_ENABLED;

/// Whether changes of a table may wait to be published ("write-audit-publish").
pub(crate) const WAP_ENABLED: &str = "write.wap.enabled";

/// Whether a table of a Hive Metastore is locked while it is changed.
pub(crate) const HIVE_LOCK_ENABLED: &str = "engine.hive.lock-enabled";

/// Whether Hive itself is to read a table of a Hive Metastore.
pub(crate) const HIVE_ENGINE_ENABLED: &str = "engine.hive.enabled";

/// Where data files go.
pub const DATA_PATH: &str = "write.data.path";
/// Whether the locations of data files begin with a hash.
pub const OBJECT_STORAGE: &str = "write.object-storage.enabled";
/// Where data files go whose locations have a hash. [`DATA_PATH`] comes first.
pub const OBJECT_STORAGE_PATH: &str = "write.object-storage.path";
/// An old name of [`DATA_PATH`], which comes first.
pub const FOLDER_STORAGE_PATH: &str = "write.folder-storage.path";
/// Where metadata files, manifests and manifest lists go.
pub(crate) const METADATA_PATH: &str = "write.metadata.path";

/// Those that let files lie outside the table's location.
const PLACES: [&str; 5] = [METADATA_PATH, DATA_PATH, OBJECT_STORAGE_PATH, FOLDER_STORAGE_PATH, "write.location-provider.impl"];

/// Whole numbers, the least that each may be and the most: what Java reads as an `int` and cannot read is an error in every engine but this one.
const NUMBERS: &[(&str, u64, u64)] = &[
    (P::PROPERTY_COMMIT_NUM_RETRIES, 0, INT_MAX),
    (P::PROPERTY_COMMIT_MIN_RETRY_WAIT_MS, 0, INT_MAX),
    (P::PROPERTY_COMMIT_MAX_RETRY_WAIT_MS, 0, INT_MAX),
    (P::PROPERTY_COMMIT_TOTAL_RETRY_TIME_MS, 0, INT_MAX),
    ("commit.status-check.num-retries", 0, INT_MAX),
    ("commit.status-check.min-wait-ms", 0, LONG_MAX),
    ("commit.status-check.max-wait-ms", 0, LONG_MAX),
    ("commit.status-check.total-timeout-ms", 0, LONG_MAX),
    (MANIFEST_TARGET_BYTES.0, 1, LONG_MAX),
    ("commit.manifest.min-count-to-merge", 0, INT_MAX),
    (P::PROPERTY_METADATA_PREVIOUS_VERSIONS_MAX, 0, INT_MAX),
    (P::PROPERTY_WRITE_PARTITION_SUMMARY_LIMIT, 0, INT_MAX),
    (SNAPSHOT_AGE_MS.0, 0, LONG_MAX),
    (SNAPSHOTS_MIN.0, 1, INT_MAX),
    (REF_AGE_MS.0, 0, LONG_MAX),
    ("read.split.target-size", 1, LONG_MAX),
    ("read.split.metadata-target-size", 1, LONG_MAX),
    ("read.split.planning-lookback", 1, INT_MAX),
    ("read.split.open-file-cost", 0, LONG_MAX),
    ("read.parquet.vectorization.batch-size", 1, INT_MAX),
    ("read.orc.vectorization.batch-size", 1, INT_MAX),
    ("write.delete.target-file-size-bytes", 1, LONG_MAX),
    ("write.parquet.row-group-check-min-record-count", 1, INT_MAX),
    ("write.parquet.row-group-check-max-record-count", 1, INT_MAX),
    ("write.parquet.bloom-filter-max-bytes", 1, INT_MAX),
];

const INT_MAX: u64 = i32::MAX.unsigned_abs() as u64;
const LONG_MAX: u64 = i64::MAX.unsigned_abs();

/// Those that [`flag`] parses.
const FLAGS: &[&str] = &[
    GC_ENABLED,
    WAP_ENABLED,
    metadata_file::DELETE_EXPIRED,
    OBJECT_STORAGE,
    "write.object-storage.partitioned-paths",
    "commit.manifest-merge.enabled",
    "compatibility.snapshot-id-inheritance.enabled",
    HIVE_ENGINE_ENABLED,
    HIVE_LOCK_ENABLED,
    "read.parquet.vectorization.enabled",
    "read.orc.vectorization.enabled",
    "read.split.adaptive-size.enabled",
    "write.manifest-lists.enabled",
    "write.spark.accept-any-schema",
    "write.spark.fanout.enabled",
    "write.upsert.enabled",
];

/// Words of which a property is one, in any case.
const CHOICES: &[(&str, &[&str])] = &[
    ("write.delete.distribution-mode", &["none", "hash", "range"]),
    ("write.update.distribution-mode", &["none", "hash", "range"]),
    ("write.merge.distribution-mode", &["none", "hash", "range"]),
    ("write.delete.granularity", &["file", "partition"]),
    ("write.delete.format.default", &["parquet", "avro", "orc", "puffin"]),
    ("read.data-planning-mode", &["auto", "local", "distributed"]),
    ("read.delete-planning-mode", &["auto", "local", "distributed"]),
];

/// Checks the value of one of a table's properties, if it is one that the catalog reads, or that Iceberg's other engines read and refuse.
///
/// Errors: `INVALID_TABLE_PROPERTY`, `NOT_SUPPORTED` for what nobody here could do.
pub fn check(properties: &HashMap<String, String>, name: &str) -> Result<()> {
    let Some(value) = properties.get(name) else { return Ok(()) };
    match name {
        _ if FLAGS.contains(&name) => flag(properties, name, false).map(|_| ()),
        _ if P::RESERVED_PROPERTIES.contains(&name) => Err(reserved(name, value)),
        metadata_file::COMPRESSION => metadata_file::packs(properties).map(|_| ()),
        "write.delete.isolation-level" | "write.update.isolation-level" | "write.merge.isolation-level" => {
            Isolation::from_property(properties, name).map(|_| ())
        }
        ADOPTED => adopted::check(value),
        NAME_MAPPING => name_mapping::parse(value).map(|_| ()).map_err(|error| invalid(name, value, "a name mapping in JSON").with_source(error)),
        "encryption.key-id" => Err(Error::not_supported("tables cannot be encrypted: their files would be written in plain")
            .with_hint("leave out encryption.key-id; the store can encrypt what lies in it")),
        "write.location-provider.impl" => Err(Error::not_supported(format!("the class '{value}' cannot give locations: there is no Java here"))
            .with_hint("write.data.path says where data files go, and write.object-storage.enabled spreads them")),
        _ => {
            if let Some((_, least, most)) = NUMBERS.iter().find(|(known, _, _)| *known == name) {
                return within(name, value, *least, *most);
            }
            let Some((_, words)) = CHOICES.iter().find(|(known, _)| *known == name) else { return Ok(()) };
            let is_one = words.iter().any(|word| word.eq_ignore_ascii_case(value.trim()));
            if is_one { Ok(()) } else { Err(invalid(name, value, &listed(words))) }
        }
    }
}

/// Whether a property says where files go.
pub fn is_place(name: &str) -> bool {
    PLACES.contains(&name)
}

/// Whether there are some that say where files go.
pub fn name_places(properties: &HashMap<String, String>) -> bool {
    PLACES.iter().any(|name| properties.contains_key(*name))
}

/// Checks those of the properties in `set` that say where files go. `table` is the one that gets them; it may be staged, or not changed yet.
///
/// Errors: `INVALID_TABLE_PROPERTY` for what is no location, lies in another table's, or is a place of one machine while the table is not; `NOT_SUPPORTED` for a store that
/// the table's storage cannot reach.
pub async fn check_places(catalog: &dyn Catalog, table: &Table, set: &HashMap<String, String>) -> Result<()> {
    if !name_places(set) {
        return Ok(());
    }
    let own = Location::parse(table.metadata.location())?;
    for name in PLACES.into_iter().filter(|name| *name != "write.location-provider.impl") {
        let Some(value) = set.get(name) else { continue };
        let place = location(name, value)?;
        if place.is_local() && !own.is_local() {
            return Err(invalid(name, value, &format!("where all nodes find files: the table lies in '{}'", own.store())));
        }
        table.storage.resolve(value).map_err(|error| error.with_context("property", name))?;
        if own.contains(&place) {
            continue;
        }
        // A table of that name which had its place there.
        let there = (*table.metadata).clone().into_builder(None).set_location(value.trim_end_matches('/').to_owned()).build();
        let there = there.map_err(|error| Error::internal("the table's metadata cannot be moved").with_source(error))?.metadata;
        let there = Table { metadata: Arc::new(there), ..table.clone() };
        for neighbour in catalog.neighbours(&there).await? {
            let around = Location::parse(neighbour.metadata.location())?;
            if around != own && around.contains(&place) {
                return Err(invalid(
                    name,
                    value,
                    &format!("free: table '{}' lies in '{around}', and would take the files for its own", neighbour.name),
                ));
            }
        }
    }
    Ok(())
}

/// The location that a property names.
fn location(name: &str, value: &str) -> Result<Location> {
    let is_plain = value.trim() == value && value.matches(":/").count() < 2;
    if !is_plain {
        return Err(invalid(name, value, "one location, such as s3://bucket/folder"));
    }
    let place = Location::parse(value).and_then(|place| place.object_path().map(|_| place));
    place.map_err(|error| invalid(name, value, "a location: an absolute path, or a URL such as s3://bucket/folder").with_source(error))
}

/// The error for a name that stands for a part of the metadata.
fn reserved(name: &str, value: &str) -> Error {
    if name == P::PROPERTY_FORMAT_VERSION {
        return Error::new(Code::InvalidTableProperty, "'format-version' is not one of the extra_properties").with_hint(format!(
            "format_version is a property of its own: WITH (format_version = {value}), or ALTER TABLE ... SET PROPERTIES format_version = {value}"
        ));
    }
    Error::new(Code::InvalidTableProperty, format!("'{name}' is kept by the table itself and cannot be set")).with_hint("leave it out")
}

fn within(name: &str, value: &str, least: u64, most: u64) -> Result<()> {
    let wanted = || match (least, most) {
        (least, LONG_MAX) => format!("a whole number from {least} on"),
        (least, most) => format!("a whole number from {least} to {most}"),
    };
    let parsed: u64 = value.trim().parse().map_err(|error: ParseIntError| invalid(name, value, &wanted()).with_source(error))?;
    if (least..=most).contains(&parsed) { Ok(()) } else { Err(invalid(name, value, &wanted())) }
}

/// `a, b or c`.
fn listed(words: &[&str]) -> String {
    match words {
        [first @ .., last] if !first.is_empty() => format!("{} or {last}", first.join(", ")),
        _ => words.concat(),
    }
}

/// A property that is a whole number, or its default.
///
/// Errors: `INVALID_TABLE_PROPERTY`.
pub fn number(properties: &HashMap<String, String>, name: &str, default: u64) -> Result<u64> {
    let Some(value) = properties.get(name) else { return Ok(default) };
    value.trim().parse().map_err(|error: ParseIntError| invalid(name, value, "a whole number from 0 on").with_source(error))
}

/// A property that is true or false, or its default.
///
/// Errors: `INVALID_TABLE_PROPERTY` for what is neither, which Java reads as false.
pub fn flag(properties: &HashMap<String, String>, name: &str, default: bool) -> Result<bool> {
    let Some(value) = properties.get(name) else { return Ok(default) };
    value.trim().to_ascii_lowercase().parse().map_err(|_| invalid(name, value, "true or false"))
}

/// The error for a value that is not what is `wanted`.
pub fn invalid(name: &str, value: &str, wanted: &str) -> Error {
    Error::new(Code::InvalidTableProperty, format!("table property '{name}' is '{value}', which is not {wanted}"))
        .with_hint(format!("extra_properties = MAP(ARRAY['{name}'], ARRAY['...']) sets it"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(name: &str, value: &str) -> Result<()> {
        check(&HashMap::from([(name.to_owned(), value.to_owned())]), name)
    }

    #[test]
    fn what_is_read_is_checked() {
        for (name, good, bad) in [
            ("commit.retry.num-retries", "0", "-1"),
            ("commit.retry.total-timeout-ms", " 1000 ", "soon"),
            ("commit.manifest.target-size-bytes", "8388608", "8MB"),
            ("history.expire.max-snapshot-age-ms", "9223372036854775807", "5d"),
            ("gc.enabled", "FALSE", "no"),
            ("write.wap.enabled", "true", "1"),
            ("engine.hive.lock-enabled", "false", "off"),
            ("write.metadata.compression-codec", "GZIP", "zstd"),
            ("write.update.isolation-level", "snapshot", "none"),
            ("schema.name-mapping.default", r#"[{"field-id":1,"names":["a"]}]"#, "a"),
            ("commit.retry.num-retries", "2147483647", "2147483648"),
            ("history.expire.min-snapshots-to-keep", "1", "0"),
            ("history.expire.max-snapshot-age-ms", "0", "9223372036854775808"),
            ("read.split.target-size", "134217728", "128MB"),
            ("write.object-storage.enabled", "True", "yes"),
            ("write.delete.granularity", "FILE", "row"),
            ("write.merge.distribution-mode", "range", "sorted"),
            ("write.summary.partition-limit", "100", "all"),
        ] {
            assert!(checked(name, good).is_ok(), "{name}");
            let error = checked(name, bad).unwrap_err();
            assert_eq!(error.code(), Code::InvalidTableProperty);
            assert!(error.message().contains(&format!("'{name}' is '{bad}', which is not ")), "{error}");
        }
        assert!(checked("owner", "me").is_ok());
        assert_eq!(checked("encryption.key-id", "k").unwrap_err().code(), Code::NotSupported);
        assert_eq!(checked("write.location-provider.impl", "com.example.Places").unwrap_err().code(), Code::NotSupported);
    }

    #[test]
    fn parts_of_the_metadata_are_no_properties() {
        let error = checked("format-version", "3").unwrap_err();
        assert_eq!(error.code(), Code::InvalidTableProperty);
        assert!(error.hint().is_some_and(|hint| hint.contains("WITH (format_version = 3)")), "{error}");
        assert_eq!(checked("uuid", "x").unwrap_err().code(), Code::InvalidTableProperty);
    }

    #[test]
    fn places_are_locations() {
        for good in ["s3://bucket/folder", "s3a://bucket", "/data/x", "file:///data/x=1%20y", "hdfs://name:8020/x"] {
            assert!(location(DATA_PATH, good).is_ok(), "{good}");
        }
        for bad in ["", "data", "s3://bucket/a/../b", "s3://bucket/file:///x", " /data", "s3:x", "file://host/x"] {
            assert!(location(DATA_PATH, bad).is_err_and(|error| error.code() == Code::InvalidTableProperty), "{bad}");
        }
    }
}
