//! Tables as files and metadata: object storage, catalog back ends, snapshots and their manifests, and commits.
//!
//! Knows Iceberg and object stores, not DataFusion. The `iceberg` crate gives the types and the file formats ([`spec`]); its Arrow, one major
//! version behind ours, appears in no signature here.

pub mod adopted;
pub mod backend;
pub mod commit;
pub mod deletion_vector;
mod error;
pub mod evolution;
pub mod expiry;
mod kerberos;
mod messages;
pub mod name_mapping;
mod named_files;
pub mod orphans;
pub mod properties;
pub mod replaced_columns;
pub mod reserved_columns;
pub mod rest_server;
mod retry_after;
mod shared_failure;
pub mod snapshot;
pub mod spec;
pub mod statistics;
pub mod storage;
pub mod table;
pub mod unsupported;
mod uuid_partitions;
mod void_fields;

pub use backend::{Catalog, Namespace};
pub use storage::Storage;
pub use table::{Branch, Table, TableName, View};
