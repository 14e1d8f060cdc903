//! Changes to parsed queries, where DataFusion plans them otherwise than Trino does.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, Fetch, FunctionArguments, Ident, LimitClause, ObjectNamePart, Query, Statement, Value, VisitMut, VisitorMut,
};
use nunatak_core::{Error, Result};

use super::names::normalized;

/// What a session says of itself.
pub(super) struct SessionNames<'a> {
    pub(super) user: &'a str,
    pub(super) catalog: &'a str,
    pub(super) schema: Option<&'a str>,
}

/// Turns `FETCH FIRST n ROWS ONLY` into a limit, and `current_user`, `current_catalog`, `current_schema` and `version()`
/// into their values.
pub(super) fn adapt(statement: &mut Statement, session: SessionNames<'_>) -> Result<()> {
    match statement.visit(&mut Adapter { session }) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

struct Adapter<'a> {
    session: SessionNames<'a>,
}

impl VisitorMut for Adapter<'_> {
    type Break = Error;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Error> {
        let Some(fetch) = query.fetch.take() else { return ControlFlow::Continue(()) };
        match limit(fetch, query.limit_clause.take()) {
            Ok(clause) => {
                query.limit_clause = Some(clause);
                ControlFlow::Continue(())
            }
            Err(error) => ControlFlow::Break(error),
        }
    }

    fn pre_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<Error> {
        let value = match expression {
            Expr::Function(function) => match function.name.0.as_slice() {
                [ObjectNamePart::Identifier(name)] => self.value(name, &function.args),
                _ => None,
            },
            Expr::Identifier(name) if name.quote_style.is_none() => self.value(name, &FunctionArguments::None),
            _ => None,
        };
        if let Some(value) = value {
            *expression = Expr::Value(value.into());
        }
        ControlFlow::Continue(())
    }
}

impl Adapter<'_> {
    fn value(&self, name: &Ident, arguments: &FunctionArguments) -> Option<Value> {
        let text = |text: &str| Value::SingleQuotedString(text.to_owned());
        match normalized(name).as_str() {
            "current_user" => Some(text(self.session.user)),
            "current_catalog" => Some(text(self.session.catalog)),
            "current_schema" => Some(self.session.schema.map_or(Value::Null, text)),
            "version" if matches!(arguments, FunctionArguments::List(list) if list.args.is_empty()) => Some(text(env!("CARGO_PKG_VERSION"))),
            _ => None,
        }
    }
}

fn limit(fetch: Fetch, clause: Option<LimitClause>) -> Result<LimitClause> {
    if fetch.with_ties || fetch.percent {
        return Err(Error::not_supported("FETCH FIRST is supported with ROWS ONLY, not with PERCENT or WITH TIES"));
    }
    let one = || Expr::Value(Value::Number("1".to_owned(), false).into());
    let offset = match clause {
        None => None,
        Some(LimitClause::LimitOffset { limit: None, offset, .. }) => offset,
        Some(_) => return Err(Error::not_supported("LIMIT and FETCH FIRST together are not supported").with_hint("leave one of them out")),
    };
    Ok(LimitClause::LimitOffset { limit: Some(fetch.quantity.unwrap_or_else(one)), offset, limit_by: Vec::new() })
}
