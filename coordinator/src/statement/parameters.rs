//! Query parameters: their types as planning infers them, and their values put into a plan.

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::{ParamValues, ScalarValue};
use datafusion::logical_expr::LogicalPlan;
use nunatak_core::{Code, Error, Result};
use nunatak_engine::error::from_datafusion;
use nunatak_engine::sql::outward_schema;

/// The parameters of a plan, in order. A parameter whose type nothing tells is taken as text.
pub(super) fn schema(plan: &LogicalPlan) -> Result<SchemaRef> {
    let types = plan.get_parameter_types().map_err(from_datafusion)?;
    let fields = (1..=types.len())
        .map(|number| {
            let name = format!("${number}");
            let data_type = types.get(&name).ok_or_else(|| {
                Error::new(Code::InvalidParameterUsage, format!("parameter {name} is missing: parameters are numbered from $1 without a gap"))
            })?;
            Ok(Field::new(name, data_type.clone().unwrap_or(DataType::Utf8), true))
        })
        .collect::<Result<Vec<_>>>()?;
    Ok(outward_schema(&Schema::new(fields)))
}

/// Puts values into a plan. Errors: `INVALID_PARAMETER_USAGE` when their number is wrong.
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
    let schema = schema(&plan)?;
    let values = parameters
        .columns()
        .iter()
        .zip(schema.fields())
        .map(|(column, field)| ScalarValue::try_from_array(column, 0).and_then(|value| value.cast_to(field.data_type())))
        .collect::<datafusion::error::Result<Vec<_>>>()
        .map_err(|error| Error::new(Code::InvalidParameterUsage, error.strip_backtrace()))?;
    plan.with_param_values(ParamValues::from(values)).map_err(from_datafusion)
}

