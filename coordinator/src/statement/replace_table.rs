//! `CREATE OR REPLACE TABLE` of a table that exists: it gets other columns and rows in one step, and keeps its history. It replaces whatever is there then; when what it
//! was planned with does not hold any more, all of it again.

use std::sync::Arc;

use datafusion::logical_expr::LogicalPlan;
use nunatak_catalog::adopted::ADOPTED;
use nunatak_catalog::commit::{CommitError, Replacement, Retries, RetryPolicy, replace, replace_by_empty};
use nunatak_catalog::evolution::check_defaults;
use nunatak_catalog::name_mapping::{NAME_MAPPING, extended};
use nunatak_catalog::properties::check_places;
use nunatak_catalog::replaced_columns::replacing_schema;
use nunatak_catalog::spec::{FormatVersion, Schema};
use nunatak_catalog::{Branch, Catalog, Table, reserved_columns};
use nunatak_core::{Code, Error, Result};
use nunatak_engine::sql::statement::CreateTable;
use nunatak_engine::write::discard;

use super::create_table::{cast_to_table, plan_query};
use super::table_properties::TableProperties;
use super::{Outcome, StatementContext, Writer, insert};

pub(super) async fn run(mut context: StatementContext, catalog: Arc<dyn Catalog>, base: Table, create: CreateTable) -> Result<Outcome> {
    if base.is_audited() && context.settings.wap_branch() != Branch::Main {
        // Its rows could wait, its columns and properties cannot.
        return Err(Error::not_supported(format!("table '{}' cannot be replaced in a session whose changes of it wait to be published", base.name))
            .with_hint("RESET SESSION wap_id or wap_branch to replace it at once; INSERT OVERWRITE replaces the rows alone, and waits"));
    }
    let (plan, schema) = match &create.query {
        Some(query) => {
            let (plan, schema) = plan_query(&context, (**query).clone(), &create.columns).await?;
            (Some(plan).filter(|_| create.with_data), schema)
        }
        None => (None, context.planner.new_schema(&create.columns)?),
    };
    let given = TableProperties::parse(&create.properties, &schema)?.iceberg;
    check_places(catalog.as_ref(), &base, &given).await?;
    let Some(plan) = plan else {
        replace_by_empty(catalog.as_ref(), &base, |now| replacement(now, &create, &schema)).await?;
        // What has a query counts rows, be it WITH NO DATA.
        let count = create.query.is_some().then_some(0);
        return Ok(Outcome::update(async move { Ok(count) }));
    };
    let mut rows = Rows::plan(&context, base, &create, plan, &schema).await?;
    Ok(Outcome::update(async move {
        let mut retries = Retries::new(RetryPolicy::from_properties(&rows.replacement.properties)?);
        loop {
            match rows.write(&context, catalog.as_ref()).await {
                Ok(count) => return Ok(Some(count)),
                Err(CommitError::Conflict(error)) => retries.wait(error).await?,
                Err(error) => return Err(error.into_error()),
            }
            context.forget_tables();
            rows = again(&context, catalog.as_ref(), &rows.base, &create).await?;
        }
    }))
}

/// Plans the statement once more, for the table as it is now.
async fn again(context: &StatementContext, catalog: &dyn Catalog, base: &Table, create: &CreateTable) -> Result<Rows> {
    let dropped = || Error::new(Code::TableNotFound, format!("table '{}' was dropped while its rows were written", base.name));
    let base = catalog.load_table(&base.name).await?.ok_or_else(dropped)?;
    let query = create.query.as_deref().cloned().ok_or_else(|| Error::internal("a table without a query has no rows"))?;
    let (plan, schema) = plan_query(context, query, &create.columns).await?;
    Rows::plan(context, base, create, plan, &schema).await
}

/// The rows of a table that is replaced, as they are to be written.
struct Rows {
    base: Table,
    replacement: Replacement,
    /// The table as it will be.
    staged: Table,
    writer: Writer,
    /// Whether some of them are rows that the table has now.
    reads_base: bool,
}

impl Rows {
    async fn plan(context: &StatementContext, base: Table, create: &CreateTable, plan: LogicalPlan, schema: &Schema) -> Result<Self> {
        let replacement = replacement(&base, create, schema)?;
        let staged = replacement.staged(&base)?;
        let writer = insert::writer(context, &staged, &cast_to_table(plan, &staged)?).await?;
        Ok(Self { reads_base: context.planner.reads(&base), base, replacement, staged, writer })
    }

    /// One attempt: how many rows the table has after it.
    async fn write(&self, context: &StatementContext, catalog: &dyn Catalog) -> Result<u64, CommitError> {
        let Self { base, replacement, staged, writer, reads_base } = self;
        let written = insert::write(context, writer, staged).await?;
        match replace(catalog, base, replacement, *reads_base, written.files.clone(), &context.summary(base)).await {
            Ok(_) => Ok(written.changed_rows()),
            Err(CommitError::Unknown(error)) => Err(CommitError::Unknown(error)),
            Err(error) => {
                discard(base, &written.files).await;
                Err(error)
            }
        }
    }
}

/// What the statement makes of the table.
fn replacement(base: &Table, create: &CreateTable, schema: &Schema) -> Result<Replacement> {
    let metadata = &base.metadata;
    reserved_columns::check_names(schema)?;
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
    if let Some(adopted) = metadata.properties().get(ADOPTED) {
        // So do snapshots from before have their files.
        properties.iceberg.insert(ADOPTED.to_owned(), adopted.clone());
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
