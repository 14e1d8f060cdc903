//! `COPY INTO t FROM 'path or glob' (FORMAT ..., ...)`.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, col};
use nunatak_core::{Code, Error, Result};
use nunatak_engine::error::from_datafusion;
use nunatak_engine::files::{FileFormat, FileOptions, OptionValue, file_table};
use nunatak_engine::scan::types::table_schema;
use nunatak_engine::scan::values::write_defaults;
use nunatak_engine::sql::option_text;
use nunatak_engine::sql::statement::CopyInto;

use super::{Outcome, StatementContext, insert};

pub(super) async fn run(context: StatementContext, copy: CopyInto) -> Result<Outcome> {
    let name = context.resolve(&copy.table)?;
    let table = context.planner.table(&name).await?;
    let (format, options) = format_and_options(&copy)?;
    let schema = table_schema(table.metadata.current_schema())?;
    let files =
        file_table(context.planner.state(), format, &copy.pattern, &FileOptions::from_pairs(format, &options)?, Some(Arc::clone(&schema))).await?;
    let defaults = write_defaults(table.metadata.current_schema(), &schema);
    let input = cast_to(context.planner.plan_files(files)?, &schema, &defaults)?;
    let catalog = Arc::clone(context.engine.catalog(&name.catalog)?);
    insert::append_rows(context, catalog, table, input).await
}

/// The format, from `FORMAT` or the file's ending, and the other options.
fn format_and_options(copy: &CopyInto) -> Result<(FileFormat, Vec<(String, OptionValue)>)> {
    let (formats, options): (Vec<_>, Vec<_>) = copy.options.iter().cloned().partition(|(name, _)| name == "format");
    let named = formats.first().map(|(_, value)| option_text(value).to_lowercase());
    let pattern = copy.pattern.to_lowercase();
    let ending = || [".csv", ".json", ".parquet"].into_iter().find(|ending| pattern.contains(ending)).map(|ending| ending[1..].to_owned());
    match named.or_else(ending).as_deref() {
        Some("csv") => Ok((FileFormat::Csv, options)),
        Some("json") => Ok((FileFormat::Json, options)),
        Some("parquet") => Ok((FileFormat::Parquet, options)),
        Some(other) => Err(Error::new(Code::InvalidArguments, format!("COPY INTO has no format '{other}'")).with_hint("FORMAT csv, json or parquet")),
        None => Err(Error::new(Code::InvalidArguments, format!("the format of '{}' is not known", copy.pattern))
            .with_hint("add (FORMAT csv), json or parquet")),
    }
}

/// Projects a plan to exactly the columns and types of a table; columns that the files lack have their default, or NULL.
fn cast_to(plan: LogicalPlan, schema: &arrow::datatypes::Schema, defaults: &HashMap<String, Expr>) -> Result<LogicalPlan> {
    let expressions = schema
        .fields()
        .iter()
        .map(|field| {
            let found = plan.schema().fields().iter().find(|candidate| candidate.name().eq_ignore_ascii_case(field.name()));
            let expression = match found {
                Some(found) => col(datafusion::common::Column::new_unqualified(found.name())),
                None => defaults.get(field.name()).cloned().unwrap_or(Expr::Literal(datafusion::common::ScalarValue::Null, None)),
            };
            Ok(expression.cast_to(field.data_type(), plan.schema().as_ref())?.alias(field.name()))
        })
        .collect::<datafusion::error::Result<Vec<_>>>()
        .map_err(from_datafusion)?;
    LogicalPlanBuilder::from(plan).project(expressions).and_then(LogicalPlanBuilder::build).map_err(from_datafusion)
}
