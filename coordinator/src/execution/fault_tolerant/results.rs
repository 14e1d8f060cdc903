//! Reads what the last stage of a job has written, from the executors that hold it.

use std::collections::VecDeque;

use ballista_core::client::BallistaClient;
use ballista_core::serde::protobuf::{JobStatus, PartitionLocation};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::{StreamExt, TryStreamExt, stream};
use nunatak_core::{Code, Error, Result};
use nunatak_engine::error::into_datafusion;
use tokio::sync::mpsc;

use super::{Job, scheduler};

/// So much of a result is held before its first row leaves, in bytes: until then the loss of an executor that holds it costs only time.
const HELD_BYTES_MAX: usize = 64 << 20;
/// How many partitions are read at the same time.
const READS_MAX: usize = 4;

/// The rows of a job, once it has ended.
pub(super) fn read(schema: SchemaRef, mut job: Job, mut statuses: mpsc::Receiver<JobStatus>) -> SendableRecordBatchStream {
    let rows = async move {
        let locations = job.end(&mut statuses).await.map_err(into_datafusion)?;
        let partitions = stream::iter(locations).map(|location| async move { partition(location).await }).buffered(READS_MAX);
        let mut rows = Box::pin(partitions.try_flatten());
        let mut held = VecDeque::new();
        let mut held_bytes = 0;
        while held_bytes < HELD_BYTES_MAX
            && let Some(batch) = rows.try_next().await?
        {
            held_bytes += batch.get_array_memory_size();
            held.push_back(Ok(batch));
        }
        // The files are needed until the last row: the job goes with the stream.
        let rest = rows.map(move |batch| {
            let _job = &job;
            batch
        });
        Ok::<_, DataFusionError>(stream::iter(held).chain(rest))
    };
    Box::pin(RecordBatchStreamAdapter::new(schema, stream::once(rows).try_flatten()))
}

/// The rows of one partition.
pub(super) async fn partition(
    location: PartitionLocation,
) -> std::result::Result<impl futures::Stream<Item = std::result::Result<RecordBatch, DataFusionError>>, DataFusionError> {
    let rows = open(location).await.map_err(into_datafusion)?;
    let (executor, rows) = rows;
    Ok(rows.map_err(move |error| into_datafusion(lost(&executor, &error.to_string()))))
}

async fn open(location: PartitionLocation) -> Result<(String, SendableRecordBatchStream)> {
    let layout = location.layout();
    let (Some(executor), Some(partition)) = (location.executor_meta, location.partition_id) else {
        return Err(Error::internal("a result lies nowhere"));
    };
    let port = u16::try_from(executor.port).map_err(|_| Error::internal(format!("{} is not a port", executor.port)))?;
    let name = format!("{}:{port}", executor.host);
    let mut client = BallistaClient::try_new(&executor.host, port, scheduler::MESSAGE_BYTES_MAX, false, None, 1, 0, 0, 0)
        .await
        .map_err(|error| lost(&name, &error.to_string()))?;
    let rows = client
        .fetch_partition(&executor.id, &partition.into(), location.file_id, layout, false)
        .await
        .map_err(|error| lost(&name, &error.to_string()))?;
    Ok((name, rows))
}

/// The result cannot be read: nearly always because its executor is gone.
fn lost(executor: &str, why: &str) -> Error {
    Error::new(Code::RemoteHostGone, format!("{executor}, which holds the result")).with_context("why", why)
}
