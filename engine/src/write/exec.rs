//! The plan node that writes: each of its partitions is a task that writes files and then gives one batch that tells of them.

use std::fmt;
use std::sync::Arc;

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::Result;
use datafusion::execution::memory_pool::MemoryConsumer;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, ChildrenPropertiesMode, EmissionType, ReplaceChildrenOptions};
use datafusion::physical_plan::metrics::{Count, ExecutionPlanMetricsSet, MetricBuilder, MetricsSet, Time};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PlanProperties};
use futures::{StreamExt, stream};
use nunatak_core::Error;

use super::changes::{DELETE_COLUMNS, Seen};
use super::layout::partition_ordering;
use super::report::{self, FileReport};
use super::shape::WriteShape;
use super::task::{Outcome, WriteTask};
use super::{Rows, WriteTarget};
use crate::error::into_datafusion;
use crate::one_input;

/// Writes the rows of its input into data files. What it needs on another node is its input and its [`WriteTarget`].
#[derive(Clone, Debug)]
pub struct IcebergWriteExec {
    input: Arc<dyn ExecutionPlan>,
    target: WriteTarget,
    shape: Arc<WriteShape>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl IcebergWriteExec {
    /// A node that writes `input`, whose columns are those of the table's current schema, in order.
    pub fn try_new(input: Arc<dyn ExecutionPlan>, target: WriteTarget) -> Result<Self> {
        let shape = Arc::new(WriteShape::new(&target).map_err(into_datafusion)?);
        let (given, wanted) = (input.schema().fields().len(), shape.input_columns(target.rows));
        let only_deletes = target.rows == Rows::Changes && given == DELETE_COLUMNS;
        if given != wanted && !only_deletes {
            let message = format!("{given} columns were to be written to table {}, which has {wanted}", shape.table);
            return Err(into_datafusion(Error::internal(message)));
        }
        let properties = Arc::new(properties(&input));
        Ok(Self { input, target, shape, properties, metrics: ExecutionPlanMetricsSet::new() })
    }

    /// What is written.
    pub fn input(&self) -> &Arc<dyn ExecutionPlan> {
        &self.input
    }

    /// Where it is written.
    pub fn target(&self) -> &WriteTarget {
        &self.target
    }
}

fn properties(input: &Arc<dyn ExecutionPlan>) -> PlanProperties {
    let tasks = input.output_partitioning().partition_count();
    let equivalence = EquivalenceProperties::new(report::schema());
    PlanProperties::new(equivalence, Partitioning::UnknownPartitioning(tasks), EmissionType::Final, Boundedness::Bounded)
}

impl DisplayAs for IcebergWriteExec {
    fn fmt_as(&self, kind: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match kind {
            DisplayFormatType::TreeRender => write!(f, "table={}", self.shape.table),
            _ => write!(f, "IcebergWriteExec: table={}, folder={}", self.shape.table, self.shape.locations.folder),
        }
    }
}

impl ExecutionPlan for IcebergWriteExec {
    fn name(&self) -> &'static str {
        "IcebergWriteExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    /// How rows are spread over tasks is decided when the plan is made: another exchange would only undo it.
    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn apply_expressions(&self, _f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>, _options: ReplaceChildrenOptions) -> Result<Arc<dyn ExecutionPlan>> {
        let input = one_input::only(children, self.as_ref())?;
        let properties = Arc::new(properties(&input));
        Ok(Arc::new(Self { input, properties, metrics: ExecutionPlanMetricsSet::new(), ..Self::clone(&self) }))
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let input = self.input.execute(partition, context.clone())?;
        let reservation = MemoryConsumer::new(format!("IcebergWriteExec[{partition}]")).register(context.memory_pool());
        let task = WriteTask::new(self.shape.clone(), partition, reservation).map_err(into_datafusion)?;
        let run = Run { target: self.target.clone(), metrics: WriteMetrics::new(&self.metrics, partition), context };
        let result = stream::once(async move {
            let seen = Seen::default();
            let rows = match run.target.rows {
                Rows::New | Rows::Rewritten => input,
                Rows::Changes => seen.take_out_of(input),
            };
            let reports = run.run(task, rows, &seen).await?;
            report::to_batch(&reports, &seen.into_rows()).map_err(into_datafusion)
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(report::schema(), result)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }
}

struct WriteMetrics {
    rows: Count,
    bytes: Count,
    files: Count,
    deleted: Count,
    /// Time in the writer alone, without that of the input.
    time: Time,
}

impl WriteMetrics {
    fn new(set: &ExecutionPlanMetricsSet, partition: usize) -> Self {
        Self {
            rows: MetricBuilder::new(set).counter("rows_written", partition),
            bytes: MetricBuilder::new(set).counter("bytes_written", partition),
            files: MetricBuilder::new(set).counter("files_written", partition),
            deleted: MetricBuilder::new(set).counter("rows_deleted", partition),
            time: MetricBuilder::new(set).subset_time("write_time", partition),
        }
    }

    fn record(&self, reports: &[FileReport]) {
        let total = |value: fn(&FileReport) -> u64| usize::try_from(reports.iter().map(value).sum::<u64>()).unwrap_or(usize::MAX);
        self.rows.add(total(|report| report.rows));
        self.bytes.add(total(|report| report.bytes));
        self.files.add(reports.len());
    }
}

/// What a running task needs besides its rows.
struct Run {
    target: WriteTarget,
    metrics: WriteMetrics,
    context: Arc<TaskContext>,
}

impl Run {
    async fn run(self, mut task: WriteTask, mut input: SendableRecordBatchStream, seen: &Seen) -> Result<Vec<FileReport>> {
        while let Some(batch) = input.next().await {
            let batch = batch?;
            if batch.num_rows() == 0 {
                continue;
            }
            let outcome = {
                let _timer = self.metrics.time.timer();
                task.write(batch).await.map_err(into_datafusion)?
            };
            if let Outcome::TooManyPartitions(batch) = outcome {
                let metadata = &self.target.table.metadata;
                let options = self.context.session_config().options();
                let ordering = partition_ordering(metadata, &input.schema(), options)?
                    .ok_or_else(|| into_datafusion(Error::internal("a table without partitions has too many of them")))?;
                task.expect_clustered().await.map_err(into_datafusion)?;
                input = super::clustering::sorted(batch, input, ordering, self.context.clone())?;
            }
        }
        let reports = {
            let _timer = self.metrics.time.timer();
            task.finish().await.map_err(into_datafusion)?
        };
        self.metrics.record(&reports);
        self.metrics.deleted.add(usize::try_from(seen.count()).unwrap_or(usize::MAX));
        Ok(reports)
    }
}
