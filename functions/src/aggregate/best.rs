//! `max_by`, `min_by`, and the least or the greatest several values.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, UInt32Array, new_null_array};
use arrow::buffer::OffsetBuffer;
use arrow::compute::{cast, concat, filter, is_not_null, take};
use arrow::datatypes::{DataType, Field, FieldRef, Int64Type};
use datafusion::common::{ScalarValue, exec_datafusion_err, internal_err};
use datafusion::error::Result;
use datafusion::logical_expr::Accumulator;

use super::function::{Aggregate, Types};
use super::order::End;
use crate::invalid;
use crate::signature::within;

/// The most values that may be asked for, as in Trino.
const COUNT_MAX: i64 = 10_000;

/// The name of what `max(x, n)` is planned as.
pub(super) const GREATEST: &str = "$max_n";

/// The name of what `min(x, n)` is planned as.
pub(super) const LEAST: &str = "$min_n";

pub(super) const FUNCTIONS: &[Aggregate] = &[
    Aggregate::new("max_by", BY, by_state, |types| start(types, By::Column, End::Greatest), "The value where another column is greatest."),
    Aggregate::new("min_by", BY, by_state, |types| start(types, By::Column, End::Least), "The value where another column is least."),
    Aggregate::new(GREATEST, SEVERAL, several_state, |types| start(types, By::Itself, End::Greatest), "The greatest values."),
    Aggregate::new(LEAST, SEVERAL, several_state, |types| start(types, By::Itself, End::Least), "The least values."),
];

const BY: &[&str] = &["(V, K) -> V", "(V, K, bigint) -> array(V)"];
const SEVERAL: &[&str] = &["(V, bigint) -> array(V)"];

/// What rows are ordered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Itself,
    Column,
}

fn list(element: &DataType) -> DataType {
    DataType::List(element_field(element))
}

fn element_field(element: &DataType) -> FieldRef {
    Arc::new(Field::new_list_field(element.clone(), true))
}

fn by_state(types: &Types) -> Result<Vec<DataType>> {
    match types.arguments.as_slice() {
        [value, key] => Ok(vec![value.clone(), key.clone()]),
        [value, key, _] => Ok(vec![list(value), list(key), DataType::Int64]),
        _ => internal_err!("wrong number of arguments"),
    }
}

fn several_state(types: &Types) -> Result<Vec<DataType>> {
    match types.arguments.as_slice() {
        [value, _] => Ok(vec![list(value), list(value), DataType::Int64]),
        _ => internal_err!("wrong number of arguments"),
    }
}

fn start(types: &Types, by: By, end: End) -> Result<Box<dyn Accumulator>> {
    let (value, key) = match (types.arguments.as_slice(), by) {
        ([value, key, ..], By::Column) => (value.clone(), key.clone()),
        ([value, ..], By::Itself) => (value.clone(), value.clone()),
        _ => return internal_err!("wrong number of arguments"),
    };
    if by == By::Column && types.arguments.len() == 2 {
        return Ok(Box::new(Best { end, value, key, held: None }));
    }
    Ok(Box::new(Several { end, by, value, key, returns: types.returns.clone(), count: None, held: None }))
}

/// A value and its key, each a column of one row.
type Held = (ArrayRef, ArrayRef);

/// The value with the best key of a group.
#[derive(Debug)]
struct Best {
    end: End,
    value: DataType,
    key: DataType,
    held: Option<Held>,
}

/// One row of a column, without what is around it.
fn single(column: &ArrayRef, row: usize) -> Result<ArrayRef> {
    let row = u32::try_from(row).map_err(|_| exec_datafusion_err!("a batch has too many rows"))?;
    Ok(take(column, &UInt32Array::from(vec![row]), None)?)
}

impl Accumulator for Best {
    fn update_batch(&mut self, columns: &[ArrayRef]) -> Result<()> {
        let [values, keys] = columns else { return internal_err!("a value and a key are needed") };
        let keys = self.end.keys(keys);
        let Some(row) = self.end.row(&keys)? else { return Ok(()) };
        let key = keys.slice(row, 1);
        let is_better = match &self.held {
            Some((_, held)) => self.end.is_before(&key, held)?,
            None => true,
        };
        if is_better {
            self.held = Some((single(values, row)?, single(&keys, row)?));
        }
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.update_batch(states)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        match &self.held {
            Some((value, key)) => Ok(vec![ScalarValue::try_from_array(value, 0)?, ScalarValue::try_from_array(key, 0)?]),
            None => Ok(vec![ScalarValue::try_from(&self.value)?, ScalarValue::try_from(&self.key)?]),
        }
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        match &self.held {
            Some((value, _)) => ScalarValue::try_from_array(value, 0),
            None => ScalarValue::try_from(&self.value),
        }
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.held.iter().map(|(value, key)| value.get_array_memory_size() + key.get_array_memory_size()).sum::<usize>()
    }
}

/// The values with the best keys of a group, best first.
#[derive(Debug)]
struct Several {
    end: End,
    by: By,
    value: DataType,
    key: DataType,
    returns: DataType,
    /// How many are wanted: none of them is known before the first row.
    count: Option<i64>,
    held: Option<Held>,
}

impl Several {
    fn add(&mut self, values: &ArrayRef, keys: &ArrayRef) -> Result<()> {
        let most = usize::try_from(self.count.unwrap_or_default()).unwrap_or_default();
        let known = is_not_null(keys)?;
        let (values, keys) = (filter(values, &known)?, filter(keys, &known)?);
        if keys.is_empty() {
            return Ok(());
        }
        let (values, keys) = match &self.held {
            Some((held, held_keys)) => (concat(&[held.as_ref(), values.as_ref()])?, concat(&[held_keys.as_ref(), keys.as_ref()])?),
            None => (values, keys),
        };
        let rows = self.end.rows(&keys, most)?;
        self.held = Some((take(&values, &rows, None)?, take(&keys, &rows, None)?));
        Ok(())
    }

    fn ask(&mut self, count: i64) -> Result<()> {
        if !(1..=COUNT_MAX).contains(&count) {
            return Err(invalid(format!("the number of values must be from 1 to {COUNT_MAX}, and is {count}")));
        }
        self.count = Some(count);
        Ok(())
    }

    fn list(&self, column: Option<&ArrayRef>, element: &DataType) -> Result<ScalarValue> {
        let Some(column) = column else { return ScalarValue::try_from(&list(element)) };
        let column = if column.data_type() == element { Arc::clone(column) } else { cast(column, element)? };
        let offsets = OffsetBuffer::from_lengths([column.len()]);
        Ok(ScalarValue::List(Arc::new(ListArray::try_new(element_field(element), offsets, column, None)?)))
    }
}

impl Accumulator for Several {
    fn update_batch(&mut self, columns: &[ArrayRef]) -> Result<()> {
        let (values, keys, count) = match (columns, self.by) {
            ([values, count], By::Itself) => (values, values, count),
            ([values, keys, count], By::Column) => (values, keys, count),
            _ => return internal_err!("wrong number of columns"),
        };
        if count.is_empty() {
            return Ok(());
        }
        let counts = count.as_primitive_opt::<Int64Type>().ok_or_else(|| exec_datafusion_err!("the number of values is no bigint"))?;
        if counts.is_null(0) {
            return Err(invalid("the number of values must not be NULL"));
        }
        self.ask(counts.value(0))?;
        let keys = self.end.keys(keys);
        self.add(values, &keys)
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let [values, keys, counts] = states else { return internal_err!("wrong number of states") };
        let (Some(values), Some(keys)) = (values.as_list_opt::<i32>(), keys.as_list_opt::<i32>()) else { return internal_err!("no lists") };
        let counts = counts.as_primitive_opt::<Int64Type>().ok_or_else(|| exec_datafusion_err!("the number of values is no bigint"))?;
        for row in (0..counts.len()).filter(|row| counts.is_valid(*row) && values.is_valid(*row)) {
            self.ask(counts.value(row))?;
            self.add(&values.value(row), &keys.value(row))?;
        }
        Ok(())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let (values, keys) = self.held.as_ref().map(|(values, keys)| (values, keys)).unzip();
        Ok(vec![self.list(values, &self.value)?, self.list(keys, &self.key)?, ScalarValue::Int64(self.count)])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        match &self.held {
            Some((values, _)) => self.list(Some(values), &within(&self.value)),
            None => ScalarValue::try_from_array(&new_null_array(&self.returns, 1), 0),
        }
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.held.iter().map(|(values, keys)| values.get_array_memory_size() + keys.get_array_memory_size()).sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Float64Array, Int64Array, StringViewArray};

    use super::*;

    fn floats(values: &[Option<f64>]) -> ArrayRef {
        Arc::new(values.iter().copied().collect::<Float64Array>())
    }

    #[test]
    fn parts_are_brought_together() {
        let types = Types { arguments: vec![DataType::Utf8View, DataType::Float64], returns: DataType::Utf8View };
        let part = |texts: Vec<Option<&str>>, keys: &[Option<f64>]| {
            let mut part = start(&types, By::Column, End::Greatest).unwrap();
            part.update_batch(&[Arc::new(StringViewArray::from(texts)), floats(keys)]).unwrap();
            part.state().unwrap().iter().map(|value| value.to_array().unwrap()).collect::<Vec<_>>()
        };
        let mut whole = start(&types, By::Column, End::Greatest).unwrap();
        whole.merge_batch(&part(vec![Some("nan"), None], &[Some(f64::NAN), None])).unwrap();
        assert_eq!(whole.evaluate().unwrap(), ScalarValue::Utf8View(Some("nan".to_owned())));
        whole.merge_batch(&part(vec![], &[])).unwrap();
        whole.merge_batch(&part(vec![Some("one"), Some("two")], &[Some(1.0), Some(2.0)])).unwrap();
        whole.merge_batch(&part(vec![Some("less")], &[Some(-1.0)])).unwrap();
        assert_eq!(whole.evaluate().unwrap(), ScalarValue::Utf8View(Some("two".to_owned())));
    }

    #[test]
    fn several_are_kept_in_order() {
        let types = Types { arguments: vec![DataType::Float64, DataType::Int64], returns: list(&DataType::Float64) };
        let part = |values: &[Option<f64>]| {
            let mut part = start(&types, By::Itself, End::Least).unwrap();
            part.update_batch(&[floats(values), Arc::new(Int64Array::from(vec![2; values.len()]))]).unwrap();
            part.state().unwrap().iter().map(|value| value.to_array().unwrap()).collect::<Vec<_>>()
        };
        let mut whole = start(&types, By::Itself, End::Least).unwrap();
        assert!(whole.evaluate().unwrap().is_null());
        for values in [&[Some(3.0), Some(f64::NAN), None][..], &[], &[None], &[Some(2.0), Some(7.0)]] {
            whole.merge_batch(&part(values)).unwrap();
        }
        let least = whole.evaluate().unwrap().to_array().unwrap();
        assert_eq!(*least.as_list::<i32>().value(0), *floats(&[Some(2.0), Some(3.0)]));
    }
}
