//! Functions of our own. They go to every session that makes or runs plans: executors find them by their names.

pub mod rename_fields;
pub mod single_value;
pub mod theta_sketch;
pub mod zorder;

use std::sync::{Arc, LazyLock};

use datafusion::logical_expr::{AggregateUDF, ScalarUDF};

static AGGREGATES: LazyLock<Vec<Arc<AggregateUDF>>> = LazyLock::new(|| vec![theta_sketch::function(), single_value::function()]);

/// All scalar functions, apart from the partition transforms.
pub fn scalars() -> Vec<Arc<ScalarUDF>> {
    vec![zorder::function(), rename_fields::function()]
}

/// All aggregate functions.
pub fn aggregates() -> &'static [Arc<AggregateUDF>] {
    &AGGREGATES
}
