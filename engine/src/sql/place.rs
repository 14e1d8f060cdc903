//! The place of an error in the statement, where DataFusion names the thing but not the place.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{Expr, Ident, ObjectNamePart, Statement, visit_expressions};
use nunatak_core::{Code, Error, Location};

use super::names::normalized;

/// Adds the place of the function or column that the error names first, if it has none yet.
pub(super) fn with_place(error: Error, statement: &Statement) -> Error {
    if error.location().is_some() || !matches!(error.code(), Code::FunctionNotFound | Code::ColumnNotFound) {
        return error;
    }
    let Some(name) = error.message().split('\'').nth(1).and_then(|quoted| quoted.rsplit('.').next()).map(str::to_owned) else { return error };
    match place_of(&name, statement) {
        Some(location) => error.at(location),
        None => error,
    }
}

fn place_of(name: &str, statement: &Statement) -> Option<Location> {
    let is_it = |identifier: &&Ident| normalized(identifier) == name && identifier.span.start.line > 0;
    let found = visit_expressions(statement, |expression| {
        let identifier = match expression {
            Expr::Identifier(identifier) => Some(identifier).filter(is_it),
            Expr::CompoundIdentifier(parts) => parts.iter().find(is_it),
            Expr::Function(function) => match function.name.0.last() {
                Some(ObjectNamePart::Identifier(identifier)) => Some(identifier).filter(is_it),
                _ => None,
            },
            _ => None,
        };
        match identifier {
            Some(found) => ControlFlow::Break(Location { line: found.span.start.line, column: found.span.start.column }),
            None => ControlFlow::Continue(()),
        }
    });
    found.break_value()
}
