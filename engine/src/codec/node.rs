//! The messages, as protobuf.

use std::collections::BTreeMap;

use datafusion_proto::protobuf::{FileScanExecConf, PhysicalPlanNode, PhysicalSortExprNode};
use prost::{Message, Oneof};

use crate::scan::{FileDeletes, Pruned};

/// A plan node of ours.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Node {
    #[prost(oneof = "Kind", tags = "1, 2, 3, 4")]
    pub(super) kind: Option<Kind>,
}

/// The registry.
#[expect(clippy::large_enum_variant, reason = "it lives for a moment, and protobuf's oneof can't be boxed here")]
#[derive(Clone, PartialEq, Oneof)]
pub(super) enum Kind {
    #[prost(message, tag = "1")]
    IcebergScan(IcebergScan),
    #[prost(message, tag = "2")]
    RowFileScan(RowFileScan),
    #[prost(message, tag = "3")]
    IcebergWrite(IcebergWrite),
    #[prost(message, tag = "4")]
    Once(Once),
}

/// An `OnceExec`.
#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct Once {}

/// A `DataSourceExec` over an `IcebergSource`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct IcebergScan {
    /// The same scan with the Parquet source within, which DataFusion knows how to write.
    #[prost(message, optional, tag = "1")]
    pub(super) parquet: Option<PhysicalPlanNode>,
    #[prost(message, optional, tag = "2")]
    pub(super) rest: Option<Rest>,
    /// The order in which row groups are tried, in terms of the table's schema.
    #[prost(message, repeated, tag = "3")]
    pub(super) sort: Vec<PhysicalSortExprNode>,
    #[prost(message, repeated, tag = "4")]
    pub(super) deletes: Vec<DeletesAt>,
    #[prost(message, optional, tag = "5")]
    pub(super) pruned: Option<Pruned>,
    /// The properties of the storage, credentials included.
    #[prost(btree_map = "string, string", tag = "6")]
    pub(super) storage: BTreeMap<String, String>,
}

/// The deletes of one file of a scan.
#[derive(Clone, PartialEq, Message)]
pub(super) struct DeletesAt {
    /// The number of its group.
    #[prost(uint64, tag = "1")]
    pub(super) group: u64,
    /// Its number in the group.
    #[prost(uint64, tag = "2")]
    pub(super) file: u64,
    #[prost(message, required, tag = "3")]
    pub(super) deletes: FileDeletes,
}

/// A `DataSourceExec` over a `RowFileSource`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct RowFileScan {
    #[prost(message, optional, tag = "1")]
    pub(super) config: Option<FileScanExecConf>,
    #[prost(message, optional, tag = "2")]
    pub(super) rest: Option<Rest>,
    /// Format, options and origin of the schema, as JSON.
    #[prost(string, tag = "3")]
    pub(super) form: String,
}

/// What DataFusion's message of a file scan leaves out.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Rest {
    /// DataFusion's message cuts it to 32 bits.
    #[prost(uint64, optional, tag = "1")]
    pub(super) limit: Option<u64>,
    #[prost(bool, tag = "2")]
    pub(super) preserve_order: bool,
}

/// What the rows of a write are, see [`crate::write::Rows`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub(super) enum Rows {
    New = 0,
    Changes = 1,
    Rewritten = 2,
}

/// An `IcebergWriteExec`; its input is the plan node's.
#[derive(Clone, PartialEq, Message)]
pub(super) struct IcebergWrite {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(string, tag = "2")]
    pub(super) schema: String,
    #[prost(string, tag = "3")]
    pub(super) table: String,
    #[prost(string, optional, tag = "4")]
    pub(super) metadata_location: Option<String>,
    /// The table's metadata, as in its file.
    #[prost(string, tag = "5")]
    pub(super) metadata: String,
    #[prost(enumeration = "Rows", tag = "6")]
    pub(super) rows: i32,
    /// Whether rows lie in another order than the table's.
    #[prost(bool, tag = "7")]
    pub(super) arranged: bool,
    /// The properties of the table's storage, credentials included.
    #[prost(btree_map = "string, string", tag = "8")]
    pub(super) storage: BTreeMap<String, String>,
}
