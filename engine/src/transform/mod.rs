//! Iceberg's partition transforms on Arrow arrays, as the [table spec](https://iceberg.apache.org/spec/#partition-transforms) defines them, and
//! the same as SQL functions ([`functions`]) so that plans can hash and sort by them.

mod bucket;
pub mod functions;
mod temporal;
mod truncate;

use arrow::array::{Array, ArrayRef, new_null_array};
use arrow::datatypes::DataType;
use nunatak_catalog::spec::Transform;
use nunatak_core::{Error, Result};

pub(crate) use bucket::{murmur3, significant_from};
pub(crate) use truncate::prefix;

/// Applies `transform` to every value of `array`. NULL stays NULL. Buckets, years, months and hours come as `Int32`, days as `Date32`, the others
/// in the array's own type.
pub fn apply(transform: Transform, array: &ArrayRef) -> Result<ArrayRef> {
    match transform {
        Transform::Identity => Ok(array.clone()),
        Transform::Void => Ok(new_null_array(array.data_type(), array.len())),
        Transform::Bucket(buckets) => bucket::bucket(array, buckets),
        Transform::Truncate(width) => truncate::truncate(array, width),
        Transform::Year => temporal::year(array),
        Transform::Month => temporal::month(array),
        Transform::Day => temporal::day(array),
        Transform::Hour => temporal::hour(array),
        Transform::Unknown => Err(unknown()),
    }
}

/// The Arrow type of what [`apply`] gives for an array of type `source`. It does not say whether the transform takes that type.
pub fn result_type(transform: Transform, source: &DataType) -> Result<DataType> {
    match transform {
        Transform::Identity | Transform::Void | Transform::Truncate(_) => Ok(source.clone()),
        Transform::Bucket(_) | Transform::Year | Transform::Month | Transform::Hour => Ok(DataType::Int32),
        Transform::Day => Ok(DataType::Date32),
        Transform::Unknown => Err(unknown()),
    }
}

pub(crate) fn unknown() -> Error {
    Error::not_supported("the table is partitioned or sorted by a transform that nunatak does not know")
        .with_hint("write to it with the engine that made it, or change its partitioning")
}

fn wrong_type(transform: &str, data_type: &DataType) -> Error {
    Error::not_supported(format!("transform {transform} does not take values of type {data_type}"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{AsArray, Int64Array};
    use arrow::datatypes::Int64Type;

    use super::*;

    #[test]
    fn identity_and_void_keep_the_type() {
        let array: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None]));
        assert_eq!(apply(Transform::Identity, &array).unwrap().as_primitive::<Int64Type>().value(0), 1);
        let void = apply(Transform::Void, &array).unwrap();
        assert_eq!((void.data_type(), void.null_count()), (&DataType::Int64, 2));
        assert!(apply(Transform::Unknown, &array).is_err());
    }
}
