//! The place of an error in the statement, where DataFusion names the thing but not the place.

use std::collections::HashMap;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{Expr, Ident, ObjectName, ObjectNamePart, Statement, visit_expressions};
use nunatak_core::{Code, Error, Location};

use super::names::normalized;

/// Where each name of a column or function first stands in a statement. Taken before planning, which uses the statement up.
pub(super) struct Places(HashMap<String, Location>);

impl Places {
    /// The places in a statement.
    pub(super) fn of(statement: &Statement) -> Self {
        let mut places = HashMap::new();
        let mut add = |identifier: &Ident| {
            let start = identifier.span.start;
            if start.line > 0 {
                places.entry(normalized(identifier)).or_insert(Location { line: start.line, column: start.column });
            }
        };
        let _: ControlFlow<()> = visit_expressions(statement, |expression| {
            match expression {
                Expr::Identifier(identifier) => add(identifier),
                Expr::CompoundIdentifier(parts) => parts.iter().for_each(&mut add),
                Expr::Function(function) => {
                    if let Some(ObjectNamePart::Identifier(identifier)) = function.name.0.last() {
                        add(identifier);
                    }
                }
                _ => {}
            }
            ControlFlow::Continue(())
        });
        Self(places)
    }

    /// Adds the place of the function or column that the error names first, if it has none yet.
    pub(super) fn add_to(&self, error: Error) -> Error {
        if error.location().is_some() || !matches!(error.code(), Code::FunctionNotFound | Code::ColumnNotFound) {
            return error;
        }
        let name = error.message().split('\'').nth(1).and_then(|quoted| quoted.rsplit('.').next());
        match name.and_then(|name| self.0.get(name)).copied() {
            Some(location) => error.at(location),
            None => error,
        }
    }
}

/// Where a name stands in the text.
pub fn start_of(name: &ObjectName) -> Option<Location> {
    match name.0.first() {
        Some(ObjectNamePart::Identifier(first)) if first.span.start.line > 0 => {
            Some(Location { line: first.span.start.line, column: first.span.start.column })
        }
        _ => None,
    }
}
