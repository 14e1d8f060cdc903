//! Names of functions, checked before planning, so that a misspelt one gets an error with its place and the nearest name; and each has one of its names.

use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::execution::session_state::SessionState;
use datafusion::sql::sqlparser::ast::{Expr, Function, Ident, ObjectNamePart, Statement, visit_expressions, visit_expressions_mut};
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

/// Functions that DataFusion plans otherwise when they have this name.
const PLANNED_BY_NAME: [&str; 2] = ["map", "make_map"];

/// Calls each function by its own name. Called by another one, such as `row`, DataFusion's planner puts an alias around it, and to tell the type of an alias it asks twice
/// for that of what is in it: of calls within calls, each level would double the time.
pub(super) fn by_own_names(statement: &mut Statement, state: &SessionState) {
    let _: ControlFlow<()> = visit_expressions_mut(statement, |expression| {
        if let Expr::Function(function) = expression
            && let [ObjectNamePart::Identifier(identifier)] = function.name.0.as_mut_slice()
            && let Some(own) = own_name(&normalized(identifier), state)
        {
            let is_plain = own.chars().all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_');
            identifier.value = own;
            identifier.quote_style = (!is_plain).then_some('"');
        }
        ControlFlow::Continue(())
    });
}

/// The name of a function that is called by another one of its names.
fn own_name(name: &str, state: &SessionState) -> Option<String> {
    let functions = state.scalar_functions();
    let called = functions.get(name)?;
    let own = called.name();
    let is_same = functions.get(own).is_some_and(|function| Arc::ptr_eq(function, called));
    (own != name && is_same && !PLANNED_BY_NAME.contains(&own)).then(|| own.to_owned())
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

#[cfg(test)]
mod tests {
    use datafusion::execution::session_state::SessionStateBuilder;

    use super::*;
    use crate::sql::{Statement as Parsed, parse};

    #[test]
    fn functions_have_their_own_names() {
        let state = SessionStateBuilder::new().with_default_features().build();
        let renamed = |sql: &str| {
            let Ok(Parsed::Query(query)) = parse(sql) else { panic!("{sql} is not a query") };
            let mut statement = Statement::Query(query);
            by_own_names(&mut statement, &state);
            statement.to_string()
        };
        assert_eq!(
            renamed("SELECT row(row(x), CHAR_LENGTH(y)) FROM t WHERE character_length(y) = 1"),
            "SELECT struct(struct(x), character_length(y)) FROM t WHERE character_length(y) = 1"
        );
        assert_eq!(renamed("SELECT nothing(x)"), "SELECT nothing(x)");
    }
}
