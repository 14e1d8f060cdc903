//! Thrift's values, as they are on the wire. Messages of the metastore are read and written as they come, field by field, so that what a newer metastore has put into a table
//! is still there when we give the table back.

use std::collections::BTreeMap;

use thrift::protocol::{
    TFieldIdentifier, TInputProtocol, TListIdentifier, TMapIdentifier, TOutputProtocol, TSetIdentifier, TStructIdentifier, TType,
};
use thrift::{ProtocolError, ProtocolErrorKind};

/// How deep values may lie in one another.
const DEPTH_MAX: usize = 32;

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    /// A bool.
    Bool(bool),
    /// A whole number of 8 bits.
    I8(i8),
    /// A whole number of 16 bits.
    I16(i16),
    /// A whole number of 32 bits; also of enums.
    I32(i32),
    /// A whole number of 64 bits.
    I64(i64),
    /// A floating point number.
    Double(f64),
    /// A text or bytes, which look alike.
    Bytes(Vec<u8>),
    /// A struct.
    Struct(Fields),
    /// A list, with the type of its elements.
    List(TType, Vec<Value>),
    /// A set, with the type of its elements.
    Set(TType, Vec<Value>),
    /// A map, with the types of its keys and values.
    Map(TType, TType, Vec<(Value, Value)>),
}

/// The fields of a struct by their ids.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Fields(BTreeMap<i16, Value>);

impl Value {
    /// Several texts.
    pub(super) fn texts<'a>(texts: impl IntoIterator<Item = &'a str>) -> Self {
        Self::List(TType::String, texts.into_iter().map(Self::from).collect())
    }

    /// Several structs.
    pub(super) fn structs(structs: impl IntoIterator<Item = Fields>) -> Self {
        Self::List(TType::Struct, structs.into_iter().map(Self::Struct).collect())
    }

    /// Texts by texts.
    pub(super) fn map(entries: &BTreeMap<String, String>) -> Self {
        let entries = entries.iter().map(|(key, value)| (Self::from(key.as_str()), Self::from(value.as_str()))).collect();
        Self::Map(TType::String, TType::String, entries)
    }

    fn text(&self) -> Option<&str> {
        match self {
            Self::Bytes(bytes) => std::str::from_utf8(bytes).ok(),
            _ => None,
        }
    }

    fn kind(&self) -> TType {
        match self {
            Self::Bool(_) => TType::Bool,
            Self::I8(_) => TType::I08,
            Self::I16(_) => TType::I16,
            Self::I32(_) => TType::I32,
            Self::I64(_) => TType::I64,
            Self::Double(_) => TType::Double,
            Self::Bytes(_) => TType::String,
            Self::Struct(_) => TType::Struct,
            Self::List(..) => TType::List,
            Self::Set(..) => TType::Set,
            Self::Map(..) => TType::Map,
        }
    }

    fn read(input: &mut dyn TInputProtocol, kind: TType, depth: usize) -> thrift::Result<Self> {
        let depth = depth.checked_sub(1).ok_or_else(|| nonsense("values lie too deep in one another"))?;
        Ok(match kind {
            TType::Bool => Self::Bool(input.read_bool()?),
            TType::I08 => Self::I8(input.read_i8()?),
            TType::I16 => Self::I16(input.read_i16()?),
            TType::I32 => Self::I32(input.read_i32()?),
            TType::I64 => Self::I64(input.read_i64()?),
            TType::Double => Self::Double(input.read_double()?),
            TType::String => Self::Bytes(input.read_bytes()?),
            TType::Struct => Self::Struct(Fields::read_within(input, depth)?),
            TType::List => {
                let list = input.read_list_begin()?;
                let values = read_all(input, list.element_type, list.size, depth)?;
                input.read_list_end()?;
                Self::List(list.element_type, values)
            }
            TType::Set => {
                let set = input.read_set_begin()?;
                let values = read_all(input, set.element_type, set.size, depth)?;
                input.read_set_end()?;
                Self::Set(set.element_type, values)
            }
            TType::Map => {
                let map = input.read_map_begin()?;
                let (keys, values) = (map.key_type.unwrap_or(TType::String), map.value_type.unwrap_or(TType::String));
                let mut entries = Vec::new();
                for _ in 0..map.size {
                    entries.push((Self::read(input, keys, depth)?, Self::read(input, values, depth)?));
                }
                input.read_map_end()?;
                Self::Map(keys, values, entries)
            }
            TType::Stop | TType::Void | TType::Utf7 | TType::Uuid => return Err(nonsense("a value is of a type that the metastore does not have")),
        })
    }

    fn write(&self, output: &mut dyn TOutputProtocol) -> thrift::Result<()> {
        match self {
            Self::Bool(value) => output.write_bool(*value),
            Self::I8(value) => output.write_i8(*value),
            Self::I16(value) => output.write_i16(*value),
            Self::I32(value) => output.write_i32(*value),
            Self::I64(value) => output.write_i64(*value),
            Self::Double(value) => output.write_double(*value),
            Self::Bytes(value) => output.write_bytes(value),
            Self::Struct(fields) => fields.write(output),
            Self::List(kind, values) => {
                output.write_list_begin(&TListIdentifier::new(*kind, size(values.len())?))?;
                write_all(output, values)?;
                output.write_list_end()
            }
            Self::Set(kind, values) => {
                output.write_set_begin(&TSetIdentifier::new(*kind, size(values.len())?))?;
                write_all(output, values)?;
                output.write_set_end()
            }
            Self::Map(keys, values, entries) => {
                output.write_map_begin(&TMapIdentifier::new(*keys, *values, size(entries.len())?))?;
                for (key, value) in entries {
                    key.write(output)?;
                    value.write(output)?;
                }
                output.write_map_end()
            }
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Bytes(text.as_bytes().to_vec())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Bytes(text.into_bytes())
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i16> for Value {
    fn from(value: i16) -> Self {
        Self::I16(value)
    }
}

impl From<i32> for Value {
    fn from(value: i32) -> Self {
        Self::I32(value)
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::I64(value)
    }
}

impl From<Fields> for Value {
    fn from(fields: Fields) -> Self {
        Self::Struct(fields)
    }
}

impl Fields {
    /// A struct with no fields.
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// The same with one more field.
    #[must_use]
    pub(super) fn with(mut self, id: i16, value: impl Into<Value>) -> Self {
        self.set(id, value);
        self
    }

    /// Sets a field.
    pub(super) fn set(&mut self, id: i16, value: impl Into<Value>) {
        self.0.insert(id, value.into());
    }

    /// A field's value, if it has one.
    pub(super) fn get(&self, id: i16) -> Option<&Value> {
        self.0.get(&id)
    }

    /// Takes a field out.
    pub(super) fn take(&mut self, id: i16) -> Option<Value> {
        self.0.remove(&id)
    }

    /// The ids of the fields that have values.
    pub(super) fn ids(&self) -> impl Iterator<Item = i16> + '_ {
        self.0.keys().copied()
    }

    /// A text.
    pub(super) fn text(&self, id: i16) -> Option<&str> {
        self.get(id)?.text()
    }

    /// A whole number of any width.
    pub(super) fn number(&self, id: i16) -> Option<i64> {
        match self.get(id)? {
            Value::I8(number) => Some(i64::from(*number)),
            Value::I16(number) => Some(i64::from(*number)),
            Value::I32(number) => Some(i64::from(*number)),
            Value::I64(number) => Some(*number),
            _ => None,
        }
    }

    /// A struct.
    pub(super) fn fields(&self, id: i16) -> Option<&Fields> {
        match self.get(id)? {
            Value::Struct(fields) => Some(fields),
            _ => None,
        }
    }

    /// The texts of a list; none if there is no list.
    pub(super) fn texts(&self, id: i16) -> Vec<String> {
        self.list(id).iter().filter_map(|value| value.text().map(str::to_owned)).collect()
    }

    /// The values of a list; none if there is no list.
    pub(super) fn list(&self, id: i16) -> &[Value] {
        match self.get(id) {
            Some(Value::List(_, values)) => values,
            _ => &[],
        }
    }

    /// The structs of a list, taken out of it.
    pub(super) fn take_structs(&mut self, id: i16) -> Vec<Fields> {
        let Some(Value::List(_, values)) = self.take(id) else { return Vec::new() };
        let structs = values.into_iter().filter_map(|value| if let Value::Struct(fields) = value { Some(fields) } else { None });
        structs.collect()
    }

    /// The entries of a map from texts to texts; none if there is no map.
    pub(super) fn map(&self, id: i16) -> BTreeMap<String, String> {
        let Some(Value::Map(_, _, entries)) = self.get(id) else { return BTreeMap::new() };
        entries.iter().filter_map(|(key, value)| Some((key.text()?.to_owned(), value.text()?.to_owned()))).collect()
    }

    /// Reads a struct.
    pub(super) fn read(input: &mut dyn TInputProtocol) -> thrift::Result<Self> {
        Self::read_within(input, DEPTH_MAX)
    }

    fn read_within(input: &mut dyn TInputProtocol, depth: usize) -> thrift::Result<Self> {
        let mut fields = BTreeMap::new();
        input.read_struct_begin()?;
        loop {
            let field = input.read_field_begin()?;
            if field.field_type == TType::Stop {
                break;
            }
            let value = Value::read(input, field.field_type, depth)?;
            input.read_field_end()?;
            fields.insert(field.id.unwrap_or_default(), value);
        }
        input.read_struct_end()?;
        Ok(Self(fields))
    }

    /// Writes a struct. The binary protocol leaves out all names.
    pub(super) fn write(&self, output: &mut dyn TOutputProtocol) -> thrift::Result<()> {
        output.write_struct_begin(&TStructIdentifier { name: String::new() })?;
        for (id, value) in &self.0 {
            output.write_field_begin(&TFieldIdentifier { name: None, field_type: value.kind(), id: Some(*id) })?;
            value.write(output)?;
            output.write_field_end()?;
        }
        output.write_field_stop()?;
        output.write_struct_end()
    }
}

fn read_all(input: &mut dyn TInputProtocol, kind: TType, size: i32, depth: usize) -> thrift::Result<Vec<Value>> {
    // No room is made for a number that may be nonsense.
    let mut values = Vec::new();
    for _ in 0..size {
        values.push(Value::read(input, kind, depth)?);
    }
    Ok(values)
}

fn write_all(output: &mut dyn TOutputProtocol, values: &[Value]) -> thrift::Result<()> {
    values.iter().try_for_each(|value| value.write(output))
}

fn size(length: usize) -> thrift::Result<i32> {
    i32::try_from(length).map_err(|_| nonsense("a list is too long"))
}

fn nonsense(what: &str) -> thrift::Error {
    thrift::Error::Protocol(ProtocolError::new(ProtocolErrorKind::InvalidData, what))
}

#[cfg(test)]
mod tests {
    use thrift::protocol::{TBinaryInputProtocol, TBinaryOutputProtocol};

    use super::*;

    fn written(fields: &Fields) -> Vec<u8> {
        let mut bytes = Vec::new();
        fields.write(&mut TBinaryOutputProtocol::new(&mut bytes, true)).unwrap();
        bytes
    }

    fn read(bytes: &[u8]) -> thrift::Result<Fields> {
        Fields::read(&mut TBinaryInputProtocol::new(bytes, true))
    }

    #[test]
    fn everything_comes_back_as_it_was() {
        let parameters = BTreeMap::from([("a".to_owned(), "ä".to_owned()), ("b".to_owned(), String::new())]);
        let fields = Fields::new()
            .with(1, "text")
            .with(2, true)
            .with(3, 7i16)
            .with(4, -7i32)
            .with(5, 1i64 << 40)
            .with(6, Value::map(&parameters))
            .with(7, Value::texts(["x", "y"]))
            .with(8, Value::structs([Fields::new().with(1, "within"), Fields::new()]))
            .with(9, Value::Set(TType::I32, vec![Value::I32(1)]))
            .with(10, Value::Double(0.5))
            .with(11, Value::I8(3))
            .with(12, Value::Bytes(vec![0xff, 0]));
        let back = read(&written(&fields)).unwrap();
        assert_eq!(back, fields);
        assert_eq!(
            (back.text(1), back.number(5), back.map(6), back.texts(7)),
            (Some("text"), Some(1 << 40), parameters, vec!["x".into(), "y".into()])
        );
        assert_eq!((back.text(12), back.text(99), back.list(1).len()), (None, None, 0));
    }

    #[test]
    fn damaged_bytes_are_an_error() {
        let bytes = written(&Fields::new().with(1, "text").with(2, Value::texts(["x"])));
        for length in 0..bytes.len() {
            assert!(read(&bytes[..length]).is_err(), "{length}");
        }
        assert!(read(&[99, 0, 1]).is_err());
        // Lists in lists in lists.
        let deep: Vec<u8> = [15, 0, 1].into_iter().chain([15, 0, 0, 0, 1].into_iter().cycle().take(5_000)).collect();
        assert!(read(&deep).is_err());
    }
}
