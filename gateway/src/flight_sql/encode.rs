//! Rows and schemas as Flight messages.

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::{Schema, SchemaRef};
use arrow_flight::FlightData;
use arrow_flight::FlightInfo;
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::error::FlightError;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt, TryStreamExt, stream};
use tonic::Status;

use super::status;
use crate::limits;

/// A stream of Flight messages.
pub(super) type DataStream = BoxStream<'static, Result<FlightData, Status>>;

/// A schema as an encapsulated IPC message, the form that every schema in Flight SQL has.
pub(super) fn schema_bytes(schema: &Schema) -> Result<Bytes, Status> {
    let info = FlightInfo::new().try_with_schema(schema);
    info.map(|info| info.schema).map_err(|error| status::defect("cannot encode a schema", error))
}

/// Rows as messages: the schema first, also where no row follows.
pub(super) fn rows(schema: SchemaRef, rows: impl Stream<Item = Result<RecordBatch, Status>> + Send + 'static) -> DataStream {
    let pieces = rows.map_ok(|batch| stream::iter(pieces(&batch).into_iter().map(Ok::<_, Status>))).try_flatten();
    // Cutting is done above: the encoder measures the buffers that a slice shares, not the slice.
    let encoder = FlightDataEncoderBuilder::new().with_schema(schema).with_max_flight_data_size(usize::MAX);
    encoder.build(pieces.map_err(FlightError::from)).map_err(status_of_encoding).boxed()
}

/// One batch as messages.
pub(super) fn batch(batch: RecordBatch) -> DataStream {
    rows(batch.schema(), stream::iter([Ok(batch)]))
}

fn status_of_encoding(error: FlightError) -> Status {
    match error {
        FlightError::Tonic(status) => *status,
        error => status::defect("cannot encode rows", error),
    }
}

/// Cuts a batch so that its mean piece has the size that a message may have. It copies nothing.
fn pieces(batch: &RecordBatch) -> Vec<RecordBatch> {
    let rows = batch.num_rows();
    let count = bytes_of(batch).div_ceil(limits::ROWS_MESSAGE_BYTES).clamp(1, rows.max(1));
    let length = rows.div_ceil(count).max(1);
    (0..rows).step_by(length).map(|offset| batch.slice(offset, length.min(rows - offset))).collect()
}

fn bytes_of(batch: &RecordBatch) -> usize {
    let sizes = batch.columns().iter().map(|column| column.to_data().get_slice_memory_size().unwrap_or_else(|_| column.get_array_memory_size()));
    sizes.sum()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int64Array, StringArray};
    use arrow::error::ArrowError;

    use super::*;

    #[test]
    fn large_batches_are_cut_and_slices_of_them_are_not_cut_again() -> Result<(), ArrowError> {
        let rows = 1_000_000;
        let column = Arc::new(Int64Array::from_iter_values(0..rows));
        let batch = RecordBatch::try_from_iter([("a", column as _)])?;
        let cut = pieces(&batch);
        assert_eq!(cut.len(), 4);
        assert_eq!(cut.iter().map(RecordBatch::num_rows).sum::<usize>(), 1_000_000);
        assert!(cut.iter().all(|piece| bytes_of(piece) <= limits::ROWS_MESSAGE_BYTES));
        assert_eq!(pieces(&batch.slice(10, 1_000)).len(), 1);
        Ok(())
    }

    #[tokio::test]
    async fn an_empty_result_has_its_schema() -> Result<(), Box<dyn std::error::Error>> {
        let empty = RecordBatch::try_from_iter([("a", Arc::new(StringArray::from(Vec::<&str>::new())) as _)])?;
        let messages: Vec<FlightData> = batch(empty.clone()).try_collect().await?;
        assert_eq!(messages.len(), 1);
        assert_eq!(Schema::try_from(&messages[0])?, *empty.schema());
        Ok(())
    }
}
