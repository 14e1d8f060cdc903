//! Columns with what drivers want to know of them: Flight SQL's column metadata, by which JDBC's getColumns is answered.

use std::collections::HashMap;

use arrow::datatypes::{DataType, Field, IntervalUnit, Schema, TimeUnit};
use nunatak_coordinator::query::TableInfo;

/// The length of a text or binary without a limit, as Trino's drivers say it.
const UNBOUNDED: i32 = i32::MAX;

/// How a type is named and measured in SQL.
#[derive(Debug, PartialEq, Eq)]
struct SqlType {
    name: String,
    /// Digits of a number, bits of a floating-point number, characters of the others.
    precision: Option<i32>,
    /// Digits after the point.
    scale: Option<i32>,
}

/// The columns of a table, with their metadata.
pub(super) fn described(table: &TableInfo) -> Schema {
    let fields = table.columns.iter().flat_map(|schema| schema.fields().iter());
    Schema::new(fields.map(|field| described_field(table, field)).collect::<Vec<_>>())
}

fn described_field(table: &TableInfo, field: &Field) -> Field {
    let SqlType { name, precision, scale } = sql_type(field.data_type());
    let text = matches!(field.data_type(), DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
    let pairs = [
        ("CATALOG_NAME", Some(table.catalog.clone())),
        ("DB_SCHEMA_NAME", Some(table.schema.clone())),
        ("TABLE_NAME", Some(table.name.clone())),
        ("TYPE_NAME", Some(name)),
        ("PRECISION", precision.map(|precision| precision.to_string())),
        ("SCALE", scale.map(|scale| scale.to_string())),
        ("REMARKS", field.metadata().get("comment").or_else(|| field.metadata().get("doc")).cloned()),
        ("IS_AUTO_INCREMENT", Some("0".to_owned())),
        ("IS_CASE_SENSITIVE", Some(if text { "1" } else { "0" }.to_owned())),
        ("IS_READ_ONLY", Some(if table.kind == "TABLE" { "0" } else { "1" }.to_owned())),
        ("IS_SEARCHABLE", Some("1".to_owned())),
    ];
    let pairs = pairs.into_iter().filter_map(|(key, value)| Some((format!("ARROW:FLIGHT:SQL:{key}"), value?)));
    let mut metadata: HashMap<String, String> = field.metadata().clone();
    metadata.extend(pairs);
    field.clone().with_metadata(metadata)
}

fn sql_type(data_type: &DataType) -> SqlType {
    let (name, precision, scale) = match data_type {
        DataType::Boolean => ("boolean".to_owned(), Some(1), None),
        DataType::Int8 | DataType::UInt8 => ("tinyint".to_owned(), Some(3), Some(0)),
        DataType::Int16 | DataType::UInt16 => ("smallint".to_owned(), Some(5), Some(0)),
        DataType::Int32 | DataType::UInt32 => ("integer".to_owned(), Some(10), Some(0)),
        DataType::Int64 | DataType::UInt64 => ("bigint".to_owned(), Some(19), Some(0)),
        DataType::Float16 | DataType::Float32 => ("real".to_owned(), Some(24), None),
        DataType::Float64 => ("double".to_owned(), Some(53), None),
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale)
        | DataType::Decimal256(precision, scale) => (format!("decimal({precision},{scale})"), Some(i32::from(*precision)), Some(i32::from(*scale))),
        DataType::Utf8 | DataType::Utf8View => ("varchar".to_owned(), Some(UNBOUNDED), None),
        DataType::LargeUtf8 => ("json".to_owned(), Some(UNBOUNDED), None),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => ("varbinary".to_owned(), Some(UNBOUNDED), None),
        DataType::FixedSizeBinary(length) => ("varbinary".to_owned(), Some(*length), None),
        DataType::Date32 | DataType::Date64 => ("date".to_owned(), Some(10), None),
        DataType::Time32(unit) | DataType::Time64(unit) => (format!("time({})", digits(*unit)), Some(with_fraction(8, *unit)), Some(digits(*unit))),
        DataType::Timestamp(unit, None) => (format!("timestamp({})", digits(*unit)), Some(with_fraction(19, *unit)), Some(digits(*unit))),
        DataType::Timestamp(unit, Some(_)) => {
            (format!("timestamp({}) with time zone", digits(*unit)), Some(with_fraction(25, *unit)), Some(digits(*unit)))
        }
        DataType::Interval(IntervalUnit::YearMonth) => ("interval year to month".to_owned(), None, None),
        DataType::Interval(_) | DataType::Duration(_) => ("interval day to second".to_owned(), None, None),
        DataType::Null => ("unknown".to_owned(), None, None),
        nested => (nested_name(nested), None, None),
    };
    SqlType { name, precision, scale }
}

fn nested_name(data_type: &DataType) -> String {
    let name = |field: &Field| sql_type(field.data_type()).name;
    match data_type {
        DataType::List(element) | DataType::LargeList(element) | DataType::FixedSizeList(element, _) => format!("array({})", name(element)),
        DataType::Struct(fields) => {
            let fields: Vec<_> = fields.iter().map(|field| format!("{} {}", field.name(), name(field))).collect();
            format!("row({})", fields.join(", "))
        }
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(fields) if fields.len() == 2 => format!("map({}, {})", name(&fields[0]), name(&fields[1])),
            _ => "map".to_owned(),
        },
        other => other.to_string(),
    }
}

/// Digits of a second's fraction.
fn digits(unit: TimeUnit) -> i32 {
    match unit {
        TimeUnit::Second => 0,
        TimeUnit::Millisecond => 3,
        TimeUnit::Microsecond => 6,
        TimeUnit::Nanosecond => 9,
    }
}

/// Characters of a time whose whole seconds have `length`.
fn with_fraction(length: i32, unit: TimeUnit) -> i32 {
    match digits(unit) {
        0 => length,
        fraction => length + 1 + fraction,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn types_have_their_names_in_sql() {
        let list = DataType::List(Arc::new(Field::new("element", DataType::Decimal128(10, 2), true)));
        let row = DataType::Struct(vec![Field::new("a", DataType::Int32, true), Field::new("b", list, true)].into());
        assert_eq!(sql_type(&row).name, "row(a integer, b array(decimal(10,2)))");
        let map = Field::new_map("m", "entries", Field::new("key", DataType::Utf8, false), Field::new("value", DataType::Date32, true), false, true);
        assert_eq!(sql_type(map.data_type()).name, "map(varchar, date)");
        let zoned = sql_type(&DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())));
        assert_eq!(zoned, SqlType { name: "timestamp(6) with time zone".to_owned(), precision: Some(32), scale: Some(6) });
    }

    #[test]
    fn columns_keep_their_metadata_and_get_that_of_flight_sql() {
        let field = Field::new("amount", DataType::Decimal128(10, 2), true).with_metadata(HashMap::from([("doc".to_owned(), "paid".to_owned())]));
        let columns = Some(Arc::new(Schema::new(vec![field])));
        let table = TableInfo { catalog: "lake".to_owned(), schema: "nyc".to_owned(), name: "trips".to_owned(), kind: "TABLE", columns };
        let described = described(&table);
        let metadata = described.field(0).metadata();
        assert_eq!(metadata["ARROW:FLIGHT:SQL:TYPE_NAME"], "decimal(10,2)");
        assert_eq!(metadata["ARROW:FLIGHT:SQL:SCALE"], "2");
        assert_eq!(metadata["ARROW:FLIGHT:SQL:REMARKS"], "paid");
        assert_eq!(metadata["doc"], "paid");
    }
}
