//! `CREATE TABLE t (LIKE u [INCLUDING PROPERTIES], ...)`: the columns of another table, with what they are and without their defaults, and if it is asked for its properties.
//! It gets a place of its own: files of two tables never share one.

use nunatak_catalog::Table;
use nunatak_catalog::adopted::ADOPTED;
use nunatak_catalog::name_mapping::NAME_MAPPING;
use nunatak_catalog::properties::is_place;
use nunatak_catalog::unsupported::{comment, unsupported_type};
use nunatak_core::{Error, Result};
use nunatak_engine::files::OptionValue;
use nunatak_engine::sql::statement::{ColumnDefinition, CreateTable};

use super::StatementContext;
use super::show_create::{partitioning, sorted_by};

/// The statement with all columns and properties written out.
///
/// Errors: `TABLE_NOT_FOUND`, and `NOT_SUPPORTED` for a column that cannot be written, or the properties of two tables.
pub(super) async fn written_out(context: &StatementContext, mut create: CreateTable) -> Result<CreateTable> {
    let likes = std::mem::take(&mut create.likes);
    if likes.iter().filter(|like| like.with_properties).count() > 1 {
        return Err(Error::not_supported("only one LIKE can be INCLUDING PROPERTIES"));
    }
    // From the last one on, so that the places of the others stay.
    for like in likes.into_iter().rev() {
        let table = context.planner.table(&context.resolve(&like.table)?).await?;
        let columns = columns(&table)?;
        drop(create.columns.splice(like.place..like.place, columns));
        if like.with_properties {
            let is_given = |name: &str| create.properties.iter().any(|(given, _)| given == name);
            let inherited: Vec<_> = properties(&table).into_iter().filter(|(name, _)| !is_given(name)).collect();
            create.properties.extend(inherited);
        }
    }
    Ok(create)
}

fn columns(table: &Table) -> Result<Vec<ColumnDefinition>> {
    let fields = table.metadata.current_schema().as_struct().fields().iter();
    fields
        .map(|field| match unsupported_type(field) {
            Some(name) => {
                Err(Error::not_supported(format!("column '{}' of table '{}' is of type {name}, which is not supported", field.name, table.name)))
            }
            None => Ok(ColumnDefinition {
                name: field.name.clone(),
                column_type: Some(field.field_type.as_ref().clone()),
                not_null: field.required,
                default: None,
                comment: comment(field).map(str::to_owned),
            }),
        })
        .collect()
}

/// The properties of a table as `WITH` has them, without those that are about its own files and places.
fn properties(table: &Table) -> Vec<(String, OptionValue)> {
    let metadata = &table.metadata;
    let version = i64::from(metadata.format_version() as u8);
    let mut properties = vec![("format_version".to_owned(), OptionValue::Number(version))];
    let lists = [("partitioning", partitioning(metadata)), ("sorted_by", sorted_by(metadata))];
    let is_set = |(_, fields): &(&str, Vec<String>)| !fields.is_empty();
    properties.extend(lists.into_iter().filter(is_set).map(|(name, fields)| (name.to_owned(), OptionValue::List(fields))));
    let is_own = |name: &str| ["comment", NAME_MAPPING, ADOPTED].contains(&name) || is_place(name);
    let extra: Vec<(String, String)> =
        metadata.properties().iter().filter(|(name, _)| !is_own(name)).map(|(name, value)| (name.clone(), value.clone())).collect();
    if !extra.is_empty() {
        properties.push(("extra_properties".to_owned(), OptionValue::Map(extra)));
    }
    properties
}
