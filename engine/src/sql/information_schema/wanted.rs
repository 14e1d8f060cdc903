//! What a query wants of a listing, by its filters. They are applied again above it: here they only save work.

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, RecordBatch, StringArray};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::Session;
use datafusion::common::DFSchema;
use datafusion::common::cast::as_boolean_array;
use datafusion::error::Result;
use datafusion::logical_expr::Expr;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::utils::{Guarantee, LiteralGuarantee, collect_columns};

/// The filters of a query over the columns of a listing.
pub(super) struct Wanted {
    /// The value of the first column.
    catalog: String,
    schema: SchemaRef,
    filters: Vec<Arc<dyn PhysicalExpr>>,
}

impl Wanted {
    /// What filters leave of the listing of a catalog. A filter that cannot be used here is passed over.
    pub(super) fn new(state: &dyn Session, catalog: &str, schema: SchemaRef, filters: &[Expr]) -> Result<Self> {
        let columns = DFSchema::try_from(Arc::clone(&schema))?;
        let filters = filters.iter().filter_map(|filter| state.create_physical_expr(filter.clone(), &columns).ok()).collect();
        Ok(Self { catalog: catalog.to_owned(), schema, filters })
    }

    /// The only values that a column of text can have, if filters name some.
    pub(super) fn values(&self, column: usize) -> Option<BTreeSet<String>> {
        let name = self.schema.field(column).name();
        let guarantees = self.filters.iter().flat_map(LiteralGuarantee::analyze);
        let of_column = guarantees.filter(|guarantee| guarantee.column.name == *name && guarantee.guarantee == Guarantee::In);
        let sets = of_column.filter_map(|guarantee| {
            let texts = guarantee.literals.iter().map(|literal| literal.try_as_str()).collect::<Option<Vec<_>>>()?;
            // NULL is equal to nothing.
            Some(texts.into_iter().flatten().map(str::to_owned).collect::<BTreeSet<_>>())
        });
        sets.reduce(|one, other| one.intersection(&other).cloned().collect())
    }

    /// Keeps the rows that may be wanted, by the columns behind the catalog's that `texts` gives.
    pub(super) fn keep<Row, const COLUMNS: usize>(&self, rows: &mut Vec<Row>, texts: impl Fn(&Row) -> [&str; COLUMNS]) {
        let mut columns: Vec<ArrayRef> = vec![Arc::new(StringArray::from_iter_values(rows.iter().map(|_| &self.catalog)))];
        for column in 0..COLUMNS {
            columns.push(Arc::new(StringArray::from_iter_values(rows.iter().map(|row| texts(row)[column]))));
        }
        let known: Vec<usize> = (0..columns.len()).collect();
        let batch = self.schema.project(&known).and_then(|schema| RecordBatch::try_new(Arc::new(schema), columns));
        let Ok(batch) = batch else { return };
        let mut kept = vec![true; rows.len()];
        for filter in self.filters.iter().filter(|filter| collect_columns(filter).iter().all(|column| column.index() < known.len())) {
            // What fails here fails above too, if the rows that it fails at get there.
            let Ok(met) = filter.evaluate(&batch).and_then(|value| value.into_array(batch.num_rows())) else { continue };
            let Ok(met) = as_boolean_array(&met) else { continue };
            kept.iter_mut().enumerate().for_each(|(row, kept)| *kept &= met.is_valid(row) && met.value(row));
        }
        let mut kept = kept.into_iter();
        rows.retain(|_| kept.next().unwrap_or(true));
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::datatypes::{DataType, Field, Schema};
    use datafusion::logical_expr::{col, lit};
    use datafusion::prelude::SessionContext;

    use super::*;

    fn wanted(filters: &[Expr]) -> Wanted {
        let columns = ["table_catalog", "table_schema", "table_name"].map(|name| Field::new(name, DataType::Utf8, true));
        Wanted::new(&SessionContext::new().state(), "lake", Arc::new(Schema::new(columns.to_vec())), filters).unwrap()
    }

    fn set(values: &[&str]) -> Option<BTreeSet<String>> {
        Some(values.iter().map(|value| (*value).to_owned()).collect())
    }

    #[test]
    fn filters_name_values() {
        let named = wanted(&[
            col("table_schema").in_list(vec![lit("a"), lit("b"), lit("c")], false),
            col("table_schema").eq(lit("c")).or(col("table_schema").eq(lit("d"))).and(col("table_name").like(lit("t%"))),
        ]);
        assert_eq!((named.values(1), named.values(2)), (set(&["c"]), None));
        let both = wanted(&[col("table_schema").eq(lit("a")).or(col("table_name").eq(lit("t")))]);
        assert_eq!((both.values(1), both.values(2)), (None, None));
        assert_eq!(wanted(&[col("table_schema").not_eq(lit("a"))]).values(1), None);
    }

    #[test]
    fn rows_are_left_out_by_what_is_known_of_them() {
        let names = |filters: &[Expr]| {
            let mut rows = vec![("s", "t1"), ("s", "u1"), ("r", "t2")];
            wanted(filters).keep(&mut rows, |(schema, table)| [schema, table]);
            rows.iter().map(|(_, table)| *table).collect::<Vec<_>>()
        };
        assert_eq!(names(&[]), ["t1", "u1", "t2"]);
        assert_eq!(names(&[col("table_name").like(lit("t%"))]), ["t1", "t2"]);
        assert_eq!(names(&[col("table_name").like(lit("t%")), col("table_schema").eq(lit("s"))]), ["t1"]);
        let mut schemas = vec!["s", "r"];
        wanted(&[col("table_name").eq(lit("none")), col("table_schema").gt(lit("r"))]).keep(&mut schemas, |schema| [schema]);
        assert_eq!(schemas, ["s"]);
    }
}
