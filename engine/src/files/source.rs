//! CSV and JSON files as a source of DataFusion's `DataSourceExec`. Its state is plain: format, options, schema, projection.

use std::fmt;
use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::physical_plan::{FileOpener, FileScanConfig, FileSource};
use datafusion::datasource::projection::{ProjectionOpener, SplitProjection};
use datafusion::datasource::table_schema::TableSchema;
use datafusion::error::Result;
use datafusion::physical_expr::projection::ProjectionExprs;
use datafusion::physical_plan::metrics::{ExecutionPlanMetricsSet, MetricBuilder};
use datafusion::physical_plan::{DisplayFormatType, ExecutionPlan, PhysicalExpr};
use object_store::ObjectStore;
use serde::{Deserialize, Serialize};

use super::opener::RowFileOpener;
use super::options::{FileFormat, FileOptions};

/// The metric that counts the rows left out.
const ROWS_SKIPPED: &str = "rows_skipped";

/// The rows of a batch if nobody says otherwise.
const BATCH_ROWS: usize = 8192;

/// Where the types of the columns come from: it decides what a message about a bad value advises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SchemaOrigin {
    /// The target of `COPY INTO`.
    Declared,
    /// A sample of the files.
    Sampled,
}

/// Reads CSV and JSON files, each as a whole.
#[derive(Clone)]
pub struct RowFileSource {
    format: FileFormat,
    options: FileOptions,
    origin: SchemaOrigin,
    table_schema: TableSchema,
    projection: SplitProjection,
    batch_rows: usize,
    metrics: ExecutionPlanMetricsSet,
}

impl RowFileSource {
    /// A source of files of that format; `schema` is that of all their columns.
    pub fn new(format: FileFormat, options: FileOptions, origin: SchemaOrigin, schema: SchemaRef) -> Self {
        let table_schema = TableSchema::from(schema);
        Self {
            format,
            options,
            origin,
            projection: SplitProjection::unprojected(&table_schema),
            table_schema,
            batch_rows: BATCH_ROWS,
            metrics: ExecutionPlanMetricsSet::new(),
        }
    }

    /// The format.
    pub fn format(&self) -> FileFormat {
        self.format
    }

    /// The options.
    pub fn options(&self) -> &FileOptions {
        &self.options
    }

    /// Where the types of the columns come from.
    pub fn origin(&self) -> SchemaOrigin {
        self.origin
    }
}

impl fmt::Debug for RowFileSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RowFileSource").field("format", &self.format).field("options", &self.options).finish_non_exhaustive()
    }
}

impl FileSource for RowFileSource {
    fn create_file_opener(&self, store: Arc<dyn ObjectStore>, config: &FileScanConfig, partition: usize) -> Result<Arc<dyn FileOpener>> {
        let schema = self.table_schema.file_schema();
        let opener = RowFileOpener {
            store,
            store_url: config.object_store_url.clone(),
            format: self.format,
            options: self.options.clone(),
            origin: self.origin,
            schema: Arc::clone(schema),
            projection: self.projection.file_indices.clone(),
            // A query for a few rows should not fail for, or wait for, those behind them.
            rows_max: config.limit.map_or(self.batch_rows, |limit| limit.clamp(1, self.batch_rows)),
            skipped: MetricBuilder::new(&self.metrics).counter(ROWS_SKIPPED, partition),
        };
        ProjectionOpener::try_new(self.projection.clone(), Arc::new(opener), schema)
    }

    fn table_schema(&self) -> &TableSchema {
        &self.table_schema
    }

    fn with_batch_size(&self, batch_rows: usize) -> Arc<dyn FileSource> {
        Arc::new(Self { batch_rows: batch_rows.max(1), ..self.clone() })
    }

    fn projection(&self) -> Option<&ProjectionExprs> {
        Some(&self.projection.source)
    }

    fn metrics(&self) -> &ExecutionPlanMetricsSet {
        &self.metrics
    }

    fn file_type(&self) -> &str {
        self.format.name()
    }

    fn fmt_extra(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.options.describe() {
            options if options.is_empty() => Ok(()),
            options => write!(f, ", {options}"),
        }
    }

    /// A file is read from its start, since only there a line end is known to be no part of a field.
    fn supports_repartitioning(&self) -> bool {
        false
    }

    fn try_pushdown_projection(&self, projection: &ProjectionExprs) -> Result<Option<Arc<dyn FileSource>>> {
        let merged = self.projection.source.try_merge(projection)?;
        let projection = SplitProjection::new(self.table_schema.file_schema(), &merged);
        Ok(Some(Arc::new(Self { projection, ..self.clone() })))
    }

    fn apply_expressions(&self, visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>) -> Result<TreeNodeRecursion> {
        datafusion::physical_plan::apply_expression_roots(self.projection.source.iter(), visit)
    }
}

/// How many rows the sources below `plan` have left out, under [`OnError::Skip`](super::OnError::Skip).
pub fn rows_skipped(plan: &dyn ExecutionPlan) -> usize {
    let own = plan.metrics().and_then(|metrics| metrics.sum_by_name(ROWS_SKIPPED)).map_or(0, |metric| metric.as_usize());
    own + plan.children().into_iter().map(|child| rows_skipped(child.as_ref())).sum::<usize>()
}
