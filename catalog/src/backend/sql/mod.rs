//! A catalog in a SQLite file or a PostgreSQL database, with the tables of Java's `JdbcCatalog` (V0 and V1): PyIceberg's `SqlCatalog` and Java use the same.
//!
//! Owns the order of things (check, write the metadata file, swap the row, clean up); the statements are in `rows`, the connections in `database`.

mod database;
mod rows;
mod transaction;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use moka::future::Cache;
use nunatak_core::{Code, Error, Result};
use uuid::Uuid;

use self::database::{Access, Database, Fault};
pub use self::database::{PostgresOptions, SqlDatabase};
use self::rows::{Kind, Row, Scope};
use super::names::{check_part, folder_name, namespace_exists, namespace_not_empty, table_not_found, view_not_found};
use super::{Catalog, METADATA_CACHE_BYTES_MAX, Namespace, TableChange, ViewFile, metadata_file, metadata_weight, purge, update, view_file};
use crate::commit::CommitError;
use crate::commit::attempts::LOOKS_AFTER;
use crate::spec::{Schema, TableMetadata, TableRequirement, TableUpdate, ViewMetadata};
use crate::storage::{Location, Storage};
use crate::table::{Table, TableName, View};

/// The namespace property that says where its tables lie.
const LOCATION: &str = "location";

/// What a [`SqlCatalog`] is made of.
#[derive(Clone, Debug)]
pub struct SqlCatalogOptions {
    /// The catalog's name in SQL, and its `catalog_name` in the database: several catalogs can share one.
    pub name: String,
    /// Where its rows are.
    pub database: SqlDatabase,
    /// Whether tables of V0 get the column that V1 added. Else they stay as they are, and there are no views.
    pub upgrade: bool,
    /// Where tables lie whose namespace names no place: an absolute path or URL.
    pub warehouse: String,
    /// The storage of all tables.
    pub storage: Arc<Storage>,
}

/// A catalog in a database.
pub struct SqlCatalog {
    name: String,
    warehouse: String,
    storage: Arc<Storage>,
    database: Database,
    /// By the file's location, so that it is never out of date.
    metadata: Cache<String, Arc<TableMetadata>>,
}

impl fmt::Debug for SqlCatalog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqlCatalog")
            .field("name", &self.name)
            .field("database", &self.database)
            .field("warehouse", &self.warehouse)
            .finish_non_exhaustive()
    }
}

impl SqlCatalog {
    /// Opens a catalog; file and tables are made when missing. A server is asked for nothing before a statement needs it.
    ///
    /// Errors: `CONFIGURATION_INVALID`, and what is wrong with a SQLite file.
    pub async fn open(options: SqlCatalogOptions) -> Result<Self> {
        let warehouse = options.warehouse.trim_end_matches('/').to_owned();
        options.storage.resolve(&warehouse)?;
        let database = Database::open(options.database, options.upgrade).await?;
        let metadata = Cache::builder()
            .max_capacity(METADATA_CACHE_BYTES_MAX)
            .weigher(|location: &String, metadata: &Arc<TableMetadata>| metadata_weight(location, metadata))
            .build();
        Ok(Self { name: options.name, warehouse, storage: options.storage, database, metadata })
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

    /// Reads rows of this catalog. `operation` is what for, in words.
    async fn read<T: Send + 'static>(&self, operation: &str, work: impl Fn(Scope<'_>) -> Result<T, Fault> + Send + Sync + 'static) -> Result<T> {
        self.run(Access::Read, work).await.map_err(|fault| self.database.error(operation, fault))
    }

    /// Changes rows of this catalog, in one transaction with what is checked before.
    async fn write<T: Send + 'static>(&self, operation: &str, work: impl Fn(Scope<'_>) -> Result<T, Fault> + Send + Sync + 'static) -> Result<T> {
        self.run(Access::Change, work).await.map_err(|fault| self.database.error(operation, fault))
    }

    async fn run<T: Send + 'static>(&self, access: Access, work: impl Fn(Scope<'_>) -> Result<T, Fault> + Send + Sync + 'static) -> Result<T, Fault> {
        let catalog = self.name.clone();
        self.database.run(access, move |connection, version| work(Scope { connection, version, catalog: &catalog })).await
    }

    /// What a fault means for a change.
    fn outcome(&self, operation: &str, fault: Fault) -> CommitError {
        let certain = fault.changed_nothing();
        let error = self.database.error(operation, fault);
        if certain { CommitError::Failed(error) } else { CommitError::Unknown(error) }
    }

    async fn row(&self, name: &TableName) -> Result<Option<Row>> {
        let (operation, name) = (format!("look up {name}"), name.clone());
        self.read(&operation, move |scope| scope.find(&name)).await
    }

    async fn location_of(&self, name: &TableName, kind: Kind) -> Result<Option<String>> {
        match self.row(name).await? {
            Some(row) if row.kind == kind => row
                .metadata_location
                .map(Some)
                .ok_or_else(|| Error::new(Code::IcebergInvalidMetadata, format!("catalog '{}' has no metadata location for '{name}'", self.name))),
            _ => Ok(None),
        }
    }

    async fn names(&self, namespace: &str, kind: Kind) -> Result<Vec<String>> {
        let (operation, namespace) = (format!("list {namespace}"), namespace.to_owned());
        self.read(&operation, move |scope| {
            scope.require_namespace(&namespace)?;
            scope.names(&namespace, kind)
        })
        .await
    }

    async fn check_free(&self, name: &TableName, kind: Kind) -> Result<()> {
        check_part(&name.table, "table")?;
        let (operation, name) = (format!("look up {name}"), name.clone());
        let check = move |scope: Scope<'_>| {
            scope.require_kind(kind)?;
            scope.require_free(&name)
        };
        self.read(&operation, check).await
    }

    /// Puts a row there. Where it is not known whether it is there, it is looked for.
    async fn insert(&self, name: &TableName, kind: Kind, location: &str) -> Result<(), CommitError> {
        let (owned, row_location) = (name.clone(), location.to_owned());
        let inserted = self.run(Access::Change, move |scope| {
            scope.require_free(&owned)?;
            scope.insert(&owned, kind, &row_location)
        });
        let Err(fault) = inserted.await else { return Ok(()) };
        let error = self.outcome(&format!("create {name}"), fault);
        match error {
            CommitError::Unknown(_) if self.points_to(name, location).await => Ok(()),
            error => Err(error),
        }
    }

    /// Looks whether a row with the location of a metadata file, which is that of one change only, came to be.
    async fn points_to(&self, name: &TableName, location: &str) -> bool {
        for wait in LOOKS_AFTER {
            tokio::time::sleep(wait).await;
            match self.row(name).await {
                Ok(Some(row)) if row.metadata_location.as_deref() == Some(location) => return true,
                Ok(_) => {}
                Err(error) => tracing::warn!(%error, table = %name, "cannot see whether a change happened"),
            }
        }
        false
    }

    /// The same for a metadata file that was written for it.
    async fn insert_new(&self, name: &TableName, kind: Kind, location: &str) -> Result<()> {
        let inserted = self.insert(name, kind, location).await;
        if let Err(CommitError::Failed(_)) = &inserted {
            self.discard(name, location).await;
        }
        inserted.map_err(CommitError::into_error)
    }

    async fn rename(&self, from: &TableName, to: &TableName, kind: Kind) -> Result<()> {
        check_part(&to.table, "table")?;
        let operation = format!("rename {from} to {to}");
        let (from, to) = (from.clone(), to.clone());
        self.write(&operation, move |scope| {
            if scope.find(&from)?.is_none_or(|row| row.kind != kind) {
                let missing = if kind == Kind::View { view_not_found(&from) } else { table_not_found(&from) };
                return Err(missing.into());
            }
            scope.require_free(&to)?;
            scope.rename(&from, &to)
        })
        .await
    }

    /// Deletes a metadata file that no row points to.
    async fn discard(&self, name: &TableName, location: &str) {
        if let Err(error) = self.storage.delete_files(&[location.to_owned()]).await {
            tracing::warn!(%error, table = %name, "a metadata file without a table was left behind");
        }
    }

    /// The compare-and-swap, with the new file cleaned up when it certainly did not happen.
    async fn swap(&self, name: &TableName, kind: Kind, old: &str, new: &str) -> Result<(), CommitError> {
        let (owned, old, row_new) = (name.clone(), old.to_owned(), new.to_owned());
        let swapped = self.run(Access::Swap, move |scope| scope.swap(&owned, kind, &old, &row_new));
        let error = match swapped.await {
            Ok(true) => return Ok(()),
            Ok(false) => CommitError::Conflict(update::conflict(name)),
            Err(fault) => match self.outcome(&format!("commit {name}"), fault) {
                unknown @ CommitError::Unknown(_) => return Err(unknown),
                failed => failed,
            },
        };
        self.discard(name, new).await;
        Err(error)
    }

    /// Writes the next metadata file of a view and returns its location. `previous` is the file before it.
    async fn write_view(&self, metadata: &ViewMetadata, previous: Option<&str>) -> Result<String> {
        let folder = format!("{}/metadata", metadata.location());
        let location = metadata_file::next_location(&folder, metadata.properties(), previous)?;
        metadata_file::put(&self.storage, metadata, &location).await?;
        Ok(location)
    }
}

#[async_trait]
impl Catalog for SqlCatalog {
    fn name(&self) -> &str {
        &self.name
    }

    fn clear(&self) {
        self.metadata.invalidate_all();
    }

    async fn namespaces(&self) -> Result<Vec<Namespace>> {
        let namespaces = self.read("list schemas", |scope| scope.namespaces()).await?;
        Ok(namespaces.into_iter().map(|(name, properties)| Namespace { name, properties }).collect())
    }

    async fn namespace_names(&self) -> Result<Vec<String>> {
        self.read("list schemas", |scope| scope.namespace_names()).await
    }

    async fn namespace(&self, name: &str) -> Result<Option<Namespace>> {
        let (operation, owned) = (format!("look up schema {name}"), name.to_owned());
        let properties = self.read(&operation, move |scope| match scope.namespace_exists(&owned)? {
            true => scope.namespace_properties(&owned).map(Some),
            false => Ok(None),
        });
        Ok(properties.await?.map(|properties| Namespace { name: name.to_owned(), properties }))
    }

    async fn create_namespace(&self, name: &str, properties: BTreeMap<String, String>) -> Result<()> {
        for level in name.split('.') {
            check_part(level, "schema")?;
        }
        if let Some(location) = properties.get(LOCATION) {
            self.storage.resolve(location)?;
        }
        let (operation, name) = (format!("create schema {name}"), name.to_owned());
        self.write(&operation, move |scope| {
            if scope.namespace_exists(&name)? {
                return Err(namespace_exists(&name).into());
            }
            scope.insert_namespace(&name, &properties)
        })
        .await
    }

    async fn set_namespace_properties(&self, name: &str, removals: &[String], updates: &BTreeMap<String, String>) -> Result<()> {
        if let Some(location) = updates.get(LOCATION) {
            self.storage.resolve(location)?;
        }
        let (operation, name) = (format!("change schema {name}"), name.to_owned());
        let (removals, updates) = (removals.to_vec(), updates.clone());
        self.write(&operation, move |scope| {
            scope.require_namespace(&name)?;
            scope.set_namespace_properties(&name, &removals, &updates)
        })
        .await
    }

    async fn drop_namespace(&self, name: &str) -> Result<()> {
        let (operation, name) = (format!("drop schema {name}"), name.to_owned());
        self.write(&operation, move |scope| {
            scope.require_namespace(&name)?;
            if scope.namespace_has_content(&name)? {
                return Err(namespace_not_empty(&name).into());
            }
            scope.delete_namespace(&name)
        })
        .await
    }

    async fn tables(&self, namespace: &str) -> Result<Vec<String>> {
        self.names(namespace, Kind::Table).await
    }

    async fn table_locations(&self, namespace: &str) -> Result<Vec<(String, Option<String>)>> {
        let (operation, owned) = (format!("list tables of schema {namespace}"), namespace.to_owned());
        self.read(&operation, move |scope| {
            scope.require_namespace(&owned)?;
            scope.table_locations(&owned)
        })
        .await
    }

    async fn views(&self, namespace: &str) -> Result<Vec<String>> {
        self.names(namespace, Kind::View).await
    }

    async fn load_table(&self, name: &TableName) -> Result<Option<Table>> {
        match self.location_of(name, Kind::Table).await? {
            Some(location) => self.table_at(name, location).await.map(Some),
            None => Ok(None),
        }
    }

    async fn has_table(&self, name: &TableName) -> Result<bool> {
        Ok(self.row(name).await?.is_some_and(|row| row.kind == Kind::Table))
    }

    async fn has_view(&self, name: &TableName) -> Result<bool> {
        Ok(self.row(name).await?.is_some_and(|row| row.kind == Kind::View))
    }

    async fn stage_location(&self, name: &TableName) -> Result<String> {
        let namespace = &name.namespace;
        let properties = self
            .read(&format!("look up schema {namespace}"), {
                let namespace = namespace.clone();
                move |scope| {
                    scope.require_namespace(&namespace)?;
                    scope.namespace_properties(&namespace)
                }
            })
            .await?;
        let folder = match properties.get(LOCATION) {
            Some(location) => location.trim_end_matches('/').to_owned(),
            None => format!("{}/{}", self.warehouse, folder_name(&name.namespace).replace('.', "/")),
        };
        Ok(format!("{folder}/{}-{}", folder_name(&name.table), Uuid::new_v4().simple()))
    }

    fn storage(&self) -> Arc<Storage> {
        Arc::clone(&self.storage)
    }

    async fn create_table(&self, name: &TableName, metadata: TableMetadata) -> Result<Table> {
        self.check_free(name, Kind::Table).await?;
        let location = metadata_file::write(&self.storage, &metadata, None).await?;
        self.insert_new(name, Kind::Table, &location).await?;
        let metadata = Arc::new(metadata);
        self.metadata.insert(location.clone(), Arc::clone(&metadata)).await;
        Ok(Table::new(name.clone(), metadata, Some(location), Arc::clone(&self.storage)))
    }

    async fn register_table(&self, name: &TableName, metadata_location: &str) -> Result<Table> {
        let table = self.table_at(name, metadata_location.to_owned()).await?;
        self.check_free(name, Kind::Table).await?;
        // The file is not ours: it stays whatever happens.
        self.insert(name, Kind::Table, metadata_location).await.map_err(CommitError::into_error)?;
        Ok(table)
    }

    async fn commit(&self, base: &Table, requirements: Vec<TableRequirement>, updates: Vec<TableUpdate>) -> Result<Table, CommitError> {
        let name = &base.name;
        let location = self.location_of(name, Kind::Table).await.map_err(CommitError::Failed)?;
        let location = location.ok_or_else(|| CommitError::Failed(table_not_found(name)))?;
        if base.metadata_location.as_ref() != Some(&location) {
            return Err(CommitError::Conflict(update::conflict(name)));
        }
        update::check(name, &requirements, &base.metadata)?;
        let metadata = (*base.metadata).clone();
        let built = update::apply(name, metadata, Some(&location), updates).map_err(CommitError::Failed)?;
        let new_location = metadata_file::write(&self.storage, &built.metadata, Some(&location)).await.map_err(CommitError::Failed)?;
        self.swap(name, Kind::Table, &location, &new_location).await?;
        let metadata = Arc::new(built.metadata);
        self.metadata.insert(new_location.clone(), Arc::clone(&metadata)).await;
        let table = Table { metadata, metadata_location: Some(new_location), ..base.clone() };
        metadata_file::delete_expired(self, &table, &built.expired_metadata_logs).await;
        Ok(table)
    }

    fn has_transactions(&self) -> bool {
        true
    }

    async fn commit_all(&self, changes: Vec<TableChange>) -> Result<(), CommitError> {
        self.change_all(changes).await
    }

    async fn neighbours(&self, table: &Table) -> Result<Vec<Table>> {
        let folders = [table.metadata.location().to_owned(), metadata_file::metadata_folder(&table.metadata)];
        let folders = folders.iter().map(|folder| Location::parse(folder)).collect::<Result<Vec<_>>>()?;
        let name = table.name.clone();
        let others = self.read("list all tables", move |scope| scope.other_tables(&name)).await?;
        let mut neighbours = Vec::new();
        for (name, location) in others {
            if Location::parse(&location).is_ok_and(|file| folders.iter().any(|folder| purge::overlap(folder, &file))) {
                neighbours.push(self.table_at(&name, location).await?);
            }
        }
        Ok(neighbours)
    }

    async fn drop_table(&self, name: &TableName, purge: bool) -> Result<()> {
        let location = self.location_of(name, Kind::Table).await?.ok_or_else(|| table_not_found(name))?;
        // Before the row is gone. A table whose metadata is lost must still be droppable.
        let table = match purge {
            true => purge::to_purge(name, self.table_at(name, location.clone()).await)?,
            false => None,
        };
        let owned = name.clone();
        let others = self
            .write(&format!("drop {name}"), move |scope| {
                if !scope.delete(&owned, Kind::Table)? {
                    return Err(table_not_found(&owned).into());
                }
                scope.metadata_locations()
            })
            .await?;
        self.metadata.invalidate(&location).await;
        if let Some(table) = table {
            purge::purge(self, &table, &self.warehouse, &others).await;
        }
        Ok(())
    }

    async fn rename_table(&self, from: &TableName, to: &TableName) -> Result<()> {
        self.rename(from, to, Kind::Table).await
    }

    async fn load_view(&self, name: &TableName) -> Result<Option<View>> {
        let Some(location) = self.location_of(name, Kind::View).await? else { return Ok(None) };
        let metadata = view_file::load(&self.storage, name, &location).await?;
        view_file::view(name, &self.name, &metadata).map(Some)
    }

    async fn create_view(&self, view: &View, columns: Schema, replace: bool) -> Result<()> {
        if replace && let Some(base) = self.load_view_file(&view.name).await? {
            let metadata = view_file::replace(view, columns, base.metadata.clone())?;
            return self.replace_view_file(&view.name, &base, metadata).await.map(|_| ()).map_err(CommitError::into_error);
        }
        self.check_free(&view.name, Kind::View).await?;
        let metadata = view_file::create(view, columns, self.stage_location(&view.name).await?)?;
        self.create_view_file(&view.name, metadata).await.map(|_| ())
    }

    async fn drop_view(&self, name: &TableName) -> Result<()> {
        let location = self.location_of(name, Kind::View).await?.ok_or_else(|| view_not_found(name))?;
        let (owned, warehouse) = (name.clone(), self.warehouse.clone());
        let others = self
            .write(&format!("drop {name}"), move |scope| {
                if !scope.delete(&owned, Kind::View)? {
                    return Err(view_not_found(&owned).into());
                }
                scope.metadata_locations()
            })
            .await?;
        // A view has no files but its metadata: there is nothing to ask about.
        if let Err(error) = purge::purge_view(&self.storage, &location, &warehouse, &others).await {
            tracing::warn!(%error, view = %name, "files of a dropped view were left behind");
        }
        Ok(())
    }

    async fn rename_view(&self, from: &TableName, to: &TableName) -> Result<()> {
        self.rename(from, to, Kind::View).await
    }

    async fn has_view_files(&self) -> Result<bool> {
        Ok(true)
    }

    async fn load_view_file(&self, name: &TableName) -> Result<Option<ViewFile>> {
        let Some(location) = self.location_of(name, Kind::View).await? else { return Ok(None) };
        let metadata = view_file::load(&self.storage, name, &location).await?;
        Ok(Some(ViewFile { metadata, location }))
    }

    async fn create_view_file(&self, name: &TableName, metadata: ViewMetadata) -> Result<ViewFile> {
        self.check_free(name, Kind::View).await?;
        let location = self.write_view(&metadata, None).await?;
        self.insert_new(name, Kind::View, &location).await?;
        Ok(ViewFile { metadata, location })
    }

    async fn register_view_file(&self, name: &TableName, metadata_location: &str) -> Result<ViewFile> {
        let metadata = view_file::load(&self.storage, name, metadata_location).await?;
        self.check_free(name, Kind::View).await?;
        // The file is not ours: it stays whatever happens.
        self.insert(name, Kind::View, metadata_location).await.map_err(CommitError::into_error)?;
        Ok(ViewFile { metadata, location: metadata_location.to_owned() })
    }

    async fn replace_view_file(&self, name: &TableName, base: &ViewFile, metadata: ViewMetadata) -> Result<ViewFile, CommitError> {
        let location = self.write_view(&metadata, Some(&base.location)).await?;
        match self.swap(name, Kind::View, &base.location, &location).await {
            Err(CommitError::Unknown(_)) if self.points_to(name, &location).await => {}
            swapped => swapped?,
        }
        Ok(ViewFile { metadata, location })
    }
}
