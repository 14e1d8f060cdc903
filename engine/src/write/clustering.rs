//! The way out when a task meets more partitions than it may hold files open: the rest of its rows is sorted by partition, on disk if need be, and
//! then written one file after the other. Closing and opening files for each batch instead would leave thousands of tiny ones.

use std::fmt;
use std::sync::{Arc, Mutex};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::LexOrdering;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use futures::{StreamExt, stream};

/// `first` and all of `rest`, sorted.
pub(super) fn sorted(
    first: RecordBatch,
    rest: SendableRecordBatchStream,
    ordering: LexOrdering,
    context: Arc<TaskContext>,
) -> Result<SendableRecordBatchStream> {
    let schema = rest.schema();
    // A batch may say more strictly than its stream that it has no nulls.
    let first = first.with_schema(schema.clone())?;
    let all = stream::once(async move { Ok(first) }).chain(rest);
    let all: SendableRecordBatchStream = Box::pin(RecordBatchStreamAdapter::new(schema.clone(), all));
    let remaining = Remaining { schema: schema.clone(), stream: Mutex::new(Some(all)) };
    let input = StreamingTableExec::try_new(schema, vec![Arc::new(remaining)], None, None::<LexOrdering>, false, None)?;
    SortExec::new(ordering, Arc::new(input)).execute(0, context)
}

/// A stream that is read once, as the input of a plan that lives within this task only.
struct Remaining {
    schema: SchemaRef,
    stream: Mutex<Option<SendableRecordBatchStream>>,
}

impl fmt::Debug for Remaining {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Remaining")
    }
}

impl PartitionStream for Remaining {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let taken = self.stream.lock().ok().and_then(|mut stream| stream.take());
        taken.unwrap_or_else(|| {
            let error = DataFusionError::Internal("the remaining rows of a write were read twice".to_owned());
            Box::pin(RecordBatchStreamAdapter::new(self.schema.clone(), stream::once(async { Err(error) })))
        })
    }
}
