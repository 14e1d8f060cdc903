//! NaN is greater than all numbers here, while the statistics in Parquet files leave it out. So they are believed only of files of which the table's
//! metadata says that a column of floating-point numbers has no NaN; metadata itself is read like that in [`bounds`](super::bounds).

use std::sync::Arc;

use arrow::datatypes::Schema;
use datafusion::common::stats::Precision;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileSource, ParquetSource};
use datafusion::error::Result;
use datafusion::physical_expr::expressions::{case, lit};
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_expr::{PhysicalExpr, conjunction, split_conjunction};
use datafusion_datasource::morsel::{MorselPlanner, Morselizer};

/// A source whose predicate asks for floating-point numbers, for files that may have NaN in them.
pub(super) struct Guarded {
    /// The source, with a predicate that no statistics of these numbers can decide.
    pub(super) source: ParquetSource,
    /// Their columns, by their places in the schema.
    pub(super) columns: Vec<usize>,
}

impl Guarded {
    /// `None` if the predicate asks for no such numbers.
    pub(super) fn new(source: &ParquetSource) -> Result<Option<Self>> {
        let Some(predicate) = source.filter() else { return Ok(None) };
        let schema = source.table_schema().table_schema();
        let columns = floats(&predicate, schema);
        if columns.is_empty() {
            return Ok(None);
        }
        let conditions = split_conjunction(&predicate).into_iter().map(|condition| match floats(condition, schema).is_empty() {
            true => Ok(Arc::clone(condition)),
            // True where the condition is.
            false => case(None, vec![(Arc::clone(condition), lit(true))], Some(lit(false))),
        });
        let predicate = conjunction(conditions.collect::<Result<Vec<_>>>()?);
        Ok(Some(Self { source: source.with_predicate(predicate), columns }))
    }
}

/// The columns of floating-point numbers that an expression names.
fn floats(expression: &Arc<dyn PhysicalExpr>, schema: &Schema) -> Vec<usize> {
    let places = collect_columns(expression).into_iter().filter_map(|column| schema.index_of(column.name()).ok());
    places.filter(|place| schema.field(*place).data_type().is_floating()).collect()
}

/// Reads files by whether they may have NaN in columns that a predicate asks for.
#[derive(Debug)]
pub(super) struct ByNans {
    /// The columns, by their places in the schema.
    pub(super) columns: Vec<usize>,
    /// Reads files without NaN in them.
    pub(super) without: Box<dyn Morselizer>,
    /// Reads the others.
    pub(super) with: Box<dyn Morselizer>,
}

impl Morselizer for ByNans {
    fn plan_file(&self, file: PartitionedFile) -> Result<Box<dyn MorselPlanner>> {
        let statistics = |column: &usize| file.statistics.as_ref()?.column_statistics.get(*column);
        // Bounds are known only where there is no NaN.
        let without = self.columns.iter().all(|column| statistics(column).is_some_and(|known| known.min_value != Precision::Absent));
        if without { self.without.plan_file(file) } else { self.with.plan_file(file) }
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{DataType, Field};
    use datafusion::datasource::table_schema::TableSchema;
    use datafusion::logical_expr::Operator;
    use datafusion::physical_expr::expressions::{binary, col};

    use super::*;

    #[test]
    fn conditions_on_floats_say_nothing_of_statistics() {
        let schema = Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, true), Field::new("x", DataType::Float64, true)]));
        let above = |name: &str, value| binary(col(name, &schema).unwrap(), Operator::Gt, value, &schema).unwrap();
        let source = ParquetSource::new(TableSchema::builder(Arc::clone(&schema)).build());
        let guarded = |predicate| Guarded::new(&source.with_predicate(predicate)).unwrap();
        assert!(guarded(above("id", lit(1_i64))).is_none());
        let both = guarded(conjunction([above("id", lit(1_i64)), above("x", lit(5.0))])).unwrap();
        assert_eq!(both.columns, [1]);
        assert_eq!(both.source.filter().unwrap().to_string(), "id@0 > 1 AND CASE WHEN x@1 > 5 THEN true ELSE false END");
    }
}
