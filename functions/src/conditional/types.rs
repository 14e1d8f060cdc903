//! `typeof`: the types of values.

use arrow::array::{Array, ArrayRef};
use datafusion::error::Result;

use crate::type_name::type_name;
use crate::{Call, Scalar};

pub(crate) const FUNCTIONS: &[Scalar] = &[Scalar::new("typeof", &["(T) -> varchar"], type_of, "The name of a value's type.").seeing_nulls()];

fn type_of(call: &Call<'_>) -> Result<ArrayRef> {
    let name = type_name(call.argument(0)?.data_type());
    call.texts(|_| Ok(Some(name.as_str())))
}
