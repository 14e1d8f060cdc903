//! Hidden columns: what every table has besides the columns of its schema, to be asked for by name. `SELECT *` does not show them.
//!
//! How a scan makes them is in [`super::columns`].

use std::hash::{DefaultHasher, Hash, Hasher};

use arrow::datatypes::{DataType, Field, TimeUnit};
use nunatak_catalog::spec::{FormatVersion, NestedField, PrimitiveType, Type};

use super::plan::ScanShape;

/// A hidden column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HiddenColumn {
    /// `$path`: the location of the row's data file.
    Path,
    /// A number that stands for the row's data file, for plans of ours: see [`file_number`]. No name that a user writes is its name.
    File,
    /// `$file_modified_time`: when that file was written, as its store has it.
    FileModifiedTime,
    /// `_pos`: the row's number in that file, from 0, deleted rows counted.
    Position,
    /// `_row_id`: the id that the row keeps for life (version 3). NULL in rows from before the table's upgrade.
    RowId,
    /// `_last_updated_sequence_number`: the sequence number of the commit that changed the row last (version 3).
    LastUpdatedSequenceNumber,
}

impl HiddenColumn {
    const ALL: [Self; 6] = [Self::Path, Self::File, Self::FileModifiedTime, Self::Position, Self::RowId, Self::LastUpdatedSequenceNumber];

    /// Its name in queries: Trino's for what Trino has, Iceberg's for the rest.
    pub fn name(self) -> &'static str {
        match self {
            Self::Path => "$path",
            Self::File => "\u{3}file",
            Self::FileModifiedTime => "$file_modified_time",
            Self::Position => "_pos",
            Self::RowId => "_row_id",
            Self::LastUpdatedSequenceNumber => "_last_updated_sequence_number",
        }
    }

    /// Whether some table has a hidden column of that name.
    pub fn is_name(name: &str) -> bool {
        Self::ALL.iter().any(|column| column.name() == name)
    }

    /// The hidden columns of a table. A column of its schema hides the hidden one of the same name.
    pub fn all_of(shape: &ScanShape) -> Vec<Self> {
        let has_lineage = shape.table().metadata.format_version() >= FormatVersion::V3;
        let is_there = |column: &Self| match column {
            Self::RowId | Self::LastUpdatedSequenceNumber => has_lineage,
            _ => true,
        };
        let is_free = |column: &Self| shape.schema().field_with_name(column.name()).is_err();
        Self::ALL.into_iter().filter(|column| is_there(column) && is_free(column)).collect()
    }

    /// The field under which data files hold the column, for those that they can hold (table spec, "Reserved Field IDs").
    pub(crate) fn stored(self) -> Option<NestedField> {
        let id = match self {
            Self::RowId => i32::MAX - 107,
            Self::LastUpdatedSequenceNumber => i32::MAX - 108,
            Self::Path | Self::File | Self::FileModifiedTime | Self::Position => return None,
        };
        Some(NestedField::optional(id, self.name(), Type::Primitive(PrimitiveType::Long)))
    }

    /// The column as queries see it.
    pub fn field(self) -> Field {
        match self {
            Self::Path => Field::new(self.name(), DataType::Utf8View, false),
            Self::FileModifiedTime => Field::new(self.name(), modified_type(), true),
            Self::File | Self::Position => Field::new(self.name(), DataType::Int64, false),
            Self::RowId | Self::LastUpdatedSequenceNumber => Field::new(self.name(), DataType::Int64, true),
        }
    }
}

/// A number that stands for a data file where its location would be too long: joins and exchanges copy it for each row. Two files of a table have the same one with
/// a chance of one in 2^64, which whoever goes back from it to a file has to look out for.
pub fn file_number(location: &str) -> i64 {
    let mut hasher = DefaultHasher::new();
    location.hash(&mut hasher);
    hasher.finish().cast_signed()
}

/// The type of `$file_modified_time`.
pub(super) fn modified_type() -> DataType {
    DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()))
}
