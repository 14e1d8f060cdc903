//! Elements that are looked for by `=`.

use arrow::array::{Array, ArrayRef};
use arrow::buffer::NullBuffer;
use datafusion::error::Result;

use crate::nested::equality::{Equal, equality};
use crate::nested::identity::identities;
use crate::nested::taken::each_row;
use crate::nested::{of_type, range};
use crate::{Call, Scalar, not_supported};

pub(crate) const FUNCTIONS: &[Scalar] = &[
    Scalar::new("contains", &["(array(T), T) -> boolean"], contains, "Whether a value is among the elements."),
    Scalar::new(
        "array_position",
        &["(array(T), T) -> bigint"],
        array_position,
        "Where a value is first among the elements, from 1 on; 0 if it is not.",
    ),
    Scalar::new("array_remove", &["(array(T), T) -> array(T)"], array_remove, "The elements that are not equal to a value."),
    Scalar::new(
        "contains_sequence",
        &["(array(T), array(T)) -> boolean"],
        contains_sequence,
        "Whether the elements of another array follow each other in it.",
    ),
];

/// The values that are looked for, and the elements among which they are.
struct Wanted {
    equal: Equal,
    nulls: Option<NullBuffer>,
}

impl Wanted {
    fn new(call: &Call<'_>) -> Result<Self> {
        let list = call.list(0)?;
        let wanted = of_type(call.argument(1)?, &list.value_type())?;
        Ok(Self { equal: equality(list.values(), &wanted)?, nulls: list.values().logical_nulls() })
    }

    fn is_null(&self, index: usize) -> bool {
        self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(index))
    }

    /// Whether an element is equal to what is looked for in a row; an element that is NULL is not. Errors: `NOT_SUPPORTED` where a NULL within one decides.
    fn is(&self, index: usize, row: usize) -> Result<bool> {
        if self.is_null(index) {
            return Ok(false);
        }
        (self.equal)(index, row).ok_or_else(|| not_supported("arrays and rows that contain NULL cannot be compared here"))
    }
}

fn contains(call: &Call<'_>) -> Result<ArrayRef> {
    let list = call.list(0)?;
    let wanted = Wanted::new(call)?;
    call.booleans(|row| {
        let mut unknown = false;
        for index in range(list.value_offsets(), row) {
            if wanted.is(index, row)? {
                return Ok(Some(true));
            }
            unknown |= wanted.is_null(index);
        }
        Ok((!unknown).then_some(false))
    })
}

fn array_position(call: &Call<'_>) -> Result<ArrayRef> {
    let list = call.list(0)?;
    let wanted = Wanted::new(call)?;
    call.bigints(|row| {
        for (place, index) in (1..).zip(range(list.value_offsets(), row)) {
            if wanted.is(index, row)? {
                return Ok(Some(place));
            }
        }
        Ok(Some(0))
    })
}

fn array_remove(call: &Call<'_>) -> Result<ArrayRef> {
    let list = call.list(0)?;
    let wanted = Wanted::new(call)?;
    each_row(call, list.values(), |row, taken| {
        for index in range(list.value_offsets(), row) {
            if !wanted.is(index, row)? {
                taken.element(index);
            }
        }
        Ok(())
    })
}

fn contains_sequence(call: &Call<'_>) -> Result<ArrayRef> {
    let (list, part) = (call.list(0)?, call.list(1)?);
    // Bytes of two arrays can be compared since they are of one type.
    let (rows, part_rows) = (identities(list.values())?, identities(part.values())?);
    call.booleans(|row| {
        let (within, wanted) = (range(list.value_offsets(), row), range(part.value_offsets(), row));
        let Some(last) = within.len().checked_sub(wanted.len()) else { return Ok(Some(false)) };
        let starts_at = |start: usize| wanted.clone().enumerate().all(|(place, index)| rows.row(start + place) == part_rows.row(index));
        Ok(Some((within.start..=within.start + last).any(starts_at)))
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{AsArray, BooleanArray, Int32Array, Int64Array, ListArray};
    use arrow::datatypes::{DataType, Int32Type};
    use datafusion::common::config::ConfigOptions;

    use super::*;

    #[test]
    fn sliced_rows_and_null_ones() {
        let rows = [Some(vec![Some(9)]), Some(vec![Some(1), None]), None, Some(vec![Some(3), Some(4)])];
        let lists: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(rows).slice(1, 3));
        let wanted: ArrayRef = Arc::new(Int32Array::from(vec![Some(9), Some(9), Some(4)]));
        let (arguments, config) = ([lists, wanted], ConfigOptions::default());
        let run = |data_type: &DataType, run: fn(&Call<'_>) -> Result<ArrayRef>| run(&Call::new(&arguments, 3, data_type, &config, false)).unwrap();
        let found: BooleanArray = run(&DataType::Boolean, contains).as_boolean().clone();
        assert_eq!(found, BooleanArray::from(vec![None, None, Some(true)]));
        let places: Int64Array = run(&DataType::Int64, array_position).as_primitive().clone();
        assert_eq!(places, Int64Array::from(vec![Some(0), None, Some(2)]));
        let left = run(arguments[0].data_type(), array_remove);
        let expected = [Some(vec![Some(1), None]), None, Some(vec![Some(3)])];
        assert_eq!(left.as_list::<i32>(), &ListArray::from_iter_primitive::<Int32Type, _, _>(expected));
    }
}
