//! `MERGE`: the table joined with its source, and for each pair the first clause that applies to it.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::FieldRef;
use datafusion::catalog::TableProvider;
use datafusion::common::{Column, ScalarValue, TableReference};
use datafusion::datasource::provider_as_source;
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::expr::Case;
use datafusion::logical_expr::logical_plan::dml::{MergeIntoAction, MergeIntoClause, MergeIntoClauseKind, MergeIntoOp};
use datafusion::logical_expr::{Expr, ExprSchemable, JoinType, LogicalPlan, LogicalPlanBuilder, lit};
use datafusion::sql::sqlparser::ast::{self, Ident, ObjectName, TableFactor};
use nunatak_core::Result;

use super::changes::{WRITTEN, has_row_ids, typed};
use super::names::{QualifiedName, normalized};
use super::relations::TARGETS_CATALOG;
use crate::error::from_datafusion;
use crate::scan::types::table_schema;
use crate::scan::{HiddenColumn, IcebergTable};

/// Names of columns that no statement can name.
const IN_SOURCE: &str = "\u{1}source";
const CLAUSE: &str = "\u{1}clause";

/// Makes the alias of the table its name, since DataFusion refuses subqueries that name columns of a table by an alias. Gives the name that the table had, and what its new one means.
pub(super) fn name_target(merge: &mut ast::Merge) -> Option<(ObjectName, QualifiedName)> {
    let TableFactor::Table { name, alias, .. } = &mut merge.table else { return None };
    let alias = alias.take_if(|alias| alias.columns.is_empty())?.name;
    let target = QualifiedName { catalog: TARGETS_CATALOG.to_owned(), schema: TARGETS_CATALOG.to_owned(), table: normalized(&alias) };
    let catalog = Ident { value: TARGETS_CATALOG.to_owned(), quote_style: Some('"'), span: alias.span };
    let named = ObjectName::from(vec![catalog.clone(), catalog, alias]);
    Some((std::mem::replace(name, named), target))
}

/// The rows that a `MERGE` changes. `name` is the table as the expressions of `merge` name it; `table` is that table with its hidden columns.
pub(super) fn rows(name: &TableReference, table: &Arc<IcebergTable>, source: LogicalPlan, merge: MergeIntoOp) -> Result<LogicalPlan> {
    let fields = table_schema(table.iceberg_schema())?.fields().iter().cloned().collect();
    Merge { name, table, fields, clauses: merge.clauses }.rows(source, merge.on).map_err(from_datafusion)
}

struct Merge<'a> {
    name: &'a TableReference,
    table: &'a Arc<IcebergTable>,
    fields: Vec<FieldRef>,
    clauses: Vec<MergeIntoClause>,
}

impl Merge<'_> {
    fn rows(&self, source: LogicalPlan, on: Expr) -> DataFusionResult<LogicalPlan> {
        let provider: Arc<dyn TableProvider> = Arc::clone(self.table) as _;
        let target = LogicalPlanBuilder::scan(self.name.clone(), provider_as_source(provider), None)?;
        let marked = source.schema().columns().into_iter().map(Expr::Column).chain([lit(true).alias(IN_SOURCE)]).collect::<Vec<_>>();
        let source = LogicalPlanBuilder::from(source).project(marked)?.build()?;
        let joined = target.join_on(source, self.join_type(), [on])?;

        let pairs = joined.schema().columns().into_iter().map(Expr::Column).chain([self.first_clause()?.alias(CLAUSE)]).collect::<Vec<_>>();
        let chosen = joined.project(pairs)?.filter(clause().is_not_null())?.build()?;

        let mut columns = vec![self.hidden(HiddenColumn::File), self.hidden(HiddenColumn::Position), self.is_written()];
        for field in &self.fields {
            columns.push(self.value(field, &chosen)?);
        }
        if has_row_ids(self.table) {
            columns.push(self.hidden(HiddenColumn::RowId));
        }
        LogicalPlanBuilder::from(chosen).project(columns)?.build()
    }

    /// Only pairs that some clause can apply to are joined.
    fn join_type(&self) -> JoinType {
        let inserts = self.clauses.iter().any(|clause| clause.kind.is_not_matched_by_target());
        let without_source = self.clauses.iter().any(|clause| clause.kind == MergeIntoClauseKind::NotMatchedBySource);
        match (without_source, inserts) {
            (false, false) => JoinType::Inner,
            (true, false) => JoinType::Left,
            (false, true) => JoinType::Right,
            (true, true) => JoinType::Full,
        }
    }

    fn column(&self, name: &str) -> Expr {
        Expr::Column(Column::new(Some(self.name.clone()), name))
    }

    fn hidden(&self, column: HiddenColumn) -> Expr {
        self.column(column.name()).alias(column.name())
    }

    /// The number of the first clause that applies to a pair.
    fn first_clause(&self) -> DataFusionResult<Expr> {
        let in_table = || self.column(HiddenColumn::File.name()).is_not_null();
        let in_source = || Expr::Column(Column::new_unqualified(IN_SOURCE)).is_not_null();
        let cases = self.clauses.iter().zip(0..).map(|(clause, number)| {
            let kind = match clause.kind {
                MergeIntoClauseKind::Matched => in_table().and(in_source()),
                MergeIntoClauseKind::NotMatched | MergeIntoClauseKind::NotMatchedByTarget => in_table().is_false(),
                MergeIntoClauseKind::NotMatchedBySource => in_source().is_false(),
            };
            let applies = match &clause.predicate {
                Some(predicate) => kind.and(predicate.clone()),
                None => kind,
            };
            (Box::new(applies), Box::new(numbered(number)))
        });
        Ok(Expr::Case(Case::new(None, cases.collect(), None)))
    }

    /// Whether a chosen pair makes a new row.
    fn is_written(&self) -> Expr {
        let writes = self.clauses.iter().zip(0..).filter(|(clause, _)| clause.action != MergeIntoAction::Delete);
        let numbers: Vec<Expr> = writes.map(|(_, number)| numbered(number)).collect();
        match numbers.len() == self.clauses.len() {
            true => lit(true).alias(WRITTEN),
            false => clause().in_list(numbers, false).alias(WRITTEN),
        }
    }

    /// A column of the new rows.
    fn value(&self, field: &FieldRef, input: &LogicalPlan) -> DataFusionResult<Expr> {
        let mut cases = Vec::new();
        for (clause, number) in self.clauses.iter().zip(0..) {
            let value = match &clause.action {
                MergeIntoAction::Delete => continue,
                MergeIntoAction::Update(values) => {
                    let given: HashMap<&str, &Expr> = values.iter().map(|(name, value)| (name.as_str(), value)).collect();
                    given.get(field.name().as_str()).map_or_else(|| self.column(field.name()), |value| (*value).clone())
                }
                MergeIntoAction::Insert { columns, values } => {
                    let position = match columns.is_empty() {
                        true => self.fields.iter().position(|other| other.name() == field.name()),
                        false => columns.iter().position(|name| name == field.name()),
                    };
                    let given = position.and_then(|position| values.get(position)).cloned();
                    let default = || TableProvider::get_column_default(self.table.as_ref(), field.name()).cloned();
                    given.or_else(default).unwrap_or_else(|| lit(ScalarValue::Null))
                }
            };
            cases.push((number, value));
        }
        // Columns are taken as they are: no clause's value is computed for the rows of another.
        let value = match cases.first() {
            Some((_, column @ Expr::Column(_)))
                if cases.iter().all(|(_, value)| value == column) && column.get_type(input.schema())? == *field.data_type() =>
            {
                column.clone()
            }
            Some(_) => {
                let cases = cases.into_iter().map(|(number, value)| {
                    let value = typed(value, field, input.schema())?.unalias();
                    Ok((Box::new(numbered(number)), Box::new(value)))
                });
                Expr::Case(Case::new(Some(Box::new(clause())), cases.collect::<DataFusionResult<_>>()?, None))
            }
            None => lit(ScalarValue::try_from(field.data_type())?),
        };
        Ok(value.alias(field.name()))
    }
}

fn clause() -> Expr {
    Expr::Column(Column::new_unqualified(CLAUSE))
}

fn numbered(clause: i32) -> Expr {
    lit(clause)
}
