//! Rows that share buffers with many others, and are to leave the process: they are copied, or all of what they share would go with each batch.
//!
//! A sort, a join or an aggregation gives batches whose texts are views into the buffers of all its input. Neither of the engines for distributed execution
//! reckons with that: Ballista writes these buffers again with every batch, datafusion-distributed counts them again.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Schema};
use datafusion::physical_plan::ExecutionPlan;
#[expect(deprecated, reason = "its successor, arrow's BatchCoalescer, is not an operator")]
use datafusion::physical_plan::coalesce_batches::CoalesceBatchesExec;

/// A plan with the same rows, in the same order, in batches that share nothing with others.
#[expect(deprecated, reason = "its successor, arrow's BatchCoalescer, is not an operator")]
pub(super) fn copied(input: &Arc<dyn ExecutionPlan>, batch_rows: usize) -> Arc<dyn ExecutionPlan> {
    // Batches of the usual size would be passed on as they are.
    Arc::new(CoalesceBatchesExec::new(Arc::clone(input), batch_rows * 2))
}

/// Whether rows have values that are views into buffers.
pub(super) fn has_views(schema: &Schema) -> bool {
    fn is_view(data_type: &DataType) -> bool {
        match data_type {
            DataType::Utf8View | DataType::BinaryView | DataType::ListView(_) | DataType::LargeListView(_) => true,
            DataType::List(field) | DataType::LargeList(field) | DataType::FixedSizeList(field, _) | DataType::Map(field, _) => {
                is_view(field.data_type())
            }
            DataType::Struct(fields) => fields.iter().any(|field| is_view(field.data_type())),
            _ => false,
        }
    }
    schema.fields().iter().any(|field| is_view(field.data_type()))
}
