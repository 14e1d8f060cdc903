//! Decimals beside floating-point numbers. A number that is written with a point is a decimal, as in Trino; where it meets a `real` or a `double`, it becomes one too.
//! DataFusion does so for arithmetic, but for what it compares or chooses from it makes decimals of fifteen digits after the point of all, which are other numbers.

use std::str::FromStr;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType};
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::logical_expr::expr::{Cast, InList, InSubquery, ScalarFunction, TryCast};
use datafusion::logical_expr::{Between, BinaryExpr, Case, Distinct, Expr, ExprSchemable, Join, LogicalPlan, LogicalPlanBuilder, Union};
use datafusion::optimizer::AnalyzerRule;

use super::map_expressions;

/// The functions that give one of their arguments, or compare them.
const CHOOSING: [&str; 6] = ["coalesce", "nullif", "nvl", "greatest", "least", "make_array"];

/// Makes floating-point numbers of the decimals that are compared with such, or are chosen from beside such, and rounds decimals to whole ones as Trino does.
#[derive(Debug)]
pub(super) struct DecimalsAndFloats;

impl AnalyzerRule for DecimalsAndFloats {
    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        let plan = map_expressions(plan, &|schema, expression| expression.transform_up(|expression| alike(schema, expression)))?;
        // From above, since a union of unions has the type of all of their inputs.
        plan.transform_down_with_subqueries(|node| match node {
            LogicalPlan::Union(union) => united(union),
            LogicalPlan::Join(join) => joined(join),
            other => Ok(Transformed::no(other)),
        })
        .data()
    }

    fn name(&self) -> &str {
        "decimals_and_floats"
    }
}

/// Reads numbers that become floating-point ones from their digits: by way of a decimal the last bit may be another one.
#[derive(Debug)]
pub(super) struct ExactFloats;

impl AnalyzerRule for ExactFloats {
    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        map_expressions(plan, &|_, expression| {
            expression.transform_up(|expression| {
                let (Expr::Cast(Cast { expr, field }) | Expr::TryCast(TryCast { expr, field })) = &expression else {
                    return Ok(Transformed::no(expression));
                };
                let Expr::Literal(value, metadata) = expr.as_ref() else { return Ok(Transformed::no(expression)) };
                Ok(match exact_float(value, field.data_type()) {
                    Some(float) => Transformed::yes(Expr::Literal(float, metadata.clone())),
                    None => Transformed::no(expression),
                })
            })
        })
    }

    fn name(&self) -> &str {
        "exact_floats"
    }
}

/// The floating-point number that is written like a decimal; `None` for other values and types.
pub(crate) fn exact_float(value: &ScalarValue, data_type: &DataType) -> Option<ScalarValue> {
    let ScalarValue::Decimal128(Some(unscaled), _, scale) = value else { return None };
    let text = format!("{unscaled}e{}", -i16::from(*scale));
    match data_type {
        DataType::Float64 => f64::from_str(&text).ok().map(ScalarValue::from),
        DataType::Float32 => f32::from_str(&text).ok().map(ScalarValue::from),
        _ => None,
    }
}

fn alike(schema: &DFSchema, mut expression: Expr) -> Result<Transformed<Expr>> {
    let groups: Vec<Vec<&mut Expr>> = match &mut expression {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if op.supports_propagation() => vec![vec![left, right]],
        Expr::Between(Between { expr, low, high, .. }) => vec![vec![expr, low, high]],
        Expr::InList(InList { expr, list, .. }) => vec![std::iter::once(expr.as_mut()).chain(list).collect()],
        Expr::Case(Case { expr, when_then_expr, else_expr }) => {
            let (mut compared, mut chosen): (Vec<&mut Expr>, Vec<&mut Expr>) = (Vec::new(), Vec::new());
            for (when, then) in when_then_expr {
                compared.push(when);
                chosen.push(then);
            }
            chosen.extend(else_expr.as_deref_mut());
            match expr {
                Some(expr) => vec![std::iter::once(expr.as_mut()).chain(compared).collect(), chosen],
                None => vec![chosen],
            }
        }
        Expr::ScalarFunction(ScalarFunction { func, args }) if CHOOSING.contains(&func.name()) => vec![args.iter_mut().collect()],
        Expr::ScalarFunction(ScalarFunction { func, args }) if matches!(func.name(), "ceil" | "floor") => {
            let Some(whole) = args.first_mut().map_or(Ok(None), |argument| widen(schema, argument))? else { return Ok(Transformed::no(expression)) };
            return expression.cast_to(&whole, schema).map(Transformed::yes);
        }
        Expr::InSubquery(membership) => {
            let changed = looked_for(schema, membership)?;
            return Ok(Transformed::new_transformed(expression, changed));
        }
        _ => return Ok(Transformed::no(expression)),
    };
    let mut changed = false;
    for group in groups {
        changed |= make_alike(schema, group)?;
    }
    Ok(Transformed::new_transformed(expression, changed))
}

/// A value that is looked for, and the column that it is looked for in.
fn looked_for(schema: &DFSchema, membership: &mut InSubquery) -> Result<bool> {
    let rows = &membership.subquery.subquery;
    let Ok(value) = membership.expr.get_type(schema) else { return Ok(false) };
    let Some(float) = common_float([&value, rows.schema().field(0).data_type()].into_iter()) else { return Ok(false) };
    if value.is_decimal() {
        *membership.expr = std::mem::take(membership.expr.as_mut()).cast_to(&float, schema)?;
    } else {
        // Under another name: where a join is made of it, DataFusion would take it for two columns of one name.
        let column = Expr::from(rows.schema().qualified_field(0)).cast_to(&float, rows.schema())?.alias("in_value");
        membership.subquery.subquery = Arc::new(LogicalPlanBuilder::new_from_arc(Arc::clone(rows)).project([column])?.build()?);
    }
    Ok(true)
}

/// Gives a decimal that is rounded to a whole one a digit more, since DataFusion has no place for the 1 of `ceil(0.5)`. The type of the result, if that was to do.
fn widen(schema: &DFSchema, argument: &mut Expr) -> Result<Option<DataType>> {
    let Ok(DataType::Decimal128(digits, scale @ 1..)) = argument.get_type(schema) else { return Ok(None) };
    let is_wide = matches!(&*argument, Expr::Cast(Cast { expr, .. }) if expr.get_type(schema)? == DataType::Decimal128(digits - 1, scale));
    if is_wide || digits == DECIMAL128_MAX_PRECISION {
        return Ok(None);
    }
    *argument = std::mem::take(argument).cast_to(&DataType::Decimal128(digits + 1, scale), schema)?;
    Ok(Some(DataType::Decimal128(digits + 1 - scale.unsigned_abs(), 0)))
}

fn make_alike(schema: &DFSchema, group: Vec<&mut Expr>) -> Result<bool> {
    // What has no type yet is no decimal either.
    let types: Vec<Option<DataType>> = group.iter().map(|expression| expression.get_type(schema).ok()).collect();
    let Some(float) = common_float(types.iter().flatten()) else { return Ok(false) };
    for (expression, data_type) in group.into_iter().zip(&types) {
        if data_type.as_ref().is_some_and(DataType::is_decimal) {
            *expression = std::mem::take(expression).cast_to(&float, schema)?;
        }
    }
    Ok(true)
}

/// The type that decimals among these take, if there are both.
fn common_float<'a>(types: impl Iterator<Item = &'a DataType> + Clone) -> Option<DataType> {
    let widest = types.clone().filter(|data_type| data_type.is_floating()).max_by_key(|data_type| data_type.primitive_width());
    widest.filter(|_| types.clone().any(DataType::is_decimal)).cloned()
}

/// The keys of a join.
fn joined(mut join: Join) -> Result<Transformed<LogicalPlan>> {
    let mut changed = false;
    for (left, right) in &mut join.on {
        let types = [left.get_type(join.left.schema())?, right.get_type(join.right.schema())?];
        let Some(float) = common_float(types.iter()) else { continue };
        for (key, (data_type, input)) in [left, right].into_iter().zip(types.iter().zip([&join.left, &join.right])) {
            if data_type.is_decimal() {
                *key = std::mem::take(key).cast_to(&float, input.schema())?;
                changed = true;
            }
        }
    }
    Ok(Transformed::new_transformed(LogicalPlan::Join(join), changed))
}

fn united(union: Union) -> Result<Transformed<LogicalPlan>> {
    let plan = LogicalPlan::Union(union);
    let mut types = vec![Vec::new(); plan.schema().fields().len()];
    types_of_inputs(&plan, &mut types);
    let floats: Vec<Option<DataType>> = types.iter().map(|types| common_float(types.iter())).collect();
    match floats.iter().all(Option::is_none) {
        true => Ok(Transformed::no(plan)),
        false => Ok(Transformed::yes(with_floats(plan, &floats)?)),
    }
}

/// The types of the columns of all inputs of a union, and of the unions among these.
fn types_of_inputs(plan: &LogicalPlan, types: &mut [Vec<DataType>]) {
    match plan {
        LogicalPlan::Union(union) => union.inputs.iter().for_each(|input| types_of_inputs(input, types)),
        LogicalPlan::Distinct(Distinct::All(input)) => types_of_inputs(input, types),
        other => other.schema().fields().iter().zip(types).for_each(|(field, types)| types.push(field.data_type().clone())),
    }
}

/// The same inputs with these types of columns that are decimals.
fn with_floats(plan: LogicalPlan, floats: &[Option<DataType>]) -> Result<LogicalPlan> {
    match plan {
        LogicalPlan::Union(union) => {
            let inputs = union.inputs.into_iter().map(|input| with_floats(Arc::unwrap_or_clone(input), floats).map(Arc::new));
            Ok(LogicalPlan::Union(Union::try_new_with_loose_types(inputs.collect::<Result<Vec<_>>>()?)?))
        }
        LogicalPlan::Distinct(Distinct::All(input)) => {
            Ok(LogicalPlan::Distinct(Distinct::All(Arc::new(with_floats(Arc::unwrap_or_clone(input), floats)?))))
        }
        input => {
            let columns = input.schema().iter().zip(floats).map(|((relation, field), float)| {
                let column = Expr::from((relation, field));
                match float {
                    Some(float) if field.data_type().is_decimal() => {
                        Ok(column.cast_to(float, input.schema())?.alias_qualified(relation.cloned(), field.name()))
                    }
                    _ => Ok(column),
                }
            });
            let columns = columns.collect::<Result<Vec<_>>>()?;
            LogicalPlanBuilder::from(input).project(columns)?.build()
        }
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{Float32Array, Float64Array, RecordBatch};
    use datafusion::arrow::util::pretty::pretty_format_batches;
    use datafusion::execution::session_state::SessionStateBuilder;
    use datafusion::prelude::{SessionConfig, SessionContext};

    use super::*;

    async fn value(sql: &str) -> String {
        let mut config = SessionConfig::new();
        config.options_mut().sql_parser.parse_float_as_decimal = true;
        let state =
            SessionStateBuilder::new().with_config(config).with_default_features().with_analyzer_rules(super::super::analyzer_rules()).build();
        let context = SessionContext::new_with_state(state);
        let (tenth, real) = (Float64Array::from(vec![0.1]), Float32Array::from(vec![0.1]));
        let batch = RecordBatch::try_from_iter([("x", Arc::new(tenth) as _), ("y", Arc::new(real) as _)]).unwrap();
        context.register_batch("t", batch).unwrap();
        let rows = context.sql(sql).await.unwrap().collect().await.unwrap();
        let table = pretty_format_batches(&rows).unwrap().to_string();
        let rows = table.lines().skip(3).filter(|line| line.starts_with('|'));
        let cells = |row: &str| row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>().join(" ");
        rows.map(cells).collect::<Vec<_>>().join(", ")
    }

    #[tokio::test]
    async fn decimals_become_floats_beside_floats() {
        assert_eq!(value("SELECT count(*) FROM t WHERE x = 0.1 AND y = 0.1 AND x IN (0.1, 5) AND x BETWEEN 0.1 AND 0.1").await, "1");
        // In fifteen digits it would be zero.
        assert_eq!(value("SELECT coalesce(NULL, x * x * 0.00000000000000000001, 1.5) > 0 FROM t").await, "true");
        assert_eq!(value("SELECT CASE WHEN x > 0.5 THEN 1.25 ELSE x END FROM t").await, "0.1");
        assert_eq!(value("SELECT count(*) FROM t WHERE x * 0.00000000000000000001 IN (SELECT 0.0) OR x NOT IN (SELECT 0.1)").await, "0");
        assert_eq!(value("SELECT count(*) FROM (SELECT x FROM t EXCEPT SELECT 0.1)").await, "0");
        assert_eq!(
            value("SELECT v FROM (SELECT 1 AS v UNION ALL SELECT 1.5 UNION ALL SELECT x * 0.00000000000000000001 FROM t) WHERE v < 0.5").await,
            "1e-21"
        );
        assert_eq!(value("SELECT v FROM (SELECT x AS v FROM t UNION ALL SELECT 0.25 FROM t) ORDER BY v").await, "0.1, 0.25");
    }

    #[tokio::test]
    async fn decimals_stay_decimals() {
        assert_eq!(value("SELECT 0.1 + 0.2, 98765432109876543.21 + 0.01").await, "0.3 98765432109876543.22");
        assert_eq!(value("SELECT 0.06 + 0.01 = 0.07").await, "true");
    }

    #[tokio::test]
    async fn decimals_are_rounded_to_whole_numbers() {
        assert_eq!(value("SELECT ceil(0.5), floor(-9.5), ceil(9.99), arrow_typeof(ceil(9.99))").await, "1 -10 10 Decimal128(2, 0)");
        assert_eq!(value("SELECT ceil(x), floor(CAST(2 AS decimal(38, 0))) FROM t").await, "1.0 2");
    }

    #[tokio::test]
    async fn floats_have_the_digits_that_are_written() {
        for digits in ["0.30000000000000004", "3.141592653589793238", "9007199254740993.5", "123456789012345678.9", "0.12345678901234567"] {
            let read: f64 = value(&format!("SELECT CAST({digits} AS double)")).await.parse().unwrap();
            assert_eq!(read.to_bits(), digits.parse::<f64>().unwrap().to_bits());
        }
    }
}
