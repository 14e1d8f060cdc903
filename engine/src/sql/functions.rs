//! Names of functions, checked before planning, so that a misspelt one gets an error with its place and the nearest name.

use std::ops::ControlFlow;

use datafusion::execution::session_state::SessionState;
use datafusion::sql::sqlparser::ast::{Expr, Function, Ident, ObjectNamePart, Statement, visit_expressions};
use nunatak_core::{Code, Error, Location, Result};

use super::names::normalized;
use crate::error::suggest;

/// Functions that DataFusion's planner knows without their being registered.
const BUILT_IN: [&str; 3] = ["unnest", "row", "struct"];

/// Checks that every function that the statement calls exists. Errors: `FUNCTION_NOT_FOUND`.
pub(super) fn check(statement: &Statement, state: &SessionState) -> Result<()> {
    let found = visit_expressions(statement, |expression| match expression {
        Expr::Function(function) => match unknown(function, state) {
            Some(error) => ControlFlow::Break(error),
            None => ControlFlow::Continue(()),
        },
        _ => ControlFlow::Continue(()),
    });
    match found {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

fn unknown(function: &Function, state: &SessionState) -> Option<Error> {
    let [ObjectNamePart::Identifier(identifier)] = function.name.0.as_slice() else { return None };
    let name = normalized(identifier);
    if is_known(&name, state) {
        return None;
    }
    // It looks like a function without a type, and is none.
    if name == "cast" && identifier.quote_style.is_none() {
        return Some(located(Error::new(Code::SyntaxError, "a cast is written CAST(value AS type)"), identifier));
    }
    let error = Error::new(Code::FunctionNotFound, format!("function '{name}' does not exist")).with_hint("SHOW FUNCTIONS lists them");
    Some(located(suggest(error, &name, names(state)), identifier))
}

fn located(error: Error, identifier: &Ident) -> Error {
    let start = identifier.span.start;
    if start.line > 0 { error.at(Location { line: start.line, column: start.column }) } else { error }
}

fn is_known(name: &str, state: &SessionState) -> bool {
    BUILT_IN.contains(&name)
        || state.scalar_functions().contains_key(name)
        || state.aggregate_functions().contains_key(name)
        || state.window_functions().contains_key(name)
        || state.higher_order_functions().contains_key(name)
        || state.table_functions().contains_key(name)
}

fn names(state: &SessionState) -> impl Iterator<Item = &str> {
    let registered = state.scalar_functions().keys().chain(state.aggregate_functions().keys()).chain(state.window_functions().keys());
    registered.chain(state.higher_order_functions().keys()).map(String::as_str).chain(BUILT_IN)
}
