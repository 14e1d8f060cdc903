//! Ballista's scheduler as a library, with the membership of the cluster's state.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use ballista_core::BALLISTA_PROTOCOL_VERSION;
use ballista_core::JobId;
use ballista_core::config::TaskSchedulingPolicy;
use ballista_core::error::BallistaError;
use ballista_core::extension::SessionConfigExt;
use ballista_core::serde::protobuf::scheduler_grpc_server::SchedulerGrpc;
use ballista_core::serde::protobuf::{
    CleanJobDataParams, ExecutorOperatingSystemSpecification, ExecutorRegistration, ExecutorResource, ExecutorSpecification, ExecutorStatus,
    HeartBeatParams, JobStatus, MultiTaskDefinition, executor_resource, executor_status, job_status, task_status,
};
use ballista_core::serde::scheduler::ExecutorMetadata;
use ballista_core::serde::{BallistaCodec, BallistaLogicalExtensionCodec, BallistaPhysicalExtensionCodec};
use ballista_scheduler::cluster::memory::InMemoryJobState;
use ballista_scheduler::cluster::{BallistaCluster, JobState};
use ballista_scheduler::config::SchedulerConfig;
use ballista_scheduler::metrics::default_metrics_collector;
use ballista_scheduler::scheduler_server::{JobIdGenerator, SchedulerServer};
use ballista_scheduler::state::execution_graph::ExecutionGraphBox;
use ballista_scheduler::state::execution_stage::ExecutionStage;
use ballista_scheduler::state::executor_manager::ExecutorManager;
use ballista_scheduler::state::task_manager::TaskLauncher;
use dashmap::DashMap;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion_proto::protobuf::{LogicalPlanNode, PhysicalPlanNode};
use nunatak_core::{Code, Error, Result};
use nunatak_engine::codec::Codec;
use nunatak_engine::context::EngineContext;
use nunatak_state::{ClusterState, CoordinatorMember, ExecutorMember, Joined, Membership};
use tokio::sync::{mpsc, watch};
use tonic::Request;
use tracing::{debug, warn};

use super::placement::Placement;
use crate::execution::stages::StageProgress;

/// The largest message. With gRPC's default, the plan of a wide table does not fit, and is taken for the loss of its executor.
pub(super) const MESSAGE_BYTES_MAX: usize = 1 << 30;

/// How long a job waits for an executor when there is none, in seconds.
const NO_EXECUTORS_SECONDS: u64 = 30;
/// How long the state of a job that has ended is kept, in seconds.
const ENDED_JOB_SECONDS: u64 = 60;
/// The pause between two looks whether the scheduler has given up its jobs.
const GIVE_UP_PAUSE: Duration = Duration::from_millis(5);
/// How often it looks: it takes some milliseconds at most.
const GIVE_UP_LOOKS_MAX: usize = 200;
/// The pause between two attempts to cancel a job, and how many there are. Planning takes milliseconds, of the widest plans a second.
const CANCEL_PAUSE: Duration = Duration::from_millis(20);
const CANCEL_LOOKS_MAX: usize = 500;
/// After so many looks a job that was never seen is no job.
const UNSEEN_LOOKS_MAX: usize = 10;
/// How often the scheduler is told of members that are still there.
const REFRESH: Duration = Duration::from_secs(1);

/// The scheduler itself.
pub(super) type Server = SchedulerServer<LogicalPlanNode, PhysicalPlanNode>;

/// The scheduler, and what keeps its membership.
pub(super) struct Scheduler {
    server: Server,
    jobs: Arc<dyn JobState>,
    /// How many departures of executors the scheduler knows of.
    known_departures: watch::Receiver<u64>,
    unreachable: Unreachable,
}

/// The jobs that have failed because an executor could not be reached, with its id.
type Unreachable = Arc<DashMap<JobId, String>>;

impl Scheduler {
    /// Starts it. `own` is where executors bring what became of their tasks.
    pub(super) async fn start(engine: &EngineContext, state: Arc<dyn ClusterState>, own: &CoordinatorMember) -> Result<Arc<Self>> {
        let codec = Codec::new(Arc::clone(engine.scan())).with_others(Arc::new(BallistaPhysicalExtensionCodec::default()));
        let messages = u32::try_from(MESSAGE_BYTES_MAX).unwrap_or(u32::MAX);
        let config = SchedulerConfig {
            external_host: own.host.clone(),
            bind_port: own.port,
            scheduling_policy: TaskSchedulingPolicy::PushStaged,
            // Files are removed by `forget`, when nobody reads them any more.
            finished_job_data_clean_up_interval_seconds: 0,
            finished_job_state_clean_up_interval_seconds: ENDED_JOB_SECONDS,
            no_executors_grace_period_seconds: NO_EXECUTORS_SECONDS,
            grpc_client_max_message_size: messages,
            job_id_generator: Some(Arc::new(JobIds)),
            ..SchedulerConfig::default()
        };
        let base = engine.base().clone();
        let jobs: Arc<dyn JobState> = Arc::new(InMemoryJobState::new(
            config.scheduler_id.clone(),
            Arc::new(move |config| Ok(SessionStateBuilder::new_from_existing(base.clone()).with_config(config).build())),
            Arc::new(SessionConfig::new_with_ballista),
        ));
        let cluster = BallistaCluster::new(Arc::new(Placement::default()), Arc::clone(&jobs));
        let cannot = |error: BallistaError| Error::internal(format!("the scheduler cannot start: {error}"));
        // Executors have to tell this process from the one before it at the same address.
        let endpoint = format!("{}/{}", own.address(), own.id);
        let codec = BallistaCodec::new(Arc::new(BallistaLogicalExtensionCodec::default()), Arc::new(codec));
        let unreachable = Unreachable::default();
        let launcher = Arc::new(Launcher { endpoint: endpoint.clone(), unreachable: Arc::clone(&unreachable) });
        let metrics = default_metrics_collector().map_err(cannot)?;
        let mut server: Server = SchedulerServer::new_with_task_launcher(endpoint, cluster, codec, Arc::new(config), metrics, launcher);
        server.init().await.map_err(cannot)?;
        let (known, known_departures) = watch::channel(0);
        tokio::spawn(follow(server.clone(), state.membership(), known));
        Ok(Arc::new(Self { server, jobs, known_departures, unreachable }))
    }

    /// The scheduler itself, for what executors tell it.
    pub(super) fn server(&self) -> &Server {
        &self.server
    }

    /// Waits until the scheduler knows of so many departures: a job must not be given to an executor that is known to be gone.
    pub(super) async fn wait_until_known(&self, departures: u64) {
        let mut known = self.known_departures.clone();
        // The other end lives as long as the process.
        let _ = known.wait_for(|known| *known >= departures).await;
    }

    /// Why a job has failed, if that was because an executor could not be reached.
    pub(super) fn unreachable(&self, job: &JobId) -> Option<Error> {
        let (_, executor) = self.unreachable.remove(job)?;
        Some(Error::new(Code::RemoteHostGone, format!("executor {executor} cannot be reached")))
    }

    /// Submits a plan; its states come through `statuses`.
    pub(super) async fn submit(
        &self,
        context: Arc<SessionContext>,
        plan: Arc<dyn ExecutionPlan>,
        statuses: mpsc::Sender<JobStatus>,
    ) -> Result<JobId> {
        let submitted = self.server.submit_physical_plan("query", context, plan, Some(statuses)).await;
        submitted.map_err(|error| Error::internal(format!("the scheduler takes no job: {error}")))
    }

    /// How far the stages of a job are that runs; nothing of one that does not, or whose stages change just now.
    pub(super) fn stages(&self, job: &JobId) -> Vec<StageProgress> {
        let running = self.server.state.task_manager.get_running_job_cache();
        let Some(graph) = running.get(job).and_then(|info| info.execution_graph.try_read().ok()) else { return Vec::new() };
        graph.stages().iter().filter_map(|(id, stage)| stage_progress(*id, stage)).collect()
    }

    /// The stages of a job that has ended.
    pub(super) async fn graph(&self, job: &JobId) -> Result<ExecutionGraphBox> {
        match self.jobs.get_execution_graph(job).await {
            Ok(Some(graph)) => Ok(graph),
            Ok(None) => Err(Error::internal(format!("the scheduler has forgotten job {job}"))),
            Err(error) => Err(Error::internal(format!("the scheduler does not tell of job {job}: {error}"))),
        }
    }

    /// Cancels a job until it has ended. One that is still being planned does not hear of it, and would run later: without outcomes of its tasks, which end with the
    /// job's files, their slots would be taken for good.
    async fn cancel(&self, job: &JobId) {
        let mut was_seen = false;
        for look in 0..CANCEL_LOOKS_MAX {
            if let Err(error) = self.server.cancel_job(job.clone()).await {
                warn!(%job, %error, "a job cannot be cancelled");
            }
            tokio::time::sleep(CANCEL_PAUSE).await;
            let status = self.jobs.get_job_status(job).await.ok().flatten().and_then(|status| status.status);
            match status {
                Some(job_status::Status::Queued(_) | job_status::Status::Running(_)) => was_seen = true,
                Some(_) => return,
                // The scheduler takes jobs one after the other, and may not have come to this one yet.
                None if was_seen || look >= UNSEEN_LOOKS_MAX => return,
                None => {}
            }
        }
        warn!(%job, "a job that was cancelled does not end");
    }

    /// Removes the files of a job, after it was cancelled if it still runs.
    pub(super) async fn forget(&self, job: JobId, cancel: bool) {
        self.unreachable.remove(&job);
        if cancel {
            self.cancel(&job).await;
        }
        let clean = CleanJobDataParams { job_id: job.to_string(), ..CleanJobDataParams::default() };
        if let Err(status) = self.server.clean_job_data(Request::new(clean)).await {
            warn!(%job, %status, "the files of a job cannot be removed");
        }
    }
}

/// How far a stage is; `None` of one that waits for others, whose tasks are not known yet.
fn stage_progress(id: usize, stage: &ExecutionStage) -> Option<StageProgress> {
    let count = |partitions: usize| u64::try_from(partitions).unwrap_or(u64::MAX);
    match stage {
        ExecutionStage::Running(stage) => {
            let tasks = |wanted: fn(&task_status::Status) -> bool| {
                let tasks = stage.task_infos.iter().filter(|task| wanted(&task.task_status));
                count(tasks.map(|task| task.global_input_partition_ids.len()).sum())
            };
            Some(StageProgress {
                id,
                splits: count(stage.partitions),
                splits_completed: tasks(|status| matches!(status, task_status::Status::Successful(_))),
                splits_running: tasks(|status| matches!(status, task_status::Status::Running(_))),
            })
        }
        ExecutionStage::Resolved(stage) => Some(StageProgress { id, splits: count(stage.partitions), splits_completed: 0, splits_running: 0 }),
        ExecutionStage::Successful(stage) => {
            let splits = count(stage.partitions);
            Some(StageProgress { id, splits, splits_completed: splits, splits_running: 0 })
        }
        _ => None,
    }
}

/// Ids that no other coordinator gives: executors have jobs of all of them. Those of Ballista's own are made of the time alone.
struct JobIds;

#[async_trait]
impl JobIdGenerator for JobIds {
    async fn next_id(&self) -> String {
        uuid::Uuid::now_v7().simple().to_string()
    }
}

/// Launches tasks. An executor that cannot be reached fails the jobs of its tasks; Ballista's own launcher would have it recover them.
struct Launcher {
    endpoint: String,
    unreachable: Unreachable,
}

#[async_trait]
impl TaskLauncher for Launcher {
    async fn launch_tasks(
        &self,
        executor: &ExecutorMetadata,
        tasks: Vec<MultiTaskDefinition>,
        executors: &ExecutorManager,
    ) -> std::result::Result<HashSet<JobId>, BallistaError> {
        let jobs: HashSet<JobId> = tasks.iter().map(|task| JobId::from(task.job_id.clone())).collect();
        match executors.launch_multi_task(&executor.id, tasks, self.endpoint.clone()).await {
            Ok(rejected) => Ok(rejected),
            Err(error) => {
                warn!(executor = executor.id, %error, "tasks cannot be launched");
                for job in &jobs {
                    self.unreachable.insert(job.clone(), executor.id.clone());
                }
                Ok(jobs)
            }
        }
    }
}

/// Tells the scheduler of the members, again and again: it believes only in heartbeats.
async fn follow(server: Server, mut membership: watch::Receiver<Membership>, told: watch::Sender<u64>) {
    let mut known: BTreeMap<String, Joined> = BTreeMap::new();
    loop {
        let Membership { executors, departures, .. } = membership.borrow_and_update().clone();
        let alive: BTreeMap<String, Joined> = executors.into_iter().map(|joined| (joined.executor.id.clone(), joined)).collect();
        let is_gone = |was: &Joined| alive.get(&was.executor.id).is_none_or(|is| is.number != was.number);
        if known.values().any(is_gone) {
            give_up_jobs(&server).await;
            // Those that are left come back with their heartbeat below, all of their slots free: what they still did was for the jobs that are gone.
            for Joined { executor, .. } in known.values() {
                debug!(%executor, "the scheduler forgets an executor");
                if let Err(error) = server.state.executor_manager.remove_executor(&executor.id, Some("an executor was lost".to_owned())).await {
                    warn!(%executor, %error, "the scheduler does not forget an executor");
                }
            }
        }
        for Joined { executor, .. } in alive.values() {
            if let Err(status) = server.heart_beat_from_executor(Request::new(heartbeat(executor))).await {
                warn!(%executor, %status, "the scheduler does not take an executor");
            }
        }
        known = alive;
        told.send_replace(departures);
        tokio::select! {
            changed = membership.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(REFRESH) => {}
        }
    }
}

/// Cancels all jobs. Those who wait for them make others; left alone, the scheduler would run parts of them again, and wrongly.
async fn give_up_jobs(server: &Server) {
    for _ in 0..GIVE_UP_LOOKS_MAX {
        let running = server.state.task_manager.get_running_job_cache();
        if running.is_empty() {
            return;
        }
        for job in running.keys() {
            if let Err(error) = server.cancel_job(job.clone()).await {
                warn!(%job, %error, "a job cannot be cancelled");
            }
        }
        tokio::time::sleep(GIVE_UP_PAUSE).await;
    }
}

fn heartbeat(executor: &ExecutorMember) -> HeartBeatParams {
    let status = if executor.draining { executor_status::Status::Terminating(String::new()) } else { executor_status::Status::Active(String::new()) };
    let vcores = u32::try_from(executor.slots).unwrap_or(u32::MAX);
    HeartBeatParams {
        executor_id: executor.id.clone(),
        metrics: Vec::new(),
        status: Some(ExecutorStatus { status: Some(status) }),
        metadata: Some(ExecutorRegistration {
            id: executor.id.clone(),
            host: Some(executor.host.clone()),
            port: u32::from(executor.port),
            grpc_port: u32::from(executor.port),
            specification: Some(ExecutorSpecification {
                resources: vec![ExecutorResource { resource: Some(executor_resource::Resource::Vcores(vcores)) }],
            }),
            os_info: Some(ExecutorOperatingSystemSpecification::default()),
            ballista_protocol_version: BALLISTA_PROTOCOL_VERSION,
        }),
    }
}
