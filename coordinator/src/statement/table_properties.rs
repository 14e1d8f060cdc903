//! Properties of a new table, by Trino's names, as parts of its metadata.

use std::collections::HashMap;

use nunatak_catalog::properties;
use nunatak_catalog::spec::{
    FormatVersion, NestedFieldRef, NullOrder, Schema, SortDirection, SortField, SortOrder, Transform, Type, UnboundPartitionField,
    UnboundPartitionSpec,
};
use nunatak_core::{Code, Error, Result};
use nunatak_engine::error::suggest;
use nunatak_engine::files::OptionValue;
use nunatak_engine::sql::{TABLE_PROPERTIES, option_text};
use nunatak_engine::write;

use super::change::is_copy_on_write;
use crate::jobs::maintenance;

/// The codec of data files that new tables name.
pub(super) const DEFAULT_CODEC: (&str, &str) = ("write.parquet.compression-codec", "zstd");

/// Checked properties, with columns as field ids of the new table's schema.
#[derive(Debug)]
pub(super) struct TableProperties {
    pub(super) format_version: FormatVersion,
    pub(super) location: Option<String>,
    pub(super) spec: UnboundPartitionSpec,
    pub(super) sort_order: SortOrder,
    /// Iceberg's own properties.
    pub(super) iceberg: HashMap<String, String>,
}

impl TableProperties {
    /// Reads what stands behind `WITH`. Errors: `INVALID_TABLE_PROPERTY`.
    pub(super) fn parse(properties: &[(String, OptionValue)], schema: &Schema) -> Result<Self> {
        let mut parsed = Self {
            format_version: FormatVersion::V2,
            location: None,
            spec: UnboundPartitionSpec::builder().build(),
            sort_order: SortOrder::unsorted_order(),
            iceberg: HashMap::new(),
        };
        for (position, (name, value)) in properties.iter().enumerate() {
            if properties[..position].iter().any(|(earlier, _)| earlier == name) {
                return Err(Error::new(Code::InvalidTableProperty, format!("table property '{name}' is given twice")));
            }
            parsed.set(name, value, schema)?;
        }
        Ok(parsed)
    }

    /// The same for a new table: its codec is written down, because other writers take gzip where nothing is said.
    pub(super) fn of_new(given: &[(String, OptionValue)], schema: &Schema) -> Result<Self> {
        let mut parsed = Self::parse(given, schema)?;
        let (codec, name) = DEFAULT_CODEC;
        parsed.iceberg.entry(codec.to_owned()).or_insert_with(|| name.to_owned());
        check(&parsed.iceberg, &parsed.iceberg)?;
        Ok(parsed)
    }

    fn set(&mut self, name: &str, value: &OptionValue, schema: &Schema) -> Result<()> {
        match name {
            "extra_properties" => extra_properties(value).map(|properties| self.iceberg.extend(properties)),
            "format" => check_format(&option_text(value)),
            "format_version" => format_version(&option_text(value)).map(|version| self.format_version = version),
            "location" => {
                let location = option_text(value).trim().trim_end_matches('/').to_owned();
                if location.is_empty() {
                    return Err(wrong("table property 'location' is empty").with_hint("leave it out: the table gets a place in its catalog"));
                }
                self.location = Some(location);
                Ok(())
            }
            "partitioning" => partitioning(&texts(name, value)?, schema).map(|spec| self.spec = spec),
            "sorted_by" => sort_order(&texts(name, value)?, schema).map(|order| self.sort_order = order),
            _ => Err(unknown(name)),
        }
    }
}

fn wrong(what: impl Into<String>) -> Error {
    Error::new(Code::InvalidTableProperty, what)
}

pub(super) fn unknown(name: &str) -> Error {
    let unknown = wrong(format!("table property '{name}' does not exist"));
    let names: Vec<&str> = TABLE_PROPERTIES.iter().map(|property| property.name).collect();
    suggest(unknown.with_hint(format!("there are {}", names.join(", "))), name, names.iter().copied())
}

/// Checks Iceberg's own properties that are set, each as those read it who go by it; `all` are those that the table has then. Others may have any value.
///
/// Errors: `INVALID_TABLE_PROPERTY`, `NOT_SUPPORTED`.
pub(super) fn check(set: &HashMap<String, String>, all: &HashMap<String, String>) -> Result<()> {
    for name in set.keys() {
        properties::check(all, name)?;
        write::check_property(all, name)?;
        maintenance::check_property(all, name)?;
        if ["write.delete.mode", "write.update.mode", "write.merge.mode"].contains(&name.as_str()) {
            is_copy_on_write(all, name)?;
        }
    }
    Ok(())
}

/// Iceberg's own properties, by their names.
fn extra_properties(value: &OptionValue) -> Result<HashMap<String, String>> {
    let OptionValue::Map(pairs) = value else {
        return Err(wrong("table property 'extra_properties' must be a map of texts")
            .with_hint("write extra_properties = MAP(ARRAY['name'], ARRAY['value'])"));
    };
    let mut properties = HashMap::new();
    for (key, value) in pairs {
        if properties.insert(key.clone(), value.clone()).is_some() {
            return Err(wrong(format!("'{key}' is twice in extra_properties")));
        }
    }
    Ok(properties)
}

fn texts(name: &str, value: &OptionValue) -> Result<Vec<String>> {
    match value {
        OptionValue::List(texts) => Ok(texts.clone()),
        _ => Err(wrong(format!("table property '{name}' must be an array of texts")).with_hint(format!("write {name} = ARRAY['...', '...']"))),
    }
}

fn check_format(format: &str) -> Result<()> {
    if format.eq_ignore_ascii_case("parquet") {
        Ok(())
    } else {
        Err(Error::not_supported(format!("file format '{format}' is not supported")).with_hint("nunatak writes Parquet"))
    }
}

fn format_version(version: &str) -> Result<FormatVersion> {
    match version {
        "1" => Ok(FormatVersion::V1),
        "2" => Ok(FormatVersion::V2),
        "3" => Ok(FormatVersion::V3),
        _ => Err(wrong(format!("'{version}' is not a format version")).with_hint("format_version = 2")),
    }
}

/// The field id of a column, by its name in any case.
fn field_id(column: &str, schema: &Schema) -> Result<i32> {
    let name = &unquoted(column);
    let field = schema.field_by_name_case_insensitive(name).ok_or_else(|| {
        let missing = Error::new(Code::ColumnNotFound, format!("column '{name}' does not exist"));
        let names = schema.as_struct().fields().iter().map(|field| field.name.as_str());
        suggest(missing, name, names)
    })?;
    if has_one_value(field.id, schema.as_struct().fields()) {
        Ok(field.id)
    } else {
        Err(wrong(format!("'{name}' is within an array or a map, of which a row may have many values"))
            .with_hint("tables are partitioned and sorted by columns, and by fields of rows"))
    }
}

/// Whether a row has one value of a field: a column, or a field of rows alone (table spec, "Partitioning": what is in lists and maps is no source).
fn has_one_value(id: i32, fields: &[NestedFieldRef]) -> bool {
    fields.iter().any(|field| field.id == id || matches!(field.field_type.as_ref(), Type::Struct(row) if has_one_value(id, row.fields())))
}

fn partitioning(fields: &[String], schema: &Schema) -> Result<UnboundPartitionSpec> {
    let fields = fields
        .iter()
        .map(|text| {
            let (transform, column) = transform(text)?;
            let source_id = field_id(column, schema)?;
            let name = partition_name(transform, &unquoted(column));
            Ok(UnboundPartitionField { source_id, field_id: None, name, transform })
        })
        .collect::<Result<Vec<_>>>()?;
    let spec = UnboundPartitionSpec::builder().add_partition_fields(fields).map_err(|error| wrong(error.message().to_owned()))?.build();
    spec.clone().bind(schema.clone()).map_err(|error| wrong(error.message().to_owned()))?;
    Ok(spec)
}

/// The name of a partition field, as Java and Trino make it.
fn partition_name(transform: Transform, column: &str) -> String {
    let column = column.to_lowercase();
    match transform {
        Transform::Bucket(_) => format!("{column}_bucket"),
        Transform::Truncate(_) => format!("{column}_trunc"),
        Transform::Void => format!("{column}_null"),
        Transform::Year | Transform::Month | Transform::Day | Transform::Hour => format!("{column}_{transform}"),
        _ => column,
    }
}

/// `day(ts)`, `bucket(id, 8)` or `bucket(8, id)`, `truncate(name, 4)`, or a column.
fn transform(text: &str) -> Result<(Transform, &str)> {
    let hint = "write 'column', 'year(c)', 'month(c)', 'day(c)', 'hour(c)', 'bucket(c, n)' or 'truncate(c, n)'";
    let bad = || wrong(format!("'{text}' is not a partition field")).with_hint(hint);
    let text = text.trim();
    if quoted_length(text) == Some(text.len()) {
        return Ok((Transform::Identity, text));
    }
    let Some((name, arguments)) = text.strip_suffix(')').and_then(|text| text.split_once('(')) else {
        return if text.contains(['(', ')', ',']) || text.is_empty() { Err(bad()) } else { Ok((Transform::Identity, text)) };
    };
    let mut is_quoted = false;
    let parts = |character: char| {
        is_quoted ^= character == '"';
        character == ',' && !is_quoted
    };
    let arguments: Vec<&str> = arguments.split(parts).map(str::trim).collect();
    match (name.trim().to_lowercase().as_str(), arguments.as_slice()) {
        ("year" | "years", [column]) => Ok((Transform::Year, column)),
        ("month" | "months", [column]) => Ok((Transform::Month, column)),
        ("day" | "days", [column]) => Ok((Transform::Day, column)),
        ("hour" | "hours", [column]) => Ok((Transform::Hour, column)),
        ("identity", [column]) => Ok((Transform::Identity, column)),
        ("void", [column]) => Ok((Transform::Void, column)),
        (name @ ("bucket" | "truncate"), [first, second]) => {
            let (column, width) = match (first.parse::<u32>(), second.parse::<u32>()) {
                (Ok(width), Err(_)) => (*second, width),
                (Err(_), Ok(width)) => (*first, width),
                _ => return Err(bad()),
            };
            if width == 0 || i32::try_from(width).is_err() {
                return Err(wrong(format!("the number in '{text}' must be from 1 to {}", i32::MAX)));
            }
            Ok((if name == "bucket" { Transform::Bucket(width) } else { Transform::Truncate(width) }, column))
        }
        _ => Err(bad()),
    }
}

pub(super) fn sort_order(fields: &[String], schema: &Schema) -> Result<SortOrder> {
    let fields = fields.iter().map(|text| sort_field(text, schema)).collect::<Result<Vec<_>>>()?;
    if fields.is_empty() {
        return Ok(SortOrder::unsorted_order());
    }
    SortOrder::builder().with_order_id(1).with_fields(fields).build(schema).map_err(|error| wrong(error.message().to_owned()))
}

/// `column [ASC|DESC] [NULLS FIRST|LAST]`. NULLs come first in ascending and last in descending order unless said otherwise, as in Trino.
fn sort_field(text: &str, schema: &Schema) -> Result<SortField> {
    let (column, rest) = sorted_column(text);
    let upper: Vec<String> = rest.split_whitespace().map(str::to_uppercase).collect();
    let mut rest = upper.iter().map(String::as_str).collect::<Vec<_>>().into_iter().peekable();
    let direction = match rest.peek() {
        Some(&"ASC") => rest.next().map(|_| SortDirection::Ascending),
        Some(&"DESC") => rest.next().map(|_| SortDirection::Descending),
        _ => None,
    }
    .unwrap_or(SortDirection::Ascending);
    let null_order = match rest.collect::<Vec<_>>().as_slice() {
        [] if direction == SortDirection::Ascending => NullOrder::First,
        [] => NullOrder::Last,
        ["NULLS", "FIRST"] => NullOrder::First,
        ["NULLS", "LAST"] => NullOrder::Last,
        _ => return Err(wrong(format!("'{text}' is not a sort field")).with_hint("write 'column [ASC|DESC] [NULLS FIRST|LAST]'")),
    };
    if column.is_empty() {
        return Err(wrong("a sort field is empty"));
    }
    Ok(SortField { source_id: field_id(column, schema)?, transform: Transform::Identity, direction, null_order })
}

/// The column of a sort field, and what stands behind it.
fn sorted_column(text: &str) -> (&str, &str) {
    let text = text.trim();
    text.split_at(quoted_length(text).or_else(|| text.find(char::is_whitespace)).unwrap_or(text.len()))
}

/// The length of the quoted name that a text begins with, with its quotes. One within the name stands there twice.
fn quoted_length(text: &str) -> Option<usize> {
    let mut rest = text.strip_prefix('"')?;
    loop {
        rest = &rest[rest.find('"')? + 1..];
        match rest.strip_prefix('"') {
            Some(after) => rest = after,
            None => return Some(text.len() - rest.len()),
        }
    }
}

/// The name of a column that may be quoted.
fn unquoted(column: &str) -> String {
    let column = column.trim();
    match column.strip_prefix('"').and_then(|column| column.strip_suffix('"')) {
        Some(name) => name.replace("\"\"", "\""),
        None => column.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use nunatak_catalog::spec::{ListType, NestedField, PrimitiveType, StructType};

    use super::*;

    #[test]
    fn what_is_listed_is_known() {
        let schema = Schema::builder().build().unwrap();
        for property in TABLE_PROPERTIES {
            let wrong = TableProperties::parse(&[(property.name.to_owned(), OptionValue::Boolean(true))], &schema);
            let unknown = wrong.err().is_some_and(|error| error.message().ends_with("does not exist"));
            assert!(!unknown, "{}", property.name);
        }
    }

    #[test]
    fn columns_to_sort_by_may_be_quoted() {
        assert_eq!(sorted_column(" a DESC NULLS LAST "), ("a", " DESC NULLS LAST"));
        assert_eq!(sorted_column("\"the id\" asc"), ("\"the id\"", " asc"));
        assert_eq!(sorted_column(r#""a""b c" DESC"#), (r#""a""b c""#, " DESC"));
        assert_eq!([sorted_column("a"), sorted_column(""), sorted_column("\"a")], [("a", ""), ("", ""), ("\"a", "")]);
        assert_eq!([unquoted(r#" "a""b" "#), unquoted("a b"), unquoted("\"")], ["a\"b", "a b", "\""]);
    }

    #[test]
    fn sources_have_one_value_in_a_row() {
        let int = |id, name: &str| Arc::new(NestedField::optional(id, name, Type::Primitive(PrimitiveType::Int)));
        let list = ListType { element_field: Arc::new(NestedField::list_element(3, Type::Primitive(PrimitiveType::Int), false)) };
        let row = StructType::new(vec![int(5, "x"), Arc::new(NestedField::optional(2, "l", Type::List(list)))]);
        let schema = Schema::builder().with_fields([int(1, "a"), Arc::new(NestedField::optional(4, "r", Type::Struct(row)))]).build().unwrap();
        assert_eq!(["a", "r.x", "R.X"].map(|name| field_id(name, &schema).unwrap()), [1, 5, 5]);
        assert_eq!(field_id("r.l.element", &schema).unwrap_err().code(), Code::InvalidTableProperty);
        assert_eq!(field_id("r.y", &schema).unwrap_err().code(), Code::ColumnNotFound);
    }

    #[test]
    fn transforms_in_both_orders() {
        for (text, wanted, column) in [
            ("day(ts)", Transform::Day, "ts"),
            ("bucket(8, id)", Transform::Bucket(8), "id"),
            ("bucket(id, 8)", Transform::Bucket(8), "id"),
            (" Truncate( name , 4 )", Transform::Truncate(4), "name"),
            ("region", Transform::Identity, "region"),
            (r#""a,b(c)""#, Transform::Identity, r#""a,b(c)""#),
            (r#"bucket("a, ""(b", 4)"#, Transform::Bucket(4), r#""a, ""(b""#),
            (r#"bucket("8", 4)"#, Transform::Bucket(4), r#""8""#),
        ] {
            assert_eq!(transform(text).ok(), Some((wanted, column)), "{text}");
        }
        for text in ["", "day(", "bucket(id)", "bucket(id, 0)", "week(ts)", "bucket(1, 2)"] {
            assert!(transform(text).is_err(), "{text}");
        }
    }
}
