//! Name mappings: which columns of a table the columns of files without field ids are (table spec, "Column Projection" and "Name Mapping Serialization").

use nunatak_core::{Code, Error, Result};
use serde::{Deserialize, Serialize};

use crate::spec::{NestedFieldRef, Schema, Type};

/// The table property that holds the mapping, as JSON.
pub const NAME_MAPPING: &str = "schema.name-mapping.default";

#[derive(Clone, Debug, Deserialize, Serialize)]
struct Mapped {
    #[serde(rename = "field-id", skip_serializing_if = "Option::is_none")]
    id: Option<i32>,
    names: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    fields: Vec<Mapped>,
}

/// The mapping in which each column has its name.
pub fn of_schema(schema: &Schema) -> Result<String> {
    let mut mapping = Vec::new();
    extend(&mut mapping, schema.as_struct().fields());
    text(&mapping)
}

/// A mapping with the columns that a table has by now: a new one has its name, which no other one has any more, and one that is called differently has that name too.
///
/// Errors: `ICEBERG_INVALID_METADATA` for a text that is no mapping.
pub fn extended(mapping: &str, schema: &Schema) -> Result<String> {
    let mut mapping: Vec<Mapped> = serde_json::from_str(mapping).map_err(|error| {
        Error::new(Code::IcebergInvalidMetadata, format!("table property '{NAME_MAPPING}' cannot be read: {error}")).with_source(error)
    })?;
    extend(&mut mapping, schema.as_struct().fields());
    text(&mapping)
}

fn text(mapping: &[Mapped]) -> Result<String> {
    serde_json::to_string(mapping).map_err(|error| Error::internal("names of columns make no JSON").with_source(error))
}

fn extend<'a>(mapping: &mut Vec<Mapped>, fields: impl IntoIterator<Item = &'a NestedFieldRef>) {
    for field in fields {
        let known = mapping.iter().position(|mapped| mapped.id == Some(field.id));
        let is_named = |mapped: &Mapped| mapped.names.contains(&field.name);
        if known.is_none_or(|known| !is_named(&mapping[known])) {
            mapping.iter_mut().for_each(|mapped| mapped.names.retain(|name| *name != field.name));
        }
        let position = known.unwrap_or_else(|| {
            mapping.push(Mapped { id: Some(field.id), names: Vec::new(), fields: Vec::new() });
            mapping.len() - 1
        });
        let mapped = &mut mapping[position];
        if !is_named(mapped) {
            mapped.names.push(field.name.clone());
        }
        match field.field_type.as_ref() {
            Type::Primitive(_) => {}
            Type::Struct(inner) => extend(&mut mapped.fields, inner.fields()),
            Type::List(list) => extend(&mut mapped.fields, [&list.element_field]),
            Type::Map(map) => extend(&mut mapped.fields, [&map.key_field, &map.value_field]),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::spec::{ListType, NestedField, PrimitiveType, StructType};

    fn int(id: i32, name: &str) -> NestedField {
        NestedField::optional(id, name, Type::Primitive(PrimitiveType::Int))
    }

    fn schema(fields: Vec<NestedField>) -> Schema {
        Schema::builder().with_fields(fields.into_iter().map(Arc::new)).build().unwrap()
    }

    #[test]
    fn every_field_has_its_name() {
        let element = Arc::new(NestedField::list_element(3, Type::Struct(StructType::new(vec![Arc::new(int(4, "x"))])), false));
        let list = NestedField::optional(2, "l", Type::List(ListType { element_field: element }));
        let expected = r#"[{"field-id":1,"names":["a"]},{"field-id":2,"names":["l"],"fields":[{"field-id":3,"names":["element"],"fields":[{"field-id":4,"names":["x"]}]}]}]"#;
        assert_eq!(of_schema(&schema(vec![int(1, "a"), list])).unwrap(), expected);
    }

    #[test]
    fn new_names_are_added_and_taken_from_others() {
        let before = r#"[{"field-id":1,"names":["a","old"]},{"field-id":2,"names":["b"]},{"names":["nothing"]}]"#;
        let expected = r#"[{"field-id":1,"names":["old","c"]},{"field-id":2,"names":["b"]},{"names":["nothing"]},{"field-id":3,"names":["a"]}]"#;
        assert_eq!(extended(before, &schema(vec![int(1, "c"), int(3, "a")])).unwrap(), expected);
        assert_eq!(extended("{}", &schema(vec![])).unwrap_err().code(), Code::IcebergInvalidMetadata);
    }
}
