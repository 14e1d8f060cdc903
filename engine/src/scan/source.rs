//! The file source of Iceberg scans: DataFusion's Parquet source, with columns matched by field id and footers read as Iceberg needs them.
//!
//! Its state is small and plain, so that it can cross the wire: the table's schema (which carries field ids and defaults), the Parquet options, and
//! what the optimiser pushed into it. Footers are cached by whoever executes it.

use std::fmt;
use std::sync::Arc;

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::config::{ConfigOptions, TableParquetOptions};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileScanConfig, FileScanConfigBuilder, FileSource, ParquetSource};
use datafusion::datasource::table_schema::TableSchema;
use datafusion::error::Result;
use datafusion::execution::cache::cache_manager::FileMetadataCache;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::projection::ProjectionExprs;
use datafusion::physical_expr::{EquivalenceProperties, LexOrdering, PhysicalExpr, PhysicalSortExpr};
use datafusion::physical_plan::filter_pushdown::{FilterPushdownPropagation, PushedDown};
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use datafusion::physical_plan::{DisplayFormatType, SortOrderPushdownResult};
use datafusion_datasource::file_stream::FileOpener;
use datafusion_datasource::morsel::Morselizer;
use nunatak_core::Error;
use object_store::ObjectStore;

use super::adapter::IcebergExprAdapterFactory;
use super::reader::IcebergReaderFactory;
use crate::error::into_datafusion;

/// Old writers store timestamps in 96 bits; Iceberg's timestamps count microseconds.
const INT96_UNIT: &str = "us";

/// Reads the data files of an Iceberg table.
#[derive(Clone)]
pub struct IcebergSource {
    parquet: ParquetSource,
    footers: Arc<FileMetadataCache>,
    sort: Option<LexOrdering>,
}

impl IcebergSource {
    /// A source for a table's schema (see [`super::types::table_schema`]) that reads with the given options.
    pub fn new(schema: TableSchema, mut options: TableParquetOptions, footers: Arc<FileMetadataCache>) -> Self {
        options.global.coerce_int96 = Some(INT96_UNIT.to_owned());
        options.global.coerce_int96_tz = None;
        let size_hint = options.global.metadata_size_hint;
        let parquet = ParquetSource::new(schema).with_table_parquet_options(options);
        let parquet = match size_hint {
            Some(bytes) => parquet.with_metadata_size_hint(bytes),
            None => parquet,
        };
        Self::from_parquet(parquet, footers)
    }

    /// A source around what [`Self::parquet`] gave, on the node that reads it.
    pub fn from_parquet(parquet: ParquetSource, footers: Arc<FileMetadataCache>) -> Self {
        Self { parquet, footers, sort: None }
    }

    /// The Parquet source within: its options, predicate and projection are all there is to carry over the wire, besides [`Self::pushed_sort`].
    pub fn parquet(&self) -> &ParquetSource {
        &self.parquet
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

    fn with_inner(&self, inner: &Arc<dyn FileSource>) -> Result<Arc<dyn FileSource>> {
        let parquet = inner
            .downcast_ref::<ParquetSource>()
            .ok_or_else(|| into_datafusion(Error::internal("a parquet source turned itself into another source")))?;
        Ok(Arc::new(Self { parquet: parquet.clone(), ..self.clone() }))
    }

    /// Filters over rows, lists and maps are left to the operator above: where a file has another shape than the table, the decoder would silently
    /// leave out a filter that it had promised to apply.
    fn takes_filter(&self, filter: &Arc<dyn PhysicalExpr>) -> bool {
        let schema = self.parquet.table_schema().table_schema();
        let is_nested = |column: &Column| schema.field_with_name(column.name()).map_or(true, |field| field.data_type().is_nested());
        !filter.exists(|expr| Ok(expr.downcast_ref::<Column>().is_some_and(is_nested))).unwrap_or(true)
    }
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
        let reader = IcebergReaderFactory::new(Arc::clone(&store), Arc::clone(&self.footers));
        let parquet = self.parquet.clone().with_parquet_file_reader_factory(Arc::new(reader));
        // The morselizer takes these three from the configuration; a copy of all of it would copy every file of the scan for every partition.
        let config = FileScanConfigBuilder::new(config.object_store_url.clone(), Arc::new(self.parquet.clone()))
            .with_limit(config.limit)
            .with_preserve_order(config.preserve_order)
            .with_expr_adapter(Some(Arc::new(IcebergExprAdapterFactory)))
            .build();
        parquet.create_morselizer(store, &config, partition)
    }

    fn table_schema(&self) -> &TableSchema {
        self.parquet.table_schema()
    }

    fn with_batch_size(&self, batch_size: usize) -> Arc<dyn FileSource> {
        let inner = self.parquet.with_batch_size(batch_size);
        self.with_inner(&inner).unwrap_or(inner)
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
        self.parquet.fmt_extra(format, f)
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
        self.parquet.reorder_files(files)
    }

    fn try_pushdown_projection(&self, projection: &ProjectionExprs) -> Result<Option<Arc<dyn FileSource>>> {
        self.parquet.try_pushdown_projection(projection)?.map(|inner| self.with_inner(&inner)).transpose()
    }

    fn apply_expressions(&self, visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>) -> Result<TreeNodeRecursion> {
        self.parquet.apply_expressions(visit)
    }
}
