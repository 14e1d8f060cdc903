//! Messages of the Iceberg REST protocol that are alike on both sides: the client of a server writes what the server for clients reads.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::{Deserialize, Serialize};

use crate::table::TableName;

/// The levels of a namespace, which SQL joins by dots.
pub(crate) fn levels(namespace: &str) -> Vec<&str> {
    namespace.split('.').collect()
}

/// A new namespace.
#[derive(Deserialize, Serialize)]
pub(crate) struct NewNamespace {
    pub(crate) namespace: Vec<String>,
    #[serde(default)]
    pub(crate) properties: Option<BTreeMap<String, String>>,
}

/// A change of a namespace's properties.
#[derive(Deserialize, Serialize)]
pub(crate) struct NamespaceChange {
    #[serde(default)]
    pub(crate) removals: Option<Vec<String>>,
    #[serde(default)]
    pub(crate) updates: Option<BTreeMap<String, String>>,
}

/// The name of a table or view as a whole.
#[derive(Deserialize, Serialize)]
pub(crate) struct Identifier {
    #[serde(default)]
    pub(crate) namespace: Vec<String>,
    pub(crate) name: String,
}

impl Identifier {
    pub(crate) fn new(namespace: &str, name: &str) -> Self {
        Self { namespace: levels(namespace).into_iter().map(str::to_owned).collect(), name: name.to_owned() }
    }
}

impl From<&TableName> for Identifier {
    fn from(name: &TableName) -> Self {
        Self::new(&name.namespace, &name.table)
    }
}

/// Another name for a table or view.
#[derive(Deserialize, Serialize)]
pub(crate) struct Rename {
    pub(crate) source: Identifier,
    pub(crate) destination: Identifier,
}

/// A table or view whose metadata is there.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Register {
    pub(crate) name: String,
    pub(crate) metadata_location: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) overwrite: Option<bool>,
}

/// What a change of a view requires.
#[derive(Deserialize, Serialize)]
#[serde(tag = "type")]
pub(crate) enum ViewRequirement {
    #[serde(rename = "assert-view-uuid")]
    Uuid { uuid: String },
}

/// A page of the names of namespaces.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct NamespaceList {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) next_page_token: Option<String>,
    #[serde(default)]
    pub(crate) namespaces: Vec<Vec<String>>,
    /// Those of them that have others in them. The protocol has no such field: only a server of ours tells, and spares a request for each of the rest.
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "x-nunatak-parents")]
    pub(crate) parents: Option<BTreeSet<Vec<String>>>,
}

/// A page of the names of tables or views.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct NameList {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) next_page_token: Option<String>,
    #[serde(default)]
    pub(crate) identifiers: Vec<Identifier>,
}

/// A request to S3 that is to be signed by whoever has the keys.
#[derive(Deserialize, Serialize)]
pub(crate) struct SignRequest {
    #[serde(default)]
    pub(crate) region: Option<String>,
    pub(crate) method: String,
    pub(crate) uri: String,
    #[serde(default)]
    pub(crate) headers: HashMap<String, Vec<String>>,
    /// What is sent, where the signer has to see it: the names of the objects to delete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) body: Option<String>,
}

/// The same, signed: this address with these headers.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct SignedRequest {
    pub(crate) uri: String,
    pub(crate) headers: HashMap<String, Vec<String>>,
}
