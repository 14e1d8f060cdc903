//! `DELETE`, `UPDATE` and `MERGE` as plans for the rows that they change, in the form of [`Rows::Changes`](crate::write::Rows::Changes).
//!
//! DataFusion's own hooks for them are not used: they see filters that are left when subqueries have become joins, and none would be all rows.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::common::DFSchema;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, Projection};
use datafusion::sql::sqlparser::ast;
use datafusion::sql::sqlparser::ast::{AssignmentTarget, FromTable, SetExpr, TableFactor, UpdateTableFromKind};
use nunatak_catalog::spec::NestedField;
use nunatak_core::{Code, Error, Result};

use super::names::{normalized, parts};
use super::place::start_of;
use super::row_values::name_fields;
use super::{Statement, parse};
use crate::error::{from_datafusion, suggest};
use crate::functions::column_cast::cast_to_column;
use crate::scan::types::{field_names, table_schema};
use crate::scan::values::default_literal;
use crate::scan::{HiddenColumn, IcebergTable};

/// A statement that changes rows of a table.
#[derive(Clone, Debug)]
pub enum Change {
    /// `DELETE FROM t [WHERE condition]`.
    Delete(Box<ast::Delete>),
    /// `UPDATE t SET column = value, ... [FROM ...] [WHERE condition]`.
    Update(Box<ast::Update>),
    /// `MERGE INTO t USING source ON condition WHEN ...`.
    Merge(Box<ast::Merge>),
    /// `TRUNCATE TABLE t`.
    Truncate(ast::ObjectName),
}

/// A planned [`Change`].
pub struct ChangePlan {
    /// The table with its hidden columns, at the snapshot whose rows are changed.
    pub table: Arc<IcebergTable>,
    /// The rows.
    pub rows: LogicalPlan,
}

impl Change {
    /// What it is in the names of Iceberg's table properties.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Delete(_) | Self::Truncate(_) => "delete",
            Self::Update(_) => "update",
            Self::Merge(_) => "merge",
        }
    }

    /// Whether no row is left by it, whatever is in the table.
    pub fn deletes_all(&self) -> bool {
        match self {
            Self::Delete(delete) => delete.selection.is_none(),
            Self::Truncate(_) => true,
            Self::Update(_) | Self::Merge(_) => false,
        }
    }

    /// The name of the table. Errors: `NOT_SUPPORTED` for what other databases have.
    pub fn target(&self) -> Result<&ast::ObjectName> {
        if let Self::Truncate(name) = self {
            return Ok(name);
        }
        match self.relation() {
            Some(TableFactor::Table { name, args: None, version: None, sample: None, .. }) => Ok(name),
            _ => Err(self.unsupported()),
        }
    }

    /// The condition by which it chooses its rows, if nothing but these and that condition says what becomes of them: no other table, and no subquery.
    pub fn own_condition(&self) -> Option<&ast::Expr> {
        match self {
            Self::Delete(delete) => delete.selection.as_ref().filter(|_| !has_query(&**delete)),
            Self::Update(update) if update.from.is_none() => update.selection.as_ref().filter(|_| !has_query(&**update)),
            Self::Update(_) | Self::Merge(_) | Self::Truncate(_) => None,
        }
    }

    fn relation(&self) -> Option<&TableFactor> {
        match self {
            Self::Delete(delete) => {
                let (FromTable::WithFromKeyword(from) | FromTable::WithoutKeyword(from)) = &delete.from;
                let is_plain = delete.tables.is_empty()
                    && delete.using.is_none()
                    && delete.returning.is_none()
                    && delete.output.is_none()
                    && delete.order_by.is_empty()
                    && delete.limit.is_none();
                match &from[..] {
                    [only] if is_plain && only.joins.is_empty() => Some(&only.relation),
                    _ => None,
                }
            }
            Self::Update(update) => {
                let is_plain = update.returning.is_none()
                    && update.output.is_none()
                    && update.or.is_none()
                    && update.order_by.is_empty()
                    && update.limit.is_none()
                    && update.table.joins.is_empty();
                is_plain.then_some(&update.table.relation)
            }
            Self::Merge(merge) => merge.output.is_none().then_some(&merge.table),
            Self::Truncate(_) => None,
        }
    }

    fn unsupported(&self) -> Error {
        Error::not_supported(match self {
            Self::Delete(_) => "of DELETE only DELETE FROM table [AS alias] [WHERE condition] is supported",
            Self::Update(_) => "of UPDATE only UPDATE table [AS alias] SET column = value, ... [FROM relations] [WHERE condition] is supported",
            Self::Truncate(_) => "of TRUNCATE only TRUNCATE TABLE table is supported",
            Self::Merge(_) => "of MERGE only MERGE INTO table [AS alias] USING relation ON condition WHEN ... is supported",
        })
    }
}

/// Whether there is a query in a statement.
fn has_query(statement: &impl ast::Visit) -> bool {
    struct Finder;
    impl ast::Visitor for Finder {
        type Break = ();

        fn pre_visit_query(&mut self, _query: &ast::Query) -> ControlFlow<()> {
            ControlFlow::Break(())
        }
    }
    statement.visit(&mut Finder).is_break()
}

/// The query for the rows of a `DELETE`.
pub(super) fn delete_query(delete: &ast::Delete) -> Result<ast::Query> {
    let (FromTable::WithFromKeyword(from) | FromTable::WithoutKeyword(from)) = &delete.from;
    query(places(), from, delete.selection.as_ref())
}

/// The query for all rows of a table.
pub(super) fn truncate_query(table: &ast::ObjectName) -> Result<ast::Query> {
    let Statement::Query(query) = parse(&format!("SELECT * FROM {table}"))? else {
        return Err(Error::internal("a query was parsed as something else"));
    };
    let SetExpr::Select(select) = *query.body else { return Err(Error::internal("a SELECT was parsed as something else")) };
    self::query(places(), &select.from, None)
}

/// The columns of a change that only deletes.
fn places() -> Vec<ast::SelectItem> {
    [HiddenColumn::File, HiddenColumn::Position].map(|column| ast::SelectItem::UnnamedExpr(identifier(&[column.name()]))).into()
}

/// The query for the rows of an `UPDATE`. Columns without a value keep the one they have.
pub(super) fn update_query(update: &ast::Update, table: &IcebergTable) -> Result<(ast::Query, Defaults)> {
    let TableFactor::Table { name, alias, .. } = &update.table.relation else { return Err(Error::internal("an UPDATE of what is no table")) };
    let relation = match alias {
        Some(alias) => normalized(&alias.name),
        None => parts(name).pop().unwrap_or_default(),
    };
    let of_table = |column: &str| identifier(&[&relation, column]);
    let item = |expr, name: &str| ast::SelectItem::ExprWithAlias { expr, alias: ast::Ident::with_quote('"', name) };

    let columns = field_names(table.iceberg_schema().as_struct());
    let mut values = assigned(update, &relation, &columns)?;
    let mut items = vec![
        item(of_table(HiddenColumn::File.name()), HiddenColumn::File.name()),
        item(of_table(HiddenColumn::Position.name()), HiddenColumn::Position.name()),
        item(ast::Expr::Value(ast::Value::Boolean(true).into()), WRITTEN),
    ];
    let mut defaults = Defaults::new();
    for (field, column) in table.iceberg_schema().as_struct().fields().iter().zip(&columns) {
        let mut value = values.remove(column);
        if let Some(value) = &mut value {
            name_fields(value, &field.field_type);
        }
        if value.as_ref().is_some_and(is_default) {
            let of_column = TableProvider::get_column_default(table, column).cloned();
            defaults.insert(items.len(), of_column.unwrap_or_else(|| datafusion::logical_expr::lit(datafusion::common::ScalarValue::Null)));
            items.push(item(ast::Expr::Value(ast::Value::Null.into()), column));
        } else {
            items.push(item(value.unwrap_or_else(|| of_table(column)), column));
        }
    }
    if has_row_ids(table) {
        items.push(item(of_table(HiddenColumn::RowId.name()), HiddenColumn::RowId.name()));
    }
    let mut from = vec![update.table.clone()];
    if let Some(UpdateTableFromKind::BeforeSet(others) | UpdateTableFromKind::AfterSet(others)) = &update.from {
        from.extend(others.iter().cloned());
    }
    Ok((query(items, &from, update.selection.as_ref())?, defaults))
}

/// Values that stand for `DEFAULT`, by their place in the projection.
pub(super) type Defaults = HashMap<usize, Expr>;

/// The column that says whether there is a row to write. Its name is seen in plans only.
pub(super) const WRITTEN: &str = "written";

/// Whether rows of the table have ids, which they keep when they are changed.
pub(super) fn has_row_ids(table: &IcebergTable) -> bool {
    table.hidden_columns().contains(&HiddenColumn::RowId)
}

fn identifier(parts: &[&str]) -> ast::Expr {
    let mut identifiers: Vec<ast::Ident> = parts.iter().map(|part| ast::Ident::with_quote('"', *part)).collect();
    match identifiers.len() {
        1 => ast::Expr::Identifier(identifiers.remove(0)),
        _ => ast::Expr::CompoundIdentifier(identifiers),
    }
}

fn is_default(value: &ast::Expr) -> bool {
    matches!(value, ast::Expr::Identifier(name) if name.quote_style.is_none() && name.value.eq_ignore_ascii_case("default"))
}

/// The rows of `INSERT INTO t DEFAULT VALUES`: one, of as many defaults as the table has columns.
///
/// Errors: none that a text could lead to.
pub(super) fn row_of_defaults(columns: usize) -> Result<Box<ast::Query>> {
    match parse(&format!("VALUES ({})", vec!["DEFAULT"; columns].join(", ")))? {
        Statement::Query(query) => Ok(query),
        _ => Err(Error::internal("a query was parsed as something else")),
    }
}

/// Puts what `DEFAULT` stands for in its place.
pub(super) fn set_default(value: &mut ast::Expr, field: &NestedField) -> Result<()> {
    if !is_default(value) {
        return Ok(());
    }
    let Some(default) = default_literal(field) else {
        *value = ast::Expr::Value(ast::Value::Null.into());
        return Ok(());
    };
    let Statement::Query(mut query) = parse(&format!("SELECT {default}"))? else {
        return Err(Error::internal("a query was parsed as something else"));
    };
    if let SetExpr::Select(select) = query.body.as_mut()
        && let Some(ast::SelectItem::UnnamedExpr(parsed)) = select.projection.pop()
    {
        *value = parsed;
    }
    Ok(())
}

/// The values that an `UPDATE` gives, by column.
fn assigned(update: &ast::Update, relation: &str, columns: &[String]) -> Result<HashMap<String, ast::Expr>> {
    let mut values = HashMap::new();
    for assignment in &update.assignments {
        let AssignmentTarget::ColumnName(target) = &assignment.target else {
            return Err(Error::not_supported("UPDATE ... SET (a, b) = ... is not supported").with_hint("write SET a = ..., b = ..."));
        };
        let mut path = parts(target);
        if let Some(column) = path.last_mut().filter(|column| !columns.contains(column)) {
            *column = column.to_lowercase();
        }
        if path.len() > 1 && path.first().is_some_and(|first| first == relation) {
            path.remove(0);
        }
        let [column] = path.as_slice() else {
            return Err(Error::not_supported(format!("'{target}' cannot be set: only whole columns can"))
                .with_hint("set the column to a row with the changed field"));
        };
        if !columns.contains(column) {
            let error = Error::new(Code::ColumnNotFound, format!("column '{column}' does not exist"));
            let error = suggest(error, column, columns.iter().map(String::as_str));
            return Err(match start_of(target) {
                Some(place) => error.at(place),
                None => error,
            });
        }
        if values.insert(column.clone(), assignment.value.clone()).is_some() {
            return Err(Error::new(Code::DuplicateColumnName, format!("column '{column}' is set twice")));
        }
    }
    Ok(values)
}

fn query(items: Vec<ast::SelectItem>, from: &[ast::TableWithJoins], condition: Option<&ast::Expr>) -> Result<ast::Query> {
    let Statement::Query(mut query) = parse("SELECT 1")? else { return Err(Error::internal("a query was parsed as something else")) };
    let SetExpr::Select(select) = query.body.as_mut() else { return Err(Error::internal("a SELECT was parsed as something else")) };
    select.projection = items;
    from.clone_into(&mut select.from);
    select.selection = condition.cloned();
    Ok(*query)
}

/// Casts the values of a planned [`update_query`] to the types of the table's columns.
pub(super) fn with_types(plan: LogicalPlan, table: &IcebergTable, mut defaults: Defaults) -> Result<LogicalPlan> {
    const FIRST: usize = 3;
    let schema = table_schema(table.iceberg_schema())?;
    let LogicalPlan::Projection(Projection { expr, input, .. }) = plan else {
        return Err(Error::internal(format!("UPDATE was planned as {}", plan.display())));
    };
    let cast = |(number, value): (usize, Expr)| {
        let Some(field) = number.checked_sub(FIRST).and_then(|number| schema.fields().get(number)) else { return Ok(value) };
        let value = defaults.remove(&number).unwrap_or_else(|| value.unalias());
        typed(value, field, input.schema())
    };
    let values = expr.into_iter().enumerate().map(cast).collect::<datafusion::error::Result<Vec<_>>>();
    LogicalPlanBuilder::from(input.as_ref().clone())
        .project(values.map_err(from_datafusion)?)
        .and_then(LogicalPlanBuilder::build)
        .map_err(from_datafusion)
}

/// A value for a column of a table, of its type apart from what that says of the fields within: casts of constants would lose it, and the writer adds it.
pub(super) fn typed(mut value: Expr, field: &arrow::datatypes::FieldRef, input: &DFSchema) -> datafusion::error::Result<Expr> {
    if let Expr::Placeholder(placeholder) = &mut value {
        placeholder.field.get_or_insert_with(|| Arc::clone(field));
    }
    Ok(cast_to_column(value, field, input)?.alias(field.name()))
}

/// Gives rows among the values of a clause of `MERGE` the field names of their columns, and `DEFAULT` its value.
pub(super) fn name_values(action: &mut ast::MergeAction, table: &IcebergTable) -> Result<()> {
    let fields = table.iceberg_schema().as_struct().fields();
    let names = field_names(table.iceberg_schema().as_struct());
    let name = |column: Option<String>, value: &mut ast::Expr| {
        if let Some(place) = names.iter().position(|name| Some(name) == column.as_ref()) {
            name_fields(value, &fields[place].field_type);
            return set_default(value, &fields[place]);
        }
        Ok(())
    };
    match action {
        ast::MergeAction::Update(update) => {
            for assignment in &mut update.assignments {
                if let AssignmentTarget::ColumnName(target) = &assignment.target {
                    name(parts(target).pop(), &mut assignment.value)?;
                }
            }
        }
        ast::MergeAction::Insert(insert) => {
            let named: Vec<Option<String>> = match insert.columns.is_empty() {
                true => names.iter().cloned().map(Some).collect(),
                false => insert.columns.iter().map(|column| parts(column).pop()).collect(),
            };
            if let ast::MergeInsertKind::Values(values) = &mut insert.kind {
                for (value, column) in values.rows.iter_mut().flat_map(|row| row.content.iter_mut().zip(&named)) {
                    name(column.clone(), value)?;
                }
            }
        }
        ast::MergeAction::Delete { .. } => {}
    }
    Ok(())
}
