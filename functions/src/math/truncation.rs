//! `truncate`: numbers without some of their digits.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::{DataType, Float32Type, Float64Type};
use datafusion::error::Result;

use super::powers_of_ten::Rounding;
use super::rounding::{first, shortened, whole_decimals};
use crate::{Call, Scalar};

pub(crate) const FUNCTIONS: &[Scalar] = &[Scalar::new(
    "truncate",
    &["(decimal) -> decimal", "(real) -> real", "(double) -> double", "(decimal, bigint) -> decimal"],
    truncate,
    "The number without its digits after the point, or behind so many of them.",
)
.returning(|types| {
    Ok(match types {
        [DataType::Decimal128(digits, scale)] => DataType::Decimal128(digits.saturating_sub(scale.unsigned_abs()).max(1), 0),
        _ => first(types),
    })
})];

fn truncate(call: &Call<'_>) -> Result<ArrayRef> {
    Ok(match (call.argument(0)?.data_type(), call.len()) {
        (DataType::Float64, _) => Arc::new(call.double(0)?.unary::<_, Float64Type>(f64::trunc)),
        (DataType::Float32, _) => Arc::new(call.primitive::<Float32Type>(0)?.unary::<_, Float32Type>(f32::trunc)),
        (DataType::Decimal128(_, scale), 1) => whole_decimals(call, u32::from(scale.unsigned_abs()), Rounding::TowardsZero)?,
        (DataType::Decimal128(_, scale), _) => shortened(call, i64::from(*scale), Rounding::TowardsZero)?,
        (other, _) => return datafusion::common::exec_err!("truncate does not take {other}"),
    })
}
