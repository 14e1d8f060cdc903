//! `CREATE OR REPLACE TABLE` of a table that exists: it gets other columns and rows in one step, and keeps its history.

use std::sync::Arc;

use nunatak_catalog::commit::{Replacement, replace, replace_by_empty};
use nunatak_catalog::evolution::{check_defaults, with_fresh_ids};
use nunatak_catalog::spec::{FormatVersion, Schema, TableMetadata, Type};
use nunatak_catalog::{Catalog, Table};
use nunatak_core::{Error, Result};
use nunatak_engine::sql::statement::CreateTable;

use super::create_table::{cast_to_table, plan_query};
use super::table_properties::TableProperties;
use super::{Outcome, StatementContext, insert};

pub(super) async fn run(context: StatementContext, catalog: Arc<dyn Catalog>, base: Table, mut create: CreateTable) -> Result<Outcome> {
    let (plan, schema) = match create.query.take() {
        Some(query) => {
            let (plan, schema) = plan_query(&context, *query, &create.columns).await?;
            (Some(plan).filter(|_| create.with_data), schema)
        }
        None => (None, context.planner.new_schema(&create.columns)?),
    };
    let replacement = replacement(&base, &create, &schema)?;
    let Some(plan) = plan else {
        replace_by_empty(catalog.as_ref(), &base, &replacement).await?;
        return Ok(Outcome::done());
    };
    let staged = replacement.staged(&base)?;
    let writer = insert::writer(&context, &staged, &cast_to_table(plan, &staged)?).await?;
    Ok(Outcome::update(async move {
        let written = insert::write(&writer, &staged).await?;
        let count = written.changed_rows();
        match replace(catalog.as_ref(), &base, &replacement, written.files.clone(), &context.summary(&base)).await {
            Ok(_) => Ok(Some(count)),
            Err(error) => {
                insert::discard_unless_unknown(&written, &base, &error).await;
                Err(error)
            }
        }
    }))
}

/// What the statement makes of the table. Columns get ids that it has never had: those of before are no longer.
fn replacement(base: &Table, create: &CreateTable, schema: &Schema) -> Result<Replacement> {
    let metadata = &base.metadata;
    let schema = with_new_ids(metadata, schema)?;
    let mut properties = TableProperties::of_new(&create.properties, &schema)?;
    if let Some(location) = properties.location.filter(|location| location != metadata.location()) {
        return Err(Error::not_supported(format!("table '{}' cannot be replaced by one at '{location}'", base.name))
            .with_hint("leave out the property location, or DROP TABLE first"));
    }
    if let Some(comment) = &create.comment {
        properties.iceberg.insert("comment".to_owned(), comment.clone());
    }
    if schema.as_struct().fields().iter().any(|field| field.write_default.is_some()) {
        check_defaults(properties.format_version.max(metadata.format_version()))?;
    }
    let asked = create.properties.iter().any(|(name, _)| name == "format_version");
    if asked && properties.format_version < metadata.format_version() {
        let current = metadata.format_version() as u8;
        return Err(Error::not_supported(format!("table '{}' of format version {current} cannot get a lower one", base.name)));
    }
    Ok(Replacement {
        schema,
        spec: properties.spec,
        sort_order: properties.sort_order,
        format_version: if asked { properties.format_version } else { FormatVersion::V1 },
        properties: properties.iceberg,
    })
}

fn with_new_ids(metadata: &TableMetadata, schema: &Schema) -> Result<Schema> {
    let mut last_id = metadata.last_column_id();
    let Type::Struct(fields) = with_fresh_ids(&Type::Struct(schema.as_struct().clone()), &mut last_id) else {
        return Err(Error::internal("columns are no longer columns"));
    };
    let built = Schema::builder().with_fields(fields.fields().to_vec()).build();
    built.map_err(|error| Error::internal("columns with new ids make no schema").with_source(error))
}
