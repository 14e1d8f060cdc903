//! Changes to parsed queries, where DataFusion plans them otherwise than Trino does.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    AccessExpr, Array, CastKind, DataType, ExactNumberInfo, Expr, Fetch, Function, FunctionArg, FunctionArgExpr, FunctionArguments, GroupByExpr,
    Ident, LambdaFunction, LimitClause, ObjectNamePart, Query, Select, SetExpr, Subscript, Value, ValueWithSpan, VisitMut, VisitorMut, WindowType,
    visit_expressions, visit_expressions_mut,
};
use nunatak_core::{Code, Error, Result};

use super::names::normalized;
use super::temporal_types::{check_literal, type_literal};
use super::{
    aggregate_syntax, cast_names, grouping_sets, like_patterns, named_windows, special_forms, text_results, ties, times, values, window_frames,
    word_arguments,
};

/// What has its value by the session, or by the server that it is at.
const OF_SESSION: [&str; 6] = ["current_user", "current_catalog", "current_schema", "current_path", "current_timezone", "version"];

/// What a session says of itself.
pub(super) struct SessionNames<'a> {
    pub(super) user: &'a str,
    pub(super) catalog: &'a str,
    pub(super) schema: Option<&'a str>,
    pub(super) time_zone: &'a str,
    pub(super) path: &'a str,
}

/// Turns `FETCH FIRST n ROWS` into a limit, numbers with an exponent into doubles, and `current_user`, `current_catalog`,
/// `current_schema`, `current_path` and `version()` into their values; functions with words among their arguments become plain calls, literals get their types, functions of
/// time the session's zone, `MAP()` its arrays, casts that would be left out of names a function around what is cast, calls of aggregates in a syntax of their own become
/// plain ones, windows are written out where they are named, and `VALUES` with subqueries become a union. `node` is a statement or a part of one.
pub(super) fn adapt(node: &mut impl VisitMut, session: SessionNames<'_>) -> Result<()> {
    match node.visit(&mut Adapter { session, rows: 0 }) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

/// Whether an expression asks for what the session is: another one would have another value.
pub(super) fn names_session(expression: &Expr) -> bool {
    let is_one = |name: &Ident| OF_SESSION.contains(&normalized(name).as_str());
    let found = visit_expressions(expression, |part| {
        let named = match part {
            Expr::Identifier(name) => name.quote_style.is_none() && is_one(name),
            Expr::Function(function) => matches!(function.name.0.as_slice(), [ObjectNamePart::Identifier(name)] if is_one(name)),
            _ => false,
        };
        if named { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    found.is_break()
}

struct Adapter<'a> {
    session: SessionNames<'a>,
    /// In how many `VALUES`, one within the other, this is.
    rows: usize,
}

impl VisitorMut for Adapter<'_> {
    type Break = Error;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Error> {
        if let Err(error) = values::split(&mut query.body) {
            return ControlFlow::Break(error);
        }
        cast_names::tell_apart(query);
        self.rows += usize::from(matches!(*query.body, SetExpr::Values(_)));
        let Some(fetch) = query.fetch.take() else { return ControlFlow::Continue(()) };
        match limit(fetch, query.limit_clause.take(), query.order_by.is_some()) {
            Ok(clause) => {
                query.limit_clause = Some(clause);
                ControlFlow::Continue(())
            }
            Err(error) => ControlFlow::Break(error),
        }
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<Error> {
        if let Err(error) = grouping_sets::adapt(select) {
            return ControlFlow::Break(error);
        }
        adapt_group_by(&mut select.group_by);
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<Error> {
        self.rows = self.rows.saturating_sub(usize::from(matches!(*query.body, SetExpr::Values(_))));
        match named_windows::write_out(query) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error),
        }
    }

    /// In `VALUES` all moments of a column have one type, so that they have the session's zone.
    fn post_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<Error> {
        if let Expr::Function(Function { over: Some(WindowType::WindowSpec(window)), .. }) = expression
            && let Err(error) = window_frames::adapt(window)
        {
            return ControlFlow::Break(error);
        }
        match times::adapt(expression, self.session.time_zone, self.rows == 0) {
            Ok(()) => {
                text_results::make_plain(expression);
                ControlFlow::Continue(())
            }
            Err(error) => ControlFlow::Break(error),
        }
    }

    fn pre_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<Error> {
        word_arguments::to_call(expression);
        reach_into_values(expression);
        let value = match expression {
            Expr::TypedString(literal) => {
                type_literal(literal);
                if let Err(error) = check_literal(literal) {
                    return ControlFlow::Break(error);
                }
                None
            }
            Expr::Function(function) => {
                complete(function);
                if let Err(error) = aggregate_syntax::adapt(function) {
                    return ControlFlow::Break(error);
                }
                match function.name.0.as_slice() {
                    [ObjectNamePart::Identifier(name)] => self.value(name, &function.args),
                    _ => None,
                }
            }
            Expr::Lambda(function) => {
                reach_into_parameters(function);
                None
            }
            Expr::Identifier(name) if name.quote_style.is_none() => self.value(name, &FunctionArguments::None),
            _ => None,
        };
        as_double(expression);
        if let Err(error) = like_patterns::adapt(expression).and_then(|()| special_forms::adapt(expression)) {
            return ControlFlow::Break(error);
        }
        if let Some(value) = value {
            *expression = Expr::Value(value.into());
        }
        ControlFlow::Continue(())
    }
}

/// `MAP()` becomes `MAP(ARRAY[], ARRAY[])`. DataFusion refuses it before it looks for the function.
fn complete(function: &mut Function) {
    let is_map = matches!(function.name.0.as_slice(), [ObjectNamePart::Identifier(name)] if normalized(name) == "map");
    if let FunctionArguments::List(list) = &mut function.args
        && is_map
        && list.args.is_empty()
    {
        let nothing = || FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Array(Array { elem: Vec::new(), named: true })));
        list.args.extend([nothing(), nothing()]);
    }
}

/// `r -> r.x` becomes `r -> r['x']`: DataFusion takes `r` for a relation.
fn reach_into_parameters(function: &mut LambdaFunction) {
    let parameters: Vec<String> = function.params.iter().map(|parameter| normalized(&parameter.name)).collect();
    let _: ControlFlow<()> = visit_expressions_mut(&mut function.body, |expression| {
        let reached = match expression {
            Expr::CompoundIdentifier(parts) => parts.split_first().filter(|(first, _)| parameters.contains(&normalized(first))),
            _ => None,
        };
        if let Some((first, fields)) = reached {
            let (root, access_chain) = (Box::new(Expr::Identifier(first.clone())), fields.iter().map(field).collect());
            *expression = Expr::CompoundFieldAccess { root, access_chain };
        }
        ControlFlow::Continue(())
    });
}

/// The field of a row, as DataFusion takes it out of any expression.
fn field(name: &Ident) -> AccessExpr {
    AccessExpr::Subscript(Subscript::Index { index: Expr::Value(Value::SingleQuotedString(normalized(name)).into()) })
}

/// `f(a).x` and `a[1].x` become `f(a)['x']` and `a[1]['x']`. What comes before them may be a name of several parts.
fn reach_into_values(expression: &mut Expr) {
    let Expr::CompoundFieldAccess { root, access_chain } = expression else { return };
    let is_dot = |access: &AccessExpr| matches!(access, AccessExpr::Dot(Expr::Identifier(_)));
    let start = match is_name(root) {
        true => access_chain.iter().position(|access| !is_dot(access)).unwrap_or(access_chain.len()),
        false => 0,
    };
    for access in access_chain.iter_mut().skip(start) {
        if let AccessExpr::Dot(Expr::Identifier(name)) = access {
            *access = field(name);
        }
    }
}

fn is_name(expression: &Expr) -> bool {
    match expression {
        Expr::Identifier(_) | Expr::CompoundIdentifier(_) => true,
        Expr::Nested(inner) => is_name(inner),
        _ => false,
    }
}

/// `GROUP BY AUTO` becomes `GROUP BY ALL`, and `GROUP BY ()` the one grouping set that has no columns.
fn adapt_group_by(group_by: &mut GroupByExpr) {
    let adapted = match group_by {
        GroupByExpr::Expressions(items, modifiers) if modifiers.is_empty() => match items.as_slice() {
            [Expr::Identifier(name)] if name.quote_style.is_none() && name.value.eq_ignore_ascii_case("auto") => GroupByExpr::All(Vec::new()),
            [Expr::Tuple(nothing)] if nothing.is_empty() => GroupByExpr::Expressions(vec![Expr::GroupingSets(vec![Vec::new()])], Vec::new()),
            _ => return,
        },
        _ => return,
    };
    *group_by = adapted;
}

/// The text of a number.
fn number(expression: &mut Expr) -> Option<&mut String> {
    match expression {
        Expr::Value(ValueWithSpan { value: Value::Number(text, _), .. }) => Some(text),
        _ => None,
    }
}

/// Makes a double of a number that is written with an exponent. DataFusion reads a decimal.
fn as_double(expression: &mut Expr) {
    if let Some(text) = number(expression).filter(|text| text.contains(['e', 'E'])) {
        let text = Box::new(Expr::Value(Value::SingleQuotedString(std::mem::take(text)).into()));
        *expression = Expr::Cast { kind: CastKind::Cast, expr: text, data_type: DataType::Double(ExactNumberInfo::None), array: false, format: None };
    }
}

impl Adapter<'_> {
    fn value(&self, name: &Ident, arguments: &FunctionArguments) -> Option<Value> {
        let text = |text: &str| Value::SingleQuotedString(text.to_owned());
        match normalized(name).as_str() {
            "current_user" => Some(text(self.session.user)),
            "current_catalog" => Some(text(self.session.catalog)),
            "current_schema" => Some(self.session.schema.map_or(Value::Null, text)),
            "current_path" => Some(text(self.session.path)),
            "version" if matches!(arguments, FunctionArguments::List(list) if list.args.is_empty()) => Some(text(env!("CARGO_PKG_VERSION"))),
            _ => None,
        }
    }
}

/// `FETCH FIRST` as a limit. Errors: `MISSING_ORDER_BY` for ties without an order, `NUMERIC_VALUE_OUT_OF_RANGE` for no rows at all, `NOT_SUPPORTED` for a part of the rows.
fn limit(fetch: Fetch, clause: Option<LimitClause>, is_ordered: bool) -> Result<LimitClause> {
    if fetch.percent {
        return Err(Error::not_supported("FETCH FIRST is supported with a number of rows, not with PERCENT"));
    }
    if fetch.with_ties && !is_ordered {
        return Err(
            Error::new(Code::MissingOrderBy, "FETCH FIRST WITH TIES needs an ORDER BY").with_hint("say by what rows are equal, or write ONLY")
        );
    }
    let mut count = fetch.quantity.unwrap_or_else(|| Expr::Value(Value::Number("1".to_owned(), false).into()));
    if number(&mut count).is_some_and(|digits| digits.parse::<u64>() == Ok(0)) {
        return Err(Error::new(Code::NumericValueOutOfRange, "FETCH FIRST takes 1 row or more, not 0").with_hint("LIMIT 0 gives no rows"));
    }
    let offset = match clause {
        None => None,
        Some(LimitClause::LimitOffset { limit: None, offset, .. }) => offset,
        Some(_) => return Err(Error::not_supported("LIMIT and FETCH FIRST together are not supported").with_hint("leave one of them out")),
    };
    let count = if fetch.with_ties { ties::marked(count) } else { count };
    Ok(LimitClause::LimitOffset { limit: Some(count), offset, limit_by: Vec::new() })
}
