//! Quoted names of columns. Columns have their names in lower case wherever that keeps them apart ([`field_names`](crate::scan::types::field_names)), and as in Trino a
//! statement finds them by any spelling, also by a quoted one: `"userId"`, as Spark wrote it and as BI tools write it.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;

use arrow::datatypes::{DataType, Field, SchemaRef};
use datafusion::logical_expr::{Expr as PlannedExpr, LogicalPlan, LogicalPlanBuilder};
use datafusion::sql::sqlparser::ast::{
    AssignmentTarget, Expr, Ident, JoinConstraint, JoinOperator, MergeAction, ObjectName, ObjectNamePart, Query, Select, SelectItem, SetExpr,
    Statement, TableAlias, TableFactor, Visit, VisitMut, Visitor, VisitorMut,
};
use nunatak_core::Result;

use super::names::normalized;
use crate::error::from_datafusion;

/// The names of columns and of fields within them.
#[derive(Debug, Default)]
pub(super) struct ColumnNames(HashSet<String>);

impl ColumnNames {
    /// Those of tables with these schemas.
    pub(super) fn of(schemas: impl IntoIterator<Item = SchemaRef>) -> Self {
        let mut names = HashSet::new();
        schemas.into_iter().for_each(|schema| schema.fields().iter().for_each(|field| collect(field, &mut names)));
        Self(names)
    }

    /// Whether a name is another spelling of one of these.
    fn is_spelling(&self, name: &Ident) -> bool {
        name.quote_style.is_some() && !self.0.contains(&name.value) && self.0.contains(&name.value.to_lowercase())
    }

    /// Spells a name as its column does, if there is one.
    pub(super) fn respell(&self, name: &mut Ident) {
        if self.is_spelling(name) {
            name.value = name.value.to_lowercase();
        }
    }

    /// The same for the last part of a name.
    pub(super) fn respell_last(&self, name: &mut ObjectName) {
        if let Some(ObjectNamePart::Identifier(last)) = name.0.last_mut() {
            self.respell(last);
        }
    }

    /// The same for the columns that a clause of `MERGE` gives values to.
    pub(super) fn respell_targets(&self, action: &mut MergeAction) {
        match action {
            MergeAction::Update(update) => {
                for assignment in &mut update.assignments {
                    if let AssignmentTarget::ColumnName(target) = &mut assignment.target {
                        self.respell_last(target);
                    }
                }
            }
            MergeAction::Insert(insert) => insert.columns.iter_mut().for_each(|column| self.respell_last(column)),
            MergeAction::Delete { .. } => {}
        }
    }

    /// The same for all columns that an expression names.
    pub(super) fn respell_within(&self, expression: &mut impl VisitMut) {
        let _: ControlFlow<()> = expression.visit(&mut Respeller(self));
    }

    /// The same for all columns that a statement names. What makes a column of such a name itself keeps it, and its users with it.
    pub(super) fn respell_all(&mut self, statement: &mut Statement) -> OutputNames {
        let mut made = MadeNames { names: self, made: HashSet::new() };
        let _: ControlFlow<()> = Visit::visit(statement, &mut made);
        let made = made.made;
        self.0.extend(made);
        let outputs = match statement {
            Statement::Query(query) => self.outputs(&query.body),
            _ => HashMap::new(),
        };
        self.respell_within(statement);
        OutputNames(outputs)
    }

    /// How the columns that a query gives are spelled in it, by their names.
    fn outputs(&self, body: &SetExpr) -> HashMap<String, String> {
        match body {
            SetExpr::Select(select) => {
                let names = select.projection.iter().filter_map(output).filter(|name| self.is_spelling(name));
                names.map(|name| (name.value.to_lowercase(), name.value.clone())).collect()
            }
            SetExpr::Query(query) => self.outputs(&query.body),
            SetExpr::SetOperation { left, .. } => self.outputs(left),
            _ => HashMap::new(),
        }
    }
}

/// The names that the columns of a query have as its text spells them.
#[derive(Debug, Default)]
pub(super) struct OutputNames(HashMap<String, String>);

impl OutputNames {
    /// The plan with these names.
    pub(super) fn restore(&self, plan: LogicalPlan) -> Result<LogicalPlan> {
        if self.0.is_empty() {
            return Ok(plan);
        }
        let columns: Vec<PlannedExpr> = plan
            .schema()
            .columns()
            .into_iter()
            .map(|column| match self.0.get(&column.name) {
                Some(name) => PlannedExpr::Column(column).alias(name),
                None => PlannedExpr::Column(column),
            })
            .collect();
        LogicalPlanBuilder::from(plan).project(columns).and_then(LogicalPlanBuilder::build).map_err(from_datafusion)
    }
}

fn collect(field: &Field, names: &mut HashSet<String>) {
    names.insert(field.name().clone());
    match field.data_type() {
        DataType::Struct(fields) => fields.iter().for_each(|field| collect(field, names)),
        DataType::List(element) | DataType::Map(element, _) => collect(element, names),
        _ => {}
    }
}

/// The name that an item of `SELECT` gives its column, if it gives one.
fn output(item: &SelectItem) -> Option<&Ident> {
    match item {
        SelectItem::ExprWithAlias { alias, .. } => Some(alias),
        SelectItem::UnnamedExpr(expression) => column(expression),
        _ => None,
    }
}

/// The last part of a name of a column.
fn column(expression: &Expr) -> Option<&Ident> {
    match expression {
        Expr::Identifier(name) => Some(name),
        Expr::CompoundIdentifier(parts) => parts.last(),
        _ => None,
    }
}

/// Finds the names that a statement makes for what is no column of that name.
struct MadeNames<'a> {
    names: &'a ColumnNames,
    made: HashSet<String>,
}

impl MadeNames<'_> {
    fn makes(&mut self, name: &Ident) {
        if self.names.is_spelling(name) {
            self.made.insert(name.value.clone());
        }
    }

    fn makes_all(&mut self, alias: Option<&TableAlias>) {
        let Some(alias) = alias else { return };
        self.makes(&alias.name);
        alias.columns.iter().for_each(|column| self.makes(&column.name));
    }
}

impl Visitor for MadeNames<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        query.with.iter().flat_map(|with| &with.cte_tables).for_each(|table| self.makes_all(Some(&table.alias)));
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
        for item in &select.projection {
            if let SelectItem::ExprWithAlias { expr, alias } = item
                && column(expr).is_none_or(|column| normalized(column).to_lowercase() != alias.value.to_lowercase())
            {
                self.makes(alias);
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        match factor {
            TableFactor::Table { name, alias: None, .. } => {
                name.0.last().and_then(ObjectNamePart::as_ident).into_iter().for_each(|name| self.makes(name))
            }
            TableFactor::Table { alias, .. }
            | TableFactor::Derived { alias, .. }
            | TableFactor::UNNEST { alias, .. }
            | TableFactor::Function { alias, .. }
            | TableFactor::TableFunction { alias, .. }
            | TableFactor::NestedJoin { alias, .. } => self.makes_all(alias.as_ref()),
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

/// The columns after `USING`.
fn joined_by(join: &mut JoinOperator) -> Option<&mut Vec<ObjectName>> {
    match join {
        JoinOperator::Join(JoinConstraint::Using(columns))
        | JoinOperator::Inner(JoinConstraint::Using(columns))
        | JoinOperator::Left(JoinConstraint::Using(columns))
        | JoinOperator::LeftOuter(JoinConstraint::Using(columns))
        | JoinOperator::Right(JoinConstraint::Using(columns))
        | JoinOperator::RightOuter(JoinConstraint::Using(columns))
        | JoinOperator::FullOuter(JoinConstraint::Using(columns)) => Some(columns),
        _ => None,
    }
}

struct Respeller<'a>(&'a ColumnNames);

impl VisitorMut for Respeller<'_> {
    type Break = ();

    fn pre_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<()> {
        match expression {
            Expr::Identifier(name) => self.0.respell(name),
            Expr::CompoundIdentifier(parts) => parts.iter_mut().for_each(|part| self.0.respell(part)),
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        for item in &mut select.projection {
            if let SelectItem::ExprWithAlias { alias, .. } = item {
                self.0.respell(alias);
            }
        }
        let joins = select.from.iter_mut().flat_map(|item| &mut item.joins);
        joins.filter_map(|join| joined_by(&mut join.join_operator)).flatten().for_each(|column| self.0.respell_last(column));
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::{Fields, Schema};

    use super::*;
    use crate::sql::{Statement as Parsed, parse};

    fn respelled(sql: &str) -> (String, Vec<(String, String)>) {
        let field = Field::new("placeid", DataType::Int32, true);
        let columns = vec![
            Field::new("userid", DataType::Int32, true),
            Field::new("total", DataType::Int32, true),
            Field::new("A", DataType::Int32, true),
            Field::new("a", DataType::Int32, true),
            Field::new("r", DataType::Struct(Fields::from(vec![field])), true),
        ];
        let Ok(Parsed::Query(query)) = parse(sql) else { panic!("{sql} is not a query") };
        let mut statement = Statement::Query(query);
        let outputs = ColumnNames::of([Arc::new(Schema::new(columns))]).respell_all(&mut statement);
        (statement.to_string(), outputs.0.into_iter().collect())
    }

    #[test]
    fn columns_are_found_by_any_spelling() {
        let user = || vec![("userid".to_owned(), "userId".to_owned())];
        assert_eq!(respelled(r#"SELECT "userId" FROM t"#), (r#"SELECT "userid" FROM t"#.to_owned(), user()));
        let sql = r#"SELECT "T"."userId" AS "userId" FROM t AS "T" JOIN u USING ("userId") ORDER BY "userId""#;
        assert_eq!(respelled(sql), (r#"SELECT "T"."userid" AS "userid" FROM t AS "T" JOIN u USING("userid") ORDER BY "userid""#.to_owned(), user()));
        let sql = r#"SELECT x FROM (SELECT "r"."placeId" AS x FROM t) AS s WHERE "A" = 1"#;
        assert_eq!(respelled(sql), (sql.replace("placeId", "placeid"), vec![]));
    }

    #[test]
    fn names_that_a_statement_makes_stay() {
        for sql in [
            r#"SELECT sum(total) AS "Total" FROM t ORDER BY "Total""#,
            r#"SELECT "userId" FROM (SELECT 1) AS s ("userId")"#,
            r#"SELECT "Total".x FROM t AS "Total""#,
            r#"SELECT "other" AS "Other" FROM t"#,
        ] {
            assert_eq!(respelled(sql), (sql.to_owned(), vec![]));
        }
    }
}
