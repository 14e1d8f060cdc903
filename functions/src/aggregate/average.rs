//! `avg`: of decimals with their precision and scale, of floats as floats, of intervals as intervals.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray, Decimal128Array, Int64Array, PrimitiveArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Decimal128Type, Int64Type, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit, i256};
use datafusion::common::{ScalarValue, exec_datafusion_err, internal_err};
use datafusion::error::Result;
use datafusion::logical_expr::{Accumulator, EmitTo, GroupsAccumulator};

use super::fold::{as_it_is, counted, first};
use super::function::{Aggregate, Types};
use super::moments::MEAN;
use super::numbers::{Groups, One};
use crate::out_of_range;

/// The nanoseconds of a millisecond, which is the smallest part that the mean of intervals has.
const MILLI_NANOS: i128 = 1_000_000;

/// The nanoseconds of a day.
const DAY_NANOS: i128 = 86_400_000_000_000;

pub(super) const FUNCTIONS: &[Aggregate] = &[Aggregate::new(
    "avg",
    &["(bigint) -> double", "(double) -> double", "(real) -> real", "(decimal) -> decimal", "(interval) -> interval"],
    state,
    start,
    "The mean of the values.",
)
.returning(average_type)
.grouped(start_groups)
.sliding(start_sliding)];

fn average_type(arguments: &[DataType]) -> Result<DataType> {
    match arguments {
        [DataType::Int64] => Ok(DataType::Float64),
        [argument] => Ok(argument.clone()),
        _ => internal_err!("avg takes one column"),
    }
}

fn state(types: &Types) -> Result<Vec<DataType>> {
    Ok(match types.returns {
        DataType::Decimal128(..) | DataType::Interval(_) => vec![WIDE, DataType::Int64, DataType::Int64],
        _ => MEAN.state(),
    })
}

/// The type of the lower 128 bits of sums.
const WIDE: DataType = DataType::Decimal128(38, 0);

fn start(types: &Types) -> Result<Box<dyn Accumulator>> {
    match types.returns {
        DataType::Decimal128(..) | DataType::Interval(_) => Ok(Box::new(Exact { sum: Sum::default(), returns: types.returns.clone() })),
        _ => Ok(One::start(&MEAN, types)),
    }
}

fn start_groups(types: &Types) -> Result<Box<dyn GroupsAccumulator>> {
    match types.returns {
        DataType::Decimal128(..) | DataType::Interval(_) => Ok(Box::new(ExactGroups { sums: Vec::new(), returns: types.returns.clone() })),
        _ => Ok(Groups::start(&MEAN, types)),
    }
}

fn start_sliding(types: &Types) -> Result<Box<dyn Accumulator>> {
    match types.returns {
        DataType::Decimal128(..) | DataType::Interval(_) => start(types),
        _ => Ok(Box::new(super::sliding::Sliding::new(&FUNCTIONS[0], types.clone(), false))),
    }
}

/// A sum of decimals, or of the days and times of intervals in nanoseconds, whatever its size. Of intervals the months are counted apart, in `upper`.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    lower: i128,
    /// How often `lower` ran over, or the months.
    upper: i64,
    rows: i64,
}

impl Sum {
    #[inline]
    fn add(&mut self, lower: i128, upper: i64, rows: i64) -> Result<()> {
        let (sum, ran_over) = self.lower.overflowing_add(lower);
        self.lower = sum;
        self.rows += rows;
        // For nearly all rows that is all.
        if !ran_over && upper == 0 {
            return Ok(());
        }
        let carry = if ran_over { if lower < 0 { -1 } else { 1 } } else { 0 };
        let upper = self.upper.checked_add(upper).and_then(|upper| upper.checked_add(carry));
        self.upper = upper.ok_or_else(|| out_of_range("the sum behind avg is too large"))?;
        Ok(())
    }

    fn negated(self) -> Option<Self> {
        Some(Self { lower: self.lower.checked_neg()?, upper: self.upper.checked_neg()?, rows: -self.rows })
    }

    /// The mean of decimals, rounded half away from zero.
    fn decimal(self) -> Option<i128> {
        let whole = i256::from_parts(0, i128::from(self.upper)).checked_add(i256::from_i128(self.lower))?;
        let rows = i256::from_i128(i128::from(self.rows));
        let (quotient, rest) = (whole.checked_div(rows)?, whole.checked_rem(rows)?);
        let twice = rest.checked_add(rest)?;
        let rounded = if twice >= rows {
            quotient.checked_add(i256::ONE)?
        } else if twice.checked_neg()? >= rows {
            quotient.checked_sub(i256::ONE)?
        } else {
            quotient
        };
        rounded.to_i128()
    }

    /// The mean of intervals; halves of a month and of a millisecond go to the longer one, as in Trino.
    fn interval(self) -> Option<IntervalMonthDayNano> {
        let twice_rows = self.rows.checked_mul(2)?;
        let months = self.upper.checked_mul(2)?.checked_add(self.rows)?.checked_div_euclid(twice_rows)?;
        // Twice the sum, and half a millisecond for each row, in parts of a millisecond for each row.
        let whole = i128::from(twice_rows).checked_mul(MILLI_NANOS)?;
        let half = i128::from(self.rows).checked_mul(MILLI_NANOS)?;
        let nanos = self.lower.checked_mul(2)?.checked_add(half)?.checked_div_euclid(whole)?.checked_mul(MILLI_NANOS)?;
        Some(IntervalMonthDayNano {
            months: i32::try_from(months).ok()?,
            days: i32::try_from(nanos / DAY_NANOS).ok()?,
            nanoseconds: i64::try_from(nanos % DAY_NANOS).ok()?,
        })
    }
}

/// What a row adds: the lower and the upper part.
type Parts<'a> = Box<dyn Fn(usize) -> (i128, i64) + 'a>;

fn parts(column: &ArrayRef) -> Result<Parts<'_>> {
    match column.data_type() {
        DataType::Decimal128(..) => {
            let values = column.as_primitive::<Decimal128Type>();
            Ok(Box::new(move |row| (values.value(row), 0)))
        }
        DataType::Interval(IntervalUnit::MonthDayNano) => {
            let values = column.as_primitive::<IntervalMonthDayNanoType>();
            Ok(Box::new(move |row| {
                let IntervalMonthDayNano { months, days, nanoseconds } = values.value(row);
                (i128::from(days) * DAY_NANOS + i128::from(nanoseconds), i64::from(months))
            }))
        }
        other => internal_err!("avg of {other}"),
    }
}

/// Gives each row that counts, and what it adds.
fn each(column: &ArrayRef, filter: Option<&BooleanArray>, mut row: impl FnMut(usize, i128, i64) -> Result<()>) -> Result<()> {
    if let (DataType::Decimal128(..), None) = (column.data_type(), counted(column.nulls(), filter)) {
        return column.as_primitive::<Decimal128Type>().values().iter().enumerate().try_for_each(|(index, value)| row(index, *value, 0));
    }
    let parts = parts(column)?;
    let mut give = |index| {
        let (lower, upper) = parts(index);
        row(index, lower, upper)
    };
    match counted(column.nulls(), filter) {
        None => (0..column.len()).try_for_each(give),
        Some(counted) => counted.valid_indices().try_for_each(&mut give),
    }
}

/// The sums in columns of states.
fn sums(states: &[ArrayRef]) -> Result<Vec<Sum>> {
    let [lower, upper, rows] = states else { return internal_err!("avg has three parts of state") };
    let (lower, upper, rows) = (as_it_is::<Decimal128Type>(lower)?, as_it_is::<Int64Type>(upper)?, as_it_is::<Int64Type>(rows)?);
    let parts = lower.values().iter().zip(upper.values()).zip(rows.values());
    Ok(parts.map(|((lower, upper), rows)| Sum { lower: *lower, upper: *upper, rows: *rows }).collect())
}

fn columns(sums: &[Sum]) -> Vec<ArrayRef> {
    vec![
        Arc::new(Decimal128Array::from_iter_values(sums.iter().map(|sum| sum.lower)).with_data_type(WIDE)),
        Arc::new(Int64Array::from_iter_values(sums.iter().map(|sum| sum.upper))),
        Arc::new(Int64Array::from_iter_values(sums.iter().map(|sum| sum.rows))),
    ]
}

fn results(sums: &[Sum], returns: &DataType) -> Result<ArrayRef> {
    match returns {
        DataType::Interval(_) => means::<IntervalMonthDayNanoType>(sums, returns, Sum::interval),
        _ => means::<Decimal128Type>(sums, returns, Sum::decimal),
    }
}

fn means<T: ArrowPrimitiveType>(sums: &[Sum], returns: &DataType, mean: fn(Sum) -> Option<T::Native>) -> Result<ArrayRef> {
    let nulls: NullBuffer = sums.iter().map(|sum| sum.rows > 0).collect::<Vec<bool>>().into();
    let values = sums.iter().map(|sum| match sum.rows {
        0 => Ok(T::default_value()),
        _ => mean(*sum).ok_or_else(|| out_of_range("the result of avg does not fit its type")),
    });
    let values = values.collect::<Result<Vec<_>>>()?;
    Ok(Arc::new(PrimitiveArray::<T>::try_new(values.into(), Some(nulls))?.with_data_type(returns.clone())))
}

/// The mean of one group.
#[derive(Debug)]
struct Exact {
    sum: Sum,
    returns: DataType,
}

impl Accumulator for Exact {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        each(first(values)?, None, |_, lower, upper| self.sum.add(lower, upper, 1))
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        each(first(values)?, None, |_, lower, upper| {
            let taken = Sum { lower, upper, rows: 1 }.negated().ok_or_else(|| exec_datafusion_err!("avg cannot leave out {lower}"))?;
            self.sum.add(taken.lower, taken.upper, taken.rows)
        })
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        sums(states)?.into_iter().try_for_each(|other| self.sum.add(other.lower, other.upper, other.rows))
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        columns(&[self.sum]).iter().map(|column| ScalarValue::try_from_array(column, 0)).collect()
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        ScalarValue::try_from_array(&results(&[self.sum], &self.returns)?, 0)
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }
}

/// The means of many groups.
struct ExactGroups {
    sums: Vec<Sum>,
    returns: DataType,
}

impl GroupsAccumulator for ExactGroups {
    fn update_batch(&mut self, values: &[ArrayRef], groups: &[usize], filter: Option<&BooleanArray>, count: usize) -> Result<()> {
        self.sums.resize(count, Sum::default());
        each(first(values)?, filter, |row, lower, upper| self.sums[groups[row]].add(lower, upper, 1))
    }

    fn merge_batch(&mut self, values: &[ArrayRef], groups: &[usize], count: usize) -> Result<()> {
        self.sums.resize(count, Sum::default());
        let others = sums(values)?;
        groups.iter().zip(others).try_for_each(|(&group, other)| self.sums[group].add(other.lower, other.upper, other.rows))
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        results(&emit_to.take_needed(&mut self.sums), &self.returns)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        Ok(columns(&emit_to.take_needed(&mut self.sums)))
    }

    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let column = first(values)?;
        let mut sums = vec![Sum::default(); column.len()];
        each(column, filter, |row, lower, upper| sums[row].add(lower, upper, 1))?;
        Ok(columns(&sums))
    }

    fn size(&self) -> usize {
        self.sums.capacity() * size_of::<Sum>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_are_rounded_and_do_not_run_over() {
        let mean = |values: &[i128]| {
            let mut sum = Sum::default();
            values.iter().for_each(|value| sum.add(*value, 0, 1).unwrap());
            sum.decimal().unwrap()
        };
        let most = 10_i128.pow(38) - 1;
        assert_eq!((mean(&[1, 2]), mean(&[-1, -2]), mean(&[1, 1, 2]), mean(&[-1, 0, 0])), (2, -2, 1, 0));
        assert_eq!((mean(&[most; 7]), mean(&[-most; 7]), mean(&[most, most, -most])), (most, -most, most / 3));
    }

    #[test]
    fn means_of_intervals_are_rounded_to_milliseconds() {
        let mean = |nanos: &[i128]| {
            let mut sum = Sum::default();
            nanos.iter().for_each(|nanos| sum.add(*nanos, 0, 1).unwrap());
            let IntervalMonthDayNano { months, days, nanoseconds } = sum.interval().unwrap();
            (months, days, nanoseconds)
        };
        let second = 1_000_000_000;
        assert_eq!(mean(&[20 * second, 30 * second, 30 * second]), (0, 0, 26_667_000_000));
        assert_eq!((mean(&[1_000_000, 0]), mean(&[-1_000_000, 0])), ((0, 0, 1_000_000), (0, 0, 0)));
        assert_eq!(mean(&[DAY_NANOS, 2 * DAY_NANOS]), (0, 1, 43_200_000_000_000));
        assert_eq!(mean(&[-DAY_NANOS, -2 * DAY_NANOS]), (0, -1, -43_200_000_000_000));
    }

    #[test]
    fn groups_merge() {
        let returns = DataType::Decimal128(4, 1);
        let types = Types { arguments: vec![returns.clone()], returns };
        let values: ArrayRef = Arc::new(Decimal128Array::from(vec![Some(10), None, Some(15), Some(20)]).with_precision_and_scale(4, 1).unwrap());
        let mut partial = start_groups(&types).unwrap();
        partial.update_batch(&[Arc::clone(&values)], &[0, 1, 0, 2], None, 3).unwrap();
        let states = partial.state(EmitTo::All).unwrap();
        let skipped = partial.convert_to_state(&[values], None).unwrap();
        let mut last = start_groups(&types).unwrap();
        last.merge_batch(&states, &[0, 1, 0], 2).unwrap();
        last.merge_batch(&skipped, &[2; 4], 3).unwrap();
        let means = last.evaluate(EmitTo::All).unwrap();
        assert_eq!(means.as_primitive::<Decimal128Type>().iter().collect::<Vec<_>>(), [Some(15), None, Some(15)]);
    }
}
