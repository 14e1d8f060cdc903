//! Aggregates over frames that rows leave again: the rows of the frame are kept, and seen anew for each value.

use std::collections::VecDeque;

use arrow::array::{Array, ArrayRef};
use datafusion::common::{ScalarValue, not_impl_err};
use datafusion::error::Result;
use datafusion::logical_expr::Accumulator;

use super::collected::Collected;
use super::function::{Aggregate, Types};

/// The rows of a frame.
#[derive(Debug)]
pub(super) struct Sliding {
    definition: &'static Aggregate,
    types: Types,
    is_distinct: bool,
    parts: VecDeque<Vec<ArrayRef>>,
}

impl Sliding {
    pub(super) fn new(definition: &'static Aggregate, types: Types, is_distinct: bool) -> Self {
        Self { definition, types, is_distinct, parts: VecDeque::new() }
    }
}

impl Accumulator for Sliding {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        if values.first().is_some_and(|column| !column.is_empty()) {
            self.parts.push_back(values.to_vec());
        }
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let mut left = values.first().map_or(0, |column| column.len());
        while left > 0 {
            let Some(part) = self.parts.front_mut() else { break };
            let rows = part.first().map_or(0, |column| column.len());
            if rows <= left {
                self.parts.pop_front();
                left -= rows;
            } else {
                *part = part.iter().map(|column| column.slice(left, rows - left)).collect();
                left = 0;
            }
        }
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let mut whole: Box<dyn Accumulator> = if self.is_distinct || self.definition.collects {
            Box::new(Collected::new(self.definition, self.types.clone(), Vec::new(), self.is_distinct)?)
        } else {
            (self.definition.start)(&self.types)?
        };
        for part in &self.parts {
            whole.update_batch(part)?;
        }
        whole.evaluate()
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.parts.iter().flatten().map(|column| column.get_array_memory_size()).sum::<usize>()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        not_impl_err!("{} over a frame has no state", self.definition.name)
    }

    fn merge_batch(&mut self, _states: &[ArrayRef]) -> Result<()> {
        not_impl_err!("{} over a frame has no state", self.definition.name)
    }
}
