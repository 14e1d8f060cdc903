//! Aligned columns. Rows are printed in blocks; a header comes first, and again where a block needs wider columns.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use unicode_width::UnicodeWidthStr;

use super::text;

/// Rows that are aligned together.
const BLOCK_ROWS: usize = 1_000;

/// A table that is being printed.
pub(in crate::sql) struct Table {
    names: Vec<String>,
    numbers: Vec<bool>,
    widths: Vec<usize>,
    rows: Vec<Vec<String>>,
    has_header: bool,
}

impl Table {
    pub(super) fn new(schema: &SchemaRef) -> Self {
        let names: Vec<_> = schema.fields().iter().map(|field| printable(field.name()).replace('\n', " ")).collect();
        let numbers = schema.fields().iter().map(|field| text::is_number(field.data_type())).collect();
        let widths = names.iter().map(|name| name.width()).collect();
        Self { names, numbers, widths, rows: Vec::new(), has_header: false }
    }

    /// Takes rows; gives the blocks that are full.
    pub(super) fn encode(&mut self, batch: &RecordBatch) -> Result<String, ArrowError> {
        let mut printed = String::new();
        let mut start = 0;
        while start < batch.num_rows() {
            let length = (BLOCK_ROWS - self.rows.len()).min(batch.num_rows() - start);
            self.take(&batch.slice(start, length))?;
            start += length;
            if self.rows.len() == BLOCK_ROWS {
                printed.push_str(&self.block());
            }
        }
        Ok(printed)
    }

    /// What is left; at least the header.
    pub(super) fn finish(&mut self) -> String {
        if self.rows.is_empty() && self.has_header { String::new() } else { self.block() }
    }

    fn take(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        let columns = batch.columns().iter().map(|column| text::values(column)).collect::<Result<Vec<_>, _>>()?;
        let mut columns: Vec<_> = columns.into_iter().map(Vec::into_iter).collect();
        for _ in 0..batch.num_rows() {
            self.rows.push(columns.iter_mut().filter_map(Iterator::next).map(|value| printable(&value)).collect());
        }
        Ok(())
    }

    fn block(&mut self) -> String {
        let rows = std::mem::take(&mut self.rows);
        let needs_header = self.widen(&rows) || !self.has_header;
        let mut printed = String::new();
        if needs_header {
            self.print_row(&self.names, &mut printed);
            let rule: Vec<_> = self.widths.iter().map(|width| "-".repeat(width + 2)).collect();
            printed.push_str(&rule.join("+"));
            printed.push('\n');
        }
        for row in &rows {
            self.print_row(row, &mut printed);
        }
        self.has_header = true;
        printed
    }

    /// Makes columns as wide as their widest value; says whether any grew.
    fn widen(&mut self, rows: &[Vec<String>]) -> bool {
        let mut grew = false;
        for row in rows {
            for (width, value) in self.widths.iter_mut().zip(row) {
                let wanted = value.lines().map(UnicodeWidthStr::width).max().unwrap_or_default();
                grew |= wanted > *width;
                *width = wanted.max(*width);
            }
        }
        grew
    }

    /// A value of several lines goes on below, in its column.
    fn print_row(&self, row: &[String], printed: &mut String) {
        let height = row.iter().map(|value| value.lines().count()).max().unwrap_or(1).max(1);
        for line in 0..height {
            self.print_line(row.iter().map(|value| value.lines().nth(line).unwrap_or_default()), printed);
        }
    }

    fn print_line<'a>(&self, values: impl Iterator<Item = &'a str>, printed: &mut String) {
        let start = printed.len();
        for (column, ((value, width), number)) in values.zip(&self.widths).zip(&self.numbers).enumerate() {
            let padding = " ".repeat(width.saturating_sub(value.width()));
            printed.push_str(if column == 0 { " " } else { "| " });
            let (left, right) = if *number { (padding.as_str(), "") } else { ("", padding.as_str()) };
            printed.extend([left, value, right, " "]);
        }
        let end = printed[start..].trim_end().len();
        printed.truncate(start + end);
        printed.push('\n');
    }
}

/// Control characters are shown as escapes, but for the ends of lines.
fn printable(value: &str) -> String {
    let is_escaped = |character: char| character.is_control() && character != '\n';
    if !value.contains(is_escaped) {
        return value.to_owned();
    }
    value.chars().flat_map(|c| if is_escaped(c) { c.escape_default().collect::<Vec<_>>() } else { vec![c] }).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int64Array, StringArray, TimestampMicrosecondArray};
    use arrow::datatypes::{DataType, Field, Schema, TimeUnit};

    use super::*;

    #[test]
    fn columns_are_aligned() {
        let schema = Arc::new(Schema::new(vec![
            Field::new("id", DataType::Int64, true),
            Field::new("name", DataType::Utf8, true),
            Field::new("at", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true),
        ]));
        let batch = RecordBatch::try_new(
            schema.clone(),
            vec![
                Arc::new(Int64Array::from(vec![Some(1), None, Some(1234)])),
                Arc::new(StringArray::from(vec![Some("日本"), Some("a\nb"), None])),
                Arc::new(TimestampMicrosecondArray::from(vec![Some(0), Some(1_500_000), None]).with_timezone("UTC")),
            ],
        )
        .unwrap();
        let mut table = Table::new(&schema);
        assert_eq!(table.encode(&batch).unwrap(), "");
        let expected = [
            "   id | name | at",
            "------+------+--------------------------------",
            "    1 | 日本 | 1970-01-01 00:00:00 +00:00",
            " NULL | a    | 1970-01-01 00:00:01.500 +00:00",
            "      | b    |",
            " 1234 | NULL | NULL",
            "",
        ];
        assert_eq!(table.finish(), expected.join("\n"));
    }

    #[test]
    fn blocks_repeat_the_header_only_when_wider() {
        let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, true)]));
        let batch = RecordBatch::try_new(schema.clone(), vec![Arc::new(Int64Array::from_iter_values(500..3_500))]).unwrap();
        let mut table = Table::new(&schema);
        let printed = table.encode(&batch).unwrap() + &table.finish();
        assert_eq!(printed.lines().count(), 3_000 + 2);
        assert!(printed.ends_with(" 3499\n"), "{printed}");

        let mut empty = Table::new(&schema);
        assert_eq!(empty.finish(), " n\n---\n");
    }
}
