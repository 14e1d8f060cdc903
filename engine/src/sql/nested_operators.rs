//! Operators of arrays, maps and rows, with Trino's meaning: `a[i]`, `m[k]`, `r[n]`, `a || b` and `MAP(keys, values)`. DataFusion gives NULL for what is not there.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result;
use datafusion::functions::core::expr_fn::get_field;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr, RawFieldAccessExpr};
use datafusion::logical_expr::{Expr, ExprSchemable, GetFieldAccess, lit};
use datafusion::sql::sqlparser::ast::BinaryOperator;
use nunatak_core::{Code, Error};
use nunatak_functions::SUBSCRIPT;

use crate::error::into_datafusion;
use crate::functions::array_numbers::argument_types;
use crate::functions::rename_fields::cast_by_position;
use crate::rules::with_integers_within;

/// Plans them, before DataFusion does.
#[derive(Debug)]
pub(crate) struct NestedOperators;

impl ExprPlanner for NestedOperators {
    fn plan_binary_op(&self, expression: RawBinaryExpr, schema: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
        let is_list = |side: &Expr| matches!(side.get_type(schema), Ok(DataType::List(_)));
        if expression.op == BinaryOperator::StringConcat
            && (is_list(&expression.left) || is_list(&expression.right))
            && let Some(concat) = nunatak_functions::scalar("concat")
        {
            return Ok(PlannerResult::Planned(concat.call(concatenated(expression.left, expression.right, schema)?)));
        }
        Ok(PlannerResult::Original(expression))
    }

    fn plan_field_access(&self, access: RawFieldAccessExpr, schema: &DFSchema) -> Result<PlannerResult<RawFieldAccessExpr>> {
        // DataFusion has a function for an element of `array_agg`.
        if matches!(access.expr, Expr::AggregateFunction(_)) {
            return Ok(PlannerResult::Original(access));
        }
        let data_type = access.expr.get_type(schema)?;
        let RawFieldAccessExpr { field_access, expr } = access;
        match (field_access, &data_type) {
            (GetFieldAccess::ListIndex { key }, DataType::List(_)) => subscript(expr, *key, &data_type, schema),
            (GetFieldAccess::ListIndex { key }, DataType::Map(entries, _)) => subscript(expr, of_keys(*key, entries.data_type()), &data_type, schema),
            (GetFieldAccess::NamedStructField { name }, DataType::Map(..)) => subscript(expr, lit(name), &data_type, schema),
            (GetFieldAccess::ListIndex { key }, DataType::Struct(fields)) => {
                let place = match key.as_ref() {
                    Expr::Literal(ScalarValue::Int64(Some(place)), _) => usize::try_from(*place).ok().and_then(|place| place.checked_sub(1)),
                    Expr::Literal(ScalarValue::Int32(Some(place)), _) => usize::try_from(*place).ok().and_then(|place| place.checked_sub(1)),
                    _ => return Err(into_datafusion(Error::not_supported("a field of a row is taken by a number that is written out"))),
                };
                match place.and_then(|place| fields.get(place)) {
                    Some(field) => Ok(PlannerResult::Planned(get_field(expr, field.name().as_str()))),
                    None => Err(into_datafusion(Error::new(Code::InvalidFunctionArgument, format!("the row has {} fields", fields.len())))),
                }
            }
            (field_access, _) => Ok(PlannerResult::Original(RawFieldAccessExpr { field_access, expr })),
        }
    }

    fn plan_make_map(&self, arguments: Vec<Expr>) -> Result<PlannerResult<Vec<Expr>>> {
        match nunatak_functions::scalar("map") {
            Some(map) => Ok(PlannerResult::Planned(map.call(arguments))),
            None => Ok(PlannerResult::Original(arguments)),
        }
    }
}

/// Both sides of `||`, cast where one is an array and the other has, or is, a value of another type than its elements: rows go by position.
fn concatenated(left: Expr, right: Expr, schema: &DFSchema) -> Result<Vec<Expr>> {
    // A cast to the type that numbers have until the statement is planned would stay.
    let (left, right) = (with_integers_within(left, schema)?, with_integers_within(right, schema)?);
    // What has no type is a parameter without a value.
    let (Ok(of_left), Ok(of_right)) = (left.get_type(schema), right.get_type(schema)) else { return Ok(vec![left, right]) };
    let function = match (&of_left, &of_right) {
        (DataType::List(_), DataType::List(_)) => "array_concat",
        (DataType::List(_), _) => "array_append",
        _ => "array_prepend",
    };
    match argument_types(function, &[of_left, of_right]).as_deref() {
        Some([of_left, of_right]) => Ok(vec![cast_by_position(left, of_left, schema)?, cast_by_position(right, of_right, schema)?]),
        _ => Ok(vec![left, right]),
    }
}

/// Errors: `TYPE_MISMATCH` for what is no position, or no key of the map.
fn subscript(whole: Expr, index: Expr, data_type: &DataType, schema: &DFSchema) -> Result<PlannerResult<RawFieldAccessExpr>> {
    let Some(function) = nunatak_functions::scalar(SUBSCRIPT) else {
        let field_access = GetFieldAccess::ListIndex { key: Box::new(index) };
        return Ok(PlannerResult::Original(RawFieldAccessExpr { field_access, expr: whole }));
    };
    // What has no type is a parameter without a value.
    if let Ok(of_index) = index.get_type(schema)
        && function.coerce_types(&[data_type.clone(), of_index.clone()]).is_err()
    {
        let message = format!("{} cannot be subscripted by {}", data_type.to_string().to_lowercase(), of_index.to_string().to_lowercase());
        return Err(into_datafusion(Error::new(Code::TypeMismatch, message)));
    }
    Ok(PlannerResult::Planned(function.call(vec![whole, index])))
}

/// A number that is written out as a key of the map, if it can be one: all keys would be cast to its type otherwise.
fn of_keys(index: Expr, entries: &DataType) -> Expr {
    let key = match entries {
        DataType::Struct(pair) => pair.first().map(|key| key.data_type()).filter(|key| key.is_integer()),
        _ => None,
    };
    match (index, key) {
        (Expr::Literal(value, metadata), Some(key)) if value.data_type().is_integer() => {
            let cast = value.cast_to(key).unwrap_or(value);
            Expr::Literal(cast, metadata)
        }
        (index, _) => index,
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::datatypes::{Field, Fields};

    use super::*;

    #[test]
    fn written_keys_get_the_type_of_the_map() {
        let entries = |key: DataType| DataType::Struct(Fields::from(vec![Field::new("key", key, false), Field::new("value", DataType::Utf8, true)]));
        assert_eq!(of_keys(lit(7_i64), &entries(DataType::Int32)), lit(7_i32));
        assert_eq!(of_keys(lit(3_000_000_000_i64), &entries(DataType::Int32)), lit(3_000_000_000_i64));
        assert_eq!(of_keys(lit("a"), &entries(DataType::Int32)), lit("a"));
    }
}
