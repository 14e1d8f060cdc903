//! The seam behind which a plan runs. All modes take the same physical plan and give one stream of rows; dropping the stream ends the work.

mod local;

use std::fmt;
use std::sync::Arc;

use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::ExecutionPlan;
use nunatak_core::{Error, Result};

/// How a plan is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Whole, on one node.
    Local,
    /// In stages that are all live at once, and stream to each other.
    Pipelined,
    /// In stages that write their rows to disk, so that tasks can be run again.
    FaultTolerant,
}

impl Mode {
    /// The mode of that name in the session property `execution_mode`.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "local" => Some(Self::Local),
            "pipelined" => Some(Self::Pipelined),
            "fault_tolerant" => Some(Self::FaultTolerant),
            _ => None,
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Local => "local",
            Self::Pipelined => "pipelined",
            Self::FaultTolerant => "fault_tolerant",
        })
    }
}

/// The mode a plan runs in, and why.
#[derive(Clone, Debug)]
pub struct Choice {
    /// The mode.
    pub mode: Mode,
    /// Why this one, for `EXPLAIN`.
    pub reason: String,
}

/// Chooses the mode. `wanted` is what the session asks for, `None` for `auto`.
///
/// Errors: `NOT_SUPPORTED` for a mode that this process can't run.
pub fn choose(wanted: Option<Mode>) -> Result<Choice> {
    match wanted {
        Some(Mode::Local) => Ok(Choice { mode: Mode::Local, reason: "the session asks for it".into() }),
        None => Ok(Choice { mode: Mode::Local, reason: "the server runs standalone, without executors".into() }),
        Some(mode) => Err(Error::not_supported(format!("execution mode '{mode}' is not supported yet"))
            .with_hint("SET SESSION execution_mode = 'auto'; or 'local'")),
    }
}

/// Runs a plan. Rows come as they are made, in no order between partitions unless the plan gives one.
pub fn run(choice: &Choice, plan: Arc<dyn ExecutionPlan>, task: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
    match choice.mode {
        Mode::Local => local::run(plan, task),
        mode => Err(Error::not_supported(format!("execution mode '{mode}' is not supported yet"))),
    }
}
