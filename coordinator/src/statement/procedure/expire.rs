//! `expire_snapshots`: snapshots that nobody needs any more, and their files.

use nunatak_catalog::Table;
use nunatak_catalog::expiry::{Expired, Expiry, expirable, expire};
use nunatak_core::Result;
use nunatak_engine::sql::QualifiedName;

use super::super::StatementContext;
use super::Metrics;
use super::arguments::Arguments;

pub(super) fn prepare(
    context: StatementContext,
    name: QualifiedName,
    table: Table,
    mut arguments: Arguments,
) -> Result<impl Future<Output = Result<Metrics>> + Send> {
    let age = arguments.duration("retention_threshold")?;
    let expiry = Expiry {
        snapshot_age_ms: age.map(|age| i64::try_from(age.as_millis()).unwrap_or(i64::MAX)),
        snapshots_min: arguments.number("retain_last")?,
    };
    let dry_run = arguments.flag("dry_run")?;
    arguments.end()?;
    Ok(async move {
        let (now_ms, cache) = (chrono::Utc::now().timestamp_millis(), context.engine.scan().manifest_cache());
        let catalog = context.engine.catalog(&name.catalog)?;
        let Expired { snapshots, refs, files, left } = match dry_run {
            true => expirable(catalog.as_ref(), &table, expiry, now_ms, cache).await?,
            false => expire(catalog.as_ref(), &table, expiry, now_ms, cache).await?,
        };
        let count = |number: usize| number as u64;
        let mut metrics = vec![
            ("expired_snapshots_count", count(snapshots.len())),
            ("expired_references_count", count(refs.len())),
            ("deleted_files_count", count(files.len())),
        ];
        if !left.is_empty() {
            metrics.push(("undeleted_files_count", count(left.len())));
        }
        Ok(metrics)
    })
}
