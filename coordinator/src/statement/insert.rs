//! `INSERT`, and what every statement that writes rows shares: run the writer, gather its files, commit them once.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::sqlparser::ast::Statement;
use futures::StreamExt;
use nunatak_catalog::commit::WAP_ID;
use nunatak_catalog::{Branch, Catalog, Table, commit};
use nunatak_core::{Code, Error, Result};
use nunatak_engine::error::from_datafusion;
use nunatak_engine::sql::InsertPlan;
use nunatak_engine::write::{Rows, Unfinished, WriteTarget, Written, discard};

use super::{Outcome, StatementContext, Writer, overwrite, parameters};
use crate::query::Prepared;

/// The entry of a snapshot's summary that names the query that made it.
pub(super) const QUERY_ID_PROPERTY: &str = "nunatak.query-id";

pub(super) async fn run(context: StatementContext, insert: Statement) -> Result<Outcome> {
    if matches!(&insert, Statement::Insert(insert) if insert.overwrite) {
        return overwrite::run(context, insert).await;
    }
    let InsertPlan { table, name, input, .. } = context.planner.plan_insert(insert).await?;
    let input = parameters::bind(input, context.parameters.as_ref())?;
    let catalog = Arc::clone(context.engine.catalog(&name.catalog)?);
    append_rows(context, catalog, table, input).await
}

pub(super) async fn prepare(context: &StatementContext, insert: Statement) -> Result<Prepared> {
    let plan = context.planner.plan_insert(insert).await?;
    Ok(super::update(parameters::schema(&plan.input)?))
}

/// Plans the writing of `input` into a table that exists; the work is done while the outcome is polled.
pub(super) async fn append_rows(context: StatementContext, catalog: Arc<dyn Catalog>, table: Table, input: LogicalPlan) -> Result<Outcome> {
    let writer = writer(&context, &table, &input).await?;
    Ok(Outcome::update(async move {
        let written = write(&context, &writer, &table).await?;
        let count = written.changed_rows();
        if written.files.is_empty() {
            return Ok(Some(0));
        }
        match commit::append(catalog.as_ref(), &table, written.files.clone(), context.summary(&table)).await {
            Ok(_) => Ok(Some(count)),
            Err(error) => {
                discard_unless_unknown(&written, &table, &error).await;
                Err(error)
            }
        }
    }))
}

impl StatementContext {
    /// What goes into the summary of a snapshot that this query makes.
    pub(super) fn summary(&self, table: &Table) -> BTreeMap<String, String> {
        let query_id = (QUERY_ID_PROPERTY.to_owned(), self.id.to_string());
        let wap_id = self.settings.wap_id.clone().filter(|_| table.branch == Branch::Staged).map(|id| (WAP_ID.to_owned(), id));
        std::iter::once(query_id).chain(wap_id).collect()
    }
}

/// The plan that writes `input`'s rows into files of `table`.
pub(super) async fn writer(context: &StatementContext, table: &Table, input: &LogicalPlan) -> Result<Writer> {
    context.write_plan(input, target(context, table)).await
}

/// Where new rows go.
pub(super) fn target(context: &StatementContext, table: &Table) -> WriteTarget {
    WriteTarget::new(table.clone(), &context.id.to_string(), Rows::New)
}

/// Removes the files after a commit that failed, but not when it may have happened.
pub(super) async fn discard_unless_unknown(written: &Written, table: &Table, error: &Error) {
    if error.code() != Code::CommitStateUnknown {
        discard(table, &written.files).await;
    }
}

/// Runs a writer to its end. What it gives is in no snapshot yet.
pub(super) async fn write(context: &StatementContext, writer: &Writer, table: &Table) -> Result<Written> {
    let mut written = Written::default();
    let unfinished = Unfinished::new(table, &writer.name);
    let ran = match &context.analysis {
        Some(analysis) => analysis.run(&writer.plan, &mut |report| written.add(report, table)).await,
        None => {
            async {
                let mut reports = writer.plan.run().await?;
                while let Some(report) = reports.next().await {
                    written.add(&report.map_err(from_datafusion)?, table)?;
                }
                Ok(())
            }
            .await
        }
    };
    match ran {
        Ok(()) => {
            unfinished.ended();
            Ok(written)
        }
        Err(error) => {
            unfinished.failed().await;
            Err(error)
        }
    }
}
