//! `try(expression)`: NULL where the expression fails for what is in a row, as a division by zero does. The expression is handed over as a function without parameters (see
//! `sql::special_forms`), so that it is this function that has it computed: for all rows of a batch together, and for ever smaller parts of those with which that fails.

use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, NullArray, new_null_array};
use arrow::compute::concat;
use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::{exec_err, plan_err};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{
    ColumnarValue, HigherOrderFunctionArgs, HigherOrderReturnFieldArgs, HigherOrderSignature, HigherOrderUDF, HigherOrderUDFImpl, LambdaArgument,
    LambdaParametersProgress, ValueOrLambda, Volatility,
};
use nunatak_core::Code;

use crate::error::from_datafusion_ref;

/// The name, which is an identifier to the parser.
pub(crate) const NAME: &str = "try";

/// The errors of values; all others are of the query or of the cluster.
const OF_VALUES: [Code; 4] = [Code::DivisionByZero, Code::InvalidCastArgument, Code::InvalidFunctionArgument, Code::NumericValueOutOfRange];

static FUNCTION: LazyLock<Arc<HigherOrderUDF>> = LazyLock::new(|| {
    let signature = HigherOrderSignature::any(1, Volatility::Immutable);
    Arc::new(HigherOrderUDF::new_from_impl(Attempt { signature }))
});

/// The function.
pub fn function() -> Arc<HigherOrderUDF> {
    Arc::clone(&FUNCTION)
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Attempt {
    signature: HigherOrderSignature,
}

impl HigherOrderUDFImpl for Attempt {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &HigherOrderSignature {
        &self.signature
    }

    fn lambda_parameters(&self, _step: usize, _fields: &[ValueOrLambda<FieldRef, Option<FieldRef>>]) -> Result<LambdaParametersProgress> {
        Ok(LambdaParametersProgress::Complete(vec![Vec::new()]))
    }

    fn return_field_from_args(&self, arguments: HigherOrderReturnFieldArgs) -> Result<FieldRef> {
        match arguments.arg_fields {
            [ValueOrLambda::Lambda(result)] => Ok(Arc::new(result.as_ref().clone().with_nullable(true))),
            _ => plan_err!("{NAME} takes one expression"),
        }
    }

    fn clear_null_values(&self) -> bool {
        false
    }

    /// What is within must not be computed elsewhere, where nothing catches its errors.
    fn short_circuits(&self) -> bool {
        true
    }

    fn invoke_with_args(&self, arguments: HigherOrderFunctionArgs) -> Result<ColumnarValue> {
        let [ValueOrLambda::Lambda(expression)] = arguments.args.as_slice() else { return exec_err!("{NAME} takes one expression") };
        let mut parts = Vec::new();
        attempt(expression, 0, arguments.number_rows, arguments.return_type(), &mut parts)?;
        if parts.len() == 1 {
            return Ok(ColumnarValue::Array(parts.swap_remove(0)));
        }
        let parts: Vec<&dyn Array> = parts.iter().map(AsRef::as_ref).collect();
        Ok(ColumnarValue::Array(concat(&parts)?))
    }
}

/// Adds the results of so many rows from one on.
fn attempt(expression: &LambdaArgument, start: usize, rows: usize, returns: &DataType, parts: &mut Vec<ArrayRef>) -> Result<()> {
    match computed(expression, start, rows) {
        Ok(values) => parts.push(values),
        Err(error) if !is_of_values(&error) => return Err(error),
        Err(_) if rows < 2 => parts.push(new_null_array(returns, rows)),
        Err(_) => {
            let half = rows / 2;
            attempt(expression, start, half, returns, parts)?;
            attempt(expression, start + half, rows - half, returns, parts)?;
        }
    }
    Ok(())
}

fn computed(expression: &LambdaArgument, start: usize, rows: usize) -> Result<ArrayRef> {
    // Where no columns are in the expression, the number of rows is that of a parameter, which it does not have.
    let counted = || -> Result<ArrayRef> { Ok(Arc::new(NullArray::new(rows))) };
    let values = expression.evaluate(&[&counted], |columns| Ok(columns.iter().map(|column| column.slice(start, rows)).collect()))?;
    values.into_array(rows)
}

fn is_of_values(error: &DataFusionError) -> bool {
    OF_VALUES.contains(&from_datafusion_ref(error).code())
}

#[cfg(test)]
mod tests {
    use arrow::array::{AsArray, Int64Array, RecordBatch};
    use arrow::datatypes::{Field, Int64Type, Schema};
    use datafusion::logical_expr::Operator;
    use datafusion::physical_expr::expressions::{binary, col, lit};

    use super::*;

    #[test]
    fn rows_that_fail_are_null() {
        let schema = Arc::new(Schema::new(vec![Field::new("x", DataType::Int64, true)]));
        let column: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), Some(0), Some(5), None, Some(0), Some(0), Some(2)]));
        let batch = RecordBatch::try_new(Arc::clone(&schema), vec![column]).unwrap();
        let quotient = binary(lit(10_i64), Operator::Divide, col("x", &schema).unwrap(), &schema).unwrap();
        let expression = LambdaArgument::new(Vec::new(), quotient, Some(batch), &[]);
        let mut parts = Vec::new();
        attempt(&expression, 0, 7, &DataType::Int64, &mut parts).unwrap();
        let values: Vec<Option<i64>> = parts.iter().flat_map(|part| part.as_primitive::<Int64Type>().iter().collect::<Vec<_>>()).collect();
        assert_eq!(values, [Some(10), None, Some(2), None, None, None, Some(5)]);
    }

    #[test]
    fn expressions_without_columns_have_all_rows() {
        let expression = LambdaArgument::new(Vec::new(), lit(7_i64), None, &[]);
        assert_eq!(computed(&expression, 0, 3).unwrap().len(), 3);
    }
}
