//! Start-up: the data directory, the catalog in it, and the engine.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nunatak_catalog::Catalog;
use nunatak_catalog::backend::hadoop::{HadoopCatalog, HadoopCatalogOptions};
use nunatak_catalog::backend::hive::{HiveCatalog, HiveCatalogOptions};
use nunatak_catalog::backend::rest::{RestCatalog, RestCatalogOptions};
use nunatak_catalog::backend::sql::{SqlCatalog, SqlCatalogOptions, SqlDatabase};
use nunatak_catalog::storage::{Storage, StorageProperties, Storages};
use nunatak_core::config::{self, CatalogKind};
use nunatak_core::{Code, Error, Result, Retry};
use nunatak_engine::context::{EngineContext, Options as EngineOptions};
use tracing::warn;

use super::Options;
use super::deferred::DeferredCatalog;

/// What opens catalogs.
#[derive(Clone)]
pub(super) struct Opener {
    data_dir: PathBuf,
    storages: Arc<Storages>,
}

impl Opener {
    /// The directory of the coordinator, as an absolute path.
    pub(super) fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// Opens a catalog. Where it is one of a server, nothing is asked of that.
    pub(super) async fn open(&self, catalog: &config::Catalog) -> Result<Arc<dyn Catalog>> {
        build_catalog(catalog, &self.data_dir, &self.storages).await
    }

    /// Opens a catalog of the configuration, or one that tries that anew with each statement: a catalog that is of no use keeps nobody from the others.
    ///
    /// Errors: those of what is written, which only writing something else can mend.
    async fn open_section(&self, catalog: &config::Catalog) -> Result<Arc<dyn Catalog>> {
        let opened = match catalog.resolved() {
            Ok(catalog) => self.open(&catalog).await,
            Err(error) => Err(error),
        };
        match opened {
            Err(error) if !is_written_wrong(&error) => {
                warn!(%error, catalog = %catalog.name, "a catalog cannot be opened; statements that need it will try again");
                let section = catalog.clone();
                let describe = Arc::new(move || section.resolved().map(Arc::new));
                Ok(Arc::new(DeferredCatalog::new(&catalog.name, describe, self.clone())))
            }
            opened => opened,
        }
    }
}

/// Whether an error of opening a catalog is about its properties alone, and not about files and servers that they name.
fn is_written_wrong(error: &Error) -> bool {
    matches!(error.code(), Code::ConfigurationInvalid | Code::NotSupported) && error.retry() == Retry::Never
}

pub(super) async fn build_engine(options: &Options) -> Result<(EngineContext, Opener)> {
    let data_dir = build_data_dir(&options.data_dir)?;
    let storages = Arc::new(Storages::default());
    let opener = Opener { data_dir: data_dir.clone(), storages: Arc::clone(&storages) };
    let mut catalogs = Vec::with_capacity(options.catalogs.len() + 1);
    for catalog in &options.catalogs {
        catalogs.push(opener.open_section(catalog).await?);
    }
    if options.catalogs.iter().all(|catalog| catalog.name != options.default_catalog) {
        catalogs.push(embedded_catalog(options, &data_dir, &storages.of_catalog(&options.default_catalog, &StorageProperties::default())).await?);
    }
    let engine = EngineOptions {
        memory_bytes_max: options.memory_bytes_max,
        slots: options.slots,
        spill_dir: data_dir.join("spill"),
        file_cache: options.file_cache.clone(),
    };
    let engine = EngineContext::start(&engine, &storages, catalogs).await?;
    Ok((engine, opener))
}

/// Makes the directory and everything in it that has to be there, and gives its absolute path.
fn build_data_dir(data_dir: &Path) -> Result<std::path::PathBuf> {
    let wrong = |error: std::io::Error| {
        Error::new(Code::ConfigurationInvalid, format!("data directory '{}' cannot be written: {error}", data_dir.display()))
            .with_hint("name another one with --data-dir")
    };
    for folder in ["warehouse", "spill"] {
        std::fs::create_dir_all(data_dir.join(folder)).map_err(wrong)?;
    }
    let probe = data_dir.join(".writable");
    std::fs::write(&probe, b"").and_then(|()| std::fs::remove_file(&probe)).map_err(wrong)?;
    data_dir.canonicalize().map_err(wrong)
}

/// A catalog that the configuration or a statement describes.
async fn build_catalog(catalog: &config::Catalog, data_dir: &Path, storages: &Arc<Storages>) -> Result<Arc<dyn Catalog>> {
    let config::Catalog { name, kind, uri, warehouse: place, storage: properties, .. } = catalog;
    let in_section = |error: Error| error.with_context("catalog", name.clone());
    let storage = || StorageProperties::new(properties.clone()).map(|properties| storages.of_catalog(name, &properties)).map_err(in_section);
    let warehouse = place.clone().unwrap_or_default();
    let opened: Result<Arc<dyn Catalog>> = match kind {
        CatalogKind::Hadoop => {
            let storage = storage()?;
            HadoopCatalog::open(HadoopCatalogOptions { name: name.clone(), warehouse, storage }).map(|catalog| Arc::new(catalog) as _)
        }
        CatalogKind::Hive => HiveCatalog::open(HiveCatalogOptions {
            name: name.clone(),
            uri: uri.clone().unwrap_or_default(),
            warehouse,
            properties: properties.clone(),
            storages: Arc::clone(storages),
        })
        .map(|catalog| Arc::new(catalog) as _),
        CatalogKind::Rest => RestCatalog::open(RestCatalogOptions {
            name: name.clone(),
            uri: uri.clone().unwrap_or_default(),
            warehouse: place.clone(),
            properties: properties.clone(),
            storages: Arc::clone(storages),
        })
        .map(|catalog| Arc::new(catalog) as _),
        CatalogKind::Sql => open_sql(catalog, data_dir, storages).await.map(|catalog| Arc::new(catalog) as _),
    };
    opened.map_err(in_section)
}

async fn open_sql(catalog: &config::Catalog, data_dir: &Path, storages: &Storages) -> Result<SqlCatalog> {
    let (properties, of_storage): (BTreeMap<_, _>, BTreeMap<_, _>) =
        catalog.storage.clone().into_iter().partition(|(name, _)| SqlDatabase::is_property(name));
    let database = match &catalog.uri {
        Some(uri) => SqlDatabase::parse(uri, &properties)?,
        None => SqlDatabase::Sqlite(data_dir.join(format!("{}.sqlite", catalog.name))),
    };
    SqlCatalog::open(SqlCatalogOptions {
        name: catalog.name.clone(),
        database,
        upgrade: SqlDatabase::upgrades(&properties)?,
        warehouse: catalog.warehouse.clone().unwrap_or_default(),
        storage: storages.of_catalog(&catalog.name, &StorageProperties::new(of_storage)?),
    })
    .await
}

async fn embedded_catalog(options: &Options, data_dir: &Path, storage: &Arc<Storage>) -> Result<Arc<dyn Catalog>> {
    let catalog = SqlCatalog::open(SqlCatalogOptions {
        name: options.default_catalog.clone(),
        database: SqlDatabase::Sqlite(data_dir.join("catalog.sqlite")),
        upgrade: true,
        warehouse: format!("file://{}", data_dir.join("warehouse").display()),
        storage: Arc::clone(storage),
    });
    let catalog: Arc<dyn Catalog> = Arc::new(catalog.await?);
    match catalog.create_namespace(&options.default_schema, Default::default()).await {
        Err(error) if error.code() != Code::SchemaAlreadyExists => Err(error),
        _ => Ok(catalog),
    }
}
