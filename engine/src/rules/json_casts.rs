//! Casts to the type `json` and from it. They are functions: its values are text in plans, and a cast of text would leave it as it is.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, ScalarValue, internal_datafusion_err};
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::logical_expr::expr::{AggregateFunction, Cast, TryCast};
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, LogicalPlan, Operator, lit};
use datafusion::optimizer::AnalyzerRule;
use nunatak_core::{Code, Error};
use nunatak_functions::json::from_json::{FROM_JSON, is_target};
use nunatak_functions::json::to_json::{TO_JSON, is_source};
use nunatak_functions::signature::JSON;

use super::{is_refused, map_expressions};
use crate::error::into_datafusion;
use crate::functions::number_cast;
use crate::type_name::type_name;

/// The rule. It comes before types are made alike: all casts that are there yet are those of the statement.
#[derive(Debug)]
pub(super) struct JsonCasts;

impl AnalyzerRule for JsonCasts {
    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        plan.apply_with_subqueries(|node| refuse_order(node).map(|()| TreeNodeRecursion::Continue))?;
        map_expressions(plan, &|schema, expression| expression.transform_up(|expression| json_cast(schema, expression)))
    }

    fn name(&self) -> &str {
        "json_casts"
    }
}

/// JSON has no order. Errors: `TYPE_MISMATCH` for one by it.
fn refuse_order(node: &LogicalPlan) -> Result<()> {
    let LogicalPlan::Sort(sort) = node else { return Ok(()) };
    let schema = sort.input.schema();
    match sort.expr.iter().any(|key| key.expr.get_type(schema.as_ref()).is_ok_and(|data_type| data_type == JSON)) {
        true => Err(mismatch("values of type json have no order".to_owned())),
        false => Ok(()),
    }
}

fn mismatch(message: String) -> datafusion::error::DataFusionError {
    into_datafusion(Error::new(Code::TypeMismatch, message))
}

fn json_cast(schema: &DFSchema, expression: Expr) -> Result<Transformed<Expr>> {
    let is_json = |value: &Expr| value.get_type(schema).is_ok_and(|data_type| data_type == JSON);
    match &expression {
        Expr::Cast(Cast { expr, field }) => {
            if let Some(cast) = cast(schema, expr, field.data_type(), false)? {
                return Ok(Transformed::yes(cast));
            }
        }
        Expr::TryCast(TryCast { expr, field }) => {
            if let Some(cast) = cast(schema, expr, field.data_type(), true)? {
                return Ok(Transformed::yes(cast));
            }
        }
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Lt | Operator::LtEq | Operator::Gt | Operator::GtEq, right })
            if is_json(left.as_ref()) || is_json(right.as_ref()) =>
        {
            return Err(mismatch("values of type json have no order".to_owned()));
        }
        Expr::AggregateFunction(AggregateFunction { func, params }) if matches!(func.name(), "min" | "max") => {
            let data_type = params.args.first().and_then(|value| value.get_type(schema).ok());
            if let Some(data_type) = data_type.filter(|data_type| *data_type == JSON || matches!(data_type, DataType::Map(..))) {
                let message = format!("function '{}' does not take {}: its values have no order", func.name(), type_name(&data_type));
                return Err(into_datafusion(Error::new(Code::FunctionNotFound, message)));
            }
        }
        _ => {}
    }
    Ok(Transformed::no(expression))
}

/// What a cast becomes; `None` if it has nothing to do with JSON.
fn cast(schema: &DFSchema, value: &Expr, to: &DataType, is_try: bool) -> Result<Option<Expr>> {
    // What has no type is a parameter without a value.
    let Ok(from) = value.get_type(schema) else { return Ok(None) };
    if from == *to || from == DataType::Null || !(has_json(&from) || has_json(to)) {
        return Ok(None);
    }
    let refused = || mismatch(format!("{} cannot be cast to {}", type_name(&from), type_name(to)));
    // The JSON within becomes values of the types at its places: as a whole, rows would have to have the same names.
    if to.is_nested() && matches!(from, DataType::List(_) | DataType::Map(..) | DataType::Struct(_)) {
        return match can_cast_within(&from, to) {
            true => number_cast::call(value.clone(), to, is_try).map(Some),
            false => Err(refused()),
        };
    }
    let json = match from == JSON {
        true => value.clone(),
        false if is_source(&from) => function(TO_JSON, vec![value.clone()])?,
        false => return Err(refused()),
    };
    if *to == JSON {
        return Ok(Some(json));
    }
    match is_target(to) {
        true => function(FROM_JSON, vec![json, lit(ScalarValue::try_from(to)?), lit(is_try)]).map(Some),
        false => Err(refused()),
    }
}

/// Whether arrays, maps or rows with JSON in them can be cast to a type.
fn can_cast_within(from: &DataType, to: &DataType) -> bool {
    match (from, to) {
        (from, to) if from == to => true,
        (from, to) if *from == JSON => is_target(to),
        (from, to) if *to == JSON => is_source(from),
        (DataType::List(from), DataType::List(to)) | (DataType::Map(from, _), DataType::Map(to, _)) => {
            can_cast_within(from.data_type(), to.data_type())
        }
        (DataType::Struct(from), DataType::Struct(to)) if from.len() == to.len() => {
            from.iter().zip(to).all(|(from, to)| can_cast_within(from.data_type(), to.data_type()))
        }
        (from, to) => !from.is_nested() && !to.is_nested() && !is_refused(from, to) || from.is_null(),
    }
}

fn function(name: &str, arguments: Vec<Expr>) -> Result<Expr> {
    let functions = nunatak_functions::scalars();
    let function = functions.iter().find(|function| function.name() == name);
    Ok(function.ok_or_else(|| internal_datafusion_err!("there is no function {name}"))?.call(arguments))
}

/// Whether values of a type are JSON, or have such parts.
fn has_json(data_type: &DataType) -> bool {
    match data_type {
        DataType::LargeUtf8 => true,
        DataType::List(field) | DataType::LargeList(field) | DataType::FixedSizeList(field, _) | DataType::Map(field, _) => {
            has_json(field.data_type())
        }
        DataType::Struct(fields) => fields.iter().any(|field| has_json(field.data_type())),
        _ => false,
    }
}
