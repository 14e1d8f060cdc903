//! `INSERT`: what its rows are, and how they become those of the table's columns.

use std::sync::Arc;

use datafusion::arrow::datatypes::{Field, FieldRef, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::common::DFSchema;
use datafusion::logical_expr::{DmlStatement, Expr, LogicalPlan, LogicalPlanBuilder, WriteOp};
use datafusion::sql::sqlparser::ast;
use nunatak_catalog::Table;
use nunatak_catalog::spec::{NestedField, PrimitiveType, Type};
use nunatak_core::{Code, Error, Result};

use super::Planner;
use crate::error::from_datafusion;
use crate::functions::column_cast::{cast_at, cast_columns, cast_to_column};
use crate::functions::text_cast::UUID;
use crate::scan::IcebergTable;
use crate::scan::types::{plain_type, table_schema};
use crate::sql::changes::{Change, row_of_defaults, set_default};
use crate::sql::column_case::ColumnNames;
use crate::sql::names::{QualifiedName, parts};
use crate::sql::{insert_values, nested_values, overwrite, row_values, values};

/// A planned `INSERT`.
pub struct InsertPlan {
    /// The table, as it was when planned.
    pub table: Table,
    /// Its name.
    pub name: QualifiedName,
    /// Its rows: the table's columns in order, cast to their types.
    pub input: LogicalPlan,
    /// Of `INSERT OVERWRITE ... PARTITION`: the deletion of the rows that are replaced.
    pub replaced: Option<Change>,
}

impl Planner {
    /// Plans an `INSERT`; DataFusion maps and casts its columns.
    pub async fn plan_insert(&self, mut insert: ast::Statement) -> Result<InsertPlan> {
        let (mut replaced, mut targets) = (None, Vec::new());
        if let ast::Statement::Insert(insert) = &mut insert {
            if insert.on.is_some() || insert.returning.is_some() {
                return Err(Error::not_supported(
                    "of INSERT only INSERT INTO | OVERWRITE table [(columns)] [PARTITION (column = value)] query is supported",
                ));
            }
            (replaced, targets) = self.prepare_insert(insert).await?;
        }
        let planned = match self.plan(insert.clone()).await {
            Err(error) if error.code() == Code::TypeMismatch => return Err(self.misfit(insert, &targets).await.unwrap_or(error)),
            planned => planned?,
        };
        match planned {
            LogicalPlan::Dml(DmlStatement { table_name, input, op: WriteOp::Insert(_), .. }) => {
                let name = self.qualified(table_name)?;
                let table = self.looked_up.get(&name).ok_or_else(|| Error::internal(format!("{name} was planned but not looked up")))?;
                let Some(iceberg) = table.downcast_ref::<IcebergTable>() else {
                    return Err(Error::not_supported(format!("'{name}' is not a table that can be written")));
                };
                let columns = TableProvider::schema(iceberg);
                let input = nested_values::with_plain_types(Arc::unwrap_or_clone(input));
                let input = input.and_then(|input| insert_values::with_named_casts(input, &columns)).map_err(from_datafusion)?;
                let input = self.conforming(input, &columns)?;
                Ok(InsertPlan { table: iceberg.table().clone(), name, input, replaced })
            }
            other => Err(Error::internal(format!("INSERT was planned as {}", other.display()))),
        }
    }

    /// The error for the first value of an `INSERT` into these columns that cannot become one of its column. DataFusion names neither.
    async fn misfit(&self, insert: ast::Statement, targets: &[Field]) -> Option<Error> {
        let ast::Statement::Insert(ast::Insert { source: Some(source), .. }) = insert else { return None };
        if let ast::SetExpr::Values(values) = source.body.as_ref() {
            let nothing = DFSchema::empty();
            for (row, content) in (1..).zip(&values.rows) {
                for (value, column) in content.content.iter().zip(targets) {
                    let place = format!("column '{}', row {row}", column.name());
                    if let Err(error) = cast_at(self.expression(value, &nothing).ok()?, column.data_type(), &place, &nothing) {
                        return Some(from_datafusion(error));
                    }
                }
            }
            return None;
        }
        let plan = self.plan_query(*source).await.ok()?;
        let columns = plan.schema().columns().into_iter().zip(targets);
        let mut errors = columns.filter_map(|(value, column)| cast_to_column(Expr::Column(value), column, plan.schema()).err());
        errors.next().map(from_datafusion)
    }

    /// Gives the rows that are inserted the field names of their columns, and takes `OVERWRITE` and `PARTITION` out: what deletes the rows that they mean. Gives the columns
    /// that get values, too.
    async fn prepare_insert(&self, insert: &mut ast::Insert) -> Result<(Option<Change>, Vec<Field>)> {
        let ast::TableObject::TableName(target) = &insert.table else { return Ok((None, Vec::new())) };
        let target = target.clone();
        let name = self.resolve(&target)?;
        let table = self.load_for_rows(&name).await?;
        // What is no table gets its error from planning.
        let Some(table) = table else { return Ok((None, Vec::new())) };
        let schema = table_schema(table.metadata.current_schema())?;
        let fields = table.metadata.current_schema().as_struct().fields();
        let names = ColumnNames::of([Arc::clone(&schema)]);
        insert.columns.iter_mut().for_each(|column| names.respell_last(column));
        insert.partitioned.iter_mut().flatten().for_each(|value| names.respell_within(value));
        let columns: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        let (condition, values) = overwrite::take_partition(insert, &columns)?;
        if is_of_defaults(insert) && !columns.is_empty() {
            insert.source = Some(row_of_defaults(columns.len())?);
        }
        let Some(source) = &mut insert.source else { return Ok((None, Vec::new())) };
        // Names that the table does not have get their error from planning.
        let place = |column| schema.index_of(parts(column).last()?).ok();
        let places: Vec<usize> = match insert.columns.is_empty() {
            true => (0..fields.len()).collect(),
            false => insert.columns.iter().filter_map(place).collect(),
        };
        if let ast::SetExpr::Values(rows) = source.body.as_mut() {
            for (value, place) in rows.rows.iter_mut().flat_map(|row| row.content.iter_mut().zip(&places)) {
                set_default(value, &fields[*place])?;
                as_uuid(value, &fields[*place]);
            }
        }
        values::split(&mut source.body)?;
        row_values::name_fields_of_query(source, &places.iter().map(|place| fields[*place].field_type.as_ref()).collect::<Vec<_>>());
        let targets: Vec<&Field> = places.iter().map(|place| schema.field(*place)).collect();
        insert.overwrite = false;
        self.looked_up.insert(name, self.provider(table.clone(), false)?);
        self.plan_source(insert, &values, &targets).await?;
        let replaced = match condition {
            Some(condition) => Some(Change::Delete(Box::new(overwrite::delete(&target, &condition)?))),
            None => None,
        };
        Ok((replaced, targets.into_iter().cloned().collect()))
    }

    /// The rows with the types of the table's columns. They were cast to them by the types that they had before analysis.
    fn conforming(&self, input: LogicalPlan, columns: &SchemaRef) -> Result<LogicalPlan> {
        // With parameters it is done when they have values, if it cannot be done now.
        let Ok(analyzed) = self.analyzed(input.clone()) else { return Ok(input) };
        let same = |(is, wanted): (&FieldRef, &FieldRef)| plain_type(is.data_type()) == plain_type(wanted.data_type());
        if analyzed.schema().fields().iter().zip(columns.fields()).all(same) {
            return Ok(input);
        }
        cast_columns(analyzed, columns).map_err(from_datafusion)
    }

    /// Plans the query of an `INSERT` into these columns by itself, with `values` as further columns, if it has `VALUES` in it, since DataFusion takes all of
    /// them for rows of the table, or if there may be rows among the values, which are cast by position, or UUIDs, which it makes none of texts.
    async fn plan_source(&self, insert: &mut ast::Insert, values: &[ast::Expr], targets: &[&Field]) -> Result<()> {
        let Some(source) = &mut insert.source else { return Ok(()) };
        if let ast::SetExpr::Values(rows) = source.body.as_mut() {
            rows.rows.iter_mut().for_each(|row| row.content.extend_from_slice(values));
            return Ok(());
        }
        let is_ours = |column: &&Field| column.data_type().is_nested() || *column.data_type() == UUID;
        if values.is_empty() && !targets.iter().any(is_ours) && !source.to_string().to_uppercase().contains("VALUES") {
            return Ok(());
        }
        let plan = self.plan_query(source.as_ref().clone()).await?;
        let schema = Arc::clone(plan.schema());
        let columns = schema.columns().into_iter().enumerate().map(|(number, column)| {
            let value = Expr::Column(column);
            let value = match targets.get(number).copied().filter(is_ours) {
                Some(column) => cast_to_column(value, column, &schema)?,
                None => value,
            };
            Ok(value.alias(format!("column {number}")))
        });
        let columns = columns.collect::<datafusion::error::Result<Vec<_>>>().map_err(from_datafusion)?;
        let plan = LogicalPlanBuilder::from(plan).project(columns).and_then(LogicalPlanBuilder::build).map_err(from_datafusion)?;
        *source = self.kept(plan, values)?;
        Ok(())
    }
}

/// Whether the rows are `DEFAULT VALUES`, of which the parser leaves nothing.
fn is_of_defaults(insert: &ast::Insert) -> bool {
    insert.source.is_none() && insert.assignments.is_empty() && insert.columns.is_empty() && insert.partitioned.is_none() && !insert.overwrite
}

/// Casts a value of a column of UUIDs to its type: DataFusion refuses texts there.
fn as_uuid(value: &mut ast::Expr, column: &NestedField) {
    if *column.field_type != Type::Primitive(PrimitiveType::Uuid) {
        return;
    }
    let expr = Box::new(std::mem::replace(value, ast::Expr::Value(ast::Value::Null.into())));
    *value = ast::Expr::Cast { kind: ast::CastKind::Cast, expr, data_type: ast::DataType::Uuid, array: false, format: None };
}
