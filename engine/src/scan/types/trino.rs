//! Names of types as Trino writes them, for `DESCRIBE` and `information_schema`.

use nunatak_catalog::spec::{NestedField, PrimitiveType, Type};
use nunatak_catalog::unsupported::unsupported_type;

/// The name of a column's type. One that cannot be read has Iceberg's own name.
pub fn trino_column_type(column: &NestedField) -> String {
    unsupported_type(column).map_or_else(|| trino_type_name(&column.field_type), str::to_owned)
}

/// The name of a type as Trino's clients know it, such as `varchar` or `row(a bigint, b varchar)`.
pub fn trino_type_name(iceberg_type: &Type) -> String {
    match iceberg_type {
        Type::Primitive(primitive) => primitive_name(primitive),
        Type::List(list) => format!("array({})", trino_type_name(&list.element_field.field_type)),
        Type::Map(map) => format!("map({}, {})", trino_type_name(&map.key_field.field_type), trino_type_name(&map.value_field.field_type)),
        Type::Struct(fields) => {
            let fields: Vec<String> =
                fields.fields().iter().map(|field| format!("{} {}", quoted(&field.name), trino_type_name(&field.field_type))).collect();
            format!("row({})", fields.join(", "))
        }
    }
}

fn primitive_name(primitive: &PrimitiveType) -> String {
    let name = match primitive {
        PrimitiveType::Boolean => "boolean",
        PrimitiveType::Int => "integer",
        PrimitiveType::Long => "bigint",
        PrimitiveType::Float => "real",
        PrimitiveType::Double => "double",
        PrimitiveType::Decimal { precision, scale } => return format!("decimal({precision},{scale})"),
        PrimitiveType::Date => "date",
        PrimitiveType::Time => "time(6)",
        PrimitiveType::Timestamp => "timestamp(6)",
        PrimitiveType::Timestamptz => "timestamp(6) with time zone",
        PrimitiveType::TimestampNs => "timestamp(9)",
        PrimitiveType::TimestamptzNs => "timestamp(9) with time zone",
        PrimitiveType::String => "varchar",
        PrimitiveType::Uuid => "uuid",
        PrimitiveType::Fixed(_) | PrimitiveType::Binary => "varbinary",
    };
    name.to_owned()
}

/// A field's name, in quotes where SQL would otherwise read something else.
fn quoted(name: &str) -> String {
    let plain = name.starts_with(|first: char| first.is_ascii_lowercase() || first == '_')
        && name.chars().all(|each| each.is_ascii_lowercase() || each.is_ascii_digit() || each == '_');
    if plain { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}
