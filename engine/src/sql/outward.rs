//! The types that leave nunatak: plain ones, since clients know no views, dictionaries or run-end encodings. UUIDs are texts, as every client can show them. Large text is JSON,
//! and says so by Arrow's extension type; a text that is a UUID says so by metadata of ours.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef};
use datafusion::arrow::error::ArrowError;
use datafusion::logical_expr::ColumnarValue;

use crate::functions::number_cast;
use crate::functions::text_cast::UUID;

use super::select_items::{is_unnamed, output_name};
use super::text_lengths::TextLength;

/// The key of a field's metadata for its type, where Arrow's says less: `uuid` of texts that are UUIDs, `varchar(10)` or `char(10)` where the statement says how long texts
/// are. Texts of the latter type are without blanks at their end.
pub const TYPE_MARK: &str = "nunatak:type";

/// The schema that a client sees for rows of `schema`: plain types, no metadata, every column nullable (what a plan promises of nulls differs between
/// planning and running).
pub fn outward_schema(schema: &Schema) -> SchemaRef {
    Arc::new(Schema::new(schema.fields().iter().map(|field| marked(output_name(field.name()), field.data_type(), true)).collect::<Vec<_>>()))
}

/// The schema that a client sees for a query: `schema` is that of its rows, `lengths` are those of its texts.
pub fn outward_query_schema(schema: &Schema, lengths: Vec<Option<TextLength>>) -> SchemaRef {
    let outward = counted(schema, outward_schema(schema));
    if lengths.iter().all(Option::is_none) {
        return outward;
    }
    let field = |(field, length): (&FieldRef, Option<TextLength>)| match (field.data_type(), length) {
        (DataType::Utf8, Some(TextLength { characters, is_padded })) if field.metadata().is_empty() => {
            let mark = format!("{}({characters})", if is_padded { "char" } else { "varchar" });
            Arc::new(field.as_ref().clone().with_metadata(HashMap::from([(TYPE_MARK.to_owned(), mark)])))
        }
        _ => Arc::clone(field),
    };
    let lengths = lengths.into_iter().chain(std::iter::repeat(None));
    Arc::new(Schema::new(outward.fields().iter().zip(lengths).map(field).collect::<Vec<_>>()))
}

/// The same columns; those without a name of their own are counted by their place among all of them, wherever in the statement they come from.
fn counted(schema: &Schema, outward: SchemaRef) -> SchemaRef {
    if !schema.fields().iter().any(|field| is_unnamed(field.name())) {
        return outward;
    }
    let field = |(place, (field, outward)): (usize, (&FieldRef, &FieldRef))| match is_unnamed(field.name()) {
        true => Arc::new(outward.as_ref().clone().with_name(format!("_col{place}"))),
        false => Arc::clone(outward),
    };
    Arc::new(Schema::new(schema.fields().iter().zip(outward.fields()).enumerate().map(field).collect::<Vec<_>>()))
}

/// The schema that a client sees for a table: as [`outward_schema`], but with what the table says of nulls.
pub fn outward_table_schema(schema: &Schema) -> SchemaRef {
    let field = |field: &FieldRef| marked(field.name(), field.data_type(), field.is_nullable());
    Arc::new(Schema::new(schema.fields().iter().map(field).collect::<Vec<_>>()))
}

fn outward_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Utf8View => DataType::Utf8,
        DataType::FixedSizeBinary(_) if *data_type == UUID => DataType::Utf8,
        DataType::BinaryView | DataType::LargeBinary => DataType::Binary,
        DataType::Dictionary(_, value) => outward_type(value),
        DataType::RunEndEncoded(_, value) => outward_type(value.data_type()),
        DataType::List(field) | DataType::LargeList(field) | DataType::ListView(field) | DataType::LargeListView(field) => {
            DataType::List(outward_field(field))
        }
        DataType::FixedSizeList(field, size) => DataType::FixedSizeList(outward_field(field), *size),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(outward_field).collect::<Fields>()),
        DataType::Map(entries, sorted) => DataType::Map(outward_field(entries), *sorted),
        other => other.clone(),
    }
}

fn outward_field(field: &FieldRef) -> FieldRef {
    Arc::new(marked(field.name(), field.data_type(), field.is_nullable()))
}

/// A field for values of a type. One of JSON, or of UUIDs, says so.
fn marked(name: &str, data_type: &DataType, is_nullable: bool) -> Field {
    let marks: &[(&str, &str)] = match data_type {
        DataType::LargeUtf8 => &[("ARROW:extension:name", "arrow.json"), ("ARROW:extension:metadata", "")],
        data_type if *data_type == UUID => &[(TYPE_MARK, "uuid")],
        _ => &[],
    };
    let metadata: HashMap<String, String> = marks.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    Field::new(name, outward_type(data_type), is_nullable).with_metadata(metadata)
}

/// The same rows with the columns of `schema`, which [`outward_schema`] gave.
pub fn outward_batch(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    let columns = batch
        .columns()
        .iter()
        .zip(schema.fields())
        .map(|(column, field)| outward_column(column, field.data_type()))
        .collect::<Result<Vec<_>, _>>()?;
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &RecordBatchOptions::new().with_row_count(Some(batch.num_rows())))
}

fn outward_column(column: &ArrayRef, to: &DataType) -> Result<ArrayRef, ArrowError> {
    match column.data_type() {
        from if from == to => Ok(Arc::clone(column)),
        from if number_cast::is_needed(from, to) => {
            let cast = number_cast::cast_value(&ColumnarValue::Array(Arc::clone(column)), to, false);
            cast.and_then(|cast| cast.into_array(column.len())).map_err(|error| ArrowError::ExternalError(Box::new(error)))
        }
        _ => cast(column, to),
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{AsArray, FixedSizeBinaryArray, ListArray};
    use datafusion::arrow::buffer::OffsetBuffer;

    use super::*;

    #[test]
    fn views_and_dictionaries_become_plain() {
        let schema = Schema::new(vec![
            Field::new("a", DataType::Utf8View, false),
            Field::new("b", DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8)), true),
            Field::new("c", DataType::List(Arc::new(Field::new("element", DataType::BinaryView, true))), true),
        ]);
        let types: Vec<_> = outward_schema(&schema).fields().iter().map(|field| field.data_type().clone()).collect();
        assert_eq!(types, [DataType::Utf8, DataType::Utf8, DataType::List(Arc::new(Field::new("element", DataType::Binary, true)))]);
    }

    #[test]
    fn columns_without_names_are_counted() {
        let schema = Schema::new(["\u{1}_col0", "a", "\u{1}_col0\u{1}2", "a\u{1}1"].map(|name| Field::new(name, DataType::Int32, true)).to_vec());
        let outward = outward_query_schema(&schema, Vec::new());
        let names: Vec<&str> = outward.fields().iter().map(|field| field.name().as_str()).collect();
        assert_eq!(names, ["_col0", "a", "_col2", "a"]);
    }

    #[test]
    fn uuids_become_texts() {
        let uuids: ArrayRef = Arc::new(FixedSizeBinaryArray::try_from_iter([[7_u8; 16], [8_u8; 16]].into_iter()).unwrap());
        let lists: ArrayRef =
            Arc::new(ListArray::new(Arc::new(Field::new("element", UUID, true)), OffsetBuffer::from_lengths([1, 1]), Arc::clone(&uuids), None));
        let batch = RecordBatch::try_from_iter([("u", uuids), ("l", lists)]).unwrap();
        let outward = outward_batch(&batch, &outward_schema(batch.schema().as_ref())).unwrap();
        let text = "07070707-0707-0707-0707-070707070707";
        assert_eq!(outward.schema().field(0).metadata().get(TYPE_MARK).map(String::as_str), Some("uuid"));
        assert_eq!(outward.column(0).as_string::<i32>().value(0), text);
        assert_eq!(outward.column(1).as_list::<i32>().value(0).as_string::<i32>().value(0), text);
    }

    #[test]
    fn json_says_that_it_is() {
        let schema = outward_schema(&Schema::new(vec![
            Field::new("j", DataType::LargeUtf8, true),
            Field::new("a", DataType::List(Arc::new(Field::new("element", DataType::LargeUtf8, true))), true),
        ]));
        let name = |field: &Field| field.metadata().get("ARROW:extension:name").cloned();
        assert_eq!(name(schema.field(0)).as_deref(), Some("arrow.json"));
        let DataType::List(element) = schema.field(1).data_type() else { panic!("a list is one") };
        assert_eq!((name(element.as_ref()).as_deref(), element.data_type()), (Some("arrow.json"), &DataType::LargeUtf8));
    }
}
