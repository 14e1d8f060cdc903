//! What a nested loop join keeps in memory is read once. Where that memory is not to be had, DataFusion's join runs its left side once more and writes it to disk. But most of
//! what runs is used up by the first time: a scan has given away the files that were read till then, an exchange its streams, so that the join would go without these rows.
//! And where such a join emits rows of its left side, each partition would emit those that found no partner in its own part of the right one. So it fails instead.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use datafusion::common::Statistics;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::config::ConfigOptions;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::execution_plan::{ChildrenPropertiesMode, ReplaceChildrenOptions};
use datafusion::physical_plan::joins::NestedLoopJoinExec;
use datafusion::physical_plan::statistics::{ChildStats, StatisticsArgs};
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PlanProperties};
use nunatak_core::Error;

use crate::error::into_datafusion;
use crate::one_input;

/// The rule.
#[derive(Debug)]
pub(super) struct ReadOnce;

impl PhysicalOptimizerRule for ReadOnce {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _config: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        plan.transform_up(|node| {
            let Some(join) = node.downcast_ref::<NestedLoopJoinExec>() else { return Ok(Transformed::no(node)) };
            // Execution engines look for what gathers partitions right below a join.
            let left: Arc<dyn ExecutionPlan> = match join.left().downcast_ref::<CoalescePartitionsExec>() {
                Some(gather) => Arc::new(CoalescePartitionsExec::new(Arc::new(OnceExec::new(Arc::clone(gather.input())))).with_fetch(gather.fetch())),
                None => Arc::new(OnceExec::new(Arc::clone(join.left()))),
            };
            let children = vec![left, Arc::clone(join.right())];
            node.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute)).map(Transformed::yes)
        })
        .data()
    }

    fn name(&self) -> &str {
        "read_once"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// Refuses to run a partition of its input a second time.
#[derive(Debug)]
pub(crate) struct OnceExec {
    input: Arc<dyn ExecutionPlan>,
    /// Of each partition.
    is_read: Vec<AtomicBool>,
}

impl OnceExec {
    pub(crate) fn new(input: Arc<dyn ExecutionPlan>) -> Self {
        let partitions = input.output_partitioning().partition_count();
        Self { input, is_read: (0..partitions).map(|_| AtomicBool::new(false)).collect() }
    }
}

impl DisplayAs for OnceExec {
    fn fmt_as(&self, _kind: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnceExec")
    }
}

impl ExecutionPlan for OnceExec {
    fn name(&self) -> &'static str {
        "OnceExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn apply_expressions(&self, _f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    /// A plan that is made anew can be read anew.
    fn replace_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>, _options: ReplaceChildrenOptions) -> Result<Arc<dyn ExecutionPlan>> {
        let input = one_input::only(children, self.as_ref())?;
        Ok(Arc::new(Self::new(input)))
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        if self.is_read.get(partition).is_some_and(|is_read| is_read.swap(true, Ordering::Relaxed)) {
            let message =
                "a join that compares all rows of one side with all of the other has to keep one of them in memory, and there is not enough";
            return Err(DataFusionError::ResourcesExhausted(message.to_owned()));
        }
        self.input.execute(partition, context)
    }

    fn child_stats_requests(&self, partition: Option<usize>) -> Vec<ChildStats> {
        vec![ChildStats::At(partition)]
    }

    fn statistics_from_inputs(&self, inputs: &[Arc<Statistics>], _args: &StatisticsArgs) -> Result<Arc<Statistics>> {
        match inputs {
            [input] => Ok(Arc::clone(input)),
            _ => Err(into_datafusion(Error::internal("what is read once has exactly one input"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch};
    use datafusion::arrow::datatypes::Int64Type;
    use datafusion::datasource::MemTable;
    use datafusion::execution::runtime_env::RuntimeEnvBuilder;
    use datafusion::execution::session_state::SessionStateBuilder;
    use datafusion::prelude::{SessionConfig, SessionContext};

    use super::*;

    /// Each of both tables has two partitions of 20,000 rows, far more on the left than fit into memory.
    async fn left_rows(memory_bytes_max: usize) -> Result<i64> {
        let mut config = SessionConfig::new().with_target_partitions(2);
        config.options_mut().optimizer.join_reordering = false;
        let runtime = RuntimeEnvBuilder::new().with_memory_limit(memory_bytes_max, 1.0).build_arc()?;
        let builder = SessionStateBuilder::new().with_config(config).with_runtime_env(runtime).with_default_features();
        let context = SessionContext::new_with_state(builder.with_physical_optimizer_rules(crate::rules::physical_rules()).build());
        for (name, rows) in [("l", 20_000), ("r", 20)] {
            let numbers = |from: i64| -> ArrayRef { Arc::new(Int64Array::from_iter_values(from..from + rows)) };
            let batch = |from: i64| RecordBatch::try_from_iter([("x", numbers(from)), ("y", numbers(from))]);
            let (one, two) = (batch(0)?, batch(rows)?);
            context.register_table(name, Arc::new(MemTable::try_new(one.schema(), vec![vec![one], vec![two]])?))?;
        }
        let counted = context.sql("SELECT count(*) FROM l LEFT JOIN r ON l.x < r.x AND r.y < 3").await?.collect().await?;
        Ok(counted[0].column(0).as_primitive::<Int64Type>().value(0))
    }

    #[tokio::test]
    async fn rows_are_not_doubled_where_memory_ends() {
        assert_eq!(left_rows(64 << 20).await.unwrap(), 40_001);
        let error = left_rows(200 << 10).await.unwrap_err();
        assert!(matches!(error.find_root(), DataFusionError::ResourcesExhausted(_)), "{error}");
    }
}
