//! Arrays as sets. NULL is one of the values.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int64Array, ListArray};
use arrow::compute::{concat, take};
use arrow::row::{Row, Rows};
use datafusion::common::{HashMap, HashSet};
use datafusion::error::Result;

use crate::nested::identity::identities;
use crate::nested::taken::{Taken, each_row};
use crate::nested::{maps, range};
use crate::{Call, Scalar};

pub(crate) const FUNCTIONS: &[Scalar] = &[
    Scalar::new("array_distinct", &["(array(T)) -> array(T)"], array_distinct, "The elements without those that are there before."),
    Scalar::new("array_except", &["(array(T), array(T)) -> array(T)"], array_except, "The elements that are not in another array, each once."),
    Scalar::new("array_intersect", &["(array(T), array(T)) -> array(T)"], array_intersect, "The elements that are in both arrays, each once."),
    Scalar::new("array_union", &["(array(T), array(T)) -> array(T)"], array_union, "The elements that are in one of two arrays, each once."),
    Scalar::new("arrays_overlap", &["(array(T), array(T)) -> boolean"], arrays_overlap, "Whether two arrays have an element in common."),
    Scalar::new("array_histogram", &["(array(T)) -> map(T, bigint)"], array_histogram, "How often each element is in an array."),
];

/// Two arguments, whose elements lie in one array, those of the second behind those of the first.
struct Two<'a> {
    left: &'a ListArray,
    right: &'a ListArray,
    values: ArrayRef,
    rows: Rows,
    /// Where those of the second begin.
    start: usize,
}

impl<'a> Two<'a> {
    fn new(call: &Call<'a>) -> Result<Self> {
        let (left, right) = (call.list(0)?, call.list(1)?);
        let values = concat(&[left.values().as_ref(), right.values().as_ref()])?;
        let rows = identities(&values)?;
        Ok(Self { left, right, values, rows, start: left.values().len() })
    }

    fn left(&self, row: usize) -> Range<usize> {
        range(self.left.value_offsets(), row)
    }

    fn right(&self, row: usize) -> Range<usize> {
        let range = range(self.right.value_offsets(), row);
        range.start + self.start..range.end + self.start
    }
}

fn array_distinct(call: &Call<'_>) -> Result<ArrayRef> {
    let list = call.list(0)?;
    let rows = identities(list.values())?;
    let mut seen = HashSet::new();
    each_row(call, list.values(), |row, taken| {
        seen.clear();
        range(list.value_offsets(), row).filter(|index| seen.insert(rows.row(*index))).for_each(|index| taken.element(index));
        Ok(())
    })
}

fn array_except(call: &Call<'_>) -> Result<ArrayRef> {
    let two = Two::new(call)?;
    let mut seen = HashSet::new();
    each_row(call, &two.values, |row, taken| {
        seen.clear();
        seen.extend(two.right(row).map(|index| two.rows.row(index)));
        two.left(row).filter(|index| seen.insert(two.rows.row(*index))).for_each(|index| taken.element(index));
        Ok(())
    })
}

fn array_intersect(call: &Call<'_>) -> Result<ArrayRef> {
    let two = Two::new(call)?;
    let mut left_over = HashSet::new();
    each_row(call, &two.values, |row, taken| {
        left_over.clear();
        // They come in the order of the longer one, as in Trino.
        let (left, right) = (two.left(row), two.right(row));
        let (longer, shorter) = if left.len() < right.len() { (right, left) } else { (left, right) };
        left_over.extend(shorter.map(|index| two.rows.row(index)));
        longer.filter(|index| left_over.remove(&two.rows.row(*index))).for_each(|index| taken.element(index));
        Ok(())
    })
}

fn array_union(call: &Call<'_>) -> Result<ArrayRef> {
    let two = Two::new(call)?;
    let mut seen = HashSet::new();
    each_row(call, &two.values, |row, taken| {
        seen.clear();
        two.left(row).chain(two.right(row)).filter(|index| seen.insert(two.rows.row(*index))).for_each(|index| taken.element(index));
        Ok(())
    })
}

/// NULL if only an element that is NULL can be in common.
fn arrays_overlap(call: &Call<'_>) -> Result<ArrayRef> {
    let two = Two::new(call)?;
    let nulls = two.values.logical_nulls();
    let is_null = |index: usize| nulls.as_ref().is_some_and(|nulls| nulls.is_null(index));
    let mut seen = HashSet::new();
    call.booleans(|row| {
        seen.clear();
        seen.extend(two.right(row).filter(|index| !is_null(*index)).map(|index| two.rows.row(index)));
        if two.left(row).any(|index| seen.contains(&two.rows.row(index))) {
            return Ok(Some(true));
        }
        let both = two.left(row).next().is_some() && two.right(row).next().is_some();
        let unknown = both && two.left(row).chain(two.right(row)).any(is_null);
        Ok((!unknown).then_some(false))
    })
}

fn array_histogram(call: &Call<'_>) -> Result<ArrayRef> {
    let list = call.list(0)?;
    let rows = identities(list.values())?;
    let nulls = list.values().logical_nulls();
    let is_value = |index: &usize| nulls.as_ref().is_none_or(|nulls| nulls.is_valid(*index));
    let mut keys = Taken::new(call.rows());
    let mut counts: Vec<i64> = Vec::new();
    let mut places: HashMap<Row<'_>, usize> = HashMap::new();
    for row in 0..call.rows() {
        if call.is_null(row) {
            keys.null_row()?;
            continue;
        }
        places.clear();
        for index in range(list.value_offsets(), row).filter(is_value) {
            let place = *places.entry(rows.row(index)).or_insert_with(|| {
                keys.element(index);
                counts.push(0);
                counts.len() - 1
            });
            if let Some(count) = counts.get_mut(place) {
                *count += 1;
            }
        }
        keys.end_row()?;
    }
    let parts = keys.parts();
    let found = take(list.values(), &parts.indices, None)?;
    let counts: ArrayRef = Arc::new(Int64Array::from(counts));
    maps(call.returns(), parts.offsets, &found, &counts, parts.nulls)
}
