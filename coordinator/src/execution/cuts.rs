//! What is known of rows beyond the place where a plan is cut into stages: of what comes from another stage its columns and its partitions, and neither an order nor that
//! a column has one value.

use std::sync::Arc;

use ballista_core::execution_plans::UnresolvedShuffleExec;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::physical_expr::{LexOrdering, OrderingRequirements};
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::joins::{HashJoinExec, PartitionMode};
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use datafusion::physical_plan::{ChildrenPropertiesMode, ExecutionPlan, ExecutionPlanProperties, Partitioning, ReplaceChildrenOptions};

/// Sorts rows again where they are in order only by what is known of them beyond such a place. After `WHERE year = 1999` the rows that are sorted by `shop` are sorted by
/// `year, shop` too, and a window of both needs no more; where its stage reads them from another one, it fails.
pub(super) fn sort_again(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    plan.transform_up(|plan| {
        let mut children = Vec::with_capacity(plan.children().len());
        let mut is_changed = false;
        for (child, order) in plan.children().into_iter().zip(plan.required_input_ordering()) {
            let sorted = order.map(|order| sorted(child, order)).transpose()?.flatten();
            is_changed |= sorted.is_some();
            children.push(sorted.unwrap_or_else(|| Arc::clone(child)));
        }
        if !is_changed {
            return Ok(Transformed::no(plan));
        }
        plan.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute)).map(Transformed::yes)
    })
    .data()
}

/// The input, in the order that is required; `None` if it is so by itself.
pub(super) fn sorted(input: &Arc<dyn ExecutionPlan>, required: OrderingRequirements) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let OrderingRequirements::Hard(alternatives) = required else { return Ok(None) };
    let cut = cut_into_stages(Arc::clone(input))?;
    for order in &alternatives {
        if cut.equivalence_properties().ordering_satisfy_requirement(order.clone())? {
            return Ok(None);
        }
    }
    // One order is enough.
    let unsorted = match input.downcast_ref::<SortExec>() {
        Some(sort) if sort.fetch().is_none() && sort.preserve_partitioning() => sort.input(),
        _ => input,
    };
    let sort = |order| SortExec::new(LexOrdering::from(order), Arc::clone(unsorted)).with_preserve_partitioning(true);
    Ok(alternatives.into_iter().next().map(|order| Arc::new(sort(order)) as Arc<dyn ExecutionPlan>))
}

/// The last stage of a plan: what comes from other stages is known by its columns and its partitions only.
pub(super) fn cut_into_stages(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let of_stage = |plan: &Arc<dyn ExecutionPlan>, partitioning: Partitioning| -> Arc<dyn ExecutionPlan> {
        Arc::new(UnresolvedShuffleExec::new(0, plan.schema(), partitioning))
    };
    plan.transform_down(|plan| {
        if let Some(repartition) = plan.downcast_ref::<RepartitionExec>()
            && matches!(repartition.partitioning(), Partitioning::Hash(..))
        {
            return Ok(Transformed::new(of_stage(&plan, repartition.partitioning().clone()), true, TreeNodeRecursion::Jump));
        }
        if plan.is::<CoalescePartitionsExec>() || plan.is::<SortPreservingMergeExec>() {
            return Ok(Transformed::new(of_stage(&plan, Partitioning::UnknownPartitioning(1)), true, TreeNodeRecursion::Jump));
        }
        match plan.downcast_ref::<HashJoinExec>() {
            Some(join) if *join.partition_mode() == PartitionMode::CollectLeft && !join.left().is::<UnresolvedShuffleExec>() => {
                let children = vec![of_stage(join.left(), Partitioning::UnknownPartitioning(1)), Arc::clone(join.right())];
                let options = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute);
                plan.replace_children(children, options).map(Transformed::yes)
            }
            _ => Ok(Transformed::no(plan)),
        }
    })
    .data()
}
