//! `avg(x), avg(CAST(x AS double))`, and `GROUP BY x, CAST(x AS date)`: DataFusion leaves casts out of the names of expressions, and refuses two of one name. In a query with
//! such, what is cast is given to a function that gives it back, whose name tells the two apart, by the type that it is cast to.

use std::collections::HashMap;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    DataType, Expr, GroupByExpr, Query, Select, SelectItem, SetExpr, Value, ValueWithSpan, visit_expressions, visit_expressions_mut,
};

use super::special_forms::{call, null};
use crate::functions::apart;

/// Tells apart what has one name in a query.
pub(super) fn tell_apart(query: &mut Query) {
    if !has_cast(query) || !have_one_name(query) {
        return;
    }
    let _: ControlFlow<()> = visit_expressions_mut(query, |expression| {
        if let Expr::Cast { expr, data_type, .. } = expression
            && !matches!(expr.as_ref(), Expr::Value(_) | Expr::TypedString(_))
        {
            **expr = call(apart::NAME, vec![std::mem::replace(expr.as_mut(), null()), type_text(data_type)]);
        }
        ControlFlow::Continue(())
    });
}

/// The type of a cast, as a text: there may be casts of one value to several types. A type has one name, whichever of its words stands in the statement.
fn type_text(data_type: &DataType) -> Expr {
    let text = match data_type {
        DataType::Int(None) => "integer".to_owned(),
        data_type => data_type.to_string().to_lowercase(),
    };
    Expr::Value(Value::SingleQuotedString(text).into())
}

fn has_cast(query: &Query) -> bool {
    let found = visit_expressions(query, |part| if matches!(part, Expr::Cast { .. }) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) });
    found.is_break()
}

/// Whether two calls or keys of a query may differ only by their casts.
fn have_one_name(query: &Query) -> bool {
    let mut names: HashMap<String, String> = HashMap::new();
    let mut is_second = |expression: &Expr| {
        let text = expression.to_string().to_lowercase();
        names.insert(without_casts(expression), text.clone()).is_some_and(|other| other != text)
    };
    let mut keys = Vec::new();
    collect_keys(&query.body, &mut keys);
    if keys.into_iter().any(&mut is_second) {
        return true;
    }
    let found = visit_expressions(query, |part| match part {
        Expr::Function(_) if is_second(part) => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    });
    found.is_break()
}

fn without_casts(expression: &Expr) -> String {
    let mut expression = expression.clone();
    let _: ControlFlow<()> = visit_expressions_mut(&mut expression, |part| {
        match part {
            Expr::Cast { expr, .. } => *part = std::mem::replace(expr.as_mut(), null()),
            // A column may be written with its table in one place only.
            Expr::CompoundIdentifier(names) => {
                if let Some(name) = names.pop() {
                    *part = Expr::Identifier(name);
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    });
    expression.to_string().to_lowercase()
}

/// What the parts of a query are grouped by.
fn collect_keys<'a>(body: &'a SetExpr, keys: &mut Vec<&'a Expr>) {
    match body {
        SetExpr::Select(select) => keys_of(select, keys),
        SetExpr::SetOperation { left, right, .. } => {
            collect_keys(left, keys);
            collect_keys(right, keys);
        }
        _ => {}
    }
}

fn keys_of<'a>(select: &'a Select, keys: &mut Vec<&'a Expr>) {
    let GroupByExpr::Expressions(expressions, _) = &select.group_by else { return };
    let first = keys.len();
    for expression in expressions {
        match expression {
            Expr::GroupingSets(sets) | Expr::Cube(sets) | Expr::Rollup(sets) => keys.extend(sets.iter().flatten()),
            expression => keys.push(expression),
        }
    }
    // Numbers stand for items.
    if keys[first..].iter().any(|key| matches!(key, Expr::Value(ValueWithSpan { value: Value::Number(..), .. }))) {
        keys.extend(select.projection.iter().filter_map(|item| match item {
            SelectItem::UnnamedExpr(item) | SelectItem::ExprWithAlias { expr: item, .. } => Some(item),
            _ => None,
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::super::statement::Statement;
    use super::*;

    fn told_apart(sql: &str) -> String {
        let Ok(Statement::Query(mut query)) = parse(sql) else { panic!("{sql} is no query") };
        tell_apart(&mut query);
        query.to_string()
    }

    #[test]
    fn what_is_cast_has_another_name() {
        for (sql, expected) in [
            ("SELECT avg(x), AVG(CAST(x AS DATE)) FROM t", r#"SELECT avg(x), AVG(CAST("$apart"(x, 'date') AS DATE)) FROM t"#),
            (
                "SELECT count(*) FROM t GROUP BY x, CAST(x AS DATE) ORDER BY CAST(x AS DATE)",
                r#"SELECT count(*) FROM t GROUP BY x, CAST("$apart"(x, 'date') AS DATE) ORDER BY CAST("$apart"(x, 'date') AS DATE)"#,
            ),
            ("SELECT sum(t.x), sum(CAST(x AS DATE)) FROM t", r#"SELECT sum(t.x), sum(CAST("$apart"(x, 'date') AS DATE)) FROM t"#),
            (
                "SELECT sum(CAST(x AS INT)), sum(CAST(x AS DOUBLE)) FROM t",
                r#"SELECT sum(CAST("$apart"(x, 'integer') AS INT)), sum(CAST("$apart"(x, 'double') AS DOUBLE)) FROM t"#,
            ),
            ("SELECT x, CAST(x AS DATE) FROM t GROUP BY 1, 2", r#"SELECT x, CAST("$apart"(x, 'date') AS DATE) FROM t GROUP BY 1, 2"#),
        ] {
            assert_eq!(told_apart(sql), expected);
        }
    }

    #[test]
    fn other_casts_stay() {
        for sql in [
            "SELECT avg(x), avg(CAST(y AS DATE)) FROM t",
            "SELECT avg(CAST(x AS DATE)), Avg(CAST(x AS DATE)) FROM t",
            "SELECT x, CAST(x AS DATE) FROM t",
            "SELECT CAST(x AS DATE), count(*) FROM t GROUP BY CAST(x AS DATE)",
        ] {
            assert_eq!(told_apart(sql), sql);
        }
    }
}
