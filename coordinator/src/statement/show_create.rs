//! `SHOW CREATE TABLE`, `VIEW` and `SCHEMA`: the statement that makes the same again.

use std::collections::BTreeMap;
use std::fmt::Write;

use datafusion::sql::sqlparser::ast::ObjectName;
use nunatak_catalog::spec::{NullOrder, SortDirection, TableMetadata, Transform};
use nunatak_catalog::unsupported::comment;
use nunatak_core::{Code, Error, Result};
use nunatak_engine::scan::types::trino_column_type;
use nunatak_engine::scan::values::default_literal;

use super::table_properties::DEFAULT_CODEC;
use super::{StatementContext, schema as schemas};

pub(super) async fn table(context: &StatementContext, name: &ObjectName) -> Result<String> {
    let name = context.resolve(name)?;
    let table = context.planner.table(&name).await?;
    let metadata = &table.metadata;
    let columns = metadata.current_schema().as_struct().fields().iter().map(|field| {
        let mut line = format!("   {} {}", quoted(&field.name), trino_column_type(field));
        if let Some(default) = default_literal(field) {
            let _ = write!(line, " DEFAULT {default}");
        }
        if field.required {
            line.push_str(" NOT NULL");
        }
        if let Some(comment) = comment(field) {
            let _ = write!(line, " COMMENT {}", literal(comment));
        }
        line
    });
    let mut text = format!("CREATE TABLE {}.{}.{} (\n{}\n)", quoted(&name.catalog), quoted(&name.schema), quoted(&name.table), joined(columns));
    if let Some(comment) = metadata.properties().get("comment") {
        let _ = write!(text, "\nCOMMENT {}", literal(comment));
    }
    let _ = write!(text, "\nWITH (\n{}\n)", joined(properties(metadata).into_iter().map(|line| format!("   {line}"))));
    Ok(text)
}

fn properties(metadata: &TableMetadata) -> Vec<String> {
    let version = metadata.format_version() as u8;
    let mut lines =
        vec!["format = 'PARQUET'".to_owned(), format!("format_version = {version}"), format!("location = {}", literal(metadata.location()))];
    let partitioning = partitioning(metadata);
    if !partitioning.is_empty() {
        lines.push(format!("partitioning = ARRAY[{}]", literals(&partitioning)));
    }
    let sorted_by = sorted_by(metadata);
    if !sorted_by.is_empty() {
        lines.push(format!("sorted_by = ARRAY[{}]", literals(&sorted_by)));
    }
    let is_own = |(key, value): &(&String, &String)| *key == "comment" || (key.as_str(), value.as_str()) == DEFAULT_CODEC;
    let extra: BTreeMap<&String, &String> = metadata.properties().iter().filter(|property| !is_own(property)).collect();
    if !extra.is_empty() {
        let texts = |texts: Vec<&&String>| texts.into_iter().map(|text| literal(text)).collect::<Vec<_>>().join(",");
        let (keys, values) = (texts(extra.keys().collect()), texts(extra.values().collect()));
        lines.insert(0, format!("extra_properties = MAP(ARRAY[{keys}], ARRAY[{values}])"));
    }
    lines
}

/// The name of a column as it stands in properties: quoted where it could be taken for something else.
fn column_name(metadata: &TableMetadata, id: i32) -> String {
    let name = metadata.current_schema().name_by_field_id(id).unwrap_or("?");
    let is_odd =
        name.contains(|character: char| matches!(character, '"' | '(' | ')' | ',') || character.is_whitespace()) || name.parse::<u32>().is_ok();
    if is_odd { format!("\"{}\"", name.replace('"', "\"\"")) } else { name.to_owned() }
}

/// The fields of the partitioning, as the property has them.
pub(super) fn partitioning(metadata: &TableMetadata) -> Vec<String> {
    let fields = metadata.default_partition_spec().fields().iter();
    fields
        .map(|field| {
            let column = column_name(metadata, field.source_id);
            match field.transform {
                Transform::Identity => column,
                Transform::Bucket(buckets) => format!("bucket({column}, {buckets})"),
                Transform::Truncate(width) => format!("truncate({column}, {width})"),
                transform => format!("{transform}({column})"),
            }
        })
        .collect()
}

/// The fields by which files are sorted, as the property has them.
pub(super) fn sorted_by(metadata: &TableMetadata) -> Vec<String> {
    let fields = metadata.default_sort_order().fields.iter();
    fields
        .map(|field| {
            let direction = if field.direction == SortDirection::Ascending { "ASC" } else { "DESC" };
            let nulls = if field.null_order == NullOrder::First { "FIRST" } else { "LAST" };
            format!("{} {direction} NULLS {nulls}", column_name(metadata, field.source_id))
        })
        .collect()
}

pub(super) async fn view(context: &StatementContext, name: &ObjectName) -> Result<String> {
    let name = context.resolve(name)?;
    let view = context.engine.catalog(&name.catalog)?.load_view(&name.in_catalog()).await?;
    let view = view.ok_or_else(|| Error::new(Code::TableNotFound, format!("view '{}' does not exist", name.table)))?;
    let comment = view.comment.map(|comment| format!("\nCOMMENT {}", literal(&comment))).unwrap_or_default();
    let security = if view.owner.is_some() { "DEFINER" } else { "INVOKER" };
    let name = format!("{}.{}.{}", quoted(&name.catalog), quoted(&name.schema), quoted(&name.table));
    Ok(format!("CREATE VIEW {name}{comment}\nSECURITY {security} AS\n{}", view.sql))
}

pub(super) async fn schema(context: &StatementContext, name: &ObjectName) -> Result<String> {
    let (catalog, schema) = schemas::resolve(context, name)?;
    let namespace = context.engine.catalog(&catalog)?.namespace(&schema).await?;
    let namespace = namespace.ok_or_else(|| Error::new(Code::SchemaNotFound, format!("schema '{schema}' does not exist")))?;
    let location = namespace.properties.get("location").map(|location| format!("\nWITH (\n   location = {}\n)", literal(location)));
    Ok(format!("CREATE SCHEMA {}.{}{}", quoted(&catalog), quoted(&schema), location.unwrap_or_default()))
}

fn joined(lines: impl IntoIterator<Item = String>) -> String {
    lines.into_iter().collect::<Vec<_>>().join(",\n")
}

/// An identifier as it must be written: bare where that means the same.
fn quoted(name: &str) -> String {
    let bare = name.starts_with(|first: char| first.is_ascii_lowercase() || first == '_')
        && name.chars().all(|character| character.is_ascii_lowercase() || character.is_ascii_digit() || character == '_');
    if bare { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

fn literals(texts: &[String]) -> String {
    texts.iter().map(|text| literal(text)).collect::<Vec<_>>().join(",")
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
