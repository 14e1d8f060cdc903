//! `reduce`: a value that each element of an array changes in turn.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, UInt64Array, new_null_array};
use arrow::compute::{interleave, take};
use datafusion::error::Result;

use super::HigherOrder;
use super::call::Call;
use crate::nested::{of_type, picked, range};
use crate::signature::within;

pub(super) const FUNCTIONS: &[HigherOrder] = &[HigherOrder {
    name: "reduce",
    forms: &["(array(T), S, function(S, T, S), function(S, R)) -> R"],
    run: reduce,
    about: "What a second function gives for the state that a first one makes of a state and each element in turn.",
}];

/// All rows that have an element left take a step together.
fn reduce(call: &Call<'_>) -> Result<ArrayRef> {
    let list = call.list(0)?;
    let (merge, finish) = (call.needed(0)?, call.needed(1)?);
    let of_row = |row: usize| range(list.value_offsets(), row);
    let valid: Vec<usize> = (0..call.rows).filter(|row| list.is_valid(*row)).collect();
    if valid.is_empty() {
        return Ok(new_null_array(call.returns, call.rows));
    }
    let initial = call.value(1)?;
    let initial = of_type(initial, &within(initial.data_type()))?;
    // Where the last state of each row is: in which of the arrays, and where in it.
    let mut ends: Vec<(usize, usize)> = (0..call.rows).map(|row| (0, row)).collect();
    let mut arrays = vec![Arc::clone(&initial)];
    let mut active: Vec<usize> = valid.iter().copied().filter(|row| !of_row(*row).is_empty()).collect();
    let mut states = take(&initial, &positions(active.iter().copied()), None)?;
    let mut step = 0;
    while !active.is_empty() {
        let elements = take(list.values(), &positions(active.iter().map(|row| of_row(*row).start + step)), None)?;
        let merged = merge.run(&[&states, &elements], &positions(active.iter().copied()))?;
        let merged = of_type(&merged, initial.data_type())?;
        step += 1;
        let (mut places, mut rows) = (Vec::new(), Vec::new());
        for (place, row) in active.iter().enumerate() {
            if of_row(*row).len() > step {
                places.push(place);
                rows.push(*row);
            } else if let Some(end) = ends.get_mut(*row) {
                *end = (arrays.len(), place);
            }
        }
        let all_go_on = rows.len() == active.len();
        states = if all_go_on { Arc::clone(&merged) } else { take(&merged, &positions(places.into_iter()), None)? };
        if !all_go_on {
            arrays.push(merged);
        }
        active = rows;
    }
    let arrays: Vec<&dyn Array> = arrays.iter().map(|array| array.as_ref()).collect();
    let last: Vec<(usize, usize)> = valid.iter().filter_map(|row| ends.get(*row).copied()).collect();
    let finished = finish.run(&[&interleave(&arrays, &last)?], &positions(valid.iter().copied()))?;
    let mut next = 0_u64..;
    let indices: UInt64Array = (0..call.rows).map(|row| if list.is_valid(row) { next.next() } else { None }).collect();
    picked(&finished, &indices, call.returns)
}

fn positions(positions: impl Iterator<Item = usize>) -> UInt64Array {
    positions.map(|position| position as u64).collect::<Vec<_>>().into()
}
