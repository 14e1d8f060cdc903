//! The forms of a result. Each turns batches into bytes as they come; none keeps a whole result.

mod arrow_stream;
mod csv;
mod json;
mod table;
mod text;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;

/// The form of a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// Aligned columns, for people
    Table,
    /// Comma-separated with a header; NULL is empty
    Csv,
    /// One object a line
    Json,
    /// An Arrow IPC stream
    Arrow,
}

/// A result that is being printed.
pub(super) enum Output {
    Table(table::Table),
    Csv(csv::Csv),
    Json,
    Arrow(Box<arrow_stream::ArrowStream>),
}

impl Output {
    /// Starts a result with the given columns.
    pub(super) fn start(format: Format, schema: &SchemaRef) -> Result<Self, ArrowError> {
        Ok(match format {
            Format::Table => Self::Table(table::Table::new(schema)),
            Format::Csv => Self::Csv(csv::Csv::new(schema)),
            Format::Json => Self::Json,
            Format::Arrow => Self::Arrow(Box::new(arrow_stream::ArrowStream::new(schema)?)),
        })
    }

    /// The bytes to print now that these rows came.
    pub(super) fn encode(&mut self, batch: &RecordBatch) -> Result<Vec<u8>, ArrowError> {
        match self {
            Self::Table(table) => table.encode(batch).map(String::into_bytes),
            Self::Csv(csv) => csv.encode(batch),
            Self::Json => json::encode(batch),
            Self::Arrow(stream) => stream.encode(batch),
        }
    }

    /// The bytes to print at the end.
    pub(super) fn finish(self) -> Result<Vec<u8>, ArrowError> {
        match self {
            Self::Table(mut table) => Ok(table.finish().into_bytes()),
            Self::Csv(csv) => csv.finish(),
            Self::Json => Ok(Vec::new()),
            Self::Arrow(stream) => stream.finish(),
        }
    }
}
