//! What clients send, and what they are answered, as the REST spec has it. What is alike on both sides is in [`crate::messages`].

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::messages::{Identifier, ViewRequirement};
use crate::spec::{Schema, SortOrder, TableRequirement, TableUpdate, UnboundPartitionSpec, ViewMetadata, ViewUpdate, ViewVersion};

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
pub(super) struct Commit {
    /// Which table it is for; only a change of several must name it.
    #[serde(default)]
    pub(super) identifier: Option<Identifier>,
    pub(super) requirements: Vec<TableRequirement>,
    pub(super) updates: Vec<TableUpdate>,
}

/// Commits to several tables.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Transaction {
    pub(super) table_changes: Vec<Commit>,
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
