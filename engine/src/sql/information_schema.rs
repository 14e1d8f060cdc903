//! `information_schema`: the SQL standard's listings, as Trino shapes them. Rows are gathered when a query names the table.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use datafusion::arrow::datatypes::Schema;
use datafusion::catalog::{MemTable, TableProvider};
use nunatak_catalog::{Catalog, TableName};
use nunatak_core::{Code, Error, Result};

use super::names::{INFORMATION_SCHEMA, QualifiedName};
use crate::error::{from_datafusion, suggest};
use crate::scan::types::trino_column_type;

/// The tables there are.
const TABLES: [&str; 4] = ["columns", "schemata", "tables", "views"];

/// The table of that name. Errors: `TABLE_NOT_FOUND`.
pub(super) async fn table(catalog: &Arc<dyn Catalog>, name: &QualifiedName) -> Result<Arc<dyn TableProvider>> {
    match name.table.as_str() {
        "schemata" => schemata(catalog).await,
        "tables" => tables(catalog).await,
        "views" => views(catalog).await,
        "columns" => columns(catalog).await,
        other => {
            let missing = Error::new(Code::TableNotFound, format!("table '{INFORMATION_SCHEMA}.{other}' does not exist"));
            Err(suggest(missing.with_hint(format!("there are {}", TABLES.join(", "))), other, TABLES))
        }
    }
}

fn in_memory(columns: Vec<(&str, ArrayRef)>) -> Result<Arc<dyn TableProvider>> {
    let batch = RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true)))
        .map_err(|error| from_datafusion(error.into()))?;
    let schema: Arc<Schema> = batch.schema();
    Ok(Arc::new(MemTable::try_new(schema, vec![vec![batch]]).map_err(from_datafusion)?))
}

fn texts<T: AsRef<str>>(values: impl IntoIterator<Item = T>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(values))
}

async fn schema_names(catalog: &Arc<dyn Catalog>) -> Result<Vec<String>> {
    let mut names: Vec<String> = catalog.namespaces().await?.into_iter().map(|namespace| namespace.name).collect();
    names.push(INFORMATION_SCHEMA.to_owned());
    names.sort();
    Ok(names)
}

async fn schemata(catalog: &Arc<dyn Catalog>) -> Result<Arc<dyn TableProvider>> {
    let names = schema_names(catalog).await?;
    in_memory(vec![("catalog_name", texts(names.iter().map(|_| catalog.name()))), ("schema_name", texts(&names))])
}

/// Schema, name and type of every table and view, sorted.
async fn all_tables(catalog: &Arc<dyn Catalog>) -> Result<Vec<(String, String, &'static str)>> {
    let mut all: Vec<_> = TABLES.iter().map(|name| (INFORMATION_SCHEMA.to_owned(), (*name).to_owned(), "BASE TABLE")).collect();
    for schema in catalog.namespaces().await? {
        let schema = schema.name;
        all.extend(catalog.tables(&schema).await?.into_iter().map(|table| (schema.clone(), table, "BASE TABLE")));
        all.extend(catalog.views(&schema).await?.into_iter().map(|view| (schema.clone(), view, "VIEW")));
    }
    all.sort();
    Ok(all)
}

async fn tables(catalog: &Arc<dyn Catalog>) -> Result<Arc<dyn TableProvider>> {
    let all = all_tables(catalog).await?;
    in_memory(vec![
        ("table_catalog", texts(all.iter().map(|_| catalog.name()))),
        ("table_schema", texts(all.iter().map(|(schema, ..)| schema))),
        ("table_name", texts(all.iter().map(|(_, table, _)| table))),
        ("table_type", texts(all.iter().map(|(.., kind)| kind))),
    ])
}

async fn views(catalog: &Arc<dyn Catalog>) -> Result<Arc<dyn TableProvider>> {
    let mut all = Vec::new();
    for schema in catalog.namespaces().await? {
        for view in catalog.views(&schema.name).await? {
            all.extend(catalog.load_view(&TableName::new(&schema.name, view)).await?);
        }
    }
    in_memory(vec![
        ("table_catalog", texts(all.iter().map(|_| catalog.name()))),
        ("table_schema", texts(all.iter().map(|view| &view.name.namespace))),
        ("table_name", texts(all.iter().map(|view| &view.name.table))),
        ("view_definition", texts(all.iter().map(|view| &view.sql))),
    ])
}

/// The columns of tables. Those of views are known only when a view is planned, and are left out yet.
async fn columns(catalog: &Arc<dyn Catalog>) -> Result<Arc<dyn TableProvider>> {
    let (mut schemas, mut tables, mut names, mut positions, mut nullable, mut types) = (vec![], vec![], vec![], vec![], vec![], vec![]);
    for schema in catalog.namespaces().await? {
        for name in catalog.tables(&schema.name).await? {
            let Some(table) = catalog.load_table(&TableName::new(&schema.name, &name)).await? else { continue };
            for (position, field) in (1_i64..).zip(table.metadata.current_schema().as_struct().fields()) {
                schemas.push(schema.name.clone());
                tables.push(name.clone());
                names.push(field.name.clone());
                positions.push(position);
                nullable.push(if field.required { "NO" } else { "YES" });
                types.push(trino_column_type(field));
            }
        }
    }
    in_memory(vec![
        ("table_catalog", texts(schemas.iter().map(|_| catalog.name()))),
        ("table_schema", texts(&schemas)),
        ("table_name", texts(&tables)),
        ("column_name", texts(&names)),
        ("ordinal_position", Arc::new(Int64Array::from(positions))),
        ("column_default", Arc::new(StringArray::new_null(names.len()))),
        ("is_nullable", texts(&nullable)),
        ("data_type", texts(&types)),
    ])
}
