//! Makes values that are compared with each other, or of which one is chosen, of one type, where DataFusion would make them another one: see [`super::common_types`] for
//! the types and [`super::groups`] for what is compared.

mod misfits;

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::DFSchema;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::logical_expr::expr::{Cast, InSubquery, ScalarFunction, TryCast, WindowFunction};
use datafusion::logical_expr::{Distinct, Expr, ExprSchemable, Join, LogicalPlan, LogicalPlanBuilder, Union, WindowFunctionDefinition};
use datafusion::optimizer::AnalyzerRule;

use super::common_types::{chosen_type, common_type, takes, unified};
use super::groups::{Group, Member, Part, groups, parts};
use super::map_node;
use crate::functions::rename_fields::{cast_by_position, with_names_of};

/// The rule. It goes up through the plan, so that each expression sees the types that the columns below it will have.
#[derive(Debug)]
pub(super) struct Alike;

impl AnalyzerRule for Alike {
    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        plan.transform_up_with_subqueries(|node| {
            let node = match node {
                LogicalPlan::Union(union) => united(union)?,
                LogicalPlan::Join(join) => joined(join)?,
                other => other,
            };
            let node = map_node(node, &|schema, expression| expression.transform_up(|expression| alike(schema, expression)))?;
            node.data.recompute_schema().map(Transformed::yes)
        })
        .data()
    }

    fn name(&self) -> &str {
        "alike"
    }
}

/// The same rows of `VALUES` with columns of one type each, where it is not the one that DataFusion finds.
pub(crate) fn alike_rows(mut rows: Vec<Vec<Expr>>) -> Result<Vec<Vec<Expr>>> {
    let schema = DFSchema::empty();
    let width = rows.first().map_or(0, Vec::len);
    for column in 0..width {
        let types = rows.iter().filter_map(|row| row.get(column)).map(|value| value.get_type(&schema)).collect::<Result<Vec<_>>>()?;
        let Some(common) = chosen_type(&types) else { continue };
        for (value, data_type) in rows.iter_mut().filter_map(|row| row.get_mut(column)).zip(&types) {
            if !data_type.is_null() && *data_type != common {
                *value = cast_written(std::mem::take(value), &common, &schema)?;
            }
        }
    }
    Ok(rows)
}

/// The types that the arguments of a function get where its values are compared with each other and are not of one type; `None` if nothing is to be changed.
pub(crate) fn alike_arguments(function: &str, types: &[DataType]) -> Option<Vec<DataType>> {
    let parts = parts(function, types.len())?;
    let compared: Vec<Option<DataType>> = parts.iter().zip(types).map(|(part, whole)| part.of(whole)).collect();
    // Functions of arrays take no two types, be they numbers both.
    let common = unified(&compared.iter().flatten().cloned().collect::<Vec<_>>())?;
    if parts.iter().zip(&compared).any(|(part, compared)| *part == Part::Keys && compared.as_ref() != Some(&common)) {
        return None;
    }
    let mut alike = types.to_vec();
    for ((part, compared), whole) in parts.iter().zip(&compared).zip(&mut alike) {
        if compared.as_ref().is_some_and(|compared| !compared.is_null() && *compared != common) {
            *whole = part.around(&common);
        }
    }
    (alike != types).then_some(alike)
}

fn alike(schema: &DFSchema, mut expression: Expr) -> Result<Transformed<Expr>> {
    misfits::check(&expression, schema)?;
    let mut changed = false;
    if let Expr::InSubquery(membership) = &mut expression {
        changed = looked_for(schema, membership)?;
    }
    if let Expr::WindowFunction(window) = &mut expression {
        changed |= shifted(schema, window)?;
    }
    if let Expr::Cast(Cast { expr: value, field }) | Expr::TryCast(TryCast { expr: value, field }) = &mut expression {
        changed |= with_names_of(value, field.data_type(), schema)?;
    }
    for group in groups(&mut expression) {
        changed |= make_alike(schema, group)?;
    }
    Ok(Transformed::new_transformed(expression, changed))
}

impl Member<'_> {
    /// The type of the part that is compared; `None` for what has no type yet, or no such part.
    fn data_type(&self, schema: &DFSchema) -> Option<DataType> {
        self.part.of(&self.expression.get_type(schema).ok()?)
    }

    fn cast(&mut self, common: &DataType, schema: &DFSchema) -> Result<()> {
        *self.expression = cast_written(std::mem::take(self.expression), &self.part.around(common), schema)?;
        Ok(())
    }
}

/// An expression cast to a type. Where an array is written out its elements are cast, since numbers have the digits that are written then.
fn cast_written(mut expression: Expr, data_type: &DataType, schema: &DFSchema) -> Result<Expr> {
    if let (Expr::ScalarFunction(ScalarFunction { func, args }), DataType::List(element)) = (&mut expression, data_type)
        && func.name() == "make_array"
    {
        for argument in args {
            *argument = cast_written(std::mem::take(argument), element.data_type(), schema)?;
        }
    }
    cast_by_position(expression, data_type, schema)
}

fn make_alike(schema: &DFSchema, group: Group<'_>) -> Result<bool> {
    let Group { members, decides, chooses } = group;
    let types: Vec<Option<DataType>> = members.iter().map(|member| member.data_type(schema)).collect();
    let known: Vec<DataType> = types.iter().flatten().cloned().collect();
    let common = match decides {
        // Where some have no type yet, DataFusion finds it.
        true if known.len() == types.len() => unified(&known),
        _ if chooses => chosen_type(&known),
        _ => common_type(&known),
    };
    let Some(common) = common else { return Ok(false) };
    // The keys of a map stay as they are.
    if members.iter().zip(&types).any(|(member, data_type)| member.part == Part::Keys && data_type.as_ref() != Some(&common)) {
        return Ok(false);
    }
    let is_cast = |data_type: &DataType| takes(&common, data_type) || decides && !data_type.is_null() && *data_type != common;
    let mut changed = false;
    for (mut member, data_type) in members.into_iter().zip(&types) {
        if data_type.as_ref().is_some_and(is_cast) {
            member.cast(&common, schema)?;
            changed = true;
        }
    }
    Ok(changed)
}

/// The numbers of `lag` and `lead`, where the default is one that their type has not. DataFusion would cut the default to it.
fn shifted(schema: &DFSchema, window: &mut WindowFunction) -> Result<bool> {
    let is_shift = matches!(&window.fun, WindowFunctionDefinition::WindowUDF(function) if matches!(function.name(), "lag" | "lead"));
    let [value, _, default] = window.params.args.as_mut_slice() else { return Ok(false) };
    let (true, Ok(from), Ok(of_default)) = (is_shift, value.get_type(schema), default.get_type(schema)) else { return Ok(false) };
    // A whole number that is written out is a bigint, whatever it stands beside.
    if !from.is_numeric() || !of_default.is_numeric() || of_default.is_integer() {
        return Ok(false);
    }
    match unified(&[from.clone(), of_default]) {
        Some(common) if common != from => {
            *value = cast_by_position(std::mem::take(value), &common, schema)?;
            Ok(true)
        }
        _ => Ok(false),
    }
}

/// A value that is looked for, and the column that it is looked for in.
fn looked_for(schema: &DFSchema, membership: &mut InSubquery) -> Result<bool> {
    let rows = Arc::clone(&membership.subquery.subquery);
    let (Ok(value), column) = (membership.expr.get_type(schema), rows.schema().field(0).data_type()) else { return Ok(false) };
    let Some(common) = common_type(&[value.clone(), column.clone()]) else { return Ok(false) };
    let (of_value, of_column) = (takes(&common, &value), takes(&common, column));
    if of_value {
        *membership.expr = cast_by_position(std::mem::take(membership.expr.as_mut()), &common, schema)?;
    }
    if of_column {
        // Under another name: where a join is made of it, DataFusion would take it for two columns of one name.
        let column = cast_by_position(Expr::from(rows.schema().qualified_field(0)), &common, rows.schema())?.alias("in_value");
        membership.subquery.subquery = Arc::new(LogicalPlanBuilder::new_from_arc(rows).project([column])?.build()?);
    }
    Ok(of_value || of_column)
}

/// The keys of a join.
fn joined(mut join: Join) -> Result<LogicalPlan> {
    misfits::check_set_join(&join)?;
    for (left, right) in &mut join.on {
        let types = [left.get_type(join.left.schema())?, right.get_type(join.right.schema())?];
        let zoned = zoned_key(&types);
        let Some(common) = common_type(&types).or_else(|| zoned.cloned()) else { continue };
        for ((key, data_type), input) in [left, right].into_iter().zip(&types).zip([&join.left, &join.right]) {
            if takes(&common, data_type) || zoned.is_some_and(|zoned| zoned != data_type) {
                *key = cast_by_position(std::mem::take(key), &common, input.schema())?;
            }
        }
    }
    Ok(LogicalPlan::Join(join))
}

/// The type of the two keys that is one of moments with a time zone, if the other is one of those without: DataFusion compares what clocks show of both.
fn zoned_key(types: &[DataType; 2]) -> Option<&DataType> {
    use DataType::Timestamp;
    match types {
        [zoned @ Timestamp(_, Some(_)), Timestamp(_, None)] | [Timestamp(_, None), zoned @ Timestamp(_, Some(_))] => Some(zoned),
        _ => None,
    }
}

/// A union whose columns have the types of all of its inputs. Before, they have those of the first.
fn united(union: Union) -> Result<LogicalPlan> {
    let plan = LogicalPlan::Union(union);
    let mut types = vec![Vec::new(); plan.schema().fields().len()];
    types_of_inputs(&plan, &mut types);
    misfits::check_parts("UNION", plan.schema().fields().iter().map(|field| field.name().as_str()), &types)?;
    let unlike = |types: &[DataType]| types.iter().any(|data_type| Some(data_type) != types.first());
    // Where there is no common type, DataFusion says so.
    let targets: Vec<Option<DataType>> = types.iter().map(|types| if unlike(types) { unified(types) } else { None }).collect();
    with_types(plan, &targets)
}

/// The types of the columns of all inputs of a union, and of the unions among these.
fn types_of_inputs(plan: &LogicalPlan, types: &mut [Vec<DataType>]) {
    match plan {
        LogicalPlan::Union(union) => union.inputs.iter().for_each(|input| types_of_inputs(input, types)),
        LogicalPlan::Distinct(Distinct::All(input)) => types_of_inputs(input, types),
        other => other.schema().fields().iter().zip(types).for_each(|(field, types)| types.push(field.data_type().clone())),
    }
}

/// The same inputs with these types of columns.
fn with_types(plan: LogicalPlan, targets: &[Option<DataType>]) -> Result<LogicalPlan> {
    match plan {
        LogicalPlan::Union(union) => {
            let inputs = union.inputs.into_iter().map(|input| with_types(Arc::unwrap_or_clone(input), targets).map(Arc::new));
            Ok(LogicalPlan::Union(Union::try_new_with_loose_types(inputs.collect::<Result<Vec<_>>>()?)?))
        }
        LogicalPlan::Distinct(Distinct::All(input)) => {
            Ok(LogicalPlan::Distinct(Distinct::All(Arc::new(with_types(Arc::unwrap_or_clone(input), targets)?))))
        }
        input
            if input
                .schema()
                .fields()
                .iter()
                .zip(targets)
                .all(|(field, target)| target.as_ref().is_none_or(|target| field.data_type() == target)) =>
        {
            Ok(input)
        }
        input => {
            let columns = input.schema().iter().zip(targets).map(|((relation, field), target)| {
                let column = Expr::from((relation, field));
                match target {
                    Some(target) if field.data_type() != target => {
                        Ok(cast_by_position(column, target, input.schema())?.alias_qualified(relation.cloned(), field.name()))
                    }
                    _ => Ok(column),
                }
            });
            let columns = columns.collect::<Result<Vec<_>>>()?;
            LogicalPlanBuilder::from(input).project(columns)?.build()
        }
    }
}

#[cfg(test)]
mod tests;
