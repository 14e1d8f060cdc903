//! `fail`: an error where a statement says that there is one.

use std::sync::Arc;

use arrow::array::{ArrayRef, NullArray};
use datafusion::error::{DataFusionError, Result};
use nunatak_core::{Code, Error};

use crate::{Call, Scalar};

/// It is called for each row, and never while a query is planned: the rows may be none.
pub(crate) const FUNCTIONS: &[Scalar] =
    &[Scalar::new("fail", &["(varchar) -> unknown"], fail, "Ends the query with an error that has this message.").volatile()];

fn fail(call: &Call<'_>) -> Result<ArrayRef> {
    let messages = call.text(0)?;
    match (0..call.rows()).find(|&row| !call.is_null(row)) {
        Some(row) => Err(DataFusionError::External(Box::new(Error::new(Code::GenericUserError, messages.value(row))))),
        None => Ok(Arc::new(NullArray::new(call.rows()))),
    }
}
