//! All storages of a process.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use nunatak_core::{Error, Result};
use object_store::ObjectStore;
use parking_lot::RwLock;
use url::Url;

use super::{Storage, StorageProperties, StoreUse};

/// How many storages with credentials of one table are kept when nobody uses them.
const VENDED_MAX: usize = 1_000;

/// The storages that a process knows: that without properties, and one for each set of properties, which are known by their id.
#[derive(Default)]
pub struct Storages {
    by_id: RwLock<HashMap<Option<String>, Arc<Storage>>>,
}

impl fmt::Debug for Storages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.by_id.read().values()).finish()
    }
}

impl Storages {
    /// The storage with these properties, which is known from now on. Properties that differ only in credentials that run out are those of one storage.
    pub fn get(&self, properties: &StorageProperties) -> Arc<Storage> {
        let id = properties.id().map(str::to_owned);
        if let Some(storage) = self.by_id.read().get(&id) {
            storage.renew(properties);
            return Arc::clone(storage);
        }
        let mut by_id = self.by_id.write();
        if by_id.len() > VENDED_MAX {
            by_id.retain(|_, storage| !storage.is_vended() || Arc::strong_count(storage) > 1);
        }
        Arc::clone(by_id.entry(id).or_insert_with(|| Storage::with_properties(properties.clone())))
    }

    /// What was asked of each store of all of them, by scheme and authority.
    pub fn uses(&self) -> Vec<(String, StoreUse)> {
        let storages: Vec<Arc<Storage>> = self.by_id.read().values().cloned().collect();
        let mut uses: Vec<_> = storages.iter().flat_map(|storage| storage.uses()).collect();
        uses.sort_by(|one, other| one.0.cmp(&other.0));
        uses
    }

    /// The store that [`Storage::store_url`] of one of them gave this URL.
    pub fn store(&self, url: &Url) -> Result<Arc<dyn ObjectStore>> {
        let id = url.scheme().split_once('+').map(|(_, id)| id.to_owned());
        if id.is_none() {
            return self.get(&StorageProperties::default()).by_url(url);
        }
        let storage = self.by_id.read().get(&id).cloned();
        storage.ok_or_else(|| Error::internal(format!("no storage is known for '{url}'")))?.by_url(url)
    }
}
