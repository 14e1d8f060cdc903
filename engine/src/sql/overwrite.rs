//! `INSERT ... PARTITION (column = value)`: columns whose value the statement names, and for `INSERT OVERWRITE` the condition for the rows that are replaced.

use datafusion::sql::sqlparser::ast::{self, BinaryOperator, Expr, Ident, ObjectName};
use nunatak_core::{Code, Error, Result};

use super::names::{QualifiedName, normalized};
use super::{Statement, parse};

/// A column and the value that all new rows have in it.
type Named = (Ident, Expr);

/// Takes `PARTITION (column = value, ...)` out of an `INSERT` into a table with these columns: the columns are added to those of the statement. Gives the condition for
/// the rows that `INSERT OVERWRITE` replaces, `None` for all, and the values that are to stand behind those of each row.
///
/// Errors: `COLUMN_NOT_FOUND`, `NOT_SUPPORTED` for a column without a value.
pub(super) fn take_partition(insert: &mut ast::Insert, columns: &[&str]) -> Result<(Option<Expr>, Vec<Expr>)> {
    let Some(partition) = insert.partitioned.take() else { return Ok((None, Vec::new())) };
    let named = partition.into_iter().map(named_value).collect::<Result<Vec<Named>>>()?;
    for (column, _) in &named {
        if !columns.contains(&normalized(column).as_str()) {
            return Err(Error::new(Code::ColumnNotFound, format!("column '{column}' of PARTITION does not exist")));
        }
    }
    if insert.columns.is_empty() {
        let is_named = |column: &str| named.iter().any(|(named, _)| normalized(named) == column);
        insert.columns = columns.iter().filter(|column| !is_named(column)).map(|column| quoted(column)).collect();
    }
    insert.columns.extend(named.iter().map(|(column, _)| ObjectName::from(vec![column.clone()])));
    let values = named.iter().map(|(_, value)| value.clone()).collect();
    let conditions = named.into_iter().map(|(column, value)| {
        let column = Box::new(Expr::Identifier(column));
        match value {
            Expr::Value(ast::ValueWithSpan { value: ast::Value::Null, .. }) => Expr::IsNull(column),
            value => Expr::BinaryOp { left: column, op: BinaryOperator::Eq, right: Box::new(value) },
        }
    });
    let condition = conditions.reduce(|left, right| Expr::BinaryOp { left: Box::new(left), op: BinaryOperator::And, right: Box::new(right) });
    Ok((condition, values))
}

/// The statement that deletes the rows of a table for which a condition is true.
pub(super) fn delete(table: &ObjectName, condition: &Expr) -> Result<ast::Delete> {
    match parse(&format!("DELETE FROM {table} WHERE {condition}"))? {
        Statement::Change(super::changes::Change::Delete(delete)) => Ok(*delete),
        _ => Err(Error::internal("a DELETE was parsed as something else")),
    }
}

fn named_value(expression: Expr) -> Result<Named> {
    match expression {
        Expr::BinaryOp { left, op: BinaryOperator::Eq, right } => match *left {
            Expr::Identifier(column) => Ok((column, *right)),
            other => Err(Error::new(Code::SyntaxError, format!("'{other}' in PARTITION is no column")).with_hint("write PARTITION (column = value)")),
        },
        other => Err(Error::not_supported(format!("'{other}' in PARTITION has no value"))
            .with_hint("write PARTITION (column = value); columns without a value are columns of the query")),
    }
}

fn quoted(column: &str) -> ObjectName {
    ObjectName::from(vec![Ident::with_quote('"', column)])
}

/// `SELECT *, value, ... FROM name`.
pub(super) fn select_from(name: &QualifiedName, values: &[Expr]) -> Result<Box<ast::Query>> {
    let Statement::Query(mut query) = parse("SELECT * FROM source")? else {
        return Err(Error::internal("a query was parsed as something else"));
    };
    if let ast::SetExpr::Select(select) = query.body.as_mut() {
        select.projection.extend(values.iter().cloned().map(ast::SelectItem::UnnamedExpr));
        if let Some(ast::TableFactor::Table { name: source, .. }) = select.from.first_mut().map(|from| &mut from.relation) {
            *source = ObjectName::from([&name.catalog, &name.schema, &name.table].map(|part| Ident::with_quote('"', part)).to_vec());
        }
    }
    Ok(query)
}
