//! The whole plan in this process.

use std::sync::Arc;

use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use nunatak_core::Result;
use nunatak_engine::error::from_datafusion;

pub(super) fn run(plan: Arc<dyn ExecutionPlan>, task: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
    execute_stream(plan, task).map_err(from_datafusion)
}
