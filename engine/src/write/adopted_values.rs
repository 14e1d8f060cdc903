//! Columns of others' Parquet files whose values would not be read as they are: moments in another unit than the table's, and bytes that are no texts.

use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::datatypes::DataType;
use futures::TryStreamExt;
use nunatak_catalog::spec::PrimitiveType;
use nunatak_core::{Code, Error, Result};
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::arrow::{ParquetRecordBatchStreamBuilder, ProjectionMask};
use parquet::basic::{ConvertedType, LogicalType, TimeUnit};
use parquet::file::metadata::ParquetMetaData;
use parquet::schema::types::ColumnDescriptor;

use super::adopted::unreadable;

/// The unit of a column of timestamps or times, where the file names it.
pub(super) fn unit(column: &ColumnDescriptor) -> Option<TimeUnit> {
    match column.logical_type_ref() {
        Some(LogicalType::Timestamp(timestamp)) => Some(timestamp.unit),
        Some(LogicalType::Time(time)) => Some(time.unit),
        _ => match column.converted_type() {
            ConvertedType::TIMESTAMP_MILLIS | ConvertedType::TIME_MILLIS => Some(TimeUnit::MILLIS),
            ConvertedType::TIMESTAMP_MICROS | ConvertedType::TIME_MICROS => Some(TimeUnit::MICROS),
            _ => None,
        },
    }
}

/// That timestamps and times are in the unit of the table's type. Nanoseconds would be cut off, and Iceberg's Java library compares milliseconds with microseconds when
/// it leaves out row groups.
///
/// Errors: `NOT_SUPPORTED`.
pub(super) fn check_unit(column: &ColumnDescriptor, data_type: &PrimitiveType, location: &str) -> Result<()> {
    let wanted = match data_type {
        PrimitiveType::Timestamp | PrimitiveType::Timestamptz | PrimitiveType::Time => TimeUnit::MICROS,
        PrimitiveType::TimestampNs | PrimitiveType::TimestamptzNs => TimeUnit::NANOS,
        _ => return Ok(()),
    };
    match unit(column) {
        Some(unit) if unit != wanted => {
            let (column, unit, wanted) = (column.path().string(), unit_name(unit), unit_name(wanted));
            Err(Error::not_supported(format!("column '{column}' of file '{location}' is in {unit}, and that of the table in {wanted}"))
                .with_hint("INSERT INTO ... SELECT ... FROM read_parquet('...') writes it again"))
        }
        _ => Ok(()),
    }
}

fn unit_name(unit: TimeUnit) -> &'static str {
    match unit {
        TimeUnit::MILLIS => "milliseconds",
        TimeUnit::MICROS => "microseconds",
        TimeUnit::NANOS => "nanoseconds",
    }
}

/// Whether a file says of a column of bytes that they are texts.
pub(super) fn says_text(column: &ColumnDescriptor) -> bool {
    matches!(column.logical_type_ref(), Some(LogicalType::String | LogicalType::Json))
        || matches!(column.converted_type(), ConvertedType::UTF8 | ConvertedType::JSON)
}

/// That columns of bytes, by their places in a file, have texts. They are read for it.
///
/// Errors: `INVALID_ARGUMENTS` for one that has others.
pub(super) async fn check_texts(
    reader: impl AsyncFileReader + Unpin + 'static,
    footer: Arc<ParquetMetaData>,
    columns: Vec<usize>,
    location: &str,
) -> Result<()> {
    // The Arrow schema that a writer may have embedded has types of its own.
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let metadata = ArrowReaderMetadata::try_new(footer, options).map_err(|error| unreadable(location, error))?;
    let mask = ProjectionMask::leaves(metadata.parquet_schema(), columns);
    let batches = ParquetRecordBatchStreamBuilder::new_with_metadata(reader, metadata).with_projection(mask).build();
    let mut batches = batches.map_err(|error| unreadable(location, error))?;
    while let Some(batch) = batches.try_next().await.map_err(|error| unreadable(location, error))? {
        for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
            if !are_texts(column) {
                let message = format!("column '{}' of file '{location}' has values that are no texts in UTF-8", field.name());
                return Err(Error::new(Code::InvalidArguments, message).with_hint("give the table a column of type varbinary for it"));
            }
        }
    }
    Ok(())
}

/// Whether all bytes in an array are texts.
fn are_texts(array: &dyn Array) -> bool {
    match array.data_type() {
        DataType::Binary => array.as_binary::<i32>().iter().flatten().all(|bytes| str::from_utf8(bytes).is_ok()),
        DataType::Struct(_) => array.as_struct().columns().iter().all(|column| are_texts(column)),
        DataType::List(_) => are_texts(array.as_list::<i32>().values()),
        DataType::Map(..) => are_texts(array.as_map().keys()) && are_texts(array.as_map().values()),
        _ => true,
    }
}
