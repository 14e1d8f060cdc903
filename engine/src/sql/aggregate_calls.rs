//! Calls of aggregate and window functions that DataFusion plans otherwise than Trino does: `max(x, n)` is another function than `max(x)`, offsets are checked, `lag` and `lead`
//! need an order, ranks are of type `bigint`, and the last argument of `lag` and `lead` may be a column.

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::{ScalarValue, not_impl_err};
use datafusion::error::Result;
use datafusion::logical_expr::expr::{NullTreatment, WindowFunction, WindowFunctionParams};
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawAggregateExpr, RawWindowExpr};
use datafusion::logical_expr::{AggregateUDF, Expr, WindowFunctionDefinition, cast, lit, when};
use nunatak_core::{Code, Error};
use nunatak_functions::aggregate::{aggregates, name_for};
use nunatak_functions::invalid;

use crate::error::into_datafusion;

/// Window functions that give a `bigint`, and in DataFusion an unsigned number: with it `row_number() - 1` would be a decimal.
const RANKS: [&str; 4] = ["row_number", "rank", "dense_rank", "ntile"];

/// Chooses the function for a call.
#[derive(Debug)]
pub(crate) struct AggregateCalls;

impl ExprPlanner for AggregateCalls {
    fn plan_aggregate(&self, mut call: RawAggregateExpr) -> Result<PlannerResult<RawAggregateExpr>> {
        if let Some(other) = other(&call.func, call.args.len()) {
            call.func = other;
        }
        Ok(PlannerResult::Original(call))
    }

    fn plan_window(&self, mut call: RawWindowExpr) -> Result<PlannerResult<RawWindowExpr>> {
        let name = call.func_def.name().to_owned();
        check_arguments(&name, &call.args)?;
        if matches!(name.as_str(), "lag" | "lead") && call.order_by.is_empty() {
            let missing = Error::new(Code::MissingOrderBy, format!("{name} needs an ORDER BY in its window"));
            return Err(into_datafusion(missing.with_hint(format!("write {name}(...) OVER (ORDER BY ...)"))));
        }
        if let WindowFunctionDefinition::AggregateUDF(function) = &call.func_def
            && let Some(other) = other(function, call.args.len())
        {
            call.func_def = WindowFunctionDefinition::AggregateUDF(other);
        }
        if RANKS.contains(&name.as_str()) {
            let rank = window(&call, call.args.clone(), call.filter.clone(), call.null_treatment);
            return Ok(PlannerResult::Planned(cast(rank, DataType::Int64)));
        }
        let of_rows = match (name.as_str(), call.args.as_slice()) {
            ("lag" | "lead", [value, offset, default]) if constant(offset).is_some() && !matches!(default, Expr::Literal(..)) => {
                Some((value.clone(), offset.clone(), default.clone()))
            }
            _ => None,
        };
        match of_rows {
            Some((value, offset, default)) => Ok(PlannerResult::Planned(with_default(&call, value, offset, default)?)),
            None => Ok(PlannerResult::Original(call)),
        }
    }
}

/// Checks what window functions take as constants. Errors: `INVALID_FUNCTION_ARGUMENT`; `NOT_SUPPORTED` for a place of `nth_value` that differs by rows.
fn check_arguments(name: &str, arguments: &[Expr]) -> Result<()> {
    match (name, arguments) {
        ("ntile", [count]) => check("the number of groups of ntile", constant(count), 1),
        ("nth_value", [_, place]) => match constant(place) {
            None => not_impl_err!("nth_value with a place that is no constant"),
            place => check("the place of nth_value", place, 1),
        },
        ("lag" | "lead", [_, offset, ..]) => check("the offset of lag and lead", constant(offset), 0),
        _ => Ok(()),
    }
}

fn other(function: &AggregateUDF, arguments: usize) -> Option<Arc<AggregateUDF>> {
    let name = name_for(function.name(), arguments);
    if name == function.name() { None } else { aggregates().iter().find(|other| other.name() == name).cloned() }
}

/// The whole number that an expression stands for, within another option: NULL; `None` if it is no constant.
fn constant(expression: &Expr) -> Option<Option<i64>> {
    match expression {
        Expr::Literal(value, _) if value.is_null() => Some(None),
        Expr::Literal(ScalarValue::Int64(number), _) => Some(*number),
        Expr::Literal(ScalarValue::Int32(number), _) => Some(number.map(i64::from)),
        Expr::Negative(inner) => constant(inner).map(|number| number.and_then(i64::checked_neg)),
        Expr::Cast(cast) => constant(&cast.expr),
        _ => None,
    }
}

/// That a constant is at least this. Errors: `INVALID_FUNCTION_ARGUMENT`.
fn check(what: &str, number: Option<Option<i64>>, least: i64) -> Result<()> {
    match number {
        Some(None) => Err(invalid(format!("{what} must not be NULL"))),
        Some(Some(number)) if number < least => Err(invalid(format!("{what} must be at least {least}, and is {number}"))),
        _ => Ok(()),
    }
}

/// `lag(x, n, d)` for a `d` of each row: DataFusion takes a constant only.
fn with_default(call: &RawWindowExpr, value: Expr, offset: Expr, default: Expr) -> Result<Expr> {
    let found = window(call, vec![value, offset.clone()], None, call.null_treatment);
    let is_there = match call.null_treatment {
        Some(NullTreatment::IgnoreNulls) => found.clone().is_not_null(),
        _ => window(call, vec![lit(true), offset, lit(false)], None, None),
    };
    when(is_there, found).otherwise(default)
}

/// A call over the same window, with these arguments.
fn window(call: &RawWindowExpr, args: Vec<Expr>, filter: Option<Box<Expr>>, null_treatment: Option<NullTreatment>) -> Expr {
    let params = WindowFunctionParams {
        args,
        partition_by: call.partition_by.clone(),
        order_by: call.order_by.clone(),
        window_frame: call.window_frame.clone(),
        filter,
        null_treatment,
        distinct: false,
    };
    Expr::WindowFunction(Box::new(WindowFunction { fun: call.func_def.clone(), params }))
}
