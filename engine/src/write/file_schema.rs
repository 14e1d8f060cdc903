//! What a data file looks like inside: the Parquet schema, with field ids and logical types exactly as Iceberg's table spec maps them, and the
//! Arrow schema of the batches that fit it. Both are made from the table's schema in one walk, so that they cannot disagree.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};
use nunatak_catalog::spec::{self, NestedField, PrimitiveType};
use nunatak_core::{Error, Result};
use parquet::arrow::PARQUET_FIELD_ID_META_KEY;
use parquet::basic::{LogicalType, Repetition, TimeUnit as ParquetTimeUnit, Type as PhysicalType};
use parquet::schema::types::{PrimitiveTypeBuilder, SchemaDescriptor, Type as ParquetType};

use crate::scan::HiddenColumn;

/// One column chunk of each row group, in the order of the file.
#[derive(Clone, Debug)]
pub(super) struct Leaf {
    pub(super) field_id: i32,
    pub(super) data_type: PrimitiveType,
    /// Where it lies in a batch: the index of the column, then of the field in each struct. `None` below a list or map.
    pub(super) path: Option<Vec<usize>>,
}

#[derive(Debug)]
pub(super) struct FileSchema {
    pub(super) arrow: SchemaRef,
    pub(super) parquet: SchemaDescriptor,
    pub(super) leaves: Vec<Leaf>,
}

impl FileSchema {
    /// The form of files with the columns of `schema`, and these columns of row lineage behind them.
    pub(super) fn new(schema: &spec::Schema, lineage: &[HiddenColumn]) -> Result<Self> {
        let mut leaves = Vec::new();
        let mut arrow_fields = Vec::new();
        let mut parquet_fields = Vec::new();
        let lineage = lineage.iter().filter_map(|column| column.stored()).map(Arc::new);
        for (index, field) in schema.as_struct().fields().iter().cloned().chain(lineage).enumerate() {
            let (arrow, parquet) = convert(&field, &field.name, Some(vec![index]), &mut leaves)?;
            arrow_fields.push(arrow);
            parquet_fields.push(Arc::new(parquet));
        }
        let root = ParquetType::group_type_builder("table").with_fields(parquet_fields).build().map_err(broken)?;
        Ok(Self { arrow: Arc::new(Schema::new(arrow_fields)), parquet: SchemaDescriptor::new(Arc::new(root)), leaves })
    }
}

fn broken(error: parquet::errors::ParquetError) -> Error {
    Error::internal("the table's schema has no Parquet form").with_source(error)
}

/// The Arrow field and the Parquet type of an Iceberg field; its leaves are added to `leaves`.
fn convert(field: &NestedField, name: &str, path: Option<Vec<usize>>, leaves: &mut Vec<Leaf>) -> Result<(Field, ParquetType)> {
    let repetition = if field.required { Repetition::REQUIRED } else { Repetition::OPTIONAL };
    let group = |fields| ParquetType::group_type_builder(name).with_repetition(repetition).with_id(Some(field.id)).with_fields(fields);
    let (data_type, parquet) = match field.field_type.as_ref() {
        spec::Type::Primitive(primitive) => {
            let is_column = path.as_ref().is_some_and(|path| path.len() == 1);
            leaves.push(Leaf { field_id: field.id, data_type: primitive.clone(), path });
            let (data_type, builder) = convert_primitive(primitive, name, is_column)?;
            (data_type, builder.with_repetition(repetition).with_id(Some(field.id)).build())
        }
        spec::Type::Struct(inner) => {
            let mut arrow_fields = Vec::new();
            let mut parquet_fields = Vec::new();
            for (index, child) in inner.fields().iter().enumerate() {
                let child_path = path.as_ref().map(|path| path.iter().copied().chain([index]).collect());
                let (arrow, parquet) = convert(child, &child.name, child_path, leaves)?;
                arrow_fields.push(arrow);
                parquet_fields.push(Arc::new(parquet));
            }
            (DataType::Struct(Fields::from(arrow_fields)), group(parquet_fields).build())
        }
        spec::Type::List(list) => {
            let (arrow, parquet) = convert(&list.element_field, "element", None, leaves)?;
            let repeated = repeated("list", vec![parquet])?;
            (DataType::List(Arc::new(arrow)), group(vec![repeated]).with_logical_type(Some(LogicalType::List)).build())
        }
        spec::Type::Map(map) => {
            let (key, parquet_key) = convert(&map.key_field, "key", None, leaves)?;
            let (value, parquet_value) = convert(&map.value_field, "value", None, leaves)?;
            let entries = Field::new("key_value", DataType::Struct(Fields::from(vec![key, value])), false);
            let repeated = repeated("key_value", vec![parquet_key, parquet_value])?;
            (DataType::Map(Arc::new(entries), false), group(vec![repeated]).with_logical_type(Some(LogicalType::Map)).build())
        }
    };
    let id = HashMap::from([(PARQUET_FIELD_ID_META_KEY.to_owned(), field.id.to_string())]);
    Ok((Field::new(name, data_type, !field.required).with_metadata(id), parquet.map_err(broken)?))
}

fn repeated(name: &str, fields: Vec<ParquetType>) -> Result<Arc<ParquetType>> {
    let fields = fields.into_iter().map(Arc::new).collect();
    let group = ParquetType::group_type_builder(name).with_repetition(Repetition::REPEATED).with_fields(fields);
    group.build().map(Arc::new).map_err(broken)
}

/// Columns of strings and binary are taken as views, the form in which DataFusion computes; below a column they are plain, as scans give them.
fn convert_primitive<'a>(primitive: &PrimitiveType, name: &'a str, is_column: bool) -> Result<(DataType, PrimitiveTypeBuilder<'a>)> {
    let plain = |physical| ParquetType::primitive_type_builder(name, physical);
    let logical = |physical, logical| plain(physical).with_logical_type(Some(logical));
    let timestamp = |zone: Option<Arc<str>>, unit, parquet_unit| {
        let kind = LogicalType::timestamp(zone.is_some(), parquet_unit);
        (DataType::Timestamp(unit, zone), logical(PhysicalType::INT64, kind))
    };
    let fixed = |length: i32| plain(PhysicalType::FIXED_LEN_BYTE_ARRAY).with_length(length);
    let utc = || Some(Arc::from("UTC"));
    Ok(match primitive {
        PrimitiveType::Boolean => (DataType::Boolean, plain(PhysicalType::BOOLEAN)),
        PrimitiveType::Int => (DataType::Int32, plain(PhysicalType::INT32)),
        PrimitiveType::Long => (DataType::Int64, plain(PhysicalType::INT64)),
        PrimitiveType::Float => (DataType::Float32, plain(PhysicalType::FLOAT)),
        PrimitiveType::Double => (DataType::Float64, plain(PhysicalType::DOUBLE)),
        PrimitiveType::Decimal { precision, scale } => convert_decimal(*precision, *scale, name)?,
        PrimitiveType::Date => (DataType::Date32, logical(PhysicalType::INT32, LogicalType::Date)),
        PrimitiveType::Time => {
            let kind = LogicalType::time(false, ParquetTimeUnit::MICROS);
            (DataType::Time64(TimeUnit::Microsecond), logical(PhysicalType::INT64, kind))
        }
        PrimitiveType::Timestamp => timestamp(None, TimeUnit::Microsecond, ParquetTimeUnit::MICROS),
        PrimitiveType::Timestamptz => timestamp(utc(), TimeUnit::Microsecond, ParquetTimeUnit::MICROS),
        PrimitiveType::TimestampNs => timestamp(None, TimeUnit::Nanosecond, ParquetTimeUnit::NANOS),
        PrimitiveType::TimestamptzNs => timestamp(utc(), TimeUnit::Nanosecond, ParquetTimeUnit::NANOS),
        PrimitiveType::String => {
            (if is_column { DataType::Utf8View } else { DataType::Utf8 }, logical(PhysicalType::BYTE_ARRAY, LogicalType::String))
        }
        PrimitiveType::Binary => (if is_column { DataType::BinaryView } else { DataType::Binary }, plain(PhysicalType::BYTE_ARRAY)),
        // Arrow's own conversion writes no UUID annotation, without which Java reads plain bytes.
        PrimitiveType::Uuid => (DataType::FixedSizeBinary(16), fixed(16).with_logical_type(Some(LogicalType::Uuid))),
        PrimitiveType::Fixed(length) => {
            let length = i32::try_from(*length).map_err(|_| Error::not_supported(format!("type fixed({length}) is too long")))?;
            (DataType::FixedSizeBinary(length), fixed(length))
        }
    })
}

/// Decimals take the smallest physical type that holds their precision.
fn convert_decimal(precision: u32, scale: u32, name: &str) -> Result<(DataType, PrimitiveTypeBuilder<'_>)> {
    let too_wide = || Error::not_supported(format!("type decimal({precision}, {scale}) is too wide"));
    let arrow = DataType::Decimal128(u8::try_from(precision).map_err(|_| too_wide())?, i8::try_from(scale).map_err(|_| too_wide())?);
    let length = spec::Type::decimal_required_bytes(precision).ok().and_then(|length| i32::try_from(length).ok()).ok_or_else(too_wide)?;
    let builder = match precision {
        1..=9 => ParquetType::primitive_type_builder(name, PhysicalType::INT32),
        10..=18 => ParquetType::primitive_type_builder(name, PhysicalType::INT64),
        _ => ParquetType::primitive_type_builder(name, PhysicalType::FIXED_LEN_BYTE_ARRAY).with_length(length),
    };
    let (precision, scale) = (precision.cast_signed(), scale.cast_signed());
    Ok((arrow, builder.with_logical_type(Some(LogicalType::decimal(scale, precision))).with_precision(precision).with_scale(scale)))
}

#[cfg(test)]
mod tests {
    use nunatak_catalog::spec::{ListType, MapType, StructType, Type};
    use parquet::schema::printer::print_schema;

    use super::*;

    fn field(id: i32, name: &str, field_type: Type) -> Arc<NestedField> {
        Arc::new(NestedField::optional(id, name, field_type))
    }

    #[test]
    fn every_type_has_its_parquet_form() {
        let string = || Type::Primitive(PrimitiveType::String);
        let list = Type::List(ListType::new(NestedField::list_element(21, string(), false).into()));
        let map = Type::Map(MapType::new(
            NestedField::map_key_element(31, string()).into(),
            NestedField::map_value_element(32, Type::Primitive(PrimitiveType::Double), false).into(),
        ));
        let inner = Type::Struct(StructType::new(vec![field(41, "lat", Type::Primitive(PrimitiveType::Float))]));
        let schema = spec::Schema::builder()
            .with_fields(vec![
                Arc::new(NestedField::required(1, "id", Type::Primitive(PrimitiveType::Long))),
                field(2, "tags", list),
                field(3, "scores", map),
                field(4, "place", inner),
                field(5, "key", Type::Primitive(PrimitiveType::Uuid)),
                field(6, "price", Type::Primitive(PrimitiveType::Decimal { precision: 9, scale: 2 })),
                field(7, "total", Type::Primitive(PrimitiveType::Decimal { precision: 38, scale: 2 })),
                field(8, "at", Type::Primitive(PrimitiveType::Timestamptz)),
                field(9, "local", Type::Primitive(PrimitiveType::Timestamp)),
                field(10, "mid", Type::Primitive(PrimitiveType::Decimal { precision: 19, scale: 0 })),
            ])
            .build()
            .unwrap();
        let file = FileSchema::new(&schema, &[]).unwrap();
        let mut text = Vec::new();
        print_schema(&mut text, file.parquet.root_schema());
        let expected = "message table {
  REQUIRED INT64 id [1];
  OPTIONAL group tags [2] (LIST) {
    REPEATED group list {
      OPTIONAL BYTE_ARRAY element [21] (STRING);
    }
  }
  OPTIONAL group scores [3] (MAP) {
    REPEATED group key_value {
      REQUIRED BYTE_ARRAY key [31] (STRING);
      OPTIONAL DOUBLE value [32];
    }
  }
  OPTIONAL group place [4] {
    OPTIONAL FLOAT lat [41];
  }
  OPTIONAL FIXED_LEN_BYTE_ARRAY (16) key [5] (UUID);
  OPTIONAL INT32 price [6] (DECIMAL(9,2));
  OPTIONAL FIXED_LEN_BYTE_ARRAY (16) total [7] (DECIMAL(38,2));
  OPTIONAL INT64 at [8] (TIMESTAMP(MICROS,true));
  OPTIONAL INT64 local [9] (TIMESTAMP(MICROS,false));
  OPTIONAL FIXED_LEN_BYTE_ARRAY (9) mid [10] (DECIMAL(19,0));
}
";
        assert_eq!(String::from_utf8(text).unwrap(), expected);
        let leaves: Vec<_> = file.leaves.iter().map(|leaf| (leaf.field_id, leaf.path.clone())).collect();
        assert_eq!(leaves[..5], [(1, Some(vec![0])), (21, None), (31, None), (32, None), (41, Some(vec![3, 0]))]);
        assert_eq!(leaves.len(), file.parquet.num_columns());
    }
}
