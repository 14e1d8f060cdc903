//! Name mappings: which columns of a table the columns of files without field ids are (table spec, "Column Projection" and "Name Mapping Serialization").

use std::collections::{BTreeMap, BTreeSet};

use nunatak_core::{Code, Error, Result};

use crate::spec::{MappedField, NameMapping, NestedFieldRef, Schema, Type};

/// The table property that holds the mapping, as JSON.
pub const NAME_MAPPING: &str = "schema.name-mapping.default";

/// Names of columns in files that differ in capitals from those of the mapping, by field id.
pub type Spellings = BTreeMap<i32, BTreeSet<String>>;

/// The mapping in which each column has its name.
pub fn of_schema(schema: &Schema) -> Result<String> {
    text(extend(Vec::new(), schema.as_struct().fields()))
}

/// A mapping with the columns that a table has by now: a new one has its name, which no other one has any more, and one that is called differently has that name too.
///
/// Errors: `ICEBERG_INVALID_METADATA` for a text that is no mapping.
pub fn extended(mapping: &str, schema: &Schema) -> Result<String> {
    text(extend(parse(mapping)?.fields().to_vec(), schema.as_struct().fields()))
}

/// A mapping in which fields have further names, which no other one has any more.
///
/// Errors: `ICEBERG_INVALID_METADATA` for a text that is no mapping.
pub fn spelled(mapping: &str, spellings: &Spellings) -> Result<String> {
    text(with_spellings(parse(mapping)?.fields(), spellings))
}

/// A mapping from its text.
///
/// Errors: `ICEBERG_INVALID_METADATA` for a text that is none.
pub fn parse(mapping: &str) -> Result<NameMapping> {
    serde_json::from_str(mapping)
        .map_err(|error| Error::new(Code::IcebergInvalidMetadata, format!("table property '{NAME_MAPPING}' cannot be read: {error}")))
}

fn text(mapping: Vec<MappedField>) -> Result<String> {
    serde_json::to_string(&NameMapping::new(mapping)).map_err(|error| Error::internal("names of columns make no JSON").with_source(error))
}

fn extend<'a>(mut mapping: Vec<MappedField>, fields: impl IntoIterator<Item = &'a NestedFieldRef>) -> Vec<MappedField> {
    for field in fields {
        let known = mapping.iter().position(|mapped| mapped.field_id() == Some(field.id));
        let (mut names, inner) = known.map(|known| (mapping[known].names().to_vec(), inner(&mapping[known]))).unwrap_or_default();
        if !names.contains(&field.name) {
            for mapped in mapping.iter_mut().filter(|mapped| mapped.names().contains(&field.name)) {
                let others = mapped.names().iter().filter(|name| **name != field.name).cloned().collect();
                *mapped = MappedField::new(mapped.field_id(), others, self::inner(mapped));
            }
            names.push(field.name.clone());
        }
        let inner = match field.field_type.as_ref() {
            Type::Primitive(_) => inner,
            Type::Struct(fields) => extend(inner, fields.fields()),
            Type::List(list) => extend(inner, [&list.element_field]),
            Type::Map(map) => extend(inner, [&map.key_field, &map.value_field]),
        };
        let mapped = MappedField::new(Some(field.id), names, inner);
        match known {
            Some(known) => mapping[known] = mapped,
            None => mapping.push(mapped),
        }
    }
    mapping
}

fn with_spellings(fields: &[MappedField], spellings: &Spellings) -> Vec<MappedField> {
    let own = |field: &MappedField| field.field_id().and_then(|id| spellings.get(&id));
    let taken: BTreeSet<&String> = fields.iter().filter_map(own).flatten().collect();
    let named = |field: &MappedField| {
        let kept = field.names().iter().filter(|name| !taken.contains(name));
        let names = kept.chain(own(field).into_iter().flatten()).cloned().collect();
        MappedField::new(field.field_id(), names, with_spellings(&inner(field), spellings))
    };
    fields.iter().map(named).collect()
}

fn inner(mapped: &MappedField) -> Vec<MappedField> {
    mapped.fields().iter().map(|field| MappedField::clone(field)).collect()
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

    #[test]
    fn spellings_are_names_of_one_field() {
        let before = r#"[{"field-id":1,"names":["ID","was"]},{"field-id":2,"names":["id"],"fields":[{"field-id":3,"names":["x"]}]}]"#;
        let expected = r#"[{"field-id":1,"names":["was"]},{"field-id":2,"names":["id","ID","Id"],"fields":[{"field-id":3,"names":["x","X"]}]}]"#;
        let names = |names: &[&str]| names.iter().map(ToString::to_string).collect::<BTreeSet<_>>();
        let spellings = Spellings::from([(2, names(&["ID", "Id"])), (3, names(&["X"])), (4, names(&["y"]))]);
        assert_eq!(spelled(before, &spellings).unwrap(), expected);
        assert_eq!(spelled(expected, &spellings).unwrap(), expected);
    }
}
