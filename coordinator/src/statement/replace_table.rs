//! `CREATE OR REPLACE TABLE` of a table that exists: it gets other columns and rows in one step, and keeps its history.

use std::sync::Arc;

use nunatak_catalog::commit::{Replacement, replace, replace_by_empty};
use nunatak_catalog::evolution::check_defaults;
use nunatak_catalog::name_mapping::{NAME_MAPPING, extended};
use nunatak_catalog::replaced_columns::replacing_schema;
use nunatak_catalog::spec::{FormatVersion, Schema};
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
        let written = insert::write(&context, &writer, &staged).await?;
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

/// What the statement makes of the table.
fn replacement(base: &Table, create: &CreateTable, schema: &Schema) -> Result<Replacement> {
    let metadata = &base.metadata;
    let schema = replacing_schema(metadata, schema)?;
    let mut properties = TableProperties::of_new(&create.properties, &schema)?;
    if let Some(location) = properties.location.filter(|location| location != metadata.location()) {
        return Err(Error::not_supported(format!("table '{}' cannot be replaced by one at '{location}'", base.name))
            .with_hint("leave out the property location, or DROP TABLE first"));
    }
    if let Some(mapping) = metadata.properties().get(NAME_MAPPING) {
        // Files of snapshots from before may need it.
        properties.iceberg.insert(NAME_MAPPING.to_owned(), extended(mapping, &schema)?);
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
    let format_version = if asked { properties.format_version } else { metadata.format_version() };
    if format_version == FormatVersion::V1
        && !properties.spec.fields().is_empty()
        && metadata.partition_specs_iter().any(|spec| !spec.fields().is_empty())
    {
        return Err(Error::not_supported(format!("the partitioning of table '{}' of format version 1 cannot be replaced", base.name))
            .with_hint("write format_version = 2 into WITH, or DROP TABLE first"));
    }
    Ok(Replacement { schema, spec: properties.spec, sort_order: properties.sort_order, format_version, properties: properties.iceberg })
}
