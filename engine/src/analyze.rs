//! What `ANALYZE` measures: the distinct values of a table's columns.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use datafusion::common::Column;
use datafusion::datasource::provider_as_source;
use datafusion::functions_aggregate::expr_fn::count;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, lit};
use nunatak_catalog::statistics::DistinctValues;
use nunatak_core::{Error, Result};

use crate::error::from_datafusion;
use crate::functions::theta_sketch;
use crate::scan::IcebergTable;
use crate::scan::types::{UNSUPPORTED, field_id};

/// The name of the scan in the plan.
const TABLE: &str = "analyzed";

/// A column that can be measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Measured {
    /// Its name.
    pub name: String,
    /// Its field id.
    pub id: i32,
}

/// The columns of a table of which distinct values can be counted: those of simple types.
pub fn measurable(table: &IcebergTable) -> Vec<Measured> {
    let fields = table.shape().schema().fields().iter();
    let simple = fields.filter(|field| theta_sketch::takes(field.data_type()) && !field.metadata().contains_key(UNSUPPORTED));
    simple.filter_map(|field| Some(Measured { name: field.name().clone(), id: field_id(field)? })).collect()
}

/// One row: how many rows the table has, and a sketch of each column.
pub fn plan(table: IcebergTable, columns: &[Measured]) -> Result<LogicalPlan> {
    let sketch = theta_sketch::function();
    let of_column = |column: &Measured| sketch.call(vec![Expr::Column(Column::new(Some(TABLE), &column.name))]);
    let measures = std::iter::once(count(lit(1))).chain(columns.iter().map(of_column)).collect::<Vec<_>>();
    let scan = LogicalPlanBuilder::scan(TABLE, provider_as_source(Arc::new(table)), None);
    scan.and_then(|scan| scan.aggregate(Vec::<Expr>::new(), measures)?.build()).map_err(from_datafusion)
}

/// The row of [`plan`]: the table's rows, and the distinct values of each column by field id.
pub fn read(batches: &[RecordBatch], columns: &[Measured]) -> Result<(u64, BTreeMap<i32, DistinctValues>)> {
    let incomplete = || Error::internal("the measures of a table are not one row");
    let batch = batches.iter().find(|batch| batch.num_rows() == 1).ok_or_else(incomplete)?;
    let rows = batch.column(0).as_primitive_opt::<Int64Type>().ok_or_else(incomplete)?.value(0);
    let mut values = BTreeMap::new();
    for (column, sketch) in columns.iter().zip(&batch.columns()[1..]) {
        let sketch = sketch.as_binary_opt::<i32>().filter(|sketch| sketch.is_valid(0)).ok_or_else(incomplete)?;
        values.insert(column.id, theta_sketch::distinct_values(sketch.value(0))?);
    }
    Ok((u64::try_from(rows).unwrap_or_default(), values))
}
