//! Compares dates, texts and times of day as the columns of tables have them, in microseconds. DataFusion compares dates and texts with timestamps in
//! nanoseconds, which reach from 1677 to 2262 only, and does not compare times of day of different units.

use datafusion::arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::DFSchema;
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, cast};
use datafusion::optimizer::AnalyzerRule;

use super::map_compared;

/// Where timestamps are compared with dates or texts, these become timestamps of microseconds, unless there are some of nanoseconds. Times of day
/// become of one unit.
#[derive(Debug, Default)]
pub(super) struct TemporalComparisons;

impl AnalyzerRule for TemporalComparisons {
    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        map_compared(plan, &adapt)
    }

    fn name(&self) -> &str {
        "temporal_comparisons"
    }
}

fn adapt(schema: &DFSchema, compared: &mut [&mut Expr]) -> Result<bool> {
    // What has no type yet is left as it is.
    let types: Vec<Option<DataType>> = compared.iter().map(|expression| expression.get_type(schema).ok()).collect();
    let Some(common) = common_type(&types.iter().flatten().collect::<Vec<_>>()) else { return Ok(false) };
    let mut changed = false;
    for (expression, data_type) in compared.iter_mut().zip(&types) {
        if data_type.as_ref().is_some_and(|data_type| takes(&common, data_type)) {
            **expression = cast(std::mem::take(&mut **expression), common.clone());
            changed = true;
        }
    }
    Ok(changed)
}

/// The type that some of the compared values are to have; `None` if DataFusion makes them alike as they should be.
fn common_type(types: &[&DataType]) -> Option<DataType> {
    let of_nanoseconds = types.iter().any(|data_type| matches!(data_type, DataType::Timestamp(TimeUnit::Nanosecond, _)));
    let zone = types.iter().find_map(|data_type| if let DataType::Timestamp(_, zone) = data_type { Some(zone) } else { None });
    if let Some(zone) = zone {
        return (!of_nanoseconds).then(|| DataType::Timestamp(TimeUnit::Microsecond, zone.clone()));
    }
    let mut units = types.iter().filter_map(|data_type| if let DataType::Time64(unit) = data_type { Some(unit) } else { None });
    let first = units.next()?;
    units.any(|unit| unit != first).then_some(DataType::Time64(TimeUnit::Nanosecond))
}

/// Whether values of a type are cast to the common one.
fn takes(common: &DataType, data_type: &DataType) -> bool {
    match data_type {
        DataType::Date32 | DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => matches!(common, DataType::Timestamp(..)),
        DataType::Time64(_) => matches!(common, DataType::Time64(_)) && data_type != common,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_compared_by_microseconds() {
        let (micros, nanos) = (DataType::Timestamp(TimeUnit::Microsecond, None), DataType::Timestamp(TimeUnit::Nanosecond, None));
        let time = DataType::Time64;
        assert_eq!(common_type(&[&micros, &DataType::Date32]), Some(micros.clone()));
        assert_eq!(common_type(&[&DataType::Utf8, &micros, &nanos]), None);
        assert_eq!(common_type(&[&time(TimeUnit::Microsecond), &time(TimeUnit::Nanosecond)]), Some(time(TimeUnit::Nanosecond)));
        assert_eq!(common_type(&[&time(TimeUnit::Microsecond), &time(TimeUnit::Microsecond)]), None);
        assert!(takes(&micros, &DataType::Date32) && !takes(&micros, &micros) && !takes(&time(TimeUnit::Nanosecond), &DataType::Utf8));
    }
}
