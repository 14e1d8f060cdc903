//! Makes the batches of a query fit the schema of a data file: NOT NULL is checked, and types that differ only in form (a view, the name of a list's
//! element) are made equal. Values are not converted between types: the planner has cast them already.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions};
use arrow::buffer::NullBuffer;
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, SchemaRef};
use nunatak_core::{Code, Error, Result};

/// `batch` with exactly the columns of `schema`. `table` is named in errors.
pub(super) fn conform(batch: &RecordBatch, schema: &SchemaRef, table: &str) -> Result<RecordBatch> {
    if batch.num_columns() != schema.fields().len() {
        let (given, wanted) = (batch.num_columns(), schema.fields().len());
        return Err(Error::internal(format!("{given} columns were to be written to table {table}, which has {wanted}")));
    }
    let columns =
        schema.fields().iter().zip(batch.columns()).map(|(field, array)| conform_column(field, array, table)).collect::<Result<Vec<_>>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(schema.clone(), columns, &options)
        .map_err(|error| Error::internal(format!("rows do not fit table {table}")).with_source(error))
}

fn conform_column(field: &Field, array: &ArrayRef, table: &str) -> Result<ArrayRef> {
    check_nulls(field, array, None, field.name(), table)?;
    if array.data_type() == field.data_type() {
        return Ok(array.clone());
    }
    let options = CastOptions { safe: false, ..CastOptions::default() };
    cast_with_options(array, field.data_type(), &options).map_err(|error| {
        let (name, from, to) = (field.name(), array.data_type(), field.data_type());
        Error::new(Code::TypeMismatch, format!("column '{name}' of table {table} cannot take values of type {from}"))
            .with_context("type of the column", to.to_string())
            .with_source(error)
    })
}

/// Looks for NULLs in fields that are required. A required field of a struct that is NULL as a whole is no breach: `parents` are the nulls of what
/// is around `array`.
fn check_nulls(field: &Field, array: &ArrayRef, parents: Option<&NullBuffer>, path: &str, table: &str) -> Result<()> {
    if !field.is_nullable() && has_own_nulls(array, parents) {
        return Err(Error::new(Code::ConstraintViolation, format!("column '{path}' of table {table} does not take NULL"))
            .with_hint("give it a value in every row, or make the column nullable"));
    }
    if !may_break(field) {
        return Ok(());
    }
    let nulls = NullBuffer::union(parents, array.nulls());
    match (field.data_type(), array.data_type()) {
        (DataType::Struct(fields), DataType::Struct(_)) => {
            for (child, values) in fields.iter().zip(array.as_struct().columns()) {
                check_nulls(child, values, nulls.as_ref(), &format!("{path}.{}", child.name()), table)?;
            }
            Ok(())
        }
        (DataType::List(element), DataType::List(_)) => {
            let list = array.as_list::<i32>();
            let rows = (0..list.len()).filter(|row| nulls.as_ref().is_none_or(|nulls| nulls.is_valid(*row)));
            check_each(element, rows.map(|row| list.value(row)), &format!("{path}.element"), table)
        }
        (DataType::Map(entries, _), DataType::Map(_, _)) => {
            let map = array.as_map();
            let rows = (0..map.len()).filter(|row| nulls.as_ref().is_none_or(|nulls| nulls.is_valid(*row)));
            check_each(entries, rows.map(|row| Arc::new(map.value(row)) as ArrayRef), path, table)
        }
        _ => Ok(()),
    }
}

fn check_each(field: &Field, mut values: impl Iterator<Item = ArrayRef>, path: &str, table: &str) -> Result<()> {
    values.try_for_each(|values| check_nulls(field, &values, None, path, table))
}

/// Whether `array` is NULL where `parents` are not.
fn has_own_nulls(array: &ArrayRef, parents: Option<&NullBuffer>) -> bool {
    match (array.nulls(), parents) {
        (None, _) => false,
        (Some(own), None) => own.null_count() > 0,
        (Some(own), Some(parents)) => own.null_count() > 0 && (parents.inner() & &!own.inner()).count_set_bits() > 0,
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
    use arrow::array::{Int32Array, Int64Array, ListArray, StringArray, StructArray};
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
        let error = conform(&batch("tags", list(vec![Some(vec![None])])), &schema, "s.t").unwrap_err();
        assert_eq!(error.message(), "column 'tags.element' of table s.t does not take NULL");
    }
}
