//! Functions of our own. They go to every session that makes or runs plans: executors find them by their names.

pub mod column_cast;
pub mod range_of;
pub mod rename_fields;
pub mod single_value;
pub mod theta_sketch;
pub mod zorder;

use std::sync::{Arc, LazyLock};

use datafusion::logical_expr::{AggregateUDF, ScalarUDF};

use crate::transform;

static AGGREGATES: LazyLock<Vec<Arc<AggregateUDF>>> = LazyLock::new(|| vec![theta_sketch::function(), single_value::function()]);

/// All scalar functions, the partition transforms included.
pub fn scalars() -> impl Iterator<Item = Arc<ScalarUDF>> {
    let others = [zorder::function(), rename_fields::function(), column_cast::function(), range_of::range_of(), range_of::hash_of()];
    transform::functions::all().iter().map(Arc::clone).chain(others)
}

/// All aggregate functions.
pub fn aggregates() -> &'static [Arc<AggregateUDF>] {
    &AGGREGATES
}
