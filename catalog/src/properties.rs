//! Properties of tables: how the values of those that the catalog reads are parsed, and that they are checked when they are set. What other writers have set may
//! be any text.

use std::collections::HashMap;
use std::num::ParseIntError;

use nunatak_core::{Code, Error, Result};

use crate::backend::metadata_file;
use crate::commit::{Isolation, MANIFEST_TARGET_BYTES};
use crate::expiry::{REF_AGE_MS, SNAPSHOT_AGE_MS, SNAPSHOTS_MIN};
use crate::name_mapping::{self, NAME_MAPPING};
use crate::spec::TableProperties as P;

/// Whether a table's files are its own.
pub(crate) const GC_ENABLED: &str = P::PROPERTY_GC_ENABLED;

/// Whether changes of a table may wait to be published ("write-audit-publish").
pub(crate) const WAP_ENABLED: &str = "write.wap.enabled";

/// Those that [`number`] parses.
const NUMBERS: [&str; 9] = [
    P::PROPERTY_COMMIT_NUM_RETRIES,
    P::PROPERTY_COMMIT_MIN_RETRY_WAIT_MS,
    P::PROPERTY_COMMIT_MAX_RETRY_WAIT_MS,
    P::PROPERTY_COMMIT_TOTAL_RETRY_TIME_MS,
    P::PROPERTY_METADATA_PREVIOUS_VERSIONS_MAX,
    MANIFEST_TARGET_BYTES.0,
    SNAPSHOT_AGE_MS.0,
    SNAPSHOTS_MIN.0,
    REF_AGE_MS.0,
];

/// Those that [`flag`] parses.
const FLAGS: [&str; 3] = [GC_ENABLED, WAP_ENABLED, metadata_file::DELETE_EXPIRED];

/// Checks the value of one of a table's properties, if it is one that the catalog reads.
///
/// Errors: `INVALID_TABLE_PROPERTY`.
pub fn check(properties: &HashMap<String, String>, name: &str) -> Result<()> {
    let Some(value) = properties.get(name) else { return Ok(()) };
    match name {
        _ if NUMBERS.contains(&name) => number(properties, name, 0).map(|_| ()),
        _ if FLAGS.contains(&name) => flag(properties, name, false).map(|_| ()),
        metadata_file::COMPRESSION => metadata_file::packs(properties).map(|_| ()),
        "write.delete.isolation-level" | "write.update.isolation-level" | "write.merge.isolation-level" => {
            Isolation::from_property(properties, name).map(|_| ())
        }
        NAME_MAPPING => name_mapping::parse(value).map(|_| ()).map_err(|error| invalid(name, value, "a name mapping in JSON").with_source(error)),
        _ => Ok(()),
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
            ("write.metadata.compression-codec", "GZIP", "zstd"),
            ("write.update.isolation-level", "snapshot", "none"),
            ("schema.name-mapping.default", r#"[{"field-id":1,"names":["a"]}]"#, "a"),
        ] {
            assert!(checked(name, good).is_ok(), "{name}");
            let error = checked(name, bad).unwrap_err();
            assert_eq!(error.code(), Code::InvalidTableProperty);
            assert!(error.message().contains(&format!("'{name}' is '{bad}', which is not ")), "{error}");
        }
        assert!(checked("owner", "me").is_ok());
    }
}
