//! The first metadata of a table: by what a client wants it to be, or by the updates that make it of nothing.

use std::collections::HashMap;

use nunatak_core::Code;
use serde_json::json;
use uuid::Uuid;

use super::Failure;
use super::messages::NewTable;
use crate::backend::update;
use crate::error::from_iceberg;
use crate::replaced_columns::check_partition_names;
use crate::spec::{FormatVersion, IcebergError, SortOrder, TableMetadata, TableMetadataBuilder, TableProperties, TableUpdate};
use crate::table::TableName;

/// Partition fields have ids from 1000 on.
const LAST_PARTITION_ID: i32 = 999;
/// The id of the order that is none.
const UNSORTED: i64 = 0;
/// Java's and ours: other writers take gzip where nothing is said.
const CODEC: (&str, &str) = ("write.parquet.compression-codec", "zstd");

/// The metadata of a new table, with all ids given out anew. `place` is where it lies if the client names no place.
pub(super) fn created(name: &TableName, request: NewTable, place: String) -> Result<TableMetadata, Failure> {
    let NewTable { location, schema, partition_spec, write_order, properties, .. } = request;
    let mut properties = properties.unwrap_or_default();
    let format_version = format_version(&mut properties)?;
    properties.entry(CODEC.0.to_owned()).or_insert_with(|| CODEC.1.to_owned());
    let spec = partition_spec.unwrap_or_default();
    let order = write_order.unwrap_or_else(SortOrder::unsorted_order);
    let location = location.unwrap_or(place);
    let builder = TableMetadataBuilder::new(schema, spec, order, location, format_version, properties);
    let built = builder.and_then(TableMetadataBuilder::build).map_err(|error| refused(name, error))?;
    check_partition_names(&built.metadata)?;
    Ok(built.metadata)
}

/// The version that a property names, which is no property of the table.
fn format_version(properties: &mut HashMap<String, String>) -> Result<FormatVersion, Failure> {
    match properties.remove(TableProperties::PROPERTY_FORMAT_VERSION).as_deref() {
        Some("1") => Ok(FormatVersion::V1),
        None | Some("2") => Ok(FormatVersion::V2),
        Some("3") => Ok(FormatVersion::V3),
        Some(other) => Err(Failure::bad_request(format!("format-version is '{other}', which is not 1, 2 or 3"))),
    }
}

/// The metadata that updates make of nothing: ids stay those that the client has given out, which are in files that are written already. `place` is where the table
/// lies if no update says so.
pub(super) fn of_updates(name: &TableName, updates: Vec<TableUpdate>, place: String) -> Result<TableMetadata, Failure> {
    let mut format_version = FormatVersion::V2;
    let (mut schema, mut spec, mut order) = (None, None, None);
    for update in &updates {
        match update {
            TableUpdate::UpgradeFormatVersion { format_version: wanted } => format_version = *wanted,
            // What is current comes last.
            TableUpdate::AddSchema { schema: added } => schema = Some(added.clone()),
            TableUpdate::AddSpec { spec: added } => spec = Some(added.clone()),
            TableUpdate::AddSortOrder { sort_order: added } => order = Some(added.clone()),
            _ => {}
        }
    }
    let schema = schema.ok_or_else(|| Failure::bad_request(format!("table '{name}' cannot be made: no update adds a schema")))?;
    let spec = spec.unwrap_or_default();
    let spec = spec.bind(schema.clone()).map_err(|error| refused(name, error))?;
    let order = match order {
        Some(order) if order.is_unsorted() => SortOrder::unsorted_order(),
        Some(order) if order.order_id == UNSORTED => order.with_order_id(UNSORTED + 1),
        Some(order) => order,
        None => SortOrder::unsorted_order(),
    };
    let last_partition_id = spec.fields().iter().map(|field| field.field_id).max().unwrap_or(LAST_PARTITION_ID);
    // Through JSON: the crate's builder begins with ids of its own.
    let json = json!({
        "format-version": format_version as u8,
        "table-uuid": Uuid::now_v7().to_string(),
        "location": place,
        "last-sequence-number": 0,
        // Any snapshot is later.
        "last-updated-ms": 0,
        "last-column-id": schema.highest_field_id(),
        "current-schema-id": schema.schema_id(),
        "schemas": [schema],
        "default-spec-id": spec.spec_id(),
        "last-partition-id": last_partition_id,
        "partition-specs": [spec],
        "default-sort-order-id": order.order_id,
        "sort-orders": [order],
        "next-row-id": 0,
    });
    let nothing: TableMetadata =
        serde_json::from_value(json).map_err(|error| Failure::bad_request(format!("table '{name}' cannot be made: {error}")))?;
    Ok(update::apply(name, nothing, None, updates)?.metadata)
}

fn refused(name: &TableName, error: IcebergError) -> Failure {
    from_iceberg(error, Code::IcebergCommitError, format!("table '{name}' cannot be made")).into()
}
