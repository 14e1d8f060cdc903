//! Columns of recursive queries without the ids that they have in their tables. DataFusion wants both parts of such a query to say the same of their columns, beside their types
//! too: `c.path || '/' || s.name` has no id where `s.name`, with which the path begins, has one, and two columns of a table have two.

use std::sync::Arc;

use datafusion::arrow::datatypes::FieldRef;
use datafusion::common::TableReference;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, LogicalPlan, Projection, RecursiveQuery};
use parquet::arrow::PARQUET_FIELD_ID_META_KEY;

use crate::functions::same_value::without_id;

/// A plan as it was made of a statement, with such columns in its recursive queries.
///
/// Errors: those of plans that do not go together.
pub(crate) fn with_plain_recursion(plan: LogicalPlan) -> Result<LogicalPlan> {
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::RecursiveQuery(query) = node {
            found |= has_ids(&query.static_term) || has_ids(&query.recursive_term);
        }
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    if !found {
        return Ok(plan);
    }
    plan.transform_up_with_subqueries(|node| match node {
        LogicalPlan::RecursiveQuery(RecursiveQuery { name, static_term, recursive_term, is_distinct, .. }) => {
            let query = RecursiveQuery::try_new(name, without_ids(static_term)?, without_ids(recursive_term)?, is_distinct)?;
            Ok(Transformed::yes(LogicalPlan::RecursiveQuery(query)))
        }
        other => other.recompute_schema().map(Transformed::yes),
    })
    .data()
}

fn has_ids(term: &LogicalPlan) -> bool {
    term.schema().fields().iter().any(has_id)
}

fn has_id(field: &FieldRef) -> bool {
    field.metadata().contains_key(PARQUET_FIELD_ID_META_KEY)
}

/// The rows of one part. Types stay as they are, with the ids within: the rows that the next round begins with have been given them.
fn without_ids(term: Arc<LogicalPlan>) -> Result<Arc<LogicalPlan>> {
    if !has_ids(&term) {
        return Ok(term);
    }
    let column = |(relation, field): (Option<&TableReference>, &FieldRef)| {
        let column = Expr::from((relation, field));
        if has_id(field) { without_id().call(vec![column]).alias_qualified(relation.cloned(), field.name()) } else { column }
    };
    let columns: Vec<Expr> = term.schema().iter().map(column).collect();
    Projection::try_new(columns, term).map(|rows| Arc::new(LogicalPlan::Projection(rows)))
}
