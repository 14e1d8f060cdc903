//! `max` and `min`: DataFusion's, but for floats, of which NaN is the result only if there is nothing else, and for intervals.

use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, PrimitiveArray};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, FieldRef, Float32Type, Float64Type, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit,
};
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::functions_aggregate::min_max::{max_udaf, min_udaf};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Documentation, GroupsAccumulator, ReversedUDAF, SetMonotonicity, Signature, StatisticsArgs,
};

use super::fold::{Fold, FoldGroups, Folding, FrameFold, Rule, as_it_is};
use super::order::End;

/// The names of the functions, how they are called and what they do.
pub(super) const DESCRIBED: [(&str, &[&str], &str); 2] = [("max", &["(T) -> T"], "The greatest value."), ("min", &["(T) -> T"], "The least value.")];

/// The nanoseconds of a day.
const DAY_NANOS: i128 = 86_400_000_000_000;

static MAX: LazyLock<Arc<AggregateUDF>> = LazyLock::new(|| Arc::new(AggregateUDF::new_from_impl(Extreme { end: End::Greatest, theirs: max_udaf() })));
static MIN: LazyLock<Arc<AggregateUDF>> = LazyLock::new(|| Arc::new(AggregateUDF::new_from_impl(Extreme { end: End::Least, theirs: min_udaf() })));

/// The functions.
pub(super) fn functions() -> [Arc<AggregateUDF>; 2] {
    [Arc::clone(&MAX), Arc::clone(&MIN)]
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Extreme {
    end: End,
    theirs: Arc<AggregateUDF>,
}

fn greater<T: Float>(left: T, right: T) -> Option<T> {
    Some(if right > left || left.is_nan() { right } else { left })
}

fn less<T: Float>(left: T, right: T) -> Option<T> {
    Some(if right < left || left.is_nan() { right } else { left })
}

/// What both types of floats can.
trait Float: PartialOrd + Copy {
    /// The NaN that comes before all else in Arrow's order.
    const FIRST: Self;

    fn is_nan(self) -> bool;
}

impl Float for f32 {
    const FIRST: Self = Self::from_bits(0xffc0_0000);

    fn is_nan(self) -> bool {
        f32::is_nan(self)
    }
}

impl Float for f64 {
    const FIRST: Self = Self::from_bits(0xfff8_0000_0000_0000);

    fn is_nan(self) -> bool {
        f64::is_nan(self)
    }
}

/// The values with NaN as the least one. DataFusion asks scans for values that are greater than the greatest so far, which NaN must not be.
fn nan_first<T: ArrowPrimitiveType<Native: Float>>(column: &ArrayRef) -> Result<PrimitiveArray<T>> {
    Ok(as_it_is::<T>(column)?.unary(|value| if Float::is_nan(value) { <T::Native as Float>::FIRST } else { value }))
}

fn rule<T: ArrowPrimitiveType<Native: Float>, F: Folding<T>>(end: End, fold: F, returns: &DataType) -> Rule<T, F> {
    let read: fn(&ArrayRef) -> Result<PrimitiveArray<T>> = if end == End::Greatest { nan_first } else { as_it_is };
    Rule { name: "max or min", read, fold, empty: None, held: returns.clone(), returns: returns.clone() }
}

/// How long an interval is: DataFusion would compare days before hours.
fn length(interval: IntervalMonthDayNano) -> (i32, i128) {
    (interval.months, i128::from(interval.days) * DAY_NANOS + i128::from(interval.nanoseconds))
}

fn longer(left: IntervalMonthDayNano, right: IntervalMonthDayNano) -> Option<IntervalMonthDayNano> {
    Some(if length(right) > length(left) { right } else { left })
}

fn shorter(left: IntervalMonthDayNano, right: IntervalMonthDayNano) -> Option<IntervalMonthDayNano> {
    Some(if length(right) < length(left) { right } else { left })
}

type IntervalFold = fn(IntervalMonthDayNano, IntervalMonthDayNano) -> Option<IntervalMonthDayNano>;

fn of_intervals(end: End, returns: &DataType) -> Rule<IntervalMonthDayNanoType, IntervalFold> {
    let fold: IntervalFold = if end == End::Greatest { longer } else { shorter };
    Rule { name: "max or min", read: as_it_is, fold, empty: None, held: returns.clone(), returns: returns.clone() }
}

impl AggregateUDFImpl for Extreme {
    fn name(&self) -> &str {
        self.theirs.name()
    }

    fn aliases(&self) -> &[String] {
        self.theirs.aliases()
    }

    fn signature(&self) -> &Signature {
        self.theirs.signature()
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.theirs.coerce_types(types)
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.theirs.return_type(types)
    }

    fn accumulator(&self, arguments: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        let returns = &arguments.return_type().clone();
        let own: Box<dyn Accumulator> = match (returns, self.end) {
            (DataType::Float64, End::Greatest) => Box::new(Fold::new(rule::<Float64Type, _>(self.end, greater::<f64>, returns))),
            (DataType::Float64, End::Least) => Box::new(Fold::new(rule::<Float64Type, _>(self.end, less::<f64>, returns))),
            (DataType::Float32, End::Greatest) => Box::new(Fold::new(rule::<Float32Type, _>(self.end, greater::<f32>, returns))),
            (DataType::Float32, End::Least) => Box::new(Fold::new(rule::<Float32Type, _>(self.end, less::<f32>, returns))),
            (DataType::Interval(IntervalUnit::MonthDayNano), end) => Box::new(Fold::new(of_intervals(end, returns))),
            _ => return self.theirs.accumulator(arguments),
        };
        Ok(own)
    }

    fn state_fields(&self, arguments: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        self.theirs.state_fields(arguments)
    }

    fn groups_accumulator_supported(&self, arguments: AccumulatorArgs<'_>) -> bool {
        self.theirs.groups_accumulator_supported(arguments)
    }

    fn create_groups_accumulator(&self, arguments: AccumulatorArgs<'_>) -> Result<Box<dyn GroupsAccumulator>> {
        let returns = &arguments.return_type().clone();
        let own: Box<dyn GroupsAccumulator> = match (returns, self.end) {
            (DataType::Float64, End::Greatest) => Box::new(FoldGroups::new(rule::<Float64Type, _>(self.end, greater::<f64>, returns))),
            (DataType::Float64, End::Least) => Box::new(FoldGroups::new(rule::<Float64Type, _>(self.end, less::<f64>, returns))),
            (DataType::Float32, End::Greatest) => Box::new(FoldGroups::new(rule::<Float32Type, _>(self.end, greater::<f32>, returns))),
            (DataType::Float32, End::Least) => Box::new(FoldGroups::new(rule::<Float32Type, _>(self.end, less::<f32>, returns))),
            _ => return self.theirs.create_groups_accumulator(arguments),
        };
        Ok(own)
    }

    fn create_sliding_accumulator(&self, arguments: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        let returns = &arguments.return_type().clone();
        let own: Box<dyn Accumulator> = match (returns, self.end) {
            (DataType::Float64, End::Greatest) => Box::new(FrameFold::new(rule::<Float64Type, _>(self.end, greater::<f64>, returns))),
            (DataType::Float64, End::Least) => Box::new(FrameFold::new(rule::<Float64Type, _>(self.end, less::<f64>, returns))),
            (DataType::Float32, End::Greatest) => Box::new(FrameFold::new(rule::<Float32Type, _>(self.end, greater::<f32>, returns))),
            (DataType::Float32, End::Least) => Box::new(FrameFold::new(rule::<Float32Type, _>(self.end, less::<f32>, returns))),
            (DataType::Interval(IntervalUnit::MonthDayNano), end) => Box::new(FrameFold::new(of_intervals(end, returns))),
            _ => return self.theirs.create_sliding_accumulator(arguments),
        };
        Ok(own)
    }

    fn is_descending(&self) -> Option<bool> {
        self.theirs.is_descending()
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        self.theirs.order_sensitivity()
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Identical
    }

    fn value_from_stats(&self, arguments: &StatisticsArgs<'_>) -> Option<ScalarValue> {
        self.theirs.value_from_stats(arguments)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.theirs.documentation()
    }

    fn set_monotonicity(&self, data_type: &DataType) -> SetMonotonicity {
        self.theirs.inner().set_monotonicity(data_type)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nan_is_no_extreme() {
        assert_eq!((greater(1.0, f64::NAN), greater(f64::NAN, 1.0), less(f64::NAN, f64::INFINITY)), (Some(1.0), Some(1.0), Some(f64::INFINITY)));
        assert_eq!((greater(1.0_f32, 2.0), less(1.0_f32, 2.0)), (Some(2.0), Some(1.0)));
    }
}
