//! `single_value(column)`: the value of a subquery that stands for one. NULL for no row, and an error for several, which joins would not notice.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Field, FieldRef, UInt64Type};
use datafusion::common::{ScalarValue, exec_err};
use datafusion::error::Result;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility};
use nunatak_core::{Code, Error};

use crate::error::into_datafusion;

const NAME: &str = "$single_value";

/// The function.
pub fn function() -> Arc<AggregateUDF> {
    Arc::new(AggregateUDF::new_from_impl(SingleValue { signature: Signature::any(1, Volatility::Immutable) }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct SingleValue {
    signature: Signature,
}

impl AggregateUDFImpl for SingleValue {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        match arguments {
            [data_type] => Ok(data_type.clone()),
            _ => exec_err!("{NAME} takes one column"),
        }
    }

    fn accumulator(&self, arguments: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(Single { count: 0, value: ScalarValue::try_new_null(arguments.return_type())? }))
    }

    fn state_fields(&self, arguments: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        let value = Field::new(format!("{}[value]", arguments.name), arguments.return_type().clone(), true);
        Ok(vec![Arc::new(value), Arc::new(Field::new(format!("{}[count]", arguments.name), DataType::UInt64, false))])
    }
}

#[derive(Debug)]
struct Single {
    count: u64,
    value: ScalarValue,
}

impl Single {
    fn add(&mut self, count: u64, value: impl FnOnce() -> Result<ScalarValue>) -> Result<()> {
        self.count += count;
        match self.count {
            _ if count == 0 => Ok(()),
            1 => {
                self.value = value()?;
                Ok(())
            }
            _ => Err(into_datafusion(Error::new(Code::SubqueryMultipleRows, "a subquery that stands for one value gave several rows"))),
        }
    }
}

impl Accumulator for Single {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let [column] = values else { return exec_err!("{NAME} takes one column") };
        self.add(column.len() as u64, || ScalarValue::try_from_array(column, 0))
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(self.value.clone())
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.value.size()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.value.clone(), ScalarValue::UInt64(Some(self.count))])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let [values, counts] = states else { return exec_err!("{NAME} has two parts of state") };
        for (row, count) in counts.as_primitive::<UInt64Type>().values().iter().enumerate() {
            self.add(*count, || ScalarValue::try_from_array(values, row))?;
        }
        Ok(())
    }
}
