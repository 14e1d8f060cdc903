//! `WINDOW w AS (PARTITION BY ...)`: what `OVER w` and `OVER (w ROWS ...)` stand for. DataFusion reads the former in `SELECT` alone, and takes the latter for a window of
//! its own, of all rows.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, Ident, NamedWindowDefinition, NamedWindowExpr, Query, Select, SetExpr, WindowSpec, WindowType, visit_expressions_mut,
};
use nunatak_core::{Code, Error, Result};

use super::names::normalized;
use super::window_frames;

/// Writes out the windows that a query names. Those of queries within it come first.
///
/// Errors: `INVALID_WINDOW_REFERENCE` for a name that is none, or a window with a frame where another begins with it; `INVALID_PARTITION_BY` and `INVALID_ORDER_BY` where it is said again what the named window says.
pub(super) fn write_out(query: &mut Query) -> Result<()> {
    let SetExpr::Select(select) = query.body.as_ref() else { return Ok(()) };
    let windows = definitions(select)?;
    if windows.is_empty() {
        return Ok(());
    }
    let outcome = visit_expressions_mut(query, |expression| {
        let Expr::Function(function) = expression else { return ControlFlow::Continue(()) };
        match function.over.as_mut().map_or(Ok(()), |over| write_out_one(over, &windows)) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error),
        }
    });
    match outcome {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

/// The windows by name. One may begin with another one that stands before it.
fn definitions(select: &Select) -> Result<Vec<(String, WindowSpec)>> {
    let mut windows = Vec::new();
    for NamedWindowDefinition(name, window) in &select.named_window {
        let mut window = match window {
            NamedWindowExpr::NamedWindow(other) => find(other, &windows)?,
            NamedWindowExpr::WindowSpec(window) => whole(window.clone(), &windows)?,
        };
        window_frames::adapt(&mut window)?;
        windows.push((normalized(name), window));
    }
    Ok(windows)
}

fn write_out_one(over: &mut WindowType, windows: &[(String, WindowSpec)]) -> Result<()> {
    let mut window = match over {
        WindowType::NamedWindow(name) => find(name, windows)?,
        WindowType::WindowSpec(window) if window.window_name.is_some() => whole(window.clone(), windows)?,
        WindowType::WindowSpec(_) => return Ok(()),
    };
    window_frames::adapt(&mut window)?;
    *over = WindowType::WindowSpec(window);
    Ok(())
}

/// A window with what the one says whose name it begins with.
fn whole(mut window: WindowSpec, windows: &[(String, WindowSpec)]) -> Result<WindowSpec> {
    let Some(name) = window.window_name.take() else { return Ok(window) };
    let named = find(&name, windows)?;
    if !window.partition_by.is_empty() {
        let error =
            Error::new(Code::InvalidPartitionBy, format!("a window that begins with the window '{}' has no PARTITION BY of its own", name.value));
        return Err(error.with_hint("leave out one of the two"));
    }
    if !window.order_by.is_empty() && !named.order_by.is_empty() {
        let error = Error::new(Code::InvalidOrderBy, format!("the window '{}' has an ORDER BY already", name.value));
        return Err(error.with_hint("leave out one of the two"));
    }
    if named.window_frame.is_some() {
        let error =
            Error::new(Code::InvalidWindowReference, format!("the window '{}' has a frame, so no other window can begin with it", name.value));
        return Err(error.with_hint("give the frame in OVER (...)"));
    }
    let order_by = if window.order_by.is_empty() { named.order_by } else { window.order_by };
    Ok(WindowSpec { window_name: None, partition_by: named.partition_by, order_by, window_frame: window.window_frame })
}

fn find(name: &Ident, windows: &[(String, WindowSpec)]) -> Result<WindowSpec> {
    let wanted = normalized(name);
    let found = windows.iter().find(|(other, _)| *other == wanted).map(|(_, window)| window.clone());
    found.ok_or_else(|| Error::new(Code::InvalidWindowReference, format!("there is no window '{}' before here", name.value)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::{Statement, parse};

    fn written_out(sql: &str) -> Result<String> {
        let Ok(Statement::Query(mut query)) = parse(sql) else { panic!("{sql} is not a query") };
        write_out(&mut query).map(|()| query.to_string())
    }

    #[test]
    fn windows_are_written_out() {
        let windows = "WINDOW w AS (PARTITION BY k), v AS (w ORDER BY x)";
        assert_eq!(
            written_out(&format!("SELECT sum(x) OVER w, count(*) OVER (v ROWS 1 PRECEDING) FROM t {windows} ORDER BY rank() OVER v")).unwrap(),
            format!(
                "SELECT sum(x) OVER (PARTITION BY k), count(*) OVER (PARTITION BY k ORDER BY x ROWS 1 PRECEDING) FROM t {windows} \
                 ORDER BY rank() OVER (PARTITION BY k ORDER BY x)"
            )
        );
        for wrong in ["OVER nope", "OVER (w PARTITION BY x)", "OVER (v ORDER BY k)"] {
            assert!(written_out(&format!("SELECT sum(x) {wrong} FROM t {windows}")).is_err(), "{wrong}");
        }
    }
}
