//! Two functions by which rows are brought together by ranges of their values, and which no statement can call.
//!
//! `$range_of(numbers, bounds, options, key, ...)` gives the number of the range in which a row's keys lie: `bounds` has the first keys of all ranges but the first,
//! in the form that [`arrow::row`] makes of keys, and `options` how each key is ordered. `$hash_of(column, ...)` tells apart rows with the same keys; it depends on
//! nothing but the row, so that a task that runs again sends each row where it sent it before.

use std::sync::{Arc, LazyLock};

use arrow::array::{Array, AsArray, BinaryArray, UInt64Array};
use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, UInt64Type};
use arrow::row::{RowConverter, SortField};
use datafusion::common::hash_utils::{RandomState, create_hashes};
use datafusion::common::{ScalarValue, exec_datafusion_err, exec_err};
use datafusion::error::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

const RANGE_OF: &str = "$range_of";
const HASH_OF: &str = "$hash_of";
/// Not the seed by which rows are spread over tasks: rows of one task would have hashes that are alike.
const SEED: RandomState = RandomState::with_seed(0x6e75_6e61_7461_6b21);

static RANGE_OF_FUNCTION: LazyLock<Arc<ScalarUDF>> =
    LazyLock::new(|| Arc::new(ScalarUDF::new_from_impl(RangeOf { signature: Signature::variadic_any(Volatility::Immutable) })));
static HASH_OF_FUNCTION: LazyLock<Arc<ScalarUDF>> =
    LazyLock::new(|| Arc::new(ScalarUDF::new_from_impl(HashOf { signature: Signature::variadic_any(Volatility::Immutable) })));

/// `$range_of`.
pub fn range_of() -> Arc<ScalarUDF> {
    Arc::clone(&RANGE_OF_FUNCTION)
}

/// `$hash_of`.
pub fn hash_of() -> Arc<ScalarUDF> {
    Arc::clone(&HASH_OF_FUNCTION)
}

/// The constants of `$range_of`: the numbers of the ranges, where they begin, and how keys are ordered.
pub fn constants(numbers: &[u64], bounds: &[Vec<u8>], options: &[SortOptions]) -> [ScalarValue; 3] {
    let numbers: Vec<ScalarValue> = numbers.iter().map(|number| ScalarValue::UInt64(Some(*number))).collect();
    let bounds: Vec<ScalarValue> = bounds.iter().map(|bound| ScalarValue::Binary(Some(bound.clone()))).collect();
    let options = options.iter().map(|options| u8::from(options.descending) | (u8::from(options.nulls_first) << 1)).collect();
    [
        ScalarValue::List(ScalarValue::new_list_nullable(&numbers, &DataType::UInt64)),
        ScalarValue::List(ScalarValue::new_list_nullable(&bounds, &DataType::Binary)),
        ScalarValue::Binary(Some(options)),
    ]
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct RangeOf {
    signature: Signature,
}

impl ScalarUDFImpl for RangeOf {
    fn name(&self) -> &str {
        RANGE_OF
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::UInt64)
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let wrong = || exec_datafusion_err!("{RANGE_OF} takes the numbers of ranges, their bounds, options and keys");
        let (constants, keys) = arguments.args.split_first_chunk::<3>().ok_or_else(wrong)?;
        let [
            ColumnarValue::Scalar(ScalarValue::List(numbers)),
            ColumnarValue::Scalar(ScalarValue::List(bounds)),
            ColumnarValue::Scalar(ScalarValue::Binary(Some(options))),
        ] = constants
        else {
            return Err(wrong());
        };
        let (numbers, bounds) = (numbers.value(0), bounds.value(0));
        let numbers: &UInt64Array = numbers.as_primitive_opt::<UInt64Type>().ok_or_else(wrong)?;
        let bounds: &BinaryArray = bounds.as_binary_opt::<i32>().ok_or_else(wrong)?;
        if numbers.len() != bounds.len() + 1 || options.len() != keys.len() {
            return Err(wrong());
        }
        let keys = keys.iter().map(|key| key.to_array(arguments.number_rows)).collect::<Result<Vec<_>>>()?;
        let field = |(key, option): (&arrow::array::ArrayRef, &u8)| {
            SortField::new_with_options(key.data_type().clone(), SortOptions { descending: option & 1 != 0, nulls_first: option & 2 != 0 })
        };
        let converter = RowConverter::new(keys.iter().zip(options).map(field).collect())?;
        let rows = converter.convert_columns(&keys)?;
        let bounds: Vec<&[u8]> = (0..bounds.len()).map(|index| bounds.value(index)).collect();
        let ranges = rows.iter().map(|row| numbers.value(bounds.partition_point(|bound| *bound <= row.as_ref())));
        Ok(ColumnarValue::Array(Arc::new(ranges.collect::<UInt64Array>())))
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct HashOf {
    signature: Signature,
}

impl ScalarUDFImpl for HashOf {
    fn name(&self) -> &str {
        HASH_OF
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::UInt64)
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        if arguments.args.is_empty() {
            return exec_err!("{HASH_OF} takes columns");
        }
        let columns = arguments.args.iter().map(|column| column.to_array(arguments.number_rows)).collect::<Result<Vec<_>>>()?;
        let mut hashes = vec![0; arguments.number_rows];
        create_hashes(&columns, &SEED, &mut hashes)?;
        Ok(ColumnarValue::Array(Arc::new(UInt64Array::from(hashes))))
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
    use arrow::datatypes::Schema;
    use datafusion::common::config::ConfigOptions;
    use datafusion::physical_expr::expressions::{Column, Literal};
    use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};

    use super::*;

    fn evaluate(function: Arc<ScalarUDF>, constants: Vec<ScalarValue>, batch: &RecordBatch) -> UInt64Array {
        let columns =
            batch.schema().fields().iter().enumerate().map(|(index, field)| Arc::new(Column::new(field.name(), index)) as _).collect::<Vec<_>>();
        let constants = constants.into_iter().map(|value| Arc::new(Literal::new(value)) as Arc<dyn PhysicalExpr>);
        let schema: &Schema = &batch.schema();
        let call = ScalarFunctionExpr::try_new(function, constants.chain(columns).collect(), schema, Arc::new(ConfigOptions::default())).unwrap();
        call.evaluate(batch).unwrap().into_array(batch.num_rows()).unwrap().as_primitive::<UInt64Type>().clone()
    }

    #[test]
    fn keys_lie_in_ranges() {
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![Some(9), Some(5), Some(5), Some(4), None]));
        let texts: ArrayRef = Arc::new(StringArray::from(vec!["a", "b", "c", "d", "e"]));
        let options = [SortOptions { descending: true, nulls_first: false }, SortOptions { descending: false, nulls_first: true }];
        let fields =
            [DataType::Int64, DataType::Utf8].into_iter().zip(options).map(|(data_type, options)| SortField::new_with_options(data_type, options));
        let converter = RowConverter::new(fields.collect()).unwrap();
        let first: [ArrayRef; 2] = [Arc::new(Int64Array::from(vec![5])), Arc::new(StringArray::from(vec!["c"]))];
        let bounds = vec![converter.convert_columns(&first).unwrap().row(0).as_ref().to_vec()];
        let batch = RecordBatch::try_from_iter([("n", numbers), ("t", texts)]).unwrap();
        let ranges = evaluate(range_of(), constants(&[70, 80], &bounds, &options).to_vec(), &batch);
        assert_eq!(ranges.values(), &[70, 70, 80, 80, 80]);
    }

    #[test]
    fn hashes_depend_on_all_columns() {
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![1, 1, 2, 1]));
        let texts: ArrayRef = Arc::new(StringArray::from(vec!["a", "b", "a", "a"]));
        let batch = RecordBatch::try_from_iter([("n", numbers), ("t", texts)]).unwrap();
        let hashes = evaluate(hash_of(), Vec::new(), &batch);
        assert_eq!(hashes.value(0), hashes.value(3));
        assert!(hashes.value(0) != hashes.value(1) && hashes.value(0) != hashes.value(2));
    }
}
