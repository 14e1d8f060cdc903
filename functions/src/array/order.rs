//! The least and the greatest element.

use arrow::array::{Array, ArrayRef, AsArray, UInt64Array};
use arrow::datatypes::{DataType, Float32Type, Float64Type};
use datafusion::error::Result;

use crate::nested::identity::identities;
use crate::nested::{picked, range};
use crate::signature::at_top;
use crate::type_name::type_name;
use crate::{Call, Scalar, not_found};

pub(crate) const FUNCTIONS: &[Scalar] = &[
    Scalar::new("array_max", &["(array(T)) -> T"], |call| best(call, true), "The greatest element; NULL if one is.").returning(element),
    Scalar::new("array_min", &["(array(T)) -> T"], |call| best(call, false), "The least element; NULL if one is.").returning(element),
];

/// The type of the elements. Errors: `FUNCTION_NOT_FOUND` if they have no order.
fn element(types: &[DataType]) -> Result<DataType> {
    match types {
        [DataType::List(field)] if is_ordered(field.data_type()) => Ok(at_top(field.data_type())),
        _ => Err(not_found(format!("there is no order in {}", types.iter().map(type_name).collect::<Vec<_>>().join(", ")))),
    }
}

/// Whether values of a type have an order: maps have none.
pub(crate) fn is_ordered(data_type: &DataType) -> bool {
    match data_type {
        DataType::List(field) => is_ordered(field.data_type()),
        DataType::Struct(fields) => fields.iter().all(|field| is_ordered(field.data_type())),
        DataType::Map(..) => false,
        _ => true,
    }
}

fn best(call: &Call<'_>, greatest: bool) -> Result<ArrayRef> {
    let list = call.list(0)?;
    let values = list.values();
    let rows = identities(values)?;
    let nulls = values.logical_nulls();
    // NaN is neither, but for want of others.
    let is_nan = |index: usize| match values.data_type() {
        DataType::Float32 => values.as_primitive::<Float32Type>().value(index).is_nan(),
        DataType::Float64 => values.as_primitive::<Float64Type>().value(index).is_nan(),
        _ => false,
    };
    let indices = call.values(|row| {
        let mut best: Option<usize> = None;
        for index in range(list.value_offsets(), row) {
            if nulls.as_ref().is_some_and(|nulls| nulls.is_null(index)) {
                return Ok(None);
            }
            let is_better = match best {
                None => true,
                Some(best) if is_nan(best) || is_nan(index) => is_nan(best),
                Some(best) if greatest => rows.row(index) > rows.row(best),
                Some(best) => rows.row(index) < rows.row(best),
            };
            if is_better {
                best = Some(index);
            }
        }
        Ok(best.map(|index| index as u64))
    });
    let indices = indices.collect::<Result<UInt64Array>>()?;
    picked(values, &indices, call.returns())
}
