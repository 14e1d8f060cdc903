//! A catalog that could not be opened: it is there, with its reason, and opened when something is asked of it and that can be done by then.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use nunatak_catalog::backend::{TableChange, ViewFile};
use nunatak_catalog::commit::CommitError;
use nunatak_catalog::spec::{Schema, TableMetadata, TableRequirement, TableUpdate, ViewMetadata};
use nunatak_catalog::{Catalog, Namespace, Storage, Table, TableName, View};
use nunatak_core::{Error, Result, config};
use tokio::sync::OnceCell;
use tracing::info;

use super::start::Opener;

/// How a catalog is described; what its description refers to may be missing.
pub(super) type Describe = Arc<dyn Fn() -> Result<Arc<config::Catalog>> + Send + Sync>;

/// A catalog that is not open yet. Each call tries to open it, and fails with the reason why that cannot be done.
pub(super) struct DeferredCatalog {
    name: String,
    describe: Describe,
    opener: Opener,
    /// Without properties: whoever has a table has the storage of the catalog that is open.
    storage: Arc<Storage>,
    opened: OnceCell<Arc<dyn Catalog>>,
}

impl fmt::Debug for DeferredCatalog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeferredCatalog").field("name", &self.name).field("opened", &self.opened.initialized()).finish_non_exhaustive()
    }
}

impl DeferredCatalog {
    /// One of that name.
    pub(super) fn new(name: &str, describe: Describe, opener: Opener) -> Self {
        Self { name: name.to_owned(), describe, opener, storage: Storage::new(), opened: OnceCell::new() }
    }

    /// The catalog. Errors: why it cannot be opened.
    async fn catalog(&self) -> Result<&Arc<dyn Catalog>> {
        let open = || async {
            let catalog = self.opener.open((self.describe)()?.as_ref()).await?;
            info!(catalog = %self.name, "a catalog that could not be opened is open");
            Ok::<_, Error>(catalog)
        };
        self.opened.get_or_try_init(open).await
    }
}

#[async_trait]
impl Catalog for DeferredCatalog {
    fn name(&self) -> &str {
        &self.name
    }

    fn clear(&self) {
        if let Some(catalog) = self.opened.get() {
            catalog.clear();
        }
    }

    async fn namespaces(&self) -> Result<Vec<Namespace>> {
        self.catalog().await?.namespaces().await
    }

    async fn namespace_names(&self) -> Result<Vec<String>> {
        self.catalog().await?.namespace_names().await
    }

    async fn namespace(&self, name: &str) -> Result<Option<Namespace>> {
        self.catalog().await?.namespace(name).await
    }

    async fn create_namespace(&self, name: &str, properties: BTreeMap<String, String>) -> Result<()> {
        self.catalog().await?.create_namespace(name, properties).await
    }

    async fn set_namespace_properties(&self, name: &str, removals: &[String], updates: &BTreeMap<String, String>) -> Result<()> {
        self.catalog().await?.set_namespace_properties(name, removals, updates).await
    }

    async fn drop_namespace(&self, name: &str) -> Result<()> {
        self.catalog().await?.drop_namespace(name).await
    }

    async fn tables(&self, namespace: &str) -> Result<Vec<String>> {
        self.catalog().await?.tables(namespace).await
    }

    async fn table_locations(&self, namespace: &str) -> Result<Vec<(String, Option<String>)>> {
        self.catalog().await?.table_locations(namespace).await
    }

    async fn views(&self, namespace: &str) -> Result<Vec<String>> {
        self.catalog().await?.views(namespace).await
    }

    async fn load_table(&self, name: &TableName) -> Result<Option<Table>> {
        self.catalog().await?.load_table(name).await
    }

    async fn has_table(&self, name: &TableName) -> Result<bool> {
        self.catalog().await?.has_table(name).await
    }

    async fn has_view(&self, name: &TableName) -> Result<bool> {
        self.catalog().await?.has_view(name).await
    }

    async fn stage_location(&self, name: &TableName) -> Result<String> {
        self.catalog().await?.stage_location(name).await
    }

    fn stages_apart(&self) -> bool {
        self.opened.get().is_none_or(|catalog| catalog.stages_apart())
    }

    fn check_location(&self, name: &TableName, location: &str) -> Result<()> {
        self.opened.get().map_or(Ok(()), |catalog| catalog.check_location(name, location))
    }

    fn storage(&self) -> Arc<Storage> {
        self.opened.get().map_or_else(|| Arc::clone(&self.storage), |catalog| catalog.storage())
    }

    async fn staged_storage(&self, name: &TableName, location: &str) -> Result<Arc<Storage>> {
        self.catalog().await?.staged_storage(name, location).await
    }

    async fn create_table(&self, name: &TableName, metadata: TableMetadata) -> Result<Table> {
        self.catalog().await?.create_table(name, metadata).await
    }

    async fn register_table(&self, name: &TableName, metadata_location: &str) -> Result<Table> {
        self.catalog().await?.register_table(name, metadata_location).await
    }

    async fn commit(&self, base: &Table, requirements: Vec<TableRequirement>, updates: Vec<TableUpdate>) -> Result<Table, CommitError> {
        self.catalog().await?.commit(base, requirements, updates).await
    }

    fn has_transactions(&self) -> bool {
        self.opened.get().is_some_and(|catalog| catalog.has_transactions())
    }

    async fn commit_all(&self, changes: Vec<TableChange>) -> Result<(), CommitError> {
        self.catalog().await?.commit_all(changes).await
    }

    async fn neighbours(&self, table: &Table) -> Result<Vec<Table>> {
        self.catalog().await?.neighbours(table).await
    }

    async fn drop_table(&self, name: &TableName, purge: bool) -> Result<()> {
        self.catalog().await?.drop_table(name, purge).await
    }

    async fn rename_table(&self, from: &TableName, to: &TableName) -> Result<()> {
        self.catalog().await?.rename_table(from, to).await
    }

    async fn load_view(&self, name: &TableName) -> Result<Option<View>> {
        self.catalog().await?.load_view(name).await
    }

    async fn create_view(&self, view: &View, columns: Schema, replace: bool) -> Result<()> {
        self.catalog().await?.create_view(view, columns, replace).await
    }

    async fn drop_view(&self, name: &TableName) -> Result<()> {
        self.catalog().await?.drop_view(name).await
    }

    async fn rename_view(&self, from: &TableName, to: &TableName) -> Result<()> {
        self.catalog().await?.rename_view(from, to).await
    }

    async fn has_view_files(&self) -> Result<bool> {
        self.catalog().await?.has_view_files().await
    }

    async fn load_view_file(&self, name: &TableName) -> Result<Option<ViewFile>> {
        self.catalog().await?.load_view_file(name).await
    }

    async fn create_view_file(&self, name: &TableName, metadata: ViewMetadata) -> Result<ViewFile> {
        self.catalog().await?.create_view_file(name, metadata).await
    }

    async fn register_view_file(&self, name: &TableName, metadata_location: &str) -> Result<ViewFile> {
        self.catalog().await?.register_view_file(name, metadata_location).await
    }

    async fn replace_view_file(&self, name: &TableName, base: &ViewFile, metadata: ViewMetadata) -> Result<ViewFile, CommitError> {
        self.catalog().await?.replace_view_file(name, base, metadata).await
    }
}
