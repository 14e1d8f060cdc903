//! Comparisons of rows of the same types by their fields, whatever these are called: `$rows_equal`, which is NULL where a NULL decides, and `$rows_less`, which is an error there.

use std::cmp::Ordering;

use arrow::array::{Array, ArrayRef, AsArray, make_comparator};
use arrow::compute::SortOptions;
use datafusion::common::internal_datafusion_err;
use datafusion::error::Result;

use crate::nested::equality::equality;
use crate::{Call, Scalar, not_supported};

pub(crate) const FUNCTIONS: &[Scalar] = &[
    Scalar::new("$rows_equal", &["(any, any) -> boolean"], rows_equal, "Whether two rows are equal."),
    Scalar::new("$rows_less", &["(any, any) -> boolean"], rows_less, "Whether a row is less than another one."),
];

fn rows_equal(call: &Call<'_>) -> Result<ArrayRef> {
    let equal = equality(call.argument(0)?, call.argument(1)?)?;
    call.booleans(|row| Ok(equal(row, row)))
}

fn rows_less(call: &Call<'_>) -> Result<ArrayRef> {
    let rows = |place| -> Result<_> { call.argument(place)?.as_struct_opt().ok_or_else(|| internal_datafusion_err!("$rows_less takes rows")) };
    let (left, right) = (rows(0)?, rows(1)?);
    let mut fields = Vec::with_capacity(left.num_columns());
    for (left, right) in left.columns().iter().zip(right.columns()) {
        fields.push((left.logical_nulls(), right.logical_nulls(), make_comparator(left, right, SortOptions::default())?));
    }
    call.booleans(|row| {
        for (left, right, compare) in &fields {
            if [left, right].into_iter().flatten().any(|nulls| nulls.is_null(row)) {
                return Err(not_supported("rows that contain NULL cannot be compared by '<' or '>'"));
            }
            match compare(row, row) {
                Ordering::Equal => {}
                other => return Ok(Some(other == Ordering::Less)),
            }
        }
        Ok(Some(false))
    })
}
