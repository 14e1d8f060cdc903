//! CSV records as they stand in the file: fields without their quotes, and the line on which each record begins.

use std::ops::Range;

use csv_core::{ReadRecordResult, Reader, ReaderBuilder};
use nunatak_core::{Code, Error, Result};

use super::faults::Fault;
use super::input::RecordSink;
use super::options::{FileOptions, OnError};

/// The longest record. A longer one is most likely a quote that is never closed.
const RECORD_BYTES_MAX: usize = 64 << 20;

/// No more records are gathered beyond this, since offsets in a column are 32 bits wide.
const GATHERED_BYTES_MAX: usize = 32 << 20;

const DATA_BYTES_START: usize = 64 << 10;
const ENDS_START: usize = 1 << 10;

/// Gathers records. All have the same number of fields; others become faults.
pub(super) struct CsvRecords {
    reader: Reader,
    path: String,
    /// The number of fields, known from the first record if not from the start.
    width: Option<usize>,
    rows_max: usize,
    /// Whether a fault ends the gathering.
    stops_at_fault: bool,

    /// The fields of all records without anything between them; valid up to `data_end`.
    data: Vec<u8>,
    data_end: usize,
    /// Where each field ends, counted from the start of its record; valid up to `ends_end`.
    ends: Vec<usize>,
    ends_end: usize,
    /// Where each record starts in `data`.
    starts: Vec<usize>,
    /// On which line each record begins.
    lines: Vec<u64>,
    faults: Vec<Fault>,

    /// Where the current record starts in `data` and `ends`, and on which line.
    record: RecordStart,
    is_in_record: bool,
    /// Whether the last byte was a carriage return that ended a line, so that a line feed belongs to it.
    is_after_return: bool,
    /// Line ends between records, which `reader` does not see.
    lines_between: u64,
}

#[derive(Clone, Copy, Default)]
struct RecordStart {
    data: usize,
    ends: usize,
    line: u64,
}

impl CsvRecords {
    /// Gathers up to `rows_max` records of `width` fields, or of as many fields as the first record has. `path` is the file's name in messages.
    pub(super) fn new(options: &FileOptions, path: &str, width: Option<usize>, rows_max: usize) -> Self {
        let mut builder = ReaderBuilder::new();
        builder.delimiter(options.delimiter).escape(options.escape);
        match options.quote {
            Some(quote) => builder.quote(quote),
            None => builder.quoting(false),
        };
        Self {
            reader: builder.build(),
            path: path.to_owned(),
            width,
            rows_max,
            stops_at_fault: options.on_error == OnError::Abort,
            data: vec![0; DATA_BYTES_START],
            data_end: 0,
            ends: vec![0; ENDS_START],
            ends_end: 0,
            starts: Vec::new(),
            lines: Vec::new(),
            faults: Vec::new(),
            record: RecordStart::default(),
            is_in_record: false,
            is_after_return: false,
            lines_between: 0,
        }
    }

    pub(super) fn set_rows_max(&mut self, rows_max: usize) {
        self.rows_max = rows_max;
    }

    pub(super) fn rows(&self) -> usize {
        self.starts.len()
    }

    pub(super) fn width(&self) -> usize {
        self.width.unwrap_or_default()
    }

    pub(super) fn lines(&self) -> &[u64] {
        &self.lines
    }

    /// Makes faults of the rows that are not UTF-8.
    pub(super) fn check_text(&mut self) {
        if std::str::from_utf8(&self.data[..self.data_end]).is_err() {
            self.drop_invalid_rows();
        }
    }

    /// All fields as one text, after [`Self::check_text`].
    pub(super) fn text(&self) -> Result<&str> {
        let text = std::str::from_utf8(&self.data[..self.data_end]);
        text.map_err(|error| Error::internal(format!("unchecked text in '{}': {error}", self.path)))
    }

    /// Where a field stands in the text.
    pub(super) fn field(&self, row: usize, column: usize) -> Range<usize> {
        let first = row * self.width();
        let start = if column == 0 { 0 } else { self.ends[first + column - 1] };
        self.starts[row] + start..self.starts[row] + self.ends[first + column]
    }

    pub(super) fn take_faults(&mut self) -> Vec<Fault> {
        std::mem::take(&mut self.faults)
    }

    /// Forgets the gathered records.
    pub(super) fn clear(&mut self) {
        let in_record = (self.record.data..self.data_end, self.record.ends..self.ends_end);
        self.data_end = in_record.0.len();
        self.ends_end = in_record.1.len();
        self.data.copy_within(in_record.0, 0);
        self.ends.copy_within(in_record.1, 0);
        (self.record.data, self.record.ends) = (0, 0);
        self.starts.clear();
        self.lines.clear();
    }

    /// Takes the line ends between two records; says whether the byte was one.
    fn take_line_end(&mut self, byte: u8) -> bool {
        if self.is_after_return {
            self.is_after_return = false;
            self.lines_between += 1;
            if byte == b'\n' {
                return true;
            }
        }
        if !matches!(byte, b'\n' | b'\r') {
            return false;
        }
        // In a file of one column, an empty line is an empty field. Elsewhere it means nothing.
        if self.width == Some(1) {
            self.push_empty_record();
        }
        if byte == b'\r' {
            self.is_after_return = true;
        } else {
            self.lines_between += 1;
        }
        true
    }

    fn line(&self) -> u64 {
        self.reader.line() + self.lines_between
    }

    fn push_empty_record(&mut self) {
        self.starts.push(self.data_end);
        self.lines.push(self.line());
        self.grow_ends(1);
        self.ends[self.ends_end] = 0;
        self.ends_end += 1;
        self.record.ends = self.ends_end;
    }

    fn grow_ends(&mut self, room: usize) {
        if self.ends.len() < self.ends_end + room {
            self.ends.resize(self.ends.len() * 2, 0);
        }
    }

    fn grow_data(&mut self) -> Result<()> {
        if self.data_end - self.record.data >= RECORD_BYTES_MAX {
            let limit = RECORD_BYTES_MAX >> 20;
            let error = Error::new(Code::BadFileRow, format!("{}:{}: the row is longer than {limit} MiB", self.path, self.record.line));
            return Err(error.with_hint("is a quote in it never closed? see options quote and escape"));
        }
        self.data.resize(self.data.len() * 2, 0);
        Ok(())
    }

    fn end_record(&mut self) {
        self.is_in_record = false;
        let found = self.ends_end - self.record.ends;
        let width = *self.width.get_or_insert(found);
        if found == width {
            self.starts.push(self.record.data);
            self.lines.push(self.record.line);
        } else {
            self.faults.push(Fault::fields(self.record.line, found, width));
            self.drop_record();
        }
        (self.record.data, self.record.ends) = (self.data_end, self.ends_end);
    }

    fn drop_record(&mut self) {
        (self.data_end, self.ends_end) = (self.record.data, self.record.ends);
    }

    fn drop_invalid_rows(&mut self) {
        let width = self.width();
        let (mut data, mut kept) = (Vec::with_capacity(self.data.len()), Vec::new());
        let mut ends = Vec::with_capacity(self.ends.len());
        for row in 0..self.rows() {
            let start = self.starts[row];
            let row_ends = &self.ends[row * width..(row + 1) * width];
            let bytes = &self.data[start..start + row_ends.last().copied().unwrap_or_default()];
            if std::str::from_utf8(bytes).is_ok() {
                kept.push((data.len(), self.lines[row]));
                data.extend_from_slice(bytes);
                ends.extend_from_slice(row_ends);
            } else {
                self.faults.push(Fault::text(self.lines[row], "the row is not utf-8"));
            }
        }
        // Only between records: the text is checked when a batch is complete.
        (self.starts, self.lines) = kept.into_iter().unzip();
        (self.data_end, self.ends_end) = (data.len(), ends.len());
        data.resize(data.len().max(DATA_BYTES_START), 0);
        ends.resize(ends.len().max(ENDS_START), 0);
        (self.data, self.ends) = (data, ends);
        (self.record.data, self.record.ends) = (self.data_end, self.ends_end);
    }
}

impl RecordSink for CsvRecords {
    fn read(&mut self, input: &[u8]) -> Result<usize> {
        let mut used = 0;
        while used < input.len() && !self.is_full() {
            if !self.is_in_record {
                if self.take_line_end(input[used]) {
                    used += 1;
                    continue;
                }
                self.is_in_record = true;
                self.record.line = self.line();
            }
            let (result, read, wrote, ended) =
                self.reader.read_record(&input[used..], &mut self.data[self.data_end..], &mut self.ends[self.ends_end..]);
            used += read;
            self.data_end += wrote;
            self.ends_end += ended;
            match result {
                ReadRecordResult::InputEmpty | ReadRecordResult::End => {}
                ReadRecordResult::OutputFull => self.grow_data()?,
                ReadRecordResult::OutputEndsFull => self.grow_ends(1),
                ReadRecordResult::Record => {
                    self.is_after_return = used > 0 && input[used - 1] == b'\r';
                    self.end_record();
                }
            }
        }
        Ok(used)
    }

    fn finish(&mut self) -> Result<()> {
        if !self.is_in_record {
            return Ok(());
        }
        // A line end ends the last record as the end of the file does, and shows whether a quote is still open.
        self.grow_ends(1);
        if self.data_end == self.data.len() {
            self.grow_data()?;
        }
        let (result, _, _, ended) = self.reader.read_record(b"\n", &mut self.data[self.data_end..], &mut self.ends[self.ends_end..]);
        self.ends_end += ended;
        if result == ReadRecordResult::Record {
            self.end_record();
            return Ok(());
        }
        self.is_in_record = false;
        self.faults.push(Fault::text(self.record.line, "a quote is never closed"));
        self.drop_record();
        Ok(())
    }

    fn is_full(&self) -> bool {
        self.starts.len() >= self.rows_max || self.record.data >= GATHERED_BYTES_MAX || (self.stops_at_fault && !self.faults.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads in chunks of `size` bytes; records as `line:field|field`.
    fn read(text: &str, size: usize, width: Option<usize>) -> Result<(Vec<String>, Vec<String>)> {
        let options = FileOptions { on_error: OnError::Skip, ..FileOptions::default() };
        let mut records = CsvRecords::new(&options, "x.csv", width, 2);
        let (mut rows, mut faults) = (Vec::new(), Vec::new());
        let mut take = |records: &mut CsvRecords| -> Result<()> {
            records.check_text();
            let text = records.text()?;
            for row in 0..records.rows() {
                let fields: Vec<&str> = (0..records.width()).map(|column| &text[records.field(row, column)]).collect();
                rows.push(format!("{}:{}", records.lines()[row], fields.join("|")));
            }
            faults.extend(records.take_faults().iter().map(|fault| format!("{}:{}", fault.line, fault.reason)));
            records.clear();
            Ok(())
        };
        for mut chunk in text.as_bytes().chunks(size) {
            while !chunk.is_empty() {
                chunk = &chunk[records.read(chunk)?..];
                if records.is_full() {
                    take(&mut records)?;
                }
            }
        }
        records.finish()?;
        take(&mut records)?;
        Ok((rows, faults))
    }

    #[test]
    fn lines_are_exact_whatever_ends_them() -> Result<()> {
        let cases = [
            ("a,b\n1,2\n\n\n3,\"x\ny\"\n5,6", ["1:a|b", "2:1|2", "5:3|x\ny", "7:5|6"]),
            ("a,b\r\n1,2\r\n\r\n\r\n3,\"x\r\ny\"\r\n5,6\r\n", ["1:a|b", "2:1|2", "5:3|x\r\ny", "7:5|6"]),
            ("a,b\r1,2\r\r\r3,\"x\ny\"\r5,6\r", ["1:a|b", "2:1|2", "5:3|x\ny", "7:5|6"]),
        ];
        for (text, expected) in cases {
            for size in 1..text.len() {
                assert_eq!(read(text, size, None)?, (expected.map(str::to_owned).to_vec(), vec![]), "{text:?} by {size}");
            }
        }
        Ok(())
    }

    #[test]
    fn records_of_another_width_are_faults() -> Result<()> {
        let (rows, faults) = read("a,b\n1\n2,3\n4,5,6\n\"7,8\n9,9\n", 3, None)?;
        assert_eq!(rows, ["1:a|b", "3:2|3"]);
        assert_eq!(faults, ["2:1 field, 2 expected", "4:3 fields, 2 expected", "5:a quote is never closed"]);
        Ok(())
    }

    #[test]
    fn an_empty_line_is_a_value_where_there_is_one_column() -> Result<()> {
        let (rows, _) = read("a\n\n1\n\r\n2\n", 4, None)?;
        assert_eq!(rows, ["1:a", "2:", "3:1", "4:", "5:2"]);
        Ok(())
    }

    #[test]
    fn long_records_and_many_fields_find_room() -> Result<()> {
        let wide: Vec<String> = (0..3000).map(|number| number.to_string()).collect();
        let text = format!("{}\n{}", wide.join(","), vec!["y".repeat(100); 3000].join(","));
        let (rows, faults) = read(&text, 777, None)?;
        assert_eq!(rows, [format!("1:{}", wide.join("|")), format!("2:{}", vec!["y".repeat(100); 3000].join("|"))]);
        assert!(faults.is_empty());
        Ok(())
    }
}
