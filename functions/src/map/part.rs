//! Keys, values and entries of maps.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ListArray, StructArray};
use arrow::datatypes::{DataType, Field, Fields};
use datafusion::common::{internal_err, plan_err};
use datafusion::error::Result;

use crate::nested::{as_map, of_type, pair};
use crate::signature::within;
use crate::{Call, Scalar};

pub(crate) const FUNCTIONS: &[Scalar] = &[
    Scalar::new("map_keys", &["(map(K, V)) -> array(K)"], |call| elements(call, as_map(call.argument(0)?)?.keys()), "The keys of a map."),
    Scalar::new("map_values", &["(map(K, V)) -> array(V)"], |call| elements(call, as_map(call.argument(0)?)?.values()), "The values of a map."),
    Scalar::new("map_entries", &["(map(K, V)) -> array(K)"], map_entries, "Rows of the keys and the values of a map.").returning(entries),
];

/// What is of each entry, as arrays.
fn elements(call: &Call<'_>, values: &ArrayRef) -> Result<ArrayRef> {
    let map = as_map(call.argument(0)?)?;
    let DataType::List(field) = call.returns() else { return internal_err!("entries of maps are no {}", call.returns()) };
    let values = of_type(values, field.data_type())?;
    Ok(Arc::new(ListArray::try_new(Arc::clone(field), map.offsets().clone(), values, map.nulls().cloned())?))
}

fn entries(types: &[DataType]) -> Result<DataType> {
    let [map] = types else { return plan_err!("map_entries takes a map") };
    let fields: Fields =
        pair(map)?.iter().enumerate().map(|(place, field)| Field::new(format!("c{place}"), within(field.data_type()), true)).collect();
    Ok(DataType::List(Arc::new(Field::new_list_field(DataType::Struct(fields), true))))
}

fn map_entries(call: &Call<'_>) -> Result<ArrayRef> {
    let map = as_map(call.argument(0)?)?;
    let DataType::List(field) = call.returns() else { return internal_err!("entries are no {}", call.returns()) };
    let DataType::Struct(fields) = field.data_type() else { return internal_err!("entries are no {}", call.returns()) };
    let columns = [map.keys(), map.values()].into_iter().zip(fields).map(|(values, field)| of_type(values, field.data_type()));
    let rows = StructArray::try_new(fields.clone(), columns.collect::<Result<_>>()?, None)?;
    Ok(Arc::new(ListArray::try_new(Arc::clone(field), map.offsets().clone(), Arc::new(rows), map.nulls().cloned())?))
}
