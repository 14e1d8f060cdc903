//! The plans of joins by name that are relations of their own.

use datafusion::common::{Column, DFSchema, JoinType, TableReference, internal_err};
use datafusion::error::Result;
use datafusion::functions::core::expr_fn::coalesce;
use datafusion::logical_expr::planner::{PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning};
use datafusion::logical_expr::{Expr as PlannedExpr, LogicalPlan, LogicalPlanBuilder};
use datafusion::sql::sqlparser::ast::{Join, JoinConstraint, JoinOperator, TableFactor, TableWithJoins};
use nunatak_core::{Code, Error, Location};

use super::{ALIAS, is_ours, own_name};
use crate::error::{into_datafusion, suggest};
use crate::sql::names::parts;
use crate::sql::place::start_of;
use crate::sql::select_items::output_name;

/// Plans the joins that [`set_apart`](super::set_apart) has made relations of their own.
#[derive(Debug)]
pub(crate) struct JoinUsing;

impl RelationPlanner for JoinUsing {
    fn plan_relation(&self, relation: TableFactor, context: &mut dyn RelationPlannerContext) -> Result<RelationPlanning> {
        match relation {
            TableFactor::NestedJoin { table_with_joins, alias: Some(alias) } if is_ours(&alias) => {
                let plan = plan(*table_with_joins, &TableReference::bare(alias.name.value), context)?;
                Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(plan, None))))
            }
            other => Ok(RelationPlanning::Original(Box::new(other))),
        }
    }
}

/// The join, with its keys as columns of `alias`, and behind them the columns of both sides.
fn plan(joined: TableWithJoins, alias: &TableReference, context: &mut dyn RelationPlannerContext) -> Result<LogicalPlan> {
    let TableWithJoins { relation, joins } = joined;
    let Ok([join]) = <[Join; 1]>::try_from(joins) else { return internal_err!("a join by name has other joins beside it") };
    let Some((join_type, columns)) = by_names(join.join_operator) else { return internal_err!("a join by name has no names") };
    let (left, right) = (context.plan(relation)?, context.plan(join.relation)?);
    let (mut left_keys, mut right_keys) = (Vec::new(), Vec::new());
    let mut projected = Vec::new();
    for (names, place) in &columns {
        let Some(key) = names.first() else { continue };
        let (left_key, right_key) = (key_of(left.schema(), key, *place)?, key_of(right.schema(), key, *place)?);
        let value = match join_type {
            JoinType::Right => PlannedExpr::Column(right_key.clone()),
            JoinType::Full => coalesce(vec![PlannedExpr::Column(left_key.clone()), PlannedExpr::Column(right_key.clone())]),
            _ => PlannedExpr::Column(left_key.clone()),
        };
        projected.push(value.alias_qualified(Some(alias.clone()), key));
        left_keys.push(left_key);
        right_keys.push(right_key);
    }
    for column in left.schema().columns().into_iter().chain(right.schema().columns()) {
        match columns.iter().find(|(names, _)| names.first() == Some(&column.name)) {
            None => projected.push(PlannedExpr::Column(column)),
            Some((names, _)) => {
                let owner = column.relation.clone().filter(|relation| names.iter().skip(1).any(|name| name == relation.table()));
                if let Some(owner) = owner {
                    let name = own_name(owner.table(), &column.name);
                    projected.push(PlannedExpr::Column(column).alias_qualified(Some(owner), name));
                }
            }
        }
    }
    LogicalPlanBuilder::from(left).join(right, join_type, (left_keys, right_keys), None)?.project(projected)?.build()
}

/// A key before the relations whose own column is kept, and where it stands.
type NamedKey = (Vec<String>, Option<Location>);

/// The kind of a join, and its keys.
fn by_names(operator: JoinOperator) -> Option<(JoinType, Vec<NamedKey>)> {
    let (join_type, constraint) = match operator {
        JoinOperator::Join(constraint) | JoinOperator::Inner(constraint) => (JoinType::Inner, constraint),
        JoinOperator::Left(constraint) | JoinOperator::LeftOuter(constraint) => (JoinType::Left, constraint),
        JoinOperator::Right(constraint) | JoinOperator::RightOuter(constraint) => (JoinType::Right, constraint),
        JoinOperator::FullOuter(constraint) => (JoinType::Full, constraint),
        _ => return None,
    };
    match constraint {
        JoinConstraint::Using(columns) => Some((join_type, columns.iter().map(|column| (parts(column), start_of(column))).collect())),
        _ => None,
    }
}

/// The one column of that name. Errors: that there is none, or more than one.
fn key_of(schema: &DFSchema, name: &str, place: Option<Location>) -> Result<Column> {
    if let Ok(found) = schema.qualified_field_with_unqualified_name(name) {
        return Ok(Column::from(found));
    }
    let wrong = match schema.qualified_fields_with_unqualified_name(name).as_slice() {
        [] => {
            let missing = Error::new(Code::ColumnNotFound, format!("column '{name}', by which tables are joined, does not exist on one side"));
            suggest(missing, name, schema.fields().iter().map(|field| output_name(field.name())))
        }
        several => {
            let owner = |relation: &TableReference| match relation.table() {
                name if name.starts_with(ALIAS) => "a join by it".to_owned(),
                name => format!("'{name}'"),
            };
            let owners: Vec<String> = several.iter().filter_map(|(relation, _)| relation.map(owner)).collect();
            let text = format!("column '{name}', by which tables are joined, is ambiguous: one side has it in {}", owners.join(" and "));
            Error::new(Code::AmbiguousName, text).with_hint("write JOIN ... ON with the table's name or alias before it")
        }
    };
    Err(into_datafusion(match place {
        Some(place) => wrong.at(place),
        None => wrong,
    }))
}
