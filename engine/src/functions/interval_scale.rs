//! `$interval_times(interval, number)` and `$interval_divided(interval, number)`, which no statement can call: an interval multiplied and divided, as Trino does it. What is
//! left of a month is dropped.

use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, AsArray, PrimitiveArray};
use arrow::datatypes::{DataType, Float64Type, Int64Type, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit};
use datafusion::common::{DFSchema, ScalarValue, exec_err};
use datafusion::error::Result;
use datafusion::logical_expr::{
    BinaryExpr, ColumnarValue, Expr, ExprSchemable, Operator, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility, cast,
};
use nunatak_core::{Code, Error};

use super::whole_days::{interval, nanos};
use crate::error::into_datafusion;

const INTERVAL: DataType = DataType::Interval(IntervalUnit::MonthDayNano);

static TIMES: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| Arc::new(ScalarUDF::new_from_impl(IntervalScale::new(false))));
static DIVIDED: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| Arc::new(ScalarUDF::new_from_impl(IntervalScale::new(true))));

/// The functions.
pub fn functions() -> [Arc<ScalarUDF>; 2] {
    [Arc::clone(&TIMES), Arc::clone(&DIVIDED)]
}

/// `value * number`; `None` if these are not an interval (or the time between two moments) and a number.
pub fn times(value: &Expr, number: &Expr, schema: &DFSchema) -> Option<Expr> {
    scaled(&TIMES, value, number, schema)
}

/// `value / number`, in the same way.
pub fn divided(value: &Expr, number: &Expr, schema: &DFSchema) -> Option<Expr> {
    scaled(&DIVIDED, value, number, schema)
}

fn scaled(function: &ScalarUDF, value: &Expr, number: &Expr, schema: &DFSchema) -> Option<Expr> {
    // A product that is no call of ours is one of numbers; the type of a long one takes its time.
    if matches!(value, Expr::BinaryExpr(BinaryExpr { op: Operator::Multiply | Operator::Divide | Operator::Modulo, .. })) {
        return None;
    }
    let (DataType::Interval(_) | DataType::Duration(_)) = value.get_type(schema).ok()? else { return None };
    let number_type = match number.get_type(schema).ok()? {
        whole if whole.is_integer() => DataType::Int64,
        other if other.is_numeric() => DataType::Float64,
        _ => return None,
    };
    Some(function.call(vec![cast(value.clone(), INTERVAL), cast(number.clone(), number_type)]))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct IntervalScale {
    signature: Signature,
    divides: bool,
}

impl IntervalScale {
    fn new(divides: bool) -> Self {
        Self { signature: Signature::any(2, Volatility::Immutable), divides }
    }

    fn by_whole(&self, value: IntervalMonthDayNano, number: i64) -> Result<IntervalMonthDayNano> {
        let number = i128::from(number);
        match self.divides {
            true if number == 0 => Err(by_zero()),
            true => interval(i128::from(value.months) / number, divided_whole(nanos(value), number)),
            false => interval(i128::from(value.months).saturating_mul(number), nanos(value).saturating_mul(number)),
        }
    }

    fn by_float(&self, value: IntervalMonthDayNano, number: f64) -> Result<IntervalMonthDayNano> {
        if self.divides && number == 0.0 {
            return Err(by_zero());
        }
        let scaled = |length: f64| if self.divides { length / number } else { length * number };
        let (months, nanos) = (scaled(f64::from(value.months)), scaled(nanos(value) as f64));
        if !months.is_finite() || !nanos.is_finite() {
            return Err(into_datafusion(Error::new(Code::InvalidFunctionArgument, format!("an interval cannot be scaled by {number}"))));
        }
        // What is too large becomes the largest number, which is too large too.
        interval(months.trunc() as i128, nanos.round() as i128)
    }
}

fn by_zero() -> datafusion::error::DataFusionError {
    into_datafusion(Error::new(Code::InvalidFunctionArgument, "an interval is divided by zero"))
}

/// Halves go away from zero.
fn divided_whole(length: i128, number: i128) -> i128 {
    let (quotient, rest) = (length / number, length % number);
    let is_half = 2 * rest.abs() >= number.abs();
    if is_half { quotient + length.signum() * number.signum() } else { quotient }
}

impl ScalarUDFImpl for IntervalScale {
    fn name(&self) -> &str {
        if self.divides { "$interval_divided" } else { "$interval_times" }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(INTERVAL)
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&arguments.args)?;
        let [values, numbers] = arrays.as_slice() else { return exec_err!("{} takes an interval and a number", self.name()) };
        if values.data_type() != &INTERVAL {
            return exec_err!("{} does not take {}", self.name(), values.data_type());
        }
        let values = values.as_primitive::<IntervalMonthDayNanoType>();
        let scaled: PrimitiveArray<IntervalMonthDayNanoType> = match numbers.data_type() {
            DataType::Int64 => {
                let pairs = values.iter().zip(numbers.as_primitive::<Int64Type>().iter());
                pairs
                    .map(|(value, number)| value.zip(number).map(|(value, number)| self.by_whole(value, number)).transpose())
                    .collect::<Result<_>>()?
            }
            DataType::Float64 => {
                let pairs = values.iter().zip(numbers.as_primitive::<Float64Type>().iter());
                pairs
                    .map(|(value, number)| value.zip(number).map(|(value, number)| self.by_float(value, number)).transpose())
                    .collect::<Result<_>>()?
            }
            other => return exec_err!("{} does not take {other}", self.name()),
        };
        let scaled: ArrayRef = Arc::new(scaled);
        match arguments.args.iter().all(|argument| matches!(argument, ColumnarValue::Scalar(_))) {
            true => Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&scaled, 0)?)),
            false => Ok(ColumnarValue::Array(scaled)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000_000_000;

    fn of(months: i32, days: i32, nanoseconds: i64) -> IntervalMonthDayNano {
        IntervalMonthDayNano { months, days, nanoseconds }
    }

    #[test]
    fn intervals_are_multiplied_and_divided() {
        let (times, divided) = (IntervalScale::new(false), IntervalScale::new(true));
        assert_eq!(times.by_whole(of(0, 1, 12 * HOUR), 2).unwrap(), of(0, 3, 0));
        assert_eq!(times.by_whole(of(2, 0, 0), -3).unwrap(), of(-6, 0, 0));
        assert_eq!(times.by_float(of(0, 1, 0), 0.5).unwrap(), of(0, 0, 12 * HOUR));
        assert_eq!(divided.by_whole(of(0, 1, 0), 2).unwrap(), of(0, 0, 12 * HOUR));
        assert_eq!(divided.by_whole(of(5, 0, 0), -2).unwrap(), of(-2, 0, 0));
        assert_eq!(times.by_float(of(-1, 0, 0), 1.9).unwrap(), of(-1, 0, 0));
        assert!(divided.by_whole(of(0, 1, 0), 0).is_err() && divided.by_float(of(0, 1, 0), 0.0).is_err());
        assert!(times.by_whole(of(0, i32::MAX, 0), i64::MAX).is_err() && times.by_float(of(0, 1, 0), f64::NAN).is_err());
    }
}
