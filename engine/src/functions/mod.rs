//! Functions of our own, some in place of DataFusion's of that name. They go to every session that makes or runs plans: executors find them by their names.

pub mod apart;
pub mod array_numbers;
pub mod attempt;
pub mod column_cast;
pub mod date_bin;
pub mod date_trunc;
pub mod few_values;
mod hex_floats;
pub mod in_calendar;
pub mod interval_order;
pub mod interval_scale;
pub mod listing;
mod map_keys;
pub mod now;
pub mod number_cast;
mod plain_cast;
pub mod range_of;
#[cfg(test)]
mod reference;
pub mod rename_fields;
pub mod row_of_nulls;
pub mod same_value;
pub mod single_value;
pub mod text_cast;
pub mod theta_sketch;
pub mod unnest_rows;
pub mod whole_days;
pub mod whole_millis;
pub mod zorder;

use std::sync::{Arc, LazyLock};

use datafusion::logical_expr::{AggregateUDF, HigherOrderUDF, ScalarUDF};

use crate::transform;

static AGGREGATES: LazyLock<Vec<Arc<AggregateUDF>>> = LazyLock::new(|| {
    let ours = [theta_sketch::function(), single_value::function(), few_values::few_values()];
    ours.into_iter().chain(nunatak_functions::aggregates().iter().map(Arc::clone)).collect()
});

/// All scalar functions, the partition transforms included.
pub fn scalars() -> impl Iterator<Item = Arc<ScalarUDF>> {
    let casts = [rename_fields::function(), column_cast::function(), number_cast::function(), same_value::nullable(), apart::function()];
    let times = [date_bin::function(), date_trunc::function(), interval_order::function(), now::function()];
    let checks = [in_calendar::function(), whole_days::function(), whole_millis::function(), same_value::without_id(), row_of_nulls::function()];
    let others = [few_values::only_value(), zorder::function(), range_of::range_of(), range_of::hash_of(), unnest_rows::function()];
    transform::functions::all()
        .iter()
        .map(Arc::clone)
        .chain(casts)
        .chain(times)
        .chain(checks)
        .chain(interval_scale::functions())
        .chain(others)
        .chain(array_numbers::all().iter().map(Arc::clone))
        .chain(nunatak_functions::scalars().iter().map(Arc::clone))
}

/// All functions that take functions.
pub fn higher_order() -> impl Iterator<Item = Arc<HigherOrderUDF>> {
    nunatak_functions::lambda::functions().iter().map(Arc::clone).chain([attempt::function()])
}

/// All aggregate functions.
pub fn aggregates() -> &'static [Arc<AggregateUDF>] {
    &AGGREGATES
}
