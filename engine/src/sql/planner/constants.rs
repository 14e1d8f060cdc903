//! What has a value when a statement is planned: versions of tables, defaults of columns, and the constants that they are written as.

use std::sync::Arc;

use datafusion::arrow::array::{RecordBatch, RecordBatchOptions};
use datafusion::arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::tree_node::TreeNode;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::{Expr, Volatility};
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use datafusion::sql::sqlparser::ast;
use nunatak_catalog::snapshot;
use nunatak_catalog::spec::{Datum, Literal, NestedField, Schema, Type};
use nunatak_catalog::unsupported::keeps_default;
use nunatak_core::{Code, Error, Result};

use super::Planner;
use crate::error::from_datafusion;
use crate::functions::rename_fields::cast_by_position;
use crate::rules::with_exact_casts;
use crate::scan::types::table_schema;
use crate::sql::sequences::SequenceTable;
use crate::sql::statement::ColumnDefinition;
use crate::sql::types::new_schema;
use crate::sql::{array_calls, queries};
use crate::write::encode;

impl Planner {
    pub(super) fn version(&self, expression: &ast::Expr) -> Result<snapshot::Version> {
        match self.constant(expression, None)? {
            ScalarValue::Int64(Some(id)) => Ok(snapshot::Version::Id(id)),
            ScalarValue::Utf8(Some(name)) | ScalarValue::Utf8View(Some(name)) | ScalarValue::LargeUtf8(Some(name)) => {
                Ok(snapshot::Version::Ref(name))
            }
            other => Err(Error::new(Code::TypeMismatch, format!("a version is a snapshot id or the name of a branch or tag, not {other}"))),
        }
    }

    pub(super) fn timestamp_millis(&self, expression: &ast::Expr) -> Result<i64> {
        match self.constant(expression, Some(&DataType::Timestamp(TimeUnit::Microsecond, Some(self.session.time_zone.as_str().into()))))? {
            // Not rounded: what is committed in the next millisecond is not there yet.
            ScalarValue::TimestampMicrosecond(Some(micros), _) => Ok(micros.div_euclid(1_000)),
            _ => Err(Error::new(Code::InvalidArguments, "FOR TIMESTAMP AS OF needs a timestamp that is not null")),
        }
    }

    /// A query for the numbers of a sequence from its start, its stop and its step; `None` for what is no constant, and for all that the function `sequence` gives or refuses.
    pub(super) fn long_sequence(&self, bounds: [&ast::Expr; 3]) -> Result<Option<Box<ast::Query>>> {
        let mut numbers = [0; 3];
        for (number, bound) in numbers.iter_mut().zip(bounds) {
            match self.constant(bound, Some(&DataType::Int64)) {
                Ok(ScalarValue::Int64(Some(value))) => *number = value,
                _ => return Ok(None),
            }
        }
        let [start, stop, step] = numbers;
        SequenceTable::new(start, stop, step).map(|table| self.kept_table(Arc::new(table), &[])).transpose()
    }

    /// A column's default from its expression; `None` for NULL.
    ///
    /// Errors: `EXPRESSION_NOT_CONSTANT`, those of casting it to the column's type, `NOT_SUPPORTED` for rows, arrays and maps, for what changes with time or with the session,
    /// and for values that metadata cannot keep.
    pub fn default_value(&self, expression: &ast::Expr, field: &NestedField) -> Result<Option<Literal>> {
        let Type::Primitive(primitive) = field.field_type.as_ref() else {
            return Err(Error::not_supported(format!("column '{}' cannot have a default: it is a row, an array or a map", field.name)));
        };
        if queries::names_session(expression) {
            let refused = format!("the default of column '{}' must be a constant: '{expression}' has other values in other sessions", field.name);
            return Err(Error::not_supported(refused).with_hint("give the value in INSERT"));
        }
        if self.changes_with_time(expression).map_err(|error| in_default(&field.name, error))? {
            let refused = format!("the default of column '{}' must be a constant: '{expression}' has other values at other times", field.name);
            return Err(Error::not_supported(refused).with_hint("give the value in INSERT"));
        }
        let schema = spec_schema(field)?;
        let value = self.constant(expression, Some(table_schema(&schema)?.field(0).data_type())).map_err(|error| in_default(&field.name, error))?;
        let array = value.to_array().map_err(from_datafusion)?;
        let Some(bytes) = encode(array.as_ref(), 0)? else { return Ok(None) };
        let datum = Datum::try_from_bytes(&bytes, primitive.clone());
        let datum =
            datum.map_err(|error| Error::internal(format!("the default of column '{}' is no value of its type", field.name)).with_source(error))?;
        let default = Literal::Primitive(datum.literal().clone());
        if !keeps_default(&default, &field.field_type) {
            let refused = format!("column '{}' cannot have the default {expression}: metadata of tables cannot keep this value", field.name);
            return Err(Error::not_supported(refused).with_hint("give the value in INSERT"));
        }
        Ok(Some(default))
    }

    /// Whether an expression without columns calls a function whose value is not always the same.
    fn changes_with_time(&self, expression: &ast::Expr) -> Result<bool> {
        let planned = self.expression(expression, &DFSchema::empty())?;
        let varies = |part: &Expr| matches!(part, Expr::ScalarFunction(call) if call.func.signature().volatility != Volatility::Immutable);
        planned.exists(|part| Ok(varies(part))).map_err(from_datafusion)
    }

    /// The schema of a new table with the defaults of its columns.
    pub fn new_schema(&self, columns: &[ColumnDefinition]) -> Result<Schema> {
        let schema = new_schema(columns)?;
        if columns.iter().all(|column| column.default.is_none()) {
            return Ok(schema);
        }
        let fields = schema.as_struct().fields().iter().zip(columns).map(|(field, column)| {
            let mut field = NestedField::clone(field);
            if let Some(default) = &column.default {
                field.write_default = self.default_value(default, &field)?;
            }
            Ok(Arc::new(field))
        });
        let built = Schema::builder().with_fields(fields.collect::<Result<Vec<_>>>()?).build();
        built.map_err(|error| Error::internal("columns with defaults make no schema").with_source(error))
    }

    /// An expression over the columns of a schema.
    pub(super) fn expression(&self, expression: &ast::Expr, schema: &DFSchema) -> Result<Expr> {
        let mut expr = expression.clone();
        queries::adapt(&mut expr, self.session_names())?;
        array_calls::write_out(&mut expr);
        self.state.create_logical_expr_from_sql_expr(ast::ExprWithAlias { expr, alias: None }, schema).map_err(from_datafusion)
    }

    /// The value of an expression without columns.
    fn constant(&self, expression: &ast::Expr, cast_to: Option<&DataType>) -> Result<ScalarValue> {
        let schema = Arc::new(DFSchema::empty());
        let mut planned = self.expression(expression, &schema)?;
        if let Some(data_type) = cast_to {
            planned = cast_by_position(planned, data_type, schema.as_ref()).map_err(from_datafusion)?;
        }
        let planned = with_exact_casts(planned, &schema).map_err(from_datafusion)?;
        match self.simplified(planned, &schema)? {
            Expr::Literal(value, _) => Ok(value),
            other => {
                let no_constant = || Error::new(Code::ExpressionNotConstant, format!("'{expression}' is not a constant"));
                Err(self.failure(other, &schema).unwrap_or_else(no_constant))
            }
        }
    }

    /// The error of an expression without columns that has none when it is simplified; `None` if it can be computed, or nothing here can do it.
    fn failure(&self, expression: Expr, schema: &DFSchema) -> Option<Error> {
        let computed = self.state.create_physical_expr(expression, schema).ok()?;
        let one_row = RecordBatchOptions::new().with_row_count(Some(1));
        let row = RecordBatch::try_new_with_options(Arc::new(datafusion::arrow::datatypes::Schema::empty()), Vec::new(), &one_row).ok()?;
        computed.evaluate(&row).err().map(from_datafusion)
    }

    /// An expression with its constant parts computed.
    pub(super) fn simplified(&self, expression: Expr, schema: &Arc<DFSchema>) -> Result<Expr> {
        let options = Arc::clone(self.state.config_options());
        let context = SimplifyContext::builder().with_schema(Arc::clone(schema)).with_config_options(options).with_current_time().build();
        ExprSimplifier::new(context).simplify(expression).map_err(from_datafusion)
    }
}

/// An error of a column's default, with the column's name.
fn in_default(column: &str, error: Error) -> Error {
    let named = Error::new(error.code(), format!("the default of column '{column}': {}", error.message()));
    let named = match error.location() {
        Some(location) => named.at(location),
        None => named,
    };
    match error.hint() {
        Some(hint) => named.with_hint(hint),
        None => named,
    }
}

/// A schema of one column.
fn spec_schema(field: &NestedField) -> Result<Schema> {
    let field = NestedField { required: false, initial_default: None, write_default: None, ..field.clone() };
    let built = Schema::builder().with_fields([Arc::new(field)]).build();
    built.map_err(|error| Error::internal("a column makes no schema").with_source(error))
}
