//! A commit as the server is asked for it: what it requires, and its updates with all ids given out, since servers and we would not count on alike.

use std::collections::BTreeMap;

use nunatak_core::{Error, Result};
use serde_json::Value;

use super::messages::without_nulls;
use crate::snapshot::refs;
use crate::spec::{MAIN_BRANCH, SortOrder, TableMetadata, TableMetadataBuildResult, TableRequirement, TableUpdate};

/// In an update: what an update before it has added.
pub(super) const LAST_ADDED: i32 = -1;

/// What a change requires of the table, besides what it says itself: other back ends swap a pointer, so that nothing at all has changed since; a server looks only
/// at what it is asked for. Properties, and branches that the change has nothing to do with, may have changed.
///
/// Errors: those of reading branches and tags.
pub(super) fn requirements(given: Vec<TableRequirement>, base: &TableMetadata, updates: &[TableUpdate]) -> Result<Vec<TableRequirement>> {
    let mut all = given;
    let mut require = |requirement: TableRequirement| {
        if !all.contains(&requirement) {
            all.push(requirement);
        }
    };
    require(TableRequirement::UuidMatch { uuid: base.uuid() });
    require(TableRequirement::LastAssignedFieldIdMatch { last_assigned_field_id: base.last_column_id() });
    require(TableRequirement::CurrentSchemaIdMatch { current_schema_id: base.current_schema_id() });
    require(TableRequirement::LastAssignedPartitionIdMatch { last_assigned_partition_id: base.last_partition_id() });
    require(TableRequirement::DefaultSpecIdMatch { default_spec_id: base.default_partition_spec_id() });
    require(TableRequirement::DefaultSortOrderIdMatch { default_sort_order_id: base.default_sort_order_id() });
    require(TableRequirement::RefSnapshotIdMatch { r#ref: MAIN_BRANCH.to_owned(), snapshot_id: base.current_snapshot_id() });
    if updates.iter().any(|update| matches!(update, TableUpdate::RemoveSnapshots { .. })) {
        // Another writer may have put a branch where something is removed.
        for (name, reference) in refs(base)?.into_iter().filter(|(name, _)| name != MAIN_BRANCH) {
            require(TableRequirement::RefSnapshotIdMatch { r#ref: name, snapshot_id: Some(reference.snapshot_id) });
        }
    }
    Ok(all)
}

/// The updates that led to metadata.
pub(super) fn updates(built: TableMetadataBuildResult) -> Result<Vec<Value>> {
    let TableMetadataBuildResult { metadata, changes, .. } = built;
    changes.into_iter().map(|update| json(&whole(update, &metadata), &metadata)).collect()
}

/// Partition fields that are new have no ids in the update, where Java would give out some that are taken.
fn whole(update: TableUpdate, metadata: &TableMetadata) -> TableUpdate {
    match update {
        TableUpdate::AddSpec { spec } => {
            let known = spec.spec_id().and_then(|id| metadata.partition_spec_by_id(id));
            TableUpdate::AddSpec { spec: known.map_or(spec, |known| known.as_ref().clone().into_unbound()) }
        }
        other => other,
    }
}

/// The updates that make a table of nothing.
pub(super) fn creation(metadata: &TableMetadata) -> Result<Vec<Value>> {
    let mut updates = vec![
        TableUpdate::AssignUuid { uuid: metadata.uuid() },
        TableUpdate::UpgradeFormatVersion { format_version: metadata.format_version() },
        TableUpdate::SetLocation { location: metadata.location().to_owned() },
    ];
    // What is current comes last: servers give out ids of their own.
    let current = metadata.current_schema_id();
    let schemas: BTreeMap<_, _> = metadata.schemas_iter().map(|schema| ((schema.schema_id() == current, schema.schema_id()), schema)).collect();
    updates.extend(schemas.into_values().map(|schema| TableUpdate::AddSchema { schema: schema.as_ref().clone() }));
    updates.push(TableUpdate::SetCurrentSchema { schema_id: LAST_ADDED });
    let current = metadata.default_partition_spec_id();
    let specs: BTreeMap<_, _> = metadata.partition_specs_iter().map(|spec| ((spec.spec_id() == current, spec.spec_id()), spec)).collect();
    updates.extend(specs.into_values().map(|spec| TableUpdate::AddSpec { spec: spec.as_ref().clone().into_unbound() }));
    updates.push(TableUpdate::SetDefaultSpec { spec_id: LAST_ADDED });
    let current = metadata.default_sort_order_id();
    let orders: BTreeMap<_, &SortOrder> =
        metadata.sort_orders_iter().map(|order| ((order.order_id == current, order.order_id), order.as_ref())).collect();
    updates.extend(orders.into_values().map(|order| TableUpdate::AddSortOrder { sort_order: order.clone() }));
    updates.push(TableUpdate::SetDefaultSortOrder { sort_order_id: i64::from(LAST_ADDED) });
    if !metadata.properties().is_empty() {
        updates.push(TableUpdate::SetProperties { updates: metadata.properties().clone() });
    }
    let mut snapshots: Vec<_> = metadata.snapshots().collect();
    snapshots.sort_by_key(|snapshot| (snapshot.sequence_number(), snapshot.timestamp_ms()));
    updates.extend(snapshots.into_iter().map(|snapshot| TableUpdate::AddSnapshot { snapshot: snapshot.as_ref().clone() }));
    updates.extend(refs(metadata)?.into_iter().map(|(ref_name, reference)| TableUpdate::SetSnapshotRef { ref_name, reference }));
    updates.extend(metadata.statistics_iter().map(|statistics| TableUpdate::SetStatistics { statistics: statistics.clone() }));
    updates.iter().map(|update| json(update, metadata)).collect()
}

/// An update that leads to metadata, as the protocol has it.
fn json(update: &TableUpdate, metadata: &TableMetadata) -> Result<Value> {
    let mut json = serde_json::to_value(update).map_err(|error| Error::internal("an update of a table cannot be written").with_source(error))?;
    if matches!(update, TableUpdate::AddSchema { .. }) {
        // Deprecated, and wanted by Nessie (0.99) and by older servers. Java's clients send it too.
        json["last-column-id"] = metadata.last_column_id().into();
    }
    Ok(without_nulls(json))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::backend::update;
    use crate::spec::{
        FormatVersion, NestedField, NestedFieldRef, PrimitiveType, Schema, TableMetadataBuilder, Transform, Type, UnboundPartitionField,
        UnboundPartitionSpec,
    };
    use crate::table::TableName;

    fn spec(columns: &[(i32, &str)]) -> UnboundPartitionSpec {
        let fields = columns.iter().map(|(source_id, name)| UnboundPartitionField {
            source_id: *source_id,
            field_id: None,
            name: (*name).to_owned(),
            transform: Transform::Identity,
        });
        UnboundPartitionSpec::builder().add_partition_fields(fields).unwrap().build()
    }

    fn metadata() -> TableMetadata {
        let column = |id: i32, name: &str| NestedFieldRef::from(NestedField::optional(id, name, Type::Primitive(PrimitiveType::Long)));
        let schema = Schema::builder().with_fields([column(1, "a"), column(2, "b")]).build().unwrap();
        let (order, properties) = (SortOrder::unsorted_order(), HashMap::from([("k".to_owned(), "v".to_owned())]));
        let builder = TableMetadataBuilder::new(schema, spec(&[(1, "a")]), order, "/w/t".to_owned(), FormatVersion::V2, properties);
        builder.unwrap().build().unwrap().metadata
    }

    #[test]
    fn a_table_is_made_of_updates_in_order() {
        let updates = creation(&metadata()).unwrap();
        let actions: Vec<&str> = updates.iter().map(|update| update["action"].as_str().unwrap()).collect();
        let expected = [
            "assign-uuid",
            "upgrade-format-version",
            "set-location",
            "add-schema",
            "set-current-schema",
            "add-spec",
            "set-default-spec",
            "add-sort-order",
            "set-default-sort-order",
            "set-properties",
        ];
        assert_eq!(actions, expected);
        assert_eq!(updates[3]["last-column-id"], 2);
        assert_eq!(updates[5]["spec"]["fields"][0]["field-id"], 1000);
        assert_eq!((&updates[4]["schema-id"], &updates[9]["updates"]["k"]), (&Value::from(-1), &Value::from("v")));
    }

    #[test]
    fn commits_name_all_ids_and_what_must_hold() {
        let base = metadata();
        let changes = vec![TableUpdate::AddSpec { spec: spec(&[(1, "a"), (2, "b")]) }, TableUpdate::SetDefaultSpec { spec_id: LAST_ADDED }];
        let given = vec![TableRequirement::UuidMatch { uuid: base.uuid() }];
        let required = requirements(given, &base, &changes).unwrap();
        assert_eq!(required.len(), 7);
        let json = serde_json::to_value(&required[6]).unwrap();
        assert_eq!(json, serde_json::json!({ "type": "assert-ref-snapshot-id", "ref": "main", "snapshot-id": null }));
        let updates = updates(update::apply(&TableName::new("s", "t"), base, Some("/w/t/m"), changes).unwrap()).unwrap();
        let ids: Vec<_> = updates[0]["spec"]["fields"].as_array().unwrap().iter().map(|field| field["field-id"].as_i64()).collect();
        assert_eq!((ids, &updates[0]["spec"]["spec-id"]), (vec![Some(1000), Some(1001)], &Value::from(1)));
    }
}
