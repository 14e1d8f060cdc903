//! Catalog back ends: who knows which tables there are and where each one's current metadata lies.

pub mod hadoop;
pub mod hive;
pub mod metadata_file;
mod names;
mod purge;
pub mod rest;
pub mod sql;
pub mod update;
pub mod view_file;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use nunatak_core::{Error, Result};

use crate::commit::CommitError;
use crate::spec::{TableMetadata, TableRequirement, TableUpdate, ViewMetadata};
use crate::table::{Table, TableName, View};

pub use purge::is_lost;

/// How much metadata of tables a catalog keeps parsed, in bytes.
const METADATA_CACHE_BYTES_MAX: u64 = 128 * 1024 * 1024;

/// A namespace (schema) with its properties.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespace {
    /// Its name; levels are joined by `.`.
    pub name: String,
    /// Its properties, such as `location` or `comment`.
    pub properties: BTreeMap<String, String>,
}

/// The metadata file of a view, with its texts in all dialects.
#[derive(Clone, Debug)]
pub struct ViewFile {
    /// What is in it.
    pub metadata: ViewMetadata,
    /// Where it lies.
    pub location: String,
}

/// A change of one table among several that are made at once.
#[derive(Clone, Debug)]
pub struct TableChange {
    /// The table as it is changed.
    pub base: Table,
    /// What must hold of it.
    pub requirements: Vec<TableRequirement>,
    /// The change.
    pub updates: Vec<TableUpdate>,
}

/// One catalog. Names are matched exactly; folding to lower case is the engine's work.
#[async_trait]
pub trait Catalog: Debug + Send + Sync {
    /// The name under which SQL knows this catalog.
    fn name(&self) -> &str;

    /// Forgets the metadata that it has read. Nobody needs that to see what others have done: each statement asks where a table's metadata is now.
    fn clear(&self);

    /// All namespaces, sorted by name.
    async fn namespaces(&self) -> Result<Vec<Namespace>>;

    /// The names of all namespaces, sorted. Cheaper than [`Catalog::namespaces`] where properties are asked for one by one.
    async fn namespace_names(&self) -> Result<Vec<String>> {
        Ok(self.namespaces().await?.into_iter().map(|namespace| namespace.name).collect())
    }

    /// A namespace; `None` when there is no such one. Looks at no other one.
    async fn namespace(&self, name: &str) -> Result<Option<Namespace>>;

    /// Makes a namespace. Errors: `SCHEMA_ALREADY_EXISTS`.
    async fn create_namespace(&self, name: &str, properties: BTreeMap<String, String>) -> Result<()>;

    /// Removes properties of a namespace and sets others; those that it does not name stay. Errors: `SCHEMA_NOT_FOUND`, `NOT_SUPPORTED`.
    async fn set_namespace_properties(&self, name: &str, _removals: &[String], _updates: &BTreeMap<String, String>) -> Result<()> {
        Err(Error::not_supported(format!("the properties of schema '{name}' of catalog '{}' cannot be changed", self.name())))
    }

    /// Drops an empty namespace. Errors: `SCHEMA_NOT_FOUND`, `SCHEMA_NOT_EMPTY`.
    async fn drop_namespace(&self, name: &str) -> Result<()>;

    /// The names of the tables in a namespace, sorted. Errors: `SCHEMA_NOT_FOUND`.
    async fn tables(&self, namespace: &str) -> Result<Vec<String>>;

    /// The same with where the metadata of each lies, if the list tells that: then nothing has to be asked to know that a table is as it was.
    async fn table_locations(&self, namespace: &str) -> Result<Vec<(String, Option<String>)>> {
        Ok(self.tables(namespace).await?.into_iter().map(|name| (name, None)).collect())
    }

    /// The names of the views in a namespace, sorted. Errors: `SCHEMA_NOT_FOUND`.
    async fn views(&self, namespace: &str) -> Result<Vec<String>>;

    /// Loads a table at its current metadata. `None` when there is no such table (or namespace).
    async fn load_table(&self, name: &TableName) -> Result<Option<Table>>;

    /// Whether there is a table of that name, whatever its metadata is like.
    async fn has_table(&self, name: &TableName) -> Result<bool> {
        Ok(self.load_table(name).await?.is_some())
    }

    /// Whether there is a view of that name, whatever its metadata is like.
    async fn has_view(&self, name: &TableName) -> Result<bool> {
        Ok(self.load_view(name).await?.is_some())
    }

    /// A table that nobody sees yet: `metadata` is to be changed and then given to [`Catalog::create_table`]. `location` is where its files go
    /// when the user named no place: `<namespace location or warehouse/namespace>/<table>-<uuid>`, so that a table dropped and made again never
    /// meets the files of its namesake.
    async fn stage_location(&self, name: &TableName) -> Result<String>;

    /// Whether nobody else writes to the place that [`Catalog::stage_location`] gives. Others that make a table of the same name do, where its place follows from that.
    fn stages_apart(&self) -> bool {
        true
    }

    /// Whether a new table may lie at a place that its statement names, by the rules of the catalog.
    ///
    /// Errors: `NOT_SUPPORTED` where a table's place follows from its name.
    fn check_location(&self, _name: &TableName, _location: &str) -> Result<()> {
        Ok(())
    }

    /// The storage that tables of this catalog use, if they have none of their own.
    fn storage(&self) -> Arc<crate::storage::Storage>;

    /// The storage of a table that is still to be made at `location`.
    async fn staged_storage(&self, _name: &TableName, _location: &str) -> Result<Arc<crate::storage::Storage>> {
        Ok(self.storage())
    }

    /// Makes a table from whole metadata, visible at once and atomically, with whatever snapshots it has (so `CREATE TABLE AS` shows either
    /// nothing or all rows). Errors: `SCHEMA_NOT_FOUND`, `TABLE_ALREADY_EXISTS` (also when a view has the name).
    async fn create_table(&self, name: &TableName, metadata: TableMetadata) -> Result<Table>;

    /// Makes a table of metadata that lies at `metadata_location` already, with all its files. Errors: those of [`Catalog::create_table`] and of reading it.
    async fn register_table(&self, name: &TableName, metadata_location: &str) -> Result<Table>;

    /// Checks `requirements` against the table's current metadata, applies `updates`, and swaps the pointer if it still points where `base` does
    /// (compare-and-swap).
    async fn commit(&self, base: &Table, requirements: Vec<TableRequirement>, updates: Vec<TableUpdate>) -> Result<Table, CommitError>;

    /// Whether several tables can be changed at once, by [`Catalog::commit_all`].
    fn has_transactions(&self) -> bool {
        false
    }

    /// Does what [`Catalog::commit`] does with several tables, each of which is named once: all pointers are swapped, or none is.
    async fn commit_all(&self, _changes: Vec<TableChange>) -> Result<(), CommitError> {
        Err(Error::not_supported(format!("catalog '{}' cannot change several tables at once", self.name())).into())
    }

    /// The other tables that may have files where this one's are: registered at the same place, within it or around it. Their names are for messages: where
    /// several catalogs are kept in one place, they may be of another one.
    async fn neighbours(&self, table: &Table) -> Result<Vec<Table>>;

    /// Drops a table; with `purge` also its files, but for those that other tables have too. Of one whose metadata is lost nobody knows the files: they stay where the
    /// table is not its folder. Errors: `TABLE_NOT_FOUND`.
    async fn drop_table(&self, name: &TableName, purge: bool) -> Result<()>;

    /// Renames a table, also into another namespace. Errors: `TABLE_NOT_FOUND`, `SCHEMA_NOT_FOUND`, `TABLE_ALREADY_EXISTS`.
    async fn rename_table(&self, from: &TableName, to: &TableName) -> Result<()>;

    /// Loads a view. `None` when there is no such view.
    async fn load_view(&self, name: &TableName) -> Result<Option<View>>;

    /// Makes a view, or a new version of it when `replace`. `columns` is the Iceberg schema of its result. Errors: `SCHEMA_NOT_FOUND`,
    /// `TABLE_ALREADY_EXISTS` (when a table has the name, or a view has it and `replace` is false).
    async fn create_view(&self, view: &View, columns: crate::spec::Schema, replace: bool) -> Result<()>;

    /// Drops a view. Errors: `TABLE_NOT_FOUND`.
    async fn drop_view(&self, name: &TableName) -> Result<()>;

    /// Renames a view, also into another namespace. Errors: as those of [`Catalog::rename_table`].
    async fn rename_view(&self, from: &TableName, to: &TableName) -> Result<()>;

    /// Whether views are metadata files that are read and written as a whole, so that they can have texts in the dialects of other engines; then the methods that
    /// follow are there.
    ///
    /// Errors: those of asking a server.
    async fn has_view_files(&self) -> Result<bool> {
        Ok(false)
    }

    /// Loads the metadata of a view. `None` when there is no such view.
    async fn load_view_file(&self, name: &TableName) -> Result<Option<ViewFile>> {
        Err(no_view_files(self.name(), name))
    }

    /// Makes a view of whole metadata. Errors: `SCHEMA_NOT_FOUND`, `TABLE_ALREADY_EXISTS`.
    async fn create_view_file(&self, name: &TableName, _metadata: ViewMetadata) -> Result<ViewFile> {
        Err(no_view_files(self.name(), name))
    }

    /// Makes a view of metadata that lies at `metadata_location` already. Errors: those of [`Catalog::create_view_file`] and of reading it.
    async fn register_view_file(&self, name: &TableName, _metadata_location: &str) -> Result<ViewFile> {
        Err(no_view_files(self.name(), name))
    }

    /// Puts other metadata in the place of a view's, if it is still `base` (compare-and-swap).
    async fn replace_view_file(&self, name: &TableName, _base: &ViewFile, _metadata: ViewMetadata) -> Result<ViewFile, CommitError> {
        Err(no_view_files(self.name(), name).into())
    }
}

fn no_view_files(catalog: &str, name: &TableName) -> Error {
    Error::not_supported(format!("view '{name}' cannot be read or written as a whole in catalog '{catalog}'"))
}

/// About what a table's metadata takes in the memory of a cache: most of it is snapshots with their summaries, then columns.
fn metadata_weight(location: &str, metadata: &TableMetadata) -> u32 {
    const FIXED: usize = 4_096;
    const SNAPSHOT: usize = 2_048;
    const COLUMN: usize = 512;
    const LOG_ENTRY: usize = 256;
    let columns: usize = metadata.schemas_iter().map(|schema| schema.field_id_to_name_map().len()).sum();
    let log = metadata.metadata_log().len() + metadata.history().len();
    let bytes = FIXED + location.len() + metadata.snapshots().len() * SNAPSHOT + columns * COLUMN + log * LOG_ENTRY;
    u32::try_from(bytes).unwrap_or(u32::MAX)
}
