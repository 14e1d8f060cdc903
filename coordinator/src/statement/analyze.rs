//! `ANALYZE`: counts the distinct values of a table's columns and keeps the counts beside its current snapshot, where the optimiser and other engines find them.

use std::sync::Arc;

use datafusion::sql::sqlparser::ast::ObjectName;
use futures::TryStreamExt;
use nunatak_catalog::statistics;
use nunatak_core::{Code, Error, Result};
use nunatak_engine::analyze::{self, Measured};
use nunatak_engine::error::{from_datafusion, suggest};
use nunatak_engine::files::OptionValue;
use nunatak_engine::scan::IcebergTable;
use nunatak_engine::sql::column_place;

use super::{Outcome, StatementContext};

/// The one property there is.
const COLUMNS: &str = "columns";

/// Measures a table; the work is done while the outcome is polled. It tells how many rows the table has.
pub(super) async fn run(context: StatementContext, name: &ObjectName, properties: &[(String, OptionValue)]) -> Result<Outcome> {
    let name = context.resolve(name)?;
    let table = context.planner.table(&name).await?;
    let Some(snapshot) = table.head().cloned() else { return Ok(Outcome::update(async { Ok(Some(0)) })) };
    let scan = IcebergTable::new(table.clone(), Some(Arc::clone(&snapshot)), Arc::clone(context.engine.scan()))?;
    let columns = chosen(analyze::measurable(&scan), properties)?;
    let planned = context.physical_plan(&analyze::plan(scan, &columns)?, None).await?;
    let catalog = Arc::clone(context.engine.catalog(&name.catalog)?);
    Ok(Outcome::update(async move {
        let batches: Vec<_> = planned.run().await?.try_collect().await.map_err(from_datafusion)?;
        let (rows, values) = analyze::read(&batches, &columns)?;
        if !values.is_empty() {
            statistics::write(catalog.as_ref(), &table, &snapshot, &values).await?;
        }
        Ok(Some(rows))
    }))
}

/// The columns that are named, or all. Errors: `INVALID_ANALYZE_PROPERTY`.
fn chosen(all: Vec<Measured>, properties: &[(String, OptionValue)]) -> Result<Vec<Measured>> {
    let Some((name, value)) = properties.first() else { return Ok(all) };
    if properties.len() > 1 || name != COLUMNS {
        let name = properties.iter().map(|(name, _)| name).find(|name| *name != COLUMNS).unwrap_or(name);
        return Err(wrong(format!("analyze property '{name}' does not exist, or is given twice")).with_hint("there is columns = ARRAY['a', 'b']"));
    }
    let OptionValue::List(names) = value else {
        return Err(wrong("analyze property 'columns' must be an array of texts").with_hint("write columns = ARRAY['a', 'b']"));
    };
    let find = |name: &String| {
        let place = column_place(name, all.iter().map(|column| column.name.as_str()));
        place.and_then(|place| all.get(place)).cloned().ok_or_else(|| {
            let unknown = wrong(format!("the table has no column '{name}' of a type whose values can be counted"));
            suggest(unknown, name, all.iter().map(|column| column.name.as_str()))
        })
    };
    names.iter().map(find).collect()
}

fn wrong(what: impl Into<String>) -> Error {
    Error::new(Code::InvalidAnalyzeProperty, what)
}
