//! A catalog in a Hive Metastore, shared with Iceberg's `HiveCatalog`, Trino and Hive: a schema is a database, and a table an entry that says where its metadata lies.
//!
//! Owns the order of things and what answers mean. Nothing is asked when it is opened: a metastore that is down fails the statements that need it, until it is up. Names are in
//! lower case, whatever they are asked for in: the metastore has no others.

mod client;
mod connection;
mod descriptor;
mod entry;
mod lock;
mod metastore;
mod method;
mod options;
mod sasl;
mod socket;
mod swap;
mod tables;
mod tickets;
mod unusable;
mod value;
mod views;
mod waiting;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::{self, StreamExt, TryStreamExt};
use moka::future::Cache;
use nunatak_core::{Code, Error, Result};
use uuid::Uuid;

use self::client::Fault;
use self::entry::{Entry, Kind};
use self::metastore::{Metastore, OF_FIELDS};
use self::method::ExceptionKind;
use self::options::Options;
use super::names::{
    check_part, folder_name, namespace_exists, namespace_not_empty, namespace_not_found, table_exists, table_not_found, view_not_found,
};
use super::{Catalog, METADATA_CACHE_BYTES_MAX, Namespace, ViewFile, metadata_file, metadata_weight, purge, view_file};
use crate::commit::attempts::LOOKS_AFTER;
use crate::commit::{self, CommitError};
use crate::spec::{Schema, TableMetadata, TableRequirement, TableUpdate, ViewMetadata};
use crate::storage::{Location, Storage, StorageProperties, Storages};
use crate::table::{Table, TableName, View};

/// The namespace property that says where its tables lie.
const LOCATION: &str = "location";
/// For how long it is remembered that a table is changed here.
const TURNS_KEPT: Duration = Duration::from_secs(600);

/// What a [`HiveCatalog`] is made of.
#[derive(Clone)]
pub struct HiveCatalogOptions {
    /// The catalog's name in SQL.
    pub name: String,
    /// Where the metastore is: `thrift://host:9083`, or several with commas between them, of which any one will do.
    pub uri: String,
    /// Where schemas lie for which no place is named: an absolute path or URL that the metastore can reach too, since it makes their folders.
    pub warehouse: String,
    /// Properties of the metastore (`hive.*`), and those of storage.
    pub properties: BTreeMap<String, String>,
    /// The storages of the process.
    pub storages: Arc<Storages>,
}

/// A catalog in a Hive Metastore.
pub struct HiveCatalog {
    name: String,
    warehouse: String,
    storage: Arc<Storage>,
    metastore: Arc<Metastore>,
    /// By the file's location, so that it is never out of date.
    metadata: Cache<String, Arc<TableMetadata>>,
    /// Writers of this process take turns, so that they do not all wait for the metastore's lock.
    turns: Cache<TableName, Arc<tokio::sync::Mutex<()>>>,
}

impl fmt::Debug for HiveCatalog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HiveCatalog").field("name", &self.name).field("warehouse", &self.warehouse).finish_non_exhaustive()
    }
}

impl HiveCatalog {
    /// Opens a catalog. The metastore is connected to when something is first asked of it.
    ///
    /// Errors: `CONFIGURATION_INVALID`, `NOT_SUPPORTED` for a warehouse of which no store is known.
    pub fn open(options: HiveCatalogOptions) -> Result<Self> {
        let HiveCatalogOptions { name, uri, warehouse, properties, storages } = options;
        let options = Options::new(&uri, &properties)?;
        let of_storage = properties.into_iter().filter(|(name, _)| StorageProperties::is_known(name)).collect();
        let storage = storages.of_catalog(&name, &StorageProperties::of_known(of_storage));
        let warehouse = warehouse.trim_end_matches('/').to_owned();
        storage.resolve(&warehouse)?;
        let metadata = Cache::builder()
            .max_capacity(METADATA_CACHE_BYTES_MAX)
            .weigher(|location: &String, metadata: &Arc<TableMetadata>| metadata_weight(location, metadata))
            .build();
        let turns = Cache::builder().time_to_idle(TURNS_KEPT).build();
        let metastore = Arc::new(Metastore::new(&name, options));
        Ok(Self { name, warehouse, storage, metastore, metadata, turns })
    }

    /// The namespace.
    ///
    /// Errors: `SCHEMA_NOT_FOUND`.
    async fn require_namespace(&self, name: &str) -> Result<Namespace> {
        self.metastore.database(name).await?.ok_or_else(|| namespace_not_found(name))
    }

    /// Looks, after a lost answer, whether a database is there, or is not there if that is what is `expected`.
    async fn has_database(&self, name: &str, expected: bool) -> bool {
        for wait in LOOKS_AFTER {
            tokio::time::sleep(wait).await;
            if self.metastore.database(name).await.is_ok_and(|found| found.is_some() == expected) {
                return true;
            }
        }
        false
    }

    async fn names(&self, namespace: &str, kind: Kind) -> Result<Vec<String>> {
        let namespace = namespace.to_lowercase();
        let names = self.metastore.names(&namespace, kind).await?;
        if names.is_empty() {
            // The metastore does not tell an empty one from none.
            self.require_namespace(&namespace).await?;
        }
        Ok(names)
    }

    /// The entry of Iceberg's table or view of a name, with where its metadata lies; `None` if there is none of that kind.
    ///
    /// Errors: `UNSUPPORTED_TABLE_TYPE` if it is not Iceberg's.
    async fn find(&self, name: &TableName, kind: Kind) -> Result<Option<(Entry, String)>> {
        let Some(entry) = self.metastore.entry(name).await? else { return Ok(None) };
        match entry.kind() {
            Some(found) if found == kind => {}
            None if entry.is_view() == (kind == Kind::View) => return Err(self.not_iceberg(name, &entry)),
            _ => return Ok(None),
        }
        let location = entry
            .metadata_location()
            .ok_or_else(|| Error::new(Code::IcebergInvalidMetadata, format!("catalog '{}' has no metadata location for '{name}'", self.name)))?;
        Ok(Some((entry, location)))
    }

    /// Whether there is an entry of that kind, whatever its metadata is like.
    ///
    /// Errors: `UNSUPPORTED_TABLE_TYPE` if it is not Iceberg's.
    async fn has(&self, name: &TableName, kind: Kind) -> Result<bool> {
        let Some(entry) = self.metastore.entry(name).await? else { return Ok(false) };
        match entry.kind() {
            None if entry.is_view() == (kind == Kind::View) => Err(self.not_iceberg(name, &entry)),
            found => Ok(found == Some(kind)),
        }
    }

    fn not_iceberg(&self, name: &TableName, entry: &Entry) -> Error {
        let what = if entry.is_view() { "view" } else { "table" };
        let hive_type = entry.hive_type();
        Error::new(Code::UnsupportedTableType, format!("'{name}' of catalog '{}' is a {what} of Hive ({hive_type}), not one of Iceberg", self.name))
            .with_hint("only Iceberg tables and views are read and changed here")
    }

    async fn require_free(&self, name: &TableName) -> Result<()> {
        match self.metastore.entry(name).await? {
            Some(_) => Err(table_exists(name)),
            None => Ok(()),
        }
    }

    async fn table_at(&self, name: &TableName, location: String) -> Result<Table> {
        let metadata = match self.metadata.get(&location).await {
            Some(metadata) => metadata,
            None => {
                let metadata = Arc::new(metadata_file::load(&self.storage, name, &location).await?);
                self.metadata.insert(location.clone(), Arc::clone(&metadata)).await;
                metadata
            }
        };
        Ok(Table::new(name.clone(), metadata, Some(location), Arc::clone(&self.storage)))
    }

    /// The metadata locations of other tables and views by name that may have files where one is that lies in these folders.
    async fn near(&self, name: &TableName, folders: &[Location]) -> Result<Vec<(TableName, Kind, String)>> {
        let path = |folder: &Location| folder.to_string().strip_prefix(&folder.store()).unwrap_or_default().to_owned();
        let paths: Vec<String> = folders.iter().map(path).collect();
        let databases = self.metastore.databases().await?;
        let asked: Vec<_> = databases.into_iter().map(|database| self.near_in(database, &paths)).collect();
        let found: Vec<Vec<_>> = stream::iter(asked).buffered(self.metastore.options().connections_max).try_collect().await?;
        Ok(found.into_iter().flatten().filter(|(other, ..)| other != name).collect())
    }

    async fn near_in(&self, database: String, paths: &[String]) -> Result<Vec<(TableName, Kind, String)>> {
        let entries = self.metastore.entries_near(&database, paths).await?;
        let placed =
            entries.iter().filter_map(|entry| Some((TableName::new(database.as_str(), entry.name()), entry.kind()?, entry.metadata_location()?)));
        Ok(placed.collect())
    }

    /// Deletes a metadata file that no entry points to.
    async fn discard(&self, name: &TableName, location: &str) {
        if let Err(error) = self.storage.delete_files(&[location.to_owned()]).await {
            tracing::warn!(%error, table = %name, "a metadata file without a table was left behind");
        }
    }
}

#[async_trait]
impl Catalog for HiveCatalog {
    fn name(&self) -> &str {
        &self.name
    }

    fn clear(&self) {
        self.metadata.invalidate_all();
    }

    async fn namespaces(&self) -> Result<Vec<Namespace>> {
        let names = self.metastore.databases().await?;
        let asked: Vec<_> = names.iter().map(|name| self.metastore.database(name)).collect();
        let found: Vec<Option<Namespace>> = stream::iter(asked).buffered(self.metastore.options().connections_max).try_collect().await?;
        Ok(found.into_iter().flatten().collect())
    }

    async fn namespace_names(&self) -> Result<Vec<String>> {
        let mut names = self.metastore.databases().await?;
        names.sort();
        Ok(names)
    }

    async fn namespace(&self, name: &str) -> Result<Option<Namespace>> {
        self.metastore.database(&name.to_lowercase()).await
    }

    async fn create_namespace(&self, name: &str, mut properties: BTreeMap<String, String>) -> Result<()> {
        let name = name.to_lowercase();
        if name.contains('.') {
            return Err(Error::not_supported(format!("schema '{name}' cannot be made: a metastore has no schemas within schemas")));
        }
        check_name(&name, "schema")?;
        let location = properties.entry(LOCATION.to_owned()).or_insert_with(|| format!("{}/{}.db", self.warehouse, folder_name(&name)));
        self.storage.resolve(location)?;
        // One that is there after an answer was lost is the new one, if there was none before.
        if self.metastore.database(&name).await?.is_some() {
            return Err(namespace_exists(&name));
        }
        match self.metastore.create_database(&name, properties).await {
            Ok(()) => Ok(()),
            Err(fault) if fault.is(ExceptionKind::AlreadyExists) => Err(namespace_exists(&name)),
            Err(fault) if fault.is(ExceptionKind::InvalidObject) => Err(name_refused(&name, fault)),
            Err(Fault::Lost(error)) => match self.has_database(&name, true).await {
                true => Ok(()),
                false => Err(unknown(&format!("schema '{name}' was made"), error)),
            },
            Err(fault) => Err(fault.into_error()),
        }
    }

    async fn set_namespace_properties(&self, name: &str, removals: &[String], updates: &BTreeMap<String, String>) -> Result<()> {
        let name = name.to_lowercase();
        if let Some(kept) = removals.iter().find(|removed| OF_FIELDS.contains(&removed.as_str())) {
            return Err(Error::not_supported(format!("property '{kept}' of schema '{name}' cannot be removed: a metastore has none without it"))
                .with_hint("set it to another value"));
        }
        if let Some(location) = updates.get(LOCATION) {
            self.storage.resolve(location)?;
        }
        match self.metastore.change_database(&name, removals, updates).await? {
            true => Ok(()),
            false => Err(namespace_not_found(&name)),
        }
    }

    async fn drop_namespace(&self, name: &str) -> Result<()> {
        let name = name.to_lowercase();
        // Version 3 stumbles over one that is not there.
        self.require_namespace(&name).await?;
        match self.metastore.drop_database(&name).await {
            Ok(()) => Ok(()),
            Err(fault) if fault.is(ExceptionKind::NoSuchObject) => Err(namespace_not_found(&name)),
            Err(fault) if fault.is(ExceptionKind::InvalidOperation) => Err(namespace_not_empty(&name).with_source(fault.into_error())),
            Err(Fault::Lost(error)) => match self.has_database(&name, false).await {
                true => Ok(()),
                false => Err(unknown(&format!("schema '{name}' was dropped"), error)),
            },
            Err(fault) => Err(fault.into_error()),
        }
    }

    async fn tables(&self, namespace: &str) -> Result<Vec<String>> {
        self.names(namespace, Kind::Table).await
    }

    async fn views(&self, namespace: &str) -> Result<Vec<String>> {
        self.names(namespace, Kind::View).await
    }

    async fn load_table(&self, name: &TableName) -> Result<Option<Table>> {
        let name = lower(name);
        match self.find(&name, Kind::Table).await? {
            Some((_, location)) => self.table_at(&name, location).await.map(Some),
            None => Ok(None),
        }
    }

    async fn has_table(&self, name: &TableName) -> Result<bool> {
        self.has(&lower(name), Kind::Table).await
    }

    async fn has_view(&self, name: &TableName) -> Result<bool> {
        self.has(&lower(name), Kind::View).await
    }

    async fn stage_location(&self, name: &TableName) -> Result<String> {
        let name = lower(name);
        let namespace = self.require_namespace(&name.namespace).await?;
        let folder = match namespace.properties.get(LOCATION) {
            Some(location) => location.trim_end_matches('/').to_owned(),
            None => format!("{}/{}.db", self.warehouse, folder_name(&name.namespace)),
        };
        Ok(format!("{folder}/{}-{}", folder_name(&name.table), Uuid::new_v4().simple()))
    }

    fn storage(&self) -> Arc<Storage> {
        Arc::clone(&self.storage)
    }

    async fn create_table(&self, name: &TableName, metadata: TableMetadata) -> Result<Table> {
        self.make_table(&lower(name), metadata).await
    }

    async fn register_table(&self, name: &TableName, metadata_location: &str) -> Result<Table> {
        let name = lower(name);
        let table = self.table_at(&name, metadata_location.to_owned()).await?;
        check_name(&name.table, "table")?;
        self.require_free(&name).await?;
        // The file is not ours: it stays whatever happens.
        self.insert_table(&table, metadata_location).await?;
        Ok(table)
    }

    async fn commit(&self, base: &Table, requirements: Vec<TableRequirement>, updates: Vec<TableUpdate>) -> Result<Table, CommitError> {
        self.change(base, requirements, updates).await
    }

    async fn neighbours(&self, table: &Table) -> Result<Vec<Table>> {
        let folders = [table.metadata.location().to_owned(), metadata_file::metadata_folder(&table.metadata)];
        let folders = folders.iter().map(|folder| Location::parse(folder)).collect::<Result<Vec<_>>>()?;
        let mut neighbours = Vec::new();
        for (name, kind, location) in self.near(&table.name, &folders).await? {
            let overlaps = Location::parse(&location).is_ok_and(|file| folders.iter().any(|folder| purge::overlap(folder, &file)));
            if kind == Kind::Table && overlaps {
                neighbours.push(self.table_at(&name, location).await?);
            }
        }
        Ok(neighbours)
    }

    async fn drop_table(&self, name: &TableName, purge: bool) -> Result<()> {
        let name = lower(name);
        let (_, location) = self.find(&name, Kind::Table).await?.ok_or_else(|| table_not_found(&name))?;
        // Before the entry is gone. A table whose metadata is lost must still be droppable.
        let table = match purge {
            true => purge::to_purge(&name, self.to_purge(&name, location.clone()).await)?,
            false => None,
        };
        self.remove(&name, table_not_found(&name)).await?;
        self.metadata.invalidate(&location).await;
        if let Some((table, others)) = table {
            purge::purge(self, &table, &self.warehouse, &others).await;
        }
        Ok(())
    }

    async fn rename_table(&self, from: &TableName, to: &TableName) -> Result<()> {
        self.rename(&lower(from), &lower(to), Kind::Table).await
    }

    async fn load_view(&self, name: &TableName) -> Result<Option<View>> {
        let name = lower(name);
        let found = self.find_view(&name).await?;
        found.map(|file| view_file::view(&name, &self.name, &file.metadata)).transpose()
    }

    async fn create_view(&self, view: &View, columns: Schema, replace: bool) -> Result<()> {
        self.make_view(View { name: lower(&view.name), ..view.clone() }, columns, replace).await
    }

    async fn drop_view(&self, name: &TableName) -> Result<()> {
        self.remove_view(&lower(name)).await
    }

    async fn rename_view(&self, from: &TableName, to: &TableName) -> Result<()> {
        self.rename(&lower(from), &lower(to), Kind::View).await
    }

    async fn has_view_files(&self) -> Result<bool> {
        Ok(true)
    }

    async fn load_view_file(&self, name: &TableName) -> Result<Option<ViewFile>> {
        self.find_view(&lower(name)).await
    }

    async fn create_view_file(&self, name: &TableName, metadata: ViewMetadata) -> Result<ViewFile> {
        self.write_view(&lower(name), metadata).await
    }

    async fn register_view_file(&self, name: &TableName, metadata_location: &str) -> Result<ViewFile> {
        self.register_view(&lower(name), metadata_location).await
    }

    async fn replace_view_file(&self, name: &TableName, base: &ViewFile, metadata: ViewMetadata) -> Result<ViewFile, CommitError> {
        self.swap_view(&lower(name), base, metadata).await
    }
}

/// A name as the metastore has it.
fn lower(name: &TableName) -> TableName {
    TableName::new(name.namespace.to_lowercase(), name.table.to_lowercase())
}

/// That a name is one under which the metastore finds a thing again: it takes off spaces at the ends, and takes dots for what stands between the names of catalog, schema
/// and table.
fn check_name(name: &str, what: &str) -> Result<()> {
    check_part(name, what)?;
    if name.trim() != name {
        return Err(Error::not_supported(format!("'{name}' cannot be the name of a {what}: a metastore takes off spaces at its ends"))
            .with_hint(format!("leave them out: '{}'", name.trim())));
    }
    let parts: Vec<&str> = name.split('.').collect();
    if parts.len() > 2 || parts.contains(&"") {
        return Err(Error::not_supported(format!(
            "'{name}' cannot be the name of a {what}: a metastore takes its dots for those between the parts of a name"
        ))
        .with_hint("use letters from a to z, digits and _"));
    }
    Ok(())
}

/// The error of a kind of entry that is not there.
fn not_found(name: &TableName, kind: Kind) -> Error {
    match kind {
        Kind::Table => table_not_found(name),
        Kind::View => view_not_found(name),
    }
}

/// The error for a name that the metastore does not take.
fn name_refused(name: &str, fault: Fault) -> Error {
    Error::not_supported(format!("the metastore does not take '{name}' as a name"))
        .with_hint("use letters from a to z, digits and _")
        .with_source(fault.into_error())
}

/// The error for an answer that leaves it open whether something was made.
fn unknown(what: &str, error: Error) -> Error {
    commit::unknown(what, error).with_hint("look for it before running the statement again")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_a_metastore_finds_again() {
        for name in ["t", "do.t", "a b", "semi;x", "$x"] {
            assert!(check_name(name, "table").is_ok(), "{name}");
        }
        for name in [" lead", "tail ", "tab\t", ".", "..", "trail.", ".lead", "a.b.c"] {
            assert_eq!(check_name(name, "table").unwrap_err().code(), Code::NotSupported, "{name}");
        }
        assert_eq!(check_name("", "table").unwrap_err().code(), Code::InvalidArguments);
    }
}
