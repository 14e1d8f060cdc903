//! Functions that give back their value, of which planning is told something else than its column says.
//!
//! - `$nullable(value)` may be NULL: a subquery that stands for one value is NULL if it has no row.
//! - `$without_id(value)` has not the id that its column has in its table: both parts of a recursive query have to say the same of their columns
//!   (`rules/recursive_columns.rs`).

use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::exec_err;
use datafusion::error::Result;
use datafusion::logical_expr::{ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use parquet::arrow::PARQUET_FIELD_ID_META_KEY;

static NULLABLE: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| made(Told::Nullable));
static WITHOUT_ID: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| made(Told::WithoutId));

/// `$nullable`.
pub fn nullable() -> Arc<ScalarUDF> {
    Arc::clone(&NULLABLE)
}

/// `$without_id`.
pub fn without_id() -> Arc<ScalarUDF> {
    Arc::clone(&WITHOUT_ID)
}

fn made(told: Told) -> Arc<ScalarUDF> {
    // Volatile, or the value would take its place when a plan is simplified.
    Arc::new(ScalarUDF::new_from_impl(SameValue { told, signature: Signature::any(1, Volatility::Volatile) }))
}

/// What planning is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Told {
    Nullable,
    WithoutId,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct SameValue {
    told: Told,
    signature: Signature,
}

impl ScalarUDFImpl for SameValue {
    fn name(&self) -> &str {
        match self.told {
            Told::Nullable => "$nullable",
            Told::WithoutId => "$without_id",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [value] => Ok(value.clone()),
            _ => exec_err!("{} takes one value", self.name()),
        }
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let [field] = arguments.arg_fields else { return exec_err!("{} takes one value", self.name()) };
        let field = Field::clone(field);
        Ok(Arc::new(match self.told {
            Told::Nullable => field.with_nullable(true),
            Told::WithoutId => {
                let mut metadata = field.metadata().clone();
                metadata.remove(PARQUET_FIELD_ID_META_KEY);
                field.with_metadata(metadata)
            }
        }))
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        match <[ColumnarValue; 1]>::try_from(arguments.args) {
            Ok([value]) => Ok(value),
            Err(_) => exec_err!("{} takes one value", self.name()),
        }
    }
}
