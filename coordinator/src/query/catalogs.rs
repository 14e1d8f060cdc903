//! The catalogs of a coordinator: those of its configuration, and those that statements make while it runs. A statement keeps those that there were when it began.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock};

use nunatak_catalog::Catalog;
use nunatak_core::{Code, Error, Result, config};
use nunatak_engine::context::EngineContext;
use nunatak_state::{CatalogDefinition, CatalogStore};
use tokio::sync::Mutex;
use tracing::{info, warn};

use super::start::Opener;

/// The catalogs, and the engine that knows them.
pub(crate) struct Catalogs {
    /// The engine with the catalogs of the configuration.
    base: Arc<EngineContext>,
    /// The same with all catalogs.
    engine: RwLock<Arc<EngineContext>>,
    configured: BTreeSet<String>,
    opener: Opener,
    store: Arc<dyn CatalogStore>,
    /// Those of the store. Held while they are opened.
    opened: Mutex<BTreeMap<String, Opened>>,
}

/// A catalog of the store.
struct Opened {
    version: u64,
    /// `None` if it could not be opened.
    catalog: Option<Arc<dyn Catalog>>,
}

impl Catalogs {
    /// Opens the catalogs of the store, and follows it from then on. One that cannot be opened is missing, and keeps nothing else from starting.
    pub(super) async fn start(base: Arc<EngineContext>, opener: Opener, store: Arc<dyn CatalogStore>) -> Arc<Self> {
        let catalogs = Arc::new(Self {
            engine: RwLock::new(Arc::clone(&base)),
            configured: base.catalogs().map(|(name, _)| name.to_owned()).collect(),
            base,
            opener,
            store,
            opened: Mutex::default(),
        });
        let mut stored = catalogs.store.watch();
        stored.mark_unchanged();
        catalogs.follow().await;
        let weak = Arc::downgrade(&catalogs);
        tokio::spawn(async move {
            while stored.changed().await.is_ok() {
                let Some(catalogs) = weak.upgrade() else { return };
                catalogs.follow().await;
            }
        });
        catalogs
    }

    /// The engine with all catalogs that there are now.
    pub(crate) fn engine(&self) -> Arc<EngineContext> {
        Arc::clone(&self.engine.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Makes a catalog, which every later statement knows. Its server is not asked for anything.
    ///
    /// Errors: `ALREADY_EXISTS`, `CONFIGURATION_INVALID` for properties that the configuration would refuse too.
    pub(crate) async fn create(&self, name: &str, definition: CatalogDefinition) -> Result<()> {
        let exists = || Error::new(Code::AlreadyExists, format!("catalog '{name}' exists already"));
        if self.configured.contains(name) || self.store.watch().borrow().contains_key(name) {
            return Err(exists());
        }
        let described = config::Catalog::from_properties(name, &definition.properties)?;
        // What only opening it tells is told before it is kept.
        self.opener.open(&described).await?;
        if !self.store.put(name, definition, None).await? {
            return Err(exists());
        }
        info!(catalog = name, "catalog is made");
        self.follow().await;
        Ok(())
    }

    /// Forgets a catalog. Its tables, and all else that its server has, stay as they are.
    ///
    /// Errors: `CATALOG_NOT_FOUND`, `NOT_SUPPORTED` for one that is not a statement's.
    pub(crate) async fn forget(&self, name: &str) -> Result<()> {
        if self.configured.contains(name) {
            return Err(Error::not_supported(format!("catalog '{name}' is of the configuration and cannot be dropped"))
                .with_hint(format!("take the section [catalog.{name}] out of the configuration and start again")));
        }
        let version = self.store.watch().borrow().get(name).map(|stored| stored.version);
        let dropped = match version {
            Some(version) => self.store.delete(name, version).await?,
            None => false,
        };
        if !dropped {
            return Err(Error::new(Code::CatalogNotFound, format!("catalog '{name}' does not exist")));
        }
        info!(catalog = name, "catalog is dropped");
        self.follow().await;
        Ok(())
    }

    /// Has those catalogs that the store has.
    async fn follow(&self) {
        let mut opened = self.opened.lock().await;
        // Not before: what was read first must not come last.
        let stored = Arc::clone(&self.store.watch().borrow());
        opened.retain(|name, _| stored.contains_key(name));
        for (name, stored) in stored.iter() {
            if self.configured.contains(name) {
                warn!(catalog = %name, "a catalog that was made by a statement is not used: the configuration has one of the same name");
                continue;
            }
            if opened.get(name).is_some_and(|opened| opened.version == stored.version) {
                continue;
            }
            let catalog = match config::Catalog::from_properties(name, &stored.definition.properties) {
                Ok(described) => self.opener.open(&described).await,
                Err(error) => Err(error),
            };
            let catalog = catalog.map_err(|error| warn!(%error, catalog = %name, "a catalog that was made by a statement cannot be opened")).ok();
            opened.insert(name.clone(), Opened { version: stored.version, catalog });
        }
        let usable = opened.values().filter_map(|opened| opened.catalog.clone());
        let engine = Arc::new(self.base.with_catalogs(usable));
        *self.engine.write().unwrap_or_else(PoisonError::into_inner) = engine;
    }
}
