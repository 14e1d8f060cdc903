//! Random numbers.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Float64Array, Int64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use datafusion::error::Result;
use rand::Rng;

use crate::{Call, Scalar, invalid};

pub(crate) const FUNCTIONS: &[Scalar] = &[Scalar::new(
    "random",
    &[
        "() -> double",
        "(tinyint) -> tinyint",
        "(smallint) -> smallint",
        "(integer) -> integer",
        "(bigint) -> bigint",
        "(tinyint, tinyint) -> tinyint",
        "(smallint, smallint) -> smallint",
        "(integer, integer) -> integer",
        "(bigint, bigint) -> bigint",
    ],
    random,
    "A random number: from 0 to 1, below a whole number, or from one whole number to another, which it is never.",
)
.also(&["rand"])
.volatile()];

fn random(call: &Call<'_>) -> Result<ArrayRef> {
    let mut generator = rand::rng();
    if call.is_empty() {
        let numbers: Float64Array = (0..call.rows()).map(|_| Some(generator.random::<f64>())).collect();
        return Ok(Arc::new(numbers));
    }
    let bounds = (0..call.len()).map(|index| Ok(cast(call.argument(index)?, &DataType::Int64)?)).collect::<Result<Vec<_>>>()?;
    let value = |index: usize, row: usize| bounds.get(index).map_or(0, |bound| bound.as_primitive::<Int64Type>().value(row));
    let numbers = call.values(|row| {
        let (start, end) = if call.len() == 1 { (0, value(0, row)) } else { (value(0, row), value(1, row)) };
        match start < end {
            true => Ok(Some(generator.random_range(start..end))),
            false if call.len() == 1 => Err(invalid(format!("random: the bound must be greater than 0, not {end}"))),
            false => Err(invalid(format!("random: {start} is not less than {end}"))),
        }
    });
    Ok(cast(&numbers.collect::<Result<Int64Array>>()?, call.returns())?)
}
