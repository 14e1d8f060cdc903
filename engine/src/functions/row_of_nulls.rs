//! `$row_of_nulls(row)`: the row, and one of NULL values where it is NULL. A subquery of several columns that has no row gives that in Trino.

use std::sync::{Arc, LazyLock};

use arrow::array::{AsArray, StructArray};
use arrow::compute::{is_null, nullif};
use arrow::datatypes::{DataType, Fields};
use datafusion::common::{exec_datafusion_err, exec_err};
use datafusion::error::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

/// The name of the function.
pub const NAME: &str = "$row_of_nulls";

static FUNCTION: LazyLock<Arc<ScalarUDF>> =
    LazyLock::new(|| Arc::new(ScalarUDF::new_from_impl(RowOfNulls { signature: Signature::any(1, Volatility::Immutable) })));

/// The function.
pub fn function() -> Arc<ScalarUDF> {
    Arc::clone(&FUNCTION)
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct RowOfNulls {
    signature: Signature,
}

impl ScalarUDFImpl for RowOfNulls {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [DataType::Struct(fields)] => Ok(DataType::Struct(nullable(fields))),
            _ => exec_err!("{NAME} takes a row"),
        }
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let ([value], DataType::Struct(fields)) = (arguments.args.as_slice(), arguments.return_field.data_type()) else {
            return exec_err!("{NAME} takes a row");
        };
        let rows = value.to_array(arguments.number_rows)?;
        let is_absent = is_null(&rows)?;
        let rows = rows.as_struct_opt().ok_or_else(|| exec_datafusion_err!("{NAME} takes a row"))?;
        let columns = rows.columns().iter().map(|column| nullif(column, &is_absent)).collect::<std::result::Result<Vec<_>, _>>()?;
        Ok(ColumnarValue::Array(Arc::new(StructArray::try_new(fields.clone(), columns, None)?)))
    }
}

fn nullable(fields: &Fields) -> Fields {
    fields.iter().map(|field| field.as_ref().clone().with_nullable(true)).collect()
}

#[cfg(test)]
mod tests {
    use arrow::array::{Array, Int32Array};
    use arrow::buffer::NullBuffer;
    use arrow::datatypes::{Field, Int32Type};
    use datafusion::common::config::ConfigOptions;

    use super::*;

    #[test]
    fn rows_that_are_null_have_fields() {
        let fields = Fields::from(vec![Field::new("a", DataType::Int32, false)]);
        let rows = StructArray::new(fields, vec![Arc::new(Int32Array::from(vec![1, 2, 3]))], Some(NullBuffer::from(vec![true, false, true])));
        let function = RowOfNulls { signature: Signature::any(1, Volatility::Immutable) };
        let data_type = function.return_type(&[rows.data_type().clone()]).unwrap();
        let arguments = ScalarFunctionArgs {
            arg_fields: vec![Arc::new(Field::new("", rows.data_type().clone(), true))],
            args: vec![ColumnarValue::Array(Arc::new(rows))],
            number_rows: 3,
            return_field: Arc::new(Field::new("", data_type, true)),
            config_options: Arc::new(ConfigOptions::default()),
        };
        let made = function.invoke_with_args(arguments).unwrap().into_array(3).unwrap();
        assert_eq!(made.null_count(), 0);
        assert_eq!(made.as_struct().column(0).as_primitive::<Int32Type>(), &Int32Array::from(vec![Some(1), None, Some(3)]));
    }
}
