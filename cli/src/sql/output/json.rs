//! One JSON object a line; NULL is `null`.

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use arrow::json::WriterBuilder;
use arrow::json::writer::LineDelimited;

/// Rows as lines.
pub(super) fn encode(batch: &RecordBatch) -> Result<Vec<u8>, ArrowError> {
    let mut bytes = Vec::new();
    let mut writer = WriterBuilder::new().with_explicit_nulls(true).build::<_, LineDelimited>(&mut bytes);
    writer.write(batch)?;
    writer.finish()?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, StringArray};

    use super::*;

    #[test]
    fn an_object_a_line() {
        let batch = RecordBatch::try_from_iter([
            ("id", Arc::new(Int64Array::from(vec![Some(1), None])) as ArrayRef),
            ("text", Arc::new(StringArray::from(vec![Some("a\"b"), None]))),
        ])
        .unwrap();
        let expected = "{\"id\":1,\"text\":\"a\\\"b\"}\n{\"id\":null,\"text\":null}\n";
        assert_eq!(String::from_utf8(encode(&batch).unwrap()).unwrap(), expected);
        assert!(encode(&batch.slice(0, 0)).unwrap().is_empty());
    }
}
