//! Everything that all files of a write have in common, worked out once from the table's metadata.

use std::sync::Arc;

use nunatak_catalog::spec::{FormatVersion, PartitionSpec, Schema, SortOrder};
use nunatak_catalog::storage::Storage;
use nunatak_core::{Code, Error, Result};
use parquet::file::properties::WriterProperties;

use super::changes::LEADING_COLUMNS;
use super::file_schema::FileSchema;
use super::location::Locations;
use super::metrics_mode::MetricsModes;
use super::partition::Partitioner;
use super::properties::Properties;
use super::{RowOrder, Rows, WriteTarget};
use crate::scan::HiddenColumn;

#[derive(Debug)]
pub(super) struct WriteShape {
    /// The table's name, for errors.
    pub(super) table: String,
    pub(super) write: String,
    pub(super) storage: Arc<Storage>,
    pub(super) locations: Locations,
    pub(super) schema: FileSchema,
    pub(super) spec_id: i32,
    pub(super) sort_order_id: i32,
    pub(super) parquet: WriterProperties,
    pub(super) metrics: MetricsModes,
    pub(super) target_file_bytes: u64,
    /// Whether rows come sorted by partition, so that one open file is enough.
    pub(super) clustered: bool,
    table_schema: Arc<Schema>,
    spec: Arc<PartitionSpec>,
}

impl WriteShape {
    pub(super) fn new(target: &WriteTarget) -> Result<Self> {
        let metadata = &target.table.metadata;
        let properties = Properties::of(metadata);
        properties.check_format().map_err(|error| error.with_context("table", target.table.name.to_string()))?;
        let table_schema = metadata.current_schema().clone();
        let schema = FileSchema::new(&table_schema, lineage(target))?;
        let metrics = MetricsModes::new(metadata, &schema.leaves)?;
        let iceberg_schema = serde_json::to_string(table_schema.as_ref())
            .map_err(|error| Error::internal("the table's schema has no JSON form").with_source(error))?;
        let own_order = SortOrder::unsorted_order();
        let order = if matches!(target.order, RowOrder::OfTable) { metadata.default_sort_order().as_ref() } else { &own_order };
        let sort_order_id = i32::try_from(order.order_id)
            .map_err(|_| Error::new(Code::IcebergInvalidMetadata, format!("table {} has sort order {}", target.table.name, order.order_id)))?;
        Ok(Self {
            table: target.table.name.to_string(),
            write: target.name.clone(),
            storage: target.table.storage.clone(),
            locations: Locations::of(metadata).map_err(|error| error.with_context("table", target.table.name.to_string()))?,
            parquet: properties.parquet(&schema.parquet, &metrics, iceberg_schema)?,
            target_file_bytes: properties.target_file_bytes()?,
            clustered: !order.is_unsorted() || !matches!(target.order, RowOrder::OfTable),
            spec_id: metadata.default_partition_spec_id(),
            spec: metadata.default_partition_spec().clone(),
            schema,
            sort_order_id,
            metrics,
            table_schema,
        })
    }

    /// How many columns its input has, if it brings rows to write.
    pub(super) fn input_columns(&self, rows: Rows) -> usize {
        let columns = self.schema.arrow.fields().len();
        match rows {
            Rows::New | Rows::Rewritten => columns,
            Rows::Changes => LEADING_COLUMNS + columns,
        }
    }

    pub(super) fn partitioner(&self) -> Result<Partitioner> {
        Partitioner::new(&self.spec, &self.table_schema)
    }
}

/// The columns of row lineage that its files have (table spec, "Row Lineage"): rows that are changed keep their ids.
fn lineage(target: &WriteTarget) -> &'static [HiddenColumn] {
    if target.table.metadata.format_version() < FormatVersion::V3 {
        return &[];
    }
    match target.rows {
        Rows::New => &[],
        Rows::Changes => &[HiddenColumn::RowId],
        Rows::Rewritten => &[HiddenColumn::RowId, HiddenColumn::LastUpdatedSequenceNumber],
    }
}
