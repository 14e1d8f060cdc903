//! In stages that write their rows to disk, by Ballista.
//!
//! What a lost executor has made is made again by another job on those that are left: nothing leaves before the job has ended, so that this is always
//! possible. Ballista's own recovery, which runs only the lost tasks again, is not used: with tasks of several partitions (new in 55) it counted rows twice, or
//! hung, when an executor was killed in mid-query. So no job is told of a loss before it was given up.
//!
//! Its scheduler is a library here ([`scheduler`]): plans go to it in this process, executors talk to it through a service of ours ([`service`]), and
//! the membership comes from the cluster's state. [`placement`] says which executor reads which files. [`results`] reads what the last stage has written.

mod explain;
mod joins;
mod placement;
mod results;
mod scheduler;
mod service;

use std::net::SocketAddr;
use std::sync::Arc;

use arrow::array::RecordBatch;
use ballista_core::JobId;
use ballista_core::config::{
    BALLISTA_ADAPTIVE_PLANNER_ENABLED, BALLISTA_CLIENT_GRPC_MAX_MESSAGE_SIZE, BALLISTA_CLIENT_IO_RETRIES_TIMES, BALLISTA_CLIENT_IO_RETRY_WAIT_TIME_MS,
};
use ballista_core::extension::SessionConfigExt;
use ballista_core::serde::protobuf::{JobStatus, job_status};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::session_state::SessionState;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::{SessionConfig, SessionContext};
use futures::TryStreamExt;
use nunatak_core::{Code, Error, Result};
use nunatak_engine::computing::computing;
use nunatak_engine::context::EngineContext;
use nunatak_engine::error::from_datafusion;
use nunatak_state::{ClusterState, CoordinatorMember, Joined};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::choice::no_executors;
use super::members::{Members, Needed};
use super::rows::{self, Attempt};
use super::stages::Stages;
use scheduler::Scheduler;

/// How many changes of a job's state may wait to be seen.
const STATUSES_MAX: usize = 64;

/// Runs plans by Ballista. Cheap to clone.
#[derive(Clone)]
pub(super) struct FaultTolerant {
    scheduler: Arc<Scheduler>,
    address: SocketAddr,
}

/// The configuration for plans of this mode: as many partitions as the cluster has slots unless the session asks for a number, and
/// nothing that only works within one process.
pub(super) fn config(session: &SessionConfig, partitions: Option<usize>, executors: &[Joined]) -> SessionConfig {
    let slots: usize = executors.iter().map(|joined| joined.executor.slots).sum();
    let partitions = partitions.unwrap_or(slots.max(1));
    let mut config = session.clone().upgrade_for_ballista().with_target_partitions(partitions);
    let options = config.options_mut();
    // Sorting both sides instead takes 2.5 times as long (TPC-H, scale 1).
    options.optimizer.prefer_hash_join = session.options().optimizer.prefer_hash_join;
    // Ballista switches them off, since its executors make two filters of each. Ours keep them one; what another stage would fill stays empty, and is no harm (see [`joins`]).
    options.optimizer.enable_dynamic_filter_pushdown = session.options().optimizer.enable_dynamic_filter_pushdown;
    options.optimizer.enable_join_dynamic_filter_pushdown = session.options().optimizer.enable_join_dynamic_filter_pushdown;
    options.optimizer.enable_topk_dynamic_filter_pushdown = session.options().optimizer.enable_topk_dynamic_filter_pushdown;
    options.optimizer.enable_aggregate_dynamic_filter_pushdown = session.options().optimizer.enable_aggregate_dynamic_filter_pushdown;
    // A task has some partitions of each input, and only inputs with all of theirs can be interleaved.
    options.optimizer.prefer_existing_union = true;
    options.execution.parquet.schema_force_view_types = session.options().execution.parquet.schema_force_view_types;
    options.sql_parser.map_string_types_to_utf8view = session.options().sql_parser.map_string_types_to_utf8view;
    config
        // With the adaptive planner a query whose executor is lost hangs (apache/datafusion-ballista#1986).
        .set_bool(BALLISTA_ADAPTIVE_PLANNER_ENABLED, false)
        .set_usize(BALLISTA_CLIENT_IO_RETRIES_TIMES, 3)
        .set_usize(BALLISTA_CLIENT_IO_RETRY_WAIT_TIME_MS, 500)
        .set_usize(BALLISTA_CLIENT_GRPC_MAX_MESSAGE_SIZE, scheduler::MESSAGE_BYTES_MAX)
}

/// The rules by which plans of this mode are optimised.
pub(super) fn optimizer_rules(state: &SessionState) -> Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>> {
    joins::with_divided_joins(state.physical_optimizers())
}

impl FaultTolerant {
    /// Starts the scheduler, and answers executors on `listener`.
    pub(super) async fn start(engine: &EngineContext, state: Arc<dyn ClusterState>, own: &CoordinatorMember, listener: TcpListener) -> Result<Self> {
        let address = listener.local_addr().map_err(|error| Error::internal(error.to_string()))?;
        let scheduler = Scheduler::start(engine, Arc::clone(&state), own).await?;
        service::serve(listener, Arc::clone(&scheduler), state)?;
        Ok(Self { scheduler, address })
    }

    /// Where executors reach it.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Runs a plan. Nothing comes out before the last task has ended; until then `stages` tells how far it is.
    pub(super) async fn run(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        state: &SessionState,
        members: &Members,
        stages: &Stages,
    ) -> Result<SendableRecordBatchStream> {
        let plan = computing(|| joins::for_stages(plan, state.config().batch_size())).map_err(from_datafusion)?;
        let schema = plan.schema();
        let context = Arc::new(SessionContext::new_with_state(state.clone()));
        let (scheduler, members) = (Arc::clone(&self.scheduler), members.clone());
        let again = {
            let (members, stages) = (members.clone(), stages.clone());
            move || {
                let (scheduler, context, plan) = (Arc::clone(&scheduler), Arc::clone(&context), Arc::clone(&plan));
                let (members, stages) = (members.clone(), stages.clone());
                async move { attempt(scheduler, context, plan, &members, &stages).await }
            }
        };
        let first = again().await?;
        Ok(rows::with_retries(schema, first, again, members))
    }

    /// The plan with its stages.
    pub(super) fn describe(&self, plan: Arc<dyn ExecutionPlan>, state: &SessionState, verbose: bool) -> Result<String> {
        let plan = computing(|| joins::for_stages(plan, state.config().batch_size())).map_err(from_datafusion)?;
        explain::planned(plan, state.config_options(), verbose)
    }

    /// Runs a plan to its end, once: its rows, and its stages with what they measured.
    pub(super) async fn analyze(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        state: &SessionState,
        members: &Members,
        kept: Option<&mut Vec<RecordBatch>>,
    ) -> Result<(usize, String)> {
        let plan = computing(|| joins::for_stages(plan, state.config().batch_size())).map_err(from_datafusion)?;
        let departures = members.departures();
        let context = Arc::new(SessionContext::new_with_state(state.clone()));
        let (mut job, mut statuses) = start(Arc::clone(&self.scheduler), context, plan, &members.active(), departures).await?;
        let ended = job.end(&mut statuses).await;
        if members.departures() != departures {
            return Err(Error::new(Code::RemoteHostGone, "an executor was lost while the query ran").with_hint("run it again"));
        }
        let locations = ended?;
        let rows: u64 = locations.iter().filter_map(|location| location.partition_stats.as_ref()).map(|stats| stats.num_rows.unsigned_abs()).sum();
        if let Some(kept) = kept {
            for location in locations {
                let mut rows = Box::pin(results::partition(location).await.map_err(from_datafusion)?);
                while let Some(batch) = rows.try_next().await.map_err(from_datafusion)? {
                    kept.push(batch);
                }
            }
        }
        let graph = self.scheduler.graph(&job.id).await?;
        Ok((usize::try_from(rows).unwrap_or(usize::MAX), explain::measured(&graph)))
    }
}

/// One attempt: a job. Its rows come when it has ended.
async fn attempt(
    scheduler: Arc<Scheduler>,
    context: Arc<SessionContext>,
    plan: Arc<dyn ExecutionPlan>,
    members: &Members,
    stages: &Stages,
) -> Result<Attempt> {
    let departures = members.departures();
    let executors = members.active();
    let schema = plan.schema();
    let (job, statuses) = start(scheduler, context, plan, &executors, departures).await?;
    let (scheduler, id) = (Arc::clone(&job.scheduler), job.id.clone());
    stages.tells(move || scheduler.stages(&id));
    Ok(Attempt { rows: results::read(schema, job, statuses), needed: Needed::AllSince { executors, departures } })
}

/// Starts a job, on executors of which none has departed as far as `departures` counts.
async fn start(
    scheduler: Arc<Scheduler>,
    context: Arc<SessionContext>,
    plan: Arc<dyn ExecutionPlan>,
    executors: &[Joined],
    departures: u64,
) -> Result<(Job, mpsc::Receiver<JobStatus>)> {
    if executors.is_empty() {
        return Err(no_executors());
    }
    let plan = placement::with_readers(plan, executors).map_err(from_datafusion)?;
    scheduler.wait_until_known(departures).await;
    let (sender, statuses) = mpsc::channel(STATUSES_MAX);
    let id = scheduler.submit(context, plan, sender).await?;
    Ok((Job { scheduler, id, ended: false }, statuses))
}

/// A job of the scheduler. Dropping it cancels it, and removes its files.
struct Job {
    scheduler: Arc<Scheduler>,
    id: JobId,
    ended: bool,
}

impl Job {
    /// Waits for its end, and gives where its rows lie.
    async fn end(&mut self, statuses: &mut mpsc::Receiver<JobStatus>) -> Result<Vec<ballista_core::serde::protobuf::PartitionLocation>> {
        while let Some(status) = statuses.recv().await {
            match status.status {
                Some(job_status::Status::Successful(success)) => {
                    self.ended = true;
                    return Ok(success.partition_location);
                }
                Some(job_status::Status::Failed(failed)) => {
                    self.ended = true;
                    return Err(self.scheduler.unreachable(&self.id).unwrap_or_else(|| failure(&failed.error)));
                }
                _ => {}
            }
        }
        Err(Error::internal(format!("job {} has ended without a word", self.id)))
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        let (scheduler, id, cancel) = (Arc::clone(&self.scheduler), self.id.clone(), !self.ended);
        tokio::spawn(async move { scheduler.forget(id, cancel).await });
    }
}

/// The error of a job that failed. Executors write ours with the code first; Ballista puts its own words around it.
fn failure(text: &str) -> Error {
    let start = Code::ALL.iter().filter_map(|code| text.find(&format!("{}: ", code.name()))).min();
    start.and_then(|start| Error::from_display(text[start..].trim_end())).unwrap_or_else(|| Error::new(Code::RemoteTaskError, text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_tasks_keep_their_code() {
        let error = failure("Job failed due to stage 1 failed: Task failed: DIVISION_BY_ZERO: division by zero\n");
        assert_eq!((error.code(), error.message()), (Code::DivisionByZero, "division by zero"));
        assert_eq!(failure("no idea").code(), Code::RemoteTaskError);
    }
}
