//! Reading Iceberg tables: which files a query needs, and how DataFusion's Parquet path reads them.
//!
//! A scan is a real `DataSourceExec` over a `FileScanConfig`, so that everything which knows those two (repartitioning, statistics, distribution)
//! works; only the file source is ours ([`source`]). Planning ([`plan`]) walks the snapshot's manifests, prunes by partitions and column bounds
//! ([`pruning`]), cuts files at their row groups ([`splits`]) and tells DataFusion what Iceberg's metadata knows for certain ([`statistics`]), of each file when it
//! is its turn ([`facts`]).
//! Columns are matched by field id ([`adapter`]), by name only in files that have no ids ([`names`]); deleted rows are taken out where the files are read ([`deletes`]). Columns that no schema
//! names, such as the file of a row, are in [`hidden`], and what a scan reads for them in [`columns`]. What files say of floating-point numbers is taken with care ([`nans`]).

pub mod adapter;
pub mod affinity;
pub mod bounds;
pub mod changes;
mod columns;
pub mod deletes;
mod facts;
pub mod field_id_cast;
pub mod hidden;
pub mod metadata_tables;
pub mod names;
mod nans;
pub mod partition;
pub mod plan;
pub mod progress;
pub mod provider;
pub mod pruning;
pub mod reader;
pub mod source;
pub mod splits;
pub mod statistics;
pub mod types;
pub mod values;

pub use changes::table_changes;
pub use deletes::{DeleteReader, FileDeletes, KeptDeletes};
pub use hidden::{HiddenColumn, file_number};
pub use metadata_tables::metadata_table;
pub use plan::{ScanFiles, ScanShape, files_of_scan};
pub use progress::ScanProgress;
pub use provider::{IcebergTable, ScanContext, scan_bytes, scan_of};
pub use pruning::Pruned;
pub use source::IcebergSource;

#[cfg(test)]
pub(crate) mod tests;
