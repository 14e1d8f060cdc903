//! Rows that are deleted without their data files being written again: position deletes and deletion vectors (which name a row by its file and position),
//! and equality deletes (which name it by values).
//!
//! Planning finds what applies to each data file ([`index`]) and sends it along with the file as [`FileDeletes`]. Where the file is read, [`read`]
//! gets the deletes (Parquet files in [`positions`] and [`keys`], vectors by the catalog), and [`apply`] takes the rows out: long runs of positions before
//! anything is decoded, as a row selection of the Parquet reader; scattered positions, and values, as a filter over its batches.
//!
//! Iceberg table spec, sections "Delete Formats" and "Scan Planning".

mod apply;
mod index;
mod keys;
mod positions;
mod read;

pub(super) use apply::{WithDeletes, equality_ids};
pub(super) use index::DeleteIndex;
pub(crate) use index::FILE_PATH_ID;
pub(crate) use positions::{POSITION_ID, schema as position_delete_schema};
pub use read::{DeleteReader, KeptDeletes};

/// The deletes of one data file. An extension of its `PartitionedFile`, which crosses the wire beside it.
#[derive(Clone, PartialEq, prost::Message)]
pub struct FileDeletes {
    /// The data file's location as the table's metadata has it, by which position deletes name it.
    #[prost(string, tag = "1")]
    pub path: String,
    /// Its data sequence number: equality deletes that are younger apply to it.
    #[prost(int64, tag = "2")]
    pub sequence_number: i64,
    /// Its rows, deleted ones included.
    #[prost(uint64, tag = "3")]
    pub row_count: u64,
    /// Files that may hold positions in it. Empty where there is a vector, which stands for them all.
    #[prost(message, repeated, tag = "4")]
    pub positions: Vec<DeleteFile>,
    /// Its deletion vector.
    #[prost(message, optional, tag = "5")]
    pub vector: Option<DeletionVector>,
    /// Files of values that may delete rows of it.
    #[prost(message, repeated, tag = "6")]
    pub equality: Vec<EqualityDeletes>,
}

/// A Parquet file of deletes.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct DeleteFile {
    /// Its location.
    #[prost(string, tag = "1")]
    pub path: String,
    /// Its length in bytes.
    #[prost(uint64, tag = "2")]
    pub size: u64,
    /// Its rows.
    #[prost(uint64, tag = "3")]
    pub row_count: u64,
}

/// A blob of a Puffin file.
#[derive(Clone, PartialEq, prost::Message)]
pub struct DeletionVector {
    /// The location of the Puffin file.
    #[prost(string, tag = "1")]
    pub path: String,
    /// Where the blob begins.
    #[prost(uint64, tag = "2")]
    pub offset: u64,
    /// Its length in bytes.
    #[prost(uint64, tag = "3")]
    pub length: u64,
    /// How many rows it deletes.
    #[prost(uint64, tag = "4")]
    pub cardinality: u64,
}

/// A file of equality deletes.
#[derive(Clone, PartialEq, prost::Message)]
pub struct EqualityDeletes {
    /// The file.
    #[prost(message, required, tag = "1")]
    pub file: DeleteFile,
    /// Its data sequence number.
    #[prost(int64, tag = "2")]
    pub sequence_number: i64,
    /// The ids of the columns whose values name a row, in increasing order.
    #[prost(int32, repeated, tag = "3")]
    pub field_ids: Vec<i32>,
}

impl FileDeletes {
    /// Whether rows may be deleted by their positions.
    pub(crate) fn has_positions(&self) -> bool {
        self.vector.is_some() || !self.positions.is_empty()
    }

    /// The rows that are left, if that is known without reading the deletes.
    pub(super) fn rows_left(&self) -> Option<u64> {
        match &self.vector {
            Some(vector) if self.positions.is_empty() && self.equality.is_empty() => self.row_count.checked_sub(vector.cardinality),
            _ => None,
        }
    }
}
