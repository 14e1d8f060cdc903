//! A catalog that is nothing but folders: a schema is a folder of the warehouse, a table a folder of its schema, and its current metadata the file with the highest
//! version, as in Java's `HadoopCatalog`.
//!
//! A commit makes the file of the next version, which succeeds for one of all writers that try: by a hard link on local files, by a conditional put on S3. There are no
//! views, and a table keeps its name, since that is its place.

mod versions;

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use futures::stream::{self, StreamExt, TryStreamExt};
use moka::future::Cache;
use nunatak_core::{Code, Error, Result};
use parking_lot::Mutex;

use self::versions::VersionFile;
use super::names::{check_part, namespace_exists, namespace_not_empty, namespace_not_found, table_exists, table_not_found, view_not_found};
use super::{Catalog, METADATA_CACHE_BYTES_MAX, Namespace, metadata_file, metadata_weight, purge, update};
use crate::commit::CommitError;
use crate::spec::{Schema, TableMetadata, TableRequirement, TableUpdate};
use crate::storage::{Created, FolderContent, Storage};
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
    /// Folders that were found to hold a table. As long as the folder is there, it is one.
    known_tables: Mutex<HashSet<String>>,
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
        Ok(Self { name: options.name, warehouse, storage: options.storage, metadata, known_tables: Mutex::default() })
    }

    fn namespace_folder(&self, namespace: &str) -> String {
        format!("{}/{}", self.warehouse, namespace.replace('.', "/"))
    }

    fn table_folder(&self, name: &TableName) -> String {
        format!("{}/{}", self.namespace_folder(&name.namespace), name.table)
    }

    /// What lies in the folder of a schema. Errors: `SCHEMA_NOT_FOUND`.
    async fn namespace(&self, namespace: &str) -> Result<FolderContent> {
        let folder = self.namespace_folder(namespace);
        match self.storage.list_folder(&folder).await? {
            Some(content) if !self.is_table(&folder).await? => Ok(content),
            _ => Err(namespace_not_found(namespace)),
        }
    }

    async fn is_table(&self, folder: &str) -> Result<bool> {
        if self.known_tables.lock().contains(folder) {
            return Ok(true);
        }
        let is_table = versions::is_table(&self.storage, folder).await?;
        if is_table {
            self.known_tables.lock().insert(folder.to_owned());
        }
        Ok(is_table)
    }

    /// The folders in a folder with this content, each with whether it is a table, sorted by name.
    async fn folders(&self, folder: &str, content: FolderContent) -> Result<Vec<(String, bool)>> {
        let shown = content.folders.into_iter().filter(|name| !name.starts_with(['.', '_']));
        let looks: Vec<_> =
            shown.map(|name| async move { Ok::<_, Error>((name.clone(), self.is_table(&format!("{folder}/{name}")).await?)) }).collect();
        let mut folders: Vec<_> = stream::iter(looks).buffer_unordered(LOOKS_MAX).try_collect().await?;
        folders.sort();
        Ok(folders)
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

    /// Makes the file of a version; whether it is the one that was made.
    async fn make_version(&self, location: &str, metadata: &TableMetadata) -> Result<bool, CommitError> {
        let bytes = metadata_file::bytes(metadata, location)?;
        match self.storage.create(location, bytes.clone()).await {
            Ok(Created::New) => Ok(true),
            // A request that is sent again after its answer was lost finds the file that it made itself.
            Ok(Created::Existed) => Ok(self.storage.read_if_there(location).await?.is_some_and(|found| found == bytes)),
            Err(error) if error.code() == Code::StorageAccessDenied || error.code() == Code::NotSupported => Err(CommitError::Failed(error)),
            Err(error) => match self.storage.read_if_there(location).await {
                Ok(Some(found)) => Ok(found == bytes),
                _ => Err(CommitError::Unknown(error)),
            },
        }
    }
}

#[async_trait]
impl Catalog for HadoopCatalog {
    fn name(&self) -> &str {
        &self.name
    }

    async fn namespaces(&self) -> Result<Vec<Namespace>> {
        let mut namespaces = Vec::new();
        let mut unseen = vec![String::new()];
        while let Some(parent) = unseen.pop() {
            let folder = if parent.is_empty() { self.warehouse.clone() } else { self.namespace_folder(&parent) };
            let content = self.storage.list_folder(&folder).await?.unwrap_or_default();
            for (folder, is_table) in self.folders(&folder, content).await? {
                if is_table {
                    continue;
                }
                let name = if parent.is_empty() { folder } else { format!("{parent}.{folder}") };
                namespaces.push(Namespace { properties: self.properties(&name).await?, name: name.clone() });
                unseen.push(name);
            }
        }
        namespaces.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(namespaces)
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
        if self.storage.list_folder(&folder).await?.is_some() {
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

    async fn drop_namespace(&self, name: &str) -> Result<()> {
        let content = self.namespace(name).await?;
        let folder = self.namespace_folder(name);
        if !content.folders.is_empty() || content.files.iter().any(|file| file != NAMESPACE_FILE) {
            return Err(namespace_not_empty(name));
        }
        self.storage.delete_files(&[format!("{folder}/{NAMESPACE_FILE}")]).await?;
        self.storage.remove_empty_folder(&folder).await
    }

    async fn tables(&self, namespace: &str) -> Result<Vec<String>> {
        let content = self.namespace(namespace).await?;
        let folders = self.folders(&self.namespace_folder(namespace), content).await?;
        Ok(folders.into_iter().filter(|(_, is_table)| *is_table).map(|(name, _)| name).collect())
    }

    async fn views(&self, namespace: &str) -> Result<Vec<String>> {
        self.namespace(namespace).await?;
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
                self.known_tables.lock().remove(&folder);
                Ok(None)
            }
        }
    }

    async fn stage_location(&self, name: &TableName) -> Result<String> {
        self.namespace(&name.namespace).await?;
        Ok(self.table_folder(name))
    }

    fn storage(&self) -> Arc<Storage> {
        Arc::clone(&self.storage)
    }

    async fn create_table(&self, name: &TableName, metadata: TableMetadata) -> Result<Table> {
        check_part(&name.table, "table")?;
        check_folder(&name.table)?;
        self.namespace(&name.namespace).await?;
        let folder = self.table_folder(name);
        if metadata.location().trim_end_matches('/') != folder {
            return Err(Error::not_supported(format!("table '{name}' of catalog '{}' cannot lie at '{}'", self.name, metadata.location()))
                .with_hint(format!("its place is '{folder}'; leave out the property location")));
        }
        if versions::current(&self.storage, &folder).await?.is_some() {
            return Err(table_exists(name));
        }
        let location = versions::location_of(&folder, 1, metadata_file::is_packed(&metadata)?);
        match self.make_version(&location, &metadata).await {
            Ok(true) => {}
            Ok(false) => return Err(table_exists(name)),
            Err(CommitError::Unknown(error)) => {
                return Err(Error::new(Code::CommitStateUnknown, format!("table '{name}' may have been made or not")).with_source(error));
            }
            Err(error) => return Err(error.into_error()),
        }
        versions::set_hint(&self.storage, &folder, 1).await;
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
        // By the table as it was: of two writers with the same base both have to make the same file, also where this corrects the property.
        let location = versions::location_of(&folder, current.version + 1, metadata_file::is_packed(&base.metadata).unwrap_or(false));
        if !self.make_version(&location, &built.metadata).await? {
            return Err(CommitError::Conflict(update::conflict(name)));
        }
        versions::set_hint(&self.storage, &folder, current.version + 1).await;
        metadata_file::delete_expired(&self.storage, name, &built.metadata, &built.expired_metadata_logs).await;
        Ok(Table { metadata: Arc::new(built.metadata), metadata_location: Some(location), ..base.clone() })
    }

    /// A table is its folder, and none lies within another one.
    async fn neighbours(&self, _table: &Table) -> Result<Vec<Table>> {
        Ok(Vec::new())
    }

    async fn drop_table(&self, name: &TableName, purge: bool) -> Result<()> {
        let table = self.load_table(name).await;
        if let Ok(None) = table {
            return Err(table_not_found(name));
        }
        if !purge {
            return Err(Error::not_supported(format!("catalog '{}' cannot forget table '{name}' and keep its files", self.name))
                .with_hint("a table of a Hadoop catalog is its folder: DROP TABLE deletes it"));
        }
        let folder = self.table_folder(name);
        // A table whose metadata is lost must still be droppable.
        match table {
            Ok(Some(table)) if !table.owns_its_files() => table.check_owns_files()?,
            Ok(Some(table)) => purge::purge(self, &table, &self.warehouse, &[]).await,
            _ => {}
        }
        self.storage.delete_folder(&folder).await?;
        self.known_tables.lock().remove(&folder);
        Ok(())
    }

    async fn rename_table(&self, from: &TableName, _to: &TableName) -> Result<()> {
        if self.load_table(from).await?.is_none() {
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

/// Names that are no name of a folder, or of one that nobody would find.
fn check_folder(name: &str) -> Result<()> {
    if name.starts_with(['.', '_']) || name.contains('/') || name.chars().any(char::is_control) {
        return Err(Error::not_supported(format!("'{name}' cannot be a folder's name, which a name in a Hadoop catalog is"))
            .with_hint("leave out '/' and control characters, and do not begin with '.' or '_'"));
    }
    Ok(())
}
