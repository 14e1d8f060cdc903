//! `m[k]` where `k` is a whole number or a decimal of another type than the keys of `m` are: it becomes such a key, as in Trino. DataFusion compares values of one type only.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::logical_expr::expr::{ScalarFunction, TryCast};
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan};
use datafusion::optimizer::AnalyzerRule;

use super::groups::Part;
use super::map_expressions;

/// Gives keys that are looked up the type of the map's keys. What is none of these is in no map, and becomes NULL.
#[derive(Debug)]
pub(super) struct MapKeys;

impl AnalyzerRule for MapKeys {
    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        map_expressions(plan, &|schema, expression| expression.transform_up(|expression| with_key(schema, expression)))
    }

    fn name(&self) -> &str {
        "map_keys"
    }
}

fn with_key(schema: &DFSchema, mut expression: Expr) -> Result<Transformed<Expr>> {
    let Expr::ScalarFunction(ScalarFunction { func, args }) = &mut expression else { return Ok(Transformed::no(expression)) };
    let ("get_field", [map, index, ..]) = (func.name(), args.as_mut_slice()) else { return Ok(Transformed::no(expression)) };
    // What has no type is a parameter without a value.
    let (Ok(map), Ok(given)) = (map.get_type(schema), index.get_type(schema)) else { return Ok(Transformed::no(expression)) };
    let Some(key) = Part::Keys.of(&map).filter(|key| *key != given && is_exact(key) && is_exact(&given)) else {
        return Ok(Transformed::no(expression));
    };
    *index = match std::mem::take(index) {
        Expr::Literal(value, metadata) => Expr::Literal(as_key(&value, &key)?, metadata),
        other if given.is_integer() => Expr::TryCast(TryCast::new(Box::new(other), key)),
        other => other,
    };
    Ok(Transformed::yes(expression))
}

fn is_exact(data_type: &DataType) -> bool {
    data_type.is_integer() || matches!(data_type, DataType::Decimal128(..))
}

/// The same number as a key; NULL if there is none.
fn as_key(value: &ScalarValue, key: &DataType) -> Result<ScalarValue> {
    let same = |cast: &ScalarValue| cast.cast_to(&value.data_type()).is_ok_and(|back| back == *value);
    match value.cast_to(key).ok().filter(same) {
        Some(cast) => Ok(cast),
        None => ScalarValue::try_from(key),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_the_same_numbers() {
        let key = |value: i64, data_type: DataType| as_key(&ScalarValue::from(value), &data_type).unwrap();
        assert_eq!(key(7, DataType::Int32), ScalarValue::from(7_i32));
        assert_eq!(key(3_000_000_000, DataType::Int32), ScalarValue::Int32(None));
        assert_eq!(key(2, DataType::Decimal128(2, 1)), ScalarValue::Decimal128(Some(20), 2, 1));
        assert_eq!(as_key(&ScalarValue::Decimal128(Some(15), 2, 1), &DataType::Int64).unwrap(), ScalarValue::Int64(None));
    }
}
