//! The names of a CSV file's columns, and how they meet those of a table.

use std::collections::HashSet;

use datafusion::arrow::datatypes::Schema;
use nunatak_core::{Code, Error, Result};

use super::convert::is_readable;
use super::options::FileFormat;
use super::source::SchemaOrigin;
use crate::error::suggest;
use crate::type_name::type_name;

/// The name of a column that has none, counted from 1.
pub(super) fn unnamed(index: usize) -> String {
    format!("column{}", index + 1)
}

/// The names in a header, in lower case. Errors: `DUPLICATE_COLUMN_NAME`.
pub(super) fn header_names<'a>(fields: impl Iterator<Item = &'a str>, path: &str) -> Result<Vec<String>> {
    let name = |(index, field): (usize, &str)| match field.trim() {
        "" => unnamed(index),
        name => name.to_lowercase(),
    };
    let names: Vec<String> = fields.enumerate().map(name).collect();
    let mut seen = HashSet::new();
    match names.iter().find(|name| !seen.insert(name.as_str())) {
        Some(name) => Err(duplicate(name, path)),
        None => Ok(names),
    }
}

/// Two columns of a file have the same name but for its case.
pub(super) fn duplicate(name: &str, path: &str) -> Error {
    let error = Error::new(Code::DuplicateColumnName, format!("file '{path}' has two columns '{name}'"));
    error.with_hint("rename one of them in the file; names are compared in lower case")
}

/// For each column of `schema`, the place of the column of that name in the file; none if the file lacks it. Errors: `COLUMN_NOT_FOUND` if the file
/// has a column that the schema lacks, or lacks one that must not be NULL.
pub(super) fn bind(names: &[String], schema: &Schema, origin: SchemaOrigin, path: &str) -> Result<Vec<Option<usize>>> {
    let wanted: Vec<String> = schema.fields().iter().map(|field| field.name().to_lowercase()).collect();
    if let Some(extra) = names.iter().find(|name| !wanted.contains(name)) {
        return Err(extra_column(extra, &wanted, origin, path));
    }
    let binding: Vec<Option<usize>> = wanted.iter().map(|wanted| names.iter().position(|name| name == wanted)).collect();
    let lacking = schema.fields().iter().zip(&binding).find(|(field, place)| place.is_none() && !field.is_nullable());
    if let Some((field, _)) = lacking {
        let error = Error::new(Code::ColumnNotFound, format!("file '{path}' has no column '{}', which must not be null", field.name()));
        return Err(error.with_hint(format!("its columns: {}", names.join(", "))));
    }
    Ok(binding)
}

fn extra_column(extra: &str, wanted: &[String], origin: SchemaOrigin, path: &str) -> Error {
    if origin == SchemaOrigin::Sampled {
        let error = Error::new(Code::ColumnNotFound, format!("file '{path}' has a column '{extra}' that the files of the sample do not have"));
        return error.with_hint("the columns come from the first files that match: name files of the same columns, or read this one apart");
    }
    let error = Error::new(Code::ColumnNotFound, format!("file '{path}' has a column '{extra}' that is not among those wanted")).with_hint(
        "if the first line is no header, use HEADER false; to load some of the columns, write INSERT INTO ... SELECT ... FROM read_csv('...')",
    );
    suggest(error, extra, wanted.iter().map(String::as_str))
}

/// Refuses columns whose values cannot be read from such files. Errors: `NOT_SUPPORTED`.
pub(super) fn check_types(schema: &Schema, format: FileFormat) -> Result<()> {
    match schema.fields().iter().find(|field| !is_readable(field.data_type(), format == FileFormat::Json)) {
        Some(field) => {
            let what = format!("column '{}' of type {} cannot be read from {} files", field.name(), type_name(field.data_type()), format.name());
            Err(Error::not_supported(what).with_hint("use parquet files"))
        }
        None => Ok(()),
    }
}
