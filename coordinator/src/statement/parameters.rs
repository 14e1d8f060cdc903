//! Query parameters: their types as planning infers them, and their values put into a plan.

use std::collections::HashMap;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{ParamValues, ScalarValue};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{Cast, Expr, LogicalPlan, TryCast};
use nunatak_core::{Code, Error, Result};
use nunatak_engine::error::from_datafusion;
use nunatak_engine::functions::column_cast::cast_scalar;
use nunatak_engine::sql::outward_schema;

/// The parameters of a plan, in order, as a client is told of them. One whose type nothing tells is called text.
pub(super) fn schema(plan: &LogicalPlan) -> Result<SchemaRef> {
    let field = |(number, data_type): (usize, Option<DataType>)| {
        let data_type = match data_type {
            // The JDBC driver binds milliseconds, whatever unit it is told; other clients bind what they have, and values are cast in any case.
            Some(DataType::Timestamp(_, zone)) => DataType::Timestamp(TimeUnit::Millisecond, zone),
            known => known.unwrap_or(DataType::Utf8),
        };
        Field::new(format!("${number}"), data_type, true)
    };
    let fields: Vec<Field> = (1..).zip(types(plan)?).map(field).collect();
    Ok(outward_schema(&Schema::new(fields)))
}

/// The types of a plan's parameters, in order: those that planning infers, else those to which they are cast.
fn types(plan: &LogicalPlan) -> Result<Vec<Option<DataType>>> {
    let mut types = plan.get_parameter_types().map_err(from_datafusion)?;
    for (name, data_type) in cast_types(plan)? {
        types.entry(name).and_modify(|known| *known = known.take().or(Some(data_type)));
    }
    (1..=types.len())
        .map(|number| {
            let name = format!("${number}");
            types.remove(&name).ok_or_else(|| {
                Error::new(Code::InvalidParameterUsage, format!("parameter {name} is missing: parameters are numbered from $1 without a gap"))
            })
        })
        .collect()
}

/// The types that parameters are cast to, by the parameters' names.
fn cast_types(plan: &LogicalPlan) -> Result<HashMap<String, DataType>> {
    let mut types = HashMap::new();
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expression| {
            expression.apply(|inner| {
                let (Expr::Cast(Cast { expr, field }) | Expr::TryCast(TryCast { expr, field })) = inner else {
                    return Ok(TreeNodeRecursion::Continue);
                };
                if let Expr::Placeholder(placeholder) = expr.as_ref() {
                    types.entry(placeholder.id.clone()).or_insert_with(|| field.data_type().clone());
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })
    .map_err(from_datafusion)?;
    Ok(types)
}

/// Puts values into a plan. Errors: `INVALID_PARAMETER_USAGE` when their number is wrong, and those of casts to the types that are wanted, with the parameter.
pub(super) fn bind(plan: LogicalPlan, parameters: Option<&RecordBatch>) -> Result<LogicalPlan> {
    let wanted = plan.get_parameter_names().map_err(from_datafusion)?.len();
    let given = parameters.map_or(0, RecordBatch::num_columns);
    if wanted != given {
        return Err(Error::new(Code::InvalidParameterUsage, format!("the statement has {wanted} parameters, and {given} values are given")));
    }
    let Some(parameters) = parameters.filter(|_| wanted > 0) else { return Ok(plan) };
    if parameters.num_rows() != 1 {
        return Err(Error::new(Code::InvalidParameterUsage, format!("one row of parameter values is wanted, {} are given", parameters.num_rows())));
    }
    let given = (1..).zip(parameters.columns()).zip(types(&plan)?);
    let values = given.map(|((number, column), data_type)| {
        let value = ScalarValue::try_from_array(column, 0);
        // Where nothing tells the type, the value's own is right.
        let value = value.and_then(|value| match data_type {
            Some(data_type) => cast_scalar(value, &data_type),
            None => Ok(value),
        });
        value.map_err(|error| misfit(number, error))
    });
    let values = values.collect::<Result<Vec<_>>>()?;
    plan.with_param_values(ParamValues::from(values)).map_err(from_datafusion)
}

/// The error for a value that does not become one of the type which is wanted in its place.
fn misfit(number: usize, error: DataFusionError) -> Error {
    let error = from_datafusion(error);
    let code = match error.code() {
        code @ (Code::InvalidCastArgument | Code::NumericValueOutOfRange) => code,
        _ => Code::InvalidParameterUsage,
    };
    Error::new(code, format!("parameter ${number}: {}", error.message())).with_source(error)
}
