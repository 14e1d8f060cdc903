//! Values that paths of SQL/JSON are applied to, and find.

use std::collections::HashMap;

use super::number::Number;
use super::text::Json;
use super::written::write_text;

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Null,
    Boolean(bool),
    Number(Number),
    Text(String),
    Array(Vec<Value>),
    Object(Vec<(String, Value)>),
}

impl From<Json> for Value {
    /// Of members with the same name the last one's value stays, in the place of the first one.
    fn from(json: Json) -> Self {
        match json {
            Json::Null => Self::Null,
            Json::Boolean(value) => Self::Boolean(value),
            Json::Number(digits) => Self::Number(Number::of_json(&digits)),
            Json::Text(text) => Self::Text(text),
            Json::Array(elements) => Self::Array(elements.into_iter().map(Self::from).collect()),
            Json::Object(members) => Self::Object(without_repeated(members.into_iter().map(|(name, value)| (name, Self::from(value))).collect())),
        }
    }
}

fn without_repeated(members: Vec<(String, Value)>) -> Vec<(String, Value)> {
    let mut places: HashMap<String, usize> = HashMap::with_capacity(members.len());
    let mut kept: Vec<(String, Value)> = Vec::with_capacity(members.len());
    for (name, value) in members {
        match places.get(&name).and_then(|place| kept.get_mut(*place)) {
            Some((_, known)) => *known = value,
            None => {
                places.insert(name.clone(), kept.len());
                kept.push((name, value));
            }
        }
    }
    kept
}

impl Value {
    /// Whether it is neither an array nor an object.
    pub(super) fn is_scalar(&self) -> bool {
        !matches!(self, Self::Array(_) | Self::Object(_))
    }

    /// What `type()` says.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Boolean(_) => "boolean",
            Self::Number(_) => "number",
            Self::Text(_) => "string",
            Self::Array(_) => "array",
            Self::Object(_) => "object",
        }
    }

    /// Writes it as JSON.
    pub(super) fn write(&self, out: &mut String) {
        match self {
            Self::Null => out.push_str("null"),
            Self::Boolean(value) => out.push_str(if *value { "true" } else { "false" }),
            Self::Number(number) => number.write(out),
            Self::Text(text) => write_text(text, out),
            Self::Array(elements) => write_array(elements.iter(), out),
            Self::Object(members) => {
                out.push('{');
                for (place, (name, value)) in members.iter().enumerate() {
                    if place > 0 {
                        out.push(',');
                    }
                    write_text(name, out);
                    out.push(':');
                    value.write(out);
                }
                out.push('}');
            }
        }
    }
}

/// Writes values as an array.
pub(super) fn write_array<'a>(elements: impl Iterator<Item = &'a Value>, out: &mut String) {
    out.push('[');
    for (place, element) in elements.enumerate() {
        if place > 0 {
            out.push(',');
        }
        element.write(out);
    }
    out.push(']');
}
