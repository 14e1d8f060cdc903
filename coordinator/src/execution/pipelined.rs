//! In stages that are all live at once and stream to each other, by datafusion-distributed.
//!
//! It retries nothing. So a query whose executor is lost is run again on the others, from the same pinned snapshots, as long as none of its rows has left.

use std::sync::Arc;

use arrow::array::RecordBatch;
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
use nunatak_engine::computing::in_steps;
use nunatak_engine::context::EngineContext;
use nunatak_engine::error::{from_datafusion, into_datafusion};
use nunatak_engine::scan::affinity::{self, Node};
use nunatak_engine::scan::scan_of;
use nunatak_state::Joined;
use tokio::sync::mpsc::UnboundedReceiver;
use url::Url;

use super::choice::no_executors;
use super::connections::{self, Connections};
use super::cuts::sort_again;
use super::members::{Members, Needed};
use super::own_buffers::copied;
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

/// Runs plans by datafusion-distributed. Cheap to clone.
#[derive(Clone)]
pub(super) struct Pipelined {
    engine: Arc<EngineContext>,
    members: Members,
    connections: Connections,
}

/// A plan with exchanges between executors.
struct Distributed {
    plan: Arc<dyn ExecutionPlan>,
    task: Arc<TaskContext>,
    /// Why a task has not arrived.
    failed: UnboundedReceiver<Error>,
}

impl Distributed {
    fn run(self) -> Result<SendableRecordBatchStream> {
        let rows = execute_stream(self.plan, self.task).map_err(from_datafusion)?;
        Ok(connections::until_failure(rows, self.failed))
    }
}

impl Pipelined {
    pub(super) fn new(engine: Arc<EngineContext>, members: Members) -> Self {
        Self { engine, members, connections: Connections::default() }
    }

    /// Runs a plan.
    pub(super) async fn run(&self, plan: Arc<dyn ExecutionPlan>, state: &SessionState) -> Result<SendableRecordBatchStream> {
        let schema = plan.schema();
        let first = self.attempt(&plan, state).await?;
        let again = {
            let (pipelined, state) = (self.clone(), state.clone());
            move || {
                let (pipelined, plan, state) = (pipelined.clone(), Arc::clone(&plan), state.clone());
                async move { pipelined.attempt(&plan, &state).await }
            }
        };
        Ok(rows::with_retries(schema, first, again, self.members.clone()))
    }

    /// One attempt, on the executors that are there.
    async fn attempt(&self, plan: &Arc<dyn ExecutionPlan>, state: &SessionState) -> Result<Attempt> {
        let executors = self.members.active();
        // What an attempt before this one has left in the operators must not be met again.
        let plan = reset_plan_states(Arc::clone(plan)).map_err(from_datafusion)?;
        let rows = self.distribute(plan, state, &executors).await?.run()?;
        Ok(Attempt { rows, needed: Needed::These(executors) })
    }

    /// The plan with its stages.
    pub(super) async fn describe(&self, plan: Arc<dyn ExecutionPlan>, state: &SessionState) -> Result<String> {
        let distributed = self.distribute(plan, state, &self.members.active()).await?;
        Ok(display_plan_ascii(distributed.plan.as_ref(), false))
    }

    /// Runs a plan to its end: its rows, and the plan with its stages and what they measured.
    pub(super) async fn analyze(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        state: &SessionState,
        kept: Option<&mut Vec<RecordBatch>>,
    ) -> Result<(usize, String)> {
        let distributed = self.distribute(plan, state, &self.members.active()).await?;
        let plan = Arc::clone(&distributed.plan);
        let rows = super::count(distributed.run()?, kept).await?;
        let text = explain_analyze(plan, DistributedMetricsFormat::Aggregated).await.map_err(from_datafusion)?;
        Ok((rows, text))
    }

    /// Puts exchanges between executors into a plan. One that needs a single task stays as it is, and runs on the coordinator.
    async fn distribute(&self, plan: Arc<dyn ExecutionPlan>, state: &SessionState, executors: &[Joined]) -> Result<Distributed> {
        if executors.is_empty() {
            return Err(no_executors());
        }
        let executors = addressed(executors)?;
        let (connections, failed) = self.connections.of_attempt(&executors);
        let workers = Workers(executors.into_iter().map(|(url, _)| url).collect());
        let plan = sort_again(plan).and_then(|plan| with_own_buffers(plan, state.config().batch_size())).map_err(from_datafusion)?;
        let state = SessionStateBuilder::new_from_existing(state.clone())
            .with_query_planner(Arc::new(Planned(plan)))
            .with_distributed_worker_resolver(workers.clone())
            .with_distributed_channel_resolver(connections)
            .with_distributed_scale_up_leaf_node_handler(workers.clone())
            .with_distributed_route_tasks_handler(workers)
            .with_distributed_desired_task_count_handler(keep_single_partitions)
            .with_distributed_user_codec(Codec::new(Arc::clone(self.engine.scan())))
            // As in Trino: within a data centre LZ4 takes longer than what it saves.
            .with_distributed_compression(None)
            .map_err(from_datafusion)?
            .with_distributed_planner()
            .build();
        let placeholder = LogicalPlanBuilder::empty(false).build().map_err(from_datafusion)?;
        let plan = in_steps(state.query_planner().create_physical_plan(&placeholder, &state)).await.map_err(from_datafusion)?;
        Ok(Distributed { plan, task: state.task_ctx(), failed })
    }
}

/// Executors with their addresses, in the order of these.
fn addressed(executors: &[Joined]) -> Result<Vec<(Url, Joined)>> {
    let addressed = executors.iter().map(|joined| match Url::parse(&joined.executor.url()) {
        Ok(url) => Ok((url, joined.clone())),
        Err(error) => Err(Error::internal(format!("not the address of an executor: {error}"))),
    });
    let mut addressed = addressed.collect::<Result<Vec<_>>>()?;
    addressed.sort_unstable_by(|(left, _), (right, _)| left.cmp(right));
    Ok(addressed)
}

/// Copies what is sent to all tasks of a join into buffers of its own.
///
/// An aggregation gives its rows as slices of one large batch. datafusion-distributed takes each slice for as large as the whole, and a few megabytes
/// would use up the executor's memory.
fn with_own_buffers(plan: Arc<dyn ExecutionPlan>, batch_rows: usize) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
    plan.transform_up(|join| {
        let is_collected = join.downcast_ref::<HashJoinExec>().is_some_and(|join| *join.partition_mode() == PartitionMode::CollectLeft)
            || join.is::<NestedLoopJoinExec>()
            || join.is::<CrossJoinExec>();
        if !is_collected {
            return Ok(Transformed::no(join));
        }
        let mut children: Vec<_> = join.children().into_iter().cloned().collect();
        children[0] = match children[0].downcast_ref::<CoalescePartitionsExec>() {
            Some(gather) => Arc::new(CoalescePartitionsExec::new(copied(gather.input(), batch_rows)).with_fetch(gather.fetch())),
            None => copied(&children[0], batch_rows),
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

/// The executors of one attempt, in the order of their addresses.
#[derive(Clone)]
struct Workers(Vec<Url>);

impl Workers {
    /// The executors that read a scan by so many tasks, in the order of the tasks.
    fn readers(&self, scan: &FileScanConfig, tasks: usize) -> Vec<&Url> {
        if tasks < self.0.len() {
            let nodes: Vec<Node<'_>> = self.0.iter().map(|url| Node { name: url.as_str(), partitions: 1 }).collect();
            return affinity::ranking(scan, &nodes).into_iter().take(tasks).map(|number| &self.0[number]).collect();
        }
        // All scans of a stage have the same order.
        self.0.iter().cycle().take(tasks).collect()
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
        let scan = scan_of(event.plan.as_ref())?;
        let partitions = event.plan.output_partitioning().partition_count();
        let readers = self.readers(scan, event.task_count);
        let nodes: Vec<Node<'_>> = readers.into_iter().map(|url| Node { name: url.as_str(), partitions }).collect();
        let scans = affinity::for_nodes(scan, &nodes)?;
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
            let Some(scan) = plan.downcast_ref::<DistributedLeafExec>().and_then(|leaf| scan_of(leaf.original().as_ref())) else {
                return Ok(TreeNodeRecursion::Continue);
            };
            readers = Some(self.readers(scan, event.task_count));
            Ok(TreeNodeRecursion::Stop)
        });
        let urls = readers?.into_iter().cloned().collect();
        Some(visited.map(|_| RouteTasksEventResponse::new(urls)))
    }
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
