//! `$column_cast(value, type, place)`, which no statement can call: a cast to the type of a NULL, whose error says for which column the value was.

use std::sync::{Arc, LazyLock};

use arrow::compute::can_cast_types;
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::nested_struct::{requires_nested_struct_cast, validate_data_type_compatibility};
use datafusion::common::{DFSchema, ScalarValue, exec_err, not_impl_err};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::expr::Cast;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility, lit,
};
use nunatak_core::Error;

use super::number_cast;
use super::rename_fields::{cast_by_position, renamed};
use super::text_cast::is_text;
use crate::error::{from_datafusion, into_datafusion};
use crate::rules::{exact_float, is_refused};
use crate::scan::types::plain_type;

const NAME: &str = "$column_cast";

static FUNCTION: LazyLock<Arc<ScalarUDF>> =
    LazyLock::new(|| Arc::new(ScalarUDF::new_from_impl(ColumnCast { signature: Signature::any(3, Volatility::Immutable) })));

/// The function.
pub fn function() -> Arc<ScalarUDF> {
    Arc::clone(&FUNCTION)
}

/// `value` cast to the type of a column. What is NULL within it and must not be is left to the writer, which names it.
///
/// Errors: those of casts between the types.
pub fn cast_to_column(value: Expr, column: &Field, input: &DFSchema) -> Result<Expr> {
    cast_at(value, column.data_type(), &format!("column '{}'", column.name()), input)
}

/// The same; `place` is where the value goes in the words of an error. A value that is written out is cast at once.
pub fn cast_at(value: Expr, data_type: &DataType, place: &str, input: &DFSchema) -> Result<Expr> {
    let wanted = plain_type(data_type);
    // What has no type is a parameter without a value.
    if let Ok(from) = value.get_type(input) {
        check(&from, &wanted).map_err(|error| failed(Some(place), error))?;
    }
    match cast_by_position(value, &wanted, input)? {
        // Parameters are told by the casts around them.
        Expr::Cast(Cast { expr, field }) if !matches!(*expr, Expr::Placeholder(_)) => match *expr {
            Expr::Literal(value, _) if !field.data_type().is_nested() && !depends_on_session(&value, field.data_type()) => {
                let exact = exact_float(&value, field.data_type()).map_or_else(|| cast_scalar(value, field.data_type()), Ok);
                Ok(Expr::Literal(exact.map_err(|error| failed(Some(place), error))?, None))
            }
            value => Ok(function().call(vec![value, lit(ScalarValue::try_from(field.data_type())?), lit(place)])),
        },
        same => Ok(same),
    }
}

/// Whether a value is a text that becomes a moment: which one, the session's time zone says if the text names none.
fn depends_on_session(value: &ScalarValue, to: &DataType) -> bool {
    is_text(&value.data_type()) && matches!(to, DataType::Timestamp(_, Some(_)))
}

/// A value as one of another type, as a cast of SQL has it.
///
/// Errors: those of the cast.
pub fn cast_scalar(value: ScalarValue, to: &DataType) -> Result<ScalarValue> {
    if !number_cast::is_needed(&value.data_type(), to) {
        return value.cast_to(to);
    }
    match number_cast::cast_value(&ColumnarValue::Scalar(value), to, false)? {
        ColumnarValue::Scalar(value) => Ok(value),
        ColumnarValue::Array(values) => ScalarValue::try_from_array(&values, 0),
    }
}

/// That values of a type can be cast to another, rows by the position of their fields.
///
/// Errors: `TYPE_MISMATCH`.
pub fn check(from: &DataType, to: &DataType) -> Result<()> {
    let from = renamed(from, to);
    // As DataFusion checks its own casts.
    let can_cast = match requires_nested_struct_cast(&from, to) {
        true => validate_data_type_compatibility("", &from, to).is_ok(),
        false => can_cast_types(&from, to) || number_cast::is_needed(&from, to),
    };
    let is_number = from == DataType::Boolean && to.is_numeric() || from.is_decimal() && *to == DataType::Boolean;
    if can_cast && !is_number && !is_refused(&from, to) { Ok(()) } else { not_impl_err!("Unsupported CAST from {from} to {to}") }
}

/// The columns of a plan, by position, with the names and the types of these, apart from what the types say of the fields within.
///
/// Errors: those of casts between the types.
pub fn cast_columns(plan: LogicalPlan, columns: &Schema) -> Result<LogicalPlan> {
    let values = plan
        .schema()
        .columns()
        .into_iter()
        .zip(columns.fields())
        .map(|(column, field)| Ok(cast_to_column(Expr::Column(column), field, plan.schema())?.alias(field.name())));
    let values = values.collect::<Result<Vec<_>>>()?;
    LogicalPlanBuilder::from(plan).project(values)?.build()
}

fn failed(place: Option<&str>, error: DataFusionError) -> DataFusionError {
    let error = from_datafusion(error);
    let message = format!("{}: {}", place.unwrap_or("a column"), error.message());
    into_datafusion(Error::new(error.code(), message).with_source(error))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct ColumnCast {
    signature: Signature,
}

impl ScalarUDFImpl for ColumnCast {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        let [from, to, _] = arguments else { return exec_err!("{NAME} takes a value, a type and a place") };
        check(from, to).map(|()| to.clone())
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [value, _, place] = arguments.args.as_slice() else { return exec_err!("{NAME} takes a value, a type and a place") };
        let place = match place {
            ColumnarValue::Scalar(place) => place.try_as_str().flatten(),
            ColumnarValue::Array(_) => None,
        };
        let to = arguments.return_field.data_type();
        let cast = match number_cast::is_needed(&value.data_type(), to) {
            true => number_cast::cast_value(value, to, false),
            false => value.cast_to(to, None),
        };
        cast.map_err(|error| failed(place, error))
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringArray};
    use arrow::datatypes::Int32Type;
    use datafusion::logical_expr::col;
    use datafusion::prelude::SessionContext;
    use nunatak_core::Code;

    use super::*;

    async fn cast(values: ArrayRef) -> nunatak_core::Result<ArrayRef> {
        let frame = SessionContext::new().read_batch(RecordBatch::try_from_iter([("v", values)]).unwrap()).unwrap();
        let value = cast_to_column(col("v"), &Field::new("n", DataType::Int32, true), frame.schema()).unwrap();
        let rows = frame.select(vec![value.alias("n")]).unwrap().collect().await.map_err(from_datafusion)?;
        Ok(Arc::clone(rows[0].column(0)))
    }

    #[tokio::test]
    async fn errors_name_the_column_and_the_value() {
        let cast_well = cast(Arc::new(StringArray::from(vec![Some("1"), None]))).await.unwrap();
        assert_eq!(cast_well.as_primitive::<Int32Type>().iter().collect::<Vec<_>>(), [Some(1), None]);
        let text = cast(Arc::new(StringArray::from(vec!["1", "x"]))).await.unwrap_err();
        assert_eq!(text.to_string(), "INVALID_CAST_ARGUMENT: column 'n': cannot cast string 'x' to value of integer type");
        let large = cast(Arc::new(Int64Array::from(vec![1, 3_000_000_000]))).await.unwrap_err();
        assert!(large.message().starts_with("column 'n': ") && large.message().contains("3000000000"), "{large}");
    }

    #[test]
    fn literals_are_cast_at_once() {
        let written = |value| cast_at(value, &DataType::Int32, "column 'n', row 2", &DFSchema::empty());
        assert_eq!(written(lit("7")).unwrap(), lit(7_i32));
        assert_eq!(written(lit(1.5)).unwrap(), lit(2_i32));
        let refused = cast_at(lit(true), &DataType::Date32, "column 'n', row 2", &DFSchema::empty()).unwrap_err();
        assert_eq!(from_datafusion(refused).to_string(), "TYPE_MISMATCH: column 'n', row 2: cannot cast boolean to date");
        assert_eq!(from_datafusion(written(lit("x")).unwrap_err()).code(), Code::InvalidCastArgument);
        assert_eq!(from_datafusion(written(lit(true)).unwrap_err()).to_string(), "TYPE_MISMATCH: column 'n', row 2: cannot cast boolean to integer");
    }
}
