//! Keys of maps that are cast: what differed before may be the same then, and no map has a key twice.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, UInt64Array};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::take;
use arrow::row::{RowConverter, SortField};
use datafusion::error::Result;
use nunatak_core::{Code, Error};

use super::number_cast::ranges;
use crate::error::into_datafusion;

/// The nulls of maps, and with `is_try` also those that have a key twice.
///
/// Errors: `INVALID_CAST_ARGUMENT` for a key that is there twice.
pub(super) fn without_twins(keys: &ArrayRef, offsets: &OffsetBuffer<i32>, nulls: Option<NullBuffer>, is_try: bool) -> Result<Option<NullBuffer>> {
    let rows = RowConverter::new(vec![SortField::new(keys.data_type().clone())])?.convert_columns(&[Arc::clone(keys)])?;
    let is_valid = |row: usize| nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row));
    let has_twins = |mut part: Range<usize>| {
        let mut seen = HashSet::with_capacity(part.len());
        part.any(|key| !seen.insert(rows.row(key)))
    };
    let twins: Vec<bool> = ranges(offsets).enumerate().map(|(row, part)| is_valid(row) && has_twins(part)).collect();
    match twins.contains(&true) {
        false => Ok(nulls),
        true if is_try => Ok(Some(twins.iter().enumerate().map(|(row, twins)| is_valid(row) && !twins).collect())),
        true => Err(into_datafusion(Error::new(Code::InvalidCastArgument, "a map has a key twice when its keys are cast"))),
    }
}

/// The keys and values of maps, and where those of each lie, without those of maps that are NULL: a key that could not be cast is none.
pub(super) fn of_valid(offsets: &OffsetBuffer<i32>, nulls: Option<&NullBuffer>, columns: &[ArrayRef]) -> Result<(OffsetBuffer<i32>, Vec<ArrayRef>)> {
    let is_valid = |row: usize| nulls.is_none_or(|nulls| nulls.is_valid(row));
    let parts: Vec<Range<usize>> = ranges(offsets).enumerate().map(|(row, part)| if is_valid(row) { part } else { 0..0 }).collect();
    let indices = UInt64Array::from_iter_values(parts.iter().cloned().flatten().map(|at| at as u64));
    let columns = columns.iter().map(|column| Ok(take(column, &indices, None)?)).collect::<Result<_>>()?;
    Ok((OffsetBuffer::from_lengths(parts.iter().map(|part| part.len())), columns))
}

#[cfg(test)]
mod tests {
    use arrow::array::{AsArray, BooleanArray};

    use super::*;
    use crate::error::from_datafusion;

    #[test]
    fn what_is_null_has_no_keys() {
        let keys: ArrayRef = Arc::new(BooleanArray::from(vec![Some(true), None, Some(false)]));
        let nulls: NullBuffer = [false, true].into_iter().collect();
        let (offsets, columns) = of_valid(&OffsetBuffer::from_lengths([2, 1]), Some(&nulls), &[keys]).unwrap();
        assert_eq!(&offsets[..], [0, 0, 1]);
        assert_eq!(columns[0].as_boolean(), &BooleanArray::from(vec![false]));
    }

    #[test]
    fn a_key_is_there_once() {
        let keys: ArrayRef = Arc::new(BooleanArray::from(vec![true, false, true, true, true, true]));
        let offsets = OffsetBuffer::from_lengths([2, 0, 2, 2]);
        let nulls: NullBuffer = [true, true, true, false].into_iter().collect();
        let tried = without_twins(&keys, &offsets, Some(nulls.clone()), true).unwrap().unwrap();
        assert_eq!(tried.iter().collect::<Vec<_>>(), [true, true, false, false]);
        assert_eq!(from_datafusion(without_twins(&keys, &offsets, Some(nulls), false).unwrap_err()).code(), Code::InvalidCastArgument);
        assert_eq!(without_twins(&keys.slice(0, 2), &OffsetBuffer::from_lengths([2]), None, false).unwrap(), None);
    }
}
