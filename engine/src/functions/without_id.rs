//! `$without_id(value)`: the value, of which nobody is told the id that its column has in its table. Both parts of a recursive query have to say the same of their columns
//! (`rules/recursive_columns.rs`).

use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::exec_err;
use datafusion::error::Result;
use datafusion::logical_expr::{ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use parquet::arrow::PARQUET_FIELD_ID_META_KEY;

const NAME: &str = "$without_id";

// Volatile, or the value would take its place when a plan is simplified.
static FUNCTION: LazyLock<Arc<ScalarUDF>> =
    LazyLock::new(|| Arc::new(ScalarUDF::new_from_impl(WithoutId { signature: Signature::any(1, Volatility::Volatile) })));

/// The function.
pub fn function() -> Arc<ScalarUDF> {
    Arc::clone(&FUNCTION)
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct WithoutId {
    signature: Signature,
}

impl ScalarUDFImpl for WithoutId {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [value] => Ok(value.clone()),
            _ => exec_err!("{NAME} takes one value"),
        }
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        match arguments.arg_fields {
            [field] => {
                let mut metadata = field.metadata().clone();
                metadata.remove(PARQUET_FIELD_ID_META_KEY);
                Ok(Arc::new(field.as_ref().clone().with_metadata(metadata)))
            }
            _ => exec_err!("{NAME} takes one value"),
        }
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        match <[ColumnarValue; 1]>::try_from(arguments.args) {
            Ok([value]) => Ok(value),
            Err(_) => exec_err!("{NAME} takes one value"),
        }
    }
}
