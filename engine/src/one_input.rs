//! What plan nodes of one input have in common.

use std::sync::Arc;

use datafusion::error::Result;
use datafusion::physical_plan::ExecutionPlan;
use nunatak_core::Error;

use crate::error::into_datafusion;

/// The input among the children that a node is given. Errors: `GENERIC_INTERNAL_ERROR` for another number of them, which names the node.
pub(crate) fn only(mut children: Vec<Arc<dyn ExecutionPlan>>, node: &dyn ExecutionPlan) -> Result<Arc<dyn ExecutionPlan>> {
    match (children.pop(), children.is_empty()) {
        (Some(input), true) => Ok(input),
        _ => Err(into_datafusion(Error::internal(format!("{} has exactly one input", node.name())))),
    }
}
