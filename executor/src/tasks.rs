//! The tasks of stages: Ballista's `ExecutorGrpc` service, which a coordinator calls to launch and to cancel them.
//!
//! Ballista's own server would shut its process down after five heartbeats that failed, drop outcomes that cannot be delivered, and give each task a memory
//! pool of its own; its protocol is public, so it is served here instead.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ballista_core::error::BallistaError;
use ballista_core::extension::{SessionConfigExt, SessionConfigHelperExt};
use ballista_core::registry::BallistaFunctionRegistry;
use ballista_core::serde::BallistaPhysicalExtensionCodec;
use ballista_core::serde::protobuf::executor_grpc_server::ExecutorGrpc;
use ballista_core::serde::protobuf::failed_task::FailedReason;
use ballista_core::serde::protobuf::{
    CancelTasksParams, CancelTasksResult, ExecutionError, FailedTask, LaunchMultiTaskParams, LaunchMultiTaskResult, LaunchTaskParams,
    LaunchTaskResult, MultiTaskDefinition, RemoveJobDataParams, RemoveJobDataResult, ShuffleWritePartition, StopExecutorParams, StopExecutorResult,
    SuccessfulTask, TaskId, TaskStatus, task_status,
};
use ballista_core::serde::scheduler::{TaskDefinition, TaskKey};
use ballista_executor::execution_engine::{DefaultExecutionEngine, ExecutionEngine, QueryStageExecutor};
use dashmap::DashMap;
use datafusion::error::DataFusionError;
use datafusion::execution::TaskContext;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::union::{InterleaveExec, UnionExec};
use datafusion::prelude::SessionConfig;
use datafusion_proto::physical_plan::{
    AsExecutionPlan, DeduplicatingProtoConverter, PhysicalExtensionCodec, PhysicalPlanDecodeContext, PhysicalProtoConverterExtension,
};
use datafusion_proto::protobuf::PhysicalPlanNode;
use nunatak_core::{Code, Error, Retry};
use nunatak_engine::codec::Codec;
use nunatak_engine::context::EngineContext;
use nunatak_engine::error::into_datafusion;
use tokio::runtime::Runtime;
use tokio::task::{AbortHandle, JoinHandle};
use tonic::{Request, Response, Status};
use tracing::{debug, warn};

use crate::abandoned::Jobs;
use crate::deliver::Deliveries;
use crate::describe::describe;
use crate::shuffle::ShuffleFolder;
use crate::slots::Slots;

/// How long after the end of a job its tasks are ended and its folder is removed once more: a task that was cancelled may have made a file meanwhile, and one that was
/// launched before may have come later.
const SECOND_REMOVAL: Duration = Duration::from_secs(2);

/// The tasks of this process. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Tasks(Arc<Inner>);

struct Inner {
    executor_id: String,
    runtime: Arc<RuntimeEnv>,
    config: SessionConfig,
    functions: Arc<BallistaFunctionRegistry>,
    codec: Arc<dyn PhysicalExtensionCodec>,
    execution: DefaultExecutionEngine,
    shuffle: Arc<ShuffleFolder>,
    slots: Slots,
    /// Those that wait for a slot too.
    running: DashMap<TaskKey, AbortHandle>,
    jobs: Jobs,
    deliveries: Deliveries,
}

impl Tasks {
    /// At most `slots` partitions run at the same time.
    pub(crate) fn new(executor_id: &str, slots: usize, engine: &EngineContext, codec: Codec, shuffle: Arc<ShuffleFolder>) -> Self {
        let state = engine.base();
        Self(Arc::new(Inner {
            executor_id: executor_id.to_owned(),
            runtime: Arc::clone(state.runtime_env()),
            config: SessionConfig::new_with_ballista(),
            functions: Arc::new(BallistaFunctionRegistry {
                scalar_functions: state.scalar_functions().clone(),
                aggregate_functions: state.aggregate_functions().clone(),
                window_functions: state.window_functions().clone(),
                higher_order_functions: state.higher_order_functions().clone(),
            }),
            codec: Arc::new(codec.with_others(Arc::new(BallistaPhysicalExtensionCodec::default()))),
            execution: DefaultExecutionEngine::new(),
            shuffle,
            slots: Slots::new(slots, Arc::clone(&state.runtime_env().memory_pool)),
            running: DashMap::new(),
            jobs: Jobs::default(),
            deliveries: Deliveries::new(executor_id),
        }))
    }

    /// Whether nothing runs, and no outcome waits to be delivered.
    pub(crate) fn is_idle(&self) -> bool {
        self.0.running.is_empty() && self.0.deliveries.is_empty()
    }

    /// The tasks of a message, each with a plan of its own.
    ///
    /// Ballista's own decoder would take each filter that a join or a sort fills and a scan asks for two filters, and forget the one of the join: here they stay one.
    fn decode(&self, launched: MultiTaskDefinition) -> datafusion::error::Result<Vec<TaskDefinition>> {
        let session_config = self.0.config.clone().update_from_key_value_pair(&launched.props);
        let context = self.context(None, launched.session_id.clone(), session_config.clone());
        let proto = PhysicalPlanNode::try_decode(&launched.plan)?;
        let task = |task: TaskId| {
            let decoding = PhysicalPlanDecodeContext::new(&context, self.0.codec.as_ref());
            Ok(TaskDefinition {
                task_id: task.task_id as usize,
                task_attempt_num: task.task_attempt_num as usize,
                job_id: launched.job_id.clone().into(),
                stage_id: launched.stage_id as usize,
                stage_attempt_num: launched.stage_attempt_num as usize,
                global_output_partition_ids: task.global_output_partition_ids.iter().map(|partition| *partition as usize).collect(),
                vcores_consumed: task.vcores_consumed,
                plan: DeduplicatingProtoConverter::default().proto_to_execution_plan(&proto, &decoding)?,
                launch_time: launched.launch_time,
                session_id: launched.session_id.clone(),
                session_config: session_config.clone(),
                function_registry: Arc::clone(&self.0.functions),
            })
        };
        launched.task_ids.into_iter().map(task).collect()
    }

    /// What plans are read and run in.
    fn context(&self, task: Option<String>, session_id: String, config: SessionConfig) -> TaskContext {
        let functions = &self.0.functions;
        TaskContext::new(
            task,
            session_id,
            config,
            functions.scalar_functions.clone(),
            functions.higher_order_functions.clone(),
            functions.aggregate_functions.clone(),
            functions.window_functions.clone(),
            Arc::clone(&self.0.runtime),
        )
    }

    /// The jobs of which there were tasks.
    pub(crate) fn jobs(&self) -> &Jobs {
        &self.0.jobs
    }

    /// Gives up what is to be told to a coordinator.
    pub(crate) fn forget_coordinator(&self, coordinator: &str) {
        self.0.deliveries.forget(coordinator);
    }

    /// Runs a task on its own, when there is a slot for it; its outcome goes to `coordinator`. From now on it can be cancelled: then it has no outcome, and nobody waits
    /// for one.
    fn launch(&self, task: TaskDefinition, coordinator: &str) {
        self.0.jobs.began(task.job_id.as_ref(), coordinator);
        let key = TaskKey { job_id: task.job_id.clone(), stage_id: task.stage_id, task_id: task.task_id };
        let running = RunningTask { tasks: self.clone(), key: key.clone() };
        let coordinator = coordinator.to_owned();
        let launched = tokio::spawn(async move {
            let tasks = &running.tasks;
            let _taken = tasks.0.slots.take(task.vcores_consumed).await;
            let status = tasks.run(task).await;
            tasks.0.deliveries.send(&coordinator, status);
        });
        self.0.running.insert(key.clone(), launched.abort_handle());
        if launched.is_finished() {
            self.0.running.remove(&key);
        }
    }

    /// Ends all tasks of a job, and removes its files: now, and what comes late a little later.
    pub(crate) fn end_job(&self, job: &str) {
        self.end_job_now(job);
        let (tasks, job) = (self.clone(), job.to_owned());
        tokio::spawn(async move {
            tokio::time::sleep(SECOND_REMOVAL).await;
            tasks.end_job_now(&job);
        });
    }

    fn end_job_now(&self, job: &str) {
        self.0.jobs.ended(job);
        self.abort_job(job);
        if let Err(error) = self.0.shuffle.remove_job(job, &[]) {
            warn!(%error, "shuffle files cannot be removed");
        }
    }

    /// Ends all tasks of a job.
    fn abort_job(&self, job: &str) {
        let tasks = self.0.running.iter().filter(|task| task.key().job_id.to_string() == job);
        // A task takes itself from the map when it ends, which must not be while the map is read.
        let handles: Vec<AbortHandle> = tasks.map(|task| task.value().clone()).collect();
        handles.iter().for_each(AbortHandle::abort);
    }

    /// What became of a task.
    async fn run(&self, task: TaskDefinition) -> TaskStatus {
        let mut status = TaskStatus {
            task_id: narrow(task.task_id),
            job_id: task.job_id.to_string(),
            stage_id: narrow(task.stage_id),
            stage_attempt_num: narrow(task.stage_attempt_num),
            launch_time: task.launch_time,
            start_exec_time: unix_millis(),
            end_exec_time: 0,
            metrics: Vec::new(),
            status: None,
        };
        let threads = task.vcores_consumed.max(1) as usize;
        let has_metrics = tasks_are_alike(&task.plan);
        let outcome = match self.prepare(task) {
            Ok((stage, context)) => {
                let outcome = execute(status.task_id, Arc::clone(&stage), context, threads).await;
                if has_metrics {
                    status.metrics = stage.collect_plan_metrics().into_iter().filter_map(|metrics| metrics.try_into().ok()).collect();
                }
                outcome.and_then(|partitions| self.success(stage.as_ref(), partitions))
            }
            Err(error) => Err(error),
        };
        status.end_exec_time = unix_millis();
        status.status = Some(match outcome {
            Ok(success) => task_status::Status::Successful(success),
            Err(error) => task_status::Status::Failed(failure(error)),
        });
        status
    }

    fn prepare(&self, task: TaskDefinition) -> datafusion::error::Result<(Arc<dyn QueryStageExecutor>, Arc<TaskContext>)> {
        let identity = format!("{}/{}.{}/{}", task.job_id, task.stage_id, task.stage_attempt_num, task.task_id);
        debug!(task = identity, partitions = ?task.global_output_partition_ids, "task starts");
        let stage = self.0.execution.create_query_stage_exec(
            task.job_id,
            task.stage_id,
            task.task_id,
            task.global_output_partition_ids,
            task.plan,
            &self.0.shuffle.path(),
            &task.session_config,
        )?;
        Ok((stage, Arc::new(self.context(Some(identity), task.session_id, task.session_config))))
    }

    fn success(&self, stage: &dyn QueryStageExecutor, partitions: Vec<ShuffleWritePartition>) -> datafusion::error::Result<SuccessfulTask> {
        Ok(SuccessfulTask {
            executor_id: self.0.executor_id.clone(),
            partitions,
            runtime_stats: stage.collect_runtime_stats_reports(),
            window_state: stage.collect_window_state_reports()?,
            task_column_stats: stage.collect_column_stats(),
        })
    }
}

/// A task among those that run, until it ends in whatever way.
struct RunningTask {
    tasks: Tasks,
    key: TaskKey,
}

impl Drop for RunningTask {
    fn drop(&mut self) {
        self.tasks.0.running.remove(&self.key);
    }
}

/// Whether all tasks of a stage have the same operators. Below a union each has those of its own branches, and the scheduler refuses an outcome, and waits for it forever,
/// whose metrics are not as many as those of the stage's first task.
fn tasks_are_alike(plan: &Arc<dyn ExecutionPlan>) -> bool {
    let is_union = plan.is::<UnionExec>() || plan.is::<InterleaveExec>();
    !is_union && plan.children().into_iter().all(tasks_are_alike)
}

/// Runs the stage of a task, on threads that end when this is dropped.
async fn execute(
    task_id: u32,
    stage: Arc<dyn QueryStageExecutor>,
    context: Arc<TaskContext>,
    threads: usize,
) -> datafusion::error::Result<Vec<ShuffleWritePartition>> {
    let runtime = TaskRuntime::start(threads)?;
    let work = runtime.spawn(async move { stage.execute_query_stage(task_id as usize, context).await });
    match work.await {
        Ok(outcome) => Ok(outcome?),
        Err(error) => Err(into_datafusion(Error::internal(format!("a task panicked: {error}")))),
    }
}

/// The stack of each thread: plans are walked by recursion.
const STACK_BYTES: usize = 8 << 20;

/// After how many steps a thread looks whether it should end. A step of a heavy join takes tens of milliseconds, and tokio's default are 61 of them.
const STEPS_TO_A_LOOK: u32 = 1;

/// The threads of one task. Ballista starts parts of a task that outlive it when it is dropped; with its threads they all end.
struct TaskRuntime(Option<Runtime>);

impl TaskRuntime {
    fn start(threads: usize) -> datafusion::error::Result<Self> {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.worker_threads(threads).thread_name("task").thread_stack_size(STACK_BYTES).event_interval(STEPS_TO_A_LOOK);
        let runtime = builder.enable_all().build();
        runtime.map(|runtime| Self(Some(runtime))).map_err(DataFusionError::IoError)
    }

    fn spawn<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
        match &self.0 {
            Some(runtime) => runtime.spawn(work),
            None => tokio::spawn(work),
        }
    }
}

impl Drop for TaskRuntime {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// What became of a task that failed. Errors of ours keep their code in the text; those that another attempt may not meet are worth one.
fn failure(error: DataFusionError) -> FailedTask {
    let ours = describe(&error);
    // Ballista finds in it whether shuffle files were lost, and with which executor.
    let mut failed = FailedTask::from(BallistaError::from(error));
    if let Some(FailedReason::FetchPartitionError(lost)) = &failed.failed_reason {
        // The coordinator runs the query again as a whole; told of the loss of a shuffle file, its scheduler would recover on its own, and wrongly.
        let gone = Error::new(Code::RemoteHostGone, format!("executor {}, which holds rows that a task reads", lost.executor_id));
        return FailedTask {
            error: gone.with_context("why", &failed.error).to_string(),
            retryable: false,
            count_to_failures: false,
            failed_reason: Some(FailedReason::ExecutionError(ExecutionError {})),
        };
    }
    if matches!(failed.failed_reason, None | Some(FailedReason::ExecutionError(_) | FailedReason::IoError(_))) {
        let worth_a_retry = ours.retry() == Retry::Task;
        failed.error = ours.to_string();
        failed.retryable |= worth_a_retry;
        failed.count_to_failures |= worth_a_retry;
    }
    failed
}

fn narrow(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn unix_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[tonic::async_trait]
impl ExecutorGrpc for Tasks {
    async fn launch_task(&self, _: Request<LaunchTaskParams>) -> Result<Response<LaunchTaskResult>, Status> {
        Err(Status::unimplemented("tasks are launched by launch_multi_task"))
    }

    async fn launch_multi_task(&self, request: Request<LaunchMultiTaskParams>) -> Result<Response<LaunchMultiTaskResult>, Status> {
        let LaunchMultiTaskParams { multi_tasks, scheduler_endpoint } = request.into_inner();
        let mut failed_jobs = Vec::new();
        for multi_task in multi_tasks {
            let job = multi_task.job_id.clone();
            match self.decode(multi_task) {
                Ok(tasks) => tasks.into_iter().for_each(|task| self.launch(task, &scheduler_endpoint)),
                Err(error) => {
                    warn!(job, %error, "tasks cannot be read");
                    failed_jobs.push(job);
                }
            }
        }
        Ok(Response::new(LaunchMultiTaskResult { failed_jobs }))
    }

    /// A coordinator that has missed some heartbeats wants the executor to end. It has other coordinators, and will be back with the next heartbeat.
    async fn stop_executor(&self, request: Request<StopExecutorParams>) -> Result<Response<StopExecutorResult>, Status> {
        warn!(reason = request.into_inner().reason, "a coordinator takes this executor for gone");
        Ok(Response::new(StopExecutorResult {}))
    }

    async fn cancel_tasks(&self, request: Request<CancelTasksParams>) -> Result<Response<CancelTasksResult>, Status> {
        for task in request.into_inner().task_infos {
            let key = TaskKey { job_id: task.job_id.into(), stage_id: task.stage_id as usize, task_id: task.task_id as usize };
            let handle = self.0.running.get(&key).map(|task| task.value().clone());
            handle.iter().for_each(AbortHandle::abort);
        }
        Ok(Response::new(CancelTasksResult { cancelled: true }))
    }

    async fn remove_job_data(&self, request: Request<RemoveJobDataParams>) -> Result<Response<RemoveJobDataResult>, Status> {
        let RemoveJobDataParams { job_id, remove_stage_ids } = request.into_inner();
        let invalid = |error: Error| Status::invalid_argument(error.to_string());
        self.0.shuffle.remove_job(&job_id, &remove_stage_ids).map_err(invalid)?;
        if remove_stage_ids.is_empty() {
            self.end_job(&job_id);
        }
        Ok(Response::new(RemoveJobDataResult {}))
    }
}
