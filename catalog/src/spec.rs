//! The types of the Iceberg table spec, as the `iceberg` crate defines them. This is the only door through which they enter nunatak, so that
//! they can be replaced one by one.

pub use iceberg::spec::{
    ByteBuf, FieldSummary, MAIN_BRANCH, MappedField, MetadataLog, NameMapping, SnapshotLog, SnapshotReference, SnapshotRetention, SortOrderRef,
    StatisticsFile, Summary, TableMetadataBuildResult, TableProperties, deserialize_data_file_from_json, serialize_data_file_to_json,
};
pub use iceberg::spec::{
    DataContentType, DataFile, DataFileBuilder, DataFileFormat, Datum, FormatVersion, ListType, Literal, ManifestContentType, ManifestFile,
    ManifestStatus, MapType, NestedField, NestedFieldRef, NullOrder, Operation, PartitionField, PartitionSpec, PartitionSpecRef, PrimitiveLiteral,
    PrimitiveType, Schema, SchemaRef, Snapshot, SnapshotRef, SortDirection, SortField, SortOrder, Struct, StructType, TableMetadata,
    TableMetadataBuilder, Transform, Type, UnboundPartitionField, UnboundPartitionSpec, ViewFormatVersion, ViewMetadata, ViewMetadataBuilder,
    ViewVersion,
};
pub use iceberg::{Error as IcebergError, TableRequirement, TableUpdate, ViewUpdate};
