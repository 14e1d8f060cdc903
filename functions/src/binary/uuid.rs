//! Identifiers.

use std::sync::Arc;

use arrow::array::{ArrayRef, FixedSizeBinaryBuilder};
use datafusion::error::Result;
use uuid::Uuid;

use crate::{Call, Scalar};

pub(crate) const FUNCTIONS: &[Scalar] = &[Scalar::new("uuid", &["() -> uuid"], uuid, "A random identifier of version 4.").volatile()];

fn uuid(call: &Call<'_>) -> Result<ArrayRef> {
    let mut uuids = FixedSizeBinaryBuilder::with_capacity(call.rows(), 16);
    for _ in 0..call.rows() {
        uuids.append_value(Uuid::new_v4())?;
    }
    Ok(Arc::new(uuids.finish()))
}
