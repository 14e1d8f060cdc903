//! A catalog behind a server that speaks the Iceberg REST protocol: it keeps the metadata, checks what a commit requires, and may give out credentials for the files.
//!
//! Owns the order of things and what answers mean. Nothing is asked when it is opened: a server that is down fails the statements that need it, until it is up.

pub(crate) mod auth;
mod changes;
pub(crate) mod client;
mod connection;
pub(crate) mod http;
pub(crate) mod messages;
mod namespaces;
mod paths;
mod places;
mod redirection;
mod tables;
mod views;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use futures::stream::{self, StreamExt, TryStreamExt};
use moka::future::Cache;
use nunatak_core::{Code, Error, Result};
use reqwest::StatusCode;
use reqwest::header::HeaderValue;
use tokio::sync::OnceCell;
use url::Url;

use self::client::Call;
use self::connection::Connection;
use self::http::Fault;
use self::places::Places;
use super::names::{namespace_exists, namespace_not_empty, namespace_not_found, table_not_found, view_not_found};
use super::{Catalog, METADATA_CACHE_BYTES_MAX, Namespace, ViewFile, metadata_weight};
use crate::commit::attempts::LOOKS_AFTER;
use crate::commit::{self, CommitError};
use crate::messages::{NamespaceChange, NewNamespace, levels};
use crate::shared_failure::SharedFailure;
use crate::spec::{Schema, TableMetadata, TableRequirement, TableUpdate, ViewMetadata};
use crate::storage::{Location, Storage, StorageProperties, Storages};
use crate::table::{Table, TableName, View};

/// How many things are asked for at once where one statement needs many.
const CALLS_MAX: usize = 16;

/// What a [`RestCatalog`] is made of.
#[derive(Clone)]
pub struct RestCatalogOptions {
    /// The catalog's name in SQL.
    pub name: String,
    /// Where the server is; `/v1/config` is below it.
    pub uri: String,
    /// Which of its warehouses is meant: a name or a location, as the server has them.
    pub warehouse: Option<String>,
    /// Properties by Iceberg's names: of the catalog, of who we are to it, and of storage.
    pub properties: BTreeMap<String, String>,
    /// The storages of the process, among which those of tables with credentials of their own are put.
    pub storages: Arc<Storages>,
}

/// A catalog behind a server.
pub struct RestCatalog {
    name: String,
    uri: Url,
    warehouse: Option<String>,
    properties: BTreeMap<String, String>,
    storages: Arc<Storages>,
    /// As the configuration alone has it.
    storage: Arc<Storage>,
    connection: OnceCell<Connection>,
    /// Why there is none yet.
    unconnected: SharedFailure,
    /// Tables by name, with the tag by which the server says that nothing has changed.
    tables: Cache<TableName, Tagged>,
    places: Places,
}

/// A table, and what tells its state from others.
#[derive(Clone)]
struct Tagged {
    tag: HeaderValue,
    table: Table,
}

impl fmt::Debug for RestCatalog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RestCatalog").field("name", &self.name).field("warehouse", &self.warehouse).finish_non_exhaustive()
    }
}

impl RestCatalog {
    /// Opens a catalog. The server is asked for its configuration when something is first asked of it.
    ///
    /// Errors: `CONFIGURATION_INVALID`, `NOT_SUPPORTED` for ways of authentication that are not known here.
    pub fn open(options: RestCatalogOptions) -> Result<Self> {
        let RestCatalogOptions { name, uri, warehouse, properties, storages } = options;
        let uri = connection::check(&uri, &properties)?;
        let storage = storages.of_catalog(&name, &StorageProperties::of_known(of_storage(&properties)));
        let tables = Cache::builder()
            .max_capacity(METADATA_CACHE_BYTES_MAX)
            .weigher(|name: &TableName, kept: &Tagged| metadata_weight(&name.table, &kept.table.metadata))
            .build();
        let (connection, unconnected, places) = (OnceCell::new(), SharedFailure::default(), Places::default());
        Ok(Self { name, uri, warehouse, properties, storages, storage, connection, unconnected, tables, places })
    }

    /// Looks, after a lost answer, whether a namespace is there, or is not there if that is what is `expected`.
    async fn has_namespace(&self, name: &str, expected: bool) -> bool {
        for wait in LOOKS_AFTER {
            tokio::time::sleep(wait).await;
            if self.namespace(name).await.is_ok_and(|found| found.is_some() == expected) {
                return true;
            }
        }
        false
    }

    /// Looks, after a lost answer, whether a table or a view is there no more.
    async fn is_gone(&self, kind: &str, name: &TableName) -> bool {
        let Ok(connection) = self.connection().await else { return false };
        for wait in LOOKS_AFTER {
            tokio::time::sleep(wait).await;
            match connection.has(kind, name).await {
                Ok(false) => return true,
                // The server cannot read it, and could not drop it therefore.
                Err(_) if self.is_listed(name).await => return false,
                _ => {}
            }
        }
        false
    }

    /// Has the server drop a table.
    async fn remove_table(&self, name: &TableName, purge: bool) -> Result<()> {
        let connection = self.connection().await?;
        let mut url = connection.paths.of_table(name)?;
        url.query_pairs_mut().append_pair("purgeRequested", if purge { "true" } else { "false" });
        let outcome = connection.client.call(Call::delete(url, format!("drop table '{name}'"))).await;
        self.tables.invalidate(name).await;
        let fault = match outcome {
            Ok(reply) if reply.answer.status.is_success() => return Ok(()),
            Ok(reply) if reply.answer.is_missing() && !reply.answer.uncertain => return Err(table_not_found(name)),
            Ok(reply) => reply.failure(),
            Err(fault) => fault,
        };
        match fault {
            Fault::Refused(error) => Err(error),
            Fault::Lost(error) => match self.is_gone("tables", name).await {
                true => Ok(()),
                false => Err(unknown(&format!("table '{name}' was dropped"), error)),
            },
        }
    }

    async fn is_listed(&self, name: &TableName) -> bool {
        self.tables(&name.namespace).await.is_ok_and(|names| names.contains(&name.table))
    }

    /// Whether a table is there that cannot be loaded.
    async fn is_unreadable(&self, name: &TableName) -> bool {
        self.load_table(name).await.is_err() && self.is_listed(name).await
    }

    /// The server, which is asked for its configuration once it answers.
    async fn connection(&self) -> Result<&Connection> {
        let wanted = Instant::now();
        let open = || self.unconnected.share(wanted, Connection::open(&self.name, &self.uri, self.warehouse.as_deref(), &self.properties));
        self.connection.get_or_try_init(open).await
    }
}

#[async_trait]
impl Catalog for RestCatalog {
    fn name(&self) -> &str {
        &self.name
    }

    fn clear(&self) {
        self.tables.invalidate_all();
    }

    async fn namespaces(&self) -> Result<Vec<Namespace>> {
        let connection = self.connection().await?;
        let names = connection.namespace_names().await?;
        let asked: Vec<_> = names.into_iter().map(|name| connection.find_namespace(name)).collect();
        let found: Vec<Option<Namespace>> = stream::iter(asked).buffered(CALLS_MAX).try_collect().await?;
        Ok(found.into_iter().flatten().collect())
    }

    async fn namespace_names(&self) -> Result<Vec<String>> {
        self.connection().await?.namespace_names().await
    }

    async fn namespace(&self, name: &str) -> Result<Option<Namespace>> {
        if levels(name).iter().any(|level| level.is_empty()) {
            return Ok(None);
        }
        self.connection().await?.find_namespace(name.to_owned()).await
    }

    async fn create_namespace(&self, name: &str, properties: BTreeMap<String, String>) -> Result<()> {
        let connection = self.connection().await?;
        connection.paths.namespace(name)?;
        // One that is there after an answer was lost is the new one, if there was none before.
        let before = self.namespace(name).await;
        if let Ok(Some(_)) = before {
            return Err(namespace_exists(name));
        }
        let body = NewNamespace { namespace: levels(name).into_iter().map(str::to_owned).collect(), properties: Some(properties) };
        let call = Call::post(connection.paths.of("namespaces")?, format!("create schema '{name}'"), &body);
        let fault = match connection.client.call(call).await {
            Ok(reply) => match reply.answer.status {
                status if status.is_success() => return Ok(()),
                _ if reply.answer.uncertain => reply.failure(),
                StatusCode::CONFLICT => return Err(namespace_exists(name)),
                _ if reply.answer.is_missing() => return Err(namespace_not_found(name.rsplit_once('.').map_or(name, |(parent, _)| parent))),
                _ => reply.failure(),
            },
            Err(fault) => fault,
        };
        match fault {
            Fault::Refused(error) => Err(error),
            Fault::Lost(error) => match before.is_ok() && self.has_namespace(name, true).await {
                true => Ok(()),
                false => Err(unknown(&format!("schema '{name}' was made"), error)),
            },
        }
    }

    async fn set_namespace_properties(&self, name: &str, removals: &[String], updates: &BTreeMap<String, String>) -> Result<()> {
        let connection = self.connection().await?;
        let url = connection.paths.of_namespace(name, "properties")?;
        let body = NamespaceChange { removals: Some(removals.to_vec()), updates: Some(updates.clone()) };
        // Whatever is set or removed twice is as if it were once.
        let call = Call::post(url, format!("change the properties of schema '{name}'"), &body).repeatable();
        let reply = connection.reply(call).await?;
        match reply.answer.status {
            status if status.is_success() => Ok(()),
            _ => Err(reply.failure_or(|| namespace_not_found(name))),
        }
    }

    async fn drop_namespace(&self, name: &str) -> Result<()> {
        let connection = self.connection().await?;
        let call = Call::delete(connection.paths.of_namespace(name, "")?, format!("drop schema '{name}'"));
        let fault = match connection.client.call(call).await {
            Ok(reply) => match reply.answer.status {
                status if status.is_success() => return Ok(()),
                // It is there, so that nothing has become of an earlier request.
                StatusCode::CONFLICT => return Err(namespace_not_empty(name)),
                // Java's server before 1.10 has another status for it.
                _ if reply.answer.is_kind("NamespaceNotEmptyException") => return Err(namespace_not_empty(name)),
                _ if reply.answer.is_missing() && !reply.answer.uncertain => return Err(namespace_not_found(name)),
                _ => reply.failure(),
            },
            Err(fault) => fault,
        };
        match fault {
            Fault::Refused(error) => Err(error),
            Fault::Lost(error) => match self.has_namespace(name, false).await {
                true => Ok(()),
                false => Err(unknown(&format!("schema '{name}' was dropped"), error)),
            },
        }
    }

    async fn tables(&self, namespace: &str) -> Result<Vec<String>> {
        let connection = self.connection().await?;
        let url = connection.paths.of_namespace(namespace, "tables")?;
        let names = connection.names(url, &format!("list tables of schema '{namespace}'")).await?;
        names.ok_or_else(|| namespace_not_found(namespace))
    }

    async fn views(&self, namespace: &str) -> Result<Vec<String>> {
        let connection = self.connection().await?;
        if !connection.has_views() {
            return Ok(Vec::new());
        }
        let url = connection.paths.of_namespace(namespace, "views")?;
        let names = connection.names(url, &format!("list views of schema '{namespace}'")).await?;
        names.ok_or_else(|| namespace_not_found(namespace))
    }

    async fn load_table(&self, name: &TableName) -> Result<Option<Table>> {
        let connection = self.connection().await?;
        let known = self.tables.get(name).await;
        let call = Call::get(connection.paths.of_table(name)?, format!("load table '{name}'"));
        let reply = connection.reply(call.unless(known.as_ref().map(|known| known.tag.clone()))).await?;
        match (reply.answer.status, known) {
            (StatusCode::NOT_MODIFIED, Some(known)) => return Ok(Some(known.table)),
            (status, _) if status.is_success() => {}
            _ if reply.answer.is_missing() => {
                self.tables.invalidate(name).await;
                return Ok(None);
            }
            _ => return Err(reply.failure_of_one()),
        }
        let table = self.table(connection, name, reply.parsed()?, None)?;
        match reply.tag() {
            Some(tag) => self.tables.insert(name.clone(), Tagged { tag, table: table.clone() }).await,
            None => self.tables.invalidate(name).await,
        }
        Ok(Some(table))
    }

    async fn has_table(&self, name: &TableName) -> Result<bool> {
        match self.connection().await?.has("tables", name).await {
            // It may be the metadata of this one that the server cannot read.
            Err(_) if self.is_listed(name).await => Ok(true),
            found => found,
        }
    }

    async fn has_view(&self, name: &TableName) -> Result<bool> {
        let connection = self.connection().await?;
        if !connection.has_views() {
            return Ok(false);
        }
        connection.has("views", name).await
    }

    async fn stage_location(&self, name: &TableName) -> Result<String> {
        self.unique_location(name).await
    }

    fn storage(&self) -> Arc<Storage> {
        Arc::clone(&self.storage)
    }

    async fn staged_storage(&self, name: &TableName, location: &str) -> Result<Arc<Storage>> {
        self.storage_of_new(name, location).await
    }

    async fn create_table(&self, name: &TableName, metadata: TableMetadata) -> Result<Table> {
        let created = self.create(name, metadata).await;
        self.places.forget();
        created
    }

    async fn register_table(&self, name: &TableName, metadata_location: &str) -> Result<Table> {
        let registered = self.register(name, metadata_location).await;
        self.places.forget();
        registered
    }

    async fn commit(&self, base: &Table, requirements: Vec<TableRequirement>, updates: Vec<TableUpdate>) -> Result<Table, CommitError> {
        self.change(base, requirements, updates).await
    }

    async fn neighbours(&self, table: &Table) -> Result<Vec<Table>> {
        let folders = [table.metadata.location().to_owned(), super::metadata_file::metadata_folder(&table.metadata)];
        let folders = folders.iter().map(|folder| Location::parse(folder)).collect::<Result<Vec<_>>>()?;
        let places = self.places.all(self.connection().await?).await?;
        let others = places.iter().filter(|place| place.name != table.name && folders.iter().any(|folder| place.overlaps(folder)));
        let names: Vec<&TableName> = others.map(|place| &place.name).collect();
        let mut neighbours = Vec::with_capacity(names.len());
        for name in names {
            neighbours.extend(self.load_table(name).await?);
        }
        Ok(neighbours)
    }

    async fn drop_table(&self, name: &TableName, purge: bool) -> Result<()> {
        match self.remove_table(name, purge).await {
            // A server that cannot read the metadata of a table cannot delete its files, but it can forget it.
            Err(error) if purge && error.code() != Code::TableNotFound && self.is_unreadable(name).await => {
                tracing::warn!(%error, table = %name, "the files of a table that is dropped are left behind: its metadata cannot be read, which names them");
                self.remove_table(name, false).await
            }
            removed => removed,
        }
    }

    async fn rename_table(&self, from: &TableName, to: &TableName) -> Result<()> {
        let renamed = self.rename("tables/rename", from, to, table_not_found(from)).await;
        self.places.forget();
        self.tables.invalidate(from).await;
        renamed
    }

    async fn load_view(&self, name: &TableName) -> Result<Option<View>> {
        self.find_view(name).await
    }

    async fn create_view(&self, view: &View, columns: Schema, replace: bool) -> Result<()> {
        self.make_view(view, columns, replace).await
    }

    async fn drop_view(&self, name: &TableName) -> Result<()> {
        self.remove_view(name).await
    }

    async fn rename_view(&self, from: &TableName, to: &TableName) -> Result<()> {
        if !self.connection().await?.has_views() {
            return Err(view_not_found(from));
        }
        self.rename("views/rename", from, to, view_not_found(from)).await
    }

    async fn has_view_files(&self) -> Result<bool> {
        Ok(self.connection().await?.has_views())
    }

    async fn load_view_file(&self, name: &TableName) -> Result<Option<ViewFile>> {
        self.view_file(name).await
    }

    async fn create_view_file(&self, name: &TableName, metadata: ViewMetadata) -> Result<ViewFile> {
        self.write_view(name, &metadata).await
    }

    async fn register_view_file(&self, name: &TableName, metadata_location: &str) -> Result<ViewFile> {
        self.register_view(name, metadata_location).await
    }

    async fn replace_view_file(&self, name: &TableName, base: &ViewFile, metadata: ViewMetadata) -> Result<ViewFile, CommitError> {
        self.swap_view(name, base, &metadata).await
    }
}

/// Those of the properties that storage has.
fn of_storage(properties: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let known = properties.iter().filter(|(name, _)| StorageProperties::is_known(name));
    known.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// The error for an answer that leaves it open whether something has happened.
fn unknown(what: &str, error: Error) -> Error {
    commit::unknown(what, error).with_hint("look for it before running the statement again")
}
