//! Arithmetic of whole numbers and decimals as in Trino, where DataFusion lets whole numbers wrap around, gives quotients of decimals four more digits, and products another
//! type: functions (`nunatak_functions`) stand in place of the operators.

use std::sync::{Arc, LazyLock};

use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, LogicalPlan, Operator, ScalarUDF, lit};
use datafusion::optimizer::AnalyzerRule;

use super::{map_node, outer_types};

/// The rule. It comes before types are made alike, when numbers have the types that they were given.
#[derive(Debug)]
pub(super) struct Arithmetic;

impl AnalyzerRule for Arithmetic {
    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        let plan = plan.transform_up_with_subqueries(|node| {
            let node = map_node(node, &|schema, expression| expression.transform_up(|expression| computed(schema, expression)))?;
            // The columns above have the types of these results.
            node.data.recompute_schema().map(Transformed::yes)
        });
        outer_types::refreshed(plan.data()?)
    }

    fn name(&self) -> &str {
        "arithmetic"
    }
}

fn computed(schema: &DFSchema, expression: Expr) -> Result<Transformed<Expr>> {
    let found = match &expression {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => operator(*op).and_then(|function| Some((function, operands(schema, left, right)?))),
        Expr::Negative(value) => function("$negate").filter(|_| is_integer(schema, value)).map(|function| (function, vec![value.as_ref().clone()])),
        _ => None,
    };
    Ok(match found {
        Some((function, operands)) => Transformed::yes(function.call(operands)),
        None => Transformed::no(expression),
    })
}

fn operator(operator: Operator) -> Option<&'static Arc<ScalarUDF>> {
    function(match operator {
        Operator::Plus => "$add",
        Operator::Minus => "$subtract",
        Operator::Multiply => "$multiply",
        Operator::Divide => "$divide",
        Operator::Modulo => "$remainder",
        _ => return None,
    })
}

/// One of the functions. All others have names without the dollar.
fn function(name: &str) -> Option<&'static Arc<ScalarUDF>> {
    static FUNCTIONS: LazyLock<Vec<&'static Arc<ScalarUDF>>> =
        LazyLock::new(|| nunatak_functions::scalars().iter().filter(|function| function.name().starts_with('$')).collect());
    FUNCTIONS.iter().find(|function| function.name() == name).copied()
}

/// The operands, if they are whole numbers or decimals; what has no type is a parameter without a value. NULL beside a decimal is one of one digit.
fn operands(schema: &DFSchema, left: &Expr, right: &Expr) -> Option<Vec<Expr>> {
    let types = [left.get_type(schema).ok()?, right.get_type(schema).ok()?];
    let is_number = |data_type: &DataType| data_type.is_signed_integer() || matches!(data_type, DataType::Decimal128(..));
    if !types.iter().any(is_number) || !types.iter().all(|data_type| is_number(data_type) || data_type.is_null()) {
        return None;
    }
    let has_decimal = types.iter().any(DataType::is_decimal);
    let operand = |(operand, data_type): (&Expr, &DataType)| match data_type.is_null() && has_decimal {
        true => lit(ScalarValue::Decimal128(None, 1, 0)),
        false => operand.clone(),
    };
    Some([left, right].into_iter().zip(&types).map(operand).collect())
}

fn is_integer(schema: &DFSchema, value: &Expr) -> bool {
    value.get_type(schema).is_ok_and(|data_type| data_type.is_signed_integer())
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::datatypes::{Field, Schema};
    use datafusion::logical_expr::{binary_expr, col};

    use super::*;

    fn of(expression: Expr) -> (String, DataType) {
        let field = |name, data_type| Field::new(name, data_type, true);
        let fields =
            vec![field("i", DataType::Int32), field("b", DataType::Int64), field("d", DataType::Decimal128(3, 1)), field("x", DataType::Float64)];
        let schema = DFSchema::try_from(Schema::new(fields)).unwrap();
        let computed = expression.transform_up(|expression| computed(&schema, expression)).unwrap().data;
        (computed.to_string(), computed.get_type(&schema).unwrap())
    }

    #[test]
    fn functions_stand_for_operators() {
        assert_eq!(of(col("i") + col("i")), ("$add(i, i)".to_owned(), DataType::Int32));
        assert_eq!(of(col("i") * col("b")), ("$multiply(i, b)".to_owned(), DataType::Int64));
        assert_eq!(of(col("d") / col("i")), ("$divide(d, i)".to_owned(), DataType::Decimal128(3, 1)));
        assert_eq!(of(col("d") * col("d")).1, DataType::Decimal128(6, 2));
        assert_eq!(of(col("d") + lit(ScalarValue::Null)).1, DataType::Decimal128(4, 1));
        assert_eq!(of(-(col("i") % lit(2_i32))).0, "$negate($remainder(i, Int32(2)))");
    }

    #[test]
    fn other_operators_stay() {
        assert_eq!(of(col("x") + col("i")).0, "x + i");
        assert_eq!(of(binary_expr(col("i"), Operator::Lt, col("b"))).0, "i < b");
        assert_eq!(of(-col("x")).0, "(- x)");
    }
}
