//! The catalogs of a coordinator: those of its configuration, and those that statements make while it runs. A statement keeps those that there were when it began.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock};

use nunatak_catalog::Catalog;
use nunatak_core::config::CatalogKind;
use nunatak_core::{Code, Error, Result, config};
use nunatak_engine::context::EngineContext;
use nunatak_state::{CatalogDefinition, CatalogStore};
use tokio::sync::Mutex;
use tracing::{info, warn};

use super::deferred::{DeferredCatalog, Describe};
use super::start::Opener;

/// The catalogs, and the engine that knows them.
pub(crate) struct Catalogs {
    /// The engine with the catalogs of the configuration.
    base: Arc<EngineContext>,
    current: RwLock<Current>,
    configured: BTreeSet<String>,
    /// As the configuration describes them; the embedded one has no section.
    sections: Vec<(String, Describe)>,
    opener: Opener,
    store: Arc<dyn CatalogStore>,
    /// Those of the store. Held while they are opened.
    opened: Mutex<BTreeMap<String, Opened>>,
}

/// All catalogs at one moment. Both parts change together: whoever is given a catalog is also told what its own properties say of it.
#[derive(Clone)]
struct Current {
    engine: Arc<EngineContext>,
    /// How catalogs are described, by name.
    described: Arc<BTreeMap<String, Describe>>,
}

/// A catalog of the store.
struct Opened {
    version: u64,
    catalog: Arc<dyn Catalog>,
    describe: Describe,
}

/// A catalog, and how it is described if it is.
type Described = (Arc<dyn Catalog>, Option<Arc<config::Catalog>>);

impl Catalogs {
    /// Opens the catalogs of the store, and follows it from then on. One that cannot be opened gives the reason to those who ask it for something, and keeps nothing else
    /// from starting.
    pub(super) async fn start(base: Arc<EngineContext>, sections: &[config::Catalog], opener: Opener, store: Arc<dyn CatalogStore>) -> Arc<Self> {
        let catalogs = Arc::new(Self {
            current: RwLock::new(Current { engine: Arc::clone(&base), described: Arc::default() }),
            configured: base.catalogs().map(|(name, _)| name.to_owned()).collect(),
            sections: sections.iter().map(|section| (section.name.clone(), described(section))).collect(),
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
        self.current().engine
    }

    /// A catalog, and how it is described; the embedded one is not.
    ///
    /// Errors: `CATALOG_NOT_FOUND`, and why one cannot be opened.
    pub(super) fn described(&self, name: &str) -> Result<Described> {
        let Current { engine, described } = self.current();
        Ok((Arc::clone(engine.catalog(name)?), described.get(name).map(|describe| describe()).transpose()?))
    }

    /// The type of a catalog, as its description has it; `None` if that cannot be read now. The embedded one is in SQLite.
    pub(super) fn type_of(&self, name: &str) -> Option<&'static str> {
        let kind = self.current().described.get(name).map_or(Ok(CatalogKind::Sql), |describe| describe().map(|section| section.kind));
        kind.ok().map(CatalogKind::name)
    }

    fn current(&self) -> Current {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
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
            None => self.store.delete_unreadable(name).await?,
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
            let (catalog, describe) = self.open(name, &stored.definition.properties).await;
            opened.insert(name.clone(), Opened { version: stored.version, catalog, describe });
        }
        let engine = Arc::new(self.base.with_catalogs(opened.values().map(|opened| Arc::clone(&opened.catalog))));
        let names = engine.catalogs().map(|(name, _)| name.to_owned()).collect();
        let sections = self.sections.iter().map(|(name, describe)| (name.clone(), Arc::clone(describe)));
        let described = sections.chain(opened.iter().map(|(name, opened)| (name.clone(), Arc::clone(&opened.describe)))).collect();
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Current { engine, described: Arc::new(described) };
        // Last: those of catalogs that are gone are let go of now.
        self.base.scan().storages().set_catalogs(names);
    }

    /// Opens a catalog that a statement has made. One that cannot be opened now is opened later.
    async fn open(&self, name: &str, properties: &BTreeMap<String, String>) -> (Arc<dyn Catalog>, Describe) {
        let opened = match config::Catalog::from_properties(name, properties) {
            Ok(section) => self.opener.open(&section).await.map(|catalog| (catalog, described(&section))),
            Err(error) => Err(error),
        };
        opened.unwrap_or_else(|error| {
            warn!(%error, catalog = %name, "a catalog that was made by a statement cannot be opened; statements that need it will try again");
            let (owned, properties) = (name.to_owned(), properties.clone());
            let describe: Describe = Arc::new(move || config::Catalog::from_properties(&owned, &properties).map(Arc::new));
            (Arc::new(DeferredCatalog::new(name, Arc::clone(&describe), self.opener.clone())) as _, describe)
        })
    }
}

/// How a catalog is described: files that are named in it and could not be read are looked at again.
fn described(section: &config::Catalog) -> Describe {
    let section = Arc::new(section.clone());
    Arc::new(move || match section.absent {
        None => Ok(Arc::clone(&section)),
        Some(_) => section.resolved().map(Arc::new),
    })
}
