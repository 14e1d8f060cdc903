//! The options of file functions and of `COPY INTO`: their names, checks and defaults. Plain data, so that a plan that holds them can be serialised.

use datafusion::datasource::file_format::file_compression_type::FileCompressionType;
use nunatak_core::{Code, Error, Result};
use serde::{Deserialize, Serialize};

use crate::error::suggest;

/// The largest sample that a schema may be inferred from, in rows of one file.
const SAMPLE_ROWS_MAX: i64 = 10_000_000;

const CSV_OPTIONS: &[&str] =
    &["compression", "delimiter", "encoding", "escape", "header", "null_value", "null_values", "on_error", "quote", "sample_rows"];
const JSON_OPTIONS: &[&str] = &["compression", "encoding", "on_error", "sample_rows"];

/// How a file is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FileFormat {
    /// Records of fields with a delimiter between them.
    Csv,
    /// An object a line, or one array of objects.
    Json,
    /// Apache Parquet.
    Parquet,
}

impl FileFormat {
    /// The name as an option's value and in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Json => "json",
            Self::Parquet => "parquet",
        }
    }

    fn option_names(self) -> &'static [&'static str] {
        match self {
            Self::Csv => CSV_OPTIONS,
            Self::Json => JSON_OPTIONS,
            Self::Parquet => &[],
        }
    }
}

/// The value of an option as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OptionValue {
    /// A text or a bare word.
    Text(String),
    /// A whole number.
    Number(i64),
    /// `true` or `false`.
    Boolean(bool),
    /// `ARRAY['a', 'b']`.
    List(Vec<String>),
    /// `MAP(ARRAY['key'], ARRAY['value'])`.
    Map(Vec<(String, String)>),
}

/// What becomes of a row that cannot be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum OnError {
    /// The statement fails with `BAD_FILE_ROW`.
    #[default]
    Abort,
    /// The row is left out and counted.
    Skip,
}

/// How files are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Compression {
    /// By the end of each file's name.
    #[default]
    Auto,
    /// Not at all.
    None,
    /// gzip, `.gz`.
    Gzip,
    /// Zstandard, `.zst`.
    Zstd,
    /// bzip2, `.bz2`.
    Bzip2,
    /// xz, `.xz`.
    Xz,
}

impl Compression {
    /// How the file of that name is compressed.
    pub(super) fn of_file(self, name: &str) -> FileCompressionType {
        let chosen = if self == Self::Auto { Self::by_name(name) } else { self };
        match chosen {
            Self::Gzip => FileCompressionType::GZIP,
            Self::Zstd => FileCompressionType::ZSTD,
            Self::Bzip2 => FileCompressionType::BZIP2,
            Self::Xz => FileCompressionType::XZ,
            Self::None | Self::Auto => FileCompressionType::UNCOMPRESSED,
        }
    }

    fn by_name(name: &str) -> Self {
        match name.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase()).as_deref() {
            Some("gz" | "gzip") => Self::Gzip,
            Some("zst" | "zstd") => Self::Zstd,
            Some("bz2") => Self::Bzip2,
            Some("xz") => Self::Xz,
            _ => Self::None,
        }
    }
}

/// How files are read. Options that a format does not have keep their defaults.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileOptions {
    /// What stands between two fields of a CSV record.
    pub delimiter: u8,
    /// What stands around a field that holds delimiters or line ends; `None` if nothing does.
    pub quote: Option<u8>,
    /// What stands before a quote within quotes, besides another quote.
    pub escape: Option<u8>,
    /// Whether the first record of a CSV file names the columns.
    pub header: bool,
    /// Texts that are NULL. An empty field of a column that isn't text is NULL in any case.
    pub null_values: Vec<String>,
    /// What becomes of bad rows.
    pub on_error: OnError,
    /// How the files are compressed.
    pub compression: Compression,
    /// How many rows of a file are looked at to infer its columns.
    pub sample_rows: usize,
}

impl Default for FileOptions {
    fn default() -> Self {
        Self {
            delimiter: b',',
            quote: Some(b'"'),
            escape: None,
            header: true,
            null_values: vec![String::new()],
            on_error: OnError::Abort,
            compression: Compression::Auto,
            sample_rows: 20_480,
        }
    }
}

impl FileOptions {
    /// Reads options as written. Errors: `INVALID_ARGUMENTS` for an unknown one, for one that `format` does not have, and for a wrong value.
    pub fn from_pairs(format: FileFormat, pairs: &[(String, OptionValue)]) -> Result<Self> {
        let mut options = Self::default();
        let mut null_values: Option<Vec<String>> = None;
        let mut seen: Vec<String> = Vec::new();
        for (name, value) in pairs {
            let name = name.to_ascii_lowercase();
            if !format.option_names().contains(&name.as_str()) {
                return Err(unknown_option(format, &name));
            }
            if seen.contains(&name) && name != "null_value" {
                return Err(invalid(format!("option '{name}' is given twice")));
            }
            match name.as_str() {
                "null_value" => null_values.get_or_insert_default().push(text(&name, value)?.to_owned()),
                "null_values" => null_values.get_or_insert_default().extend(list(&name, value)?),
                _ => options.set(&name, value)?,
            }
            seen.push(name);
        }
        if let Some(null_values) = null_values {
            options.null_values = null_values;
        }
        options.check_marks()?;
        Ok(options)
    }

    fn set(&mut self, name: &str, value: &OptionValue) -> Result<()> {
        match name {
            "delimiter" => {
                let Some(delimiter) = mark(name, value)? else { return Err(invalid("option 'delimiter' is empty")) };
                self.delimiter = delimiter;
            }
            "quote" => self.quote = mark(name, value)?,
            "escape" => self.escape = mark(name, value)?,
            "header" => self.header = boolean(name, value)?,
            "on_error" => self.on_error = choice(name, value, &[("abort", OnError::Abort), ("skip", OnError::Skip)])?,
            "compression" => self.compression = choice(name, value, COMPRESSIONS)?,
            "encoding" => choice(name, value, &[("utf-8", ()), ("utf8", ())])?,
            "sample_rows" => self.sample_rows = rows(name, value)?,
            _ => return Err(Error::internal(format!("option '{name}' is listed and not read"))),
        }
        Ok(())
    }

    fn check_marks(&self) -> Result<()> {
        if self.quote == Some(self.delimiter) || self.escape == Some(self.delimiter) {
            return Err(invalid("the delimiter is also the quote or the escape").with_hint("give each its own character"));
        }
        Ok(())
    }

    /// The options that are worth showing in a plan: those that differ from their defaults.
    pub(super) fn describe(&self) -> String {
        let default = Self::default();
        let mut parts = Vec::new();
        let mut part = |differs: bool, text: String| differs.then(|| parts.push(text));
        part(self.delimiter != default.delimiter, format!("delimiter={:?}", char::from(self.delimiter)));
        part(self.header != default.header, format!("header={}", self.header));
        part(self.null_values != default.null_values, format!("null_values={:?}", self.null_values));
        part(self.on_error == OnError::Skip, "on_error=skip".to_owned());
        parts.join(", ")
    }
}

const COMPRESSIONS: &[(&str, Compression)] = &[
    ("auto", Compression::Auto),
    ("none", Compression::None),
    ("gzip", Compression::Gzip),
    ("zstd", Compression::Zstd),
    ("bzip2", Compression::Bzip2),
    ("xz", Compression::Xz),
];

fn invalid(message: impl Into<String>) -> Error {
    Error::new(Code::InvalidArguments, message)
}

fn unknown_option(format: FileFormat, name: &str) -> Error {
    if CSV_OPTIONS.contains(&name) {
        return invalid(format!("option '{name}' does not apply to {} files", format.name())).with_hint("leave it out");
    }
    let error = invalid(format!("unknown option '{name}' for {} files", format.name()));
    let names = format.option_names();
    let known = if names.is_empty() { "there are none".to_owned() } else { format!("options: {}", names.join(", ")) };
    suggest(error.with_hint(known), name, names.iter().copied())
}

fn text<'a>(name: &str, value: &'a OptionValue) -> Result<&'a str> {
    match value {
        OptionValue::Text(text) => Ok(text),
        _ => Err(invalid(format!("option '{name}' takes a text")).with_hint(format!("write {name} '...'"))),
    }
}

fn list(name: &str, value: &OptionValue) -> Result<Vec<String>> {
    match value {
        OptionValue::List(values) => Ok(values.clone()),
        OptionValue::Text(text) => Ok(vec![text.clone()]),
        _ => Err(invalid(format!("option '{name}' takes a list of texts")).with_hint(format!("write {name} ARRAY['...', '...']"))),
    }
}

fn boolean(name: &str, value: &OptionValue) -> Result<bool> {
    match value {
        OptionValue::Boolean(value) => Ok(*value),
        OptionValue::Text(text) if text.eq_ignore_ascii_case("true") => Ok(true),
        OptionValue::Text(text) if text.eq_ignore_ascii_case("false") => Ok(false),
        _ => Err(invalid(format!("option '{name}' takes true or false"))),
    }
}

fn rows(name: &str, value: &OptionValue) -> Result<usize> {
    let number = match value {
        OptionValue::Number(number) => Some(*number),
        OptionValue::Text(text) => text.parse().ok(),
        _ => None,
    };
    number
        .filter(|number| (1..=SAMPLE_ROWS_MAX).contains(number))
        .and_then(|number| usize::try_from(number).ok())
        .ok_or_else(|| invalid(format!("option '{name}' takes a number from 1 to {SAMPLE_ROWS_MAX}")))
}

fn choice<T: Copy>(name: &str, value: &OptionValue, choices: &[(&str, T)]) -> Result<T> {
    let written = match value {
        OptionValue::Text(text) => text.to_ascii_lowercase(),
        _ => String::new(),
    };
    choices.iter().find(|(choice, _)| *choice == written).map(|(_, choice)| *choice).ok_or_else(|| {
        let names: Vec<&str> = choices.iter().map(|(choice, _)| *choice).collect();
        invalid(format!("option '{name}' does not take the value '{written}'")).with_hint(format!("values: {}", names.join(", ")))
    })
}

/// One ASCII character; none for an empty text.
fn mark(name: &str, value: &OptionValue) -> Result<Option<u8>> {
    let written = text(name, value)?;
    let byte = match written.as_bytes() {
        [] => return Ok(None),
        // SQL texts know no escapes, and a tab is hard to type.
        br"\t" => b'\t',
        [byte] => *byte,
        _ => b'\n',
    };
    if !byte.is_ascii() || matches!(byte, b'\n' | b'\r') {
        return Err(invalid(format!("option '{name}' takes one ASCII character, not '{written}'")).with_hint(r"write '\t' for a tab"));
    }
    Ok(Some(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(format: FileFormat, pairs: &[(&str, OptionValue)]) -> Result<FileOptions> {
        let pairs: Vec<_> = pairs.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        FileOptions::from_pairs(format, &pairs)
    }

    fn word(text: &str) -> OptionValue {
        OptionValue::Text(text.to_owned())
    }

    #[test]
    fn all_options_are_read() -> Result<()> {
        let pairs = [
            ("DELIMITER", word(r"\t")),
            ("quote", word("'")),
            ("escape", word("\\")),
            ("header", OptionValue::Boolean(false)),
            ("null_value", word("NA")),
            ("null_value", word("-")),
            ("on_error", word("SKIP")),
            ("compression", word("gzip")),
            ("sample_rows", OptionValue::Number(7)),
            ("encoding", word("UTF-8")),
        ];
        let expected = FileOptions {
            delimiter: b'\t',
            quote: Some(b'\''),
            escape: Some(b'\\'),
            header: false,
            null_values: vec!["NA".to_owned(), "-".to_owned()],
            on_error: OnError::Skip,
            compression: Compression::Gzip,
            sample_rows: 7,
        };
        assert_eq!(read(FileFormat::Csv, &pairs)?, expected);
        assert_eq!(read(FileFormat::Csv, &[])?, FileOptions::default());
        Ok(())
    }

    #[test]
    fn wrong_options_are_named() {
        let cases = [
            (FileFormat::Csv, "delimeter", word(";"), "unknown option 'delimeter' for csv files (did you mean 'delimiter'?)"),
            (FileFormat::Json, "header", OptionValue::Boolean(true), "option 'header' does not apply to json files (leave it out)"),
            (FileFormat::Parquet, "compresion", word("gzip"), "unknown option 'compresion' for parquet files (there are none)"),
            (FileFormat::Csv, "delimiter", word("||"), r"option 'delimiter' takes one ASCII character, not '||' (write '\t' for a tab)"),
            (FileFormat::Csv, "on_error", word("stop"), "option 'on_error' does not take the value 'stop' (values: abort, skip)"),
            (FileFormat::Csv, "sample_rows", OptionValue::Number(0), "option 'sample_rows' takes a number from 1 to 10000000"),
            (FileFormat::Csv, "quote", word(","), "the delimiter is also the quote or the escape (give each its own character)"),
        ];
        for (format, name, value, message) in cases {
            let error = read(format, &[(name, value)]).map(|_| ()).map_err(|error| error.to_string());
            assert_eq!(error, Err(format!("INVALID_ARGUMENTS: {message}")));
        }
    }

    #[test]
    fn compression_follows_the_name() {
        assert_eq!(Compression::Auto.of_file("a.csv.GZ"), FileCompressionType::GZIP);
        assert_eq!(Compression::Auto.of_file("a.csv.zst"), FileCompressionType::ZSTD);
        assert_eq!(Compression::Auto.of_file("a.csv"), FileCompressionType::UNCOMPRESSED);
        assert_eq!(Compression::None.of_file("a.csv.gz"), FileCompressionType::UNCOMPRESSED);
    }
}
