//! `count(DISTINCT x)` of rows, arrays and maps. DataFusion keeps each of these as a part of the batch that it came with, and counts the memory of the whole batch for
//! each of them. So it counts the bytes that tell these values apart.

use std::sync::{Arc, LazyLock};

use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, internal_datafusion_err};
use datafusion::error::Result;
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{Aggregate, Expr, ExprSchemable, LogicalPlan, ScalarUDF};
use datafusion::optimizer::optimizer::ApplyOrder;
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};

/// The rule. It comes after a single `count(DISTINCT x)` has become an aggregation by `x`, whose memory can be given free.
#[derive(Debug)]
pub struct DistinctValues;

impl OptimizerRule for DistinctValues {
    fn name(&self) -> &str {
        "distinct_values"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn rewrite(&self, plan: LogicalPlan, _config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let LogicalPlan::Aggregate(Aggregate { input, .. }) = &plan else { return Ok(Transformed::no(plan)) };
        let (schema, names) = (Arc::clone(input.schema()), NamePreserver::new(&plan));
        plan.map_expressions(|expression| {
            let name = names.save(&expression);
            let changed = expression.transform_up(|expression| by_identity(&schema, expression))?;
            Ok(changed.update_data(|expression| name.restore(expression)))
        })
    }
}

fn by_identity(schema: &DFSchema, expression: Expr) -> Result<Transformed<Expr>> {
    match expression {
        Expr::AggregateFunction(mut call) if counts_nested(schema, &call) => {
            let identity = identity()?;
            call.params.args = call.params.args.into_iter().map(|value| identity.call(vec![value])).collect();
            Ok(Transformed::yes(Expr::AggregateFunction(call)))
        }
        other => Ok(Transformed::no(other)),
    }
}

fn counts_nested(schema: &DFSchema, call: &AggregateFunction) -> bool {
    let [value] = call.params.args.as_slice() else { return false };
    call.params.distinct && call.func.name() == "count" && value.get_type(schema).is_ok_and(|data_type| is_nested(&data_type))
}

fn is_nested(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Struct(_) | DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..) | DataType::Map(..))
}

/// The function whose result is the same where values are not distinct.
pub(super) fn identity() -> Result<&'static Arc<ScalarUDF>> {
    static IDENTITY: LazyLock<Option<&'static Arc<ScalarUDF>>> = LazyLock::new(|| nunatak_functions::scalar("$identity"));
    IDENTITY.ok_or_else(|| internal_datafusion_err!("there is no function '$identity'"))
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::datatypes::{Field, Schema};
    use datafusion::functions_aggregate::expr_fn::{count, count_distinct};
    use datafusion::logical_expr::col;

    use super::*;

    #[test]
    fn nested_values_are_told_apart_by_bytes() {
        let row = DataType::Struct(vec![Field::new("x", DataType::Int64, true)].into());
        let schema = DFSchema::try_from(Schema::new(vec![Field::new("r", row, true), Field::new("i", DataType::Int64, true)])).unwrap();
        let changed = |expression: Expr| by_identity(&schema, expression).unwrap();
        let once = changed(count_distinct(col("r")));
        assert_eq!(once.data.to_string(), "count(DISTINCT $identity(r))");
        assert!(once.transformed && !changed(once.data).transformed);
        assert!(!changed(count_distinct(col("i"))).transformed && !changed(count(col("r"))).transformed);
    }
}
