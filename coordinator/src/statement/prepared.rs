//! `PREPARE`, `EXECUTE`, `DEALLOCATE` and `DESCRIBE INPUT` and `OUTPUT`. The texts are in the sessions of clients that keep them.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Int32Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use nunatak_core::{Code, Error, Result};
use nunatak_engine::sql::statement::{DescribedPart, ExecutePrepared, PreparedText};
use nunatak_engine::sql::{ColumnOrigin, QualifiedName, Statement, TYPE_MARK, parse, parse_executed};
use nunatak_engine::type_name::type_name;

use super::{Outcome, StatementContext};
use crate::query::{Session, SessionChange, StatementKind};

/// The statement that an `EXECUTE` runs; any other as it is.
///
/// Errors: `NOT_FOUND` for a name that nothing was prepared under, and those of parsing it.
pub(crate) fn executed(session: &Session, statement: Statement) -> Result<Statement> {
    let Statement::ExecutePrepared(ExecutePrepared { of, arguments }) = statement else { return Ok(statement) };
    let text: &str = match &of {
        PreparedText::Named(name) => text_of(session, name)?,
        PreparedText::Immediate(text) => text,
    };
    match parse_executed(text, arguments)? {
        Statement::ExecutePrepared(_) => Err(Error::not_supported("EXECUTE cannot be executed")),
        statement => Ok(statement),
    }
}

fn texts(session: &Session) -> Result<&BTreeMap<String, String>> {
    session.prepared.as_ref().ok_or_else(|| {
        Error::not_supported("PREPARE, EXECUTE name and DEALLOCATE are not supported by this protocol")
            .with_hint("use prepared statements of the driver, or EXECUTE IMMEDIATE")
    })
}

fn text_of<'a>(session: &'a Session, name: &str) -> Result<&'a str> {
    let text = texts(session)?.get(name).map(String::as_str);
    text.ok_or_else(|| Error::new(Code::NotFound, format!("prepared statement '{name}' does not exist")))
}

pub(super) fn prepare(context: &StatementContext, name: String, text: String) -> Result<Outcome> {
    texts(&context.session)?;
    Ok(Outcome::done().with_changes(vec![SessionChange::Prepare { name, text }]))
}

pub(super) fn deallocate(context: &StatementContext, name: String) -> Result<Outcome> {
    text_of(&context.session, &name)?;
    Ok(Outcome::done().with_changes(vec![SessionChange::Deallocate { name }]))
}

/// The columns of a description, which are Trino's.
pub(super) fn schema(part: DescribedPart) -> SchemaRef {
    let column = |name: &str, data_type| Field::new(name, data_type, true);
    let text = |name: &str| column(name, DataType::Utf8);
    let fields = match part {
        DescribedPart::Input => vec![column("Position", DataType::Int32), text("Type")],
        DescribedPart::Output => vec![
            text("Column Name"),
            text("Catalog"),
            text("Schema"),
            text("Table"),
            text("Type"),
            column("Type Size", DataType::Int32),
            column("Aliased", DataType::Boolean),
        ],
    };
    Arc::new(Schema::new(fields))
}

pub(super) async fn describe(context: &StatementContext, name: &str, part: DescribedPart) -> Result<Outcome> {
    let statement = parse(text_of(&context.session, name)?)?;
    let has_rows = match &statement {
        Statement::Insert(_) | Statement::Change(_) => true,
        Statement::CreateTable(create) => create.query.is_some(),
        other => other.update_type().is_none(),
    };
    let origins = match (&statement, part) {
        (Statement::Query(query), DescribedPart::Output) => context.planner.origins((**query).clone()).await?,
        _ => Vec::new(),
    };
    let prepared = super::prepare(context, statement).await?;
    // The count of rows is no column of anything.
    let aliased = matches!(prepared.kind, StatementKind::Update).then_some(false);
    let columns = match part {
        DescribedPart::Input => inputs(&prepared.parameters),
        DescribedPart::Output if has_rows => outputs(&prepared.schema, &origins, aliased),
        DescribedPart::Output => outputs(&Schema::empty(), &[], None),
    };
    RecordBatch::try_new(schema(part), columns).map(Outcome::listing).map_err(|error| Error::internal(error.to_string()))
}

fn inputs(parameters: &Schema) -> Vec<ArrayRef> {
    let positions = Int32Array::from_iter_values((0..).zip(parameters.fields()).map(|(position, _)| position));
    vec![Arc::new(positions), texts_of(parameters.fields().iter().map(|field| name_of(field.data_type())))]
}

/// Catalog, schema and table are empty for what is computed, as in Trino. Whether a column without an origin has an alias is `aliased`.
fn outputs(columns: &Schema, origins: &[ColumnOrigin], aliased: Option<bool>) -> Vec<ArrayRef> {
    let fields = columns.fields();
    let table_of = |place: usize| origins.get(place).and_then(|origin| origin.table.as_ref());
    let of_tables = |part: fn(&QualifiedName) -> &str| {
        texts_of((0..fields.len()).map(|place| table_of(place).map_or_else(String::new, |table| part(table).to_owned())))
    };
    let are_aliased = (0..fields.len()).map(|place| origins.get(place).map_or(aliased, |origin| origin.is_aliased));
    vec![
        texts_of(fields.iter().map(|field| field.name().clone())),
        of_tables(|table| table.catalog.as_str()),
        of_tables(|table| table.schema.as_str()),
        of_tables(|table| table.table.as_str()),
        texts_of(fields.iter().map(|field| marked(field).map_or_else(|| name_of(field.data_type()), str::to_owned))),
        Arc::new(Int32Array::from_iter_values(fields.iter().map(|field| if marked(field) == Some("uuid") { 16 } else { size(field.data_type()) }))),
        Arc::new(BooleanArray::from(are_aliased.collect::<Vec<_>>())),
    ]
}

/// What a field says of its type beyond that of Arrow.
fn marked(field: &Field) -> Option<&str> {
    field.metadata().get(TYPE_MARK).map(String::as_str)
}

fn texts_of(values: impl Iterator<Item = String>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(values))
}

fn name_of(data_type: &DataType) -> String {
    match data_type {
        DataType::Null => "unknown".to_owned(),
        DataType::UInt64 => "bigint".to_owned(),
        other => type_name(other),
    }
}

/// The bytes that Trino has for a value of a type of one size; 0 for others.
fn size(data_type: &DataType) -> i32 {
    match data_type {
        DataType::Boolean | DataType::Int8 => 1,
        DataType::Int16 => 2,
        DataType::Int32 | DataType::Float32 | DataType::Date32 => 4,
        DataType::Int64 | DataType::UInt64 | DataType::Float64 | DataType::Time64(_) | DataType::Timestamp(..) => 8,
        DataType::Decimal128(precision, _) if *precision <= 18 => 8,
        DataType::Decimal128(..) | DataType::FixedSizeBinary(16) => 16,
        _ => 0,
    }
}
