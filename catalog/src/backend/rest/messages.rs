//! What is sent to and fro, as the REST spec has it; parts that are metadata stay as they came. What is alike on both sides is in [`crate::messages`].

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::messages::Identifier;

/// Properties, some of which servers leave empty.
type Properties = BTreeMap<String, Option<String>>;

/// Properties without the empty ones.
pub(crate) fn filled(properties: Properties) -> BTreeMap<String, String> {
    properties.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

/// The configuration that a server has for its clients.
#[derive(Deserialize)]
pub(super) struct ServerConfig {
    #[serde(default)]
    pub(super) defaults: Option<Properties>,
    #[serde(default)]
    pub(super) overrides: Option<Properties>,
    #[serde(default)]
    pub(super) endpoints: Option<Vec<String>>,
}

#[derive(Deserialize)]
pub(super) struct NamespaceProperties {
    #[serde(default)]
    pub(super) properties: Option<Properties>,
}

/// A table that the server only prepares.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct StagedTable<'a> {
    pub(super) name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) location: Option<&'a str>,
    pub(super) schema: Value,
    pub(super) stage_create: bool,
    pub(super) properties: BTreeMap<String, String>,
}

/// A change of a table or a view.
#[derive(Serialize)]
pub(super) struct Commit<R> {
    pub(super) identifier: Identifier,
    pub(super) requirements: R,
    pub(super) updates: Vec<Value>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct NewView<'a> {
    pub(super) name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) location: Option<&'a str>,
    pub(super) schema: Value,
    pub(super) view_version: Value,
    pub(super) properties: Value,
}

/// A table or a view with its metadata.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Loaded {
    #[serde(default)]
    pub(super) metadata_location: Option<String>,
    pub(super) metadata: Box<RawValue>,
    #[serde(default)]
    pub(super) config: Option<Properties>,
    #[serde(default)]
    pub(super) storage_credentials: Option<Vec<StorageCredential>>,
}

/// Of a table with its metadata: where it lies.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct LoadedPlace {
    #[serde(default)]
    pub(super) metadata_location: Option<String>,
    pub(super) metadata: PlaceMetadata,
}

#[derive(Deserialize)]
pub(super) struct PlaceMetadata {
    pub(super) location: String,
}

/// Credentials for all that lies below a location. Both the answer that has nothing else and the one with the whole table have them.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct VendedCredentials {
    #[serde(default)]
    pub(crate) config: Option<Properties>,
    #[serde(default)]
    pub(crate) storage_credentials: Option<Vec<StorageCredential>>,
}

impl VendedCredentials {
    /// The properties of storage for a table at `location`: those for the longest part of it go before those for all.
    pub(crate) fn of_location(self, location: &str) -> BTreeMap<String, String> {
        let location = plain(location);
        let mut properties = filled(self.config.unwrap_or_default());
        let credentials = self.storage_credentials.unwrap_or_default();
        let fitting = credentials.into_iter().filter(|credential| location.starts_with(&plain(&credential.prefix)));
        if let Some(best) = fitting.max_by_key(|credential| credential.prefix.len()) {
            properties.extend(filled(best.config));
        }
        properties
    }
}

/// A location with one name for the protocol of S3.
fn plain(location: &str) -> String {
    match location.split_once("://") {
        Some(("s3a" | "s3n", rest)) => format!("s3://{rest}"),
        _ => location.to_owned(),
    }
}

#[derive(Deserialize)]
pub(crate) struct StorageCredential {
    /// What locations begin with.
    #[serde(default)]
    prefix: String,
    #[serde(default)]
    config: Properties,
}

/// A value without its empty parts, which Java's parsers do not take.
pub(super) fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let filled = fields.into_iter().filter(|(_, value)| !value.is_null());
            Value::Object(filled.map(|(name, value)| (name, without_nulls(value))).collect())
        }
        Value::Array(values) => Value::Array(values.into_iter().map(without_nulls).collect()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn credentials_are_those_of_the_longest_prefix() {
        let given = json!({
            "config": { "s3.region": "x", "s3.access-key-id": "all", "odd": null },
            "storage-credentials": [
                { "prefix": "s3://lake/t", "config": { "s3.access-key-id": "table" } },
                { "prefix": "s3", "config": { "s3.access-key-id": "any" } },
                { "prefix": "s3://other/", "config": { "s3.access-key-id": "other" } }
            ]
        });
        let of = |location: &str| {
            let credentials: VendedCredentials = serde_json::from_value(given.clone()).unwrap();
            credentials.of_location(location).into_iter().collect::<Vec<_>>()
        };
        let expected = |key: &str| vec![("s3.access-key-id".to_owned(), key.to_owned()), ("s3.region".to_owned(), "x".to_owned())];
        assert_eq!(of("s3a://lake/t/data"), expected("table"));
        assert_eq!(of("s3://lake/u"), expected("any"));
        assert_eq!(of("file:///t"), expected("all"));
    }

    #[test]
    fn empty_parts_are_left_out() {
        assert_eq!(without_nulls(json!({ "a": [{ "b": null, "c": 0 }], "d": null })), json!({ "a": [{ "c": 0 }] }));
    }
}
