//! Makes the batches of a query fit the schema of a data file: NOT NULL is checked, and types that differ only in form (a view, the name of a list's
//! element) are made equal. Values are not converted between types: the planner has cast them already.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, RecordBatch, RecordBatchOptions};
use arrow::buffer::NullBuffer;
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, FieldRef, Float32Type, Float64Type, SchemaRef};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use nunatak_core::{Code, Error, Result};

/// How much of a row an error shows.
const ROW_CHARACTERS_MAX: usize = 200;

/// `batch` with exactly the columns of `schema`. `table` is named in errors.
pub(super) fn conform(batch: &RecordBatch, schema: &SchemaRef, table: &str) -> Result<RecordBatch> {
    if batch.num_columns() != schema.fields().len() {
        let (given, wanted) = (batch.num_columns(), schema.fields().len());
        return Err(Error::internal(format!("{given} columns were to be written to table {table}, which has {wanted}")));
    }
    if let Some(breach) = schema.fields().iter().zip(batch.columns()).find_map(|(field, array)| find_null(field, array, None, field.name())) {
        let error = Error::new(Code::ConstraintViolation, format!("column '{}' of table {table} does not take NULL", breach.path));
        return Err(error
            .with_context("row", shown(batch, schema, breach.row))
            .with_hint("give it a value in every row, or make the column nullable"));
    }
    let columns =
        schema.fields().iter().zip(batch.columns()).map(|(field, array)| conform_column(field, array, table)).collect::<Result<Vec<_>>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(schema.clone(), columns, &options)
        .map_err(|error| Error::internal(format!("rows do not fit table {table}")).with_source(error))
}

fn conform_column(field: &Field, array: &ArrayRef, table: &str) -> Result<ArrayRef> {
    if array.data_type() == field.data_type() {
        return Ok(with_one_nan(array));
    }
    let options = CastOptions { safe: false, ..CastOptions::default() };
    cast_with_options(array, field.data_type(), &options).map_err(|error| {
        let (name, from, to) = (field.name(), array.data_type(), field.data_type());
        Error::new(Code::TypeMismatch, format!("column '{name}' of table {table} cannot take values of type {from}"))
            .with_context("type of the column", to.to_string())
            .with_source(error)
    })
}

/// NaN has several forms, and where bits are compared some of them are less than all numbers (on x86 what `0e0 / 0e0` gives is). Files have the one
/// that is greater.
fn with_one_nan(array: &ArrayRef) -> ArrayRef {
    match array.data_type() {
        DataType::Float32 => replaced::<Float32Type>(array, f32::is_nan, f32::NAN),
        DataType::Float64 => replaced::<Float64Type>(array, f64::is_nan, f64::NAN),
        _ => Arc::clone(array),
    }
}

fn replaced<T: ArrowPrimitiveType>(array: &ArrayRef, is_replaced: impl Fn(T::Native) -> bool, by: T::Native) -> ArrayRef {
    let values = array.as_primitive::<T>();
    match values.values().iter().any(|value| is_replaced(*value)) {
        true => Arc::new(values.unary::<_, T>(|value| if is_replaced(value) { by } else { value })),
        false => Arc::clone(array),
    }
}

/// A NULL in a field that is required.
struct Breach {
    path: String,
    /// The row of the batch that it is in.
    row: usize,
}

/// Looks for the first NULL in fields that are required. A required field of a struct that is NULL as a whole is no breach: `parents` are the nulls of what
/// is around `array`.
fn find_null(field: &Field, array: &ArrayRef, parents: Option<&NullBuffer>, path: &str) -> Option<Breach> {
    if !field.is_nullable()
        && let Some(row) = own_null(array, parents)
    {
        return Some(Breach { path: path.to_owned(), row });
    }
    if !may_break(field) {
        return None;
    }
    let nulls = NullBuffer::union(parents, array.nulls());
    let rows = || (0..array.len()).filter(|row| nulls.as_ref().is_none_or(|nulls| nulls.is_valid(*row)));
    match (field.data_type(), array.data_type()) {
        (DataType::Struct(fields), DataType::Struct(_)) => {
            let mut children = fields.iter().zip(array.as_struct().columns());
            children.find_map(|(child, values)| find_null(child, values, nulls.as_ref(), &format!("{path}.{}", child.name())))
        }
        (DataType::List(element), DataType::List(_)) => {
            let list = array.as_list::<i32>();
            find_within(element, rows().map(|row| (row, list.value(row))), &format!("{path}.element"))
        }
        (DataType::Map(entries, _), DataType::Map(_, _)) => {
            let map = array.as_map();
            find_within(entries, rows().map(|row| (row, Arc::new(map.value(row)) as ArrayRef)), path)
        }
        _ => None,
    }
}

/// The same for what rows of lists and maps have in them.
fn find_within(field: &Field, mut rows: impl Iterator<Item = (usize, ArrayRef)>, path: &str) -> Option<Breach> {
    rows.find_map(|(row, values)| find_null(field, &values, None, path).map(|breach| Breach { row, ..breach }))
}

/// The first row in which `array` is NULL and `parents` are not.
fn own_null(array: &ArrayRef, parents: Option<&NullBuffer>) -> Option<usize> {
    let own = array.nulls().filter(|own| own.null_count() > 0)?;
    (0..own.len()).find(|row| own.is_null(*row) && parents.is_none_or(|parents| parents.is_valid(*row)))
}

/// The values of a row, for an error.
fn shown(batch: &RecordBatch, schema: &SchemaRef, row: usize) -> String {
    let options = FormatOptions::default().with_null("NULL");
    let column = |(field, array): (&FieldRef, &ArrayRef)| {
        let value = ArrayFormatter::try_new(array, &options).map_or_else(|_| "?".to_owned(), |values| values.value(row).to_string());
        format!("{} = {value}", field.name())
    };
    let text = schema.fields().iter().zip(batch.columns()).map(column).collect::<Vec<_>>().join(", ");
    match text.char_indices().nth(ROW_CHARACTERS_MAX) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

/// Whether something inside a field is required; most columns are spared the walk over their rows.
fn may_break(field: &Field) -> bool {
    let required_or_deeper = |field: &Field| !field.is_nullable() || may_break(field);
    match field.data_type() {
        DataType::Struct(fields) => fields.iter().any(|field| required_or_deeper(field)),
        DataType::List(element) => required_or_deeper(element),
        // The entries and keys of an Arrow map are never NULL; its value may not be.
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(fields) => fields.get(1).is_some_and(|value| required_or_deeper(value)),
            _ => false,
        },
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Float64Array, Int32Array, Int64Array, ListArray, StringArray, StructArray};
    use arrow::datatypes::{Fields, Int32Type, Schema};

    use super::*;

    fn batch(name: &str, array: ArrayRef) -> RecordBatch {
        RecordBatch::try_from_iter_with_nullable([(name, array, true)]).unwrap()
    }

    #[test]
    fn a_null_in_a_required_column_is_named() {
        let schema = Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, false)]));
        let error = conform(&batch("id", Arc::new(Int64Array::from(vec![Some(1), None]))), &schema, "s.t").unwrap_err();
        assert_eq!(error.code(), Code::ConstraintViolation);
        assert_eq!(error.message(), "column 'id' of table s.t does not take NULL");
        assert_eq!(error.context(), [("row", "id = NULL".to_owned())]);
        assert!(conform(&batch("id", Arc::new(Int64Array::from(vec![1]))), &schema, "s.t").is_ok());
    }

    #[test]
    fn strings_become_views_and_lists_get_their_names() {
        let element = Arc::new(Field::new("element", DataType::Int32, true));
        let fields = vec![Field::new("a", DataType::Utf8View, true), Field::new("b", DataType::List(element), true)];
        let schema = Arc::new(Schema::new(fields));
        let list = ListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(1), None]), None]);
        let input =
            RecordBatch::try_from_iter([("x", Arc::new(StringArray::from(vec!["p", "q"])) as ArrayRef), ("y", Arc::new(list) as ArrayRef)]).unwrap();
        let output = conform(&input, &schema, "s.t").unwrap();
        assert_eq!(output.schema(), schema);
        assert_eq!(output.column(0).as_string_view().value(1), "q");
    }

    #[test]
    fn nan_has_one_form() {
        let schema = Arc::new(Schema::new(vec![Field::new("x", DataType::Float64, true)]));
        let output = conform(&batch("x", Arc::new(Float64Array::from(vec![Some(-f64::NAN), None, Some(-1.0)]))), &schema, "s.t").unwrap();
        let values = output.column(0).as_primitive::<Float64Type>();
        assert_eq!((values.value(0).to_bits(), values.is_null(1), values.value(2)), (f64::NAN.to_bits(), true, -1.0));
    }

    #[test]
    fn a_required_field_of_a_struct_that_is_null_is_no_breach() {
        let fields = Fields::from(vec![Field::new("lat", DataType::Int32, false)]);
        let schema = Arc::new(Schema::new(vec![Field::new("place", DataType::Struct(fields), true)]));
        let nullable = Fields::from(vec![Field::new("lat", DataType::Int32, true)]);
        let place = |valid: Vec<bool>| {
            let values = Arc::new(Int32Array::from(vec![Some(1), None]));
            Arc::new(StructArray::new(nullable.clone(), vec![values], Some(NullBuffer::from(valid)))) as ArrayRef
        };
        assert!(conform(&batch("place", place(vec![true, false])), &schema, "s.t").is_ok());
        let error = conform(&batch("place", place(vec![true, true])), &schema, "s.t").unwrap_err();
        assert_eq!(error.message(), "column 'place.lat' of table s.t does not take NULL");
    }

    #[test]
    fn a_required_element_is_checked_row_by_row() {
        let element = Arc::new(Field::new("element", DataType::Int32, false));
        let schema = Arc::new(Schema::new(vec![Field::new("tags", DataType::List(element), true)]));
        let list = |rows: Vec<Option<Vec<Option<i32>>>>| Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(rows)) as ArrayRef;
        assert!(conform(&batch("tags", list(vec![Some(vec![Some(1)]), None])), &schema, "s.t").is_ok());
        let error = conform(&batch("tags", list(vec![None, Some(vec![Some(1), None])])), &schema, "s.t").unwrap_err();
        assert_eq!(error.message(), "column 'tags.element' of table s.t does not take NULL");
        assert_eq!(error.context(), [("row", "tags = [1, NULL]".to_owned())]);
    }
}
