//! Arrays that are made of several, or of parts of one.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ListArray, StructArray};
use arrow::compute::take;
use arrow::datatypes::{DataType, Field, Fields};
use datafusion::common::{internal_err, plan_err};
use datafusion::error::Result;

use crate::nested::range;
use crate::nested::taken::{Taken, each_row};
use crate::signature::within;
use crate::{Call, Scalar, invalid};

/// The most elements of a result of `repeat`, as in Trino.
const REPEATED_MAX: i64 = 10_000;
/// The most elements in one of the results of `combinations`, as in Trino.
const COMBINED_MAX: usize = 5;
/// The most elements in all results of `combinations` for a row, as in Trino.
const COMBINATIONS_MAX: usize = 100_000;

pub(crate) const FUNCTIONS: &[Scalar] = &[
    Scalar::new("flatten", &["(array(array(T))) -> array(T)"], flatten, "The elements of all arrays of an array."),
    Scalar::new("repeat", &["(T, bigint) -> array(T)"], repeat, "An array that has a value so many times.").seeing_nulls(),
    Scalar::new("ngrams", &["(array(T), bigint) -> array(array(T))"], ngrams, "All runs of so many elements."),
    Scalar::new(
        "combinations",
        &["(array(T), bigint) -> array(array(T))"],
        combinations,
        "All choices of so many elements, each in the order of the array: those of the first ones come first.",
    ),
    Scalar::new(
        "zip",
        &[
            "(array(A), array(B)) -> array(A)",
            "(array(A), array(B), array(C)) -> array(A)",
            "(array(A), array(B), array(C), array(D)) -> array(A)",
            "(array(A), array(B), array(C), array(D), array(E)) -> array(A)",
        ],
        zip,
        "Rows of the elements of several arrays at the same position.",
    )
    .returning(zipped),
];

fn flatten(call: &Call<'_>) -> Result<ArrayRef> {
    let list = call.list(0)?;
    let Some(inner) = list.values().as_any().downcast_ref::<ListArray>() else { return internal_err!("flatten takes arrays of arrays") };
    each_row(call, inner.values(), |row, taken| {
        let arrays = range(list.value_offsets(), row).filter(|index| inner.is_valid(*index));
        arrays.for_each(|index| taken.elements(range(inner.value_offsets(), index)));
        Ok(())
    })
}

fn repeat(call: &Call<'_>) -> Result<ArrayRef> {
    let counts = call.bigint(1)?;
    let values = call.argument(0)?;
    let mut taken = Taken::new(call.rows());
    for row in 0..call.rows() {
        if counts.is_null(row) {
            taken.null_row()?;
            continue;
        }
        let count = counts.value(row);
        if !(0..=REPEATED_MAX).contains(&count) {
            return Err(invalid(format!("repeat takes counts from 0 to {REPEATED_MAX}, not {count}")));
        }
        (0..count).for_each(|_| taken.element(row));
        taken.end_row()?;
    }
    taken.array(values, call.returns())
}

/// Arrays of arrays: `fill` adds the elements of each inner array of a row, and says how many arrays there are.
fn nested(call: &Call<'_>, values: &ArrayRef, mut fill: impl FnMut(usize, &mut Taken) -> Result<usize>) -> Result<ArrayRef> {
    let DataType::List(field) = call.returns() else { return internal_err!("arrays of arrays are no {}", call.returns()) };
    let mut inner = Taken::new(call.rows());
    let mut outer = Taken::new(call.rows());
    let mut filled = 0;
    for row in 0..call.rows() {
        if call.is_null(row) {
            outer.null_row()?;
            continue;
        }
        let count = fill(row, &mut inner)?;
        outer.elements(filled..filled + count);
        filled += count;
        outer.end_row()?;
    }
    let outer = outer.parts();
    let arrays = inner.array(values, field.data_type())?;
    Ok(Arc::new(ListArray::try_new(Arc::clone(field), outer.offsets, arrays, outer.nulls)?))
}

fn ngrams(call: &Call<'_>) -> Result<ArrayRef> {
    let (list, counts) = (call.list(0)?, call.bigint(1)?);
    nested(call, list.values(), |row, taken| {
        let range = range(list.value_offsets(), row);
        let Some(count) = usize::try_from(counts.value(row)).ok().filter(|count| *count > 0) else {
            return Err(invalid(format!("ngrams takes a positive number, not {}", counts.value(row))));
        };
        let count = count.min(range.len());
        let last = range.end - count;
        for start in range.start..=last {
            taken.elements(start..start + count);
            taken.end_row()?;
        }
        Ok(last - range.start + 1)
    })
}

fn combinations(call: &Call<'_>) -> Result<ArrayRef> {
    let (list, counts) = (call.list(0)?, call.bigint(1)?);
    nested(call, list.values(), |row, taken| {
        let range = range(list.value_offsets(), row);
        let Some(count) = usize::try_from(counts.value(row)).ok().filter(|count| *count <= COMBINED_MAX) else {
            return Err(invalid(format!("combinations takes from 0 to {COMBINED_MAX} elements, not {}", counts.value(row))));
        };
        if binomial(range.len(), count).and_then(|number| number.checked_mul(count)).is_none_or(|elements| elements > COMBINATIONS_MAX) {
            return Err(invalid(format!("combinations would have more than {COMBINATIONS_MAX} elements")));
        }
        choose(&range, count, taken)
    })
}

/// How many choices there are; `None` if they cannot be counted.
fn binomial(of: usize, count: usize) -> Option<usize> {
    if count > of {
        return Some(0);
    }
    (0..count).try_fold(1_usize, |number, chosen| Some(number.checked_mul(of - chosen)? / (chosen + 1)))
}

fn choose(range: &Range<usize>, count: usize, taken: &mut Taken) -> Result<usize> {
    let mut chosen: Vec<usize> = (0..count).collect();
    if count > range.len() {
        return Ok(0);
    }
    let mut number = 0;
    loop {
        chosen.iter().for_each(|place| taken.element(range.start + place));
        taken.end_row()?;
        number += 1;
        // The first one that can move without reaching the next, and those before it from the start again.
        let end = |place: usize| chosen.get(place + 1).copied().unwrap_or(range.len());
        let Some(moving) = (0..count).find(|place| chosen.get(*place).is_some_and(|at| at + 1 < end(*place))) else {
            return Ok(number);
        };
        let next = chosen.get(moving).map_or(0, |at| at + 1);
        chosen.iter_mut().zip((0..moving).chain([next])).for_each(|(place, at)| *place = at);
    }
}

fn zipped(types: &[DataType]) -> Result<DataType> {
    let field = |(place, data_type): (usize, &DataType)| match data_type {
        DataType::List(element) => Ok(Field::new(format!("c{place}"), within(element.data_type()), true)),
        other => plan_err!("zip takes arrays, not {other}"),
    };
    let fields = types.iter().enumerate().map(field).collect::<Result<Fields>>()?;
    Ok(DataType::List(Arc::new(Field::new_list_field(DataType::Struct(fields), true))))
}

fn zip(call: &Call<'_>) -> Result<ArrayRef> {
    let DataType::List(field) = call.returns() else { return internal_err!("zip returns {}", call.returns()) };
    let DataType::Struct(fields) = field.data_type() else { return internal_err!("zip returns {}", call.returns()) };
    let lists = (0..call.len()).map(|index| call.list(index)).collect::<Result<Vec<_>>>()?;
    let mut columns: Vec<Taken> = lists.iter().map(|_| Taken::new(call.rows())).collect();
    for row in 0..call.rows() {
        let longest = lists.iter().map(|list| range(list.value_offsets(), row).len()).max().unwrap_or_default();
        for (list, column) in lists.iter().zip(&mut columns) {
            if call.is_null(row) {
                column.null_row()?;
                continue;
            }
            let range = range(list.value_offsets(), row);
            (0..longest).for_each(|place| column.element_or_null((place < range.len()).then_some(range.start + place)));
            column.end_row()?;
        }
    }
    let mut parts: Vec<_> = columns.into_iter().map(Taken::parts).collect();
    let elements = lists.iter().zip(&parts).map(|(list, part)| Ok(take(list.values(), &part.indices, None)?)).collect::<Result<Vec<_>>>()?;
    let Some(last) = parts.pop() else { return internal_err!("zip has no arguments") };
    let rows = StructArray::try_new(fields.clone(), elements, None)?;
    Ok(Arc::new(ListArray::try_new(Arc::clone(field), last.offsets, Arc::new(rows), last.nulls)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_are_counted() {
        assert_eq!([binomial(4, 2), binomial(4, 0), binomial(2, 3), binomial(40, 5)], [Some(6), Some(1), Some(0), Some(658_008)]);
        assert_eq!(binomial(usize::MAX, 3), None);
    }

    #[test]
    fn choices_are_in_order() {
        let mut taken = Taken::new(1);
        assert_eq!(choose(&(10..13), 2, &mut taken).unwrap(), 3);
        assert_eq!(taken.parts().indices.values().to_vec(), [10, 11, 10, 12, 11, 12]);
        let mut taken = Taken::new(1);
        assert_eq!(choose(&(0..4), 2, &mut taken).unwrap(), 6);
        assert_eq!(taken.parts().indices.values().to_vec(), [0, 1, 0, 2, 1, 2, 0, 3, 1, 3, 2, 3]);
        let mut taken = Taken::new(1);
        assert_eq!((choose(&(0..3), 3, &mut taken).unwrap(), choose(&(0..3), 0, &mut taken).unwrap()), (1, 1));
    }
}
