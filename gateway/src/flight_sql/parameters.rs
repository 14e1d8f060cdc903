//! Parameter values as clients send them: a stream of Flight messages.

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow_flight::FlightData;
use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::error::FlightError;
use futures::{Stream, StreamExt, TryStreamExt};
use nunatak_core::Error;
use nunatak_core::error::Code;
use tonic::Status;

use super::status;
use crate::limits;

/// Reads a stream to its end, and gives its rows as one batch. `None` means that no values were sent, which drivers say in three ways: no schema, a
/// schema without fields, or both with a batch without rows.
pub(super) async fn read(messages: impl Stream<Item = Result<FlightData, Status>> + Send + 'static) -> Result<Option<RecordBatch>, Status> {
    // A message without a header only carries the command.
    let messages = messages.try_filter(|message| std::future::ready(!message.data_header.is_empty()));
    let mut batches = FlightRecordBatchStream::new_from_flight_data(messages.map_err(FlightError::from).boxed());
    let mut read = Vec::new();
    let mut bytes = 0_usize;
    while let Some(batch) = batches.try_next().await.map_err(unreadable)? {
        bytes = bytes.saturating_add(batch.get_array_memory_size());
        if bytes > limits::PARAMETERS_BYTES_MAX {
            return Err(too_large());
        }
        read.push(batch);
    }
    match batches.schema() {
        Some(schema) if !schema.fields().is_empty() => concat_batches(schema, &read).map(Some).map_err(|error| unreadable(FlightError::Arrow(error))),
        _ => Ok(None),
    }
}

fn unreadable(error: FlightError) -> Status {
    match error {
        FlightError::Tonic(status) => *status,
        error => status::of(
            &Error::new(Code::InvalidParameterUsage, "the values of the parameters cannot be read").with_context("cause", error.to_string()),
            None,
        ),
    }
}

fn too_large() -> Status {
    let message = format!("the values of the parameters have more than {} MiB", limits::PARAMETERS_BYTES_MAX / (1024 * 1024));
    status::of(&Error::new(Code::GenericInsufficientResources, message).with_hint("bind fewer rows at a time"), None)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int64Array, RecordBatchOptions};
    use arrow::datatypes::Schema;
    use futures::stream;

    use super::super::encode;
    use super::*;

    #[tokio::test]
    async fn rows_of_all_batches_are_one_batch() -> Result<(), Box<dyn std::error::Error>> {
        let batch = RecordBatch::try_from_iter([("$1", Arc::new(Int64Array::from(vec![1, 2])) as _)])?;
        let sent = encode::rows(batch.schema(), stream::iter([Ok(batch.clone()), Ok(batch)]));
        let command = stream::iter([Ok(FlightData::default())]);
        assert_eq!(read(command.chain(sent)).await?.map(|batch| batch.num_rows()), Some(4));
        Ok(())
    }

    #[tokio::test]
    async fn no_values_are_none_however_it_is_said() -> Result<(), Box<dyn std::error::Error>> {
        assert_eq!(read(stream::iter([Ok(FlightData::default())])).await?, None);
        let options = RecordBatchOptions::new().with_row_count(Some(0));
        let empty = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), Vec::new(), &options)?;
        assert_eq!(read(encode::batch(empty)).await?, None);
        Ok(())
    }
}
