//! Functions about the session.

use std::sync::Arc;

use arrow::array::{ArrayRef, ListArray, new_empty_array};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::DataType;
use datafusion::common::internal_err;
use datafusion::error::Result;

use crate::{Call, Scalar};

pub(crate) const FUNCTIONS: &[Scalar] =
    &[Scalar::new("current_groups", &["() -> array(varchar)"], current_groups, "The groups of the session's user: there are none.").stable()];

fn current_groups(call: &Call<'_>) -> Result<ArrayRef> {
    let DataType::List(element) = call.returns() else { return internal_err!("current_groups returns an array") };
    let offsets = OffsetBuffer::new_zeroed(call.rows());
    Ok(Arc::new(ListArray::try_new(Arc::clone(element), offsets, new_empty_array(element.data_type()), None)?))
}
