//! `approx_most_frequent`: the values that are there most often, with room for a number of them (A. Metwally and others, "Efficient computation of frequent and top-k elements in
//! data streams", 2005): a new value takes the place of the rarest one, and inherits its count.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, PrimitiveArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use arrow::row::{RowConverter, SortField};
use datafusion::common::{ScalarValue, exec_datafusion_err, internal_err};
use datafusion::error::Result;
use datafusion::logical_expr::Accumulator;

use super::function::{Aggregate, Types};
use super::maps::{map_of, null_of};
use crate::invalid;

/// The most values that there may be room for.
const CAPACITY_MAX: i64 = 1_000_000;

pub(super) const FUNCTIONS: &[Aggregate] = &[Aggregate::new(
    "approx_most_frequent",
    &["(bigint, varchar, bigint) -> map(varchar, bigint)", "(bigint, bigint, bigint) -> map(bigint, bigint)"],
    |types| Ok(vec![types.returns.clone(), DataType::Int64, DataType::Int64]),
    start,
    "About which values are there most often, and how often.",
)];

fn start(types: &Types) -> Result<Box<dyn Accumulator>> {
    let [_, value, _] = types.arguments.as_slice() else { return internal_err!("wrong number of arguments") };
    let converter = RowConverter::new(vec![SortField::new(value.clone())])?;
    Ok(Box::new(Frequent {
        value: value.clone(),
        returns: types.returns.clone(),
        converter,
        limits: None,
        slots: Vec::new(),
        places: HashMap::new(),
        order: BTreeSet::new(),
    }))
}

/// How many values are wanted, and how many there is room for.
#[derive(Clone, Copy, Debug)]
struct Limits {
    wanted: i64,
    capacity: i64,
}

/// The values that there is room for.
struct Frequent {
    value: DataType,
    returns: DataType,
    converter: RowConverter,
    limits: Option<Limits>,
    slots: Vec<(Box<[u8]>, i64)>,
    places: HashMap<Box<[u8]>, usize>,
    /// Counts with slots, rarest first.
    order: BTreeSet<(i64, usize)>,
}

impl fmt::Debug for Frequent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Frequent").field("limits", &self.limits).field("values", &self.slots.len()).finish_non_exhaustive()
    }
}

fn whole_numbers(column: &ArrayRef) -> Result<&PrimitiveArray<Int64Type>> {
    column.as_primitive_opt().ok_or_else(|| exec_datafusion_err!("a column of type {} has no bigints", column.data_type()))
}

impl Frequent {
    fn ask(&mut self, wanted: i64, capacity: i64) -> Result<()> {
        if wanted < 2 {
            return Err(invalid(format!("approx_most_frequent needs at least 2 buckets, and is asked for {wanted}")));
        }
        if !(1..=CAPACITY_MAX).contains(&capacity) {
            return Err(invalid(format!("the capacity must be from 1 to {CAPACITY_MAX}, and is {capacity}")));
        }
        self.limits = Some(Limits { wanted, capacity });
        Ok(())
    }

    fn add(&mut self, values: &ArrayRef, counts: Option<&Int64Array>) -> Result<()> {
        let capacity = self.limits.map_or(0, |limits| usize::try_from(limits.capacity).unwrap_or_default());
        let values = cast(values, &self.value)?;
        let rows = self.converter.convert_columns(&[Arc::clone(&values)])?;
        for (index, row) in rows.iter().enumerate().filter(|(index, _)| values.is_valid(*index)) {
            let count = counts.map_or(1, |counts| counts.value(index));
            let slot = match self.places.get(row.data()) {
                Some(slot) => *slot,
                None if self.slots.len() < capacity => {
                    self.slots.push((row.data().into(), 0));
                    self.places.insert(row.data().into(), self.slots.len() - 1);
                    self.slots.len() - 1
                }
                None => {
                    let Some((_, slot)) = self.order.first().copied() else { continue };
                    self.places.remove(&self.slots[slot].0);
                    self.slots[slot].0 = row.data().into();
                    self.places.insert(row.data().into(), slot);
                    slot
                }
            };
            let held = &mut self.slots[slot].1;
            self.order.remove(&(*held, slot));
            *held = held.saturating_add(count);
            self.order.insert((*held, slot));
        }
        Ok(())
    }

    /// A map of the most frequent values.
    fn map(&self, most: usize) -> Result<ScalarValue> {
        if self.slots.is_empty() {
            return null_of(&self.returns);
        }
        let parser = self.converter.parser();
        let slots = || self.order.iter().rev().take(most).map(|(_, slot)| &self.slots[*slot]);
        let keys = self.converter.convert_rows(slots().map(|(bytes, _)| parser.parse(bytes)))?;
        let counts = Int64Array::from_iter_values(slots().map(|(_, count)| *count));
        let keys = keys.into_iter().next().ok_or_else(|| exec_datafusion_err!("values are missing"))?;
        map_of(&self.returns, keys, Arc::new(counts))
    }
}

impl Accumulator for Frequent {
    fn update_batch(&mut self, columns: &[ArrayRef]) -> Result<()> {
        let [wanted, values, capacity] = columns else { return internal_err!("wrong number of arguments") };
        let (wanted, capacity) = (whole_numbers(wanted)?, whole_numbers(capacity)?);
        if values.is_empty() {
            return Ok(());
        }
        if wanted.is_null(0) || capacity.is_null(0) {
            return Err(invalid("the numbers of buckets and of values must not be NULL"));
        }
        self.ask(wanted.value(0), capacity.value(0))?;
        self.add(values, None)
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let [maps, wanted, capacity] = states else { return internal_err!("wrong number of states") };
        let (wanted, capacity) = (whole_numbers(wanted)?, whole_numbers(capacity)?);
        let maps = maps.as_map_opt().ok_or_else(|| exec_datafusion_err!("the values are no map"))?;
        for row in (0..maps.len()).filter(|row| maps.is_valid(*row)) {
            self.ask(wanted.value(row), capacity.value(row))?;
            let entries = maps.value(row);
            self.add(entries.column(0), Some(whole_numbers(entries.column(1))?))?;
        }
        Ok(())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let map = self.map(self.slots.len())?;
        Ok(vec![map, ScalarValue::Int64(self.limits.map(|limits| limits.wanted)), ScalarValue::Int64(self.limits.map(|limits| limits.capacity))])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        self.map(self.limits.map_or(0, |limits| usize::try_from(limits.wanted).unwrap_or_default()))
    }

    fn size(&self) -> usize {
        let bytes = self.slots.iter().map(|(bytes, _)| 2 * bytes.len() + 96).sum::<usize>();
        size_of_val(self) + bytes + self.converter.size()
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::StringViewArray;

    use super::*;
    use crate::signature::map_type;

    #[test]
    fn parts_are_brought_together() {
        let types =
            Types { arguments: vec![DataType::Int64, DataType::Utf8View, DataType::Int64], returns: map_type(&DataType::Utf8View, &DataType::Int64) };
        let part = |texts: &[Option<&str>]| {
            let mut part = start(&types).unwrap();
            let number = |number: i64| Arc::new(Int64Array::from(vec![number; texts.len()])) as ArrayRef;
            part.update_batch(&[number(2), Arc::new(texts.iter().copied().collect::<StringViewArray>()), number(3)]).unwrap();
            part.state().unwrap().iter().map(|value| value.to_array().unwrap()).collect::<Vec<_>>()
        };
        let mut whole = start(&types).unwrap();
        assert!(whole.evaluate().unwrap().is_null());
        for texts in [&[Some("a"), None, Some("b"), Some("a")][..], &[], &[None], &[Some("a"), Some("c"), Some("b")]] {
            whole.merge_batch(&part(texts)).unwrap();
        }
        let map = whole.evaluate().unwrap().to_array().unwrap();
        let entries = map.as_map().value(0);
        assert_eq!(entries.column(0).as_string::<i32>().iter().flatten().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(whole_numbers(entries.column(1)).unwrap().values(), &[3, 2]);
    }
}
