//! Aggregates whose state is one value that each row changes: sums, bits, the least and the greatest float.

use std::collections::VecDeque;

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray, PrimitiveArray};
use arrow::buffer::NullBuffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Decimal128Type};
use datafusion::common::{ScalarValue, exec_datafusion_err};
use datafusion::error::Result;
use datafusion::logical_expr::{Accumulator, EmitTo, GroupsAccumulator};

use crate::out_of_range;

/// How values become one.
pub(super) struct Rule<T: ArrowPrimitiveType, F> {
    /// The name of the function.
    pub(super) name: &'static str,
    /// The column of values: NULLs do not count.
    pub(super) read: fn(&ArrayRef) -> Result<PrimitiveArray<T>>,
    /// The value of both; `None` if there is none of the type.
    pub(super) fold: F,
    /// The value of no rows; NULL if there is none.
    pub(super) empty: Option<T::Native>,
    /// The type of what is held.
    pub(super) held: DataType,
    /// The type of the result.
    pub(super) returns: DataType,
}

/// The column as it is.
pub(super) fn as_it_is<T: ArrowPrimitiveType>(column: &ArrayRef) -> Result<PrimitiveArray<T>> {
    let values = column.as_primitive_opt::<T>();
    values.cloned().ok_or_else(|| exec_datafusion_err!("a column of type {} is not of the type that an aggregate takes", column.data_type()))
}

/// The first column.
pub(super) fn first(columns: &[ArrayRef]) -> Result<&ArrayRef> {
    columns.first().ok_or_else(|| exec_datafusion_err!("an aggregate was given no column"))
}

/// What a fold can be.
pub(super) trait Folding<T: ArrowPrimitiveType>: Fn(T::Native, T::Native) -> Option<T::Native> + Copy + Send + Sync + 'static {}

impl<T: ArrowPrimitiveType, F: Fn(T::Native, T::Native) -> Option<T::Native> + Copy + Send + Sync + 'static> Folding<T> for F {}

impl<T: ArrowPrimitiveType, F: Folding<T>> Rule<T, F> {
    #[cold]
    fn too_large(&self) -> datafusion::error::DataFusionError {
        out_of_range(format!("the result of {} does not fit {}", self.name, self.returns))
    }

    fn both(&self, left: T::Native, right: T::Native) -> Result<T::Native> {
        (self.fold)(left, right).ok_or_else(|| self.too_large())
    }

    fn array(&self, values: PrimitiveArray<T>) -> PrimitiveArray<T> {
        values.with_data_type(self.held.clone())
    }

    fn result(&self, values: PrimitiveArray<T>) -> Result<ArrayRef> {
        let values: ArrayRef = std::sync::Arc::new(self.array(values));
        if let Some(decimals) = values.as_primitive_opt::<Decimal128Type>() {
            // On the way there may be more digits, which other rows take away again.
            decimals.validate_decimal_precision(decimals.precision()).map_err(|_| self.too_large())?;
        }
        if self.held == self.returns { Ok(values) } else { Ok(cast(&values, &self.returns)?) }
    }
}

/// The value of one group.
pub(super) struct Fold<T: ArrowPrimitiveType, F> {
    rule: Rule<T, F>,
    value: Option<T::Native>,
}

impl<T: ArrowPrimitiveType, F> std::fmt::Debug for Fold<T, F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fold").field("name", &self.rule.name).field("value", &self.value).finish_non_exhaustive()
    }
}

impl<T: ArrowPrimitiveType, F: Folding<T>> Fold<T, F> {
    pub(super) fn new(rule: Rule<T, F>) -> Self {
        Self { rule, value: None }
    }

    fn add(&mut self, values: &PrimitiveArray<T>) -> Result<()> {
        let mut rest = values.iter().flatten();
        let Some(start) = self.value.or_else(|| rest.next()) else { return Ok(()) };
        let fold = self.rule.fold;
        let folded = match (values.null_count(), self.value) {
            (0, Some(start)) => values.values().iter().try_fold(start, |held, &value| fold(held, value)),
            _ => rest.try_fold(start, fold),
        };
        self.value = Some(folded.ok_or_else(|| self.rule.too_large())?);
        Ok(())
    }
}

impl<T: ArrowPrimitiveType, F: Folding<T>> Accumulator for Fold<T, F> {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let values = (self.rule.read)(first(values)?)?;
        self.add(&values)
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let values = as_it_is::<T>(first(states)?)?;
        self.add(&values)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![ScalarValue::try_from_array(&self.rule.array(PrimitiveArray::from_iter([self.value])), 0)?])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        ScalarValue::try_from_array(&self.rule.result(PrimitiveArray::from_iter([self.value.or(self.rule.empty)]))?, 0)
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }
}

/// The value of one group that values can be taken out of again, by the other fold.
pub(super) struct SlidingFold<T: ArrowPrimitiveType, F, G> {
    rule: Rule<T, F>,
    unfold: G,
    value: T::Native,
    count: usize,
}

impl<T: ArrowPrimitiveType, F, G> std::fmt::Debug for SlidingFold<T, F, G> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SlidingFold").field("name", &self.rule.name).field("count", &self.count).finish_non_exhaustive()
    }
}

impl<T: ArrowPrimitiveType, F: Folding<T>, G: Folding<T>> SlidingFold<T, F, G> {
    pub(super) fn new(rule: Rule<T, F>, unfold: G) -> Self {
        Self { rule, unfold, value: T::default_value(), count: 0 }
    }
}

impl<T: ArrowPrimitiveType, F: Folding<T>, G: Folding<T>> Accumulator for SlidingFold<T, F, G> {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        for value in (self.rule.read)(first(values)?)?.iter().flatten() {
            self.value = self.rule.both(self.value, value)?;
            self.count += 1;
        }
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        for value in (self.rule.read)(first(values)?)?.iter().flatten() {
            self.value = (self.unfold)(self.value, value).ok_or_else(|| self.rule.too_large())?;
            self.count = self.count.saturating_sub(1);
        }
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        for value in as_it_is::<T>(first(states)?)?.iter().flatten() {
            self.value = self.rule.both(self.value, value)?;
            self.count += 1;
        }
        Ok(())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let value = (self.count > 0).then_some(self.value);
        Ok(vec![ScalarValue::try_from_array(&self.rule.array(PrimitiveArray::from_iter([value])), 0)?])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let value = (self.count > 0).then_some(self.value).or(self.rule.empty);
        ScalarValue::try_from_array(&self.rule.result(PrimitiveArray::from_iter([value]))?, 0)
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }
}

/// The values of a frame that rows leave again, where no fold takes one out: all of them are kept.
pub(super) struct FrameFold<T: ArrowPrimitiveType, F> {
    rule: Rule<T, F>,
    held: VecDeque<T::Native>,
}

impl<T: ArrowPrimitiveType, F> std::fmt::Debug for FrameFold<T, F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FrameFold").field("name", &self.rule.name).field("count", &self.held.len()).finish_non_exhaustive()
    }
}

impl<T: ArrowPrimitiveType, F: Folding<T>> FrameFold<T, F> {
    pub(super) fn new(rule: Rule<T, F>) -> Self {
        Self { rule, held: VecDeque::new() }
    }
}

impl<T: ArrowPrimitiveType, F: Folding<T>> Accumulator for FrameFold<T, F> {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.held.extend((self.rule.read)(first(values)?)?.iter().flatten());
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let column = first(values)?;
        let leaving = column.len() - column.logical_null_count();
        self.held.drain(..leaving.min(self.held.len()));
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.held.extend(as_it_is::<T>(first(states)?)?.iter().flatten());
        Ok(())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.evaluate()?])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let mut held = self.held.iter().copied();
        let value = match held.next() {
            Some(start) => Some(held.try_fold(start, self.rule.fold).ok_or_else(|| self.rule.too_large())?),
            None => self.rule.empty,
        };
        ScalarValue::try_from_array(&self.rule.result(PrimitiveArray::from_iter([value]))?, 0)
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.held.capacity() * size_of::<T::Native>()
    }
}

/// The values of many groups.
pub(super) struct FoldGroups<T: ArrowPrimitiveType, F> {
    rule: Rule<T, F>,
    values: Vec<T::Native>,
    seen: Vec<bool>,
}

impl<T: ArrowPrimitiveType, F: Folding<T>> FoldGroups<T, F> {
    pub(super) fn new(rule: Rule<T, F>) -> Self {
        Self { rule, values: Vec::new(), seen: Vec::new() }
    }

    fn add(&mut self, column: &PrimitiveArray<T>, groups: &[usize], filter: Option<&BooleanArray>, count: usize) -> Result<()> {
        self.values.resize(count, T::default_value());
        self.seen.resize(count, false);
        match counted(column.nulls(), filter) {
            None => groups.iter().zip(column.values()).try_for_each(|(&group, &value)| self.put(group, value)),
            Some(counted) => counted.valid_indices().try_for_each(|row| self.put(groups[row], column.value(row))),
        }
    }

    fn put(&mut self, group: usize, value: T::Native) -> Result<()> {
        if self.seen[group] {
            self.values[group] = self.rule.both(self.values[group], value)?;
        } else {
            self.seen[group] = true;
            self.values[group] = value;
        }
        Ok(())
    }

    fn emitted(&mut self, emit_to: EmitTo) -> (Vec<T::Native>, Vec<bool>) {
        (emit_to.take_needed(&mut self.values), emit_to.take_needed(&mut self.seen))
    }
}

/// Where rows count: neither NULL nor left out by a `FILTER`; `None` if all do.
pub(super) fn counted(nulls: Option<&NullBuffer>, filter: Option<&BooleanArray>) -> Option<NullBuffer> {
    let wanted = filter.map(|filter| match filter.nulls() {
        Some(known) => NullBuffer::new(filter.values() & known.inner()),
        None => NullBuffer::new(filter.values().clone()),
    });
    NullBuffer::union(nulls, wanted.as_ref())
}

impl<T: ArrowPrimitiveType, F: Folding<T>> GroupsAccumulator for FoldGroups<T, F> {
    fn update_batch(&mut self, values: &[ArrayRef], groups: &[usize], filter: Option<&BooleanArray>, count: usize) -> Result<()> {
        let column = (self.rule.read)(first(values)?)?;
        self.add(&column, groups, filter, count)
    }

    fn merge_batch(&mut self, values: &[ArrayRef], groups: &[usize], count: usize) -> Result<()> {
        let column = as_it_is::<T>(first(values)?)?;
        self.add(&column, groups, None, count)
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let (mut values, seen) = self.emitted(emit_to);
        let nulls = match self.rule.empty {
            Some(empty) => {
                values.iter_mut().zip(seen).filter(|(_, seen)| !seen).for_each(|(value, _)| *value = empty);
                None
            }
            None => Some(NullBuffer::from(seen)),
        };
        self.rule.result(PrimitiveArray::try_new(values.into(), nulls)?)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let (values, seen) = self.emitted(emit_to);
        Ok(vec![std::sync::Arc::new(self.rule.array(PrimitiveArray::try_new(values.into(), Some(NullBuffer::from(seen)))?))])
    }

    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let column = (self.rule.read)(first(values)?)?;
        let nulls = counted(column.nulls(), filter);
        let (_, values, _) = column.into_parts();
        Ok(vec![std::sync::Arc::new(self.rule.array(PrimitiveArray::try_new(values, nulls)?))])
    }

    fn size(&self) -> usize {
        self.values.capacity() * size_of::<T::Native>() + self.seen.capacity()
    }
}
