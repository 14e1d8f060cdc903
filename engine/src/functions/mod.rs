//! Functions of our own. They go to every session that makes or runs plans: executors find them by their names.

pub mod theta_sketch;

use std::sync::{Arc, LazyLock};

use datafusion::logical_expr::AggregateUDF;

static AGGREGATES: LazyLock<Vec<Arc<AggregateUDF>>> = LazyLock::new(|| vec![theta_sketch::function()]);

/// All aggregate functions.
pub fn aggregates() -> &'static [Arc<AggregateUDF>] {
    &AGGREGATES
}
