//! Iceberg schemas as the Arrow schemas that queries see. Every field, at every level, carries its id as `PARQUET:field_id`.
//!
//! What data files are written with is made elsewhere: there names stay as they are, and strings are plain.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef, TimeUnit};
use nunatak_catalog::spec;
use nunatak_catalog::unsupported::unsupported_type;
use nunatak_core::{Error, Result};
use parquet::arrow::PARQUET_FIELD_ID_META_KEY;

use crate::functions::text_cast::UUID;
use crate::scan::values;

/// The key under which a field's metadata holds, as text, the value that rows of older files have in a column added later.
pub const INITIAL_DEFAULT: &str = "nunatak.initial_default";

/// The key under which the metadata of a field of a type that cannot be read holds the name of that type.
pub const UNSUPPORTED: &str = "nunatak.unsupported";

const EXTENSION_NAME: &str = "ARROW:extension:name";
const UUID_EXTENSION: &str = "arrow.uuid";

/// The schema that queries see. Names are in lower case where that keeps them unique, since SQL folds names that are not quoted. Strings and
/// binaries of the top level are views, which DataFusion filters and groups faster.
pub fn table_schema(schema: &spec::Schema) -> Result<SchemaRef> {
    Ok(Arc::new(Schema::new(fields_of(schema.as_struct(), true)?)))
}

/// The Iceberg id of a field, if it has one.
pub fn field_id(field: &Field) -> Option<i32> {
    field.metadata().get(PARQUET_FIELD_ID_META_KEY)?.parse().ok()
}

fn fields_of(fields: &spec::StructType, top_level: bool) -> Result<Fields> {
    fields.fields().iter().zip(field_names(fields)).map(|(field, name)| arrow_field(field, name, top_level)).collect()
}

/// The names that queries have for the columns of a table, or for the fields of a row: in lower case, but for a name that differs from another one only in case, which
/// stays as it is.
pub fn field_names(fields: &spec::StructType) -> Vec<String> {
    let lower: Vec<String> = fields.fields().iter().map(|field| field.name.to_lowercase()).collect();
    let mut uses: HashMap<&str, usize> = HashMap::new();
    for name in &lower {
        *uses.entry(name).or_default() += 1;
    }
    let fold = |(field, name): (&spec::NestedFieldRef, &String)| if uses[name.as_str()] == 1 { name.clone() } else { field.name.clone() };
    fields.fields().iter().zip(&lower).map(fold).collect()
}

fn arrow_field(field: &spec::NestedField, name: String, top_level: bool) -> Result<FieldRef> {
    let data_type = data_type_of(&field.field_type, top_level)?;
    let mut metadata = HashMap::from([(PARQUET_FIELD_ID_META_KEY.to_owned(), field.id.to_string())]);
    if matches!(*field.field_type, spec::Type::Primitive(spec::PrimitiveType::Uuid)) {
        metadata.insert(EXTENSION_NAME.to_owned(), UUID_EXTENSION.to_owned());
    }
    if let Some(unsupported) = unsupported_type(field) {
        metadata.insert(UNSUPPORTED.to_owned(), unsupported.to_owned());
    }
    if let Some(default) = &field.initial_default {
        metadata.insert(INITIAL_DEFAULT.to_owned(), values::default_text(default, &data_type, &field.name)?);
    }
    Ok(Arc::new(Field::new(name, data_type, !field.required).with_metadata(metadata)))
}

fn data_type_of(from: &spec::Type, top_level: bool) -> Result<DataType> {
    Ok(match from {
        // Nested strings stay plain: the Parquet reader and most array functions make no views inside lists and rows.
        spec::Type::Primitive(spec::PrimitiveType::String) if top_level => DataType::Utf8View,
        spec::Type::Primitive(spec::PrimitiveType::Binary) if top_level => DataType::BinaryView,
        spec::Type::Primitive(primitive) => primitive_type_of(primitive)?,
        spec::Type::Struct(fields) => DataType::Struct(fields_of(fields, false)?),
        spec::Type::List(list) => DataType::List(child(&list.element_field, "element")?),
        spec::Type::Map(map) => {
            let entries = Fields::from(vec![child(&map.key_field, "key")?, child(&map.value_field, "value")?]);
            DataType::Map(Arc::new(Field::new("key_value", DataType::Struct(entries), false)), false)
        }
    })
}

fn child(field: &spec::NestedField, name: &str) -> Result<FieldRef> {
    arrow_field(field, name.to_owned(), false)
}

fn primitive_type_of(from: &spec::PrimitiveType) -> Result<DataType> {
    use spec::PrimitiveType as Iceberg;
    Ok(match from {
        Iceberg::Boolean => DataType::Boolean,
        Iceberg::Int => DataType::Int32,
        Iceberg::Long => DataType::Int64,
        Iceberg::Float => DataType::Float32,
        Iceberg::Double => DataType::Float64,
        Iceberg::Decimal { precision, scale } => decimal_type(*precision, *scale)?,
        Iceberg::Date => DataType::Date32,
        Iceberg::Time => DataType::Time64(TimeUnit::Microsecond),
        Iceberg::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
        Iceberg::Timestamptz => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        Iceberg::TimestampNs => DataType::Timestamp(TimeUnit::Nanosecond, None),
        Iceberg::TimestamptzNs => DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into())),
        Iceberg::String => DataType::Utf8,
        Iceberg::Uuid => UUID,
        // In queries, bytes of this length are a UUID.
        Iceberg::Fixed(16) => DataType::Binary,
        Iceberg::Fixed(length) => DataType::FixedSizeBinary(
            i32::try_from(*length).map_err(|_| Error::not_supported(format!("type fixed({length}) is too long to be read")))?,
        ),
        Iceberg::Binary => DataType::Binary,
    })
}

fn decimal_type(precision: u32, scale: u32) -> Result<DataType> {
    match (u8::try_from(precision), i8::try_from(scale)) {
        (Ok(digits), Ok(places)) if digits <= 38 => Ok(DataType::Decimal128(digits, places)),
        _ => Err(Error::not_supported(format!("type decimal({precision},{scale}) has too many digits"))),
    }
}

/// The type with nested fields that carry nothing beside name and type, and that take NULL: where the table has none the writer says so.
pub fn plain_type(data_type: &DataType) -> DataType {
    let plain = |field: &FieldRef| plain_field(field, true);
    match data_type {
        DataType::List(element) => DataType::List(plain(element)),
        DataType::LargeList(element) => DataType::LargeList(plain(element)),
        DataType::FixedSizeList(element, length) => DataType::FixedSizeList(plain(element), *length),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(plain).collect()),
        DataType::Map(entries, sorted) => DataType::Map(plain_entries(entries), *sorted),
        other => other.clone(),
    }
}

fn plain_field(field: &Field, nullable: bool) -> FieldRef {
    Arc::new(Field::new(field.name(), plain_type(field.data_type()), nullable))
}

/// The entries of a map, and their keys, are never NULL.
fn plain_entries(entries: &Field) -> FieldRef {
    match entries.data_type() {
        DataType::Struct(pair) => {
            let pair = pair.iter().zip([false, true]).map(|(field, nullable)| plain_field(field, nullable));
            Arc::new(Field::new(entries.name(), DataType::Struct(pair.collect()), false))
        }
        _ => plain_field(entries, false),
    }
}
