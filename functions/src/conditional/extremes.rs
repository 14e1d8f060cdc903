//! The greatest and the least of several values.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray};
use arrow::compute::kernels::zip::zip;
use arrow::compute::nullif;
use arrow::datatypes::DataType;
use datafusion::error::{DataFusionError, Result};
use nunatak_core::{Code, Error};

use super::comparison::compared;
use crate::{Call, Scalar};

const ANY: &[&str] = &["(T, T...) -> T"];

pub(crate) const FUNCTIONS: &[Scalar] = &[
    Scalar::new("greatest", ANY, |call| extreme(call, Ordering::Greater), "The greatest of the values, NULL if one is.").returning(ordered),
    Scalar::new("least", ANY, |call| extreme(call, Ordering::Less), "The least of the values, NULL if one is.").returning(ordered),
];

/// The type of the values, which must have an order.
fn ordered(types: &[DataType]) -> Result<DataType> {
    match types.first() {
        Some(DataType::Map(..)) => Err(DataFusionError::External(Box::new(Error::new(
            Code::FunctionNotFound,
            "functions 'greatest' and 'least' do not take maps: they have no order",
        )))),
        Some(first) => Ok(first.clone()),
        None => Ok(DataType::Null),
    }
}

fn extreme(call: &Call<'_>, wanted: Ordering) -> Result<ArrayRef> {
    let mut extreme = Arc::clone(call.argument(0)?);
    if *extreme.data_type() == DataType::Null {
        return Ok(extreme);
    }
    for index in 1..call.len() {
        let next = call.argument(index)?;
        extreme = zip(&compared(next, &extreme, wanted)?, next, &extreme)?;
    }
    match call.valid() {
        Some(valid) => Ok(nullif(&extreme, &BooleanArray::new(!valid.inner(), None))?),
        None => Ok(extreme),
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{AsArray, Float64Array, StringViewArray};
    use arrow::datatypes::Float64Type;
    use datafusion::common::config::ConfigOptions;

    use super::*;

    fn of(arguments: &[ArrayRef], wanted: Ordering) -> ArrayRef {
        let (rows, config) = (arguments[0].len(), ConfigOptions::default());
        extreme(&Call::new(arguments, rows, arguments[0].data_type(), &config, false), wanted).unwrap()
    }

    #[test]
    fn rows_with_null_are_null() {
        let left: ArrayRef = Arc::new(Float64Array::from(vec![Some(9.0), Some(1.0), None, Some(f64::NAN), Some(5.0)]).slice(1, 4));
        let right: ArrayRef = Arc::new(Float64Array::from(vec![Some(2.0), Some(3.0), Some(4.0), None]));
        let greatest = of(&[Arc::clone(&left), Arc::clone(&right)], Ordering::Greater);
        assert_eq!(greatest.as_primitive::<Float64Type>().iter().collect::<Vec<_>>(), [Some(2.0), None, Some(4.0), None]);
        let least = of(&[left, right], Ordering::Less);
        assert_eq!(least.as_primitive::<Float64Type>().iter().collect::<Vec<_>>(), [Some(1.0), None, Some(4.0), None]);
    }

    #[test]
    fn texts_are_ordered_by_their_characters() {
        let [first, second, third]: [ArrayRef; 3] =
            [vec!["z", "a"], vec!["ä", "b"], vec!["y", "a text that is longer"]].map(|texts| Arc::new(StringViewArray::from(texts)) as ArrayRef);
        let greatest = of(&[first, second, third], Ordering::Greater);
        assert_eq!(greatest.as_string_view().iter().collect::<Vec<_>>(), [Some("ä"), Some("b")]);
    }
}
