//! Partition fields that were dropped from a table of version 1. They stay, as fields that are always NULL (transform `void`), and keep their names. Java lets one
//! have the name of its column; the iceberg crate allows that to no field but the column's own value, and would refuse every change of the table. So such a field
//! gets the name that Java gives it as well, when the table is partitioned by the column once more: `<name>_<field id>`. Readers go by the field's id.

use crate::spec::{PartitionField, TableMetadata, Transform};

/// The metadata with other names for such fields. Branches and tags of version 1 are lost on the way.
pub(crate) fn renamed(metadata: TableMetadata) -> serde_json::Result<TableMetadata> {
    let is_concerned = metadata.partition_specs_iter().flat_map(|spec| spec.fields()).any(|field| has_name_of_column(&metadata, field));
    if !is_concerned {
        return Ok(metadata);
    }
    // The crate lets nobody change a spec.
    let mut json = serde_json::to_value(&metadata)?;
    for spec in json["partition-specs"].as_array_mut().into_iter().flatten() {
        for field in spec["fields"].as_array_mut().into_iter().flatten() {
            let mut parsed: PartitionField = serde_json::from_value(field.clone())?;
            if has_name_of_column(&metadata, &parsed) {
                parsed.name = format!("{}_{}", parsed.name, parsed.field_id);
                *field = serde_json::to_value(parsed)?;
            }
        }
    }
    serde_json::from_value(json)
}

/// Whether a field that is always NULL is called as its column is, or ever was: the column can get that name again.
fn has_name_of_column(metadata: &TableMetadata, field: &PartitionField) -> bool {
    let name = Some(field.name.as_str());
    field.transform == Transform::Void && metadata.schemas_iter().any(|schema| schema.name_by_field_id(field.source_id) == name)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::Arc;

    use super::*;
    use crate::spec::{FormatVersion, NestedField, PrimitiveType, Schema, SortOrder, TableMetadataBuilder, Type, UnboundPartitionSpec};

    #[test]
    fn only_what_is_in_the_way_is_renamed() {
        let field = |id, name: &str| Arc::new(NestedField::optional(id, name, Type::Primitive(PrimitiveType::Int)));
        let schema = Schema::builder().with_fields([field(1, "k"), field(2, "n")]).build().unwrap();
        let spec = UnboundPartitionSpec::builder().add_partition_field(1, "k", Transform::Identity).unwrap();
        let spec = spec.add_partition_field(2, "n_bucket", Transform::Bucket(4)).unwrap().build();
        let (order, version) = (SortOrder::unsorted_order(), FormatVersion::V1);
        let made = TableMetadataBuilder::new(schema, spec, order, "file:///t".to_owned(), version, HashMap::new()).unwrap().build().unwrap().metadata;
        assert_eq!(renamed(made.clone()).unwrap(), made);

        let mut json = serde_json::to_value(&made).unwrap();
        for field in json["partition-specs"][0]["fields"].as_array_mut().unwrap() {
            field["transform"] = "void".into();
        }
        let dropped: TableMetadata = serde_json::from_value(json).unwrap();
        dropped.clone().into_builder(None).build().unwrap_err();
        let renamed = renamed(dropped).unwrap().into_builder(None).build().unwrap().metadata;
        let names: Vec<&str> = renamed.default_partition_spec().fields().iter().map(|field| field.name.as_str()).collect();
        assert_eq!(names, ["k_1000", "n_bucket"]);
    }
}
