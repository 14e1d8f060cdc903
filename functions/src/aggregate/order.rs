//! The order of values as functions like `max_by` see it: NaN is neither the least nor the greatest as long as there is another value.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float32Array, Float64Array, UInt32Array, make_comparator};
use arrow::compute::{SortOptions, sort_to_indices};
use arrow::datatypes::{DataType, Float32Type, Float64Type};
use datafusion::error::Result;

/// Which end of the order is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum End {
    Least,
    Greatest,
}

impl End {
    fn options(self) -> SortOptions {
        SortOptions { descending: self == Self::Greatest, nulls_first: false }
    }

    /// The values with NaN at the other end of Arrow's order, and one zero.
    pub(super) fn keys(self, values: &ArrayRef) -> ArrayRef {
        let sign = if self == Self::Greatest { -1.0 } else { 1.0 };
        match values.data_type() {
            DataType::Float64 => {
                let key = |value: f64| if value.is_nan() { f64::NAN.copysign(sign) } else { value + 0.0 };
                let keys: Float64Array = values.as_primitive::<Float64Type>().unary(key);
                Arc::new(keys)
            }
            DataType::Float32 => {
                let key = |value: f32| if value.is_nan() { f32::NAN.copysign(sign as f32) } else { value + 0.0 };
                let keys: Float32Array = values.as_primitive::<Float32Type>().unary(key);
                Arc::new(keys)
            }
            _ => Arc::clone(values),
        }
    }

    /// The row of the value at this end; `None` if all are NULL.
    pub(super) fn row(self, keys: &ArrayRef) -> Result<Option<usize>> {
        let compare = make_comparator(keys, keys, self.options())?;
        let nulls = keys.logical_nulls();
        let rows = (0..keys.len()).filter(|row| nulls.as_ref().is_none_or(|nulls| nulls.is_valid(*row)));
        Ok(rows.reduce(|best, row| if compare(row, best) == Ordering::Less { row } else { best }))
    }

    /// Whether the value of one column of one row comes before that of another, neither of which is NULL.
    pub(super) fn is_before(self, one: &ArrayRef, other: &ArrayRef) -> Result<bool> {
        Ok(make_comparator(one, other, self.options())?(0, 0) == Ordering::Less)
    }

    /// The rows of the first values from this end on, at most so many; NULLs come last.
    pub(super) fn rows(self, keys: &ArrayRef, most: usize) -> Result<UInt32Array> {
        Ok(sort_to_indices(keys, Some(self.options()), Some(most))?)
    }
}
