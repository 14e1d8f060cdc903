//! The seam behind which a plan runs. All modes take the same logical plan and give one stream of rows; dropping the stream ends the work.
//!
//! [`Execution::plan`] chooses the mode ([`choice`]) and makes the physical plan for it, [`Planned::run`] runs it: [`local`] whole in this process,
//! [`pipelined`] in stages that stream to each other, [`fault_tolerant`] in stages that write their rows to disk. The two engines for distributed
//! execution are named nowhere else in this crate.

mod choice;
mod connections;
mod cuts;
mod fault_tolerant;
mod local;
mod members;
mod own_buffers;
mod pipelined;
mod rows;
mod stages;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use datafusion::common::Statistics;
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::display::DisplayableExecutionPlan;
use datafusion::physical_plan::recursive_query::RecursiveQueryExec;
use datafusion::physical_plan::statistics::{StatisticsArgs, StatisticsContext};
use futures::StreamExt;
use nunatak_core::{Error, Result};
use nunatak_engine::computing::{computing, in_steps};
use nunatak_engine::context::EngineContext;
use nunatak_engine::error::from_datafusion;
use nunatak_engine::rules::{guarded, with_computed_keys, with_join_order};
use nunatak_engine::scan::scan_bytes;
use nunatak_engine::write::{IcebergWriteExec, WriteTarget, sampling, write_plan};
use nunatak_state::{ClusterState, CoordinatorMember};
use tokio::net::TcpListener;

use choice::Facts;
pub use choice::{Choice, Mode};
use fault_tolerant::FaultTolerant;
use members::Members;
use pipelined::Pipelined;
pub use stages::{StageProgress, Stages};

/// How execution is set up.
#[derive(Clone, Debug)]
pub struct Options {
    /// Scans of at most this many bytes run on the coordinator, in mode `auto`.
    pub local_bytes_max: u64,
}

/// Runs plans. Cheap to clone.
#[derive(Clone)]
pub struct Execution {
    engine: Arc<EngineContext>,
    members: Members,
    pipelined: Pipelined,
    fault_tolerant: FaultTolerant,
    local_bytes_max: u64,
}

impl Execution {
    /// Answers the executors of the cluster on `listener`, until the process ends. `state` has its members, of which `own` is this coordinator.
    pub async fn start(
        engine: Arc<EngineContext>,
        state: Arc<dyn ClusterState>,
        own: &CoordinatorMember,
        listener: TcpListener,
        options: &Options,
    ) -> Result<Self> {
        let fault_tolerant = FaultTolerant::start(&engine, Arc::clone(&state), own, listener).await?;
        let members = Members::start(state)?;
        let pipelined = Pipelined::new(Arc::clone(&engine), members.clone());
        Ok(Self { engine, members, pipelined, fault_tolerant, local_bytes_max: options.local_bytes_max })
    }

    /// Where executors reach this coordinator.
    pub fn address(&self) -> SocketAddr {
        self.fault_tolerant.address()
    }

    /// Chooses the mode for a plan, and makes the physical plan for that mode. With a `target`, the plan writes its rows there.
    /// `wanted` is the mode that the session asks for, `None` for `auto`.
    ///
    /// Errors: those of planning, and `NO_NODES_AVAILABLE` for a distributed mode without executors.
    pub async fn plan(&self, wanted: Option<Mode>, logical: &LogicalPlan, state: &SessionState, target: Option<&WriteTarget>) -> Result<Planned> {
        let executors = self.members.active();
        if let Some(mode) = wanted {
            let choice = Choice::asked_for(mode, &executors)?;
            return self.plan_in(choice, logical, state, target).await;
        }
        let local = self.plan_in(Choice::unasked(), logical, state, target).await?;
        let facts = Facts {
            scan_bytes: scan_bytes(&local.plan),
            writes: target.is_some(),
            recursive: is_recursive(&local.plan),
            local_bytes_max: self.local_bytes_max,
        };
        let choice = choice::choose(&facts, &executors);
        if choice.mode == Mode::Local {
            return Ok(Planned { choice, ..local });
        }
        self.plan_in(choice, logical, state, target).await
    }

    async fn plan_in(&self, choice: Choice, logical: &LogicalPlan, state: &SessionState, target: Option<&WriteTarget>) -> Result<Planned> {
        let (config, executors) = (state.config(), self.members.active());
        // A number of partitions that the session asks for is kept in all modes.
        let partitions = config.target_partitions();
        let asked_for = (partitions != self.engine.base().config().target_partitions()).then_some(partitions);
        let with_config = |config| SessionStateBuilder::new_from_existing(state.clone()).with_config(config);
        let state = match choice.mode {
            Mode::Local => state.clone(),
            Mode::Pipelined => with_config(pipelined::config(config, asked_for, &executors)).build(),
            Mode::FaultTolerant => {
                let rules = fault_tolerant::optimizer_rules(state);
                with_config(fault_tolerant::config(config, asked_for, &executors)).with_physical_optimizer_rules(rules).build()
            }
        };
        let plan = async {
            let optimized = in_steps(async {
                let optimized = state.optimize(logical)?;
                let ordered = if state.config_options().optimizer.join_reordering { with_join_order(optimized).await? } else { optimized };
                with_computed_keys(guarded(ordered)?)
            });
            let optimized = optimized.await?;
            let plan = in_steps(state.query_planner().create_physical_plan(&optimized, &state)).await?;
            match target {
                Some(target) => computing(|| write_plan(plan, target, &state)),
                None => Ok::<_, DataFusionError>(plan),
            }
        };
        let plan = plan.await.map_err(from_datafusion)?;
        if choice.mode != Mode::Local && is_recursive(&plan) {
            return Err(Error::not_supported(format!("recursive queries are not supported in execution mode '{}'", choice.mode))
                .with_hint("SET SESSION execution_mode = 'local'"));
        }
        Ok(Planned { choice, plan, state, execution: self.clone(), stages: Stages::default() })
    }
}

/// A physical plan, made for the mode that it runs in.
pub struct Planned {
    choice: Choice,
    plan: Arc<dyn ExecutionPlan>,
    state: SessionState,
    execution: Execution,
    stages: Stages,
}

impl Planned {
    /// The mode, and why this one.
    pub fn choice(&self) -> &Choice {
        &self.choice
    }

    /// The plan.
    pub fn plan(&self) -> Arc<dyn ExecutionPlan> {
        Arc::clone(&self.plan)
    }

    /// Its stages, once it runs in a mode that tells of them.
    pub fn stages(&self) -> &Stages {
        &self.stages
    }

    /// For a plan that writes the rows of `input`: which of them should be looked at before it is run, see [`nunatak_engine::write::sampling`].
    pub fn sampling(&self, input: &LogicalPlan) -> Result<Option<LogicalPlan>> {
        let Some(write) = self.plan.downcast_ref::<IcebergWriteExec>() else { return Ok(None) };
        sampling(input, write, &self.state).map_err(from_datafusion)
    }

    /// Runs the plan. Rows come as they are made, in no order between partitions unless the plan gives one.
    pub async fn run(&self) -> Result<SendableRecordBatchStream> {
        let Execution { members, pipelined, fault_tolerant, .. } = &self.execution;
        let plan = Arc::clone(&self.plan);
        match self.choice.mode {
            Mode::Local => local::run(plan, self.state.task_ctx()),
            Mode::Pipelined => pipelined.run(plan, &self.state).await,
            Mode::FaultTolerant => fault_tolerant.run(plan, &self.state, members, &self.stages).await,
        }
    }

    /// The plan as text, with its stages.
    pub async fn describe(&self, verbose: bool) -> Result<String> {
        let Execution { pipelined, fault_tolerant, .. } = &self.execution;
        match self.choice.mode {
            Mode::Pipelined => pipelined.describe(Arc::clone(&self.plan), &self.state).await,
            Mode::FaultTolerant => fault_tolerant.describe(Arc::clone(&self.plan), &self.state, verbose),
            Mode::Local => Ok(DisplayableExecutionPlan::new(self.plan.as_ref()).indent(verbose).to_string()),
        }
    }

    /// What is expected of its rows.
    pub fn statistics(&self) -> Result<Arc<Statistics>> {
        StatisticsContext::new().compute(self.plan.as_ref(), &StatisticsArgs::new()).map_err(from_datafusion)
    }

    /// Runs the plan to its end, and describes it with what was measured. Its rows go to `kept`, also those that come before an error.
    pub async fn analyze(&self, verbose: bool, kept: Option<&mut Vec<RecordBatch>>) -> Result<Analyzed> {
        let start = Instant::now();
        let Execution { members, pipelined, fault_tolerant, .. } = &self.execution;
        let (rows, text) = match self.choice.mode {
            Mode::Local => {
                let rows = count(self.run().await?, kept).await?;
                let plan = self.plan.as_ref();
                let metrics = if verbose { DisplayableExecutionPlan::with_full_metrics(plan) } else { DisplayableExecutionPlan::with_metrics(plan) };
                (rows, metrics.indent(verbose).to_string())
            }
            Mode::Pipelined => pipelined.analyze(Arc::clone(&self.plan), &self.state, kept).await?,
            Mode::FaultTolerant => fault_tolerant.analyze(Arc::clone(&self.plan), &self.state, members, kept).await?,
        };
        Ok(Analyzed { rows, elapsed: start.elapsed(), text })
    }
}

/// What `EXPLAIN ANALYZE` measured.
pub struct Analyzed {
    /// The rows that the plan gave.
    pub rows: usize,
    /// From the start to the last row.
    pub elapsed: Duration,
    /// The plan with what its operators measured.
    pub text: String,
}

/// Whether a plan runs parts of itself again and again, over rows that it keeps in its memory.
fn is_recursive(plan: &Arc<dyn ExecutionPlan>) -> bool {
    plan.is::<RecursiveQueryExec>() || plan.children().into_iter().any(is_recursive)
}

/// Reads a stream to its end, and counts its rows.
async fn count(mut stream: SendableRecordBatchStream, mut kept: Option<&mut Vec<RecordBatch>>) -> Result<usize> {
    let mut rows = 0;
    while let Some(batch) = stream.next().await {
        let batch = batch.map_err(from_datafusion)?;
        rows += batch.num_rows();
        if let Some(kept) = &mut kept {
            kept.push(batch);
        }
    }
    Ok(rows)
}
