//! Where the columns of a query come from, as `DESCRIBE OUTPUT` tells it.

use datafusion::common::TableReference;
use datafusion::datasource::ViewTable;
use datafusion::logical_expr::{Distinct, Expr, JoinType, LogicalPlan};
use datafusion::sql::sqlparser::ast::{Query, SelectItem, SetExpr};
use nunatak_core::Result;

use super::Planner;
use crate::sql::names::QualifiedName;

/// Where a column of a query comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnOrigin {
    /// The table or view whose column it is; `None` for what is computed.
    pub table: Option<QualifiedName>,
    /// Whether the query gives it a name by `AS`; `None` between two `*`, where its text does not say which item it is of.
    pub is_aliased: Option<bool>,
}

impl Planner {
    /// Where the columns of a query come from, in their order. Errors: those of planning it.
    pub async fn origins(&self, query: Query) -> Result<Vec<ColumnOrigin>> {
        let items = items(&query.body);
        let plan = self.plan_outward(query).await?;
        let count = plan.schema().fields().len();
        let origin = |place| ColumnOrigin { table: self.origin(&plan, place), is_aliased: is_aliased(&items, place, count) };
        Ok((0..count).map(origin).collect())
    }

    fn origin(&self, plan: &LogicalPlan, place: usize) -> Option<QualifiedName> {
        match plan {
            LogicalPlan::TableScan(scan) => self.named(&scan.table_name),
            LogicalPlan::Projection(projection) => self.origin_of(projection.expr.get(place)?, &projection.input),
            LogicalPlan::Aggregate(aggregate) => self.origin_of(aggregate.group_expr.get(place)?, &aggregate.input),
            LogicalPlan::SubqueryAlias(alias) => self.view_named(&alias.alias).or_else(|| self.origin(&alias.input, place)),
            LogicalPlan::Filter(filter) => self.origin(&filter.input, place),
            LogicalPlan::Sort(sort) => self.origin(&sort.input, place),
            LogicalPlan::Limit(limit) => self.origin(&limit.input, place),
            LogicalPlan::Distinct(Distinct::All(input)) => self.origin(input, place),
            LogicalPlan::Window(window) if place < window.input.schema().fields().len() => self.origin(&window.input, place),
            LogicalPlan::Union(union) => self.origin(union.inputs.first()?, place),
            LogicalPlan::Join(join) => {
                let of_left = join.left.schema().fields().len();
                match join.join_type {
                    JoinType::Inner | JoinType::Left | JoinType::Right | JoinType::Full if place >= of_left => {
                        self.origin(&join.right, place - of_left)
                    }
                    JoinType::Inner | JoinType::Left | JoinType::Right | JoinType::Full | JoinType::LeftSemi | JoinType::LeftAnti => {
                        self.origin(&join.left, place)
                    }
                    _ => None,
                }
            }
            _ => None,
        }
    }

    fn origin_of(&self, expression: &Expr, input: &LogicalPlan) -> Option<QualifiedName> {
        match expression {
            Expr::Alias(alias) => self.origin_of(&alias.expr, input),
            Expr::Column(column) => self.origin(input, input.schema().maybe_index_of_column(column)?),
            _ => None,
        }
    }

    /// The table that a name of a plan stands for; `None` for files and what else has a name of ours.
    fn named(&self, name: &TableReference) -> Option<QualifiedName> {
        let catalog = name.catalog().unwrap_or(&self.session.catalog);
        let schema = name.schema().or(self.session.schema.as_deref())?;
        if catalog.starts_with(char::is_control) {
            return None;
        }
        // A mark behind it says of which version it is, or that its hidden columns are wanted.
        let table = name.table().split(char::is_control).next().unwrap_or_default();
        Some(QualifiedName { catalog: catalog.to_owned(), schema: schema.to_owned(), table: table.to_owned() })
    }

    /// The view that a name of a plan stands for, which has the plan of the view beneath it.
    fn view_named(&self, name: &TableReference) -> Option<QualifiedName> {
        let name = self.named(name)?;
        self.looked_up.get(&name)?.downcast_ref::<ViewTable>().map(|_| name)
    }
}

/// Whether each item of a query has an alias; `None` for a `*`.
fn items(body: &SetExpr) -> Vec<Option<bool>> {
    let is_aliased = |item: &SelectItem| match item {
        SelectItem::UnnamedExpr(_) => Some(false),
        SelectItem::ExprWithAlias { .. } => Some(true),
        _ => None,
    };
    match body {
        SetExpr::Select(select) => select.projection.iter().map(is_aliased).collect(),
        SetExpr::Query(query) => items(&query.body),
        SetExpr::SetOperation { left, .. } => items(left),
        _ => vec![None],
    }
}

/// Whether the column at a place, of so many, has an alias.
fn is_aliased(items: &[Option<bool>], place: usize, count: usize) -> Option<bool> {
    let before = items.iter().take_while(|item| item.is_some()).count();
    let behind = items.iter().rev().take_while(|item| item.is_some()).count();
    let left = count.saturating_sub(place);
    if place < before {
        items.get(place).copied().flatten()
    } else if left <= behind {
        items.len().checked_sub(left).and_then(|index| items.get(index).copied().flatten())
    } else {
        // What is of a `*` has no alias.
        items[before..items.len() - behind].iter().all(Option::is_none).then_some(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::{Statement, parse};

    #[test]
    fn aliases_are_found_before_and_behind_stars() {
        let aliased = |sql: &str, count: usize| {
            let Ok(Statement::Query(query)) = parse(sql) else { panic!("{sql} is not a query") };
            let items = items(&query.body);
            (0..count).map(|place| is_aliased(&items, place, count)).collect::<Vec<_>>()
        };
        let (yes, no) = (Some(true), Some(false));
        assert_eq!(aliased("SELECT a, b AS x FROM t", 2), [no, yes]);
        assert_eq!(aliased("SELECT a AS x, *, b AS y, c FROM t", 6), [yes, no, no, no, yes, no]);
        assert_eq!(aliased("SELECT t.*, b AS y, u.* FROM t, u", 5), [None; 5]);
        assert_eq!(aliased("VALUES (1, 2)", 2), [no, no]);
        assert_eq!(aliased("SELECT a AS x FROM t UNION ALL SELECT b FROM t", 1), [yes]);
    }
}
