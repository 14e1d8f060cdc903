//! `DELETE FROM t WHERE ...` as a query for the rows that it deletes: by data file and position.
//!
//! DataFusion's own hooks for it are not used: they see filters that are left when subqueries have become joins, and none would be all rows.

use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::sqlparser::ast;
use datafusion::sql::sqlparser::ast::{FromTable, SetExpr, TableFactor};
use nunatak_core::{Error, Result};

use super::{Statement, parse};
use crate::scan::{HiddenColumn, IcebergTable};

/// A planned `DELETE`.
pub struct DeletePlan {
    /// The table, at the snapshot whose rows are deleted.
    pub table: IcebergTable,
    /// The rows: the location of their data file, and their position in it.
    pub rows: LogicalPlan,
}

/// The table of a `DELETE`. Errors: `NOT_SUPPORTED` for what other databases have.
pub fn target(delete: &ast::Delete) -> Result<&ast::ObjectName> {
    let (FromTable::WithFromKeyword(from) | FromTable::WithoutKeyword(from)) = &delete.from;
    let is_plain = delete.tables.is_empty()
        && delete.using.is_none()
        && delete.returning.is_none()
        && delete.output.is_none()
        && delete.order_by.is_empty()
        && delete.limit.is_none();
    match &from[..] {
        [only] if is_plain && only.joins.is_empty() => match &only.relation {
            TableFactor::Table { name, args: None, version: None, sample: None, .. } => Ok(name),
            _ => Err(unsupported()),
        },
        _ => Err(unsupported()),
    }
}

fn unsupported() -> Error {
    Error::not_supported("of DELETE only DELETE FROM table [AS alias] [WHERE condition] is supported")
}

/// The query for its rows.
pub(super) fn query(delete: &ast::Delete) -> Result<ast::Query> {
    let (path, position) = (HiddenColumn::Path.name(), HiddenColumn::Position.name());
    let Statement::Query(mut query) = parse(&format!("SELECT \"{path}\", \"{position}\" FROM t"))? else {
        return Err(Error::internal("a query was parsed as something else"));
    };
    let SetExpr::Select(select) = query.body.as_mut() else { return Err(Error::internal("a SELECT was parsed as something else")) };
    let (FromTable::WithFromKeyword(from) | FromTable::WithoutKeyword(from)) = &delete.from;
    select.from.clone_from(from);
    select.selection.clone_from(&delete.selection);
    Ok(*query)
}
