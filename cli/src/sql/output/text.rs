//! Values as text for people.

use arrow::array::Array;
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};

const TIMESTAMP: &str = "%Y-%m-%d %H:%M:%S%.f";
const TIMESTAMP_WITH_ZONE: &str = "%Y-%m-%d %H:%M:%S%.f %:z";

/// How values are written.
pub(super) fn options() -> FormatOptions<'static> {
    FormatOptions::new()
        .with_null("NULL")
        .with_timestamp_format(Some(TIMESTAMP))
        .with_datetime_format(Some(TIMESTAMP))
        .with_timestamp_tz_format(Some(TIMESTAMP_WITH_ZONE))
}

/// Each value of a column as text.
pub(super) fn values(column: &dyn Array) -> Result<Vec<String>, ArrowError> {
    let options = options();
    let formatter = ArrayFormatter::try_new(column, &options)?;
    (0..column.len()).map(|row| formatter.value(row).try_to_string()).collect()
}

/// Whether values line up at their right end.
pub(super) fn is_number(data_type: &DataType) -> bool {
    data_type.is_numeric()
}
