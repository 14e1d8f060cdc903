//! In stages that are all live at once and stream to each other, by datafusion-distributed.
//!
//! It retries nothing. So a query whose executor is lost is run again on the others, from the same pinned snapshots, as long as none of its rows has left.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::datasource::physical_plan::FileScanConfig;
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::execution::context::QueryPlanner;
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::LogicalPlan;
use datafusion::logical_expr::LogicalPlanBuilder;
#[expect(deprecated, reason = "see `with_own_buffers`")]
use datafusion::physical_plan::coalesce_batches::CoalesceBatchesExec;
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::execution_plan::reset_plan_states;
use datafusion::physical_plan::joins::{CrossJoinExec, HashJoinExec, NestedLoopJoinExec, PartitionMode};
use datafusion::physical_plan::{ChildrenPropertiesMode, ExecutionPlan, ExecutionPlanProperties, ReplaceChildrenOptions, execute_stream};
use datafusion::prelude::SessionConfig;
use datafusion_distributed::{
    DesiredTaskCountEvent, DesiredTaskCountEventResponse, DistributedExt, DistributedLeafExec, DistributedMetricsFormat, NetworkBoundaryExt,
    RouteTasksEvent, RouteTasksEventResponse, RouteTasksHandler, ScaleUpLeafNodeEvent, ScaleUpLeafNodeEventResponse, ScaleUpLeafNodeHandler,
    SessionStateBuilderExt, WorkerResolver, display_plan_ascii, explain_analyze,
};
use nunatak_core::{Error, Result};
use nunatak_engine::codec::Codec;
use nunatak_engine::context::EngineContext;
use nunatak_engine::error::{from_datafusion, into_datafusion};
use nunatak_engine::scan::affinity;
use nunatak_state::Joined;
use url::Url;

use super::choice::no_executors;
use super::members::{Members, Needed};
use super::rows::{self, Attempt};

/// The fewest partitions of a task.
const PARTITIONS_MIN: usize = 2;

/// Up to this many bytes, the build side of a join is sent whole to all tasks of the join. Its probe side need not be sent then, and its scan
/// profits from the join's dynamic filter. DataFusion's own limit, 1 MiB, is made for threads of one process.
const BROADCAST_BYTES_MAX: usize = 32 << 20;

/// The configuration for plans of this mode: each task has as many partitions as an executor has slots, unless
/// the session asks for a number.
pub(super) fn config(session: &SessionConfig, partitions: Option<usize>, executors: &[Joined]) -> SessionConfig {
    let fewest = || executors.iter().map(|joined| joined.executor.slots).min();
    // A plan for one partition has no exchanges, and so no places where it could be cut into tasks.
    let partitions = partitions.or_else(fewest).unwrap_or(PARTITIONS_MIN).max(PARTITIONS_MIN);
    let mut config = session.clone().with_target_partitions(partitions);
    // The result of a subquery cannot be handed to another process; a join can.
    let optimizer = &mut config.options_mut().optimizer;
    optimizer.enable_physical_uncorrelated_scalar_subquery = false;
    optimizer.hash_join_single_partition_threshold = BROADCAST_BYTES_MAX;
    config
}

/// Runs a plan.
pub(super) async fn run(
    plan: Arc<dyn ExecutionPlan>,
    state: &SessionState,
    engine: &Arc<EngineContext>,
    members: &Members,
) -> Result<SendableRecordBatchStream> {
    let schema = plan.schema();
    let (state, engine, members) = (state.clone(), Arc::clone(engine), members.clone());
    let first = attempt(&plan, &state, &engine, members.active()).await?;
    let again = {
        let members = members.clone();
        move || {
            let (plan, state, engine, executors) = (Arc::clone(&plan), state.clone(), Arc::clone(&engine), members.active());
            async move { attempt(&plan, &state, &engine, executors).await }
        }
    };
    Ok(rows::with_retries(schema, first, again, members))
}

/// One attempt, on these executors.
async fn attempt(plan: &Arc<dyn ExecutionPlan>, state: &SessionState, engine: &EngineContext, executors: Vec<Joined>) -> Result<Attempt> {
    // What an attempt before this one has left in the operators must not be met again.
    let plan = reset_plan_states(Arc::clone(plan)).map_err(from_datafusion)?;
    let (plan, task) = distribute(plan, state, engine, &executors).await?;
    let rows = execute_stream(plan, task).map_err(from_datafusion)?;
    Ok(Attempt { rows, needed: Needed::These(executors) })
}

/// Puts exchanges between executors into a plan. One that needs a single task stays as it is, and runs on the coordinator.
async fn distribute(
    plan: Arc<dyn ExecutionPlan>,
    state: &SessionState,
    engine: &EngineContext,
    executors: &[Joined],
) -> Result<(Arc<dyn ExecutionPlan>, Arc<TaskContext>)> {
    if executors.is_empty() {
        return Err(no_executors());
    }
    let workers = Workers::new(executors)?;
    let plan = with_own_buffers(plan, state.config().batch_size()).map_err(from_datafusion)?;
    let state = SessionStateBuilder::new_from_existing(state.clone())
        .with_query_planner(Arc::new(Planned(plan)))
        .with_distributed_worker_resolver(workers.clone())
        .with_distributed_scale_up_leaf_node_handler(workers.clone())
        .with_distributed_route_tasks_handler(workers)
        .with_distributed_desired_task_count_handler(keep_single_partitions)
        .with_distributed_user_codec(Codec::new(Arc::clone(engine.scan())))
        // As in Trino: within a data centre LZ4 takes longer than what it saves.
        .with_distributed_compression(None)
        .map_err(from_datafusion)?
        .with_distributed_planner()
        .build();
    let placeholder = LogicalPlanBuilder::empty(false).build().map_err(from_datafusion)?;
    let plan = state.query_planner().create_physical_plan(&placeholder, &state).await.map_err(from_datafusion)?;
    Ok((plan, state.task_ctx()))
}

/// Copies what is sent to all tasks of a join into buffers of its own.
///
/// An aggregation gives its rows as slices of one large batch. datafusion-distributed takes each slice for as large as the whole, and a few megabytes
/// would use up the executor's memory.
#[expect(deprecated, reason = "its successor, arrow's BatchCoalescer, is not an operator")]
fn with_own_buffers(plan: Arc<dyn ExecutionPlan>, batch_rows: usize) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
    plan.transform_up(|join| {
        let is_collected = join.downcast_ref::<HashJoinExec>().is_some_and(|join| *join.partition_mode() == PartitionMode::CollectLeft)
            || join.is::<NestedLoopJoinExec>()
            || join.is::<CrossJoinExec>();
        if !is_collected {
            return Ok(Transformed::no(join));
        }
        // Batches of the usual size would be passed on as they are.
        let copied = |input: &Arc<dyn ExecutionPlan>| Arc::new(CoalesceBatchesExec::new(Arc::clone(input), batch_rows * 2));
        let mut children: Vec<_> = join.children().into_iter().cloned().collect();
        children[0] = match children[0].downcast_ref::<CoalescePartitionsExec>() {
            Some(gather) => Arc::new(CoalescePartitionsExec::new(copied(gather.input())).with_fetch(gather.fetch())),
            None => copied(&children[0]),
        };
        join.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute)).map(Transformed::yes)
    })
    .data()
}

/// Keeps a leaf of one partition in one task.
///
/// What stands above it may rely on seeing all rows (an aggregation without an exchange below, a window); datafusion-distributed would still divide its
/// files among tasks, and each of them would give an answer.
fn keep_single_partitions(event: DesiredTaskCountEvent<'_>) -> Option<DataFusionResult<DesiredTaskCountEventResponse>> {
    let is_single = event.plan.children().is_empty() && event.plan.output_partitioning().partition_count() <= 1;
    is_single.then(|| Ok(DesiredTaskCountEventResponse::maximum(1)))
}

/// The plan with its stages.
pub(super) async fn describe(plan: Arc<dyn ExecutionPlan>, state: &SessionState, engine: &EngineContext, members: &Members) -> Result<String> {
    let (plan, _) = distribute(plan, state, engine, &members.active()).await?;
    Ok(display_plan_ascii(plan.as_ref(), false))
}

/// Runs a plan to its end: its rows, and the plan with its stages and what they measured.
pub(super) async fn analyze(
    plan: Arc<dyn ExecutionPlan>,
    state: &SessionState,
    engine: &EngineContext,
    members: &Members,
) -> Result<(usize, String)> {
    let (plan, task) = distribute(plan, state, engine, &members.active()).await?;
    let rows = super::count(execute_stream(Arc::clone(&plan), task).map_err(from_datafusion)?).await?;
    let text = explain_analyze(plan, DistributedMetricsFormat::Aggregated).await.map_err(from_datafusion)?;
    Ok((rows, text))
}

/// The executors of one attempt, in the order of their addresses.
#[derive(Clone)]
struct Workers(Vec<Url>);

impl Workers {
    fn new(executors: &[Joined]) -> Result<Self> {
        let urls = executors.iter().map(|joined| Url::parse(&joined.executor.url()));
        let mut urls =
            urls.collect::<std::result::Result<Vec<_>, _>>().map_err(|error| Error::internal(format!("not the address of an executor: {error}")))?;
        urls.sort_unstable();
        Ok(Self(urls))
    }

    /// The executors that read a scan by so many tasks, in the order of the tasks.
    fn readers(&self, scan: &FileScanConfig, tasks: usize) -> Vec<&str> {
        let all: Vec<&str> = self.0.iter().map(Url::as_str).collect();
        match tasks < all.len() {
            true => affinity::some_nodes(scan, &all, tasks),
            // All scans of a stage have the same order.
            false => all.into_iter().cycle().take(tasks).collect(),
        }
    }
}

impl WorkerResolver for Workers {
    fn get_urls(&self) -> std::result::Result<Vec<Url>, DataFusionError> {
        Ok(self.0.clone())
    }
}

/// Files go to the executors that have read them before.
impl ScaleUpLeafNodeHandler for Workers {
    fn handle(&self, event: ScaleUpLeafNodeEvent) -> Option<DataFusionResult<ScaleUpLeafNodeEventResponse>> {
        let scan = scan_of(event.plan)?;
        let partitions = event.plan.output_partitioning().partition_count();
        let scans = affinity::for_nodes(scan, &self.readers(scan, event.task_count), partitions)?;
        let scans = scans.into_iter().map(|scan| DataSourceExec::from_data_source(scan) as Arc<dyn ExecutionPlan>);
        let leaf = DistributedLeafExec::try_new(Arc::clone(event.plan), scans);
        Some(leaf.map(|leaf| ScaleUpLeafNodeEventResponse::new(Arc::new(leaf))))
    }
}

/// Each task of a stage goes to the executor that its files were given to; those of the first scan count if there are more and they differ.
impl RouteTasksHandler for Workers {
    fn handle(&self, event: RouteTasksEvent) -> Option<DataFusionResult<RouteTasksEventResponse>> {
        let mut readers = None;
        let visited = event.plan.apply(|plan| {
            if plan.as_network_boundary().is_some() {
                return Ok(TreeNodeRecursion::Jump);
            }
            let Some(scan) = plan.downcast_ref::<DistributedLeafExec>().and_then(|leaf| scan_of(leaf.original())) else {
                return Ok(TreeNodeRecursion::Continue);
            };
            readers = Some(self.readers(scan, event.task_count));
            Ok(TreeNodeRecursion::Stop)
        });
        let urls = readers?.into_iter().map(|url| Url::parse(url).map_err(|error| DataFusionError::External(Box::new(error))));
        Some(visited.and_then(|_| urls.collect::<DataFusionResult<_>>()).map(RouteTasksEventResponse::new))
    }
}

fn scan_of(plan: &Arc<dyn ExecutionPlan>) -> Option<&FileScanConfig> {
    plan.downcast_ref::<DataSourceExec>()?.data_source().downcast_ref::<FileScanConfig>()
}

/// A planner that has its plan already: the distributed planner asks the one before it.
#[derive(Debug)]
struct Planned(Arc<dyn ExecutionPlan>);

#[async_trait]
impl QueryPlanner for Planned {
    async fn create_physical_plan(&self, plan: &LogicalPlan, _: &dyn Session) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        match plan {
            LogicalPlan::EmptyRelation(_) => Ok(Arc::clone(&self.0)),
            _ => Err(into_datafusion(Error::internal("a plan was made twice"))),
        }
    }
}
