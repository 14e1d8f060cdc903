//! UUIDs that tables are partitioned by. In manifests such a value is sixteen bytes with the logical type `uuid` (table spec, "Avro"); the iceberg crate and its Avro library
//! take it for a text, can read none that others have written and write none. So the crate is told that the column has bytes of a fixed length, and headers are put right.
//!
//! In memory these values are bytes everywhere, those of new files too: `Literal::fixed`.

use std::sync::Arc;

use nunatak_core::{Code, Result};
use serde_json::Value;

use crate::error::from_iceberg;
use crate::spec::{NestedField, NestedFieldRef, PartitionSpec, PrimitiveType, Schema, TableMetadata, Transform, Type};

/// Keys of a field that has defaults, which bytes would not have.
const DEFAULTS: [&str; 2] = ["initial-default", "write-default"];
const AS_BYTES: &str = "fixed[16]";
const UUID: &str = "uuid";
/// What Java calls the type in Avro.
const AVRO_NAME: &str = "uuid_fixed";

/// The columns of UUIDs by whose values a spec divides, and its fields for them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct UuidFields {
    columns: Vec<i32>,
    fields: Vec<i32>,
}

impl UuidFields {
    /// Those of a table's partition spec.
    pub(crate) fn of(metadata: &TableMetadata, spec: &PartitionSpec) -> Self {
        let is_uuid = |id: i32| metadata.schemas_iter().filter_map(|schema| schema.field_by_id(id)).any(|field| is_one(field));
        let fields = spec.fields().iter().filter(|field| field.transform == Transform::Identity && is_uuid(field.source_id));
        let (columns, fields) = fields.map(|field| (field.source_id, field.field_id)).unzip();
        Self { columns, fields }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.columns.is_empty()
    }

    /// The schema for the crate to write a manifest with.
    ///
    /// Errors: `ICEBERG_COMMIT_ERROR`.
    pub(crate) fn schema_to_write(&self, schema: &Arc<Schema>) -> Result<Arc<Schema>> {
        if self.is_empty() {
            return Ok(Arc::clone(schema));
        }
        let bytes = |field: &NestedFieldRef| match self.columns.contains(&field.id) {
            true => Arc::new(NestedField {
                field_type: Box::new(Type::Primitive(PrimitiveType::Fixed(16))),
                initial_default: None,
                write_default: None,
                ..NestedField::clone(field)
            }),
            false => Arc::clone(field),
        };
        let fields = schema.as_struct().fields().iter().map(bytes);
        let builder = Schema::builder().with_schema_id(schema.schema_id()).with_fields(fields);
        let built = builder.with_identifier_field_ids(schema.identifier_field_ids()).build();
        built.map(Arc::new).map_err(|error| from_iceberg(error, Code::IcebergCommitError, "a table partitioned by UUIDs has no schema".to_owned()))
    }

    /// Puts the columns in the header of a manifest that was written so right, and the fields of its partitions: what they are is said to others.
    pub(crate) fn restore(&self, columns: &mut Value, partition: &mut Value) {
        for column in items(columns.get_mut("fields")) {
            if column["type"] == AS_BYTES && has_id(column, "id", &self.columns) {
                column["type"] = Value::from(UUID);
            }
        }
        for field in items(Some(partition)).filter(|field| has_id(field, "field-id", &self.fields)) {
            for fixed in avro_types(field) {
                fixed["name"] = Value::from(AVRO_NAME);
                fixed["logicalType"] = Value::from(UUID);
            }
        }
    }
}

fn is_one(field: &NestedField) -> bool {
    *field.field_type == Type::Primitive(PrimitiveType::Uuid)
}

/// Makes bytes of the columns of UUIDs, in the schema of a manifest, by whose values its spec divides. Whether there are some.
pub(crate) fn as_bytes(columns: &mut Value, spec: &Value) -> bool {
    let identities = spec.as_array().into_iter().flatten().filter(|field| field["transform"] == "identity");
    let sources: Vec<i64> = identities.filter_map(|field| field["source-id"].as_i64()).collect();
    let mut found = false;
    for column in items(columns.get_mut("fields")) {
        if column["type"] == UUID && column["id"].as_i64().is_some_and(|id| sources.contains(&id)) {
            column["type"] = Value::from(AS_BYTES);
            if let Some(column) = column.as_object_mut() {
                DEFAULTS.iter().for_each(|key| drop(column.remove(*key)));
            }
            found = true;
        }
    }
    found
}

/// The fields of a manifest's partitions as bytes of a fixed length, which they are.
pub(crate) fn without_logical_types(partition: &mut Value) {
    for field in items(Some(partition)) {
        for fixed in avro_types(field).filter(|fixed| fixed["logicalType"] == UUID) {
            if let Some(fixed) = fixed.as_object_mut() {
                fixed.remove("logicalType");
            }
        }
    }
}

fn items(array: Option<&mut Value>) -> impl Iterator<Item = &mut Value> {
    array.and_then(Value::as_array_mut).into_iter().flatten()
}

fn has_id(field: &Value, key: &str, ids: &[i32]) -> bool {
    field[key].as_i64().is_some_and(|id| ids.iter().any(|wanted| i64::from(*wanted) == id))
}

/// The types of fixed length that a field of an Avro record has, alone or beside `null`.
fn avro_types(field: &mut Value) -> impl Iterator<Item = &mut Value> {
    let types = match field.get_mut("type") {
        Some(Value::Array(types)) => types.iter_mut().collect(),
        Some(one) => vec![one],
        None => Vec::new(),
    };
    types.into_iter().filter(|one| one["type"] == "fixed")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn headers_are_changed_and_put_right() {
        let spec = json!([{"name": "u", "transform": "identity", "source-id": 1, "field-id": 1000}]);
        let columns = json!({"fields": [{"id": 1, "name": "u", "type": "uuid", "write-default": "x"}, {"id": 2, "name": "v", "type": "uuid"}]});
        let partition =
            json!([{"name": "u", "field-id": 1000, "type": ["null", {"type": "fixed", "name": "uuid_fixed", "size": 16, "logicalType": "uuid"}]}]);
        let (mut read, mut fields) = (columns.clone(), partition.clone());
        assert!(as_bytes(&mut read, &spec));
        without_logical_types(&mut fields);
        assert_eq!(read["fields"], json!([{"id": 1, "name": "u", "type": "fixed[16]"}, {"id": 2, "name": "v", "type": "uuid"}]));
        assert_eq!(fields[0]["type"][1], json!({"type": "fixed", "name": "uuid_fixed", "size": 16}));
        UuidFields { columns: vec![1], fields: vec![1000] }.restore(&mut read, &mut fields);
        assert_eq!((&read["fields"][0]["type"], fields), (&json!("uuid"), partition));
        assert!(!as_bytes(&mut read, &json!([{"transform": "bucket[4]", "source-id": 1}])));
    }
}
