//! How rows are brought to the tasks of a write, and in which order they arrive there.

use std::sync::Arc;

use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, Schema};
use datafusion::common::ScalarValue;
use datafusion::common::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::execution::session_state::SessionState;
use datafusion::functions::core::get_field;
use datafusion::physical_expr::expressions::{Column, Literal};
use datafusion::physical_expr::{LexOrdering, Partitioning, PhysicalExpr, PhysicalSortExpr, ScalarFunctionExpr};
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use datafusion::physical_plan::statistics::{StatisticsArgs, StatisticsContext};
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use nunatak_catalog::spec::{NullOrder, SortDirection, SortOrder, TableMetadata, Transform};
use nunatak_core::{Code, Error};

use super::partition::source_path;
use super::properties::{Distribution, Properties};
use super::{RowOrder, WriteTarget, ZOrderColumn};
use crate::error::into_datafusion;
use crate::functions::zorder;
use crate::transform::functions;

/// Below this many bytes all rows go to one task, so that small writes make one file.
const SPREAD_BYTES_MIN: usize = 32 * 1024 * 1024;

/// Puts on top of `input` what the table wants: the rows of a partition in one task, and its sort order. The table's columns begin at `first`.
pub(super) fn arrange(input: Arc<dyn ExecutionPlan>, target: &WriteTarget, first: usize, state: &SessionState) -> Result<Arc<dyn ExecutionPlan>> {
    let metadata = &target.table.metadata;
    let options = state.config().options();
    let columns = Columns { metadata, schema: &input.schema(), first, options };
    let partitions = columns.partitions()?;
    let keys = match &target.order {
        RowOrder::OfTable => columns.sort_keys(metadata.default_sort_order())?,
        RowOrder::Columns(order) => columns.sort_keys(order)?,
        RowOrder::ZOrder(zorder) => vec![PhysicalSortExpr::new(columns.zorder_key(zorder)?, SortOptions::default())],
        RowOrder::Arranged => Vec::new(),
    };
    if partitions.is_empty() && matches!(target.order, RowOrder::Columns(_) | RowOrder::ZOrder(_)) {
        // All rows are sorted, not those of each task: only then has a file other values than the next.
        let sorted = sort(input, keys.clone())?;
        return Ok(match (sorted.output_partitioning().partition_count(), LexOrdering::new(keys)) {
            (2.., Some(ordering)) => Arc::new(SortPreservingMergeExec::new(ordering, sorted)),
            _ => sorted,
        });
    }
    let distributed = distribute(input, &partitions, target, state.config().target_partitions())?;
    if keys.is_empty() {
        return Ok(distributed);
    }
    sort(distributed, partitions.into_iter().map(by_partition).chain(keys).collect())
}

/// The order in which rows of a partition lie together; `None` for a table without partitions.
pub(super) fn partition_ordering(metadata: &TableMetadata, schema: &Schema, options: &Arc<ConfigOptions>) -> Result<Option<LexOrdering>> {
    Ok(LexOrdering::new(Columns { metadata, schema, first: 0, options }.partitions()?.into_iter().map(by_partition)))
}

fn by_partition(expression: Arc<dyn PhysicalExpr>) -> PhysicalSortExpr {
    PhysicalSortExpr::new(expression, SortOptions { descending: false, nulls_first: true })
}

fn sort(input: Arc<dyn ExecutionPlan>, ordering: Vec<PhysicalSortExpr>) -> Result<Arc<dyn ExecutionPlan>> {
    let Some(ordering) = LexOrdering::new(ordering) else {
        return Ok(input);
    };
    if input.equivalence_properties().ordering_satisfy(ordering.clone())? {
        return Ok(input);
    }
    Ok(Arc::new(SortExec::new(ordering, input).with_preserve_partitioning(true)))
}

fn distribute(
    input: Arc<dyn ExecutionPlan>,
    partitions: &[Arc<dyn PhysicalExpr>],
    target: &WriteTarget,
    tasks: usize,
) -> Result<Arc<dyn ExecutionPlan>> {
    let tasks_before = input.output_partitioning().partition_count();
    if Properties::of(&target.table.metadata).distribution().map_err(into_datafusion)? == Distribution::None || tasks < 2 {
        return Ok(input);
    }
    let tasks = if partitions.is_empty() { tasks.min(target.tasks_max) } else { tasks };
    let large = tasks > 1 && is_large(&input);
    let spread = tasks_before == 1 && large;
    let partitioning = match partitions {
        // An order that the query asked for is kept: rows that lie together are found faster.
        [] if spread && input.output_ordering().is_none() => Partitioning::RoundRobinBatch(tasks),
        // Few rows in many tasks would make many tiny files.
        [] if tasks_before > 1 && !large && input.output_ordering().is_none() => return Ok(Arc::new(CoalescePartitionsExec::new(input))),
        [] if tasks_before > tasks && input.output_ordering().is_none() => Partitioning::RoundRobinBatch(tasks),
        [] => return Ok(input),
        _ if tasks_before > 1 || spread => Partitioning::Hash(partitions.to_vec(), tasks),
        _ => return Ok(input),
    };
    Ok(Arc::new(RepartitionExec::try_new(input, partitioning)?))
}

/// Whether encoding the rows is worth more than one task. An input of unknown size is taken as large.
fn is_large(input: &Arc<dyn ExecutionPlan>) -> bool {
    let Ok(statistics) = StatisticsContext::new().compute(input.as_ref(), &StatisticsArgs::new()) else {
        return true;
    };
    let bytes = statistics.total_byte_size.get_value().copied();
    // Rows of unknown width are taken as 100 bytes.
    let estimate = bytes.or_else(|| statistics.num_rows.get_value().map(|rows| rows.saturating_mul(100)));
    estimate.is_none_or(|bytes| bytes >= SPREAD_BYTES_MIN)
}

/// The columns of a table in rows that are to be written.
struct Columns<'a> {
    metadata: &'a TableMetadata,
    /// Of the rows.
    schema: &'a Schema,
    /// Where the table's columns begin.
    first: usize,
    options: &'a Arc<ConfigOptions>,
}

impl Columns<'_> {
    /// What tells the partition of a row.
    fn partitions(&self) -> Result<Vec<Arc<dyn PhysicalExpr>>> {
        let fields = self.metadata.default_partition_spec().fields().iter();
        fields.filter_map(|field| self.expression(field.source_id, field.transform).transpose()).collect()
    }

    /// What rows are sorted by within a partition.
    fn sort_keys(&self, order: &SortOrder) -> Result<Vec<PhysicalSortExpr>> {
        let keys = order.fields.iter().map(|field| {
            let options = SortOptions { descending: field.direction == SortDirection::Descending, nulls_first: field.null_order == NullOrder::First };
            Ok(self.expression(field.source_id, field.transform)?.map(|expression| PhysicalSortExpr::new(expression, options)))
        });
        keys.filter_map(Result::transpose).collect()
    }

    /// What brings rows together that are alike in several columns.
    fn zorder_key(&self, columns: &[ZOrderColumn]) -> Result<Arc<dyn PhysicalExpr>> {
        let mut arguments: Vec<Arc<dyn PhysicalExpr>> = Vec::new();
        for ZOrderColumn { name, least, most } in columns {
            let index = self.schema.index_of(name)?;
            arguments.push(Arc::new(Column::new(name, index)));
            arguments.extend([least, most].map(|bound| Arc::new(Literal::new(bound.clone())) as _));
        }
        Ok(Arc::new(ScalarFunctionExpr::try_new(zorder::function(), arguments, self.schema, self.options.clone())?))
    }

    /// A transform of the column with that field id; `None` if it gives nothing.
    fn expression(&self, source_id: i32, transform: Transform) -> Result<Option<Arc<dyn PhysicalExpr>>> {
        if transform == Transform::Void {
            return Ok(None);
        }
        let path = source_path(self.metadata.current_schema(), source_id).ok_or_else(|| {
            into_datafusion(Error::new(
                Code::IcebergInvalidMetadata,
                format!("the table is partitioned or sorted by field {source_id}, which does not exist"),
            ))
        })?;
        functions::expression(transform, self.column(&path)?, self.schema, self.options)
    }

    /// The column at `path`, through the structs around it.
    fn column(&self, path: &[usize]) -> Result<Arc<dyn PhysicalExpr>> {
        let lacking = || into_datafusion(Error::internal("the rows to be written lack a column of the table"));
        let (first, rest) = path.split_first().map(|(first, rest)| (first + self.first, rest)).ok_or_else(lacking)?;
        let mut field = self.schema.fields().get(first).ok_or_else(lacking)?;
        let mut expression: Arc<dyn PhysicalExpr> = Arc::new(Column::new(field.name(), first));
        for index in rest {
            let DataType::Struct(fields) = field.data_type() else {
                return Err(lacking());
            };
            field = fields.get(*index).ok_or_else(lacking)?;
            let name = Arc::new(Literal::new(ScalarValue::Utf8(Some(field.name().clone()))));
            expression = Arc::new(ScalarFunctionExpr::try_new(get_field(), vec![expression, name], self.schema, self.options.clone())?);
        }
        Ok(expression)
    }
}
