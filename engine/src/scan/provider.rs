//! An Iceberg table as DataFusion's planner sees it: a schema, statistics, and a plan that scans it.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use arrow::datatypes::{FieldRef, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{DFSchema, Statistics};
use datafusion::config::TableParquetOptions;
use datafusion::datasource::TableType;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfig, FileScanConfigBuilder};
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::Result as DataFusionResult;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::union::UnionExec;
use futures::{StreamExt, TryStreamExt};
use nunatak_catalog::Table;
use nunatak_catalog::snapshot::{FileEntry, ManifestCache};
use nunatak_catalog::spec::{self, SnapshotRef};
use nunatak_catalog::storage::{Storage, Storages};
use nunatak_core::{Error, Result};
use object_store::ObjectMeta;
use tokio::sync::OnceCell;

use super::bounds::ColumnSource;
use super::columns::{ScanColumns, key_column};
use super::deletes::{DeleteReader, FileDeletes, KeptDeletes};
use super::facts::FileFacts;
use super::hidden::HiddenColumn;
use super::plan::{ScanFiles, ScanShape, files_of_scan};
use super::pruning::Pruned;
use super::source::IcebergSource;
use super::splits::{FileLayout, Split, plan_splits};
use super::statistics;
use super::types::UNSUPPORTED;
use super::values::write_defaults;
use crate::error::into_datafusion;
use crate::file_cache::FileCache;

/// How many files are asked for their times at once.
const TIMES_MAX: usize = 16;

/// What the scans of a process share.
#[derive(Clone)]
pub struct ScanContext {
    manifest_cache: Arc<ManifestCache>,
    deletes: KeptDeletes,
    storages: Arc<Storages>,
    file_cache: Option<Arc<FileCache>>,
}

impl fmt::Debug for ScanContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScanContext").finish_non_exhaustive()
    }
}

impl ScanContext {
    /// A context with a cache of parsed manifests, for tables in any of these storages.
    pub fn new(manifest_cache: Arc<ManifestCache>, storages: Arc<Storages>) -> Self {
        Self { manifest_cache, deletes: KeptDeletes::new(), storages, file_cache: None }
    }

    /// The same, with a cache of parts of data files.
    #[must_use]
    pub fn with_file_cache(self, file_cache: Option<Arc<FileCache>>) -> Self {
        Self { file_cache, ..self }
    }

    /// The cache of parts of data files, if there is one.
    pub fn file_cache(&self) -> Option<&Arc<FileCache>> {
        self.file_cache.as_ref()
    }

    /// What reads deletes of tables in a storage.
    pub fn deletes(&self, storage: &Arc<Storage>) -> DeleteReader {
        DeleteReader::new(Arc::clone(storage), self.deletes.clone())
    }

    /// Where tables lie.
    pub fn storages(&self) -> &Arc<Storages> {
        &self.storages
    }

    /// Forgets parsed manifests and deletes. What is read of data files is kept: they never change.
    pub fn clear(&self) {
        self.manifest_cache.clear();
        self.deletes.clear();
    }

    /// The cache of parsed manifests.
    pub fn manifest_cache(&self) -> &ManifestCache {
        &self.manifest_cache
    }
}

/// A table at one snapshot.
#[derive(Debug)]
pub struct IcebergTable {
    shape: ScanShape,
    /// The columns behind those of the table's schema.
    hidden: Vec<HiddenColumn>,
    schema: SchemaRef,
    /// What is written into columns of which an `INSERT` says nothing.
    defaults: HashMap<String, Expr>,
    /// The locations of the data files that are read, if not all are.
    only: Option<HashSet<String>>,
    context: Arc<ScanContext>,
    /// All files of the snapshot, once somebody has asked for them.
    files: OnceCell<ScanFiles>,
    statistics: OnceLock<Statistics>,
}

impl IcebergTable {
    /// The table at a snapshot; `None` is a table without snapshots, which is empty. Reads nothing.
    ///
    /// Errors: `NOT_SUPPORTED` for a column whose type cannot be read.
    pub fn new(table: Table, snapshot: Option<SnapshotRef>, context: Arc<ScanContext>) -> Result<Self> {
        Ok(Self::of_shape(ScanShape::new(table, snapshot)?, context))
    }

    /// A table at a snapshot that is known already.
    pub fn of_shape(shape: ScanShape, context: Arc<ScanContext>) -> Self {
        let schema = Arc::clone(shape.schema());
        let defaults = write_defaults(shape.iceberg_schema(), &schema);
        Self { shape, hidden: Vec::new(), schema, defaults, only: None, context, files: OnceCell::new(), statistics: OnceLock::new() }
    }

    /// The same table with no other data files than these, by location.
    #[must_use]
    pub fn with_only(self, locations: HashSet<String>) -> Self {
        Self { only: Some(locations), ..self }
    }

    /// The same table with these files, whatever its snapshot says.
    #[must_use]
    pub fn with_files(self, files: ScanFiles) -> Self {
        Self { files: OnceCell::new_with(Some(files)), ..self }
    }

    /// The same table with its hidden columns behind those of its schema.
    #[must_use]
    pub fn with_hidden_columns(self) -> Self {
        let hidden = HiddenColumn::all_of(&self.shape);
        let visible = self.shape.schema();
        let fields = visible.fields().iter().cloned().chain(hidden.iter().map(|column| Arc::new(column.field())));
        let schema = Arc::new(Schema::new_with_metadata(fields.collect::<Vec<_>>(), visible.metadata().clone()));
        Self { hidden, schema, ..self }
    }

    /// The hidden columns that [`Self::with_hidden_columns`] has added.
    pub fn hidden_columns(&self) -> &[HiddenColumn] {
        &self.hidden
    }

    /// The table as its catalog gave it.
    pub fn table(&self) -> &Table {
        self.shape.table()
    }

    /// The snapshot that is read.
    pub fn snapshot(&self) -> Option<&SnapshotRef> {
        self.shape.snapshot()
    }

    /// The schema that is read, as Iceberg has it.
    pub fn iceberg_schema(&self) -> &spec::SchemaRef {
        self.shape.iceberg_schema()
    }

    /// The table at its snapshot, for planning scans of it.
    pub fn shape(&self) -> &ScanShape {
        &self.shape
    }

    /// All files of the snapshot. Once they are known, [`TableProvider::statistics`] is as good as it gets; before, it is an estimate.
    pub async fn load_files(&self) -> Result<&ScanFiles> {
        self.files.get_or_try_init(|| self.find_files(Vec::new())).await
    }

    async fn find_files(&self, filters: Vec<Arc<dyn PhysicalExpr>>) -> Result<ScanFiles> {
        let files = files_of_scan(&self.shape, &self.context.manifest_cache, filters).await?;
        Ok(match &self.only {
            Some(locations) => files.only(locations),
            None => files,
        })
    }

    /// The files that a scan with these filters reads: how large it is can be known before it is planned.
    pub async fn plan_files(&self, filters: Vec<Arc<dyn PhysicalExpr>>) -> Result<ScanFiles> {
        if filters.is_empty() {
            return self.load_files().await.cloned();
        }
        match self.files.get() {
            Some(all) => all.clone().pruned(&self.shape, filters),
            None => self.find_files(filters).await,
        }
    }

    /// Refuses columns of types that cannot be read.
    fn check_readable(&self, projection: Option<&Vec<usize>>) -> Result<()> {
        let is_read = |index: usize| projection.is_none_or(|columns| columns.contains(&index));
        let columns = self.schema.fields().iter().enumerate().filter(|(index, _)| is_read(*index));
        for (_, column) in columns {
            if let Some(unsupported) = column.metadata().get(UNSUPPORTED) {
                let (column, table) = (column.name(), &self.table().name);
                let error = Error::not_supported(format!("column '{column}' of table '{table}' is of type {unsupported}, which is not supported"));
                return Err(error.with_hint("leave it out: name the other columns"));
            }
        }
        Ok(())
    }

    /// When the files of a scan were written, by location, if it wants to know.
    async fn times(&self, scan: &ScanBuilder<'_>, files: &ScanFiles) -> Result<HashMap<String, i64>> {
        if !scan.wanted.contains(&HiddenColumn::FileModifiedTime) {
            return Ok(HashMap::new());
        }
        let storage = &self.table().storage;
        let reads = files.files.iter().map(|entry| {
            let location = entry.file.file_path().to_owned();
            async move { storage.modified_millis(&location).await.map(|modified| (location, modified)) }
        });
        let reads: Vec<_> = reads.collect();
        futures::stream::iter(reads).buffer_unordered(TIMES_MAX).try_collect().await
    }

    /// Whether the choice of files decides a filter completely: all its columns have a single value in each file.
    fn is_decided(&self, filter: &Expr) -> bool {
        let columns = filter.column_refs();
        !columns.is_empty() && !filter.is_volatile() && columns.iter().all(|column| self.shape.is_constant(&column.name))
    }

    fn physical_filters(&self, state: &dyn Session, filters: &[Expr]) -> DataFusionResult<Vec<Arc<dyn PhysicalExpr>>> {
        let schema = DFSchema::try_from(Arc::clone(self.shape.schema()))?;
        let mut physical = Vec::with_capacity(filters.len());
        for filter in filters {
            match state.create_physical_expr(filter.clone(), &schema) {
                Ok(expr) => physical.push(expr),
                Err(error) if self.is_decided(filter) => return Err(error),
                // It is applied again above the scan; here it could only have saved work.
                Err(_) => {}
            }
        }
        Ok(physical)
    }
}

#[async_trait]
impl TableProvider for IcebergTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn get_column_default(&self, column: &str) -> Option<&Expr> {
        self.defaults.get(column)
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> DataFusionResult<Vec<TableProviderFilterPushDown>> {
        let support = |filter: &&Expr| match self.is_decided(filter) {
            true => TableProviderFilterPushDown::Exact,
            false => TableProviderFilterPushDown::Inexact,
        };
        Ok(filters.iter().map(support).collect())
    }

    fn statistics(&self) -> Option<Statistics> {
        let schema = &self.schema;
        let Some(snapshot) = self.shape.snapshot() else { return Some(statistics::of_scan(schema, std::iter::empty())) };
        let with_distinct_counts = |whole| statistics::with_distinct_counts(whole, schema, self.shape.distinct_counts());
        let Some(all) = self.files.get() else { return Some(with_distinct_counts(statistics::of_summary(schema, snapshot))) };
        let whole = self.statistics.get_or_init(|| {
            let mut columns = self.shape.columns().to_vec();
            columns.resize(schema.fields().len(), None);
            let files = all.files.iter().map(|entry| statistics::of_file(entry, &columns, all.deletes.of(entry).as_ref()));
            with_distinct_counts(statistics::of_scan(schema, files))
        });
        Some(whole.clone())
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        self.check_readable(projection).map_err(into_datafusion)?;
        let physical = self.physical_filters(state, filters)?;
        let mut builder = ScanBuilder::new(self, state, projection, &physical);
        let mut files = self.plan_files(physical).await.map_err(into_datafusion)?;
        builder.times = self.times(&builder, &files).await.map_err(into_datafusion)?;
        // A filter that is applied above the scan needs more rows than the limit says.
        builder.limit = limit.filter(|_| filters.iter().all(|filter| self.is_decided(filter)));
        if let Some(rows) = builder.limit {
            files = files.with_at_least(rows);
        }
        builder.build(&files)
    }
}

/// Makes the plan of one scan from its files.
struct ScanBuilder<'a> {
    table: &'a IcebergTable,
    shape: &'a ScanShape,
    context: &'a ScanContext,
    state: &'a dyn Session,
    projection: Option<&'a Vec<usize>>,
    /// The columns about which statistics are worth collecting: those that are read, in the order of what the scan reads.
    columns: Vec<Option<ColumnSource>>,
    limit: Option<usize>,
    /// The hidden columns that are read.
    wanted: Vec<HiddenColumn>,
    /// When files were written, in milliseconds since 1970, if that is read.
    times: HashMap<String, i64>,
}

impl<'a> ScanBuilder<'a> {
    fn new(table: &'a IcebergTable, state: &'a dyn Session, projection: Option<&'a Vec<usize>>, filters: &[Arc<dyn PhysicalExpr>]) -> Self {
        let filtered: Vec<usize> = filters.iter().flat_map(collect_columns).map(|column| column.index()).collect();
        let is_used = |index: usize| projection.is_none_or(|projected| projected.contains(&index)) || filtered.contains(&index);
        let columns: Vec<_> = table
            .shape
            .columns()
            .iter()
            .enumerate()
            .map(|(index, column)| column.as_ref().filter(|column| is_used(index) || column.is_partition_value()).cloned())
            .collect();
        let visible = columns.len();
        let wanted: Vec<_> = (visible..).zip(&table.hidden).filter(|(index, _)| is_used(*index)).map(|(_, column)| *column).collect();
        Self { table, shape: &table.shape, context: &table.context, state, projection, columns, limit: None, wanted, times: HashMap::new() }
    }

    /// One `DataSourceExec` for each store that files lie in, which is nearly always one.
    fn build(&self, files: &ScanFiles) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        let mut by_store: BTreeMap<String, Vec<&Arc<FileEntry>>> = BTreeMap::new();
        for entry in &files.files {
            let url = self.shape.table().storage.store_url(entry.file.file_path()).map_err(into_datafusion)?;
            by_store.entry(url.to_string()).or_default().push(entry);
        }
        let mut plans =
            by_store.into_iter().map(|(url, entries)| self.build_in_store(&url, &entries, files)).collect::<DataFusionResult<Vec<_>>>()?;
        match plans.pop() {
            None if files.pruned == Pruned::default() => self.build_empty(),
            // A scan of nothing, which shows what has excluded all files.
            None => {
                let url = self.shape.table().storage.store_url(self.shape.table().metadata.location()).map_err(into_datafusion)?;
                self.build_in_store(url.as_str(), &[], files)
            }
            Some(only) if plans.is_empty() => Ok(only),
            Some(last) => {
                plans.push(last);
                UnionExec::try_new(plans)
            }
        }
    }

    fn build_empty(&self) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        let schema = match self.projection {
            Some(projection) => Arc::new(self.table.schema.project(projection)?),
            None => Arc::clone(&self.table.schema),
        };
        Ok(Arc::new(EmptyExec::new(schema)))
    }

    fn build_in_store(&self, url: &str, entries: &[&Arc<FileEntry>], files: &ScanFiles) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        let (deletes, pruned) = (files.deletes.of_all(entries), files.pruned);
        let by_position = deletes.iter().flatten().any(|deletes| deletes.has_positions());
        let read = ScanColumns::new(self.shape.schema(), &self.wanted, self.missing_keys(&deletes).map_err(into_datafusion)?, by_position);
        let schema = read.schema();
        let mut columns = self.columns.clone();
        columns.resize(schema.table_schema().fields().len(), None);
        let facts = FileFacts::new(columns);
        let with_deletes = entries.iter().zip(&deletes);
        let whole = statistics::of_scan(schema.table_schema(), with_deletes.map(|(entry, deletes)| facts.of_file(entry, deletes.as_deref())));
        let whole = statistics::with_distinct_counts(whole, schema.table_schema(), self.shape.distinct_counts());
        let file = |split: Split| {
            let entry = entries[split.file];
            let file = self.partitioned_file(entry, deletes[split.file].clone())?;
            let constants = read.constants(entry, self.times.get(entry.file.file_path()).copied());
            Ok(within(file.with_partition_values(constants), split.range))
        };
        let groups = self.file_groups(entries, file).map_err(into_datafusion)?;
        let footers = self.state.runtime_env().cache_manager.get_file_metadata_cache();
        let source = IcebergSource::new(schema.clone(), self.parquet_options(), footers, self.context, &self.shape.table().storage);
        let source = source.with_facts(facts).with_pruned(pruned);
        let all = || (0..self.table.schema.fields().len()).collect();
        let projection = self.projection.cloned().unwrap_or_else(all);
        let source = source.with_projection(&read.projection(&projection, &self.table.hidden, self.shape.schema())?)?;
        let config = FileScanConfigBuilder::new(ObjectStoreUrl::parse(url)?, Arc::new(source))
            .with_file_groups(groups)
            .with_statistics(whole)
            .with_limit(self.limit)
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }

    /// What rows of these files are deleted by, as far as the table does not have it as a column.
    fn missing_keys(&self, deletes: &[Option<Arc<FileDeletes>>]) -> Result<Vec<FieldRef>> {
        let equality = deletes.iter().flatten().flat_map(|deletes| &deletes.equality);
        let ids: BTreeSet<i32> = equality.flat_map(|deletes| deletes.field_ids.iter().copied()).collect();
        let columns: BTreeSet<i32> = self.shape.iceberg_schema().as_struct().fields().iter().map(|field| field.id).collect();
        ids.difference(&columns).map(|id| key_column(&self.shape.table().metadata, *id)).collect()
    }

    fn parquet_options(&self) -> TableParquetOptions {
        TableParquetOptions { global: self.state.config_options().execution.parquet.clone(), ..TableParquetOptions::default() }
    }

    fn partitioned_file(&self, entry: &Arc<FileEntry>, deletes: Option<Arc<FileDeletes>>) -> Result<PartitionedFile> {
        let file = PartitionedFile::new_from_meta(ObjectMeta {
            location: self.shape.table().storage.object_path(entry.file.file_path())?,
            // Data files never change, so the cache of footers needs no time to tell versions apart.
            last_modified: chrono::DateTime::UNIX_EPOCH,
            size: entry.file.file_size_in_bytes(),
            e_tag: None,
            version: None,
        })
        .with_extension(Arc::clone(entry));
        Ok(match deletes {
            Some(deletes) => file.with_extension(deletes),
            None => file,
        })
    }

    fn file_groups(&self, entries: &[&Arc<FileEntry>], file: impl Fn(Split) -> Result<PartitionedFile>) -> Result<Vec<FileGroup>> {
        let layouts: Vec<FileLayout<'_>> =
            entries.iter().map(|entry| FileLayout { size: entry.file.file_size_in_bytes(), row_groups: entry.file.split_offsets() }).collect();
        let groups = plan_splits(&layouts, self.state.config().target_partitions());
        groups.into_iter().map(|splits| Ok(FileGroup::new(splits.into_iter().map(&file).collect::<Result<_>>()?))).collect()
    }
}

/// The file, or the part of it that begins in a range.
pub(super) fn within(file: PartitionedFile, range: Option<Range<u64>>) -> PartitionedFile {
    match range {
        // A file longer than an `i64` can say does not exist.
        Some(range) => file.with_range(range.start as i64, range.end as i64),
        None => file,
    }
}

/// The scan of files that a plan's leaf is, of an Iceberg table or not; `None` for other operators.
pub fn scan_of(plan: &dyn ExecutionPlan) -> Option<&FileScanConfig> {
    plan.downcast_ref::<DataSourceExec>()?.data_source().downcast_ref()
}

/// The bytes that all Iceberg scans in a plan read, after pruning.
pub fn scan_bytes(plan: &Arc<dyn ExecutionPlan>) -> u64 {
    let of_node = match scan_of(plan.as_ref()) {
        Some(config) if config.file_source.is::<IcebergSource>() => {
            config.file_groups.iter().flat_map(|group| group.iter()).map(PartitionedFile::effective_size).sum()
        }
        _ => 0,
    };
    plan.children().into_iter().fold(of_node, |bytes, child| bytes + scan_bytes(child))
}
