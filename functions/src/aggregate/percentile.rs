//! `approx_percentile`: values at parts of all, from a t-digest.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, ListArray};
use arrow::buffer::OffsetBuffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Float64Type};
use datafusion::common::{ScalarValue, exec_datafusion_err, internal_err};
use datafusion::error::Result;
use datafusion::logical_expr::Accumulator;

use super::fold::as_it_is;
use super::function::{Aggregate, Types};
use crate::invalid;
use crate::sketch::tdigest::TDigest;

pub(super) const FUNCTIONS: &[Aggregate] = &[Aggregate::new(
    "approx_percentile",
    &[
        "(bigint, double) -> bigint",
        "(real, double) -> real",
        "(double, double) -> double",
        "(bigint, array(double)) -> array(bigint)",
        "(real, array(double)) -> array(real)",
        "(double, array(double)) -> array(double)",
        "(bigint, double, double) -> bigint",
        "(real, double, double) -> real",
        "(double, double, double) -> double",
        "(bigint, double, array(double)) -> array(bigint)",
        "(real, double, array(double)) -> array(real)",
        "(double, double, array(double)) -> array(double)",
        "(bigint, double, double, double) -> bigint",
        "(real, double, double, double) -> real",
        "(double, double, double, double) -> double",
    ],
    |_| Ok(vec![DataType::Binary, doubles_type()]),
    start,
    "About the value that a part of all values is below, with weights and for several parts if wanted.",
)];

fn start(types: &Types) -> Result<Box<dyn Accumulator>> {
    Ok(Box::new(Percentile { digest: TDigest::new(), parts: None, returns: types.returns.clone() }))
}

/// The type of a list of doubles in states.
pub(super) fn doubles_type() -> DataType {
    DataType::List(Arc::new(Field::new_list_field(DataType::Float64, true)))
}

/// A list of doubles as a state.
pub(super) fn doubles(values: Option<Vec<f64>>) -> Result<ScalarValue> {
    match values {
        Some(values) => list_of(Arc::new(Float64Array::from(values))),
        None => ScalarValue::try_from(&doubles_type()),
    }
}

fn list_of(values: ArrayRef) -> Result<ScalarValue> {
    let field = Arc::new(Field::new_list_field(values.data_type().clone(), true));
    let offsets = OffsetBuffer::from_lengths([values.len()]);
    Ok(ScalarValue::List(Arc::new(ListArray::try_new(field, offsets, values, None)?)))
}

/// The doubles in a row of a column of lists; `None` for NULL.
pub(super) fn doubles_at(column: &ArrayRef, row: usize) -> Result<Option<Vec<f64>>> {
    let lists = column.as_list_opt::<i32>().ok_or_else(|| exec_datafusion_err!("a column of type {} has no lists", column.data_type()))?;
    if lists.is_null(row) {
        return Ok(None);
    }
    let values = as_it_is::<Float64Type>(&lists.value(row))?;
    values.iter().map(|value| value.ok_or_else(|| invalid("a number in a list must not be NULL"))).collect::<Result<_>>().map(Some)
}

#[derive(Debug)]
struct Percentile {
    digest: TDigest,
    /// Which parts of all are wanted: known from the first row on.
    parts: Option<Vec<f64>>,
    returns: DataType,
}

impl Percentile {
    fn ask(&mut self, parts: Vec<f64>) -> Result<()> {
        if let Some(part) = parts.iter().find(|part| !(0.0..=1.0).contains(*part)) {
            return Err(invalid(format!("a percentile must be from 0 to 1, and is {part}")));
        }
        self.parts = Some(parts);
        Ok(())
    }

    fn is_list(&self) -> bool {
        matches!(self.returns, DataType::List(_))
    }
}

/// Doubles of a column of numbers.
pub(super) fn numbers(column: &ArrayRef) -> Result<Float64Array> {
    if *column.data_type() == DataType::Float64 { as_it_is(column) } else { as_it_is(&cast(column, &DataType::Float64)?) }
}

impl Accumulator for Percentile {
    fn update_batch(&mut self, columns: &[ArrayRef]) -> Result<()> {
        let (values, weights, parts) = match columns {
            [values, parts] => (values, None, parts),
            // How exact it is to be is for Trino's former digests.
            [values, weights, parts, ..] => (values, Some(as_it_is::<Float64Type>(weights)?), parts),
            _ => return internal_err!("wrong number of arguments"),
        };
        let nulls = parts.logical_nulls();
        let Some(row) = (0..parts.len()).find(|row| nulls.as_ref().is_none_or(|nulls| nulls.is_valid(*row))) else { return Ok(()) };
        if self.parts.is_none() {
            let parts = if self.is_list() { doubles_at(parts, row)?.unwrap_or_default() } else { vec![numbers(parts)?.value(row)] };
            self.ask(parts)?;
        }
        let values = numbers(values)?;
        for row in (0..values.len()).filter(|row| values.is_valid(*row)) {
            let weight = match &weights {
                Some(weights) if weights.is_null(row) => continue,
                Some(weights) => weights.value(row),
                None => 1.0,
            };
            if weight < 1.0 {
                return Err(invalid(format!("the weight of a value must be at least 1, and is {weight}")));
            }
            self.digest.add(values.value(row), weight)?;
        }
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let [digests, parts] = states else { return internal_err!("wrong number of states") };
        let digests = digests.as_binary_opt::<i32>().ok_or_else(|| exec_datafusion_err!("digests are no bytes"))?;
        for (row, bytes) in digests.iter().enumerate() {
            if let Some(parts) = doubles_at(parts, row)? {
                self.ask(parts)?;
            }
            if let Some(bytes) = bytes {
                self.digest.merge(&TDigest::from_bytes(bytes)?);
            }
        }
        Ok(())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let digest = (!self.digest.is_empty()).then(|| self.digest.encoded());
        Ok(vec![ScalarValue::Binary(digest), doubles(self.parts.clone())?])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let Some(parts) = self.parts.clone().filter(|_| !self.digest.is_empty()) else { return ScalarValue::try_from(&self.returns) };
        let element = match &self.returns {
            DataType::List(element) => element.data_type(),
            other => other,
        };
        let is_whole = *element == DataType::Int64;
        let values = parts.iter().map(|part| self.digest.value_at(*part).map(|value| if is_whole { (value + 0.5).floor() } else { value }));
        let values: ArrayRef = Arc::new(values.collect::<Float64Array>());
        let values = cast(&values, element)?;
        if self.is_list() { list_of(values) } else { ScalarValue::try_from_array(&values, 0) }
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.digest.size()
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::Int64Array;

    use super::*;

    #[test]
    fn parts_of_a_group_are_brought_together() {
        let types = Types { arguments: vec![DataType::Int64, DataType::Float64], returns: DataType::Int64 };
        let part = |values: Vec<Option<i64>>| {
            let mut part = start(&types).unwrap();
            let quantiles: ArrayRef = Arc::new(Float64Array::from(vec![0.5; values.len()]));
            part.update_batch(&[Arc::new(Int64Array::from(values)), quantiles]).unwrap();
            part.state().unwrap().iter().map(|value| value.to_array().unwrap()).collect::<Vec<_>>()
        };
        let mut whole = start(&types).unwrap();
        assert!(whole.evaluate().unwrap().is_null());
        for values in [vec![Some(3), None], vec![], vec![None], vec![Some(1), Some(2)]] {
            whole.merge_batch(&part(values)).unwrap();
        }
        assert_eq!(whole.evaluate().unwrap(), ScalarValue::Int64(Some(2)));
    }
}
