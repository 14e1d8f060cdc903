//! Columns of types that the v3 spec has and the iceberg crate cannot read: variant, geometry, geography, unknown. A table is usable without them. In its
//! schemas they stand as binaries whose comment names their type, behind a mark that no comment of a user has; what is marked is never read or written.

use memchr::memmem;
use serde_json::Value;

use crate::spec::{Literal, NestedField, PrimitiveLiteral, PrimitiveType, Type};

/// The types, which may have parameters in parentheses.
const TYPES: [&str; 4] = ["variant", "geometry", "geography", "unknown"];

/// The keys of a field's default values.
const DEFAULTS: [&str; 2] = ["initial-default", "write-default"];

/// Stands before and behind the type in a comment.
const MARK: char = '\u{1}';

/// The type of a column, or of a field within it, that cannot be read.
pub fn unsupported_type(field: &NestedField) -> Option<&str> {
    if let Some(marked) = field.doc.as_deref().and_then(|doc| doc.strip_prefix(MARK)) {
        return Some(marked.split(MARK).next().unwrap_or(marked));
    }
    match &*field.field_type {
        Type::Struct(fields) => fields.fields().iter().find_map(|field| unsupported_type(field)),
        Type::List(list) => unsupported_type(&list.element_field),
        Type::Map(map) => unsupported_type(&map.key_field).or_else(|| unsupported_type(&map.value_field)),
        Type::Primitive(_) => None,
    }
}

/// The comment of a column as its user wrote it.
pub fn comment(field: &NestedField) -> Option<&str> {
    let doc = field.doc.as_deref()?;
    match doc.strip_prefix(MARK) {
        Some(marked) => marked.split_once(MARK).map(|(_, comment)| comment).filter(|comment| !comment.is_empty()),
        None => Some(doc),
    }
}

/// Marks the fields of a schema, as JSON, that cannot be read. Whether there are any.
pub(crate) fn mark(schema: &mut Value) -> bool {
    let mut marked = false;
    for field in schema.get_mut("fields").and_then(Value::as_array_mut).into_iter().flatten() {
        marked |= mark_field(field);
    }
    marked
}

fn mark_field(field: &mut Value) -> bool {
    if field["type"]["type"] == "struct" {
        return mark(&mut field["type"]);
    }
    let unsupported = unsupported_within(&field["type"]).map(str::to_owned);
    let Some(unsupported) = unsupported.or_else(|| type_with_lost_default(field)) else { return false };
    let comment = field["doc"].as_str().unwrap_or_default();
    field["doc"] = Value::from(format!("{MARK}{unsupported}{MARK}{comment}"));
    field["type"] = Value::from("binary");
    if let Some(field) = field.as_object_mut() {
        // A binary has no such value.
        DEFAULTS.iter().for_each(|key| drop(field.remove(*key)));
    }
    true
}

/// The type of a field whose default the iceberg crate would forget, because it cannot read or write it: nanoseconds, in 0.10.
fn type_with_lost_default(field: &Value) -> Option<String> {
    let name = field["type"].as_str()?;
    let field_type: Type = serde_json::from_value(field["type"].clone()).ok()?;
    let is_kept = |default: &Value| match Literal::try_from_json(default.clone(), &field_type) {
        Ok(Some(value)) => keeps_default(&value, &field_type),
        Ok(None) | Err(_) => false,
    };
    let is_lost = |default: &Value| !default.is_null() && !is_kept(default);
    DEFAULTS.iter().any(|key| is_lost(&field[*key])).then(|| format!("{name} with a default value"))
}

/// Whether a default value is the same when it was written into a table's metadata and read again. NaN and the infinities are not: numbers of JSON have none, and
/// the iceberg crate writes null for them.
pub fn keeps_default(default: &Literal, field_type: &Type) -> bool {
    // The crate panics over these: it takes the fraction of the second for one that is never negative.
    let is_early = matches!(
        (default, field_type),
        (Literal::Primitive(PrimitiveLiteral::Long(micros)), Type::Primitive(PrimitiveType::Timestamptz)) if micros % 1_000_000 < 0
    );
    let again = || default.clone().try_into_json(field_type).and_then(|json| Literal::try_from_json(json, field_type));
    !is_early && again().is_ok_and(|kept| kept.as_ref() == Some(default))
}

/// Whether a table's metadata, as it lies in its file, may have default values.
pub(crate) fn may_have_defaults(json: &[u8]) -> bool {
    DEFAULTS.iter().any(|key| memmem::find(json, key.as_bytes()).is_some())
}

/// The elements of lists and maps have no comment of their own: the field around them is marked.
fn unsupported_within(field_type: &Value) -> Option<&str> {
    if let Some(name) = field_type.as_str() {
        let is_it = |known: &&str| name.strip_prefix(*known).is_some_and(|rest| rest.is_empty() || rest.trim_start().starts_with('('));
        return TYPES.iter().any(is_it).then_some(name);
    }
    let fields = field_type.get("fields").and_then(Value::as_array).into_iter().flatten().filter_map(|field| field.get("type"));
    let parts = ["element", "key", "value"].into_iter().filter_map(|part| field_type.get(part));
    fields.chain(parts).find_map(unsupported_within)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Schema;

    #[test]
    fn only_what_cannot_be_read_is_marked() {
        let mut json = serde_json::json!({"type": "struct", "schema-id": 0, "fields": [
            {"id": 1, "name": "id", "required": true, "type": "long", "doc": "a key"},
            {"id": 2, "name": "v", "required": false, "type": "variant", "doc": "anything"},
            {"id": 3, "name": "r", "required": false, "type": {"type": "struct", "fields": [
                {"id": 4, "name": "g", "required": false, "type": "geometry(srid:4326)"}, {"id": 5, "name": "n", "required": false, "type": "int"}]}},
            {"id": 6, "name": "l", "required": false, "type": {"type": "list", "element-id": 7, "element-required": false, "element": "variant"}},
            {"id": 8, "name": "m", "required": false, "type": {"type": "map", "key-id": 9, "key": "string", "value-id": 10, "value-required": false,
                "value": {"type": "struct", "fields": [{"id": 11, "name": "x", "required": false, "type": "int"}]}}},
            {"id": 12, "name": "d", "required": false, "type": "date", "initial-default": "2024-01-01", "write-default": null},
            {"id": 13, "name": "at", "required": false, "type": "timestamp_ns", "initial-default": "2024-01-01T00:00:00.000000001"},
            {"id": 14, "name": "early", "required": false, "type": "timestamptz", "initial-default": "1969-12-31T23:59:59.999999+00:00"},
            {"id": 15, "name": "late", "required": false, "type": "timestamptz", "initial-default": "2024-01-01T00:00:00.999999+00:00"},
        ]});
        assert!(mark(&mut json));
        assert!(!mark(&mut json), "what is marked can be read");
        let schema: Schema = serde_json::from_value(json).unwrap();
        let of = |id| schema.field_by_id(id).unwrap();
        let types = [1, 2, 3, 4, 5, 6, 8, 12, 15].map(|id| unsupported_type(of(id)));
        assert_eq!(types, [None, Some("variant"), Some("geometry(srid:4326)"), Some("geometry(srid:4326)"), None, Some("variant"), None, None, None]);
        assert_eq!(unsupported_type(of(13)), Some("timestamp_ns with a default value"));
        assert_eq!(unsupported_type(of(14)), Some("timestamptz with a default value"));
        assert_eq!((comment(of(1)), comment(of(2)), comment(of(4)), comment(of(5))), (Some("a key"), Some("anything"), None, None));
    }

    #[test]
    fn defaults_that_json_has_not_are_not_kept() {
        let of = |primitive, default: Literal| keeps_default(&default, &Type::Primitive(primitive));
        assert!(of(PrimitiveType::Double, Literal::double(-0.5)));
        for lost in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert!(!of(PrimitiveType::Double, Literal::double(lost)), "{lost}");
        }
        assert!(of(PrimitiveType::Decimal { precision: 38, scale: 38 }, Literal::decimal(1)));
        assert!(of(PrimitiveType::Timestamp, Literal::timestamp(-1)));
        assert!(of(PrimitiveType::Timestamptz, Literal::timestamptz(-1_000_000)));
        assert!(!of(PrimitiveType::Timestamptz, Literal::timestamptz(-1)));
    }
}
