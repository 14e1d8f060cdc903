//! The columns of files, inferred from a sample of the first rows of the first files.

use std::sync::Arc;

use datafusion::arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::error::Result;
use nunatak_core::{Code, Error};
use object_store::ObjectMeta;

use super::columns::{header_names, unnamed};
use super::csv_records::CsvRecords;
use super::infer_type::{Shape, merge_fields};
use super::input::Input;
use super::json_records::JsonRecords;
use super::locate::Located;
use super::options::{FileFormat, FileOptions, OnError};
use crate::error::into_datafusion;

/// How many files are looked at.
const SAMPLE_FILES_MAX: usize = 10;

type Columns = Vec<(String, Shape)>;

/// Infers the columns of CSV and JSON files. Errors: `INVALID_ARGUMENTS` if all files are empty, `DUPLICATE_COLUMN_NAME`, and those of reading.
pub(super) async fn schema(located: &Located, format: FileFormat, options: &FileOptions) -> Result<SchemaRef> {
    let mut columns = Columns::new();
    for file in located.files.iter().filter(|file| file.size > 0).take(SAMPLE_FILES_MAX) {
        let mut sample = match format {
            FileFormat::Json => sample_json(located, file, options).await?,
            FileFormat::Csv | FileFormat::Parquet => sample_csv(located, file, options).await?,
        };
        if format == FileFormat::Csv && !options.header && !columns.is_empty() {
            // Without names, another number of fields is not another column but a bad row.
            sample.truncate(columns.len());
        }
        merge_fields(&mut columns, sample);
    }
    if columns.is_empty() {
        return Err(into_datafusion(empty_file(located)));
    }
    Ok(Arc::new(Schema::new(columns.iter().map(|(name, shape)| Field::new(name, shape.data_type(), true)).collect::<Vec<_>>())))
}

/// None of the files holds anything.
pub(super) fn empty_file(located: &Located) -> Error {
    match located.files.as_slice() {
        [file] => Error::new(Code::InvalidArguments, format!("file '{}' is empty", located.display(&file.location))),
        files => Error::new(Code::InvalidArguments, format!("all {} files that match '{}' are empty", files.len(), located.pattern)),
    }
}

async fn open(located: &Located, file: &ObjectMeta, options: &FileOptions) -> Result<(Input, String)> {
    let path = located.display(&file.location);
    let input = Input::open(Arc::clone(&located.store), &file.location, options.compression, path.clone()).await?;
    Ok((input, path))
}

async fn sample_csv(located: &Located, file: &ObjectMeta, options: &FileOptions) -> Result<Columns> {
    let (mut input, path) = open(located, file, options).await?;
    // Bad rows are left out of the sample, whatever becomes of them later.
    let lenient = FileOptions { on_error: OnError::Skip, ..options.clone() };
    let mut records = CsvRecords::new(&lenient, &path, None, options.sample_rows + usize::from(options.header));
    input.fill(&mut records).await?;
    csv_columns(&mut records, options, &path).map_err(into_datafusion)
}

fn csv_columns(records: &mut CsvRecords, options: &FileOptions, path: &str) -> nunatak_core::Result<Columns> {
    records.check_text();
    if records.rows() == 0 {
        return Ok(Columns::new());
    }
    let text = records.text()?;
    let width = records.width();
    let names = if options.header {
        header_names((0..width).map(|column| &text[records.field(0, column)]), path)?
    } else {
        (0..width).map(unnamed).collect()
    };
    let mut columns = Columns::with_capacity(width);
    for (column, name) in names.into_iter().enumerate() {
        let mut shape = Shape::Null;
        for row in usize::from(options.header)..records.rows() {
            let field = &text[records.field(row, column)];
            let value = field.trim();
            if !value.is_empty() && !options.null_values.iter().any(|null| null == value || null == field) {
                shape.merge(Shape::of_text(value));
            }
            if shape == Shape::Text {
                break;
            }
        }
        columns.push((name, shape));
    }
    Ok(columns)
}

async fn sample_json(located: &Located, file: &ObjectMeta, options: &FileOptions) -> Result<Columns> {
    let (mut input, path) = open(located, file, options).await?;
    let mut records = JsonRecords::new(&path, options.sample_rows);
    input.fill(&mut records).await?;
    let mut shape = Shape::Object(Vec::new());
    for row in 0..records.rows() {
        // A line that is no object is reported when it is read, with its place.
        if let Ok(object @ Shape::Object(_)) = serde_json::from_slice(records.record(row)) {
            shape.merge(object);
        }
    }
    match shape {
        Shape::Object(columns) if columns.is_empty() && records.rows() > 0 => Err(into_datafusion(no_objects(&path))),
        Shape::Object(columns) => Ok(columns),
        _ => Ok(Columns::new()),
    }
}

fn no_objects(path: &str) -> Error {
    let error = Error::new(Code::InvalidArguments, format!("the first lines of file '{path}' hold no json objects"));
    error.with_hint("a json file holds an object a line, or one array of objects")
}
