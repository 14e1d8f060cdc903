//! `OVER (ORDER BY x)` where `x` are rows or bytes: DataFusion has no `RANGE` of these, though all that is wanted is where the rows of one value end, which `GROUPS` says as
//! well.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::DFSchema;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::logical_expr::expr::{WindowFunction, WindowFunctionParams};
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, WindowFrame, WindowFrameBound, WindowFrameUnits};
use datafusion::optimizer::AnalyzerRule;
use nunatak_core::{Code, Error};

use super::map_expressions;
use crate::error::into_datafusion;

/// The rule. It comes before DataFusion looks at the types of frames.
#[derive(Debug)]
pub(super) struct WindowOrder;

impl AnalyzerRule for WindowOrder {
    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        map_expressions(plan, &|schema, expression| {
            expression.transform_up(|expression| match expression {
                Expr::WindowFunction(window) if has_extreme_of_maps(&window, schema) => {
                    let message = format!("function '{}' does not take maps, which have no order", window.fun.name());
                    Err(into_datafusion(Error::new(Code::FunctionNotFound, message)))
                }
                Expr::WindowFunction(mut window) if wants_groups(&window.params, schema)? => {
                    let frame = &window.params.window_frame;
                    window.params.window_frame =
                        WindowFrame::new_bounds(WindowFrameUnits::Groups, frame.start_bound.clone(), frame.end_bound.clone());
                    Ok(Transformed::yes(Expr::WindowFunction(window)))
                }
                other => Ok(Transformed::no(other)),
            })
        })
    }

    fn name(&self) -> &str {
        "window_order"
    }
}

/// Whether a window has the least or the greatest of maps. Without a window such a function is refused where its types are looked at.
fn has_extreme_of_maps(window: &WindowFunction, schema: &DFSchema) -> bool {
    let is_map = |value: &Expr| value.get_type(schema).is_ok_and(|data_type| matches!(data_type, DataType::Map(..)));
    matches!(window.fun.name(), "max" | "min") && window.params.args.first().is_some_and(is_map)
}

/// Whether a window has a `RANGE` that goes from and to rows of one value, or all, of a type that DataFusion has none of. Errors: `TYPE_MISMATCH` for maps, which have no order.
fn wants_groups(window: &WindowFunctionParams, schema: &DFSchema) -> Result<bool> {
    let frame = &window.window_frame;
    let Some(Ok(data_type)) = window.order_by.first().map(|key| key.expr.get_type(schema)) else { return Ok(false) };
    if matches!(data_type, DataType::Map(..)) {
        return Err(into_datafusion(Error::new(Code::TypeMismatch, "maps have no order: a window cannot be sorted by them")));
    }
    let is_plain = |bound: &WindowFrameBound| bound.is_unbounded() || matches!(bound, WindowFrameBound::CurrentRow);
    let has_no_range =
        matches!(data_type, DataType::Struct(_) | DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_));
    Ok(has_no_range && frame.units == WindowFrameUnits::Range && is_plain(&frame.start_bound) && is_plain(&frame.end_bound))
}
