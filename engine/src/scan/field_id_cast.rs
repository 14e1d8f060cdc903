//! A cast from the shape a column has in a file to the shape it has in the table, matching nested fields by Iceberg field id.
//!
//! DataFusion's own cast matches the fields of a row by name, so that a field renamed would read as null. This expression lives only while a file is
//! open; it never crosses the wire.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, MapArray, StructArray, new_null_array};
use arrow::compute::{CastOptions, cast_with_options, is_null, nullif};
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, TimeUnit};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::PhysicalExpr;
use nunatak_core::{Error, Result};

use super::types::{INITIAL_DEFAULT, field_id};
use super::values::default_scalar;
use crate::error::into_datafusion;

/// Casts its input, a column of a file, to a field of the table.
#[derive(Debug, Clone, Eq)]
pub struct FieldIdCastExpr {
    input: Arc<dyn PhysicalExpr>,
    target: FieldRef,
}

// By hand: the derived comparison would move the trait object out of its `Arc`.
impl PartialEq for FieldIdCastExpr {
    fn eq(&self, other: &Self) -> bool {
        self.input.eq(&other.input) && self.target == other.target
    }
}

impl Hash for FieldIdCastExpr {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.input.hash(state);
        self.target.hash(state);
    }
}

impl FieldIdCastExpr {
    /// A cast of `input` to `target`; [`check_castable`] must have agreed to the two types.
    pub fn new(input: Arc<dyn PhysicalExpr>, target: FieldRef) -> Self {
        Self { input, target }
    }
}

impl fmt::Display for FieldIdCastExpr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "field_id_cast({} as {})", self.input, self.target.name())
    }
}

impl PhysicalExpr for FieldIdCastExpr {
    fn return_field(&self, _: &Schema) -> DataFusionResult<FieldRef> {
        Ok(Arc::clone(&self.target))
    }

    fn evaluate(&self, batch: &RecordBatch) -> DataFusionResult<ColumnarValue> {
        let array = self.input.evaluate(batch)?.into_array(batch.num_rows())?;
        Ok(ColumnarValue::Array(cast(&array, &self.target)?))
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.input]
    }

    fn with_new_children(self: Arc<Self>, mut children: Vec<Arc<dyn PhysicalExpr>>) -> DataFusionResult<Arc<dyn PhysicalExpr>> {
        match (children.pop(), children.pop()) {
            (Some(input), None) => Ok(Arc::new(Self::new(input, Arc::clone(&self.target)))),
            _ => Err(into_datafusion(Error::internal("a cast by field id has one child"))),
        }
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Whether values of a file's type can be read as the table's type. Errors: `NOT_SUPPORTED`, naming the column.
pub fn check_castable(column: &str, from: &DataType, to: &DataType) -> Result<()> {
    let refuse = || Error::not_supported(format!("column '{column}' is {from} in a data file and cannot be read as {to}"));
    match (from, to) {
        (DataType::Struct(from), DataType::Struct(to)) => to.iter().try_for_each(|target| match child_of(from, target) {
            Some((_, source)) => check_castable(column, source.data_type(), target.data_type()),
            None => check_missing(column, target),
        }),
        (DataType::List(from) | DataType::LargeList(from), DataType::List(to)) => check_castable(column, from.data_type(), to.data_type()),
        (DataType::Map(from, _), DataType::Map(to, _)) => match (from.data_type(), to.data_type()) {
            (DataType::Struct(from), DataType::Struct(to)) if from.len() == 2 && to.len() == 2 => {
                from.iter().zip(to).try_for_each(|(from, to)| check_castable(column, from.data_type(), to.data_type()))
            }
            _ => Err(refuse()),
        },
        _ if is_promotion(from, to) => Ok(()),
        _ => Err(refuse()),
    }
}

/// What Iceberg lets a column grow into, and the ways in which writers store what Iceberg has one type for.
pub fn is_promotion(from: &DataType, to: &DataType) -> bool {
    match (from, to) {
        _ if from == to => true,
        (DataType::Int8 | DataType::Int16 | DataType::UInt8 | DataType::UInt16, DataType::Int32 | DataType::Int64) => true,
        (DataType::Int32, DataType::Int64) | (DataType::Float32, DataType::Float64) => true,
        (DataType::Decimal128(from, from_scale), DataType::Decimal128(to, to_scale)) => from <= to && from_scale == to_scale,
        (DataType::Timestamp(..), DataType::Timestamp(..)) => true,
        (DataType::Date32, DataType::Timestamp(_, None)) => true,
        (DataType::Time32(_) | DataType::Time64(_), DataType::Time64(TimeUnit::Microsecond)) => true,
        (from, DataType::Utf8 | DataType::Utf8View) => is_text(from) || is_bytes(from),
        (from, DataType::Binary | DataType::BinaryView) => is_bytes(from) || matches!(from, DataType::FixedSizeBinary(_)),
        _ => false,
    }
}

fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

fn is_bytes(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Binary | DataType::LargeBinary | DataType::BinaryView)
}

fn check_missing(column: &str, field: &Field) -> Result<()> {
    if field.is_nullable() || field.metadata().contains_key(INITIAL_DEFAULT) {
        return Ok(());
    }
    Err(Error::not_supported(format!("column '{column}' has a required field '{}', which a data file does not have", field.name())))
}

fn child_of<'a>(fields: &'a Fields, target: &Field) -> Option<(usize, &'a FieldRef)> {
    let id = field_id(target)?;
    fields.iter().enumerate().find(|(_, field)| field_id(field) == Some(id))
}

/// Whether values of a type may be rows that are NULL and have values in required fields: readers of Parquet leave any there, and whoever takes the field finds them.
pub fn may_hide_nulls(data_type: &DataType) -> bool {
    match data_type {
        DataType::Struct(fields) => fields.iter().any(|field| !field.is_nullable() || may_hide_nulls(field.data_type())),
        DataType::List(element) | DataType::LargeList(element) => may_hide_nulls(element.data_type()),
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(pair) => pair.iter().any(|field| may_hide_nulls(field.data_type())),
            _ => false,
        },
        _ => false,
    }
}

fn cast(array: &ArrayRef, target: &Field) -> DataFusionResult<ArrayRef> {
    if array.data_type() == target.data_type() && !may_hide_nulls(target.data_type()) {
        return Ok(Arc::clone(array));
    }
    match (array.data_type(), target.data_type()) {
        (DataType::Struct(from), DataType::Struct(to)) => cast_struct(array.as_struct(), from, to),
        (DataType::List(_), DataType::List(element)) => {
            let (_, offsets, values, nulls) = array.as_list::<i32>().clone().into_parts();
            Ok(Arc::new(ListArray::try_new(Arc::clone(element), offsets, cast(&values, element)?, nulls)?))
        }
        (DataType::Map(..), DataType::Map(entries, sorted)) => cast_map(array.as_map(), entries, *sorted),
        _ => Ok(cast_with_options(array, target.data_type(), &CastOptions { safe: false, ..CastOptions::default() })?),
    }
}

fn cast_struct(array: &StructArray, from: &Fields, to: &Fields) -> DataFusionResult<ArrayRef> {
    let child = |target: &FieldRef| match child_of(from, target) {
        Some((index, _)) if target.is_nullable() || array.null_count() == 0 => cast(array.column(index), target),
        // First, so that the fields of a row in the row are, too.
        Some((index, _)) => cast(&nullif(array.column(index), &is_null(array)?)?, target),
        None => missing(target, array),
    };
    let children = to.iter().map(child).collect::<DataFusionResult<Vec<_>>>()?;
    if children.is_empty() {
        return Ok(Arc::new(StructArray::new_empty_fields(array.len(), array.nulls().cloned())));
    }
    Ok(Arc::new(StructArray::try_new(to.clone(), children, array.nulls().cloned())?))
}

fn cast_map(array: &MapArray, entries: &FieldRef, sorted: bool) -> DataFusionResult<ArrayRef> {
    let DataType::Struct(fields) = entries.data_type() else {
        return Err(ArrowError::SchemaError("the entries of a map are a struct".to_owned()).into());
    };
    let columns = [array.keys(), array.values()];
    let columns = columns.into_iter().zip(fields).map(|(column, field)| cast(column, field)).collect::<DataFusionResult<Vec<_>>>()?;
    let cast_entries = StructArray::try_new(fields.clone(), columns, array.entries().nulls().cloned())?;
    let offsets = array.offsets().clone();
    Ok(Arc::new(MapArray::try_new(Arc::clone(entries), offsets, cast_entries, array.nulls().cloned(), sorted)?))
}

/// The values of a field that the file does not have, in these rows: its default, but NULL in a row that is NULL.
fn missing(field: &Field, rows: &StructArray) -> DataFusionResult<ArrayRef> {
    match field.metadata().get(INITIAL_DEFAULT) {
        Some(text) => {
            let defaults = default_scalar(text, field.data_type()).map_err(into_datafusion)?.to_array_of_size(rows.len())?;
            Ok(nullif(&defaults, &is_null(rows)?)?)
        }
        None => Ok(new_null_array(field.data_type(), rows.len())),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use arrow::array::{Int32Array, Int64Array, StringArray};
    use parquet::arrow::PARQUET_FIELD_ID_META_KEY;

    use super::*;

    fn field(id: i32, name: &str, data_type: DataType) -> FieldRef {
        let metadata = HashMap::from([(PARQUET_FIELD_ID_META_KEY.to_owned(), id.to_string())]);
        Arc::new(Field::new(name, data_type, true).with_metadata(metadata))
    }

    #[test]
    fn fields_of_rows_in_lists_follow_their_ids() {
        let from = Fields::from(vec![field(3, "old", DataType::Int32), field(4, "gone", DataType::Utf8)]);
        let to = Fields::from(vec![field(5, "gone", DataType::Utf8), field(3, "renamed", DataType::Int64)]);
        let rows =
            StructArray::new(from.clone(), vec![Arc::new(Int32Array::from(vec![1, 2, 3])), Arc::new(StringArray::from(vec!["a", "b", "c"]))], None);
        let list_type = |fields| DataType::List(field(2, "element", DataType::Struct(fields)));
        let DataType::List(element) = list_type(from) else { unreachable!() };
        let offsets = arrow::buffer::OffsetBuffer::from_lengths([2, 1]);
        let array: ArrayRef = Arc::new(ListArray::new(element, offsets, Arc::new(rows), None));
        let target = field(1, "list", list_type(to));
        check_castable("list", array.data_type(), target.data_type()).unwrap();
        let result = cast(&array, &target).unwrap();
        assert_eq!(result.data_type(), target.data_type());
        let rows = result.as_list::<i32>().values().as_struct().clone();
        assert_eq!(rows.column(0).null_count(), 3);
        assert_eq!(rows.column(1).as_ref(), &Int64Array::from(vec![1, 2, 3]) as &dyn Array);
    }

    #[test]
    fn a_row_that_is_null_has_no_defaults() {
        let from = Fields::from(vec![field(3, "a", DataType::Int32)]);
        let rows = StructArray::new(from, vec![Arc::new(Int32Array::from(vec![None, Some(1)]))], Some(vec![false, true].into()));
        let added = |id, name, data_type, default: &str| {
            let mut metadata = field(id, name, DataType::Null).metadata().clone();
            metadata.insert(INITIAL_DEFAULT.to_owned(), default.to_owned());
            Arc::new(Field::new(name, data_type, false).with_metadata(metadata))
        };
        let to = Fields::from(vec![field(3, "a", DataType::Int32), added(4, "b", DataType::Int64, "7"), added(5, "c", DataType::Utf8, "x")]);
        let target = Field::new("r", DataType::Struct(to), true);
        let result = cast(&(Arc::new(rows) as ArrayRef), &target).unwrap();
        let rows = result.as_struct();
        assert_eq!(rows.column(1).as_ref(), &Int64Array::from(vec![None, Some(7)]) as &dyn Array);
        assert_eq!(rows.column(2).as_ref(), &StringArray::from(vec![None, Some("x")]) as &dyn Array);
    }

    #[test]
    fn required_fields_of_a_row_that_is_null_are_null() {
        let required = |id, name: &str, data_type| Arc::new(field(id, name, data_type).as_ref().clone().with_nullable(false));
        let inner = Fields::from(vec![required(4, "y", DataType::Utf8)]);
        let fields = Fields::from(vec![required(2, "x", DataType::Int64), required(3, "s", DataType::Struct(inner.clone()))]);
        let inner = StructArray::new(inner, vec![Arc::new(StringArray::from(vec!["", "b"]))], None);
        let rows = StructArray::new(fields.clone(), vec![Arc::new(Int64Array::from(vec![0, 7])), Arc::new(inner)], Some(vec![false, true].into()));
        let target = Field::new("r", DataType::Struct(fields), true);
        let result = cast(&(Arc::new(rows) as ArrayRef), &target).unwrap();
        let rows = result.as_struct();
        assert_eq!(rows.column(0).as_ref(), &Int64Array::from(vec![None, Some(7)]) as &dyn Array);
        assert_eq!(rows.column(1).as_struct().column(0).as_ref(), &StringArray::from(vec![None, Some("b")]) as &dyn Array);
        assert!(rows.column(1).is_null(0) && rows.column(1).is_valid(1));
    }

    #[test]
    fn what_is_no_promotion_is_refused() {
        assert!(check_castable("c", &DataType::Int64, &DataType::Int32).is_err());
        assert!(check_castable("c", &DataType::Utf8, &DataType::Int32).is_err());
        assert!(check_castable("c", &DataType::Decimal128(10, 2), &DataType::Decimal128(12, 2)).is_ok());
        assert!(check_castable("c", &DataType::Decimal128(10, 2), &DataType::Decimal128(12, 3)).is_err());
    }
}
