//! The columns of a table that is replaced. A column with the name and the type of one that was there is the same column, with its id, as in Java: then branches and
//! snapshots from before show it still. The others get ids that the table has never had.

use std::collections::HashSet;
use std::sync::Arc;

use nunatak_core::{Code, Error, Result};

use crate::evolution::{promoted, with_fresh_ids};
use crate::spec::{ListType, MapType, NestedField, NestedFieldRef, Schema, StructType, TableMetadata, Transform, Type};

/// `schema`, whose ids are placeholders, with ids for a table with that metadata.
///
/// Errors: `NOT_SUPPORTED` for a column with the name of a partition field that is made from another one: Java could not read the table.
pub fn replacing_schema(metadata: &TableMetadata, schema: &Schema) -> Result<Schema> {
    let mut ids = Ids { last: metadata.last_column_id(), taken: HashSet::new() };
    let old = metadata.current_schema().as_struct().fields();
    let fields = schema.as_struct().fields();
    // These have no choice, so they come first.
    let partitioned: Vec<Option<i32>> = fields.iter().map(|field| partitioned_by(metadata, &field.name)).collect();
    ids.taken.extend(partitioned.iter().flatten());
    let fields = fields.iter().zip(&partitioned).map(|(field, partitioned)| match partitioned {
        Some(id) => ids.keep(field, *id, old.iter().find(|old| old.id == *id && can_become(old, field)).map(AsRef::as_ref)),
        None => ids.for_field(field, old),
    });
    let fields: Vec<NestedFieldRef> = fields.collect();
    let built = Schema::builder().with_fields(fields).build();
    built.map_err(|error| Error::internal("columns with new ids make no schema").with_source(error))
}

/// The column from which partition fields with the name of a column are made, unchanged.
fn partitioned_by(metadata: &TableMetadata, name: &str) -> Option<i32> {
    let mut fields = metadata.partition_specs_iter().flat_map(|spec| spec.fields());
    fields.find(|field| field.name == name && field.transform == Transform::Identity).map(|field| field.source_id)
}

/// Whether the values of a field that was there are values of one that is to be.
fn can_become(old: &NestedField, new: &NestedField) -> bool {
    let same_kind = match (old.field_type.as_ref(), new.field_type.as_ref()) {
        (Type::Struct(_), Type::Struct(_)) | (Type::List(_), Type::List(_)) | (Type::Map(_), Type::Map(_)) => true,
        (_, to) => promoted(old, to).is_ok(),
    };
    same_kind && (old.required || !new.required)
}

struct Ids {
    last: i32,
    taken: HashSet<i32>,
}

impl Ids {
    fn for_field(&mut self, field: &NestedFieldRef, old: &[NestedFieldRef]) -> NestedFieldRef {
        match old.iter().find(|old| old.name == field.name && can_become(old, field) && !self.taken.contains(&old.id)) {
            Some(old) => self.keep(field, old.id, Some(old)),
            None => self.fresh(field),
        }
    }

    fn fresh(&mut self, field: &NestedFieldRef) -> NestedFieldRef {
        self.last += 1;
        let id = self.last;
        Arc::new(NestedField { id, field_type: Box::new(with_fresh_ids(&field.field_type, &mut self.last)), ..NestedField::clone(field) })
    }

    /// The field with that id, and in it the ids of what was there.
    fn keep(&mut self, field: &NestedFieldRef, id: i32, old: Option<&NestedField>) -> NestedFieldRef {
        self.taken.insert(id);
        let field_type = match (field.field_type.as_ref(), old.map(|old| old.field_type.as_ref())) {
            (Type::Struct(new), Some(Type::Struct(old))) => {
                Type::Struct(StructType::new(new.fields().iter().map(|field| self.for_field(field, old.fields())).collect()))
            }
            (Type::List(new), Some(Type::List(old))) => {
                Type::List(ListType { element_field: self.for_field(&new.element_field, std::slice::from_ref(&old.element_field)) })
            }
            (Type::Map(new), Some(Type::Map(old))) => Type::Map(MapType {
                key_field: self.for_field(&new.key_field, std::slice::from_ref(&old.key_field)),
                value_field: self.for_field(&new.value_field, std::slice::from_ref(&old.value_field)),
            }),
            (new, _) => with_fresh_ids(new, &mut self.last),
        };
        let initial_default = old.and_then(|old| old.initial_default.clone());
        Arc::new(NestedField { id, field_type: Box::new(field_type), initial_default, ..NestedField::clone(field) })
    }
}

/// That no column has the name of a partition field that is made from another column: Java cannot read such a table, whichever of its specs it is.
///
/// Errors: `NOT_SUPPORTED`.
pub fn check_partition_names(metadata: &TableMetadata) -> Result<()> {
    let schema = metadata.current_schema();
    for partition in metadata.partition_specs_iter().flat_map(|spec| spec.fields()) {
        if schema.field_by_name(&partition.name).is_some_and(|field| field.id != partition.source_id) {
            let name = &partition.name;
            return Err(Error::new(Code::NotSupported, format!("no column can be called '{name}': the table has a partition field of that name"))
                .with_hint("partition fields keep the names that their columns had; take another name"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::spec::{FormatVersion, PrimitiveType, SortOrder, TableMetadataBuilder, UnboundPartitionField, UnboundPartitionSpec};

    fn schema(fields: Vec<NestedField>) -> Schema {
        Schema::builder().with_fields(fields.into_iter().map(Arc::new)).build().unwrap()
    }

    fn optional(id: i32, name: &str, primitive: PrimitiveType) -> NestedField {
        NestedField::optional(id, name, Type::Primitive(primitive))
    }

    /// A table of `a int, b row(x int)`, partitioned by `a`, which may be called `was_a` by now.
    fn metadata(renamed: bool) -> TableMetadata {
        let row = Type::Struct(StructType::new(vec![Arc::new(optional(3, "x", PrimitiveType::Int))]));
        let fields = |name: &str| schema(vec![optional(1, name, PrimitiveType::Int), NestedField::optional(2, "b", row.clone())]);
        let partition = UnboundPartitionField { source_id: 1, field_id: None, name: "a".to_owned(), transform: Transform::Identity };
        let spec = UnboundPartitionSpec::builder().add_partition_fields([partition]).unwrap().build();
        let (order, version) = (SortOrder::unsorted_order(), FormatVersion::V2);
        let builder = TableMetadataBuilder::new(fields("a"), spec, order, "file:///t".to_owned(), version, HashMap::new()).unwrap();
        let made = builder.build().unwrap().metadata;
        if !renamed {
            return made;
        }
        let builder = made.into_builder(None).add_current_schema(fields("was_a")).unwrap();
        builder.add_default_partition_spec(UnboundPartitionSpec::builder().build()).unwrap().build().unwrap().metadata
    }

    fn ids(schema: &Schema) -> Vec<(String, i32)> {
        schema.as_struct().fields().iter().map(|field| (field.name.clone(), field.id)).collect()
    }

    #[test]
    fn columns_of_the_same_name_and_type_are_the_same() {
        let row =
            Type::Struct(StructType::new(vec![Arc::new(optional(9, "y", PrimitiveType::Int)), Arc::new(optional(8, "x", PrimitiveType::Long))]));
        let new = schema(vec![NestedField::optional(1, "b", row), optional(2, "c", PrimitiveType::Int), optional(3, "a", PrimitiveType::Long)]);
        let replaced = replacing_schema(&metadata(false), &new).unwrap();
        assert_eq!(ids(&replaced), [("b".to_owned(), 2), ("c".to_owned(), 5), ("a".to_owned(), 1)]);
        assert_eq!(replaced.field_id_by_name("b.x"), Some(3));
        assert_eq!(replaced.field_id_by_name("b.y"), Some(4));
    }

    #[test]
    fn another_type_is_another_column_unless_the_table_was_partitioned_by_it() {
        let new = schema(vec![optional(1, "a", PrimitiveType::String), optional(2, "b", PrimitiveType::Int)]);
        assert_eq!(ids(&replacing_schema(&metadata(false), &new).unwrap()), [("a".to_owned(), 1), ("b".to_owned(), 4)]);
    }

    #[test]
    fn a_name_that_a_partition_field_has_kept_goes_to_its_column() {
        let new = schema(vec![optional(1, "was_a", PrimitiveType::Int), optional(2, "a", PrimitiveType::Int)]);
        let replaced = replacing_schema(&metadata(true), &new).unwrap();
        assert_eq!(ids(&replaced), [("was_a".to_owned(), 4), ("a".to_owned(), 1)]);
        let builder = metadata(true).into_builder(None).add_current_schema(new);
        let error = check_partition_names(&builder.unwrap().build().unwrap().metadata).unwrap_err();
        assert_eq!(error.message(), "no column can be called 'a': the table has a partition field of that name");
    }
}
