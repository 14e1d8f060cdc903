//! Functions of maps that look at each entry for itself.

use arrow::array::{Array, ArrayRef, UInt64Array};
use arrow::compute::{concat, take};
use datafusion::common::HashMap;
use datafusion::error::Result;

use super::HigherOrder;
use super::array::{as_condition, kept};
use super::call::{Call, Spread};
use crate::map::make::checked;
use crate::nested::identity::identities;
use crate::nested::taken::{Parts, Taken};
use crate::nested::{maps, range};

pub(super) const FUNCTIONS: &[HigherOrder] = &[
    HigherOrder {
        name: "map_filter",
        forms: &["(map(K, V), function(K, V, boolean)) -> map(K, V)"],
        run: map_filter,
        about: "The entries of which a condition is true.",
    },
    HigherOrder {
        name: "transform_keys",
        forms: &["(map(K, V), function(K, V, R)) -> map(R, V)"],
        run: transform_keys,
        about: "A map with the keys that a function gives for each entry.",
    },
    HigherOrder {
        name: "transform_values",
        forms: &["(map(K, V), function(K, V, R)) -> map(K, R)"],
        run: transform_values,
        about: "A map with the values that a function gives for each entry.",
    },
    HigherOrder {
        name: "map_zip_with",
        forms: &["(map(K, A), map(K, B), function(K, A, B, C)) -> map(K, C)"],
        run: map_zip_with,
        about: "A map with what a function gives for each key of two maps; where one has it not, its value is NULL.",
    },
];

/// The keys and the values of all entries, and what the function gives for them.
fn entries(call: &Call<'_>) -> Result<(Spread, [ArrayRef; 3])> {
    let map = call.map(0)?;
    let spread = Spread::new(call, map.value_offsets())?;
    let (keys, values) = (spread.values(map.keys())?, spread.values(map.values())?);
    let given = call.needed(0)?.run(&[&keys, &values], &spread.rows)?;
    Ok((spread, [keys, values, given]))
}

fn map_filter(call: &Call<'_>) -> Result<ArrayRef> {
    let (spread, [keys, values, given]) = entries(call)?;
    let Parts { indices, offsets, nulls } = kept(call, &spread, as_condition(&given)?)?.parts();
    maps(call.returns, offsets, &take(&keys, &indices, None)?, &take(&values, &indices, None)?, nulls)
}

fn transform_keys(call: &Call<'_>) -> Result<ArrayRef> {
    let (spread, [_, values, given]) = entries(call)?;
    checked(call.returns, spread.offsets, &given, &values, spread.nulls)
}

fn transform_values(call: &Call<'_>) -> Result<ArrayRef> {
    let (spread, [keys, _, given]) = entries(call)?;
    maps(call.returns, spread.offsets, &keys, &given, spread.nulls)
}

fn map_zip_with(call: &Call<'_>) -> Result<ArrayRef> {
    let (left, right) = (call.map(0)?, call.map(1)?);
    let keys = concat(&[left.keys().as_ref(), right.keys().as_ref()])?;
    let identities = identities(&keys)?;
    let start = left.keys().len();
    let mut of_keys = Taken::new(call.rows);
    // The values of both at each key.
    let (mut of_left, mut of_right) = (Vec::new(), Vec::new());
    let mut rows = Vec::new();
    let mut places = HashMap::new();
    for row in 0..call.rows {
        if call.is_null(row) {
            of_keys.null_row()?;
            continue;
        }
        places.clear();
        places.extend(range(right.value_offsets(), row).map(|index| (identities.row(start + index), index)));
        for index in range(left.value_offsets(), row) {
            of_keys.element(index);
            of_left.push(Some(index as u64));
            of_right.push(places.remove(&identities.row(index)).map(|index| index as u64));
            rows.push(row as u64);
        }
        for index in range(right.value_offsets(), row).filter(|index| places.contains_key(&identities.row(start + index))) {
            of_keys.element(start + index);
            of_left.push(None);
            of_right.push(Some(index as u64));
            rows.push(row as u64);
        }
        of_keys.end_row()?;
    }
    let Parts { indices, offsets, nulls } = of_keys.parts();
    let keys = take(&keys, &indices, None)?;
    let left_values = take(left.values(), &UInt64Array::from(of_left), None)?;
    let right_values = take(right.values(), &UInt64Array::from(of_right), None)?;
    let given = call.needed(0)?.run(&[&keys, &left_values, &right_values], &UInt64Array::from(rows))?;
    maps(call.returns, offsets, &keys, &given, nulls)
}
