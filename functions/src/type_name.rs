//! Names of types as Trino's `typeof` has them.

use arrow::datatypes::{DataType, Fields, TimeUnit};

/// The name of a type, such as `array(integer)` or `row(a bigint, b varchar)`. What a type does not say is not in its name: of texts how long they may be, of intervals
/// whether they count months or days.
pub fn type_name(data_type: &DataType) -> String {
    match data_type {
        DataType::Null => "unknown".to_owned(),
        DataType::Boolean => "boolean".to_owned(),
        DataType::Int8 => "tinyint".to_owned(),
        DataType::Int16 => "smallint".to_owned(),
        DataType::Int32 => "integer".to_owned(),
        DataType::Int64 => "bigint".to_owned(),
        DataType::Float32 => "real".to_owned(),
        DataType::Float64 => "double".to_owned(),
        DataType::Decimal128(digits, scale) | DataType::Decimal256(digits, scale) => format!("decimal({digits},{scale})"),
        DataType::Utf8 | DataType::Utf8View => "varchar".to_owned(),
        DataType::LargeUtf8 => "json".to_owned(),
        DataType::FixedSizeBinary(16) => "uuid".to_owned(),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => "varbinary".to_owned(),
        DataType::Date32 => "date".to_owned(),
        DataType::Time32(unit) | DataType::Time64(unit) => format!("time({})", digits(*unit)),
        DataType::Timestamp(unit, None) => format!("timestamp({})", digits(*unit)),
        DataType::Timestamp(unit, Some(_)) => format!("timestamp({}) with time zone", digits(*unit)),
        DataType::Interval(_) | DataType::Duration(_) => "interval".to_owned(),
        DataType::List(element) | DataType::LargeList(element) | DataType::FixedSizeList(element, _) => {
            format!("array({})", type_name(element.data_type()))
        }
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(pair) => format!("map({})", joined(pair.iter().map(|field| type_name(field.data_type())))),
            other => type_name(other),
        },
        DataType::Struct(fields) => format!("row({})", row(fields)),
        other => other.to_string().to_lowercase(),
    }
}

fn joined(names: impl Iterator<Item = String>) -> String {
    names.collect::<Vec<_>>().join(", ")
}

/// Whether the fields of a row have names of their own. Those that have none are called `c0`, `c1` and so on, as values of `ROW(1, 2)` are.
pub fn have_names(fields: &Fields) -> bool {
    fields.iter().enumerate().any(|(place, field)| !field.name().is_empty() && *field.name() != format!("c{place}"))
}

fn row(fields: &Fields) -> String {
    let is_named = have_names(fields);
    joined(fields.iter().map(|field| match is_named {
        true => format!("{} {}", field.name(), type_name(field.data_type())),
        false => type_name(field.data_type()),
    }))
}

fn digits(unit: TimeUnit) -> u8 {
    match unit {
        TimeUnit::Second => 0,
        TimeUnit::Millisecond => 3,
        TimeUnit::Microsecond => 6,
        TimeUnit::Nanosecond => 9,
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::Field;

    use super::*;

    #[test]
    fn rows_have_names_or_none() {
        let row = |names: [&str; 2]| {
            DataType::Struct(Fields::from(vec![Field::new(names[0], DataType::Int32, true), Field::new(names[1], DataType::Decimal128(3, 1), true)]))
        };
        assert_eq!(type_name(&row(["c0", "c1"])), "row(integer, decimal(3,1))");
        assert_eq!(type_name(&DataType::new_list(row(["a", "b"]), true)), "array(row(a integer, b decimal(3,1)))");
    }
}
