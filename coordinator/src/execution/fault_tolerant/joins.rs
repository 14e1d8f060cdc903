//! Joins that would go wrong in tasks that do not share their memory.

use std::sync::Arc;

use datafusion::common::JoinType;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::error::Result;
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::joins::NestedLoopJoinExec;
use datafusion::physical_plan::{ChildrenPropertiesMode, ExecutionPlan, ExecutionPlanProperties, ReplaceChildrenOptions};

/// Gives nested loop joins that emit rows of their left side a single task.
///
/// Each task has the whole left side and a part of the right one. Which rows of the left have found a partner is known only to all tasks together, so that
/// each of them would emit the others. (Ballista takes care of hash joins itself.)
pub(super) fn gather_probe_sides(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    plan.transform_up(|plan| {
        let Some(join) = plan.downcast_ref::<NestedLoopJoinExec>() else { return Ok(Transformed::no(plan)) };
        if !emits_left(*join.join_type()) || join.right().output_partitioning().partition_count() == 1 {
            return Ok(Transformed::no(plan));
        }
        let right: Arc<dyn ExecutionPlan> = Arc::new(CoalescePartitionsExec::new(Arc::clone(join.right())));
        let children = vec![Arc::clone(join.left()), right];
        plan.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute)).map(Transformed::yes)
    })
    .data()
}

fn emits_left(join: JoinType) -> bool {
    match join {
        JoinType::Inner | JoinType::Right | JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => false,
        JoinType::Left | JoinType::Full | JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark => true,
    }
}
