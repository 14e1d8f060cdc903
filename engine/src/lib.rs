//! SQL over Iceberg tables, on DataFusion. Knows no network.
//!
//! A statement's text goes through [`sql`] (dialect, statements, names at pinned snapshots), reads tables through [`scan`] and plain files through
//! [`files`], and writes through [`write`]; [`analyze`] measures tables. [`catalog_health`] knows which catalogs answer. [`context`] holds what all queries of a process share; [`codec`] takes plans to other processes.

pub mod analyze;
pub mod catalog_health;
pub mod codec;
pub mod computing;
pub mod context;
pub mod error;
pub mod file_cache;
pub mod files;
pub mod functions;
mod memory;
mod one_input;
pub mod rules;
pub mod scan;
pub mod sql;
pub mod transform;
pub mod write;

pub use nunatak_functions::type_name;
