//! The catalogs that statements have made, for all coordinators of a cluster: `catalogs/NAME`, as JSON of [`CatalogDefinition`].

use std::sync::Arc;

use async_trait::async_trait;
use etcd_client::KeyValue;
use nunatak_core::Result;
use nunatak_core::config::Etcd;
use tokio::sync::watch;

use super::mirror::{Mirror, Value};
use super::servers::at_run_time;
use crate::catalogs::too_many;
use crate::{CatalogDefinition, CatalogStore, StoredCatalog, StoredCatalogs};

/// Catalogs in etcd. What was seen last stays while etcd is away, and cannot be changed.
#[derive(Debug)]
pub struct EtcdCatalogs(Arc<Mirror<StoredCatalog>>);

impl EtcdCatalogs {
    /// Reads what is there, and follows it as long as the store is referred to. Must be called within a Tokio runtime.
    ///
    /// Errors: `CLUSTER_STATE_UNAVAILABLE` if no server answers, `CONFIGURATION_INVALID` if they refuse the user or certificates cannot be read.
    pub async fn start(etcd: &Etcd) -> Result<Self> {
        Mirror::start(etcd, "catalogs").await.map(Self)
    }
}

impl Value for StoredCatalog {
    fn read(pair: &KeyValue) -> serde_json::Result<Self> {
        let definition = serde_json::from_slice(pair.value())?;
        Ok(Self { version: u64::try_from(pair.mod_revision()).unwrap_or_default(), definition })
    }
}

#[async_trait]
impl CatalogStore for EtcdCatalogs {
    fn watch(&self) -> watch::Receiver<Arc<StoredCatalogs>> {
        self.0.watch()
    }

    async fn put(&self, name: &str, definition: CatalogDefinition, expected: Option<u64>) -> Result<bool> {
        if expected.is_none() {
            too_many(self.0.count())?;
        }
        self.0.put(name, &definition, expected.map(revision), None).await.map_err(at_run_time)
    }

    async fn delete(&self, name: &str, expected: u64) -> Result<bool> {
        self.0.delete(name, revision(expected)).await.map_err(at_run_time)
    }

    async fn delete_unreadable(&self, name: &str) -> Result<bool> {
        self.0.delete_unreadable(name).await.map_err(at_run_time)
    }
}

fn revision(version: u64) -> i64 {
    i64::try_from(version).unwrap_or(i64::MAX)
}
