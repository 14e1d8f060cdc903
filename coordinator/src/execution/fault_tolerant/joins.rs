//! What would go wrong in tasks that do not share their memory: joins, and rows that are divided within a stage; and what they are not told of.

use std::sync::Arc;

use ballista_core::config::BallistaConfig;
use datafusion::common::JoinType;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::config::ConfigOptions;
use datafusion::datasource::memory::{DataSourceExec, MemorySourceConfig};
use datafusion::error::Result;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::aggregates::AggregateExec;
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::joins::{HashJoinExec, NestedLoopJoinExec, PartitionMode};
use datafusion::physical_plan::limit::{GlobalLimitExec, LocalLimitExec};
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use datafusion::physical_plan::statistics::{StatisticsArgs, StatisticsContext};
use datafusion::physical_plan::{ChildrenPropertiesMode, Distribution, ExecutionPlan, ExecutionPlanProperties, ReplaceChildrenOptions};
use nunatak_core::Error;
use nunatak_engine::error::into_datafusion;

use super::super::cuts::{cut_into_stages, sorted};
use super::super::own_buffers::{copied, has_views};

/// The plan as Ballista can cut it into stages.
pub(super) fn for_stages(plan: Arc<dyn ExecutionPlan>, batch_rows: usize) -> Result<Arc<dyn ExecutionPlan>> {
    let plan = without_filters_of_movable_joins(with_limits_of_values(without_empty_sets(plan)?)?)?;
    with_own_buffers(divide_again(gather_probe_sides(plan)?)?, batch_rows)
}

/// Puts the limit of `VALUES` above them: it is lost on the way to executors.
fn with_limits_of_values(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    plan.transform_up(|plan| {
        let is_values = plan.downcast_ref::<DataSourceExec>().is_some_and(|scan| scan.data_source().downcast_ref::<MemorySourceConfig>().is_some());
        Ok(match plan.fetch().filter(|_| is_values) {
            Some(fetch) => Transformed::yes(Arc::new(LocalLimitExec::new(plan, fetch)) as Arc<dyn ExecutionPlan>),
            None => Transformed::no(plan),
        })
    })
    .data()
}

/// Refuses aggregations with several sets of no columns alone, `GROUPING SETS ((), ())`: what is written of them for other processes says nothing of the sets, and they would give no rows.
fn without_empty_sets(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let is_refused = plan.exists(|plan| {
        let groups = plan.downcast_ref::<AggregateExec>().map(AggregateExec::group_expr);
        Ok(groups.is_some_and(|groups| groups.expr().is_empty() && groups.has_grouping_set()))
    })?;
    if is_refused {
        let error = Error::not_supported("GROUPING SETS ((), ()) is not supported in execution mode fault_tolerant");
        return Err(into_datafusion(error.with_hint("leave one of them, or SET SESSION execution_mode = 'pipelined'")));
    }
    Ok(plan)
}

/// Copies the rows that stages write as they are, into buffers of their own. Where rows are divided by a hash, Ballista copies them.
fn with_own_buffers(plan: Arc<dyn ExecutionPlan>, batch_rows: usize) -> Result<Arc<dyn ExecutionPlan>> {
    let is_copied = |plan: &Arc<dyn ExecutionPlan>| {
        plan.children().is_empty() || plan.is::<RepartitionExec>() || plan.is::<CoalescePartitionsExec>() || !has_views(&plan.schema())
    };
    let written = |plan: &Arc<dyn ExecutionPlan>| if is_copied(plan) { Arc::clone(plan) } else { copied(plan, batch_rows) };
    let plan = plan.transform_up(|plan| {
        let is_broadcast = plan.downcast_ref::<HashJoinExec>().is_some_and(|join| *join.partition_mode() == PartitionMode::CollectLeft);
        if !is_broadcast && !plan.is::<CoalescePartitionsExec>() && !plan.is::<SortPreservingMergeExec>() {
            return Ok(Transformed::no(plan));
        }
        let mut children: Vec<_> = plan.children().into_iter().cloned().collect();
        children[0] = written(&children[0]);
        plan.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute)).map(Transformed::yes)
    });
    Ok(written(&plan.data()?))
}

/// Takes the dynamic filter from each hash join whose sides Ballista may swap when it knows how large they are: it fails then, and the query would hang.
///
/// Nothing is lost by it. Such a join reads both sides from other stages, or its right side from one partition; only one that is joined as it is read, with the whole
/// other side, can leave out what it need not read.
fn without_filters_of_movable_joins(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    plan.transform_up(|plan| match plan.downcast_ref::<HashJoinExec>() {
        Some(join) if !join.dynamic_expressions_produced().is_empty() && is_movable(join) => {
            join.builder().reset_state().build_exec().map(Transformed::yes)
        }
        _ => Ok(Transformed::no(plan)),
    })
    .data()
}

/// Whether Ballista may swap the sides of a join, by the rule it has for stages whose input is complete.
fn is_movable(join: &HashJoinExec) -> bool {
    *join.partition_mode() != PartitionMode::CollectLeft || join.right().output_partitioning().partition_count() == 1
}

/// Divides and sorts rows again where they are as they should be only by what is known of their values: what is joined by `a = b` and divided by `a` is divided
/// by `b` too. Ballista cuts a plan where rows are divided, and knows no more of what is below; it would divide rows within a stage, of which each task has
/// only a part.
fn divide_again(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    plan.transform_up(|plan| {
        let required = plan.input_distribution_requirements().into_per_child();
        let mut children = Vec::with_capacity(required.len());
        let mut is_changed = false;
        for ((child, required), order) in plan.children().into_iter().zip(required).zip(plan.required_input_ordering()) {
            let divided = divided(child, &required)?;
            let input = divided.as_ref().unwrap_or(child);
            let sorted = order.map(|order| sorted(input, order)).transpose()?.flatten();
            is_changed |= divided.is_some() || sorted.is_some();
            children.push(sorted.unwrap_or_else(|| Arc::clone(input)));
        }
        if !is_changed {
            return Ok(Transformed::no(plan));
        }
        plan.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute)).map(Transformed::yes)
    })
    .data()
}

/// The input, divided as is required; `None` if it is so by itself.
fn divided(input: &Arc<dyn ExecutionPlan>, required: &Distribution) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let partitions = input.output_partitioning().partition_count();
    if partitions == 1 || matches!(required, Distribution::UnspecifiedDistribution | Distribution::SinglePartition) {
        return Ok(None);
    }
    let cut = cut_into_stages(Arc::clone(input))?;
    if cut.output_partitioning().satisfaction(required, cut.equivalence_properties(), false).is_satisfied() {
        return Ok(None);
    }
    // Rows are put in order behind their division.
    if let Some(sort) = input.downcast_ref::<SortExec>() {
        let Some(below) = divided(sort.input(), required)? else { return Ok(None) };
        let options = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute);
        return Arc::clone(input).replace_children(vec![below], options).map(Some);
    }
    let divided = RepartitionExec::try_new(Arc::clone(input), required.clone().create_partitioning(partitions))?;
    Ok(Some(Arc::new(divided)))
}

/// Gives a single task to nested loop joins that emit rows of their left side, and to hash joins that tell NULLs apart (`NOT IN`).
///
/// Each task has the whole left side and a part of the right one. Which rows of the left have found a partner is known only to all tasks together, so that
/// each of them would emit the others. (For other hash joins see [`DivideJoins`].)
///
/// Ballista takes partitions together and apart once more where it cuts stages, as operators require it. A join requires nothing of its right side; a limit does, even one
/// that lets all rows through. What Ballista itself puts above the right side of a join that tells NULLs apart is taken away so.
fn gather_probe_sides(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    plan.transform_up(|plan| {
        let mut sides = None;
        if let Some(join) = plan.downcast_ref::<NestedLoopJoinExec>()
            && emits_left(*join.join_type())
        {
            sides = Some((Arc::clone(join.left()), gathered(join.right())));
        }
        if let Some(join) = plan.downcast_ref::<HashJoinExec>()
            && join.null_aware
        {
            // Ballista would put the outer one there itself.
            let right: Arc<dyn ExecutionPlan> = Arc::new(CoalescePartitionsExec::new(gathered(join.right())));
            sides = Some((Arc::clone(join.left()), right));
        }
        let Some((left, right)) = sides else { return Ok(Transformed::no(plan)) };
        plan.replace_children(vec![left, right], ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute)).map(Transformed::yes)
    })
    .data()
}

/// The same rows in one partition, whatever Ballista makes of the plan.
fn gathered(plan: &Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
    let plan = Arc::clone(plan);
    let gathered = if plan.output_partitioning().partition_count() == 1 { plan } else { Arc::new(CoalescePartitionsExec::new(plan)) };
    Arc::new(GlobalLimitExec::new(gathered, 0, None))
}

/// The rules by which plans of this mode are optimised: those given, and [`DivideJoins`] behind the one that chooses joins.
pub(super) fn with_divided_joins(rules: &[Arc<dyn PhysicalOptimizerRule + Send + Sync>]) -> Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>> {
    let mut all = Vec::with_capacity(rules.len() + 1);
    for rule in rules {
        all.push(Arc::clone(rule));
        if rule.name() == "join_selection" {
            all.push(Arc::new(DivideJoins));
        }
    }
    all
}

/// Divides both sides of the hash joins of which Ballista would do so.
///
/// DataFusion may collect the build side of any join. Tasks do not share what they find out about its rows, so Ballista turns the join back into one that
/// divides both sides if rows of the build side come out of it, or if that side is large. It does so when all else is planned, and what is above may rest on the
/// partitions of the join as it was: an aggregation over its only one gives a row for each of many. So here it is done before anything rests on them.
#[derive(Debug)]
struct DivideJoins;

impl PhysicalOptimizerRule for DivideJoins {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, config: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        let ballista = config.extensions.get::<BallistaConfig>().cloned().unwrap_or_default();
        let bytes_max = ballista.broadcast_join_threshold_bytes();
        plan.transform_up(|plan| match plan.downcast_ref::<HashJoinExec>() {
            // Those that tell NULLs apart are given a single task: see [`gather_probe_sides`].
            Some(join) if *join.partition_mode() == PartitionMode::CollectLeft && !join.null_aware && !stays_collected(join, bytes_max) => {
                let divided = join.builder().with_partition_mode(PartitionMode::Partitioned).build()?;
                Ok(Transformed::yes(Arc::new(divided)))
            }
            _ => Ok(Transformed::no(plan)),
        })
        .data()
    }

    fn name(&self) -> &str {
        "divide_joins"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// Whether Ballista leaves the build side collected: by its own estimate of that side's bytes.
fn stays_collected(join: &HashJoinExec, bytes_max: usize) -> bool {
    if emits_left(*join.join_type()) {
        return false;
    }
    let Ok(statistics) = StatisticsContext::new().compute(join.left().as_ref(), &StatisticsArgs::new()) else { return false };
    let bytes = statistics.total_byte_size.get_value().copied().filter(|bytes| *bytes > 0);
    // It takes no column for wider than this.
    let row_bytes = join.left().schema().fields().len().max(1) * 32;
    let by_rows = statistics.num_rows.get_value().filter(|rows| **rows > 0).map(|rows| rows.saturating_mul(row_bytes));
    bytes.or(by_rows).is_some_and(|bytes| bytes < bytes_max)
}

fn emits_left(join: JoinType) -> bool {
    match join {
        JoinType::Inner | JoinType::Right | JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => false,
        JoinType::Left | JoinType::Full | JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark => true,
    }
}
