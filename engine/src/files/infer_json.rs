//! The shape of a JSON object, read without making values of it.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use super::infer_type::{Shape, merge_fields};

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ShapeVisitor)
    }
}

struct ShapeVisitor;

impl<'de> Visitor<'de> for ShapeVisitor {
    type Value = Shape;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a json value")
    }

    fn visit_unit<E>(self) -> Result<Shape, E> {
        Ok(Shape::Null)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Shape, E> {
        Ok(Shape::Boolean)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Shape, E> {
        Ok(Shape::Integer)
    }

    fn visit_u64<E>(self, value: u64) -> Result<Shape, E> {
        // Beyond a bigint: floating point would lose its last digits.
        Ok(if i64::try_from(value).is_ok() { Shape::Integer } else { Shape::Text })
    }

    fn visit_f64<E>(self, _: f64) -> Result<Shape, E> {
        Ok(Shape::Float)
    }

    fn visit_str<E>(self, text: &str) -> Result<Shape, E> {
        // The author of the file says with quotes that it is a text; only times have no other way.
        Ok(Shape::of_time(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Shape, A::Error> {
        let mut shape = Shape::Null;
        while let Some(element) = elements.next_element::<Shape>()? {
            shape.merge(element);
        }
        Ok(Shape::Array(Box::new(shape)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Shape, A::Error> {
        let mut fields = Vec::new();
        while let Some((name, shape)) = entries.next_entry::<String, Shape>()? {
            merge_fields(&mut fields, vec![(name, shape)]);
        }
        Ok(Shape::Object(fields))
    }
}
