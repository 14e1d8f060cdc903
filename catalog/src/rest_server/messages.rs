//! What clients send, and what they are answered, as the REST spec has it.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::names::levels;
use crate::spec::{Schema, SortOrder, TableRequirement, TableUpdate, UnboundPartitionSpec, ViewMetadata, ViewUpdate, ViewVersion};
use crate::table::TableName;

#[derive(Deserialize)]
pub(super) struct NewNamespace {
    pub(super) namespace: Vec<String>,
    #[serde(default)]
    pub(super) properties: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
pub(super) struct NamespaceChange {
    #[serde(default)]
    pub(super) removals: Option<Vec<String>>,
    #[serde(default)]
    pub(super) updates: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct NewTable {
    pub(super) name: String,
    #[serde(default)]
    pub(super) location: Option<String>,
    pub(super) schema: Schema,
    #[serde(default)]
    pub(super) partition_spec: Option<UnboundPartitionSpec>,
    #[serde(default)]
    pub(super) write_order: Option<SortOrder>,
    #[serde(default)]
    pub(super) stage_create: Option<bool>,
    #[serde(default)]
    pub(super) properties: Option<HashMap<String, String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Register {
    pub(super) name: String,
    pub(super) metadata_location: String,
    #[serde(default)]
    pub(super) overwrite: Option<bool>,
}

#[derive(Deserialize)]
pub(super) struct Commit {
    pub(super) requirements: Vec<TableRequirement>,
    pub(super) updates: Vec<TableUpdate>,
}

#[derive(Deserialize)]
pub(super) struct GivenName {
    pub(super) namespace: Vec<String>,
    pub(super) name: String,
}

#[derive(Deserialize)]
pub(super) struct Rename {
    pub(super) source: GivenName,
    pub(super) destination: GivenName,
}

/// What a client tells of a scan or a commit that it has made.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Report {
    pub(super) report_type: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct NewView {
    pub(super) name: String,
    #[serde(default)]
    pub(super) location: Option<String>,
    pub(super) schema: Schema,
    pub(super) view_version: ViewVersion,
    #[serde(default)]
    pub(super) properties: Option<HashMap<String, String>>,
}

#[derive(Deserialize)]
pub(super) struct ViewCommit {
    #[serde(default)]
    pub(super) requirements: Option<Vec<ViewRequirement>>,
    pub(super) updates: Vec<ViewUpdate>,
}

#[derive(Deserialize)]
#[serde(tag = "type")]
pub(super) enum ViewRequirement {
    #[serde(rename = "assert-view-uuid")]
    Uuid { uuid: String },
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct NamespaceList<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) next_page_token: Option<&'a str>,
    pub(super) namespaces: Vec<Vec<&'a str>>,
}

#[derive(Serialize)]
pub(super) struct NamespaceAnswer<'a> {
    pub(super) namespace: Vec<&'a str>,
    pub(super) properties: &'a BTreeMap<String, String>,
}

#[derive(Serialize)]
pub(super) struct ChangedNamespace<'a> {
    pub(super) updated: Vec<&'a str>,
    pub(super) removed: Vec<&'a str>,
    pub(super) missing: Vec<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct NameList<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) next_page_token: Option<&'a str>,
    pub(super) identifiers: Vec<Identifier<'a>>,
}

#[derive(Serialize)]
pub(super) struct Identifier<'a> {
    namespace: Vec<&'a str>,
    name: &'a str,
}

impl<'a> Identifier<'a> {
    pub(super) fn new(namespace: &'a str, name: &'a str) -> Self {
        Self { namespace: levels(namespace), name }
    }
}

/// A table with what it takes to reach its files.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct LoadedTable<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) metadata_location: Option<&'a str>,
    pub(super) metadata: &'a RawValue,
    pub(super) config: &'a BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) storage_credentials: Vec<StorageCredential<'a>>,
}

/// A table after a commit.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct CommittedTable<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) metadata_location: Option<&'a str>,
    pub(super) metadata: &'a RawValue,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Credentials<'a> {
    pub(super) storage_credentials: Vec<StorageCredential<'a>>,
}

#[derive(Serialize)]
pub(super) struct StorageCredential<'a> {
    pub(super) prefix: &'a str,
    pub(super) config: &'a BTreeMap<String, String>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct LoadedView<'a> {
    pub(super) metadata_location: &'a str,
    pub(super) metadata: &'a ViewMetadata,
}

impl GivenName {
    /// The name as the catalog has it. Errors: 400.
    pub(super) fn table_name(&self) -> Result<TableName, super::Failure> {
        super::names::table_name(&super::names::joined(&self.namespace)?, &self.name)
    }
}
