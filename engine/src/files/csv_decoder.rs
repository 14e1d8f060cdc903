//! CSV records as batches: the header is matched to the columns, fields become values.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, RecordBatch, StringBuilder};
use datafusion::arrow::datatypes::DataType;
use nunatak_core::Result;

use super::columns;
use super::convert::{convert, missing};
use super::csv_records::CsvRecords;
use super::decoder::{Decoder, Target};
use super::faults::FaultPolicy;
use super::input::RecordSink;
use super::options::FileOptions;

/// Makes batches of one CSV file.
pub(super) struct CsvDecoder {
    records: CsvRecords,
    /// For each column of the schema, its place in a record. Unknown until the header was read.
    binding: Option<Vec<Option<usize>>>,
    null_values: Vec<String>,
    target: Target,
    policy: FaultPolicy,
    rows_max: usize,
}

impl CsvDecoder {
    pub(super) fn new(options: &FileOptions, target: Target, policy: FaultPolicy, rows_max: usize) -> Self {
        let columns = target.schema.fields().len();
        let (binding, width, first_rows) =
            if options.header { (None, None, 1) } else { (Some((0..columns).map(Some).collect()), Some(columns), rows_max) };
        let records = CsvRecords::new(options, &policy.path, width, first_rows);
        Self { records, binding, null_values: options.null_values.clone(), target, policy, rows_max }
    }

    fn read_header(&mut self) -> Result<()> {
        self.records.check_text();
        self.policy.handle(&self.records.take_faults())?;
        if self.records.rows() > 0 {
            let text = self.records.text()?;
            let fields = (0..self.records.width()).map(|column| &text[self.records.field(0, column)]);
            let names = columns::header_names(fields, &self.policy.path)?;
            self.binding = Some(columns::bind(&names, &self.target.schema, self.policy.origin, &self.policy.path)?);
            self.records.set_rows_max(self.rows_max);
        }
        self.records.clear();
        Ok(())
    }
}

impl RecordSink for CsvDecoder {
    fn read(&mut self, input: &[u8]) -> Result<usize> {
        let used = self.records.read(input)?;
        if self.binding.is_none() && self.records.is_full() {
            self.read_header()?;
        }
        Ok(used)
    }

    fn finish(&mut self) -> Result<()> {
        self.records.finish()?;
        if self.binding.is_none() {
            self.read_header()?;
        }
        Ok(())
    }

    fn is_full(&self) -> bool {
        self.binding.is_some() && self.records.is_full()
    }
}

impl Decoder for CsvDecoder {
    fn flush(&mut self) -> Result<RecordBatch> {
        self.records.check_text();
        let faults = self.records.take_faults();
        let text = self.records.text()?;
        let mut converted = Vec::new();
        for (index, field) in self.target.checked() {
            let place = self.binding.as_ref().and_then(|binding| binding[index]);
            converted.push(match place {
                Some(column) => convert(&field_texts(&self.records, text, column, field.data_type(), &self.null_values), field)?,
                None => missing(field, self.records.rows()),
            });
        }
        let batch = self.target.batch(converted, self.records.lines(), faults, &mut self.policy);
        self.records.clear();
        batch
    }
}

/// The fields of one column, with NULL where the options say so.
fn field_texts(records: &CsvRecords, text: &str, column: usize, data_type: &DataType, null_values: &[String]) -> ArrayRef {
    // Blanks around a number mean nothing; in a text they may.
    let is_text = matches!(data_type, DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8) || data_type.is_binary();
    let bytes = if records.width() == 0 { 0 } else { text.len() / records.width() };
    let mut builder = StringBuilder::with_capacity(records.rows(), bytes);
    for row in 0..records.rows() {
        let field = &text[records.field(row, column)];
        let value = if is_text { field } else { field.trim() };
        let is_null = (value.is_empty() && !is_text) || null_values.iter().any(|null| null == value);
        builder.append_option((!is_null).then_some(value));
    }
    Arc::new(builder.finish())
}
