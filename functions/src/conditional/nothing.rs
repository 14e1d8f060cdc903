//! `nullif`: a value that becomes NULL.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use arrow::compute::{cast, nullif};
use arrow::datatypes::DataType;
use datafusion::common::internal_datafusion_err;
use datafusion::error::{DataFusionError, Result};
use nunatak_core::{Code, Error};

use super::comparison::equal;
use crate::nested::identity::canonical;
use crate::signature::common_type;
use crate::{Call, Scalar};

pub(crate) const FUNCTIONS: &[Scalar] = &[Scalar::new("nullif", &["(T, U) -> T"], null_if, "The first value, NULL if it is equal to the second.")
    .returning(first_of_comparable)
    .seeing_nulls()];

/// The type of the first value, if it can be compared with the second.
fn first_of_comparable(types: &[DataType]) -> Result<DataType> {
    match types {
        [first, second] if common_type(first, second).is_some() => Ok(first.clone()),
        _ => Err(DataFusionError::External(Box::new(Error::new(Code::TypeMismatch, "the values of nullif have types that cannot be compared")))),
    }
}

fn null_if(call: &Call<'_>) -> Result<ArrayRef> {
    let (value, other) = (call.argument(0)?, call.argument(1)?);
    if *value.data_type() == DataType::Null || *other.data_type() == DataType::Null {
        return Ok(Arc::clone(value));
    }
    let common = common_type(value.data_type(), other.data_type())
        .ok_or_else(|| internal_datafusion_err!("nullif was given types that do not go together"))?;
    // Both zeros are one number.
    let compared = |value: &ArrayRef| canonical(&cast(value, &common)?);
    Ok(nullif(value, &equal(&compared(value)?, &compared(other)?)?)?)
}
