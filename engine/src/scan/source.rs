//! The file source of Iceberg scans: DataFusion's Parquet source, with columns matched by field id and footers read as Iceberg needs them.
//!
//! Its state is small and plain, so that it can cross the wire: the table's schema (which carries field ids and defaults), the Parquet options, and
//! what the optimiser pushed into it. Footers are cached by whoever executes it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::FieldRef;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::config::{ConfigOptions, TableParquetOptions};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::{ParquetFileReaderFactory, ParquetVirtualColumn};
use datafusion::datasource::physical_plan::{FileScanConfig, FileScanConfigBuilder, FileSource, ParquetSource};
use datafusion::datasource::table_schema::TableSchema;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::cache::cache_manager::FileMetadataCache;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::projection::{ProjectionExpr, ProjectionExprs};
use datafusion::physical_expr::{EquivalenceProperties, LexOrdering, PhysicalExpr, PhysicalSortExpr};
use datafusion::physical_plan::filter_pushdown::{FilterPushdownPropagation, PushedDown};
use datafusion::physical_plan::metrics::{ExecutionPlanMetricsSet, MetricBuilder};
use datafusion::physical_plan::{DisplayFormatType, SortOrderPushdownResult};
use datafusion_datasource::file_stream::FileOpener;
use datafusion_datasource::morsel::Morselizer;
use nunatak_catalog::storage::Storage;
use nunatak_core::Error;
use object_store::ObjectStore;

use super::adapter::IcebergExprAdapterFactory;
use super::columns::key_name;
use super::deletes::{DeleteReader, FileDeletes, WithDeletes, equality_ids};
use super::facts::{Described, FileFacts};
use super::nans::{ByNans, Guarded};
use super::provider::ScanContext;
use super::pruning::Pruned;
use super::reader::IcebergReaderFactory;
use super::types::field_id;
use crate::error::into_datafusion;
use crate::file_cache::FileCache;

/// Old writers store timestamps in 96 bits; Iceberg's timestamps count microseconds.
const INT96_UNIT: &str = "us";

/// Reads the data files of an Iceberg table.
#[derive(Clone)]
pub struct IcebergSource {
    parquet: ParquetSource,
    /// The same without a projection, to read files with the columns by which rows are deleted.
    whole: ParquetSource,
    batch_size: Option<usize>,
    footers: Arc<FileMetadataCache>,
    deletes: Arc<DeleteReader>,
    cache: Option<Arc<FileCache>>,
    sort: Option<LexOrdering>,
    /// What tells about files that don't have their statistics with them.
    facts: Option<Arc<FileFacts>>,
    pruned: Pruned,
}

impl IcebergSource {
    /// A source for a table's schema (see [`super::types::table_schema`]) that reads with the given options.
    pub fn new(
        schema: TableSchema,
        mut options: TableParquetOptions,
        footers: Arc<FileMetadataCache>,
        context: &ScanContext,
        storage: &Arc<Storage>,
    ) -> Self {
        options.global.coerce_int96 = Some(INT96_UNIT.to_owned());
        options.global.coerce_int96_tz = None;
        let size_hint = options.global.metadata_size_hint;
        let whole = ParquetSource::new(schema).with_table_parquet_options(options);
        let whole = match size_hint {
            Some(bytes) => whole.with_metadata_size_hint(bytes),
            None => whole,
        };
        Self {
            parquet: whole.clone(),
            whole,
            batch_size: None,
            footers,
            deletes: Arc::new(context.deletes(storage)),
            cache: context.file_cache().cloned(),
            sort: None,
            facts: None,
            pruned: Pruned::default(),
        }
    }

    /// The source that [`Self::for_wire`] was made from, on the node that reads it.
    pub fn from_wire(parquet: &ParquetSource, footers: Arc<FileMetadataCache>, context: &ScanContext, storage: &Arc<Storage>) -> Result<Self> {
        let wire = parquet.table_schema();
        let (counted, constants): (Vec<_>, Vec<_>) = wire.table_partition_cols().iter().cloned().partition(is_row_number);
        let schema = TableSchema::builder(Arc::clone(wire.file_schema())).with_table_partition_cols(constants).with_virtual_columns(counted).build();
        let mut source = Self::new(schema, parquet.table_parquet_options().clone(), footers, context, storage);
        source.parquet = like(&source.whole, parquet)?;
        Ok(source)
    }

    /// Where the files lie.
    pub fn storage(&self) -> &Storage {
        self.deletes.storage()
    }

    /// The Parquet source within: its options, predicate and projection are all there is to carry over the wire, besides [`Self::pushed_sort`].
    ///
    /// DataFusion's message has no place for columns that the reader makes up. They go as partition columns, which stand before them in the schema, so that
    /// each column keeps its number; each file needs a value for them ([`Self::made_up_columns`]).
    pub fn for_wire(&self) -> Result<ParquetSource> {
        let schema = self.whole.table_schema();
        if schema.virtual_columns().is_empty() {
            return Ok(self.parquet.clone());
        }
        let columns: Vec<FieldRef> = schema.table_partition_cols().iter().chain(schema.virtual_columns()).cloned().collect();
        let wire = TableSchema::builder(Arc::clone(schema.file_schema())).with_table_partition_cols(columns).build();
        let whole = ParquetSource::new(wire).with_table_parquet_options(self.whole.table_parquet_options().clone());
        like(&whole, &self.parquet)
    }

    /// The same source, for files that come with the entries of their manifests.
    #[must_use]
    pub(super) fn with_facts(self, facts: FileFacts) -> Self {
        Self { facts: Some(Arc::new(facts)), ..self }
    }

    /// The file with its statistics, which it may not have with it.
    pub fn described(&self, file: PartitionedFile) -> PartitionedFile {
        match &self.facts {
            Some(facts) => facts.described(file),
            None => file,
        }
    }

    /// The same source, with what planning has left out of the scan.
    #[must_use]
    pub fn with_pruned(self, pruned: Pruned) -> Self {
        Self { pruned, ..self }
    }

    /// What planning has left out of the scan.
    pub fn pruned(&self) -> Pruned {
        self.pruned
    }

    /// How many columns the reader makes up.
    pub fn made_up_columns(&self) -> usize {
        self.whole.table_schema().virtual_columns().len()
    }

    /// The same source with a projection, in terms of what it reads.
    pub fn with_projection(self, projection: &ProjectionExprs) -> Result<Self> {
        Ok(Self { parquet: projected(&self.parquet, projection)?, ..self })
    }

    /// The same source with a predicate, which must be in terms of the table's schema.
    #[must_use]
    pub fn with_predicate(self, predicate: Arc<dyn PhysicalExpr>) -> Self {
        Self { parquet: self.parquet.with_predicate(predicate), ..self }
    }

    /// The order in which row groups are tried first, when a sort above has asked for one. To be asked again where the source is rebuilt.
    pub fn pushed_sort(&self) -> Option<&LexOrdering> {
        self.sort.as_ref()
    }

    /// The Parquet source with the columns of `keys` behind its own, and then the positions of rows, if the scan reads them.
    fn with_keys(&self, keys: &BTreeMap<i32, FieldRef>) -> Result<ParquetSource> {
        let schema = self.whole.table_schema().table_schema();
        let mut columns: Vec<ProjectionExpr> = self.parquet.projection().into_iter().flat_map(|projection| projection.iter().cloned()).collect();
        for (name, field) in keys.iter().map(|(id, field)| (id.to_string(), field)).chain(self.positions().map(|field| ("pos".to_owned(), field))) {
            // No column that is projected has such a name.
            columns.push(ProjectionExpr::new(Arc::new(Column::new_with_schema(field.name(), schema)?), format!("\u{1}{name}")));
        }
        let widened = projected(&self.whole, &ProjectionExprs::new(columns))?;
        let widened = match self.parquet.filter() {
            Some(predicate) => widened.with_predicate(predicate),
            None => widened,
        };
        match self.batch_size {
            Some(rows) => as_parquet(&widened.with_batch_size(rows)),
            None => Ok(widened),
        }
    }

    /// The column of the positions of rows, if the scan reads it.
    fn positions(&self) -> Option<&FieldRef> {
        self.whole.table_schema().virtual_columns().iter().find(|field| is_row_number(field))
    }

    /// The columns by whose values rows are deleted, by field id.
    fn keys(&self, ids: &[i32]) -> Result<BTreeMap<i32, FieldRef>> {
        let fields = self.parquet.table_schema().file_schema().fields();
        let find =
            |id: i32| fields.iter().find(|field| field.name() == &key_name(id)).or_else(|| fields.iter().find(|field| field_id(field) == Some(id)));
        let key = |id: &i32| match find(*id) {
            Some(field) => Ok((*id, Arc::clone(field))),
            None => Err(into_datafusion(Error::internal(format!("a scan does not read the column of field id {id}, by which rows are deleted")))),
        };
        ids.iter().map(key).collect()
    }

    fn with_inner(&self, inner: &Arc<dyn FileSource>) -> Result<Arc<dyn FileSource>> {
        Ok(Arc::new(Self { parquet: as_parquet(inner)?, ..self.clone() }))
    }

    /// Filters over rows, lists and maps are left to the operator above: where a file has another shape than the table, the decoder would silently
    /// leave out a filter that it had promised to apply.
    fn takes_filter(&self, filter: &Arc<dyn PhysicalExpr>) -> bool {
        let schema = self.parquet.table_schema().table_schema();
        let is_nested = |column: &Column| schema.field_with_name(column.name()).map_or(true, |field| field.data_type().is_nested());
        !filter.exists(|expr| Ok(expr.downcast_ref::<Column>().is_some_and(is_nested))).unwrap_or(true)
    }
}

fn as_parquet(source: &Arc<dyn FileSource>) -> Result<ParquetSource> {
    let parquet = source.downcast_ref::<ParquetSource>().cloned();
    parquet.ok_or_else(|| into_datafusion(Error::internal("a parquet source turned itself into another source")))
}

fn projected(whole: &ParquetSource, projection: &ProjectionExprs) -> Result<ParquetSource> {
    match whole.try_pushdown_projection(projection)? {
        Some(projected) => as_parquet(&projected),
        None => Err(into_datafusion(Error::internal("a parquet source takes no projection"))),
    }
}

/// `whole` with the projection and the predicate of another source over the same columns.
fn like(whole: &ParquetSource, other: &ParquetSource) -> Result<ParquetSource> {
    let source = match other.projection() {
        Some(projection) => projected(whole, projection)?,
        None => whole.clone(),
    };
    Ok(match other.filter() {
        Some(predicate) => source.with_predicate(predicate),
        None => source,
    })
}

fn is_row_number(field: &FieldRef) -> bool {
    ParquetVirtualColumn::try_from(field).is_ok()
}

impl fmt::Debug for IcebergSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IcebergSource").field("parquet", &self.parquet).field("sort", &self.sort).finish_non_exhaustive()
    }
}

impl FileSource for IcebergSource {
    fn create_file_opener(&self, _: Arc<dyn ObjectStore>, _: &FileScanConfig, _: usize) -> Result<Arc<dyn FileOpener>> {
        Err(into_datafusion(Error::internal("an iceberg scan is read by morsels, not by file openers")))
    }

    fn create_morselizer(&self, store: Arc<dyn ObjectStore>, config: &FileScanConfig, partition: usize) -> Result<Box<dyn Morselizer>> {
        let (url, footers) = (config.object_store_url.as_str(), Arc::clone(&self.footers));
        let reader = IcebergReaderFactory::new(Arc::clone(&store), url, footers, self.table_schema().file_schema());
        let reader = Arc::new(reader.with_cache(self.cache.as_ref(), self.parquet.metrics(), partition));
        let open = |parquet: &ParquetSource, limit: Option<usize>| {
            let parquet = parquet.clone().with_parquet_file_reader_factory(Arc::clone(&reader) as Arc<dyn ParquetFileReaderFactory>);
            // The morselizer takes these three from the configuration; a copy of all of it would copy every file of the scan for every partition.
            let config = FileScanConfigBuilder::new(config.object_store_url.clone(), Arc::new(parquet.clone()))
                .with_limit(limit)
                .with_preserve_order(config.preserve_order)
                .with_expr_adapter(Some(Arc::new(IcebergExprAdapterFactory)))
                .build();
            parquet.create_morselizer(Arc::clone(&store), &config, partition)
        };
        let morselizer = |parquet: &ParquetSource, limit: Option<usize>| {
            let plain = open(parquet, limit)?;
            let inner: Box<dyn Morselizer> = match Guarded::new(parquet)? {
                Some(Guarded { source, columns }) => Box::new(ByNans { columns, without: plain, with: open(&source, limit)? }),
                None => plain,
            };
            Ok::<Box<dyn Morselizer>, DataFusionError>(match &self.facts {
                Some(facts) => Box::new(Described { inner, facts: Arc::clone(facts) }),
                None => inner,
            })
        };
        let plain = morselizer(&self.parquet, config.limit)?;
        let mut files = config.file_groups.iter().flat_map(|group| group.iter());
        if !files.any(|file| file.extension::<Arc<FileDeletes>>().is_some()) {
            return Ok(plain);
        }
        let keys = self.keys(&equality_ids(config))?;
        // Rows are deleted from what it gives, so it must not stop at the limit.
        let widened = |keys: &BTreeMap<i32, FieldRef>| Ok::<_, DataFusionError>(Arc::from(morselizer(&self.with_keys(keys)?, None)?));
        let with_keys = if keys.is_empty() { None } else { Some(widened(&keys)?) };
        let with_positions = self.positions().map(|_| widened(&BTreeMap::new())).transpose()?;
        let counter = |name| MetricBuilder::new(self.parquet.metrics()).counter(name, partition);
        Ok(Box::new(WithDeletes {
            plain: Arc::from(plain),
            with_positions,
            with_keys,
            keys,
            reader: Arc::clone(&self.deletes),
            by_position: counter("rows_deleted_by_position"),
            by_value: counter("rows_deleted_by_value"),
        }))
    }

    fn table_schema(&self) -> &TableSchema {
        self.parquet.table_schema()
    }

    fn with_batch_size(&self, batch_size: usize) -> Arc<dyn FileSource> {
        let inner = self.parquet.with_batch_size(batch_size);
        let resized = Self { batch_size: Some(batch_size), ..self.clone() };
        resized.with_inner(&inner).unwrap_or(inner)
    }

    fn filter(&self) -> Option<Arc<dyn PhysicalExpr>> {
        self.parquet.filter()
    }

    fn projection(&self) -> Option<&ProjectionExprs> {
        self.parquet.projection()
    }

    fn metrics(&self) -> &ExecutionPlanMetricsSet {
        self.parquet.metrics()
    }

    fn file_type(&self) -> &str {
        "parquet"
    }

    fn fmt_extra(&self, format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.parquet.fmt_extra(format, f)?;
        write!(f, ", planned: {}", self.pruned.summary())
    }

    fn repartitioned(
        &self,
        target_partitions: usize,
        file_bytes_min: usize,
        output_ordering: Option<LexOrdering>,
        config: &FileScanConfig,
    ) -> Result<Option<FileScanConfig>> {
        // Splits were made for this many partitions, at the starts of row groups; cutting them again by bytes would only make them uneven.
        if config.file_groups.len() == target_partitions {
            return Ok(None);
        }
        // The default of the trait, which only looks at the files of the configuration.
        self.parquet.repartitioned(target_partitions, file_bytes_min, output_ordering, config)
    }

    fn try_pushdown_filters(
        &self,
        filters: Vec<Arc<dyn PhysicalExpr>>,
        config: &ConfigOptions,
    ) -> Result<FilterPushdownPropagation<Arc<dyn FileSource>>> {
        let takes: Vec<bool> = filters.iter().map(|filter| self.takes_filter(filter)).collect();
        let taken = filters.into_iter().zip(&takes).filter_map(|(filter, takes)| takes.then_some(filter)).collect();
        let pushed = self.parquet.try_pushdown_filters(taken, config)?;
        let mut answers = pushed.filters.into_iter();
        let filters = takes.into_iter().map(|takes| if takes { answers.next().unwrap_or(PushedDown::No) } else { PushedDown::No }).collect();
        let updated_node = pushed.updated_node.map(|inner| self.with_inner(&inner)).transpose()?;
        Ok(FilterPushdownPropagation { filters, updated_node })
    }

    fn try_pushdown_sort(
        &self,
        order: &[PhysicalSortExpr],
        properties: &EquivalenceProperties,
    ) -> Result<SortOrderPushdownResult<Arc<dyn FileSource>>> {
        Ok(match self.parquet.try_pushdown_sort(order, properties)? {
            SortOrderPushdownResult::Exact { inner } => SortOrderPushdownResult::Exact { inner: self.with_inner(&inner)? },
            SortOrderPushdownResult::Inexact { inner } => {
                let sorted = Self { sort: LexOrdering::new(order.iter().cloned()), ..self.clone() };
                SortOrderPushdownResult::Inexact { inner: sorted.with_inner(&inner)? }
            }
            SortOrderPushdownResult::Unsupported => SortOrderPushdownResult::Unsupported,
        })
    }

    fn reorder_files(&self, files: Vec<PartitionedFile>) -> Vec<PartitionedFile> {
        let Some(facts) = self.facts.as_ref().filter(|_| self.sort.is_some()) else { return self.parquet.reorder_files(files) };
        let mut files = self.parquet.reorder_files(files.into_iter().map(|file| facts.described(file)).collect());
        files.iter_mut().for_each(|file| file.statistics = None);
        files
    }

    fn try_pushdown_projection(&self, projection: &ProjectionExprs) -> Result<Option<Arc<dyn FileSource>>> {
        self.parquet.try_pushdown_projection(projection)?.map(|inner| self.with_inner(&inner)).transpose()
    }

    fn apply_expressions(&self, visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>) -> Result<TreeNodeRecursion> {
        self.parquet.apply_expressions(visit)
    }
}
