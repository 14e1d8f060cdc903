//! Functions of arrays that look at each element for itself.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, ListArray, UInt64Array};
use arrow::compute::take;
use arrow::datatypes::DataType;
use datafusion::common::{internal_datafusion_err, internal_err};
use datafusion::error::Result;

use super::HigherOrder;
use super::call::{Call, Spread};
use crate::nested::taken::Taken;
use crate::nested::{of_type, range};

pub(super) const FUNCTIONS: &[HigherOrder] = &[
    HigherOrder {
        name: "all_match",
        forms: &["(array(T), function(T, boolean)) -> boolean"],
        run: |call| matching(call, |found| found.was_false, Outcomes::all),
        about: "Whether a condition is true of all elements.",
    },
    HigherOrder {
        name: "any_match",
        forms: &["(array(T), function(T, boolean)) -> boolean"],
        run: |call| matching(call, |found| found.was_true, Outcomes::any),
        about: "Whether a condition is true of some element.",
    },
    HigherOrder {
        name: "none_match",
        forms: &["(array(T), function(T, boolean)) -> boolean"],
        run: |call| matching(call, |found| found.was_true, |found| found.any().map(|any| !any)),
        about: "Whether a condition is true of no element.",
    },
    HigherOrder {
        name: "filter",
        forms: &["(array(T), function(T, boolean)) -> array(T)"],
        run: filter,
        about: "The elements of which a condition is true.",
    },
    HigherOrder {
        name: "transform",
        forms: &["(array(T), function(T, U)) -> array(U)"],
        run: transform,
        about: "What a function gives for each element.",
    },
    HigherOrder {
        name: "zip_with",
        forms: &["(array(T), array(U), function(T, U, R)) -> array(R)"],
        run: zip_with,
        about: "What a function gives for the elements of two arrays at the same position; the shorter one goes on with NULL.",
    },
];

/// What a condition was for the elements of an array.
#[derive(Clone, Copy, Debug, Default)]
struct Outcomes {
    was_true: bool,
    was_false: bool,
    was_null: bool,
}

impl Outcomes {
    /// Counts one more.
    fn add(&mut self, outcomes: &BooleanArray, index: usize) {
        match (outcomes.is_valid(index), outcomes.value(index)) {
            (false, _) => self.was_null = true,
            (true, true) => self.was_true = true,
            (true, false) => self.was_false = true,
        }
    }

    fn any(self) -> Option<bool> {
        if self.was_true || !self.was_null { Some(self.was_true) } else { None }
    }

    fn all(self) -> Option<bool> {
        if self.was_false || !self.was_null { Some(!self.was_false) } else { None }
    }
}

pub(super) fn as_condition(values: &ArrayRef) -> Result<&BooleanArray> {
    values.as_boolean_opt().ok_or_else(|| internal_datafusion_err!("a condition is of type {:?}", values.data_type()))
}

/// Whether arrays have elements of which a condition is true, or is not. `is_decided` tells when the elements behind do not count any more.
fn matching(call: &Call<'_>, is_decided: fn(Outcomes) -> bool, decide: fn(Outcomes) -> Option<bool>) -> Result<ArrayRef> {
    let list = call.list(0)?;
    let spread = Spread::new(call, list.value_offsets())?;
    let elements = spread.values(list.values())?;
    let mut found = vec![Outcomes::default(); call.rows];
    match call.needed(0)?.run(&[&elements], &spread.rows) {
        Ok(outcomes) => {
            let outcomes = as_condition(&outcomes)?;
            for (row, found) in found.iter_mut().enumerate() {
                range(&spread.offsets, row).for_each(|index| found.add(outcomes, index));
            }
        }
        // It may have failed for an element behind one that decides, which does not count.
        Err(_) => match_in_turn(call, &spread, &elements, is_decided, &mut found)?,
    }
    let found = found.into_iter().enumerate();
    Ok(Arc::new(found.map(|(row, found)| if call.is_null(row) { None } else { decide(found) }).collect::<BooleanArray>()))
}

/// The same with the first elements of all arrays, then the second ones, and so on, as long as nothing is decided.
fn match_in_turn(call: &Call<'_>, spread: &Spread, elements: &ArrayRef, is_decided: fn(Outcomes) -> bool, found: &mut [Outcomes]) -> Result<()> {
    for place in 0.. {
        let is_open = |row: &usize| place < range(&spread.offsets, *row).len() && !is_decided(found[*row]);
        let rows: Vec<usize> = (0..call.rows).filter(is_open).collect();
        if rows.is_empty() {
            break;
        }
        let indices: Vec<u64> = rows.iter().map(|row| (range(&spread.offsets, *row).start + place) as u64).collect();
        let of_rows: Vec<u64> = rows.iter().map(|row| *row as u64).collect();
        let elements = take(elements, &UInt64Array::from(indices), None)?;
        let outcomes = call.needed(0)?.run(&[&elements], &UInt64Array::from(of_rows))?;
        let outcomes = as_condition(&outcomes)?;
        rows.into_iter().enumerate().for_each(|(index, row)| found[row].add(outcomes, index));
    }
    Ok(())
}

fn filter(call: &Call<'_>) -> Result<ArrayRef> {
    let list = call.list(0)?;
    let spread = Spread::new(call, list.value_offsets())?;
    let elements = spread.values(list.values())?;
    let outcomes = call.needed(0)?.run(&[&elements], &spread.rows)?;
    kept(call, &spread, as_condition(&outcomes)?)?.array(&elements, call.returns)
}

/// The elements of which a condition is true.
pub(super) fn kept(call: &Call<'_>, spread: &Spread, outcomes: &BooleanArray) -> Result<Taken> {
    let mut taken = Taken::new(call.rows);
    for row in 0..call.rows {
        if call.is_null(row) {
            taken.null_row()?;
            continue;
        }
        range(&spread.offsets, row).filter(|index| outcomes.is_valid(*index) && outcomes.value(*index)).for_each(|index| taken.element(index));
        taken.end_row()?;
    }
    Ok(taken)
}

fn transform(call: &Call<'_>) -> Result<ArrayRef> {
    let list = call.list(0)?;
    let spread = Spread::new(call, list.value_offsets())?;
    let given = call.needed(0)?.run(&[&spread.values(list.values())?], &spread.rows)?;
    let DataType::List(field) = call.returns else { return internal_err!("transform returns {}", call.returns) };
    Ok(Arc::new(ListArray::try_new(Arc::clone(field), spread.offsets, of_type(&given, field.data_type())?, spread.nulls)?))
}

fn zip_with(call: &Call<'_>) -> Result<ArrayRef> {
    let (left, right) = (call.list(0)?, call.list(1)?);
    let (mut of_left, mut of_right) = (Taken::new(call.rows), Taken::new(call.rows));
    let mut rows = Vec::new();
    for row in 0..call.rows {
        if call.is_null(row) {
            of_left.null_row()?;
            continue;
        }
        let (one, other) = (range(left.value_offsets(), row), range(right.value_offsets(), row));
        for place in 0..one.len().max(other.len()) {
            of_left.element_or_null((place < one.len()).then_some(one.start + place));
            of_right.element_or_null((place < other.len()).then_some(other.start + place));
            rows.push(row as u64);
        }
        of_left.end_row()?;
    }
    let parts = of_left.parts();
    let arguments = [take(left.values(), &parts.indices, None)?, take(right.values(), &of_right.parts().indices, None)?];
    let given = call.needed(0)?.run(&arguments.each_ref(), &UInt64Array::from(rows))?;
    let DataType::List(field) = call.returns else { return internal_err!("zip_with returns {}", call.returns) };
    Ok(Arc::new(ListArray::try_new(Arc::clone(field), parts.offsets, of_type(&given, field.data_type())?, parts.nulls)?))
}
