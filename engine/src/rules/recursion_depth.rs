//! An end for recursive queries that have none, `WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t) ...`: DataFusion would add rows for ever.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::execution_plan::{ChildrenPropertiesMode, ReplaceChildrenOptions};
use datafusion::physical_plan::recursive_query::RecursiveQueryExec;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use nunatak_core::Error;

use crate::error::into_datafusion;
use crate::one_input;

/// How often a recursive query adds rows to what it has. Trino's own limit is 10 unless a session says otherwise.
const DEPTH_MAX: usize = 10_000;

/// The rule.
#[derive(Debug)]
pub(super) struct RecursionDepth;

impl PhysicalOptimizerRule for RecursionDepth {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _config: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        plan.transform_up(|node| {
            let Some(recursive) = node.downcast_ref::<RecursiveQueryExec>() else { return Ok(Transformed::no(node)) };
            let counted = CountedExec { input: Arc::clone(recursive.recursive_term()), runs: Arc::default() };
            let children = vec![Arc::clone(recursive.static_term()), Arc::new(counted) as Arc<dyn ExecutionPlan>];
            let options = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute);
            Arc::clone(&node).replace_children(children, options).map(Transformed::yes)
        })
        .data()
    }

    fn name(&self) -> &str {
        "recursion_depth"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// What a recursive query runs again and again. It refuses to run too often. Such queries run in one process, so it needs no form on the wire.
#[derive(Clone, Debug)]
struct CountedExec {
    input: Arc<dyn ExecutionPlan>,
    runs: Arc<AtomicUsize>,
}

impl DisplayAs for CountedExec {
    fn fmt_as(&self, _kind: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CountedExec: runs_max={DEPTH_MAX}")
    }
}

impl ExecutionPlan for CountedExec {
    fn name(&self) -> &'static str {
        "CountedExec"
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

    /// The count goes on: before each run the plan is made anew.
    fn replace_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>, _options: ReplaceChildrenOptions) -> Result<Arc<dyn ExecutionPlan>> {
        let input = one_input::only(children, self.as_ref())?;
        Ok(Arc::new(Self { input, runs: Arc::clone(&self.runs) }))
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        if self.runs.fetch_add(1, Ordering::Relaxed) >= DEPTH_MAX {
            let error = Error::not_supported(format!("a recursive query has added rows {DEPTH_MAX} times and has not come to an end"));
            return Err(into_datafusion(error.with_hint("give its recursive part a condition that ends it, such as WHERE n < 100")));
        }
        self.input.execute(partition, context)
    }
}
