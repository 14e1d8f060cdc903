//! Aggregates that make maps: `map_agg`, `map_union`, `multimap_agg`, `histogram`.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, ListArray, MapArray, StructArray, UInt64Array, new_null_array};
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use arrow::compute::{cast, concat, filter, interleave, is_not_null, take};
use arrow::datatypes::{DataType, Int64Type};
use datafusion::common::{ScalarValue, exec_datafusion_err, internal_err};
use datafusion::error::Result;
use datafusion::logical_expr::Accumulator;

use super::function::{Aggregate, Types};
use super::keys::Keys;

pub(super) const FUNCTIONS: &[Aggregate] = &[
    Aggregate::new("map_agg", &["(K, V) -> map(K, V)"], as_result, Pairs::start, "A map of pairs of keys and values."),
    Aggregate::new("map_union", &["(map(K, V)) -> map(K, V)"], as_result, Pairs::start, "A map of the entries of several maps."),
    Aggregate::of_all_rows("multimap_agg", &["(K, V) -> map(K, array(V))"], Lists::start, "A map of keys and all of their values."),
    Aggregate::new("histogram", &["(K) -> map(K, bigint)"], as_result, Counts::start, "A map of values and how often they are there."),
];

fn as_result(types: &Types) -> Result<Vec<DataType>> {
    Ok(vec![types.returns.clone()])
}

/// The types of the keys and the values of a map.
fn parts_of(map: &DataType) -> Result<(&DataType, &DataType)> {
    if let DataType::Map(entries, _) = map
        && let DataType::Struct(fields) = entries.data_type()
        && let [key, value] = fields.as_ref()
    {
        return Ok((key.data_type(), value.data_type()));
    }
    internal_err!("{map} is no map")
}

/// A map of these entries.
pub(super) fn map_of(returns: &DataType, keys: ArrayRef, values: ArrayRef) -> Result<ScalarValue> {
    let DataType::Map(entries, _) = returns else { return internal_err!("{returns} is no map") };
    let DataType::Struct(fields) = entries.data_type() else { return internal_err!("{returns} is no map") };
    let (key, value) = parts_of(returns)?;
    let columns = vec![cast(&keys, key)?, cast(&values, value)?];
    let offsets = OffsetBuffer::from_lengths([keys.len()]);
    let map = MapArray::try_new(Arc::clone(entries), offsets, StructArray::try_new(fields.clone(), columns, None)?, None, false)?;
    ScalarValue::try_from_array(&map, 0)
}

/// NULL of a type.
pub(super) fn null_of(data_type: &DataType) -> Result<ScalarValue> {
    ScalarValue::try_from_array(&new_null_array(data_type, 1), 0)
}

/// The entries of all maps of a column that are not NULL.
fn entries_of(column: &ArrayRef) -> Result<Vec<StructArray>> {
    let maps = column.as_map_opt().ok_or_else(|| exec_datafusion_err!("{} is no map", column.data_type()))?;
    Ok((0..maps.len()).filter(|row| maps.is_valid(*row)).map(|row| maps.value(row)).collect())
}

/// Pairs of keys and values, of each key the first one.
#[derive(Debug)]
struct Pairs {
    returns: DataType,
    keys: Keys,
    values: Vec<ArrayRef>,
    bytes: usize,
}

impl Pairs {
    fn start(types: &Types) -> Result<Box<dyn Accumulator>> {
        let (key, _) = parts_of(&types.returns)?;
        Ok(Box::new(Self { keys: Keys::new(std::slice::from_ref(key))?, returns: types.returns.clone(), values: Vec::new(), bytes: 0 }))
    }

    fn add(&mut self, keys: &ArrayRef, values: &ArrayRef) -> Result<()> {
        let (key_type, value_type) = parts_of(&self.returns)?;
        let known = is_not_null(keys)?;
        let (keys, values) = (filter(keys, &known)?, filter(values, &known)?);
        let (keys, values) = (cast(&keys, key_type)?, cast(&values, value_type)?);
        let mut seen = self.keys.len();
        let places = self.keys.places(&[keys])?;
        let mut rows: Vec<u64> = Vec::new();
        for (row, place) in (0..).zip(places) {
            if place >= seen {
                seen = place + 1;
                rows.push(row);
            }
        }
        if !rows.is_empty() {
            let values = take(&values, &UInt64Array::from(rows), None)?;
            self.bytes += values.get_array_memory_size();
            self.values.push(values);
        }
        Ok(())
    }
}

impl Accumulator for Pairs {
    fn update_batch(&mut self, columns: &[ArrayRef]) -> Result<()> {
        match columns {
            [keys, values] => self.add(keys, values),
            [maps] => entries_of(maps)?.iter().try_for_each(|entries| self.add(entries.column(0), entries.column(1))),
            _ => internal_err!("a map is made of keys and values"),
        }
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        match states {
            [maps] => entries_of(maps)?.iter().try_for_each(|entries| self.add(entries.column(0), entries.column(1))),
            _ => internal_err!("a map is one column"),
        }
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.evaluate()?])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        if self.values.is_empty() {
            return null_of(&self.returns);
        }
        let values: Vec<&dyn Array> = self.values.iter().map(|values| values.as_ref()).collect();
        let keys = self.keys.columns()?;
        let keys = keys.first().ok_or_else(|| exec_datafusion_err!("a map has no keys"))?;
        map_of(&self.returns, Arc::clone(keys), concat(&values)?)
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.keys.size() + self.bytes
    }
}

/// Keys and the places of their values in batches.
#[derive(Debug)]
struct Lists {
    returns: DataType,
    keys: Keys,
    /// For each key, the batch and the row of each value.
    places: Vec<Vec<(usize, usize)>>,
    values: Vec<ArrayRef>,
}

impl Lists {
    fn start(types: &Types) -> Result<Box<dyn Accumulator>> {
        let (key, _) = parts_of(&types.returns)?;
        Ok(Box::new(Self { keys: Keys::new(std::slice::from_ref(key))?, returns: types.returns.clone(), places: Vec::new(), values: Vec::new() }))
    }
}

impl Accumulator for Lists {
    fn update_batch(&mut self, columns: &[ArrayRef]) -> Result<()> {
        let [keys, values] = columns else { return internal_err!("a map is made of keys and values") };
        let known = is_not_null(keys)?;
        let (keys, values) = (filter(keys, &known)?, filter(values, &known)?);
        let keys = cast(&keys, parts_of(&self.returns)?.0)?;
        let batch = self.values.len();
        for (row, place) in self.keys.places(&[keys])?.into_iter().enumerate() {
            if place == self.places.len() {
                self.places.push(Vec::new());
            }
            self.places[place].push((batch, row));
        }
        self.values.push(values);
        Ok(())
    }

    fn merge_batch(&mut self, _states: &[ArrayRef]) -> Result<()> {
        internal_err!("multimap_agg sees all rows at once")
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        internal_err!("multimap_agg sees all rows at once")
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        if self.places.is_empty() {
            return null_of(&self.returns);
        }
        let (_, lists) = parts_of(&self.returns)?;
        let DataType::List(element) = lists else { return internal_err!("{lists} is no array") };
        let parts: Vec<&dyn Array> = self.values.iter().map(|values| values.as_ref()).collect();
        let values = interleave(&parts, &self.places.concat())?;
        let offsets = OffsetBuffer::from_lengths(self.places.iter().map(Vec::len));
        let lists = ListArray::try_new(Arc::clone(element), offsets, cast(&values, element.data_type())?, None)?;
        let keys = self.keys.columns()?;
        let keys = keys.first().ok_or_else(|| exec_datafusion_err!("a map has no keys"))?;
        map_of(&self.returns, Arc::clone(keys), Arc::new(lists))
    }

    fn size(&self) -> usize {
        let places = self.places.iter().map(|places| places.capacity() * size_of::<(usize, usize)>()).sum::<usize>();
        size_of_val(self) + self.keys.size() + places + self.values.iter().map(|values| values.get_array_memory_size()).sum::<usize>()
    }
}

/// Values and how often they are there.
#[derive(Debug)]
struct Counts {
    returns: DataType,
    keys: Keys,
    counts: Vec<i64>,
}

impl Counts {
    fn start(types: &Types) -> Result<Box<dyn Accumulator>> {
        let (key, _) = parts_of(&types.returns)?;
        Ok(Box::new(Self { keys: Keys::new(std::slice::from_ref(key))?, returns: types.returns.clone(), counts: Vec::new() }))
    }

    fn add(&mut self, keys: &ArrayRef, counts: Option<&Int64Array>) -> Result<()> {
        let keys = cast(keys, parts_of(&self.returns)?.0)?;
        for (row, place) in self.keys.places(&[keys])?.into_iter().enumerate() {
            if place == self.counts.len() {
                self.counts.push(0);
            }
            self.counts[place] += counts.map_or(1, |counts| counts.value(row));
        }
        Ok(())
    }
}

impl Accumulator for Counts {
    fn update_batch(&mut self, columns: &[ArrayRef]) -> Result<()> {
        let [keys] = columns else { return internal_err!("a histogram is of one column") };
        let known = filter(keys, &is_not_null(keys)?)?;
        self.add(&known, None)
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let [maps] = states else { return internal_err!("a histogram is one column") };
        for entries in entries_of(maps)? {
            let counts = entries.column(1).as_primitive_opt::<Int64Type>().ok_or_else(|| exec_datafusion_err!("counts are no bigints"))?;
            self.add(entries.column(0), Some(counts))?;
        }
        Ok(())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.evaluate()?])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        if self.counts.is_empty() {
            return null_of(&self.returns);
        }
        let keys = self.keys.columns()?;
        let keys = keys.first().ok_or_else(|| exec_datafusion_err!("a map has no keys"))?;
        map_of(&self.returns, Arc::clone(keys), Arc::new(Int64Array::new(ScalarBuffer::from(self.counts.clone()), None)))
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.keys.size() + self.counts.capacity() * size_of::<i64>()
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::StringViewArray;

    use super::*;
    use crate::signature::map_type;

    fn texts(values: &[Option<&str>]) -> ArrayRef {
        Arc::new(values.iter().copied().collect::<StringViewArray>())
    }

    fn states(part: &mut dyn Accumulator) -> Vec<ArrayRef> {
        part.state().unwrap().iter().map(|value| value.to_array().unwrap()).collect()
    }

    #[test]
    fn counts_are_added_up() {
        let types = Types { arguments: vec![DataType::Utf8View], returns: map_type(&DataType::Utf8View, &DataType::Int64) };
        let part = |values: &[Option<&str>]| {
            let mut part = Counts::start(&types).unwrap();
            part.update_batch(&[texts(values)]).unwrap();
            states(part.as_mut())
        };
        let mut whole = Counts::start(&types).unwrap();
        for values in [&[Some("a"), None, Some("b"), Some("a")][..], &[None], &[Some("b"), Some("c")]] {
            whole.merge_batch(&part(values)).unwrap();
        }
        let map = whole.evaluate().unwrap().to_array().unwrap();
        let entries = map.as_map().value(0);
        assert_eq!(entries.column(0).as_string::<i32>().iter().flatten().collect::<Vec<_>>(), ["a", "b", "c"]);
        assert_eq!(entries.column(1).as_primitive::<Int64Type>().values(), &[2, 2, 1]);
    }

    #[test]
    fn the_first_value_of_a_key_stays() {
        let types = Types { arguments: vec![DataType::Utf8View; 2], returns: map_type(&DataType::Utf8View, &DataType::Utf8View) };
        let mut whole = Pairs::start(&types).unwrap();
        let mut part = Pairs::start(&types).unwrap();
        part.update_batch(&[texts(&[Some("a"), None, Some("b"), Some("a")]).slice(1, 3), texts(&[Some("1"), None, Some("2")])]).unwrap();
        whole.merge_batch(&states(part.as_mut())).unwrap();
        whole.update_batch(&[texts(&[Some("b"), Some("c")]), texts(&[Some("3"), None])]).unwrap();
        let map = whole.evaluate().unwrap().to_array().unwrap();
        let entries = map.as_map().value(0);
        assert_eq!(entries.column(0).as_string::<i32>().iter().flatten().collect::<Vec<_>>(), ["b", "a", "c"]);
        assert_eq!(entries.column(1).as_string::<i32>().iter().collect::<Vec<_>>(), [None, Some("2"), None]);
    }
}
