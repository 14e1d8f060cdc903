//! Commits that fail, or whose outcome nobody knows.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use nunatak_catalog::commit::{self, CommitError};
use nunatak_catalog::snapshot::{self, ManifestCache};
use nunatak_catalog::spec::{Schema, TableMetadata, TableRequirement, TableUpdate};
use nunatak_catalog::{Catalog, Namespace, Storage, Table, TableName, View};
use nunatak_core::{Code, Error, Result};

use crate::support::{Warehouse, With, file, live_names, local, metadata_files, trips};

/// What goes wrong with a commit.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// It happens, but the answer is lost.
    AnswerLost,
    /// It does not happen, and the answer is lost.
    RequestLost,
    /// It is refused.
    Refused,
    /// Others are always faster.
    AlwaysConflict,
}

#[derive(Debug)]
struct Faulty {
    inner: Arc<dyn Catalog>,
    fault: Fault,
    commits: AtomicU32,
}

#[async_trait]
impl Catalog for Faulty {
    async fn commit(&self, base: &Table, requirements: Vec<TableRequirement>, updates: Vec<TableUpdate>) -> Result<Table, CommitError> {
        self.commits.fetch_add(1, Ordering::Relaxed);
        let error = Error::new(Code::CatalogUnavailable, "connection lost");
        match self.fault {
            Fault::AnswerLost => {
                self.inner.commit(base, requirements, updates).await?;
                Err(CommitError::Unknown(error))
            }
            Fault::RequestLost => Err(CommitError::Unknown(error)),
            Fault::Refused => Err(CommitError::Failed(error)),
            Fault::AlwaysConflict => Err(CommitError::Conflict(error)),
        }
    }

    fn name(&self) -> &str {
        self.inner.name()
    }
    fn clear(&self) {
        self.inner.clear();
    }
    async fn namespaces(&self) -> Result<Vec<Namespace>> {
        self.inner.namespaces().await
    }
    async fn namespace(&self, name: &str) -> Result<Option<Namespace>> {
        self.inner.namespace(name).await
    }
    async fn create_namespace(&self, name: &str, properties: BTreeMap<String, String>) -> Result<()> {
        self.inner.create_namespace(name, properties).await
    }
    async fn drop_namespace(&self, name: &str) -> Result<()> {
        self.inner.drop_namespace(name).await
    }
    async fn tables(&self, namespace: &str) -> Result<Vec<String>> {
        self.inner.tables(namespace).await
    }
    async fn views(&self, namespace: &str) -> Result<Vec<String>> {
        self.inner.views(namespace).await
    }
    async fn load_table(&self, name: &TableName) -> Result<Option<Table>> {
        self.inner.load_table(name).await
    }
    async fn stage_location(&self, name: &TableName) -> Result<String> {
        self.inner.stage_location(name).await
    }
    fn storage(&self) -> Arc<Storage> {
        self.inner.storage()
    }
    async fn create_table(&self, name: &TableName, metadata: TableMetadata) -> Result<Table> {
        self.inner.create_table(name, metadata).await
    }
    async fn register_table(&self, name: &TableName, metadata_location: &str) -> Result<Table> {
        self.inner.register_table(name, metadata_location).await
    }
    async fn neighbours(&self, table: &Table) -> Result<Vec<Table>> {
        self.inner.neighbours(table).await
    }
    async fn drop_table(&self, name: &TableName, purge: bool) -> Result<()> {
        self.inner.drop_table(name, purge).await
    }
    async fn rename_table(&self, from: &TableName, to: &TableName) -> Result<()> {
        self.inner.rename_table(from, to).await
    }
    async fn load_view(&self, name: &TableName) -> Result<Option<View>> {
        self.inner.load_view(name).await
    }
    async fn create_view(&self, view: &View, columns: Schema, replace: bool) -> Result<()> {
        self.inner.create_view(view, columns, replace).await
    }
    async fn rename_view(&self, from: &TableName, to: &TableName) -> Result<()> {
        self.inner.rename_view(from, to).await
    }

    async fn drop_view(&self, name: &TableName) -> Result<()> {
        self.inner.drop_view(name).await
    }
}

/// Appends one file through a faulty catalog: what came of it, after how many commits, and the table afterwards.
async fn append(fault: Fault) -> (Result<commit::Appended>, u32, Table) {
    let warehouse = Warehouse::new().await;
    let table = warehouse.create(&trips(), With::properties(&[("commit.retry.min-wait-ms", "1")])).await;
    let faulty = Faulty { inner: warehouse.catalog.clone(), fault, commits: AtomicU32::new(0) };
    let outcome = commit::append(&faulty, &table, vec![file(&table, "a", 1)], BTreeMap::new()).await;
    let table = warehouse.load(&trips()).await;
    if let Ok(appended) = &outcome {
        assert_eq!(appended.table.metadata.current_snapshot_id(), Some(appended.snapshot_id));
        assert_eq!(live_names(&table).await, ["a.parquet"]);
    }
    let avro = metadata_files(&table, ".avro").len();
    let kept = matches!(fault, Fault::AnswerLost | Fault::RequestLost);
    assert_eq!(avro, if kept { 2 } else { 0 }, "{fault:?}");
    (outcome, faulty.commits.load(Ordering::Relaxed), table)
}

#[tokio::test]
async fn a_commit_whose_answer_is_lost_is_found() {
    let (outcome, commits, _) = append(Fault::AnswerLost).await;
    outcome.unwrap();
    assert_eq!(commits, 1);
}

#[tokio::test]
async fn a_commit_that_is_not_found_is_unknown_and_nothing_is_deleted() {
    let (outcome, commits, _) = append(Fault::RequestLost).await;
    assert_eq!(outcome.unwrap_err().code(), Code::CommitStateUnknown);
    assert_eq!(commits, 1);
}

#[tokio::test]
async fn a_change_of_metadata_whose_answer_is_lost_is_seen() {
    let warehouse = Warehouse::new().await;
    let table = warehouse.create(&trips(), With::default()).await;
    let change = |_: &Table| Ok::<_, Error>(vec![TableUpdate::SetProperties { updates: [("k".to_owned(), "v".to_owned())].into() }]);
    for (fault, is_made) in [(Fault::RequestLost, false), (Fault::AnswerLost, true)] {
        let faulty = Faulty { inner: warehouse.catalog.clone(), fault, commits: AtomicU32::new(0) };
        match commit::change_metadata(&faulty, &table, change).await {
            Ok(changed) => assert!(is_made && changed.metadata.properties()["k"] == "v"),
            Err(error) => assert!(!is_made && error.code() == Code::CommitStateUnknown, "{error}"),
        }
    }
}

#[tokio::test]
async fn a_refused_commit_leaves_nothing() {
    let (outcome, commits, _) = append(Fault::Refused).await;
    assert_eq!(outcome.unwrap_err().code(), Code::CatalogUnavailable);
    assert_eq!(commits, 1);
}

#[tokio::test]
async fn conflicts_are_tried_again_as_often_as_the_table_says() {
    let (outcome, commits, _) = append(Fault::AlwaysConflict).await;
    assert_eq!(outcome.unwrap_err().code(), Code::TransactionConflict);
    assert_eq!(commits, 5);
}

#[tokio::test]
async fn a_lost_manifest_is_named() {
    let warehouse = Warehouse::new().await;
    let table = warehouse.create(&trips(), With::default()).await;
    let table = warehouse.append(&table, vec![file(&table, "a", 1)]).await.unwrap().table;
    let snapshot = table.metadata.current_snapshot().unwrap();
    let cache = ManifestCache::new(1 << 20);
    let path = snapshot::manifests(&table, snapshot, &cache).await.unwrap()[0].manifest_path.clone();
    std::fs::remove_file(local(&path)).unwrap();
    let error = snapshot::files(&table, snapshot, &cache, &|_| true).await.unwrap_err();
    assert_eq!(error.code(), Code::IcebergMissingData);
    assert!(error.message().contains(&path), "{error}");

    std::fs::write(local(&path), b"Obj\x01rubbish").unwrap();
    let error = snapshot::files(&table, snapshot, &cache, &|_| true).await.unwrap_err();
    assert_eq!(error.code(), Code::IcebergInvalidMetadata);
    assert!(error.message().contains(&path), "{error}");
}
