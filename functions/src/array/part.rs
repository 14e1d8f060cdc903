//! Elements and parts of arrays.

use std::hash::{BuildHasher, Hasher, RandomState};

use arrow::array::{Array, ArrayRef, UInt64Array};
use datafusion::error::Result;

use crate::nested::equality::equality;
use crate::nested::taken::each_row;
use crate::nested::{as_map, of_type, picked, range};
use crate::{Call, Scalar, invalid};

pub(crate) const FUNCTIONS: &[Scalar] = &[
    Scalar::new("cardinality", &["(array(T)) -> bigint", "(map(K, V)) -> bigint"], cardinality, "How many elements an array or a map has."),
    Scalar::new(
        "cardinality",
        &["(varbinary) -> bigint"],
        crate::sketch::cardinality,
        "How many different values a HyperLogLog sketch or a set digest is of.",
    ),
    Scalar::new(
        "element_at",
        &["(array(T), bigint) -> T", "(map(K, V), K) -> V"],
        |call| at(call, false),
        "The element at a position, from the end if it is negative, or the value of a key; NULL if there is none.",
    ),
    Scalar::new(
        SUBSCRIPT,
        &["(array(T), bigint) -> T", "(map(K, V), K) -> V"],
        |call| at(call, true),
        "The element at a position, or the value of a key, which must be there: what a[b] is.",
    ),
    Scalar::new(
        "slice",
        &["(array(T), bigint, bigint) -> array(T)"],
        slice,
        "So many elements from a position on, which counts from the end if it is negative.",
    ),
    Scalar::new("trim_array", &["(array(T), bigint) -> array(T)"], trim_array, "The elements without so many at the end."),
    Scalar::new("shuffle", &["(array(T)) -> array(T)"], shuffle, "The elements in a random order.").volatile(),
];

/// The function that `a[b]` calls; no statement can call it by this name.
pub const SUBSCRIPT: &str = "$subscript";

fn cardinality(call: &Call<'_>) -> Result<ArrayRef> {
    let values = call.argument(0)?;
    let offsets = match as_map(values) {
        Ok(map) => map.value_offsets(),
        Err(_) => call.list(0)?.value_offsets(),
    };
    call.bigints(|row| Ok(Some(range(offsets, row).len() as i64)))
}

fn at(call: &Call<'_>, must_exist: bool) -> Result<ArrayRef> {
    match as_map(call.argument(0)?) {
        Ok(_) => value_of_key(call, must_exist),
        Err(_) => at_position(call, must_exist),
    }
}

fn at_position(call: &Call<'_>, must_exist: bool) -> Result<ArrayRef> {
    let (list, positions) = (call.list(0)?, call.bigint(1)?);
    let indices = call.values(|row| {
        let (range, position) = (range(list.value_offsets(), row), positions.value(row));
        let length = range.len() as i64;
        let place = match position {
            0 => return Err(invalid("positions in an array start at 1")),
            1.. => position - 1,
            _ if must_exist => return Err(invalid(format!("the position {position} is negative"))),
            _ => length.saturating_add(position),
        };
        match usize::try_from(place) {
            Ok(place) if place < range.len() => Ok(Some((range.start + place) as u64)),
            _ if must_exist => Err(invalid(format!("the position {position} is behind the end of an array of {length}"))),
            _ => Ok(None),
        }
    });
    picked(list.values(), &indices.collect::<Result<UInt64Array>>()?, call.returns())
}

fn value_of_key(call: &Call<'_>, must_exist: bool) -> Result<ArrayRef> {
    let map = as_map(call.argument(0)?)?;
    let wanted = of_type(call.argument(1)?, map.keys().data_type())?;
    let equal = equality(map.keys(), &wanted)?;
    let indices = call.values(|row| match range(map.value_offsets(), row).find(|index| equal(*index, row) == Some(true)) {
        Some(index) => Ok(Some(index as u64)),
        None if must_exist => Err(invalid(format!("the map has no key {}", shown(&wanted, row)))),
        None => Ok(None),
    });
    picked(map.values(), &indices.collect::<Result<UInt64Array>>()?, call.returns())
}

/// A value in the words of an error.
pub(crate) fn shown(values: &ArrayRef, row: usize) -> String {
    let text = arrow::util::display::array_value_to_string(values, row).unwrap_or_default();
    if text.chars().count() > 100 { format!("{}...", text.chars().take(100).collect::<String>()) } else { text }
}

fn slice(call: &Call<'_>) -> Result<ArrayRef> {
    let (list, starts, lengths) = (call.list(0)?, call.bigint(1)?, call.bigint(2)?);
    each_row(call, list.values(), |row, taken| {
        let (range, start, length) = (range(list.value_offsets(), row), starts.value(row), lengths.value(row));
        if start == 0 {
            return Err(invalid("positions in an array start at 1"));
        }
        let Ok(length) = usize::try_from(length) else { return Err(invalid("the length of a slice must not be negative")) };
        let first = if start > 0 { start - 1 } else { (range.len() as i64).saturating_add(start) };
        if let Ok(first) = usize::try_from(first)
            && first < range.len()
        {
            let end = first.saturating_add(length).min(range.len());
            taken.elements(range.start + first..range.start + end);
        }
        Ok(())
    })
}

fn trim_array(call: &Call<'_>) -> Result<ArrayRef> {
    let (list, counts) = (call.list(0)?, call.bigint(1)?);
    each_row(call, list.values(), |row, taken| {
        let range = range(list.value_offsets(), row);
        match usize::try_from(counts.value(row)).ok().and_then(|count| range.len().checked_sub(count)) {
            Some(left) => taken.elements(range.start..range.start + left),
            None => return Err(invalid(format!("an array of {} cannot be trimmed by {}", range.len(), counts.value(row)))),
        }
        Ok(())
    })
}

fn shuffle(call: &Call<'_>) -> Result<ArrayRef> {
    let list = call.list(0)?;
    // Each state of these hashers has random keys.
    let mut state = RandomState::new().build_hasher().finish();
    each_row(call, list.values(), |row, taken| {
        let mut indices: Vec<usize> = range(list.value_offsets(), row).collect();
        for last in (1..indices.len()).rev() {
            indices.swap(last, (next_random(&mut state) % (last as u64 + 1)) as usize);
        }
        indices.into_iter().for_each(|index| taken.element(index));
        Ok(())
    })
}

/// SplitMix64: G. L. Steele, D. Lea, C. H. Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.
fn next_random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
