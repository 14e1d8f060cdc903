//! Field ids for data files that have none, such as those that were added to a table as they were: found by the names that the table's property
//! `schema.name-mapping.default` gives to its fields.
//!
//! Iceberg table spec, sections "Column Projection" and "Name Mapping Serialization". A schema carries the names in the metadata of its fields, so that they reach
//! whoever reads the files.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef};
use nunatak_catalog::name_mapping::{self, Spellings};
use nunatak_catalog::spec::MappedField;
use nunatak_core::Result;
use parquet::errors::Result as ParquetResult;
use parquet::schema::types::{SchemaDescriptor, Type, TypePtr};

use super::types::field_id;

/// The key under which a field's metadata holds, as a JSON list, its names in files without field ids.
const NAMES: &str = "nunatak.names";

/// The schema with the names that a mapping, as the table property has it, gives to its fields.
///
/// Errors: `ICEBERG_INVALID_METADATA` if the mapping cannot be read.
pub fn with_names(schema: &Schema, mapping: &str) -> Result<SchemaRef> {
    let mapping = name_mapping::parse(mapping)?;
    let mut names = HashMap::new();
    mapping.fields().iter().for_each(|field| collect(field, &mut names));
    let fields: Fields = schema.fields().iter().map(|field| named(field, &names)).collect();
    Ok(Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone())))
}

/// Names as JSON, by field id. Ids are unique in all of a table.
fn collect(field: &MappedField, names: &mut HashMap<i32, String>) {
    if let Some(id) = field.field_id() {
        names.insert(id, serde_json::Value::from(field.names()).to_string());
    }
    field.fields().iter().for_each(|field| collect(field, names));
}

fn named(field: &FieldRef, names: &HashMap<i32, String>) -> FieldRef {
    let children = |fields: &Fields| fields.iter().map(|field| named(field, names)).collect::<Fields>();
    let data_type = match field.data_type() {
        DataType::Struct(fields) => DataType::Struct(children(fields)),
        DataType::List(element) => DataType::List(named(element, names)),
        DataType::Map(entries, sorted) => DataType::Map(named(entries, names), *sorted),
        other => other.clone(),
    };
    let mut field = Field::clone(field).with_data_type(data_type);
    if let Some(own) = field_id(&field).and_then(|id| names.get(&id)) {
        field.metadata_mut().insert(NAMES.to_owned(), own.clone());
    }
    Arc::new(field)
}

/// Whether the fields of a table's schema have names for files without field ids.
pub fn has_names(schema: &Schema) -> bool {
    schema.fields().iter().any(|field| field.metadata().contains_key(NAMES))
}

/// The schema of a file without field ids, with those of the table's fields that have the same names. What has no such name stays without an id.
pub fn with_ids(file: &SchemaDescriptor, table: &Schema) -> ParquetResult<SchemaDescriptor> {
    with_ids_of(file, table, None)
}

/// The same, where names may differ in capitals too: such names of the file are put into `spellings`.
pub fn with_ids_any_case(file: &SchemaDescriptor, table: &Schema, spellings: &mut Spellings) -> ParquetResult<SchemaDescriptor> {
    with_ids_of(file, table, Some(spellings))
}

fn with_ids_of(file: &SchemaDescriptor, table: &Schema, spellings: Option<&mut Spellings>) -> ParquetResult<SchemaDescriptor> {
    let columns = children_with_ids(file.root_schema().get_fields(), table.fields(), spellings)?;
    Ok(SchemaDescriptor::new(rebuilt(file.root_schema(), None, Some(columns))?))
}

fn children_with_ids(children: &[TypePtr], fields: &Fields, mut spellings: Option<&mut Spellings>) -> ParquetResult<Vec<TypePtr>> {
    let mut found = Vec::with_capacity(children.len());
    for child in children {
        let mut field = fields.iter().find(|field| names(field).iter().any(|name| name == child.name()));
        if let (None, Some(spellings)) = (field, spellings.as_deref_mut()) {
            field = alike(child, children, fields);
            if let Some(id) = field.and_then(|field| field_id(field)) {
                spellings.entry(id).or_default().insert(child.name().to_owned());
            }
        }
        found.push(match field {
            Some(field) => with_id(child, field, spellings.as_deref_mut())?,
            None => Arc::clone(child),
        });
    }
    Ok(found)
}

/// The field that is called like a child but for capitals, if no other one is, and no other child.
fn alike<'a>(child: &Type, children: &[TypePtr], fields: &'a Fields) -> Option<&'a FieldRef> {
    let lower = child.name().to_lowercase();
    let is_alike = |names: &[String]| names.iter().any(|name| name.to_lowercase() == lower);
    let mut found = fields.iter().filter(|field| is_alike(&names(field)));
    let (Some(field), None) = (found.next(), found.next()) else { return None };
    let named: Vec<String> = names(field).iter().map(|name| name.to_lowercase()).collect();
    (children.iter().filter(|child| named.contains(&child.name().to_lowercase())).count() == 1).then_some(field)
}

/// The names of a field in files without field ids.
fn names(field: &Field) -> Vec<String> {
    field.metadata().get(NAMES).and_then(|names| serde_json::from_str(names).ok()).unwrap_or_default()
}

/// A column or nested field of a file with the ids of the table's field. The elements of lists and maps have ids, whatever they are called.
fn with_id(file: &TypePtr, field: &Field, mut spellings: Option<&mut Spellings>) -> ParquetResult<TypePtr> {
    let children = match (field.data_type(), file.is_group()) {
        (DataType::Struct(fields), true) => Some(children_with_ids(file.get_fields(), fields, spellings)?),
        (DataType::List(element), true) => match file.get_fields() {
            [repeated] => Some(vec![list_with_ids(file.name(), repeated, element, spellings)?]),
            _ => None,
        },
        (DataType::Map(entries, _), true) => match (file.get_fields(), entries.data_type()) {
            ([repeated], DataType::Struct(fields)) if repeated.is_group() && repeated.get_fields().len() == 2 && fields.len() == 2 => {
                let entry = repeated.get_fields().iter().zip(fields).map(|(child, field)| with_id(child, field, spellings.as_deref_mut()));
                let entry = entry.collect::<ParquetResult<_>>()?;
                Some(vec![rebuilt(repeated, None, Some(entry))?])
            }
            _ => None,
        },
        _ => None,
    };
    rebuilt(file, field_id(field), children)
}

/// The repeated field of a list, which is its element or the group around it (Parquet format, "Lists: Backward-compatibility rules").
fn list_with_ids(list: &str, repeated: &TypePtr, element: &Field, mut spellings: Option<&mut Spellings>) -> ParquetResult<TypePtr> {
    let is_element = !repeated.is_group()
        || repeated.get_fields().len() != 1
        || repeated.name() == "array"
        || repeated.name().strip_suffix("_tuple").is_some_and(|name| name == list);
    if is_element {
        return with_id(repeated, element, spellings);
    }
    let elements = repeated.get_fields().iter().map(|only| with_id(only, element, spellings.as_deref_mut())).collect::<ParquetResult<_>>()?;
    rebuilt(repeated, None, Some(elements))
}

/// The same type with another id, and with other children if it is a group.
fn rebuilt(file: &Type, id: Option<i32>, children: Option<Vec<TypePtr>>) -> ParquetResult<TypePtr> {
    let info = file.get_basic_info();
    let built = match file {
        Type::PrimitiveType { physical_type, type_length, scale, precision, .. } => Type::primitive_type_builder(info.name(), *physical_type)
            .with_repetition(info.repetition())
            .with_converted_type(info.converted_type())
            .with_logical_type(info.logical_type_ref().cloned())
            .with_length(*type_length)
            .with_precision(*precision)
            .with_scale(*scale)
            .with_id(id)
            .build(),
        Type::GroupType { fields, .. } => {
            let mut builder = Type::group_type_builder(info.name())
                .with_converted_type(info.converted_type())
                .with_logical_type(info.logical_type_ref().cloned())
                .with_fields(children.unwrap_or_else(|| fields.clone()))
                .with_id(id);
            if info.has_repetition() {
                builder = builder.with_repetition(info.repetition());
            }
            builder.build()
        }
    };
    built.map(Arc::new)
}

#[cfg(test)]
mod tests {
    use parquet::arrow::PARQUET_FIELD_ID_META_KEY;
    use parquet::arrow::parquet_to_arrow_schema;
    use parquet::schema::parser::parse_message_type;

    use super::*;
    use nunatak_core::Code;

    fn field(id: i32, name: &str, data_type: DataType) -> FieldRef {
        let metadata = HashMap::from([(PARQUET_FIELD_ID_META_KEY.to_owned(), id.to_string())]);
        Arc::new(Field::new(name, data_type, true).with_metadata(metadata))
    }

    #[test]
    fn names_lead_to_ids_at_every_level() {
        let row = DataType::Struct(Fields::from(vec![field(5, "x", DataType::Int32)]));
        let entries = Fields::from(vec![field(8, "key", DataType::Utf8), field(9, "value", DataType::Int32)]);
        let table = Schema::new(vec![
            field(1, "renamed", DataType::Int64),
            field(2, "list", DataType::List(field(4, "element", row))),
            field(3, "map", DataType::Map(Arc::new(Field::new("key_value", DataType::Struct(entries), false)), false)),
            field(7, "plain", DataType::List(field(10, "element", DataType::Int32))),
        ]);
        let mapping = r#"[{"field-id": 1, "names": ["id", "old_id"]},
            {"field-id": 2, "names": ["list"], "fields": [{"field-id": 4, "names": ["element"], "fields": [{"field-id": 5, "names": ["was_x"]}]}]},
            {"field-id": 3, "names": ["map"], "fields": [{"field-id": 8, "names": ["key"]}, {"field-id": 9, "names": ["value"]}]},
            {"field-id": 7, "names": ["plain"], "fields": [{"field-id": 10, "names": ["element"]}]}, {"names": ["nothing"]}]"#;
        let table = with_names(&table, mapping).unwrap();
        assert!(has_names(&table));
        let file = "message hive { optional int64 old_id; optional binary other (UTF8);
            optional group list (LIST) { repeated group bag { optional group array_element { optional int32 was_x; optional int32 y; } } }
            optional group map (MAP) { repeated group map { required binary key (UTF8); optional int32 value; } }
            optional group plain (LIST) { repeated int32 array; } }";
        let file = SchemaDescriptor::new(Arc::new(parse_message_type(file).unwrap()));
        let file = with_ids(&file, &table).unwrap();
        let found = parquet_to_arrow_schema(&file, None).unwrap();
        let ids = |fields: &Fields| fields.iter().map(|field| field_id(field)).collect::<Vec<_>>();
        assert_eq!(ids(found.fields()), [Some(1), None, Some(2), Some(3), Some(7)]);
        let DataType::List(element) = found.field(2).data_type() else { panic!("not a list") };
        let DataType::Struct(fields) = element.data_type() else { panic!("not a row") };
        assert_eq!((field_id(element), ids(fields)), (Some(4), vec![Some(5), None]));
        let DataType::Map(entries, _) = found.field(3).data_type() else { panic!("not a map") };
        let DataType::Struct(fields) = entries.data_type() else { panic!("not a row") };
        assert_eq!(ids(fields), [Some(8), Some(9)]);
        // Arrow's schema has no place for this one.
        assert_eq!(file.root_schema().get_fields()[4].get_fields()[0].get_basic_info().id(), 10);
    }

    #[test]
    fn names_in_other_capitals_are_told() {
        let row = DataType::Struct(Fields::from(vec![field(4, "zip", DataType::Int32)]));
        let columns =
            vec![field(1, "userid", DataType::Int64), field(2, "a", DataType::Int64), field(3, "place", row), field(5, "b", DataType::Int64)];
        let mapping = r#"[{"field-id": 1, "names": ["userid"]}, {"field-id": 2, "names": ["a"]},
            {"field-id": 3, "names": ["place"], "fields": [{"field-id": 4, "names": ["zip"]}]}, {"field-id": 5, "names": ["b"]}]"#;
        let table = with_names(&Schema::new(columns), mapping).unwrap();
        let file = "message m { optional int64 userId; optional int64 A; optional int64 a; optional group place { optional int32 Zip; }
            optional int64 c; }";
        let file = SchemaDescriptor::new(Arc::new(parse_message_type(file).unwrap()));
        let ids = |file: &SchemaDescriptor| {
            let columns = file.columns().iter();
            columns.map(|column| column.self_type().get_basic_info()).map(|info| info.has_id().then(|| info.id())).collect::<Vec<_>>()
        };
        assert_eq!(ids(&with_ids(&file, &table).unwrap()), [None, None, Some(2), None, None]);
        let mut spellings = Spellings::new();
        assert_eq!(ids(&with_ids_any_case(&file, &table, &mut spellings).unwrap()), [Some(1), None, Some(2), Some(4), None]);
        assert_eq!(spellings, Spellings::from([(1, ["userId".to_owned()].into()), (4, ["Zip".to_owned()].into())]));
    }

    #[test]
    fn a_mapping_that_is_none_is_refused() {
        let error = with_names(&Schema::empty(), "{}").unwrap_err();
        assert_eq!(error.code(), Code::IcebergInvalidMetadata);
    }
}
