//! Comma-separated values with a header; NULL is empty.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::csv::WriterBuilder;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;

use super::text;

/// A result that is being printed as CSV.
pub(in crate::sql) struct Csv {
    schema: SchemaRef,
    has_header: bool,
}

impl Csv {
    pub(super) fn new(schema: &SchemaRef) -> Self {
        Self { schema: schema.clone(), has_header: false }
    }

    pub(super) fn encode(&mut self, batch: &RecordBatch) -> Result<Vec<u8>, ArrowError> {
        let mut bytes = Vec::new();
        WriterBuilder::new().with_header(!self.has_header).build(&mut bytes).write(&flat(batch)?)?;
        self.has_header = true;
        Ok(bytes)
    }

    /// A result without rows still has its header.
    pub(super) fn finish(mut self) -> Result<Vec<u8>, ArrowError> {
        if self.has_header {
            return Ok(Vec::new());
        }
        let empty = RecordBatch::new_empty(self.schema.clone());
        self.encode(&empty)
    }
}

/// Nested columns become text: CSV has no form for them.
fn flat(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let schema = batch.schema();
    if !schema.fields().iter().any(|field| field.data_type().is_nested()) {
        return Ok(batch.clone());
    }
    let mut fields = Vec::new();
    let mut columns: Vec<ArrayRef> = Vec::new();
    for (field, column) in schema.fields().iter().zip(batch.columns()) {
        if field.data_type().is_nested() {
            let values = text::values(column)?.into_iter().enumerate().map(|(row, value)| column.is_valid(row).then_some(value));
            columns.push(Arc::new(values.collect::<StringArray>()));
            fields.push(Arc::new(Field::new(field.name(), DataType::Utf8, true)));
        } else {
            columns.push(column.clone());
            fields.push(field.clone());
        }
    }
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, ListArray};
    use arrow::datatypes::Int64Type;

    use super::*;

    fn batch() -> RecordBatch {
        let list = ListArray::from_iter_primitive::<Int64Type, _, _>([Some(vec![Some(1), None]), None]);
        RecordBatch::try_from_iter([
            ("id", Arc::new(Int64Array::from(vec![Some(1), None])) as ArrayRef),
            ("text", Arc::new(StringArray::from(vec!["a,b", "c\"d"]))),
            ("list", Arc::new(list)),
        ])
        .unwrap()
    }

    #[test]
    fn one_header_quotes_and_nulls() {
        let batch = batch();
        let mut csv = Csv::new(&batch.schema());
        let mut bytes = csv.encode(&batch).unwrap();
        bytes.extend(csv.encode(&batch.slice(0, 1)).unwrap());
        bytes.extend(csv.finish().unwrap());
        let expected = "id,text,list\n1,\"a,b\",\"[1, NULL]\"\n,\"c\"\"d\",\n1,\"a,b\",\"[1, NULL]\"\n";
        assert_eq!(String::from_utf8(bytes).unwrap(), expected);
    }

    #[test]
    fn an_empty_result_has_a_header() {
        assert_eq!(Csv::new(&batch().schema()).finish().unwrap(), b"id,text,list\n");
    }
}
