//! `$few_values(column)` and `$only_value(values)`: what a subquery that stands for one value gives for each row of the query around it. As a join it gives the values of all
//! rows that it could be asked for, so that several of them are an error only where they are asked for: the aggregation keeps two of them at most, and the function takes the
//! one that there is.

use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, AsArray, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{ScalarValue, exec_err};
use datafusion::error::Result;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use nunatak_core::{Code, Error};

use crate::error::into_datafusion;

const FEW: &str = "$few_values";
const ONLY: &str = "$only_value";

/// As many are kept as tell that they are too many.
const KEPT: usize = 2;

static ONLY_VALUE: LazyLock<Arc<ScalarUDF>> =
    LazyLock::new(|| Arc::new(ScalarUDF::new_from_impl(OnlyValue { signature: Signature::any(1, Volatility::Immutable) })));

/// The aggregation.
pub fn few_values() -> Arc<AggregateUDF> {
    Arc::new(AggregateUDF::new_from_impl(FewValues { signature: Signature::any(1, Volatility::Immutable) }))
}

/// The function.
pub fn only_value() -> Arc<ScalarUDF> {
    Arc::clone(&ONLY_VALUE)
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct FewValues {
    signature: Signature,
}

impl AggregateUDFImpl for FewValues {
    fn name(&self) -> &str {
        FEW
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        match arguments {
            [data_type] => Ok(DataType::List(Arc::new(Field::new_list_field(data_type.clone(), true)))),
            _ => exec_err!("{FEW} takes one column"),
        }
    }

    fn accumulator(&self, arguments: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        match arguments.return_type() {
            DataType::List(element) => Ok(Box::new(Few { values: Vec::new(), data_type: element.data_type().clone() })),
            other => exec_err!("{FEW} gives no {other}"),
        }
    }

    fn state_fields(&self, arguments: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        Ok(vec![Arc::new(Field::new(format!("{}[values]", arguments.name), arguments.return_type().clone(), true))])
    }
}

#[derive(Debug)]
struct Few {
    values: Vec<ScalarValue>,
    data_type: DataType,
}

impl Few {
    fn add(&mut self, column: &ArrayRef) -> Result<()> {
        for row in 0..column.len().min(KEPT.saturating_sub(self.values.len())) {
            self.values.push(ScalarValue::try_from_array(column, row)?);
        }
        Ok(())
    }

    fn list(&self) -> ScalarValue {
        ScalarValue::List(ScalarValue::new_list_nullable(&self.values, &self.data_type))
    }
}

impl Accumulator for Few {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let [column] = values else { return exec_err!("{FEW} takes one column") };
        self.add(column)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(self.list())
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.values.iter().map(ScalarValue::size).sum::<usize>()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.list()])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let [lists] = states else { return exec_err!("{FEW} has one part of state") };
        lists.as_list::<i32>().iter().flatten().try_for_each(|values| self.add(&values))
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct OnlyValue {
    signature: Signature,
}

impl ScalarUDFImpl for OnlyValue {
    fn name(&self) -> &str {
        ONLY
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [DataType::List(element)] => Ok(element.data_type().clone()),
            _ => exec_err!("{ONLY} takes one list"),
        }
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let Ok([lists]) = <[ColumnarValue; 1]>::try_from(arguments.args) else { return exec_err!("{ONLY} takes one list") };
        let is_scalar = matches!(lists, ColumnarValue::Scalar(_));
        let values = only(&lists.into_array(if is_scalar { 1 } else { arguments.number_rows })?)?;
        Ok(if is_scalar { ColumnarValue::Scalar(ScalarValue::try_from_array(&values, 0)?) } else { ColumnarValue::Array(values) })
    }
}

/// The value of each list, NULL for one without.
///
/// Errors: `SUBQUERY_MULTIPLE_ROWS`.
fn only(lists: &ArrayRef) -> Result<ArrayRef> {
    let lists = lists.as_list::<i32>();
    let places = (0..lists.len()).map(|row| match lists.value_length(row) {
        _ if lists.is_null(row) => Ok(None),
        0 => Ok(None),
        1 => Ok(u32::try_from(lists.value_offsets()[row]).ok()),
        _ => Err(into_datafusion(Error::new(Code::SubqueryMultipleRows, "a subquery that stands for one value gave several rows"))),
    });
    let places: UInt32Array = places.collect::<Result<Vec<_>>>()?.into();
    Ok(take(lists.values(), &places, None)?)
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, ListArray};
    use arrow::datatypes::Int64Type;

    use super::*;
    use crate::error::from_datafusion;

    #[test]
    fn one_value_is_taken() {
        let lists = |rows: Vec<Option<Vec<Option<i64>>>>| Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(rows)) as ArrayRef;
        let taken = only(&lists(vec![Some(vec![Some(1)]), None, Some(vec![]), Some(vec![None]), Some(vec![Some(2)])])).unwrap();
        assert_eq!(taken.as_primitive::<Int64Type>(), &Int64Array::from(vec![Some(1), None, None, None, Some(2)]));
        let error = from_datafusion(only(&lists(vec![Some(vec![Some(1), None])])).unwrap_err());
        assert_eq!(error.code(), Code::SubqueryMultipleRows);
    }

    #[test]
    fn two_values_are_kept() {
        let few = || Few { values: Vec::new(), data_type: DataType::Int64 };
        let column = |values: Vec<Option<i64>>| Arc::new(Int64Array::from(values)) as ArrayRef;
        let (mut one, mut other) = (few(), few());
        one.update_batch(&[column(vec![None])]).unwrap();
        other.update_batch(&[column(vec![Some(1), Some(2), Some(3)])]).unwrap();
        let state = other.state().unwrap().remove(0).to_array().unwrap();
        one.merge_batch(&[state]).unwrap();
        assert_eq!(one.values, [ScalarValue::Int64(None), ScalarValue::Int64(Some(1))]);
        assert_eq!(other.values.len(), 2);
        assert_eq!(few().evaluate().unwrap().to_array().unwrap().as_list::<i32>().value_length(0), 0);
    }
}
