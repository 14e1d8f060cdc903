//! Copy-on-write: data files with rows that are no longer are written again without them, instead of having deletes beside them.

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder, ident};
use nunatak_catalog::commit::RowDelta;
use nunatak_core::Result;

use crate::error::from_datafusion;
use crate::scan::{HiddenColumn, IcebergTable, ScanContext};

/// What is left of the data files in which `delta` deletes rows, as rows for [`Rows::Rewritten`](super::Rows::Rewritten). The delta's files of deletes are read, so
/// they must not be removed before the rows are; no snapshot needs to have them.
pub async fn remaining_rows(table: &IcebergTable, scan: &Arc<ScanContext>, delta: &RowDelta) -> Result<LogicalPlan> {
    let touched: HashSet<String> = touched_files(delta).collect();
    let mut files = table.load_files().await?.clone().only(&touched);
    files.deletes = Arc::new(files.deletes.with(delta.deletes.iter().map(|(_, file)| file))?);
    let rest = IcebergTable::new(table.table().clone(), table.snapshot().cloned(), Arc::clone(scan))?.with_hidden_columns().with_files(files);

    let lineage = [HiddenColumn::RowId, HiddenColumn::LastUpdatedSequenceNumber].into_iter().filter(|column| rest.hidden_columns().contains(column));
    let lineage: Vec<_> = lineage.map(|column| ident(column.name())).collect();
    let columns: Vec<_> = rest.iceberg_schema().as_struct().fields().iter().map(|field| ident(&field.name)).chain(lineage).collect();
    let rest: Arc<dyn TableProvider> = Arc::new(rest);
    let scan = LogicalPlanBuilder::scan("rest", provider_as_source(rest), None);
    scan.and_then(|scan| scan.project(columns)).and_then(LogicalPlanBuilder::build).map_err(from_datafusion)
}

/// The locations of the data files that `delta` has files of deletes for.
pub fn touched_files(delta: &RowDelta) -> impl Iterator<Item = String> {
    delta.deletes.iter().filter_map(|(_, file)| file.referenced_data_file())
}
