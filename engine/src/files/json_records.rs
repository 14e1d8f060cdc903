//! JSON objects as they stand in the file, with the line on which each begins: an object a line, or all in one array. Keys of the top level are put
//! in lower case, since columns are matched whatever their case.

use memchr::{memchr, memchr2};
use nunatak_core::{Code, Error, Result};

use super::faults::Fault;
use super::input::RecordSink;

/// The longest object.
const RECORD_BYTES_MAX: usize = 64 << 20;

/// No more objects are gathered beyond this, since offsets in a column are 32 bits wide.
const GATHERED_BYTES_MAX: usize = 32 << 20;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Layout {
    /// Nothing but blanks was seen.
    Unknown,
    /// An object a line.
    Lines,
    /// Within `[...]`, between objects.
    Array,
    /// Within an object of the array.
    ArrayObject { depth: usize, is_in_text: bool, is_escaped: bool },
    /// The array has ended.
    AfterArray,
}

/// Gathers objects.
pub(super) struct JsonRecords {
    path: String,
    rows_max: usize,
    layout: Layout,
    /// The objects, with a line feed after each.
    data: Vec<u8>,
    starts: Vec<usize>,
    lines: Vec<u64>,
    /// Where the current object starts in `data`, and on which line.
    record_start: usize,
    record_line: u64,
    line: u64,
}

impl JsonRecords {
    /// Gathers up to `rows_max` objects. `path` is the file's name in messages.
    pub(super) fn new(path: &str, rows_max: usize) -> Self {
        Self {
            path: path.to_owned(),
            rows_max,
            layout: Layout::Unknown,
            data: Vec::new(),
            starts: Vec::new(),
            lines: Vec::new(),
            record_start: 0,
            record_line: 1,
            line: 1,
        }
    }

    pub(super) fn rows(&self) -> usize {
        self.starts.len()
    }

    pub(super) fn lines(&self) -> &[u64] {
        &self.lines
    }

    /// All objects, one after the other.
    pub(super) fn data(&self) -> &[u8] {
        &self.data[..self.record_start]
    }

    /// One object.
    pub(super) fn record(&self, row: usize) -> &[u8] {
        let end = self.starts.get(row + 1).copied().unwrap_or(self.record_start);
        &self.data[self.starts[row]..end]
    }

    /// Forgets the gathered objects.
    pub(super) fn clear(&mut self) {
        self.data.drain(..self.record_start);
        self.record_start = 0;
        self.starts.clear();
        self.lines.clear();
    }

    fn end_record(&mut self) {
        let record = &mut self.data[self.record_start..];
        if record.trim_ascii().is_empty() {
            self.data.truncate(self.record_start);
            return;
        }
        lower_keys(record);
        self.data.push(b'\n');
        self.starts.push(self.record_start);
        self.lines.push(self.record_line);
        self.record_start = self.data.len();
    }

    fn fault(&self, line: u64, reason: &str) -> Error {
        let Fault { line, reason, .. } = Fault::text(line, reason);
        Error::new(Code::BadFileRow, format!("{}:{line}: {reason}", self.path))
            .with_hint("a json file holds an object a line, or one array of objects")
    }

    fn check_length(&self) -> Result<()> {
        if self.data.len() - self.record_start > RECORD_BYTES_MAX {
            return Err(self.fault(self.record_line, &format!("the object is longer than {} MiB", RECORD_BYTES_MAX >> 20)));
        }
        Ok(())
    }

    /// Finds out how the file is laid out.
    fn read_start(&mut self, input: &[u8]) -> usize {
        for (used, byte) in input.iter().enumerate() {
            match byte {
                b'\n' => self.line += 1,
                byte if byte.is_ascii_whitespace() => {}
                b'[' => {
                    self.layout = Layout::Array;
                    return used + 1;
                }
                _ => {
                    self.layout = Layout::Lines;
                    self.record_line = self.line;
                    return used;
                }
            }
        }
        input.len()
    }

    fn read_line(&mut self, input: &[u8]) -> Result<usize> {
        let Some(end) = memchr(b'\n', input) else {
            self.data.extend_from_slice(input);
            self.check_length()?;
            return Ok(input.len());
        };
        self.data.extend_from_slice(&input[..end]);
        self.end_record();
        self.line += 1;
        self.record_line = self.line;
        Ok(end + 1)
    }

    /// Reads what stands between the objects of an array, and after it.
    fn read_between(&mut self, input: &[u8]) -> Result<usize> {
        for (used, byte) in input.iter().enumerate() {
            match (byte, self.layout) {
                (b'\n', _) => self.line += 1,
                (byte, _) if byte.is_ascii_whitespace() => {}
                (b',', Layout::Array) => {}
                (b']', Layout::Array) => self.layout = Layout::AfterArray,
                (b'{', Layout::Array) => {
                    self.layout = Layout::ArrayObject { depth: 0, is_in_text: false, is_escaped: false };
                    self.record_line = self.line;
                    return Ok(used);
                }
                (_, Layout::Array) => return Err(self.fault(self.line, "the array holds something else than objects")),
                _ => return Err(self.fault(self.line, "there is something after the array")),
            }
        }
        Ok(input.len())
    }

    fn read_object(&mut self, input: &[u8], mut depth: usize, mut is_in_text: bool, mut is_escaped: bool) -> Result<usize> {
        for (used, byte) in input.iter().enumerate() {
            self.line += u64::from(*byte == b'\n');
            match byte {
                _ if is_escaped => is_escaped = false,
                b'\\' if is_in_text => is_escaped = true,
                b'"' => is_in_text = !is_in_text,
                _ if is_in_text => {}
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                self.data.extend_from_slice(&input[..=used]);
                self.end_record();
                self.layout = Layout::Array;
                return Ok(used + 1);
            }
        }
        self.data.extend_from_slice(input);
        self.layout = Layout::ArrayObject { depth, is_in_text, is_escaped };
        self.check_length()?;
        Ok(input.len())
    }
}

impl RecordSink for JsonRecords {
    fn read(&mut self, input: &[u8]) -> Result<usize> {
        let mut used = 0;
        while used < input.len() && !self.is_full() {
            let rest = &input[used..];
            used += match self.layout {
                Layout::Unknown => self.read_start(rest),
                Layout::Lines => self.read_line(rest)?,
                Layout::Array | Layout::AfterArray => self.read_between(rest)?,
                Layout::ArrayObject { depth, is_in_text, is_escaped } => self.read_object(rest, depth, is_in_text, is_escaped)?,
            };
        }
        Ok(used)
    }

    fn finish(&mut self) -> Result<()> {
        match self.layout {
            Layout::Lines => self.end_record(),
            Layout::Array => return Err(self.fault(self.line, "the file ends before its array")),
            Layout::ArrayObject { .. } => return Err(self.fault(self.record_line, "the file ends within this object")),
            Layout::Unknown | Layout::AfterArray => {}
        }
        Ok(())
    }

    fn is_full(&self) -> bool {
        self.starts.len() >= self.rows_max || self.record_start >= GATHERED_BYTES_MAX
    }
}

/// Puts the keys of an object's top level in lower case.
fn lower_keys(object: &mut [u8]) {
    let (mut depth, mut at, mut expects_key) = (0_usize, 0, false);
    while let Some(byte) = object.get(at) {
        match byte {
            b'{' | b'[' => {
                depth += 1;
                expects_key = depth == 1;
            }
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                expects_key = false;
            }
            b',' => expects_key = depth == 1,
            b'"' => {
                let end = text_end(object, at + 1);
                if expects_key {
                    object[at + 1..end].make_ascii_lowercase();
                    expects_key = false;
                }
                at = end;
            }
            _ => {}
        }
        at += 1;
    }
}

/// Where the quote is that ends the text which starts at `start`.
fn text_end(object: &[u8], mut start: usize) -> usize {
    while let Some(found) = object.get(start..).and_then(|rest| memchr2(b'"', b'\\', rest)) {
        let at = start + found;
        if object[at] == b'"' {
            return at;
        }
        start = at + 2;
    }
    object.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, size: usize) -> Result<Vec<String>> {
        let mut records = JsonRecords::new("x.json", 2);
        let mut rows = Vec::new();
        let mut take = |records: &mut JsonRecords| {
            for row in 0..records.rows() {
                rows.push(format!("{}:{}", records.lines()[row], String::from_utf8_lossy(records.record(row)).trim_end()));
            }
            records.clear();
        };
        for mut chunk in text.as_bytes().chunks(size) {
            while !chunk.is_empty() {
                chunk = &chunk[records.read(chunk)?..];
                if records.is_full() {
                    take(&mut records);
                }
            }
        }
        records.finish()?;
        take(&mut records);
        Ok(rows)
    }

    #[test]
    fn objects_are_found_in_lines_and_in_arrays() -> Result<()> {
        let cases = [
            (
                "\n{\"A\":1}\n\n{\"a\":{\"B\":\"}\"}}\r\n{\"a\":\"X\\\"\",\"C\":[1]}",
                ["2:{\"a\":1}", "4:{\"a\":{\"B\":\"}\"}}", "5:{\"a\":\"X\\\"\",\"c\":[1]}"],
            ),
            (
                " [{\"A\":1},\n\n{\"a\":{\"B\":\"}\"}}\n,{\"a\":\"X\\\"\",\n\"C\":[1]}\n]\n",
                ["1:{\"a\":1}", "3:{\"a\":{\"B\":\"}\"}}", "4:{\"a\":\"X\\\"\",\n\"c\":[1]}"],
            ),
        ];
        for (text, expected) in cases {
            for size in 1..text.len() {
                assert_eq!(read(text, size)?, expected, "{text:?} by {size}");
            }
        }
        Ok(())
    }

    #[test]
    fn broken_arrays_are_refused_with_their_line() {
        let cases = [
            ("[{\"a\":1},\n2]", "x.json:2: the array holds something else than objects"),
            ("[{\"a\":1}]\n{", "x.json:2: there is something after the array"),
            ("[{\"a\":1}\n", "x.json:2: the file ends before its array"),
            ("[\n{\"a\":\n", "x.json:2: the file ends within this object"),
        ];
        for (text, expected) in cases {
            let error = read(text, 3).map_err(|error| error.message().to_owned());
            assert_eq!(error, Err(expected.to_owned()));
        }
    }
}
