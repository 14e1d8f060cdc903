//! Aggregates over doubles whose state is a few doubles: means, variances and what follows from them.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Float64Array};
use arrow::buffer::NullBuffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type};
use datafusion::common::{ScalarValue, exec_datafusion_err};
use datafusion::error::Result;
use datafusion::logical_expr::{Accumulator, EmitTo, GroupsAccumulator};

use super::fold::counted;
use super::function::Types;

/// The most arguments that there are.
const ARGUMENTS_MAX: usize = 2;

/// The most numbers that a state has.
const WIDTH_MAX: usize = 8;

/// How numbers are aggregated. The first number of a state is how many rows it is of; all are 0 before the first.
#[derive(Debug)]
pub(super) struct Numbers {
    /// How many numbers a state has.
    pub(super) width: usize,
    /// Adds the arguments of a row to a state. What is NULL in one of them does not count.
    pub(super) add: fn(&mut [f64], &[f64]),
    /// Adds another state, of some rows, to one of some rows.
    pub(super) merge: fn(&mut [f64], &[f64]),
    /// The result of a state of some rows.
    pub(super) result: fn(&[f64]) -> Option<f64>,
}

impl Numbers {
    pub(super) fn state(&self) -> Vec<DataType> {
        vec![DataType::Float64; self.width]
    }

    fn merge(&self, state: &mut [f64], other: &[f64]) {
        let rows = |state: &[f64]| state.first().copied().unwrap_or_default();
        if rows(other) == 0.0 {
            return;
        }
        if rows(state) == 0.0 {
            state.copy_from_slice(other);
        } else {
            (self.merge)(state, other);
        }
    }

    fn result(&self, state: &[f64]) -> Option<f64> {
        if state.first().is_none_or(|rows| *rows == 0.0) { None } else { (self.result)(state) }
    }
}

/// Columns as doubles, and where all of them have a value.
struct Columns {
    columns: Vec<Float64Array>,
    rows: usize,
    valid: Option<NullBuffer>,
}

impl Columns {
    fn read(values: &[ArrayRef]) -> Result<Self> {
        let columns = values.iter().map(|column| {
            let column = if *column.data_type() == DataType::Float64 { Arc::clone(column) } else { cast(column, &DataType::Float64)? };
            let doubles = column.as_primitive_opt::<Float64Type>().cloned();
            doubles.ok_or_else(|| exec_datafusion_err!("a column of type {} has no numbers", column.data_type()))
        });
        let columns = columns.collect::<Result<Vec<_>>>()?;
        let valid = columns.iter().fold(None, |valid, column| NullBuffer::union(valid.as_ref(), column.nulls()));
        Ok(Self { rows: columns.first().map_or(0, Array::len), columns, valid })
    }

    /// Gives the numbers of each row that counts.
    fn each(&self, filter: Option<&BooleanArray>, mut row: impl FnMut(usize, &[f64])) {
        let mut buffer = [0.0; WIDTH_MAX];
        let width = self.columns.len().min(WIDTH_MAX);
        let mut give = |index: usize| {
            for (number, column) in buffer.iter_mut().zip(&self.columns) {
                *number = column.value(index);
            }
            row(index, &buffer[..width]);
        };
        match counted(self.valid.as_ref(), filter) {
            None => (0..self.rows).for_each(&mut give),
            Some(counted) => counted.valid_indices().for_each(give),
        }
    }
}

/// The state of one group.
#[derive(Debug)]
pub(super) struct One {
    numbers: &'static Numbers,
    state: Vec<f64>,
    returns: DataType,
}

impl One {
    pub(super) fn start(numbers: &'static Numbers, types: &Types) -> Box<dyn Accumulator> {
        Box::new(Self { numbers, state: vec![0.0; numbers.width], returns: types.returns.clone() })
    }
}

impl Accumulator for One {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let columns = Columns::read(values.get(..ARGUMENTS_MAX).unwrap_or(values))?;
        columns.each(None, |_, row| (self.numbers.add)(&mut self.state, row));
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        Columns::read(states)?.each(None, |_, state| self.numbers.merge(&mut self.state, state));
        Ok(())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(self.state.iter().map(|number| ScalarValue::Float64(Some(*number))).collect())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        ScalarValue::Float64(self.numbers.result(&self.state)).cast_to(&self.returns)
    }

    fn size(&self) -> usize {
        size_of_val(self) + size_of_val(self.state.as_slice())
    }
}

/// The states of many groups, one behind the other.
pub(super) struct Groups {
    numbers: &'static Numbers,
    states: Vec<f64>,
    returns: DataType,
}

impl Groups {
    pub(super) fn start(numbers: &'static Numbers, types: &Types) -> Box<dyn GroupsAccumulator> {
        Box::new(Self { numbers, states: Vec::new(), returns: types.returns.clone() })
    }

    fn each(&mut self, columns: &Columns, groups: &[usize], filter: Option<&BooleanArray>, count: usize, add: impl Fn(&Numbers, &mut [f64], &[f64])) {
        let width = self.numbers.width;
        self.states.resize(count * width, 0.0);
        columns.each(filter, |index, row| {
            let start = groups[index] * width;
            add(self.numbers, &mut self.states[start..start + width], row);
        });
    }

    fn emitted(&mut self, emit_to: EmitTo) -> Vec<f64> {
        match emit_to {
            EmitTo::All => std::mem::take(&mut self.states),
            EmitTo::First(groups) => EmitTo::First(groups * self.numbers.width).take_needed(&mut self.states),
        }
    }
}

fn columns_of(states: &[f64], width: usize) -> Vec<ArrayRef> {
    let column = |index| Arc::new(Float64Array::from_iter_values(states.iter().skip(index).step_by(width).copied())) as ArrayRef;
    (0..width).map(column).collect()
}

impl GroupsAccumulator for Groups {
    fn update_batch(&mut self, values: &[ArrayRef], groups: &[usize], filter: Option<&BooleanArray>, count: usize) -> Result<()> {
        let columns = Columns::read(values.get(..ARGUMENTS_MAX).unwrap_or(values))?;
        self.each(&columns, groups, filter, count, |numbers, state, row| (numbers.add)(state, row));
        Ok(())
    }

    fn merge_batch(&mut self, values: &[ArrayRef], groups: &[usize], count: usize) -> Result<()> {
        self.each(&Columns::read(values)?, groups, None, count, Numbers::merge);
        Ok(())
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let states = self.emitted(emit_to);
        let results: Float64Array = states.chunks_exact(self.numbers.width).map(|state| self.numbers.result(state)).collect();
        let results: ArrayRef = Arc::new(results);
        if self.returns == DataType::Float64 { Ok(results) } else { Ok(cast(&results, &self.returns)?) }
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        Ok(columns_of(&self.emitted(emit_to), self.numbers.width))
    }

    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let columns = Columns::read(values.get(..ARGUMENTS_MAX).unwrap_or(values))?;
        let width = self.numbers.width;
        let mut states = vec![0.0; columns.rows * width];
        columns.each(filter, |index, row| (self.numbers.add)(&mut states[index * width..(index + 1) * width], row));
        Ok(columns_of(&states, width))
    }

    fn size(&self) -> usize {
        self.states.capacity() * size_of::<f64>()
    }
}

#[cfg(test)]
mod tests {
    use super::super::moments::VARIANCE;
    use super::*;

    fn column(values: &[Option<f64>]) -> ArrayRef {
        Arc::new(values.iter().copied().collect::<Float64Array>())
    }

    #[test]
    fn groups_are_as_their_rows_in_one() {
        let types = Types { arguments: vec![DataType::Float64], returns: DataType::Float64 };
        let values = [Some(1.0), None, Some(2.0), Some(4.0), Some(9.0), Some(7.0)];
        let mut whole = One::start(&VARIANCE, &types);
        whole.update_batch(&[column(&[Some(100.0), values[0], values[2], values[3]]).slice(1, 3)]).unwrap();
        let expected = whole.evaluate().unwrap();

        let mut partial = Groups::start(&VARIANCE, &types);
        let filter = BooleanArray::from(vec![true, true, true, true, false, true]);
        partial.update_batch(&[column(&values)], &[0, 0, 0, 1, 1, 2], Some(&filter), 3).unwrap();
        let states = partial.state(EmitTo::All).unwrap();
        let mut last = Groups::start(&VARIANCE, &types);
        last.merge_batch(&states, &[0, 0, 1], 3).unwrap();
        let found = last.evaluate(EmitTo::First(1)).unwrap();
        let ScalarValue::Float64(Some(expected)) = expected else { panic!("{expected:?}") };
        assert!((found.as_primitive::<Float64Type>().value(0) - expected).abs() < 1e-12);
        let rest = last.evaluate(EmitTo::All).unwrap();
        assert_eq!(rest.null_count(), 2);

        let skipped = Groups::start(&VARIANCE, &types).convert_to_state(&[column(&values)], Some(&filter)).unwrap();
        let mut of_rows = One::start(&VARIANCE, &types);
        of_rows.merge_batch(&skipped).unwrap();
        let ScalarValue::Float64(Some(variance)) = of_rows.evaluate().unwrap() else { panic!("no variance") };
        assert!((variance - 7.0).abs() < 1e-12, "{variance}");
    }
}
