//! `remove_orphan_files`: files below a table's location that no table's metadata names.

use std::time::Duration;

use nunatak_catalog::Table;
use nunatak_catalog::orphans::orphans;
use nunatak_core::units::HumanDuration;
use nunatak_core::{Code, Error, Result};
use nunatak_engine::sql::QualifiedName;

use super::super::StatementContext;
use super::Metrics;
use super::arguments::Arguments;

/// How old orphans are, unless `retention_threshold` says otherwise (Trino's default).
const AGE: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// What clocks of the storage and of this process may differ by.
const CLOCKS_DIFFER_MS: i64 = 5 * 60 * 1000;

pub(super) fn prepare(
    context: StatementContext,
    name: QualifiedName,
    table: Table,
    mut arguments: Arguments,
) -> Result<impl Future<Output = Result<Metrics>> + Send> {
    let age = arguments.duration("retention_threshold")?.unwrap_or(AGE);
    let dry_run = arguments.flag("dry_run")?;
    arguments.end()?;
    let age_min = context.options.orphan_age_min;
    if age < age_min {
        let (age, age_min) = (HumanDuration(age), HumanDuration(age_min));
        return Err(Error::new(Code::InvalidProcedureArgument, format!("retention_threshold is {age}, less than the minimum of {age_min}"))
            .with_hint("files of writers that have not committed yet would be lost; maintenance.orphan_age_min sets the minimum"));
    }
    if !dry_run {
        table.check_owns_files()?;
    }
    Ok(async move {
        let age_ms = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
        let before_ms = chrono::Utc::now().timestamp_millis().saturating_sub(age_ms);
        // Files of queries that run now are in no snapshot yet.
        let others = context.running.oldest_millis(&context.id).map(|begun_ms| begun_ms.saturating_sub(CLOCKS_DIFFER_MS));
        let before_ms = others.unwrap_or(i64::MAX).min(before_ms);
        let found = orphans(context.engine.catalog(&name.catalog)?.as_ref(), &table, before_ms, context.engine.scan().manifest_cache()).await?;
        if !dry_run {
            table.storage.delete_files(&found.files).await?;
        }
        Ok(vec![("orphan_files_count", found.files.len() as u64), ("orphan_files_bytes", found.bytes)])
    })
}
