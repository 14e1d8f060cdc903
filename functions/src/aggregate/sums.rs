//! Sums, counts and bits.

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, Int64Array, PrimitiveArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Decimal128Type, Float64Type, Int64Type, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit};
use datafusion::common::{exec_datafusion_err, internal_err};
use datafusion::error::Result;
use datafusion::logical_expr::{Accumulator, GroupsAccumulator};

use super::fold::{Fold, FoldGroups, Folding, Rule, SlidingFold, as_it_is};
use super::function::{Aggregate, Types};

/// The digits of the sum of decimals.
const SUM_DIGITS: u8 = 38;

const WHOLE: &[&str] = &["(bigint) -> bigint"];

pub(super) const FUNCTIONS: &[Aggregate] = &[
    Aggregate::new(
        "sum",
        &["(bigint) -> bigint", "(decimal) -> decimal", "(real) -> real", "(double) -> double", "(interval) -> interval"],
        sum_state,
        start_sum,
        "The sum of the values.",
    )
    .returning(sum_type)
    .grouped(start_sums)
    .sliding(start_sliding_sum),
    Aggregate::new("count_if", &["(boolean) -> bigint"], one_bigint, |types| Ok(one(counted_if(types))), "How many values are true.")
        .grouped(|types| Ok(many(counted_if(types))))
        .sliding(|types| Ok(sliding(counted_if(types), i64::checked_sub)))
        .or_zero(),
    Aggregate::new("bitwise_and_agg", WHOLE, one_bigint, |types| Ok(one(bits("bitwise_and_agg", and, types))), "The bits that all values have.")
        .grouped(|types| Ok(many(bits("bitwise_and_agg", and, types)))),
    Aggregate::new("bitwise_or_agg", WHOLE, one_bigint, |types| Ok(one(bits("bitwise_or_agg", or, types))), "The bits that any value has.")
        .grouped(|types| Ok(many(bits("bitwise_or_agg", or, types)))),
    Aggregate::new(
        "bitwise_xor_agg",
        WHOLE,
        one_bigint,
        |types| Ok(one(bits("bitwise_xor_agg", xor, types))),
        "The bits that an odd number of values has.",
    )
    .grouped(|types| Ok(many(bits("bitwise_xor_agg", xor, types)))),
];

fn one<T: ArrowPrimitiveType, F: Folding<T>>(rule: Rule<T, F>) -> Box<dyn Accumulator> {
    Box::new(Fold::new(rule))
}

fn many<T: ArrowPrimitiveType, F: Folding<T>>(rule: Rule<T, F>) -> Box<dyn GroupsAccumulator> {
    Box::new(FoldGroups::new(rule))
}

fn sliding<T: ArrowPrimitiveType, F: Folding<T>, G: Folding<T>>(rule: Rule<T, F>, unfold: G) -> Box<dyn Accumulator> {
    Box::new(SlidingFold::new(rule, unfold))
}

fn rule<T: ArrowPrimitiveType, F: Folding<T>>(
    name: &'static str,
    read: fn(&ArrayRef) -> Result<PrimitiveArray<T>>,
    fold: F,
    held: DataType,
    types: &Types,
) -> Rule<T, F> {
    Rule { name, read, fold, empty: None, held, returns: types.returns.clone() }
}

fn one_bigint(_: &Types) -> Result<Vec<DataType>> {
    Ok(vec![DataType::Int64])
}

fn and(left: i64, right: i64) -> Option<i64> {
    Some(left & right)
}

fn or(left: i64, right: i64) -> Option<i64> {
    Some(left | right)
}

fn xor(left: i64, right: i64) -> Option<i64> {
    Some(left ^ right)
}

type OfBigints = fn(i64, i64) -> Option<i64>;

fn bits(name: &'static str, fold: OfBigints, types: &Types) -> Rule<Int64Type, OfBigints> {
    rule(name, as_it_is, fold, DataType::Int64, types)
}

fn counted_if(types: &Types) -> Rule<Int64Type, OfBigints> {
    let fold: OfBigints = i64::checked_add;
    Rule { empty: Some(0), ..rule("count_if", ones, fold, DataType::Int64, types) }
}

/// 1 for true, NULL for anything else.
fn ones(column: &ArrayRef) -> Result<Int64Array> {
    let values = column.as_boolean_opt().ok_or_else(|| exec_datafusion_err!("a column of type {} is no boolean", column.data_type()))?;
    Ok(values.iter().map(|value| value.unwrap_or(false).then_some(1_i64)).collect())
}

fn sum_type(arguments: &[DataType]) -> Result<DataType> {
    Ok(match arguments {
        [DataType::Decimal128(_, scale)] => DataType::Decimal128(SUM_DIGITS, *scale),
        [other] => other.clone(),
        _ => return internal_err!("sum takes one column"),
    })
}

fn sum_state(types: &Types) -> Result<Vec<DataType>> {
    // Floats of 32 bits lose too much on the way.
    Ok(vec![if types.returns == DataType::Float32 { DataType::Float64 } else { types.returns.clone() }])
}

/// Makes something of the rule for sums of a type.
macro_rules! of_sum {
    ($types:ident, $make:ident $(, $unfold:ident)?) => {
        match &$types.returns {
            DataType::Int64 => Ok($make(rule("sum", as_it_is::<Int64Type>, i64::checked_add, DataType::Int64, $types) $(, $unfold::whole)?)),
            DataType::Decimal128(..) => {
                Ok($make(rule("sum", as_it_is::<Decimal128Type>, add_decimals, $types.returns.clone(), $types) $(, $unfold::decimals)?))
            }
            DataType::Interval(IntervalUnit::MonthDayNano) => {
                Ok($make(rule("sum", as_it_is::<IntervalMonthDayNanoType>, add_intervals, $types.returns.clone(), $types) $(, $unfold::intervals)?))
            }
            _ => of_sum!(@floats $types, $make $(, $unfold)?),
        }
    };
    // Floats are not taken out again: what is lost in large ones would stay lost.
    (@floats $types:ident, $make:ident, $unfold:ident) => {
        Ok(Box::new(super::sliding::Sliding::new(&FUNCTIONS[0], $types.clone(), false)))
    };
    (@floats $types:ident, $make:ident) => {
        Ok($make(rule("sum", doubles, add_doubles, DataType::Float64, $types)))
    };
}

fn start_sum(types: &Types) -> Result<Box<dyn Accumulator>> {
    of_sum!(types, one)
}

fn start_sums(types: &Types) -> Result<Box<dyn GroupsAccumulator>> {
    of_sum!(types, many)
}

fn start_sliding_sum(types: &Types) -> Result<Box<dyn Accumulator>> {
    of_sum!(types, sliding, without)
}

fn doubles(column: &ArrayRef) -> Result<PrimitiveArray<Float64Type>> {
    if *column.data_type() == DataType::Float64 { as_it_is(column) } else { as_it_is(&cast(column, &DataType::Float64)?) }
}

fn add_doubles(left: f64, right: f64) -> Option<f64> {
    Some(left + right)
}

fn add_decimals(left: i128, right: i128) -> Option<i128> {
    left.checked_add(right)
}

fn add_intervals(left: IntervalMonthDayNano, right: IntervalMonthDayNano) -> Option<IntervalMonthDayNano> {
    Some(IntervalMonthDayNano {
        months: left.months.checked_add(right.months)?,
        days: left.days.checked_add(right.days)?,
        nanoseconds: left.nanoseconds.checked_add(right.nanoseconds)?,
    })
}

/// What takes a value out of a sum.
mod without {
    use super::IntervalMonthDayNano;

    pub(super) fn whole(left: i64, right: i64) -> Option<i64> {
        left.checked_sub(right)
    }

    pub(super) fn decimals(left: i128, right: i128) -> Option<i128> {
        left.checked_sub(right)
    }

    pub(super) fn intervals(left: IntervalMonthDayNano, right: IntervalMonthDayNano) -> Option<IntervalMonthDayNano> {
        Some(IntervalMonthDayNano {
            months: left.months.checked_sub(right.months)?,
            days: left.days.checked_sub(right.days)?,
            nanoseconds: left.nanoseconds.checked_sub(right.nanoseconds)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{BooleanArray, Decimal128Array};
    use datafusion::common::ScalarValue;
    use datafusion::logical_expr::EmitTo;

    use super::*;

    fn types(of: DataType) -> Types {
        Types { returns: sum_type(std::slice::from_ref(&of)).unwrap(), arguments: vec![of] }
    }

    #[test]
    fn sums_of_groups() {
        let types = types(DataType::Int64);
        let values: ArrayRef = Arc::new(Int64Array::from(vec![Some(i64::MAX), None, Some(1), Some(5), Some(6)]));
        let filter = BooleanArray::from(vec![Some(true), Some(true), None, Some(true), Some(true)]);
        let mut partial = start_sums(&types).unwrap();
        partial.update_batch(&[Arc::clone(&values)], &[0, 1, 0, 2, 2], Some(&filter), 3).unwrap();
        let states = partial.state(EmitTo::All).unwrap();
        let mut last = start_sums(&types).unwrap();
        last.merge_batch(&states, &[2, 1, 0], 4).unwrap();
        let sums = last.evaluate(EmitTo::All).unwrap();
        assert_eq!(sums.as_primitive::<Int64Type>().iter().collect::<Vec<_>>(), [Some(11), None, Some(i64::MAX), None]);
        let mut all = start_sums(&types).unwrap();
        assert!(all.update_batch(&[values], &[0; 5], None, 1).is_err());
    }

    #[test]
    fn decimals_keep_their_scale() {
        let types = types(DataType::Decimal128(4, 2));
        let values = Decimal128Array::from(vec![Some(150), None, Some(-25)]).with_precision_and_scale(4, 2).unwrap();
        let mut sum = start_sum(&types).unwrap();
        sum.update_batch(&[Arc::new(values.clone())]).unwrap();
        let state = sum.state().unwrap();
        assert_eq!(state, [ScalarValue::Decimal128(Some(125), 38, 2)]);
        sum.merge_batch(&[state[0].to_array().unwrap()]).unwrap();
        assert_eq!(sum.evaluate().unwrap(), ScalarValue::Decimal128(Some(250), 38, 2));
        let skipped = start_sums(&types).unwrap().convert_to_state(&[Arc::new(values)], None).unwrap();
        assert_eq!(*skipped[0].data_type(), DataType::Decimal128(38, 2));
        let mut over = start_sliding_sum(&types).unwrap();
        let part = |values: Vec<Option<i128>>| Arc::new(Decimal128Array::from(values).with_precision_and_scale(4, 2).unwrap()) as ArrayRef;
        over.update_batch(&[part(vec![Some(1), Some(2), None])]).unwrap();
        over.retract_batch(&[part(vec![Some(1), Some(2)])]).unwrap();
        assert!(over.evaluate().unwrap().is_null());
    }

    #[test]
    fn truths_are_counted() {
        let types = Types { arguments: vec![DataType::Boolean], returns: DataType::Int64 };
        let mut counts = many(counted_if(&types));
        let values: ArrayRef = Arc::new(BooleanArray::from(vec![Some(true), None, Some(false), Some(true)]));
        counts.update_batch(&[values], &[0, 1, 1, 0], None, 3).unwrap();
        let counted = counts.evaluate(EmitTo::All).unwrap();
        assert_eq!(counted.as_primitive::<Int64Type>().values(), &[2, 0, 0]);
        assert_eq!(one(counted_if(&types)).evaluate().unwrap(), ScalarValue::Int64(Some(0)));
    }
}
