//! JSON objects as batches. Arrow's decoder takes the texts of all values, which are then converted as those of a CSV file are: its own conversions
//! cut fractions off silently. If a batch does not decode, the bad lines are found one by one.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, RecordBatch, new_empty_array};
use datafusion::arrow::compute::concat_batches;
use datafusion::arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::json::ReaderBuilder;
use nunatak_core::Result;

use super::convert::{convert, text_type};
use super::decoder::{Decoder, Target, from_arrow};
use super::faults::{Fault, FaultPolicy};
use super::input::RecordSink;
use super::json_records::JsonRecords;

/// Makes batches of one JSON file.
pub(super) struct JsonDecoder {
    records: JsonRecords,
    target: Target,
    policy: FaultPolicy,
    /// The columns to convert, as texts under the names that [`JsonRecords`] gives their keys.
    texts: SchemaRef,
}

impl JsonDecoder {
    pub(super) fn new(target: Target, policy: FaultPolicy, rows_max: usize) -> Self {
        let text_field = |(_, field): (usize, &Arc<Field>)| Field::new(field.name().to_ascii_lowercase(), text_type(field.data_type()), true);
        let texts = Arc::new(Schema::new(target.checked().map(text_field).collect::<Vec<_>>()));
        Self { records: JsonRecords::new(&policy.path, rows_max), target, policy, texts }
    }

    /// The gathered objects as columns of texts, and which of them those are.
    fn decode_texts(&self, faults: &mut Vec<Fault>) -> Result<(Vec<ArrayRef>, Vec<u64>)> {
        let lines = self.records.lines();
        if lines.is_empty() {
            return Ok((self.texts.fields().iter().map(|field| new_empty_array(field.data_type())).collect(), Vec::new()));
        }
        if let Ok(batch) = decode(&self.texts, self.records.data(), lines.len()) {
            return Ok((batch.columns().to_vec(), lines.to_vec()));
        }
        let (mut good, mut good_lines) = (Vec::new(), Vec::new());
        for (row, line) in lines.iter().enumerate() {
            match decode(&self.texts, self.records.record(row), 1) {
                Ok(batch) => {
                    good.push(batch);
                    good_lines.push(*line);
                }
                Err(reason) => faults.push(Fault::text(*line, reason)),
            }
        }
        let all = concat_batches(&self.texts, &good).map_err(from_arrow)?;
        Ok((all.columns().to_vec(), good_lines))
    }
}

impl RecordSink for JsonDecoder {
    fn read(&mut self, input: &[u8]) -> Result<usize> {
        self.records.read(input)
    }

    fn finish(&mut self) -> Result<()> {
        self.records.finish()
    }

    fn is_full(&self) -> bool {
        self.records.is_full()
    }
}

impl Decoder for JsonDecoder {
    fn flush(&mut self) -> Result<RecordBatch> {
        let mut faults = Vec::new();
        let (columns, lines) = self.decode_texts(&mut faults)?;
        let converted = self.target.checked().zip(&columns).map(|((_, field), texts)| convert(texts, field)).collect::<Result<Vec<_>>>()?;
        let batch = self.target.batch(converted, &lines, faults, &mut self.policy);
        self.records.clear();
        batch
    }
}

/// Decodes exactly so many objects, or says why not.
fn decode(schema: &SchemaRef, data: &[u8], rows: usize) -> Result<RecordBatch, String> {
    let reason = |error: ArrowError| match error {
        ArrowError::JsonError(text) => text,
        other => other.to_string(),
    };
    // One more than wanted, so that too many are noticed.
    let builder = ReaderBuilder::new(Arc::clone(schema)).with_coerce_primitive(true).with_batch_size(rows + 1);
    let mut decoder = builder.build_decoder().map_err(reason)?;
    let used = decoder.decode(data).map_err(reason)?;
    if decoder.has_partial_record() {
        return Err("the object does not end on its line".to_owned());
    }
    if used < data.len() || decoder.len() != rows {
        return Err("there is more than one object on the line".to_owned());
    }
    decoder.flush().map_err(reason)?.ok_or_else(|| "there is no object".to_owned())
}
