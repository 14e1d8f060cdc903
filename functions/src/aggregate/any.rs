//! `any_value`: a value that is there, whichever.

use arrow::array::{Array, ArrayRef, UInt32Array};
use arrow::compute::take;
use datafusion::common::{ScalarValue, exec_datafusion_err};
use datafusion::error::Result;
use datafusion::logical_expr::Accumulator;

use super::fold::first;
use super::function::{Aggregate, Types};

pub(super) const FUNCTIONS: &[Aggregate] =
    &[Aggregate::new("any_value", &["(T) -> T"], |types| Ok(vec![types.returns.clone()]), start, "Any of the values that are not NULL.")
        .also(&["arbitrary"])];

fn start(types: &Types) -> Result<Box<dyn Accumulator>> {
    Ok(Box::new(Any { value: None, none: ScalarValue::try_from(&types.returns)? }))
}

#[derive(Debug)]
struct Any {
    value: Option<ArrayRef>,
    none: ScalarValue,
}

impl Accumulator for Any {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let column = first(values)?;
        if self.value.is_some() {
            return Ok(());
        }
        let nulls = column.logical_nulls();
        if let Some(row) = (0..column.len()).find(|row| nulls.as_ref().is_none_or(|nulls| nulls.is_valid(*row))) {
            let row = u32::try_from(row).map_err(|_| exec_datafusion_err!("a batch has too many rows"))?;
            self.value = Some(take(column, &UInt32Array::from(vec![row]), None)?);
        }
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.update_batch(states)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.evaluate()?])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        match &self.value {
            Some(value) => ScalarValue::try_from_array(value, 0),
            None => Ok(self.none.clone()),
        }
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.value.as_ref().map_or(0, |value| value.get_array_memory_size())
    }
}
