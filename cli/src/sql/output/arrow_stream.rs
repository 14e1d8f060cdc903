//! An Arrow IPC stream.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::ipc::writer::StreamWriter;

/// A result that is being printed as an Arrow IPC stream. The schema's message goes out with the first rows.
pub(in crate::sql) struct ArrowStream(StreamWriter<Vec<u8>>);

impl ArrowStream {
    pub(super) fn new(schema: &SchemaRef) -> Result<Self, ArrowError> {
        Ok(Self(StreamWriter::try_new(Vec::new(), schema)?))
    }

    pub(super) fn encode(&mut self, batch: &RecordBatch) -> Result<Vec<u8>, ArrowError> {
        self.0.write(batch)?;
        Ok(std::mem::take(self.0.get_mut()))
    }

    pub(super) fn finish(self) -> Result<Vec<u8>, ArrowError> {
        self.0.into_inner()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array};
    use arrow::ipc::reader::StreamReader;

    use super::*;

    #[test]
    fn what_was_written_is_read_again() {
        let batch = RecordBatch::try_from_iter([("id", Arc::new(Int64Array::from(vec![1, 2, 3])) as ArrayRef)]).unwrap();
        let mut stream = ArrowStream::new(&batch.schema()).unwrap();
        let mut bytes = stream.encode(&batch).unwrap();
        bytes.extend(stream.encode(&batch).unwrap());
        bytes.extend(stream.finish().unwrap());
        let batches: Vec<_> = StreamReader::try_new(bytes.as_slice(), None).unwrap().collect::<Result<_, _>>().unwrap();
        assert_eq!(batches, [batch.clone(), batch]);
    }
}
