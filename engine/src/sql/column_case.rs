//! Quoted names of columns. Columns have their names in lower case wherever that keeps them apart ([`field_names`](crate::scan::types::field_names)), and as in Trino a
//! statement finds them by any spelling, also by a quoted one: `"userId"`, as Spark wrote it and as BI tools write it.

use std::collections::HashSet;
use std::ops::ControlFlow;

use arrow::datatypes::{DataType, Field, SchemaRef};
use datafusion::common::Column;
use datafusion::logical_expr::{Expr as PlannedExpr, LogicalPlan, LogicalPlanBuilder};
use datafusion::sql::sqlparser::ast::{
    AccessExpr, AssignmentTarget, Expr, Ident, JoinConstraint, MergeAction, ObjectName, ObjectNamePart, Query, Select, SelectItem, SetExpr,
    Statement, Subscript, TableAlias, TableFactor, Value, ValueWithSpan, VisitMut, VisitorMut,
};
use nunatak_core::{Code, Error, Result};

use super::join_using::constraint_mut;
use super::parse;
use super::select_items::{MARK, output_name};
use crate::error::from_datafusion;

/// The names of columns and of fields within them.
#[derive(Debug, Default)]
pub(super) struct ColumnNames {
    all: HashSet<String>,
    /// Those of rows, and of arrays of rows.
    rows: HashSet<String>,
    /// Those of others.
    others: HashSet<String>,
}

impl ColumnNames {
    /// Those of tables with these schemas.
    pub(super) fn of(schemas: impl IntoIterator<Item = SchemaRef>) -> Self {
        let mut names = Self::default();
        schemas.into_iter().for_each(|schema| schema.fields().iter().for_each(|field| names.add(field)));
        names
    }

    /// Whether a column or field has this name.
    pub(super) fn contains(&self, name: &str) -> bool {
        self.all.contains(name)
    }

    /// Whether a name is another spelling of one of these.
    fn is_spelling(&self, name: &Ident) -> bool {
        name.quote_style.is_some() && self.is_spelling_of_other(&name.value)
    }

    fn is_spelling_of_other(&self, name: &str) -> bool {
        !self.all.contains(name) && self.all.contains(&name.to_lowercase())
    }

    fn add(&mut self, field: &Field) {
        self.all.insert(field.name().clone());
        let named = if is_row(field.data_type()) { &mut self.rows } else { &mut self.others };
        named.insert(field.name().to_lowercase());
        match field.data_type() {
            DataType::Struct(fields) => fields.iter().for_each(|field| self.add(field)),
            DataType::List(element) | DataType::Map(element, _) => self.add(element),
            _ => {}
        }
    }

    /// Spells the fields in `row['field']` as the row does. What stands so behind a map is a key.
    fn respell_fields(&self, root: &Expr, accesses: &mut [AccessExpr]) {
        let mut row = column(root).map(|name| name.value.to_lowercase());
        for access in accesses {
            match access {
                AccessExpr::Dot(Expr::Identifier(name)) => row = Some(name.value.to_lowercase()),
                AccessExpr::Subscript(Subscript::Index { index: Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(field), .. }) }) => {
                    let of_row = row.as_ref().is_some_and(|row| self.rows.contains(row) && !self.others.contains(row));
                    if of_row && self.is_spelling_of_other(field) {
                        *field = field.to_lowercase();
                    }
                    row = of_row.then(|| field.to_lowercase());
                }
                // An element of an array.
                AccessExpr::Subscript(Subscript::Index { index: Expr::Value(_) }) => {}
                _ => row = None,
            }
        }
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
        let _: ControlFlow<()> = expression.visit(&mut Respeller { names: self, relations: HashSet::new() });
    }

    /// The same for all columns that a statement names, and for those that it makes under such a name: whoever uses them means the same.
    pub(super) fn respell_all(&self, statement: &mut Statement) {
        let mut relations = Relations(HashSet::new());
        let _: ControlFlow<()> = statement.visit(&mut relations);
        let _: ControlFlow<()> = statement.visit(&mut Respeller { names: self, relations: relations.0 });
    }
}

/// The names of the columns that a query gives, as its text spells them; by their place, as far as these are known.
#[derive(Debug, Default)]
pub(super) struct OutputNames(Vec<Option<String>>);

impl OutputNames {
    /// Those of a statement before its columns are spelled otherwise.
    pub(super) fn of(statement: &Statement) -> Self {
        match statement {
            Statement::Query(query) => Self(written(&query.body, &|name| name.quote_style.is_some())),
            _ => Self::default(),
        }
    }

    /// All of them, those without quotes too: as in Trino, clients see names as they are written.
    pub(super) fn as_written(query: &Query) -> Self {
        Self(written(&query.body, &|_| true))
    }

    /// The plan with these names.
    pub(super) fn restore(&self, plan: LogicalPlan) -> Result<LogicalPlan> {
        let columns = plan.schema().columns();
        let other = |(column, spelled): (&Column, &Option<String>)| {
            let spelled = spelled.as_ref()?;
            // A name that is there twice ends in a mark.
            let rest = column.name.strip_prefix(spelled.to_lowercase().as_str())?;
            Some(format!("{spelled}{rest}")).filter(|name| *name != column.name && output_name(name) == spelled)
        };
        let others: Vec<Option<String>> = columns.iter().zip(self.0.iter().chain(std::iter::repeat(&None))).map(other).collect();
        if others.iter().all(Option::is_none) {
            return Ok(plan);
        }
        let named = columns.into_iter().zip(others).map(|(column, other)| match other {
            Some(name) => PlannedExpr::Column(column.clone()).alias_qualified(column.relation, name),
            None => PlannedExpr::Column(column),
        });
        let named: Vec<PlannedExpr> = named.collect();
        LogicalPlanBuilder::from(plan).project(named).and_then(LogicalPlanBuilder::build).map_err(from_datafusion)
    }
}

/// The plan of `VALUES`, whose columns have no names.
pub(super) fn unnamed(plan: LogicalPlan) -> Result<LogicalPlan> {
    let columns = plan.schema().columns().into_iter().enumerate();
    let columns: Vec<PlannedExpr> = columns.map(|(place, column)| PlannedExpr::Column(column).alias(format!("{MARK}_col{place}"))).collect();
    LogicalPlanBuilder::from(plan).project(columns).and_then(LogicalPlanBuilder::build).map_err(from_datafusion)
}

/// The plan of a view, whose text is `sql`, with no other columns than those that the view had when it was made: what its tables have got since is not in its `*`.
///
/// Errors: `INVALID_VIEW` if a column of its `*` is gone.
pub fn frozen(plan: LogicalPlan, view: &str, sql: &str, columns: &[String]) -> Result<LogicalPlan> {
    let known = plan.schema().columns();
    let place = |name: &String| known.iter().position(|column| output_name(&column.name).to_lowercase() == name.to_lowercase());
    // Texts of other engines may give their columns other names than the view has.
    if let Some(gone) = columns.iter().find(|name| place(name).is_none())
        && matches!(parse(sql), Ok(super::Statement::Query(query)) if has_star(&query.body))
    {
        return Err(Error::new(Code::InvalidView, format!("view '{view}' has a column '{gone}', which what it reads no longer has"))
            .with_hint("CREATE OR REPLACE VIEW makes it of the columns that are there now"));
    }
    let places: Option<Vec<usize>> = columns.iter().map(place).collect();
    let Some(places) = places.filter(|places| !places.is_empty() && places.len() < known.len()) else { return Ok(plan) };
    let kept: Vec<PlannedExpr> = places.into_iter().map(|place| PlannedExpr::Column(known[place].clone())).collect();
    LogicalPlanBuilder::from(plan).project(kept).and_then(LogicalPlanBuilder::build).map_err(from_datafusion)
}

/// A view's plan with the names that queries have for its columns: as those of a table, in lower case where that keeps them apart.
pub(super) fn folded(plan: LogicalPlan) -> Result<LogicalPlan> {
    let columns = plan.schema().columns();
    let lower: Vec<String> = columns.iter().map(|column| column.name.to_lowercase()).collect();
    let is_single = |name: &String| lower.iter().filter(|other| *other == name).count() == 1;
    if columns.iter().zip(&lower).all(|(column, lower)| column.name == *lower || !is_single(lower)) {
        return Ok(plan);
    }
    let folded = columns.iter().zip(&lower).map(|(column, lower)| match is_single(lower) {
        true => PlannedExpr::Column(column.clone()).alias(lower),
        false => PlannedExpr::Column(column.clone()),
    });
    let folded: Vec<PlannedExpr> = folded.collect();
    LogicalPlanBuilder::from(plan).project(folded).and_then(LogicalPlanBuilder::build).map_err(from_datafusion)
}

/// Whether a query's columns are, in part, those of what it reads.
fn has_star(body: &SetExpr) -> bool {
    match body {
        SetExpr::Select(select) => select.projection.iter().any(|item| matches!(item, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..))),
        SetExpr::Query(query) => has_star(&query.body),
        SetExpr::SetOperation { left, .. } => has_star(left),
        SetExpr::Table(_) => true,
        _ => false,
    }
}

/// The names of a query's columns up to the first of which there may be several, as far as they are wanted.
fn written(body: &SetExpr, is_wanted: &dyn Fn(&Ident) -> bool) -> Vec<Option<String>> {
    match body {
        SetExpr::Select(select) => {
            let single = |item: &&SelectItem| matches!(item, SelectItem::ExprWithAlias { .. } | SelectItem::UnnamedExpr(_));
            let name = |item: &SelectItem| output(item).filter(|name| is_wanted(name)).map(|name| name.value.clone());
            select.projection.iter().take_while(single).map(name).collect()
        }
        SetExpr::Query(query) => written(&query.body, is_wanted),
        SetExpr::SetOperation { left, .. } => written(left, is_wanted),
        _ => Vec::new(),
    }
}

fn is_row(data_type: &DataType) -> bool {
    match data_type {
        DataType::Struct(_) => true,
        DataType::List(element) => is_row(element.data_type()),
        _ => false,
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

/// Finds the names that stand for relations: before a column's name they are not those of rows.
struct Relations(HashSet<String>);

impl VisitorMut for Relations {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        self.0.extend(query.with.iter().flat_map(|with| &with.cte_tables).map(|table| table.alias.name.value.clone()));
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        if let TableFactor::Table { name, .. } = &*factor {
            self.0.extend(name.0.iter().filter_map(ObjectNamePart::as_ident).map(|part| part.value.clone()));
        }
        self.0.extend(alias(factor).map(|alias| alias.name.value.clone()));
        ControlFlow::Continue(())
    }
}

/// The name that a relation has in its query.
pub(super) fn alias(factor: &mut TableFactor) -> Option<&mut TableAlias> {
    match factor {
        TableFactor::Table { alias, .. }
        | TableFactor::Derived { alias, .. }
        | TableFactor::UNNEST { alias, .. }
        | TableFactor::Function { alias, .. }
        | TableFactor::TableFunction { alias, .. }
        | TableFactor::NestedJoin { alias, .. } => alias.as_mut(),
        _ => None,
    }
}

struct Respeller<'a> {
    names: &'a ColumnNames,
    relations: HashSet<String>,
}

impl Respeller<'_> {
    fn columns_of(&self, alias: &mut TableAlias) {
        alias.columns.iter_mut().for_each(|column| self.names.respell(&mut column.name));
    }
}

impl VisitorMut for Respeller<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        query.with.iter_mut().flat_map(|with| &mut with.cte_tables).for_each(|table| self.columns_of(&mut table.alias));
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        alias(factor).into_iter().for_each(|alias| self.columns_of(alias));
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<()> {
        match expression {
            Expr::Identifier(name) => self.names.respell(name),
            Expr::CompoundIdentifier(parts) => {
                let last = parts.len().saturating_sub(1);
                let is_column = |(place, part): &(usize, &mut Ident)| *place == last || !self.relations.contains(&part.value);
                parts.iter_mut().enumerate().filter(is_column).for_each(|(_, part)| self.names.respell(part));
            }
            Expr::CompoundFieldAccess { root, access_chain } => self.names.respell_fields(root, access_chain),
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        for item in &mut select.projection {
            if let SelectItem::ExprWithAlias { alias, .. } = item {
                self.names.respell(alias);
            }
        }
        let joins = select.from.iter_mut().flat_map(|item| &mut item.joins);
        for join in joins {
            if let Some(JoinConstraint::Using(columns)) = constraint_mut(&mut join.join_operator) {
                columns.iter_mut().for_each(|column| self.names.respell_last(column));
            }
        }
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::{Fields, Schema};

    use super::*;
    use crate::sql::{Statement as Parsed, parse};

    fn respelled(sql: &str) -> String {
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
        ColumnNames::of([Arc::new(Schema::new(columns))]).respell_all(&mut statement);
        statement.to_string()
    }

    #[test]
    fn columns_are_found_by_any_spelling() {
        assert_eq!(respelled(r#"SELECT "userId" FROM t"#), r#"SELECT "userid" FROM t"#);
        let sql = r#"SELECT "T"."userId" AS "userId" FROM t AS "T" JOIN u USING ("userId") ORDER BY "userId""#;
        assert_eq!(respelled(sql), r#"SELECT "T"."userid" AS "userid" FROM t AS "T" JOIN u USING("userid") ORDER BY "userid""#);
        let sql = r#"SELECT "r"."placeId" AS x, "Total"."Total" FROM t AS "Total" WHERE "A" = 1"#;
        assert_eq!(respelled(sql), r#"SELECT "r"."placeid" AS x, "Total"."total" FROM t AS "Total" WHERE "A" = 1"#);
    }

    #[test]
    fn fields_of_rows_are_found_by_any_spelling() {
        assert_eq!(
            respelled(r#"SELECT "R"['placeId'], r['nope'], total['placeId'] FROM t"#),
            r#"SELECT "r"['placeid'], r['nope'], total['placeId'] FROM t"#
        );
    }

    #[test]
    fn names_that_a_statement_makes_are_spelled_alike() {
        let sql =
            r#"WITH q ("userId") AS (SELECT 1) SELECT sum("Total") AS "Total" FROM q JOIN (VALUES (1)) AS s ("userId") ON true ORDER BY "Total""#;
        let expected = r#"WITH q ("userid") AS (SELECT 1) SELECT sum("total") AS "total" FROM q JOIN (SELECT * FROM (VALUES (1))) AS s ("userid") ON true ORDER BY "total""#;
        assert_eq!(respelled(sql), expected);
        let sql = r#"SELECT "other" AS "Other" FROM t"#;
        assert_eq!(respelled(sql), sql);
    }

    #[test]
    fn outputs_are_spelled_as_in_the_text() {
        let spelled = |sql: &str| {
            let Ok(Parsed::Query(query)) = parse(sql) else { panic!("{sql} is not a query") };
            OutputNames::of(&Statement::Query(query)).0
        };
        let named = |name: &str| Some(name.to_owned());
        assert_eq!(spelled(r#"SELECT "userId", x, t."At" AS "Key", count(*) FROM t"#), [named("userId"), None, named("Key"), None]);
        assert_eq!(spelled(r#"SELECT "userId", *, "At" FROM t"#), [named("userId")]);
    }
}
