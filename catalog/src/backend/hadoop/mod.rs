//! A catalog that is nothing but folders: a schema is a folder of the warehouse, a table a folder of its schema, and its current metadata the file with the highest
//! version, as in Java's `HadoopCatalog`.
//!
//! A commit makes the file of the next version, which succeeds for one of all writers that try: by a hard link on local files, by a rename onto no other file on HDFS (as
//! Java does it), by a conditional put on S3. There are no views, and a table keeps its name, since that is its place.

mod known_tables;
mod overtaken;
mod versions;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use futures::stream::{self, StreamExt, TryStreamExt};
use moka::future::Cache;
use nunatak_core::{Code, Error, Result, Retry};

use self::known_tables::KnownTables;
use self::versions::VersionFile;
use super::names::{check_part, namespace_exists, namespace_not_empty, namespace_not_found, table_exists, table_not_found, view_not_found};
use super::{Catalog, METADATA_CACHE_BYTES_MAX, Namespace, metadata_file, metadata_weight, purge, update};
use crate::commit::{CommitError, unknown};
use crate::properties::METADATA_PATH;
use crate::spec::{Schema, TableMetadata, TableRequirement, TableUpdate};
use crate::storage::{Created, FolderContent, Location, Storage};
use crate::table::{Table, TableName, View};

/// Holds the properties of a schema, and keeps the folder of an empty one where folders are nothing but the files in them. Java knows no properties, and passes it over.
const NAMESPACE_FILE: &str = ".namespace.json";
/// How many folders are looked into at once.
const LOOKS_MAX: usize = 64;

/// What a [`HadoopCatalog`] is made of.
#[derive(Clone, Debug)]
pub struct HadoopCatalogOptions {
    /// The catalog's name in SQL.
    pub name: String,
    /// The folder of all schemas: an absolute path or URL.
    pub warehouse: String,
    /// The storage of all tables.
    pub storage: Arc<Storage>,
}

/// A catalog of folders.
pub struct HadoopCatalog {
    name: String,
    warehouse: String,
    storage: Arc<Storage>,
    /// By location and tag: a table that is dropped and made again has files of the same names.
    metadata: Cache<String, Arc<TableMetadata>>,
    known_tables: KnownTables,
}

impl fmt::Debug for HadoopCatalog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HadoopCatalog").field("name", &self.name).field("warehouse", &self.warehouse).finish_non_exhaustive()
    }
}

impl HadoopCatalog {
    /// Opens a catalog. The warehouse may be missing: it is made with the first schema.
    ///
    /// Errors: `NOT_SUPPORTED` for a location of which no store is known.
    pub fn open(options: HadoopCatalogOptions) -> Result<Self> {
        let warehouse = options.warehouse.trim_end_matches('/').to_owned();
        options.storage.resolve(&warehouse)?;
        let metadata = Cache::builder()
            .max_capacity(METADATA_CACHE_BYTES_MAX)
            .weigher(|location: &String, metadata: &Arc<TableMetadata>| metadata_weight(location, metadata))
            .build();
        Ok(Self { name: options.name, warehouse, storage: options.storage, metadata, known_tables: KnownTables::default() })
    }

    fn namespace_folder(&self, namespace: &str) -> String {
        format!("{}/{}", self.warehouse, namespace.replace('.', "/"))
    }

    fn table_folder(&self, name: &TableName) -> String {
        format!("{}/{}", self.namespace_folder(&name.namespace), name.table)
    }

    /// What lies in the folder of a schema. Errors: `SCHEMA_NOT_FOUND`.
    async fn schema_content(&self, namespace: &str) -> Result<FolderContent> {
        let folder = self.namespace_folder(namespace);
        match self.listed(&folder).await? {
            Some(content) if !self.is_table_now(&folder).await? => Ok(content),
            _ => Err(namespace_not_found(namespace)),
        }
    }

    /// That a schema is there. Errors: `SCHEMA_NOT_FOUND`.
    async fn check_schema(&self, namespace: &str) -> Result<()> {
        let folder = self.namespace_folder(namespace);
        match self.storage.is_folder(&folder).await? && !self.is_table_now(&folder).await? {
            true => Ok(()),
            false => Err(namespace_not_found(namespace)),
        }
    }

    /// What lies in a folder. Tables that it has no more are forgotten.
    async fn listed(&self, folder: &str) -> Result<Option<FolderContent>> {
        let content = self.storage.list_folder(folder).await?;
        self.known_tables.keep(folder, content.as_ref().map(|content| content.folders.as_slice()).unwrap_or_default());
        Ok(content)
    }

    async fn is_table(&self, folder: &str) -> Result<bool> {
        Ok(self.known_tables.has(folder) || self.is_table_now(folder).await?)
    }

    /// The same, whatever is known of the folder: others may have made a schema of it.
    async fn is_table_now(&self, folder: &str) -> Result<bool> {
        let is_table = versions::is_table(&self.storage, folder).await?;
        match is_table {
            true => self.known_tables.add(folder),
            false => self.known_tables.forget(folder),
        }
        Ok(is_table)
    }

    /// Which of these folders are tables, in their order; `None` of those that we may not look into.
    async fn are_tables(&self, folders: &[String]) -> Result<Vec<Option<bool>>> {
        let looks: Vec<_> = folders.iter().map(|folder| async { if_allowed(self.is_table(folder).await) }).collect();
        stream::iter(looks).buffered(LOOKS_MAX).try_collect().await
    }

    /// The names of all schemas, sorted, without those that we may not look into. One level is looked at at a time, all of its folders together.
    async fn schema_names(&self) -> Result<Vec<String>> {
        let mut names = Vec::new();
        let mut children = self.children("").await?;
        while !children.is_empty() {
            let folders: Vec<String> = children.iter().map(|name| self.namespace_folder(name)).collect();
            let are_tables = self.are_tables(&folders).await?;
            let parents: Vec<String> =
                children.into_iter().zip(are_tables).filter(|(_, is_table)| *is_table == Some(false)).map(|(name, _)| name).collect();
            let lists: Vec<_> = parents.iter().map(|parent| async { if_allowed(self.children(parent).await) }).collect();
            let lists: Vec<Option<Vec<String>>> = stream::iter(lists).buffer_unordered(LOOKS_MAX).try_collect().await?;
            children = lists.into_iter().flatten().flatten().collect();
            names.extend(parents);
        }
        names.sort();
        Ok(names)
    }

    /// The names that the folders in a schema have as schemas; `parent` is empty for those at the top.
    async fn children(&self, parent: &str) -> Result<Vec<String>> {
        let folder = if parent.is_empty() { self.warehouse.clone() } else { self.namespace_folder(parent) };
        let shown = shown(self.listed(&folder).await?.unwrap_or_default());
        // SQL has no way to name a level with a dot in it.
        let named = shown.filter(|name| !name.contains('.'));
        Ok(named.map(|name| if parent.is_empty() { name } else { format!("{parent}.{name}") }).collect())
    }

    async fn found(&self, name: String) -> Result<Namespace> {
        Ok(Namespace { properties: self.properties(&name).await?, name })
    }

    async fn properties(&self, namespace: &str) -> Result<BTreeMap<String, String>> {
        let location = format!("{}/{NAMESPACE_FILE}", self.namespace_folder(namespace));
        match self.storage.read_if_there(&location).await? {
            Some(bytes) => serde_json::from_slice(&bytes)
                .map_err(|error| Error::new(Code::IcebergInvalidMetadata, format!("'{location}' has no properties of a schema")).with_source(error)),
            None => Ok(BTreeMap::new()),
        }
    }

    async fn table_at(&self, name: &TableName, file: VersionFile) -> Result<Table> {
        let key = format!("{}#{}", file.location, file.tag);
        let metadata = match self.metadata.get(&key).await {
            Some(metadata) => metadata,
            None => {
                let metadata = Arc::new(metadata_file::load(&self.storage, name, &file.location).await?);
                self.metadata.insert(key, Arc::clone(&metadata)).await;
                metadata
            }
        };
        Ok(Table::new(name.clone(), metadata, Some(file.location), Arc::clone(&self.storage)))
    }

    /// That no other catalog has a table in a folder: dropping ours would delete it.
    async fn check_folder_is_free(&self, name: &TableName, folder: &str) -> Result<()> {
        let content = self.storage.list_folder(&versions::metadata_folder(folder)).await?.unwrap_or_default();
        match content.files.iter().find(|file| versions::is_of_other_catalog(file)) {
            Some(file) => Err(Error::new(
                Code::TableAlreadyExists,
                format!("cannot create table '{name}' of catalog '{}': '{folder}' holds a table of another catalog ('metadata/{file}')", self.name),
            )
            .with_hint("give the table or its schema another name, or the catalog a warehouse of its own")),
            None => Ok(()),
        }
    }

    /// A table is found by its metadata.
    fn check_metadata_path(&self, name: &TableName, metadata: &TableMetadata) -> Result<()> {
        match metadata.properties().contains_key(METADATA_PATH) {
            true => Err(Error::not_supported(format!("the metadata of table '{name}' of catalog '{}' cannot lie elsewhere", self.name))
                .with_hint(format!("leave out the property {METADATA_PATH}; write.data.path says where data files go"))),
            false => Ok(()),
        }
    }

    /// Makes the file of a version; whether it is the one that was made.
    async fn make_version(&self, location: &str, metadata: &TableMetadata) -> Result<bool, CommitError> {
        let bytes = metadata_file::bytes(metadata, location)?;
        match self.storage.create(location, bytes.clone()).await {
            Ok(Created::New) => Ok(true),
            // A request that is sent again after its answer was lost finds the file that it made itself.
            Ok(Created::Existed) => Ok(self.storage.read_if_there(location).await?.is_some_and(|found| found == bytes)),
            Err(error) if is_refusal(&error) => Err(CommitError::Failed(error)),
            Err(error) => match self.storage.read_if_there(location).await {
                Ok(Some(found)) => Ok(found == bytes),
                _ => Err(CommitError::Unknown(error)),
            },
        }
    }
}

/// What was found; nothing where we may not look. Who lists all folders is not to miss the others.
fn if_allowed<T>(found: Result<T>) -> Result<Option<T>> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.code() == Code::StorageAccessDenied => {
            tracing::debug!(%error, "a folder is left out of a listing");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Whether a file was surely not made: nobody lets us, or there is no room for it.
fn is_refusal(error: &Error) -> bool {
    match error.code() {
        Code::StorageAccessDenied | Code::NotSupported => true,
        Code::IcebergFilesystemError => error.retry() == Retry::Never,
        _ => false,
    }
}

#[async_trait]
impl Catalog for HadoopCatalog {
    fn name(&self) -> &str {
        &self.name
    }

    fn clear(&self) {
        self.metadata.invalidate_all();
        self.known_tables.clear();
    }

    async fn namespaces(&self) -> Result<Vec<Namespace>> {
        let reads: Vec<_> = self.schema_names().await?.into_iter().map(|name| self.found(name)).collect();
        stream::iter(reads).buffered(LOOKS_MAX).try_collect().await
    }

    async fn namespace_names(&self) -> Result<Vec<String>> {
        self.schema_names().await
    }

    async fn namespace(&self, name: &str) -> Result<Option<Namespace>> {
        let levels: Vec<&str> = name.split('.').collect();
        if levels.iter().any(|level| level.is_empty() || check_folder(level).is_err()) {
            return Ok(None);
        }
        if !self.storage.is_folder(&self.namespace_folder(name)).await? {
            return Ok(None);
        }
        // Folders within a table are no schemas.
        let around: Vec<String> = (1..=levels.len()).map(|depth| self.namespace_folder(&levels[..depth].join("."))).collect();
        let looks: Vec<_> = around.iter().map(|folder| self.is_table_now(folder)).collect();
        let are_tables: Vec<bool> = stream::iter(looks).buffered(LOOKS_MAX).try_collect().await?;
        match are_tables.contains(&true) {
            true => Ok(None),
            false => self.found(name.to_owned()).await.map(Some),
        }
    }

    async fn create_namespace(&self, name: &str, properties: BTreeMap<String, String>) -> Result<()> {
        for level in name.split('.') {
            check_part(level, "schema")?;
            check_folder(level)?;
        }
        if let Some(location) = properties.get("location").filter(|location| location.trim_end_matches('/') != self.namespace_folder(name)) {
            return Err(Error::not_supported(format!("a schema of catalog '{}' cannot lie at '{location}'", self.name))
                .with_hint("its place is the folder of its name in the warehouse; leave out the property location"));
        }
        let folder = self.namespace_folder(name);
        if self.storage.is_folder(&folder).await? {
            return Err(namespace_exists(name));
        }
        self.storage.make_folder(&folder).await?;
        if !properties.is_empty() || !self.storage.has_folders(&folder)? {
            let json = serde_json::to_vec(&properties).map_err(|error| Error::internal(error.to_string()))?;
            if self.storage.create(&format!("{folder}/{NAMESPACE_FILE}"), json.into()).await? == Created::Existed {
                return Err(namespace_exists(name));
            }
        }
        Ok(())
    }

    /// Of two that change them at once, the later one is right.
    async fn set_namespace_properties(&self, name: &str, removals: &[String], updates: &BTreeMap<String, String>) -> Result<()> {
        self.check_schema(name).await?;
        if updates.contains_key("location") {
            return Err(Error::not_supported(format!("schema '{name}' of catalog '{}' cannot lie elsewhere", self.name)));
        }
        let mut properties = self.properties(name).await?;
        properties.retain(|key, _| !removals.contains(key));
        properties.extend(updates.clone());
        let json = serde_json::to_vec(&properties).map_err(|error| Error::internal(error.to_string()))?;
        self.storage.write(&format!("{}/{NAMESPACE_FILE}", self.namespace_folder(name)), json.into()).await
    }

    async fn drop_namespace(&self, name: &str) -> Result<()> {
        let content = self.schema_content(name).await?;
        let folder = self.namespace_folder(name);
        if !content.folders.is_empty() || content.files.iter().any(|file| file != NAMESPACE_FILE) {
            return Err(namespace_not_empty(name));
        }
        self.storage.delete_files(&[format!("{folder}/{NAMESPACE_FILE}")]).await?;
        self.storage.remove_empty_folder(&folder).await
    }

    async fn tables(&self, namespace: &str) -> Result<Vec<String>> {
        let mut names: Vec<String> = shown(self.schema_content(namespace).await?).collect();
        names.sort();
        let folder = self.namespace_folder(namespace);
        let folders: Vec<String> = names.iter().map(|name| format!("{folder}/{name}")).collect();
        let are_tables = self.are_tables(&folders).await?;
        Ok(names.into_iter().zip(are_tables).filter(|(_, is_table)| *is_table == Some(true)).map(|(name, _)| name).collect())
    }

    async fn views(&self, namespace: &str) -> Result<Vec<String>> {
        self.check_schema(namespace).await?;
        Ok(Vec::new())
    }

    async fn load_table(&self, name: &TableName) -> Result<Option<Table>> {
        if check_folder(&name.table).is_err() || name.namespace.split('.').any(|level| check_folder(level).is_err()) {
            return Ok(None);
        }
        let folder = self.table_folder(name);
        match versions::current(&self.storage, &folder).await? {
            Some(file) => self.table_at(name, file).await.map(Some),
            None => {
                self.known_tables.forget(&folder);
                Ok(None)
            }
        }
    }

    /// Also one whose metadata is lost but for the hint at its version.
    async fn has_table(&self, name: &TableName) -> Result<bool> {
        if check_folder(&name.table).is_err() || name.namespace.split('.').any(|level| check_folder(level).is_err()) {
            return Ok(false);
        }
        versions::is_table(&self.storage, &self.table_folder(name)).await
    }

    async fn has_view(&self, _name: &TableName) -> Result<bool> {
        Ok(false)
    }

    async fn stage_location(&self, name: &TableName) -> Result<String> {
        // Before anything is written: other names are those of places in other tables.
        check_part(&name.table, "table")?;
        check_folder(&name.table)?;
        self.check_schema(&name.namespace).await?;
        let folder = self.table_folder(name);
        self.check_folder_is_free(name, &folder).await?;
        Ok(folder)
    }

    fn stages_apart(&self) -> bool {
        false
    }

    fn check_location(&self, name: &TableName, location: &str) -> Result<()> {
        let folder = self.table_folder(name);
        match location.trim_end_matches('/') == folder {
            true => Ok(()),
            false => Err(Error::not_supported(format!("table '{name}' of catalog '{}' cannot lie at '{location}'", self.name))
                .with_hint(format!("its place is '{folder}'; leave out the property location"))),
        }
    }

    fn storage(&self) -> Arc<Storage> {
        Arc::clone(&self.storage)
    }

    async fn create_table(&self, name: &TableName, metadata: TableMetadata) -> Result<Table> {
        check_part(&name.table, "table")?;
        check_folder(&name.table)?;
        self.check_schema(&name.namespace).await?;
        self.check_location(name, metadata.location())?;
        let folder = self.table_folder(name);
        self.check_metadata_path(name, &metadata)?;
        if versions::current(&self.storage, &folder).await?.is_some() {
            return Err(table_exists(name));
        }
        self.check_folder_is_free(name, &folder).await?;
        let location = versions::location_of(&folder, 1, metadata_file::is_packed(&metadata)?);
        let made = match self.make_version(&location, &metadata).await {
            Ok(true) => overtaken::publish(&self.storage, name, &folder, 1, &location, &metadata).await,
            Ok(false) => return Err(table_exists(name)),
            Err(error) => Err(error),
        };
        match made {
            Ok(()) => {}
            Err(CommitError::Conflict(_)) => return Err(table_exists(name)),
            Err(CommitError::Unknown(error)) => {
                return Err(unknown(&format!("table '{name}' was made"), error).with_hint("look for it before running the statement again"));
            }
            Err(error) => return Err(error.into_error()),
        }
        Ok(Table::new(name.clone(), Arc::new(metadata), Some(location), Arc::clone(&self.storage)))
    }

    async fn register_table(&self, name: &TableName, _metadata_location: &str) -> Result<Table> {
        Err(Error::not_supported(format!("catalog '{}' cannot register table '{name}'", self.name))
            .with_hint("a table of a Hadoop catalog is known by its place: move its folder into that of its schema"))
    }

    async fn commit(&self, base: &Table, requirements: Vec<TableRequirement>, updates: Vec<TableUpdate>) -> Result<Table, CommitError> {
        let name = &base.name;
        let folder = self.table_folder(name);
        let current = versions::current(&self.storage, &folder).await?.ok_or_else(|| table_not_found(name))?;
        // The next version of an older one may be there no more, and would be made a second time.
        if base.metadata_location.as_ref() != Some(&current.location) {
            return Err(CommitError::Conflict(update::conflict(name)));
        }
        update::check(name, &requirements, &base.metadata)?;
        let metadata = (*base.metadata).clone();
        let built = update::apply(name, metadata, Some(&current.location), updates).map_err(CommitError::Failed)?;
        if built.metadata.location() != base.metadata.location() {
            return Err(CommitError::Failed(Error::not_supported(format!("table '{name}' of catalog '{}' cannot be moved", self.name))));
        }
        let metadata_path = |metadata: &TableMetadata| metadata.properties().get(METADATA_PATH).cloned();
        if metadata_path(&built.metadata) != metadata_path(&base.metadata) {
            self.check_metadata_path(name, &built.metadata).map_err(CommitError::Failed)?;
        }
        // By the table as it was: of two writers with the same base both have to make the same file, also where this corrects the property.
        let location = versions::location_of(&folder, current.version + 1, metadata_file::is_packed(&base.metadata).unwrap_or(false));
        if !self.make_version(&location, &built.metadata).await? {
            return Err(CommitError::Conflict(update::conflict(name)));
        }
        overtaken::publish(&self.storage, name, &folder, current.version + 1, &location, &built.metadata).await?;
        let table = Table { metadata: Arc::new(built.metadata), metadata_location: Some(location), ..base.clone() };
        metadata_file::delete_expired(self, &table, &built.expired_metadata_logs).await;
        Ok(table)
    }

    /// A table is its folder, and none lies within another one. Another place may lie in one.
    async fn neighbours(&self, table: &Table) -> Result<Vec<Table>> {
        let (place, warehouse) = (Location::parse(table.metadata.location())?, Location::parse(&self.warehouse)?);
        let Some(below) = place.below(&warehouse).filter(|_| Location::parse(&self.table_folder(&table.name)).is_ok_and(|own| own != place)) else {
            return Ok(Vec::new());
        };
        let folders: Vec<&str> = below.split('/').filter(|folder| !folder.is_empty()).collect();
        for depth in 1..folders.len() {
            let name = TableName::new(folders[..depth].join("."), folders[depth]);
            if name != table.name
                && let Some(around) = self.load_table(&name).await?
            {
                return Ok(vec![around]);
            }
        }
        Ok(Vec::new())
    }

    async fn drop_table(&self, name: &TableName, purge: bool) -> Result<()> {
        if !self.has_table(name).await? {
            return Err(table_not_found(name));
        }
        if !purge {
            return Err(Error::not_supported(format!("catalog '{}' cannot forget table '{name}' and keep its files", self.name))
                .with_hint("a table of a Hadoop catalog is its folder: DROP TABLE deletes it"));
        }
        let folder = self.table_folder(name);
        match purge::to_purge(name, self.load_table(name).await)?.flatten() {
            Some(table) if !table.owns_its_files() => table.check_owns_files()?,
            Some(table) => purge::purge(self, &table, &self.warehouse, &[]).await,
            None => {}
        }
        self.storage.delete_folder(&folder).await?;
        self.known_tables.forget(&folder);
        Ok(())
    }

    async fn rename_table(&self, from: &TableName, _to: &TableName) -> Result<()> {
        if !self.has_table(from).await? {
            return Err(table_not_found(from));
        }
        Err(Error::not_supported(format!("table '{from}' of catalog '{}' cannot be renamed", self.name))
            .with_hint("a table of a Hadoop catalog is known by its place; CREATE TABLE ... AS makes a copy"))
    }

    async fn load_view(&self, _name: &TableName) -> Result<Option<View>> {
        Ok(None)
    }

    async fn create_view(&self, view: &View, _columns: Schema, _replace: bool) -> Result<()> {
        Err(Error::not_supported(format!("view '{}' cannot be made: catalog '{}' has no views", view.name, self.name)))
    }

    async fn drop_view(&self, name: &TableName) -> Result<()> {
        Err(view_not_found(name))
    }

    async fn rename_view(&self, from: &TableName, _to: &TableName) -> Result<()> {
        Err(view_not_found(from))
    }
}

/// The folders that may be schemas or tables.
fn shown(content: FolderContent) -> impl Iterator<Item = String> {
    content.folders.into_iter().filter(|name| !name.starts_with(['.', '_']))
}

/// Names that are no name of a folder, or of one that nobody would find.
fn check_folder(name: &str) -> Result<()> {
    if name.starts_with(['.', '_']) || name.contains('/') || name.chars().any(char::is_control) {
        return Err(Error::not_supported(format!("'{name}' cannot be a folder's name, which a name in a Hadoop catalog is"))
            .with_hint("leave out '/' and control characters, and do not begin with '.' or '_'"));
    }
    Ok(())
}
