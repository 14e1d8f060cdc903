//! Bad rows: what is wrong with one, and what becomes of it.

use datafusion::arrow::datatypes::DataType;
use datafusion::physical_plan::metrics::Count;
use nunatak_core::{Code, Error, Result};

use super::options::OnError;
use super::source::SchemaOrigin;
use crate::type_name::type_name;

/// How much of a bad value a message shows, in characters.
const SHOWN_CHARACTERS_MAX: usize = 80;

/// What is wrong with a row.
#[derive(Debug)]
pub(super) struct Fault {
    /// The line on which the row begins, counted from 1.
    pub(super) line: u64,
    /// What is wrong, for the user.
    pub(super) reason: String,
    pub(super) cause: Cause,
}

#[derive(Debug)]
pub(super) enum Cause {
    /// The value of this column has another type.
    Value(String),
    /// A required column has no value.
    Null,
    /// There are too few or too many fields.
    Fields,
    /// The row is no row: not UTF-8, no JSON.
    Text,
}

impl Fault {
    /// A value of another type than its column.
    pub(super) fn value(line: u64, column: &str, value: &str, wanted: &DataType) -> Self {
        let reason = format!("column '{column}': '{}' is not {}", shown(value), with_article(&type_name(wanted)));
        Self { line, reason, cause: Cause::Value(column.to_owned()) }
    }

    /// A missing value of a required column.
    pub(super) fn null(line: u64, column: &str) -> Self {
        Self { line, reason: format!("column '{column}': a value is required"), cause: Cause::Null }
    }

    /// A wrong number of fields.
    pub(super) fn fields(line: u64, found: usize, wanted: usize) -> Self {
        let plural = if found == 1 { "" } else { "s" };
        Self { line, reason: format!("{found} field{plural}, {wanted} expected"), cause: Cause::Fields }
    }

    /// A row that is none.
    pub(super) fn text(line: u64, reason: impl Into<String>) -> Self {
        Self { line, reason: reason.into(), cause: Cause::Text }
    }
}

/// What becomes of the bad rows of one file.
#[derive(Debug)]
pub(super) struct FaultPolicy {
    /// The file's name in messages.
    pub(super) path: String,
    pub(super) on_error: OnError,
    /// Where the columns' types come from.
    pub(super) origin: SchemaOrigin,
    pub(super) sample_rows: usize,
    /// Counts the rows left out.
    pub(super) skipped: Count,
    /// Whether the log already says that rows of this file are left out.
    pub(super) has_warned: bool,
}

impl FaultPolicy {
    /// Fails with the first fault of the file, or counts them all.
    pub(super) fn handle(&mut self, faults: &[Fault]) -> Result<()> {
        let Some(first) = faults.iter().min_by_key(|fault| fault.line) else { return Ok(()) };
        if self.on_error == OnError::Abort {
            return Err(self.error(first));
        }
        self.skipped.add(faults.len());
        if !self.has_warned {
            self.has_warned = true;
            tracing::warn!(path = %self.path, line = first.line, reason = %first.reason, "rows of a file are left out");
        }
        Ok(())
    }

    /// The error that names the file, the line and what is wrong.
    pub(super) fn error(&self, fault: &Fault) -> Error {
        Error::new(Code::BadFileRow, format!("{}:{}: {}", self.path, fault.line, fault.reason)).with_hint(self.hint(&fault.cause))
    }

    fn hint(&self, cause: &Cause) -> String {
        match (cause, self.origin) {
            (Cause::Value(column), SchemaOrigin::Sampled) => format!(
                "the type comes from the first {} rows of a file: raise sample_rows, or COPY INTO a table that declares '{column}' as varchar; \
                 ON_ERROR skip leaves such rows out",
                self.sample_rows
            ),
            (Cause::Value(column), SchemaOrigin::Declared) => {
                format!("fix the row, or use ON_ERROR skip to leave such rows out, or declare '{column}' as varchar")
            }
            (Cause::Fields, _) => "fix the row, or use ON_ERROR skip to leave such rows out; see also options delimiter and quote".to_owned(),
            (Cause::Null | Cause::Text, _) => "fix the row, or use ON_ERROR skip to leave such rows out".to_owned(),
        }
    }
}

fn shown(value: &str) -> String {
    match value.char_indices().nth(SHOWN_CHARACTERS_MAX) {
        Some((end, _)) => format!("{}...", &value[..end]),
        None => value.to_owned(),
    }
}

fn with_article(name: &str) -> String {
    let article = if name.starts_with(['a', 'e', 'i', 'o']) { "an" } else { "a" };
    format!("{article} {name}")
}
