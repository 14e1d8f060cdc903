//! Arrow schemas as Iceberg schemas, with fresh field ids: for `CREATE TABLE AS` and for files that become tables.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema};
use nunatak_catalog::spec::{self, NestedField, NestedFieldRef, PrimitiveType, Type};
use nunatak_core::{Code, Error, Result};

use crate::functions::text_cast::UUID;

/// The widest decimal that Iceberg has.
const DECIMAL_PRECISION_MAX: u8 = 38;

/// An Iceberg schema for rows of this Arrow schema. Ids are given level by level, as Iceberg's own library does. Every column is optional: that a
/// query's result cannot be null says nothing about what will be inserted later.
///
/// Errors: `TYPE_MISMATCH`, naming the column, for a type that Iceberg cannot hold.
pub fn arrow_to_iceberg_schema(schema: &Schema) -> Result<spec::Schema> {
    let mut ids = Ids { last: 0 };
    let fields = ids.fields(schema.fields(), "")?;
    spec::Schema::builder()
        .with_fields(fields)
        .build()
        .map_err(|error| Error::new(Code::InvalidArguments, "these columns cannot make a table").with_source(error))
}

struct Ids {
    last: i32,
}

impl Ids {
    fn next(&mut self) -> i32 {
        self.last += 1;
        self.last
    }

    fn fields(&mut self, fields: &Fields, parent: &str) -> Result<Vec<NestedFieldRef>> {
        let ids: Vec<i32> = fields.iter().map(|_| self.next()).collect();
        ids.into_iter().zip(fields).map(|(id, field)| self.field(id, field, parent)).collect()
    }

    fn field(&mut self, id: i32, field: &FieldRef, parent: &str) -> Result<NestedFieldRef> {
        let path = join(parent, field.name());
        let field_type = self.type_of(field.data_type(), &path)?;
        Ok(Arc::new(NestedField::optional(id, field.name(), field_type)))
    }

    fn type_of(&mut self, data_type: &DataType, path: &str) -> Result<Type> {
        match data_type {
            DataType::Struct(fields) => Ok(Type::Struct(spec::StructType::new(self.fields(fields, path)?))),
            DataType::List(element)
            | DataType::LargeList(element)
            | DataType::FixedSizeList(element, _)
            | DataType::ListView(element)
            | DataType::LargeListView(element) => {
                let id = self.next();
                let element_type = self.type_of(element.data_type(), &join(path, "element"))?;
                Ok(Type::List(spec::ListType::new(Arc::new(NestedField::list_element(id, element_type, false)))))
            }
            DataType::Map(entries, _) => self.map(entries, path),
            DataType::Dictionary(_, value) => self.type_of(value, path),
            DataType::RunEndEncoded(_, values) => self.type_of(values.data_type(), path),
            _ => primitive(data_type, path).map(Type::Primitive),
        }
    }

    fn map(&mut self, entries: &Field, path: &str) -> Result<Type> {
        let DataType::Struct(fields) = entries.data_type() else { return Err(mismatch(path, entries.data_type())) };
        let [key, value] = &fields[..] else { return Err(mismatch(path, entries.data_type())) };
        let (key_id, value_id) = (self.next(), self.next());
        let key_type = self.type_of(key.data_type(), &join(path, "key"))?;
        let value_type = self.type_of(value.data_type(), &join(path, "value"))?;
        Ok(Type::Map(spec::MapType::optional(key_id, key_type, value_id, value_type)))
    }
}

fn join(parent: &str, name: &str) -> String {
    if parent.is_empty() { name.to_owned() } else { format!("{parent}.{name}") }
}

fn primitive(data_type: &DataType, path: &str) -> Result<PrimitiveType> {
    Ok(match data_type {
        DataType::Boolean => PrimitiveType::Boolean,
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::UInt8 | DataType::UInt16 => PrimitiveType::Int,
        DataType::Int64 | DataType::UInt32 => PrimitiveType::Long,
        DataType::UInt64 => PrimitiveType::Decimal { precision: 20, scale: 0 },
        DataType::Float16 | DataType::Float32 => PrimitiveType::Float,
        DataType::Float64 => PrimitiveType::Double,
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale)
        | DataType::Decimal256(precision, scale) => decimal(*precision, *scale).ok_or_else(|| mismatch(path, data_type))?,
        DataType::Date32 | DataType::Date64 => PrimitiveType::Date,
        DataType::Time32(_) | DataType::Time64(_) => PrimitiveType::Time,
        DataType::Timestamp(_, None) => PrimitiveType::Timestamp,
        DataType::Timestamp(_, Some(_)) => PrimitiveType::Timestamptz,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => PrimitiveType::String,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => PrimitiveType::Binary,
        // What a query computes does not say so of itself.
        DataType::FixedSizeBinary(_) if *data_type == UUID => PrimitiveType::Uuid,
        DataType::FixedSizeBinary(length) => PrimitiveType::Fixed(u64::try_from(*length).map_err(|_| mismatch(path, data_type))?),
        _ => return Err(mismatch(path, data_type)),
    })
}

fn decimal(precision: u8, scale: i8) -> Option<PrimitiveType> {
    let scale = u32::try_from(scale).ok()?;
    (precision <= DECIMAL_PRECISION_MAX && scale <= u32::from(precision)).then_some(PrimitiveType::Decimal { precision: precision.into(), scale })
}

fn mismatch(path: &str, data_type: &DataType) -> Error {
    let error = match data_type {
        DataType::Null => Error::new(Code::ColumnTypeUnknown, format!("column '{path}' has no type, since all its values are null")),
        other => Error::new(Code::TypeMismatch, format!("column '{path}' has type {other}, which a table cannot hold")),
    };
    error.with_hint(format!("give it a type: cast({path} as varchar)"))
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::TimeUnit;

    use super::*;
    use crate::scan::types::{field_id, table_schema, trino_type_name};

    fn all_types() -> spec::Schema {
        let primitives = [
            PrimitiveType::Boolean,
            PrimitiveType::Int,
            PrimitiveType::Long,
            PrimitiveType::Float,
            PrimitiveType::Double,
            PrimitiveType::Decimal { precision: 12, scale: 2 },
            PrimitiveType::Date,
            PrimitiveType::Time,
            PrimitiveType::Timestamp,
            PrimitiveType::Timestamptz,
            PrimitiveType::String,
            PrimitiveType::Uuid,
            PrimitiveType::Fixed(5),
            PrimitiveType::Binary,
        ];
        let mut fields: Vec<NestedFieldRef> = primitives
            .into_iter()
            .enumerate()
            .map(|(index, primitive)| Arc::new(NestedField::optional(index as i32 + 1, format!("c{index}"), Type::Primitive(primitive))))
            .collect();
        let text = || Type::Primitive(PrimitiveType::String);
        let list = Type::List(spec::ListType::new(Arc::new(NestedField::list_element(18, text(), false))));
        let map = Type::Map(spec::MapType::optional(19, text(), 20, Type::Primitive(PrimitiveType::Long)));
        let row = Type::Struct(spec::StructType::new(vec![Arc::new(NestedField::optional(21, "a", text()))]));
        fields.push(Arc::new(NestedField::optional(15, "list", list)));
        fields.push(Arc::new(NestedField::optional(16, "map", map)));
        fields.push(Arc::new(NestedField::optional(17, "row", row)));
        spec::Schema::builder().with_fields(fields).build().unwrap()
    }

    #[test]
    fn every_type_comes_back() {
        let iceberg = all_types();
        let back = arrow_to_iceberg_schema(&table_schema(&iceberg).unwrap()).unwrap();
        assert_eq!(back.as_struct(), iceberg.as_struct());
    }

    #[test]
    fn ids_are_at_every_level() {
        let arrow = table_schema(&all_types()).unwrap();
        let DataType::Map(entries, _) = arrow.field_with_name("map").unwrap().data_type() else { panic!("not a map") };
        let DataType::Struct(fields) = entries.data_type() else { panic!("not a struct") };
        assert_eq!(fields.iter().map(|field| field_id(field)).collect::<Vec<_>>(), [Some(19), Some(20)]);
        assert_eq!(arrow.field_with_name("c10").unwrap().data_type(), &DataType::Utf8View);
    }

    #[test]
    fn foreign_types_are_widened_or_refused_by_name() {
        let field = |name: &str, data_type| Field::new(name, data_type, false);
        let arrow = Schema::new(vec![
            field("a", DataType::UInt16),
            field("b", DataType::UInt32),
            field("c", DataType::UInt64),
            field("d", DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::LargeUtf8))),
            field("e", DataType::Timestamp(TimeUnit::Second, Some("Europe/Berlin".into()))),
        ]);
        let iceberg = arrow_to_iceberg_schema(&arrow).unwrap();
        let names: Vec<String> = iceberg.as_struct().fields().iter().map(|field| trino_type_name(&field.field_type)).collect();
        assert_eq!(names, ["integer", "bigint", "decimal(20,0)", "varchar", "timestamp(6) with time zone"]);
        let row = DataType::Struct(Fields::from(vec![field("y", DataType::Null)]));
        let error = arrow_to_iceberg_schema(&Schema::new(vec![field("x", row)])).unwrap_err();
        assert_eq!((error.code(), error.message()), (Code::ColumnTypeUnknown, "column 'x.y' has no type, since all its values are null"));
    }

    #[test]
    fn names_are_folded_only_when_they_stay_apart() {
        let text = || Type::Primitive(PrimitiveType::String);
        let fields = ["ID", "id", "Name"].into_iter().zip(1..).map(|(name, id)| Arc::new(NestedField::optional(id, name, text())) as NestedFieldRef);
        let iceberg = spec::Schema::builder().with_fields(fields).build().unwrap();
        let arrow = table_schema(&iceberg).unwrap();
        assert_eq!(arrow.fields().iter().map(|field| field.name().as_str()).collect::<Vec<_>>(), ["ID", "id", "name"]);
    }
}
