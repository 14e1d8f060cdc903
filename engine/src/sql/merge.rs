//! `MERGE`: the table joined with its source, and for each pair the first clause that applies to it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::datatypes::FieldRef;
use datafusion::catalog::TableProvider;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, ScalarValue, TableReference};
use datafusion::datasource::provider_as_source;
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::expr::{Case, Exists, InSubquery, SetComparison};
use datafusion::logical_expr::logical_plan::dml::{MergeIntoAction, MergeIntoClause, MergeIntoClauseKind, MergeIntoOp};
use datafusion::logical_expr::{Expr, ExprSchemable, JoinType, LogicalPlan, LogicalPlanBuilder, lit};
use datafusion::sql::sqlparser::ast::{self, AssignmentTarget, Ident, MergeAction, MergeInsertKind, ObjectName, TableFactor};
use datafusion::sql::sqlparser::tokenizer::Span;
use nunatak_core::{Code, Error, Location, Result};

use super::changes::{WRITTEN, has_row_ids, typed};
use super::names::{QualifiedName, normalized, parts};
use super::place::start_of;
use super::relations::TARGETS_CATALOG;
use crate::error::{from_datafusion, suggest};
use crate::scan::types::{field_names, table_schema};
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

/// That each clause gives one value to each of the columns that it names, which are those of the table.
///
/// Errors: `TYPE_MISMATCH`, `COLUMN_NOT_FOUND`, `DUPLICATE_COLUMN_NAME`.
pub(super) fn check_columns(merge: &ast::Merge, table: &IcebergTable) -> Result<()> {
    let columns = field_names(table.iceberg_schema().as_struct());
    for clause in &merge.clauses {
        let targets: Vec<&ObjectName> = match &clause.action {
            MergeAction::Insert(insert) => {
                if let MergeInsertKind::Values(values) = &insert.kind {
                    let wanted = if insert.columns.is_empty() { columns.len() } else { insert.columns.len() };
                    check_values(values, wanted).map_err(|error| placed(error, insert.insert_token.0.span))?;
                }
                insert.columns.iter().collect()
            }
            MergeAction::Update(update) => {
                let assignments = update.assignments.iter();
                assignments
                    .filter_map(|assignment| if let AssignmentTarget::ColumnName(target) = &assignment.target { Some(target) } else { None })
                    .collect()
            }
            MergeAction::Delete { .. } => Vec::new(),
        };
        check_targets(&targets, &columns)?;
    }
    Ok(())
}

fn check_values(values: &ast::Values, wanted: usize) -> Result<()> {
    let [row] = values.rows.as_slice() else {
        return Err(Error::new(Code::TypeMismatch, format!("INSERT of MERGE takes one row of values, not {}", values.rows.len()))
            .with_hint("each row of the source that has no partner makes one row"));
    };
    let given = row.content.len();
    if given != wanted {
        let text = format!("INSERT of MERGE has {} for {}", counted(given, "value"), counted(wanted, "column"));
        return Err(Error::new(Code::TypeMismatch, text).with_hint("name the columns that get values: INSERT (column, ...) VALUES (value, ...)"));
    }
    Ok(())
}

fn check_targets(targets: &[&ObjectName], columns: &[String]) -> Result<()> {
    let mut seen = HashSet::new();
    for target in targets {
        let path = parts(target);
        let Some(column) = path.last() else { continue };
        let wrong = if path.len() == 1 && !columns.contains(column) {
            let error = Error::new(Code::ColumnNotFound, format!("column '{column}' does not exist in the table that is merged into"));
            suggest(error, column, columns.iter().map(String::as_str))
        } else if !seen.insert(path.clone()) {
            Error::new(Code::DuplicateColumnName, format!("column '{column}' is given two values"))
        } else {
            continue;
        };
        return Err(match start_of(target) {
            Some(place) => wrong.at(place),
            None => wrong,
        });
    }
    Ok(())
}

fn counted(count: usize, thing: &str) -> String {
    format!("{count} {thing}{}", if count == 1 { "" } else { "s" })
}

fn placed(error: Error, span: Span) -> Error {
    match span.start.line {
        0 => error,
        line => error.at(Location { line, column: span.start.column }),
    }
}

/// That no clause names columns of the side of which it has no row. `name` is the table's.
///
/// Errors: `COLUMN_NOT_FOUND`.
fn check_sides(clauses: &[MergeIntoClause], name: &TableReference, source: &DFSchema) -> Result<()> {
    for clause in clauses {
        let (without_table, clause_name, others) = match clause.kind {
            MergeIntoClauseKind::Matched => continue,
            MergeIntoClauseKind::NotMatched | MergeIntoClauseKind::NotMatchedByTarget => (true, "WHEN NOT MATCHED", "the source"),
            MergeIntoClauseKind::NotMatchedBySource => (false, "WHEN NOT MATCHED BY SOURCE", "the table"),
        };
        let missing = |column: &Column| match column.relation.as_ref() == Some(name) {
            true => without_table,
            false => !without_table && source.has_column(column),
        };
        let values: Vec<&Expr> = match &clause.action {
            MergeIntoAction::Update(values) => values.iter().map(|(_, value)| value).collect(),
            MergeIntoAction::Insert { values, .. } => values.iter().collect(),
            MergeIntoAction::Delete => Vec::new(),
        };
        for expression in clause.predicate.iter().chain(values) {
            let Some(column) = named(expression).map_err(from_datafusion)?.into_iter().find(|column| missing(column)) else { continue };
            let shown = match &column.relation {
                Some(relation) => format!("{}.{}", relation.table(), column.name),
                None => column.name.clone(),
            };
            let error = Error::new(Code::ColumnNotFound, format!("column '{shown}' cannot be named in {clause_name}, where it has no row"))
                .with_hint(format!("name columns of {others} there"));
            return Err(match column.spans().first() {
                Some(span) => error.at(Location { line: span.start.line, column: span.start.column }),
                None => error,
            });
        }
    }
    Ok(())
}

/// The columns that an expression names, in its subqueries too.
fn named(expression: &Expr) -> DataFusionResult<Vec<Column>> {
    let mut columns = Vec::new();
    expression.apply(|part| {
        match part {
            Expr::Column(column) => columns.push(column.clone()),
            Expr::Exists(Exists { subquery, .. })
            | Expr::InSubquery(InSubquery { subquery, .. })
            | Expr::SetComparison(SetComparison { subquery, .. })
            | Expr::ScalarSubquery(subquery) => {
                let outer = |reference: &Expr| if let Expr::OuterReferenceColumn(_, column) = reference { Some(column.clone()) } else { None };
                columns.extend(subquery.outer_ref_columns.iter().filter_map(outer));
            }
            _ => {}
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(columns)
}

/// The rows that a `MERGE` changes. `name` is the table as the expressions of `merge` name it; `table` is that table with its hidden columns.
pub(super) fn rows(name: &TableReference, table: &Arc<IcebergTable>, source: LogicalPlan, merge: MergeIntoOp) -> Result<LogicalPlan> {
    check_sides(&merge.clauses, name, source.schema())?;
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
