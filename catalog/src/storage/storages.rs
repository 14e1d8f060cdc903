//! All storages of a process.

use std::collections::{BTreeSet, HashMap};
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

/// What was asked of one store by one storage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Used {
    /// Scheme and authority.
    pub store: String,
    /// The catalogs whose storage it is; none if it is of files that statements name.
    pub catalogs: Vec<String>,
    /// How much.
    pub numbers: StoreUse,
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

    /// The storage of a catalog, or of one of its tables, with these properties.
    pub fn of_catalog(&self, catalog: &str, properties: &StorageProperties) -> Arc<Storage> {
        let storage = self.get(properties);
        storage.catalogs.lock().insert(catalog.to_owned());
        storage
    }

    /// Takes over which catalogs there are. Storages that were of others only are forgotten as soon as nobody reads or writes by them any more.
    pub fn set_catalogs(&self, names: BTreeSet<String>) {
        let mut by_id = self.by_id.write();
        by_id.retain(|id, storage| {
            let mut catalogs = storage.catalogs.lock();
            catalogs.retain(|name| names.contains(name));
            id.is_none() || !catalogs.is_empty() || Arc::strong_count(storage) > 1
        });
    }

    /// What was asked of each store, by scheme and authority. Of storages that no catalog has any more nothing is told.
    pub fn uses(&self) -> Vec<Used> {
        let storages: Vec<Arc<Storage>> = self.by_id.read().values().cloned().collect();
        let mut uses = Vec::new();
        for storage in &storages {
            let catalogs: Vec<String> = storage.catalogs.lock().iter().cloned().collect();
            if !catalogs.is_empty() || storage.properties.id().is_none() {
                uses.extend(storage.uses().into_iter().map(|(store, numbers)| Used { store, catalogs: catalogs.clone(), numbers }));
            }
        }
        uses.sort_by(|one, other| (&one.store, &one.catalogs).cmp(&(&other.store, &other.catalogs)));
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

#[cfg(test)]
mod tests {
    use super::*;

    fn of_bucket(storages: &Storages, catalog: &str, endpoint: &str) -> Arc<Storage> {
        let properties = [("s3.endpoint", endpoint), ("s3.access-key-id", "a"), ("s3.secret-access-key", "b"), ("s3.region", "x")];
        let properties = properties.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let storage = storages.of_catalog(catalog, &StorageProperties::new(properties).unwrap());
        storage.resolve("s3://lake/x").unwrap();
        storage
    }

    #[test]
    fn storages_of_dropped_catalogs_are_forgotten() {
        let storages = Storages::default();
        let held = of_bucket(&storages, "c", "http://127.0.0.1:2");
        for name in ["b", "a"] {
            of_bucket(&storages, name, "http://127.0.0.1:1");
        }
        let has = |names: &[&str]| storages.set_catalogs(names.iter().map(|name| (*name).to_owned()).collect());
        let seen = || storages.uses().into_iter().map(|used| used.catalogs.join(" ")).collect::<Vec<_>>();
        has(&["a", "b", "c"]);
        assert_eq!(seen(), ["a b", "c"]);
        has(&["b"]);
        assert_eq!((seen(), storages.by_id.read().len()), (vec!["b".to_owned()], 2));
        drop(held);
        has(&["b"]);
        assert_eq!(storages.by_id.read().len(), 1);
    }
}
