//! Refuses casts that Trino refuses and Arrow makes something of: Arrow counts days, microseconds and months as it keeps them, so that `CAST(d AS integer)` would be a number
//! which says nothing to who reads it. Also calls with numbers of type `bigint` of functions that take integers.

use std::cell::LazyCell;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::DFSchema;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::logical_expr::expr::{Cast, ScalarFunction, TryCast};
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan};
use datafusion::optimizer::AnalyzerRule;
use nunatak_core::{Code, Error};
use nunatak_functions::scalar::{check_integers, takes_integers_only};

use super::input_schema;
use crate::error::into_datafusion;
use crate::type_name::type_name;

/// The rule. It comes first, when there are only those casts that are written.
#[derive(Debug)]
pub(super) struct RefusedCasts;

impl AnalyzerRule for RefusedCasts {
    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        plan.apply_with_subqueries(|node| {
            let schema = LazyCell::new(|| input_schema(node));
            node.apply_expressions(|expression| {
                expression.apply(|part| {
                    if let Expr::ScalarFunction(call) = part
                        && takes_integers_only(&call.func)
                    {
                        check_integers_of(call, &schema)?;
                    }
                    let (Expr::Cast(Cast { expr: value, field }) | Expr::TryCast(TryCast { expr: value, field })) = part else {
                        return Ok(TreeNodeRecursion::Continue);
                    };
                    let to = field.data_type();
                    // DataFusion subtracts times of day so, in a plan that was analysed before.
                    if matches!(to, DataType::Duration(_)) {
                        return Ok(TreeNodeRecursion::Jump);
                    }
                    // What has no type is a parameter without a value.
                    match value.get_type(&*schema) {
                        Ok(from) if is_refused(&from, to) => Err(refusal(&from, to)),
                        _ => Ok(TreeNodeRecursion::Continue),
                    }
                })
            })
        })?;
        Ok(plan)
    }

    fn name(&self) -> &str {
        "refused_casts"
    }
}

/// Checks a call of a function that takes integers only, which whole numbers that are written out have become by now. Errors: `FUNCTION_NOT_FOUND`.
fn check_integers_of(call: &ScalarFunction, schema: &DFSchema) -> Result<()> {
    // What has no type is a parameter without a value.
    let Ok(types) = call.args.iter().map(|argument| argument.get_type(schema)).collect::<Result<Vec<_>>>() else { return Ok(()) };
    let constants = call.args.iter().map(|argument| if let Expr::Literal(value, _) = argument { Some(value) } else { None });
    check_integers(&call.func, &types, &constants.collect::<Vec<_>>())
}

/// Whether values of a type, or what is within them, are no values of another one, whatever Arrow makes of them.
pub(crate) fn is_refused(from: &DataType, to: &DataType) -> bool {
    use DataType::{Boolean, List, Map, Struct};
    match (from, to) {
        (List(from), List(to)) | (Map(from, _), Map(to, _)) => is_refused(from.data_type(), to.data_type()),
        (Struct(from), Struct(to)) if from.len() != to.len() => true,
        (Struct(from), Struct(to)) => from.iter().zip(to).any(|(from, to)| is_refused(from.data_type(), to.data_type())),
        // Arrow makes an array of one element of a value, and texts of arrays; those of JSON are no casts here.
        (from, to) if from.is_nested() != to.is_nested() => !from.is_null(),
        (from, to) => is_temporal(from) && (to.is_numeric() || *to == Boolean) || is_temporal(to) && (from.is_numeric() || *from == Boolean),
    }
}

fn is_temporal(data_type: &DataType) -> bool {
    use DataType::{Date32, Date64, Interval, Time32, Time64, Timestamp};
    matches!(data_type, Date32 | Date64 | Time32(_) | Time64(_) | Timestamp(..) | Interval(_))
}

fn refusal(from: &DataType, to: &DataType) -> datafusion::error::DataFusionError {
    use DataType::{Date32, Interval, Time64, Timestamp};
    let error = Error::new(Code::TypeMismatch, format!("cannot cast {} to {}", type_name(from), type_name(to)));
    let hint = match (from, to) {
        (Date32, to) if to.is_numeric() => "date_diff('day', DATE '1970-01-01', d) is a number of days",
        (Timestamp(..), to) if to.is_numeric() => "to_unixtime(t) is a number of seconds",
        (Time64(_), to) if to.is_numeric() => "extract(epoch FROM t) is a number of seconds",
        (Interval(_), to) if to.is_numeric() => "extract(epoch FROM i) is a number of seconds",
        (from, Date32) if from.is_numeric() => "DATE '1970-01-01' + n counts days",
        (from, Timestamp(..)) if from.is_numeric() => "from_unixtime(n) takes seconds",
        (from, Time64(_)) if from.is_numeric() => "TIME '00:00' + n * INTERVAL '1' SECOND counts seconds",
        (from, Interval(_)) if from.is_numeric() => "n * INTERVAL '1' SECOND counts seconds",
        _ => return into_datafusion(error),
    };
    into_datafusion(error.with_hint(hint))
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::datatypes::{Field, TimeUnit};

    use super::*;

    #[test]
    fn numbers_are_no_moments() {
        let moment = DataType::Timestamp(TimeUnit::Microsecond, None);
        assert!(
            is_refused(&DataType::Date32, &DataType::Int32)
                && is_refused(&DataType::Int64, &moment)
                && is_refused(&DataType::Boolean, &DataType::Date32)
        );
        let list = |element| DataType::new_list(element, true);
        assert!(is_refused(&list(DataType::Int32), &list(DataType::Date32)));
        assert!(
            !is_refused(&DataType::Date32, &moment) && !is_refused(&DataType::Utf8, &moment) && !is_refused(&DataType::Boolean, &DataType::Int32)
        );
        assert!(!is_refused(&DataType::Null, &moment));
    }

    #[test]
    fn values_are_no_arrays_or_rows() {
        let list = DataType::new_list(DataType::Int32, true);
        let row = |count: usize| DataType::Struct((0..count).map(|place| Field::new(format!("c{place}"), DataType::Int32, true)).collect());
        assert!(is_refused(&DataType::Int32, &list) && is_refused(&DataType::Utf8, &list) && is_refused(&list, &DataType::Utf8));
        assert!(
            is_refused(&row(2), &row(1))
                && is_refused(&row(1), &row(2))
                && is_refused(&DataType::new_list(row(2), true), &DataType::new_list(row(1), true))
        );
        assert!(!is_refused(&row(2), &row(2)) && !is_refused(&DataType::Null, &list) && !is_refused(&list, &list));
    }
}
