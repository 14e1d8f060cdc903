//! Arithmetic of whole numbers and decimals as in Trino, where DataFusion lets whole numbers wrap around, gives quotients of decimals four more digits, and products another
//! type: functions (`nunatak_functions`) stand in place of the operators.

use std::iter;
use std::sync::{Arc, LazyLock};

use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, LogicalPlan, Operator, ScalarUDF, lit};
use datafusion::optimizer::AnalyzerRule;
use nunatak_core::{Code, Error};

use super::{map_node, outer_types};
use crate::error::into_datafusion;
use crate::type_name::type_name;

const DAY_NANOS: i64 = 86_400_000_000_000;

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
    let expression = match added(schema, expression) {
        Ok(sum) => return Ok(Transformed::yes(sum)),
        Err(other) => other,
    };
    let found = match &expression {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => match operator(*op) {
            // What has no type is a parameter without a value.
            Some(function) => match (type_of(schema, left), type_of(schema, right)) {
                (Ok(left_type), Ok(right_type)) => {
                    if matches!(op, Operator::Plus | Operator::Minus) {
                        check_dates((left.as_ref(), &left_type), (right.as_ref(), &right_type))?;
                    }
                    operands([(left.as_ref(), &left_type), (right.as_ref(), &right_type)]).map(|operands| (function, operands))
                }
                _ => None,
            },
            None => None,
        },
        Expr::Negative(value) => function("$negate").filter(|_| is_integer(schema, value)).map(|function| (function, vec![value.as_ref().clone()])),
        _ => None,
    };
    Ok(match found {
        Some((function, operands)) => Transformed::yes(function.call(operands)),
        None => Transformed::no(expression),
    })
}

const ADD: &str = "$add";

/// A sum with one more operand. As calls one in the other, sums of many would be as deep as they are long, and DataFusion asks each for its type, which asks all below
/// it. Gives back what is something else.
fn added(schema: &DFSchema, expression: Expr) -> std::result::Result<Expr, Expr> {
    match expression {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Plus, right }) if is_more_of_it(schema, &left, &right) => match *left {
            Expr::ScalarFunction(mut sum) => {
                sum.args.push(*right);
                Ok(Expr::ScalarFunction(sum))
            }
            left => Err(Expr::BinaryExpr(BinaryExpr { left: Box::new(left), op: Operator::Plus, right })),
        },
        other => Err(other),
    }
}

/// Whether a number can be the next operand of a sum: the sum is of its type, or all are decimals. A constant stays apart, since a comparison with `x + 1` becomes one
/// with `x`.
fn is_more_of_it(schema: &DFSchema, sum: &Expr, number: &Expr) -> bool {
    let Expr::ScalarFunction(call) = sum else { return false };
    if call.func.name() != ADD || matches!(number, Expr::Literal(..)) {
        return false;
    }
    let Ok(wanted) = type_of(schema, number) else { return false };
    let has_it = |operand: &Expr| type_of(schema, operand).is_ok_and(|data_type| data_type == wanted);
    let is_decimal = |operand: &Expr| type_of(schema, operand).is_ok_and(|data_type| data_type.is_decimal());
    match call.args.as_slice() {
        // The operands behind the second one have been looked at when they came.
        [_, _, .., last] if wanted.is_signed_integer() => has_it(last),
        [_, _, .., last] if wanted.is_decimal() => is_decimal(last),
        [_, _] if wanted.is_signed_integer() => has_it(sum),
        [left, right] if wanted.is_decimal() => is_decimal(left) && is_decimal(right),
        _ => false,
    }
}

/// Errors: `TYPE_MISMATCH` for a number that is added to a date, which DataFusion takes for days; `INVALID_FUNCTION_ARGUMENT` for hours that are, which it would drop.
fn check_dates((left, left_type): (&Expr, &DataType), (right, right_type): (&Expr, &DataType)) -> Result<()> {
    let (other, other_type) = match (left_type, right_type) {
        (DataType::Date32, other_type) => (right, other_type),
        (other_type, DataType::Date32) => (left, other_type),
        _ => return Ok(()),
    };
    if other_type.is_numeric() {
        let error = Error::new(Code::TypeMismatch, format!("a date and {} are neither added nor subtracted", type_name(other_type)));
        return Err(into_datafusion(error.with_hint("write INTERVAL '1' DAY for one day, or date_add('day', n, d)")));
    }
    match other {
        Expr::Literal(ScalarValue::IntervalMonthDayNano(Some(interval)), _) if interval.nanoseconds % DAY_NANOS != 0 => {
            let error = Error::new(Code::InvalidFunctionArgument, "hours, minutes and seconds cannot be added to a date");
            Err(into_datafusion(error.with_hint("CAST the date to timestamp")))
        }
        _ => Ok(()),
    }
}

fn operator(operator: Operator) -> Option<&'static Arc<ScalarUDF>> {
    function(match operator {
        Operator::Plus => ADD,
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

/// The type of an operand. Operators in a row are functions, one the first operand of the next: to say the type of one DataFusion names each of them.
fn type_of(schema: &DFSchema, operand: &Expr) -> Result<DataType> {
    let (mut calls, mut first) = (Vec::new(), operand);
    while let Expr::ScalarFunction(call) = first
        && function(call.func.name()).is_some()
        && let Some(operand) = call.args.first()
    {
        calls.push(call);
        first = operand;
    }
    let mut found = first.get_type(schema)?;
    for call in calls.into_iter().rev() {
        let others = call.args.iter().skip(1).map(|operand| type_of(schema, operand));
        let types: Vec<DataType> = iter::once(Ok(found)).chain(others).collect::<Result<_>>()?;
        found = call.func.return_type(&types)?;
    }
    Ok(found)
}

/// The operands, if they are whole numbers or decimals. NULL beside a decimal is one of one digit.
fn operands(operands: [(&Expr, &DataType); 2]) -> Option<Vec<Expr>> {
    let is_number = |data_type: &DataType| data_type.is_signed_integer() || matches!(data_type, DataType::Decimal128(..));
    let mut types = operands.iter().map(|(_, data_type)| *data_type);
    if !types.clone().any(is_number) || !types.clone().all(|data_type| is_number(data_type) || data_type.is_null()) {
        return None;
    }
    let has_decimal = types.any(DataType::is_decimal);
    let operand = |(operand, data_type): (&Expr, &DataType)| match data_type.is_null() && has_decimal {
        true => lit(ScalarValue::Decimal128(None, 1, 0)),
        false => operand.clone(),
    };
    Some(operands.into_iter().map(operand).collect())
}

fn is_integer(schema: &DFSchema, value: &Expr) -> bool {
    type_of(schema, value).is_ok_and(|data_type| data_type.is_signed_integer())
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
        assert_eq!(of(col("i") + col("i") + col("i")), ("$add(i, i, i)".to_owned(), DataType::Int32));
        assert_eq!(of(col("b") + col("i") + col("b") + col("i")), ("$add($add(b, i, b), i)".to_owned(), DataType::Int64));
        assert_eq!(of(col("i") + col("i") + col("b")), ("$add($add(i, i), b)".to_owned(), DataType::Int64));
        assert_eq!(of(col("d") + col("d") + col("d")), ("$add(d, d, d)".to_owned(), DataType::Decimal128(5, 1)));
        assert_eq!(of(col("i") + lit(1_i32) + lit(2_i32)).0, "$add($add(i, Int32(1)), Int32(2))");
        assert_eq!(of(-(col("i") % lit(2_i32))).0, "$negate($remainder(i, Int32(2)))");
    }

    #[test]
    fn dates_have_days_alone() {
        let date = || lit(ScalarValue::Date32(Some(0)));
        let hours = |hours: i64| lit(ScalarValue::new_interval_mdn(0, 1, hours * 3_600_000_000_000));
        let refused = |expression: Expr| computed(&DFSchema::empty(), expression).is_err();
        assert!(refused(date() + lit(1_i64)) && refused(date() - lit(1_i32)) && refused(date() + hours(1)) && refused(hours(25) + date()));
        assert!(!refused(date() + hours(24)) && !refused(date() - date()) && !refused(date() + lit(ScalarValue::Null)));
    }

    #[test]
    fn other_operators_stay() {
        assert_eq!(of(col("x") + col("i")).0, "x + i");
        assert_eq!(of(binary_expr(col("i"), Operator::Lt, col("b"))).0, "i < b");
        assert_eq!(of(-col("x")).0, "(- x)");
    }
}
