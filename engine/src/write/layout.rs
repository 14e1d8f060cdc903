//! How rows are brought to the tasks of a write, and in which order they arrive there.

use std::sync::Arc;

use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, Schema};
use datafusion::common::config::ConfigOptions;
use datafusion::common::{ScalarValue, Statistics};
use datafusion::error::Result;
use datafusion::execution::session_state::SessionState;
use datafusion::functions::core::get_field;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_expr::expressions::{Column, Literal};
use datafusion::physical_expr::utils::collect_columns;
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
use super::ranges::{self, Keys};
use super::{IcebergWriteExec, RowOrder, Rows, WriteTarget, ZOrderColumn};
use crate::error::into_datafusion;
use crate::functions::zorder;
use crate::transform::functions;

/// Below this many bytes all rows go to one task, so that small writes make one file.
const SPREAD_BYTES_MIN: usize = 32 * 1024 * 1024;

/// Puts on top of `input` what the table wants: the rows of a partition in one task, and its sort order. The table's columns begin at `first`.
pub(super) fn arrange(input: Arc<dyn ExecutionPlan>, target: &WriteTarget, first: usize, state: &SessionState) -> Result<Arc<dyn ExecutionPlan>> {
    let options = state.config().options();
    let keys = Columns { metadata: &target.table.metadata, schema: &input.schema(), first, options }.keys(&target.order)?;
    let tasks = state.config().target_partitions();
    let distributed = match ranges(&input, &keys, target, tasks, options)? {
        Some(ranges) => Arc::new(RepartitionExec::try_new(input, ranges)?),
        None if keys.partitions.is_empty() && matches!(target.order, RowOrder::Columns(_) | RowOrder::ZOrder(_)) => {
            // All rows are sorted, not those of each task: only then has a file other values than the next.
            let sorted = sort(input, keys.order.clone())?;
            return Ok(match (sorted.output_partitioning().partition_count(), LexOrdering::new(keys.order)) {
                (2.., Some(ordering)) => Arc::new(SortPreservingMergeExec::new(ordering, sorted)),
                _ => sorted,
            });
        }
        None => distribute(input, &keys.partitions, target, tasks)?,
    };
    if keys.order.is_empty() {
        return Ok(distributed);
    }
    sort(distributed, keys.partitions.into_iter().chain(keys.order).collect())
}

/// Which of the rows should be looked at before `write` is run, a plan that writes the rows of `input`: a plan that gives them for a [`Sample`](super::Sample), with
/// which the write is then planned again. `None` if it would make no difference.
///
/// Rows are made twice where the table asks for `write.distribution-mode = range`, and where that is cheap.
pub fn sampling(input: &LogicalPlan, write: &IcebergWriteExec, state: &SessionState) -> Result<Option<LogicalPlan>> {
    let (target, rows) = (write.target(), write.input());
    let asked = distribution(target)?;
    if target.rows == Rows::Changes || asked == Some(Distribution::None) || state.config().target_partitions().min(target.tasks_max) < 2 {
        return Ok(None);
    }
    if !is_large(rows) || !(asked == Some(Distribution::Range) || ranges::is_cheap(input)) {
        return Ok(None);
    }
    let options = state.config().options();
    let keys = Columns { metadata: &target.table.metadata, schema: &rows.schema(), first: 0, options }.keys(&target.order)?;
    if keys.is_empty() || keys.partitions.is_empty() && !by_range(target)? {
        return Ok(None);
    }
    let used = keys.all().flat_map(|key| collect_columns(&key.expr)).map(|column| column.index()).collect();
    let count = statistics(rows).and_then(|statistics| statistics.num_rows.get_value().copied());
    ranges::sampling(input, count, &used).map(Some)
}

/// How rows are spread by ranges, if they are.
fn ranges(
    input: &Arc<dyn ExecutionPlan>,
    keys: &Keys,
    target: &WriteTarget,
    tasks: usize,
    options: &Arc<ConfigOptions>,
) -> Result<Option<Partitioning>> {
    let (schema, tasks) = (input.schema(), tasks.min(target.tasks_max));
    match &target.sample {
        Some(sample) if tasks > 1 && (by_range(target)? || keys.are_skewed(sample, tasks, &schema)?) => keys.ranges(sample, tasks, &schema, options),
        _ => Ok(None),
    }
}

/// Whether the keys of tasks are to be in ranges however many rows they have. A table that has a sort order and says nothing else is meant to be sorted as a whole.
fn by_range(target: &WriteTarget) -> Result<bool> {
    Ok(match (&target.order, distribution(target)?) {
        (_, Some(Distribution::Range)) => true,
        (RowOrder::Columns(_) | RowOrder::ZOrder(_), _) => target.table.metadata.default_partition_spec().is_unpartitioned(),
        (RowOrder::OfTable, None) => !target.table.metadata.default_sort_order().is_unsorted(),
        _ => false,
    })
}

fn distribution(target: &WriteTarget) -> Result<Option<Distribution>> {
    Properties::of(&target.table.metadata).distribution().map_err(into_datafusion)
}

/// The order in which rows of a partition lie together; `None` for a table without partitions.
pub(super) fn partition_ordering(metadata: &TableMetadata, schema: &Schema, options: &Arc<ConfigOptions>) -> Result<Option<LexOrdering>> {
    Ok(LexOrdering::new(Columns { metadata, schema, first: 0, options }.partitions()?))
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

fn distribute(input: Arc<dyn ExecutionPlan>, partitions: &[PhysicalSortExpr], target: &WriteTarget, tasks: usize) -> Result<Arc<dyn ExecutionPlan>> {
    let tasks_before = input.output_partitioning().partition_count();
    if distribution(target)? == Some(Distribution::None) || tasks < 2 {
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
        _ if tasks_before > 1 || spread => Partitioning::Hash(partitions.iter().map(|key| Arc::clone(&key.expr)).collect(), tasks),
        _ => return Ok(input),
    };
    Ok(Arc::new(RepartitionExec::try_new(input, partitioning)?))
}

/// Whether encoding the rows is worth more than one task. An input of unknown size is taken as large.
fn is_large(input: &Arc<dyn ExecutionPlan>) -> bool {
    let Some(statistics) = statistics(input) else {
        return true;
    };
    let bytes = statistics.total_byte_size.get_value().copied();
    // Rows of unknown width are taken as 100 bytes.
    let estimate = bytes.or_else(|| statistics.num_rows.get_value().map(|rows| rows.saturating_mul(100)));
    estimate.is_none_or(|bytes| bytes >= SPREAD_BYTES_MIN)
}

/// What is expected of the rows of a plan, if that is known.
fn statistics(plan: &Arc<dyn ExecutionPlan>) -> Option<Arc<Statistics>> {
    StatisticsContext::new().compute(plan.as_ref(), &StatisticsArgs::new()).ok()
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
    /// What tells the partition of a row, and the order of rows within one.
    fn keys(&self, order: &RowOrder) -> Result<Keys> {
        let order = match order {
            RowOrder::OfTable => self.sort_keys(self.metadata.default_sort_order())?,
            RowOrder::Columns(order) => self.sort_keys(order)?,
            RowOrder::ZOrder(zorder) => vec![PhysicalSortExpr::new(self.zorder_key(zorder)?, SortOptions::default())],
            RowOrder::Arranged => Vec::new(),
        };
        Ok(Keys { partitions: self.partitions()?, order })
    }

    /// What tells the partition of a row.
    fn partitions(&self) -> Result<Vec<PhysicalSortExpr>> {
        let fields = self.metadata.default_partition_spec().fields().iter();
        let options = SortOptions { descending: false, nulls_first: true };
        let key = |expression| PhysicalSortExpr::new(expression, options);
        fields.filter_map(|field| self.expression(field.source_id, field.transform).transpose()).map(|expression| Ok(key(expression?))).collect()
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
