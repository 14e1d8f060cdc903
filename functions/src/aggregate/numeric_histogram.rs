//! `numeric_histogram`: values in a few buckets, each of those that lie closest (Y. Ben-Haim and E. Tom-Tov, "A streaming parallel decision tree algorithm", 2010).

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array};
use arrow::datatypes::{DataType, Int64Type};
use datafusion::common::{ScalarValue, exec_datafusion_err, internal_err};
use datafusion::error::Result;
use datafusion::logical_expr::Accumulator;

use super::function::{Aggregate, Types};
use super::maps::{map_of, null_of};
use super::percentile::{doubles, doubles_at, doubles_type, numbers};
use crate::invalid;

/// Values that wait to be put into buckets.
const WAITING_MAX: usize = 256;

/// The most buckets.
const BUCKETS_MAX: i64 = 10_000;

pub(super) const FUNCTIONS: &[Aggregate] = &[Aggregate::new(
    "numeric_histogram",
    &[
        "(bigint, real) -> map(real, real)",
        "(bigint, double) -> map(double, double)",
        "(bigint, real, double) -> map(real, real)",
        "(bigint, double, double) -> map(double, double)",
    ],
    |_| Ok(vec![DataType::Int64, doubles_type(), doubles_type()]),
    start,
    "About how values are distributed: means of buckets with their weights.",
)];

fn start(types: &Types) -> Result<Box<dyn Accumulator>> {
    Ok(Box::new(Histogram { buckets: None, pairs: Vec::new(), returns: types.returns.clone() }))
}

#[derive(Debug)]
struct Histogram {
    /// How many are wanted: known from the first row on.
    buckets: Option<usize>,
    /// Means and weights.
    pairs: Vec<(f64, f64)>,
    returns: DataType,
}

impl Histogram {
    fn ask(&mut self, buckets: i64) -> Result<()> {
        if !(2..=BUCKETS_MAX).contains(&buckets) {
            return Err(invalid(format!("the number of buckets must be from 2 to {BUCKETS_MAX}, and is {buckets}")));
        }
        self.buckets = usize::try_from(buckets).ok();
        Ok(())
    }

    fn add(&mut self, value: f64, weight: f64) {
        self.pairs.push((value, weight));
        if self.pairs.len() >= self.buckets.unwrap_or_default() + WAITING_MAX {
            self.compress();
        }
    }

    /// Leaves as many buckets as are wanted: those become one that change least by it.
    fn compress(&mut self) {
        self.pairs.sort_by(|one, other| one.0.total_cmp(&other.0));
        self.pairs.dedup_by(|next, held| {
            let is_same = next.0 == held.0;
            if is_same {
                held.1 += next.1;
            }
            is_same
        });
        let buckets = self.buckets.unwrap_or_default().max(1);
        while self.pairs.len() > buckets {
            let changes = self.pairs.windows(2).map(|pair| change(pair[0], pair[1]));
            let Some((place, _)) = changes.enumerate().min_by(|one, other| one.1.total_cmp(&other.1)) else { break };
            let (value, weight) = self.pairs.remove(place + 1);
            let held = &mut self.pairs[place];
            let both = held.1 + weight;
            *held = ((held.0 * held.1 + value * weight) / both, both);
        }
    }
}

/// How much it changes that two buckets become one.
fn change(one: (f64, f64), other: (f64, f64)) -> f64 {
    (one.0 - other.0).abs() * (one.1 * other.1).sqrt()
}

impl Accumulator for Histogram {
    fn update_batch(&mut self, columns: &[ArrayRef]) -> Result<()> {
        let (buckets, values, weights) = match columns {
            [buckets, values] => (buckets, values, None),
            [buckets, values, weights] => (buckets, values, Some(numbers(weights)?)),
            _ => return internal_err!("wrong number of arguments"),
        };
        let buckets = buckets.as_primitive_opt::<Int64Type>().ok_or_else(|| exec_datafusion_err!("the number of buckets is no bigint"))?;
        let values = numbers(values)?;
        for row in (0..values.len()).filter(|row| values.is_valid(*row) && buckets.is_valid(*row)) {
            let weight = match &weights {
                Some(weights) if weights.is_null(row) => continue,
                Some(weights) => weights.value(row),
                None => 1.0,
            };
            if self.buckets.is_none() {
                self.ask(buckets.value(row))?;
            }
            self.add(values.value(row), weight);
        }
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let [buckets, values, weights] = states else { return internal_err!("wrong number of states") };
        let buckets = buckets.as_primitive_opt::<Int64Type>().ok_or_else(|| exec_datafusion_err!("the number of buckets is no bigint"))?;
        for row in (0..buckets.len()).filter(|row| buckets.is_valid(*row)) {
            self.ask(buckets.value(row))?;
            let (values, weights) = (doubles_at(values, row)?.unwrap_or_default(), doubles_at(weights, row)?.unwrap_or_default());
            values.into_iter().zip(weights).for_each(|(value, weight)| self.add(value, weight));
        }
        Ok(())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.compress();
        let (values, weights): (Vec<f64>, Vec<f64>) = self.pairs.iter().copied().unzip();
        let buckets = self.buckets.and_then(|buckets| i64::try_from(buckets).ok());
        Ok(vec![ScalarValue::Int64(buckets), doubles(Some(values))?, doubles(Some(weights))?])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        if self.pairs.is_empty() {
            return null_of(&self.returns);
        }
        self.compress();
        let (values, weights): (Vec<f64>, Vec<f64>) = self.pairs.iter().copied().unzip();
        map_of(&self.returns, Arc::new(Float64Array::from(values)), Arc::new(Float64Array::from(weights)))
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.pairs.capacity() * size_of::<(f64, f64)>()
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::Int64Array;

    use super::*;
    use crate::signature::map_type;

    #[test]
    fn buckets_are_brought_together() {
        let types = Types { arguments: vec![DataType::Int64, DataType::Float64], returns: map_type(&DataType::Float64, &DataType::Float64) };
        let part = |values: &[f64]| {
            let mut part = start(&types).unwrap();
            let buckets: ArrayRef = Arc::new(Int64Array::from(vec![2; values.len()]));
            part.update_batch(&[buckets, Arc::new(Float64Array::from(values.to_vec()))]).unwrap();
            part.state().unwrap().iter().map(|value| value.to_array().unwrap()).collect::<Vec<_>>()
        };
        let mut whole = start(&types).unwrap();
        for values in [&[1.0, 10.0][..], &[], &[11.0, 2.0]] {
            whole.merge_batch(&part(values)).unwrap();
        }
        let map = whole.evaluate().unwrap().to_array().unwrap();
        let entries = map.as_map().value(0);
        let numbers = |index: usize| numbers(entries.column(index)).unwrap().values().to_vec();
        assert_eq!((numbers(0), numbers(1)), (vec![1.5, 10.5], vec![2.0, 2.0]));
    }
}
