//! What all queries of a process share: memory, caches, object stores, functions, and the catalogs.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use datafusion::execution::FunctionRegistry;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::TrackConsumersPool;
use datafusion::execution::object_store::ObjectStoreRegistry;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::prelude::SessionConfig;
use nunatak_catalog::Catalog;
use nunatak_catalog::snapshot::ManifestCache;
use nunatak_catalog::storage::Storages;
use nunatak_core::{Code, Error, Result};

use object_store::ObjectStore;
use url::Url;

use crate::catalog_health::CatalogHealth;
use crate::error::{from_datafusion, into_datafusion, suggest};
use crate::file_cache::{FileCache, FileCacheOptions};
use crate::functions;
use crate::memory::MemoryOfQueries;
use crate::rules::{self, DistinctValues, YieldInJoins, ZerosInLists};
use crate::scan::ScanContext;
use crate::sql::{AggregateCalls, JoinUsing, Keyless, NestedOperators, SystemTables, TemporalTypes, TimeExpressions, Unnested};

/// Memory that parsed manifests may take, in bytes.
const MANIFEST_CACHE_BYTES_MAX: u64 = 256 << 20;

/// How long listings over all catalogs wait for the first answer of each, unless it is said.
const LISTING_WAIT: Duration = Duration::from_secs(5);

/// How many of the largest consumers an error about memory names.
const MEMORY_CONSUMERS_NAMED: usize = 5;

/// How the engine of a process is set up.
#[derive(Clone, Debug)]
pub struct Options {
    /// Memory that all queries share, in bytes.
    pub memory_bytes_max: usize,
    /// Partitions that a query is split into.
    pub slots: usize,
    /// Where queries spill what does not fit into memory.
    pub spill_dir: PathBuf,
    /// What is kept of data files that were read.
    pub file_cache: FileCacheOptions,
}

/// What all queries of a process share. Held in an `Arc`.
pub struct EngineContext {
    base: SessionState,
    scan: Arc<ScanContext>,
    catalogs: BTreeMap<String, Arc<dyn Catalog>>,
    health: Arc<CatalogHealth>,
    system_tables: Option<Arc<dyn SystemTables>>,
}

impl fmt::Debug for EngineContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EngineContext").field("catalogs", &self.catalogs.keys()).finish_non_exhaustive()
    }
}

impl EngineContext {
    /// Sets everything up. `storages` has the storages of the catalogs; queries reach all of them.
    ///
    /// Errors: `CONFIGURATION_INVALID` if the folder for parts of data files cannot be used.
    pub async fn start(options: &Options, storages: &Arc<Storages>, catalogs: Vec<Arc<dyn Catalog>>) -> Result<Self> {
        let file_cache = FileCache::open(&options.file_cache).await?;
        let runtime = build_runtime(options, storages)?;
        let mut base = SessionStateBuilder::new()
            .with_config(session_config(options.slots))
            .with_runtime_env(runtime)
            // Before DataFusion's own, which take arrays as they are.
            .with_expr_planners(vec![Arc::new(NestedOperators), Arc::new(TemporalTypes), Arc::new(TimeExpressions), Arc::new(AggregateCalls)])
            .with_default_features()
            .with_type_planner(Arc::new(TemporalTypes))
            .with_relation_planners(vec![Arc::new(Keyless), Arc::new(JoinUsing), Arc::new(Unnested)])
            .with_analyzer_rules(rules::analyzer_rules())
            .with_optimizer_rules(rules::optimizer_rules())
            .with_optimizer_rule(Arc::new(ZerosInLists))
            .with_optimizer_rule(Arc::new(DistinctValues))
            .with_physical_optimizer_rules(rules::physical_rules())
            .with_physical_optimizer_rule(Arc::new(YieldInJoins))
            .build();
        register_functions(&mut base)?;
        let manifest_cache = Arc::new(ManifestCache::new(MANIFEST_CACHE_BYTES_MAX));
        Ok(Self {
            base,
            scan: Arc::new(ScanContext::new(manifest_cache, Arc::clone(storages)).with_file_cache(file_cache)),
            catalogs: catalogs.into_iter().map(|catalog| (catalog.name().to_owned(), catalog)).collect(),
            health: Arc::new(CatalogHealth::new(LISTING_WAIT)),
            system_tables: None,
        })
    }

    /// The same, whose listings over all catalogs wait so long for the first answer of each.
    #[must_use]
    pub fn with_listing_wait(self, wait: Duration) -> Self {
        Self { health: Arc::new(CatalogHealth::new(wait)), ..self }
    }

    /// The same, with tables in the schema `system` of each catalog.
    #[must_use]
    pub fn with_system_tables(self, tables: Arc<dyn SystemTables>) -> Self {
        Self { system_tables: Some(tables), ..self }
    }

    /// The same, with these catalogs besides its own.
    #[must_use]
    pub fn with_catalogs(&self, catalogs: impl IntoIterator<Item = Arc<dyn Catalog>>) -> Self {
        let mut all = self.catalogs.clone();
        all.extend(catalogs.into_iter().map(|catalog| (catalog.name().to_owned(), catalog)));
        let (base, scan, health) = (self.base.clone(), Arc::clone(&self.scan), Arc::clone(&self.health));
        Self { base, scan, catalogs: all, health, system_tables: self.system_tables.clone() }
    }

    /// Which catalogs answer.
    pub fn health(&self) -> &Arc<CatalogHealth> {
        &self.health
    }

    /// The tables in the schema `system`, if there are some.
    pub fn system_tables(&self) -> Option<&Arc<dyn SystemTables>> {
        self.system_tables.as_ref()
    }

    /// The session that each query's own is made from.
    pub fn base(&self) -> &SessionState {
        &self.base
    }

    /// What scans share.
    pub fn scan(&self) -> &Arc<ScanContext> {
        &self.scan
    }

    /// Keeps for the next process what it can use. To be called when no query runs any more.
    pub async fn close(&self) {
        if let Some(cache) = self.scan.file_cache() {
            cache.close().await;
        }
    }

    /// The catalog of that name. Errors: `CATALOG_NOT_FOUND`.
    pub fn catalog(&self, name: &str) -> Result<&Arc<dyn Catalog>> {
        self.catalogs.get(name).ok_or_else(|| {
            let missing = Error::new(Code::CatalogNotFound, format!("catalog '{name}' does not exist"));
            let names: Vec<&str> = self.catalogs.keys().map(String::as_str).collect();
            suggest(missing.with_hint(format!("catalogs: {}", names.join(", "))), name, names.iter().copied())
        })
    }

    /// All catalogs by name.
    pub fn catalogs(&self) -> impl Iterator<Item = (&str, &Arc<dyn Catalog>)> {
        self.catalogs.iter().map(|(name, catalog)| (name.as_str(), catalog))
    }
}

/// Adds the functions of our own, among them the partition transforms, by which plans that write distribute and sort rows.
pub(crate) fn register_functions(state: &mut SessionState) -> Result<()> {
    for function in functions::scalars() {
        // What has one of its names goes with all of its own: sessions that are made from this one register all functions again, in no order.
        for name in std::iter::once(function.name()).chain(function.aliases().iter().map(String::as_str)) {
            if let Some(other) = state.scalar_functions().get(name).map(|other| other.name().to_owned()) {
                state.deregister_udf(&other).map_err(from_datafusion)?;
            }
        }
        state.register_udf(function).map_err(from_datafusion)?;
    }
    for function in functions::higher_order() {
        // A call of this name would be one of DataFusion's without functions.
        state.deregister_udf(function.name()).map_err(from_datafusion)?;
        if let Some(other) = state.higher_order_functions().get(function.name()).map(|other| other.name().to_owned()) {
            state.deregister_higher_order_function(&other).map_err(from_datafusion)?;
        }
        state.register_higher_order_function(function).map_err(from_datafusion)?;
    }
    for function in functions::aggregates() {
        for name in std::iter::once(function.name()).chain(function.aliases().iter().map(String::as_str)) {
            if let Some(other) = state.aggregate_functions().get(name).map(|other| other.name().to_owned()) {
                state.deregister_udaf(&other).map_err(from_datafusion)?;
            }
        }
        state.register_udaf(Arc::clone(function)).map_err(from_datafusion)?;
    }
    Ok(())
}

fn build_runtime(options: &Options, storages: &Arc<Storages>) -> Result<Arc<RuntimeEnv>> {
    let consumers = std::num::NonZeroUsize::new(MEMORY_CONSUMERS_NAMED).unwrap_or(std::num::NonZeroUsize::MIN);
    let pool = TrackConsumersPool::new(MemoryOfQueries::new(options.memory_bytes_max), consumers);
    let disk = DiskManagerBuilder::default().with_mode(DiskManagerMode::Directories(vec![options.spill_dir.clone()]));
    let builder = RuntimeEnvBuilder::new().with_memory_pool(Arc::new(pool)).with_disk_manager_builder(disk);
    builder.with_object_store_registry(Arc::new(StoreRegistry(Arc::clone(storages)))).build_arc().map_err(from_datafusion)
}

/// The stores of a process as DataFusion asks for them.
#[derive(Debug)]
struct StoreRegistry(Arc<Storages>);

impl ObjectStoreRegistry for StoreRegistry {
    /// Stores are not registered: [`Storages`] makes them.
    fn register_store(&self, _url: &Url, _store: Arc<dyn ObjectStore>) -> Option<Arc<dyn ObjectStore>> {
        None
    }

    fn get_store(&self, url: &Url) -> datafusion::error::Result<Arc<dyn ObjectStore>> {
        self.0.store(url).map_err(into_datafusion)
    }
}

fn session_config(slots: usize) -> SessionConfig {
    let mut config = SessionConfig::new().with_target_partitions(slots).with_information_schema(false).with_create_default_catalog_and_schema(false);
    let options = config.options_mut();
    options.sql_parser.collect_spans = true;
    // As in Trino, `1.5` is a decimal, and `1.5e0` a double: see `sql::queries`.
    options.sql_parser.parse_float_as_decimal = true;
    // As in Trino, NULLs come last whichever way the order goes.
    options.sql_parser.default_null_ordering = "nulls_last".into();
    options.execution.time_zone = Some("UTC".into());
    options.execution.parquet.pushdown_filters = false;
    options.execution.collect_statistics = true;
    // Where a part of a union turns out to give no rows, its rule knows more of NULLs than the aggregation above was told, which DataFusion takes for an error of its own.
    options.execution.skip_physical_aggregate_schema_check = true;
    config
}
