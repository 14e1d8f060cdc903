//! The transforms as functions of DataFusion, so that plans can hash and sort by them, and so that such plans can be sent to executors, where
//! functions are found by their name: `iceberg_bucket(16, id)`, `iceberg_truncate(4, name)`, `iceberg_day(ts)`.

use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, Schema};
use datafusion::common::config::ConfigOptions;
use datafusion::common::{ScalarValue, exec_datafusion_err};
use datafusion::error::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use datafusion::physical_expr::expressions::Literal;
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use nunatak_catalog::spec::Transform;

use super::{apply, result_type};
use crate::error::into_datafusion;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    Bucket,
    Truncate,
    Year,
    Month,
    Day,
    Hour,
}

/// One transform as a function. Bucket and truncate take their parameter first, as a literal.
#[derive(Debug, PartialEq, Eq, Hash)]
struct TransformFunction {
    kind: Kind,
    name: &'static str,
    signature: Signature,
}

static FUNCTIONS: LazyLock<Vec<Arc<ScalarUDF>>> = LazyLock::new(|| {
    [
        (Kind::Bucket, "iceberg_bucket", 2),
        (Kind::Truncate, "iceberg_truncate", 2),
        (Kind::Year, "iceberg_year", 1),
        (Kind::Month, "iceberg_month", 1),
        (Kind::Day, "iceberg_day", 1),
        (Kind::Hour, "iceberg_hour", 1),
    ]
    .into_iter()
    .map(|(kind, name, arguments)| {
        let signature = Signature::any(arguments, Volatility::Immutable);
        Arc::new(ScalarUDF::new_from_impl(TransformFunction { kind, name, signature }))
    })
    .collect()
});

/// All transform functions: to be registered in every session that makes or runs plans.
pub fn all() -> &'static [Arc<ScalarUDF>] {
    &FUNCTIONS
}

/// The expression that applies `transform` to `source`. `None` for `void`, which says nothing about a row.
pub fn expression(
    transform: Transform,
    source: Arc<dyn PhysicalExpr>,
    schema: &Schema,
    options: &Arc<ConfigOptions>,
) -> Result<Option<Arc<dyn PhysicalExpr>>> {
    let (name, parameter) = match transform {
        Transform::Void => return Ok(None),
        Transform::Identity => return Ok(Some(source)),
        Transform::Bucket(buckets) => ("iceberg_bucket", Some(buckets)),
        Transform::Truncate(width) => ("iceberg_truncate", Some(width)),
        Transform::Year => ("iceberg_year", None),
        Transform::Month => ("iceberg_month", None),
        Transform::Day => ("iceberg_day", None),
        Transform::Hour => ("iceberg_hour", None),
        Transform::Unknown => return Err(into_datafusion(super::unknown())),
    };
    let function = FUNCTIONS.iter().find(|function| function.name() == name).ok_or_else(|| exec_datafusion_err!("there is no function {name}"))?;
    let mut arguments: Vec<Arc<dyn PhysicalExpr>> = Vec::with_capacity(2);
    if let Some(parameter) = parameter {
        arguments.push(Arc::new(Literal::new(ScalarValue::Int64(Some(i64::from(parameter))))));
    }
    arguments.push(source);
    Ok(Some(Arc::new(ScalarFunctionExpr::try_new(function.clone(), arguments, schema, options.clone())?)))
}

impl TransformFunction {
    fn transform(&self, parameter: Option<&ColumnarValue>) -> Result<Transform> {
        Ok(match self.kind {
            Kind::Bucket => Transform::Bucket(self.parameter(parameter)?),
            Kind::Truncate => Transform::Truncate(self.parameter(parameter)?),
            Kind::Year => Transform::Year,
            Kind::Month => Transform::Month,
            Kind::Day => Transform::Day,
            Kind::Hour => Transform::Hour,
        })
    }

    fn parameter(&self, value: Option<&ColumnarValue>) -> Result<u32> {
        let number = match value {
            Some(ColumnarValue::Scalar(ScalarValue::Int64(number))) => *number,
            Some(ColumnarValue::Scalar(ScalarValue::Int32(number))) => number.map(i64::from),
            _ => None,
        };
        number
            .and_then(|number| u32::try_from(number).ok())
            .ok_or_else(|| exec_datafusion_err!("the first argument of {} must be a positive whole number", self.name))
    }
}

impl ScalarUDFImpl for TransformFunction {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        let source = arg_types.last().ok_or_else(|| exec_datafusion_err!("{} takes a column", self.name))?;
        let transform = match self.kind {
            // The parameter does not change the type.
            Kind::Bucket => Transform::Bucket(1),
            Kind::Truncate => Transform::Truncate(1),
            _ => self.transform(None)?,
        };
        result_type(transform, source).map_err(into_datafusion)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let transform = self.transform(args.args.first())?;
        let source = args.args.last().ok_or_else(|| exec_datafusion_err!("{} takes a column", self.name))?;
        match source {
            ColumnarValue::Array(array) => Ok(ColumnarValue::Array(apply(transform, array).map_err(into_datafusion)?)),
            ColumnarValue::Scalar(scalar) => {
                let array = apply(transform, &scalar.to_array()?).map_err(into_datafusion)?;
                Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&array, 0)?))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch};
    use arrow::datatypes::{Field, Int32Type};
    use datafusion::physical_expr::expressions::Column;

    use super::*;

    #[test]
    fn a_bucket_expression_evaluates() {
        let array: ArrayRef = Arc::new(Int64Array::from(vec![34, 35]));
        let schema = Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, true)]));
        let batch = RecordBatch::try_new(schema.clone(), vec![array.clone()]).unwrap();
        let column: Arc<dyn PhysicalExpr> = Arc::new(Column::new("id", 0));
        let options = Arc::new(ConfigOptions::default());
        let expression = expression(Transform::Bucket(16), column.clone(), &schema, &options).unwrap().unwrap();
        assert_eq!(expression.to_string(), "iceberg_bucket(16, id@0)");
        let result = expression.evaluate(&batch).unwrap().into_array(2).unwrap();
        assert_eq!(result.as_primitive::<Int32Type>(), apply(Transform::Bucket(16), &array).unwrap().as_primitive::<Int32Type>());
        assert!(super::expression(Transform::Void, column, &schema, &options).unwrap().is_none());
    }
}
