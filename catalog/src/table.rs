//! A table or view as its catalog gave it: a name, its metadata, and the storage its files lie in.

use std::fmt;
use std::sync::Arc;

use crate::spec::TableMetadata;
use crate::storage::Storage;

/// The name of a table or view within one catalog.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TableName {
    /// The namespace (schema); levels are joined by `.`, as in Java's `JdbcCatalog`.
    pub namespace: String,
    /// The table's own name.
    pub table: String,
}

impl TableName {
    /// A name from its two parts.
    pub fn new(namespace: impl Into<String>, table: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), table: table.into() }
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.namespace, self.table)
    }
}

/// A table at one version of its metadata. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Table {
    /// Its name in the catalog.
    pub name: TableName,
    /// Its metadata at that version.
    pub metadata: Arc<TableMetadata>,
    /// Where that metadata lies; `None` for a table that is staged and not yet created.
    pub metadata_location: Option<String>,
    /// Where its files lie.
    pub storage: Arc<Storage>,
}

impl Table {
    /// Whether its files may be deleted with it or when no snapshot needs them: not if they belong to someone else, which the property `gc.enabled` says.
    pub(crate) fn owns_its_files(&self) -> bool {
        !self.metadata.properties().get("gc.enabled").is_some_and(|value| value.eq_ignore_ascii_case("false"))
    }
}

/// A view: its text and the names it was made under.
#[derive(Clone, Debug)]
pub struct View {
    /// Its name in the catalog.
    pub name: TableName,
    /// Its text, a query in the Trino dialect.
    pub sql: String,
    /// The catalog against which names in the text without one are resolved.
    pub default_catalog: String,
    /// The schema against which names in the text without one are resolved.
    pub default_schema: String,
    /// What `COMMENT ON VIEW` said.
    pub comment: Option<String>,
}
