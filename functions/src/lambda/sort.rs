//! `array_sort`, by the order of the elements or by a function that compares two of them.

use arrow::array::{Array, ArrayRef, AsArray, UInt64Array};
use arrow::compute::take;
use arrow::datatypes::{DataType, Int64Type};
use datafusion::common::internal_datafusion_err;
use datafusion::error::Result;

use super::HigherOrder;
use super::call::{Call, Given, Spread};
use crate::array::order::is_ordered;
use crate::invalid;
use crate::nested::identity::identities;
use crate::nested::taken::Taken;
use crate::nested::{of_type, range};
use crate::type_name::type_name;

pub(super) const FUNCTIONS: &[HigherOrder] = &[HigherOrder {
    name: "array_sort",
    forms: &["(array(T)) -> array(T)", "(array(T), function(T, T, bigint)) -> array(T)"],
    run: array_sort,
    about: "The elements in their order, NULL last, or in that of a function which gives -1, 0 or 1 for two of them.",
}];

fn array_sort(call: &Call<'_>) -> Result<ArrayRef> {
    let list = call.list(0)?;
    let spread = Spread::new(call, list.value_offsets())?;
    let elements = spread.values(list.values())?;
    let order = match call.function(0) {
        Some(compare) => compared(call, compare, &spread, &elements)?,
        None => ordered(call, &spread, &elements)?,
    };
    let mut taken = Taken::new(call.rows);
    for row in 0..call.rows {
        if call.is_null(row) {
            taken.null_row()?;
            continue;
        }
        order.get(range(&spread.offsets, row)).unwrap_or_default().iter().for_each(|index| taken.element(*index));
        taken.end_row()?;
    }
    taken.array(&elements, call.returns)
}

fn ordered(call: &Call<'_>, spread: &Spread, elements: &ArrayRef) -> Result<Vec<usize>> {
    if !is_ordered(elements.data_type()) {
        return Err(invalid(format!("there is no order in values of type {}", type_name(elements.data_type()))));
    }
    let rows = identities(elements)?;
    let mut order: Vec<usize> = (0..elements.len()).collect();
    for row in 0..call.rows {
        if let Some(part) = order.get_mut(range(&spread.offsets, row)) {
            part.sort_by(|one, other| rows.row(*one).cmp(&rows.row(*other)));
        }
    }
    Ok(order)
}

/// Two runs of elements that are in order, of which one is made.
struct Merge {
    left: usize,
    left_end: usize,
    right: usize,
    right_end: usize,
    /// Where the next element goes.
    to: usize,
}

/// A merge sort from small runs to large ones, in which all runs of all rows take a step together: the function is run for one pair of each at once.
fn compared(call: &Call<'_>, compare: Given<'_>, spread: &Spread, elements: &ArrayRef) -> Result<Vec<usize>> {
    let mut order: Vec<usize> = (0..elements.len()).collect();
    let longest = (0..call.rows).map(|row| range(&spread.offsets, row).len()).max().unwrap_or_default();
    let mut width = 1;
    while width < longest {
        let mut sorted = order.clone();
        let mut merges = Vec::new();
        for row in 0..call.rows {
            let row = range(&spread.offsets, row);
            for left in row.clone().step_by(2 * width) {
                let (middle, end) = ((left + width).min(row.end), (left + 2 * width).min(row.end));
                if middle < end {
                    merges.push(Merge { left, left_end: middle, right: middle, right_end: end, to: left });
                }
            }
        }
        while !merges.is_empty() {
            let pairs = merges.iter().map(|merge| (order[merge.left], order[merge.right]));
            let comparisons = comparisons(compare, spread, elements, pairs)?;
            for (merge, comparison) in merges.iter_mut().zip(comparisons) {
                let from = if comparison <= 0 { &mut merge.left } else { &mut merge.right };
                sorted[merge.to] = order[*from];
                *from += 1;
                merge.to += 1;
            }
            merges.retain(|merge| {
                let rest = if merge.left == merge.left_end { merge.right..merge.right_end } else { merge.left..merge.left_end };
                let is_done = merge.left == merge.left_end || merge.right == merge.right_end;
                if is_done {
                    sorted[merge.to..merge.to + rest.len()].copy_from_slice(&order[rest]);
                }
                !is_done
            });
        }
        order = sorted;
        width *= 2;
    }
    Ok(order)
}

/// What the function says of pairs of elements. Errors: `INVALID_FUNCTION_ARGUMENT` if that is not -1, 0 or 1.
fn comparisons(compare: Given<'_>, spread: &Spread, elements: &ArrayRef, pairs: impl Iterator<Item = (usize, usize)>) -> Result<Vec<i64>> {
    let (left, right): (Vec<u64>, Vec<u64>) = pairs.map(|(left, right)| (left as u64, right as u64)).unzip();
    let (left, right) = (UInt64Array::from(left), UInt64Array::from(right));
    let rows = take(&spread.rows, &left, None)?;
    let rows = rows.as_primitive_opt().ok_or_else(|| internal_datafusion_err!("rows are no numbers"))?;
    let given = compare.run(&[&take(elements, &left, None)?, &take(elements, &right, None)?], rows)?;
    let given = of_type(&given, &DataType::Int64)?;
    let given = given.as_primitive_opt::<Int64Type>().ok_or_else(|| internal_datafusion_err!("comparisons are no numbers"))?;
    let checked = given.iter().map(|comparison| match comparison {
        Some(comparison @ -1..=1) => Ok(comparison),
        Some(other) => Err(invalid(format!("a function that compares gives -1, 0 or 1, not {other}"))),
        None => Err(invalid("a function that compares gives -1, 0 or 1, not NULL")),
    });
    checked.collect()
}
