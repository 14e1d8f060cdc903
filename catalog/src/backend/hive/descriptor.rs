//! What the metastore shows of a table besides where its metadata lies: columns in Hive's types, formats that Hive reads, and parameters that copy parts of the metadata. Written
//! as Iceberg's `HiveTableOperations` (1.10) does it: Hive, Spark and Trino go by it. Only the metadata file counts.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use nunatak_core::Result;
use serde::Serialize;

use super::entry::{METADATA_LOCATION, PREVIOUS_METADATA_LOCATION};
use super::options::Options;
use super::value::{Fields, Value};
use crate::properties::{self, HIVE_ENGINE_ENABLED};
use crate::spec::{PartitionSpec, PrimitiveType, Schema, SortOrder, TableMetadata, Type, ViewMetadata};
use crate::unsupported::{comment, unsupported_type};

/// The property that says who owns it.
const OWNER: &str = "hive.metastore.table.owner";
/// Iceberg's property that Hive has under another name.
const PURGE: (&str, &str) = ("gc.enabled", "external.table.purge");
const STORAGE_HANDLER: (&str, &str) = ("storage_handler", "org.apache.iceberg.mr.hive.HiveIcebergStorageHandler");
/// Statistics that Hive has, by what a snapshot's summary calls them.
const STATISTICS: [(&str, &str); 3] = [("total-data-files", "numFiles"), ("total-records", "numRows"), ("total-files-size", "totalSize")];

/// How much the metastore's own tables take, in characters.
const COLUMN_CHARS_MAX: usize = 767;
const COMMENT_CHARS_MAX: usize = 4_000;

/// What the entry of a table is to have.
pub(super) struct Described {
    /// Its columns and formats: a `StorageDescriptor`.
    pub(super) descriptor: Fields,
    /// Parameters that it is to have.
    pub(super) set: BTreeMap<String, String>,
    /// Parameters that it is to have no longer, unless they are set.
    pub(super) removed: BTreeSet<String>,
}

/// What the entry of a table is to have whose metadata lies at `location`. `before` are the properties that the table had.
///
/// Errors: `INVALID_TABLE_PROPERTY`.
pub(super) fn of_table(
    metadata: &TableMetadata,
    location: &str,
    previous: Option<&str>,
    before: &HashMap<String, String>,
    options: &Options,
) -> Result<Described> {
    let engine_enabled = properties::flag(metadata.properties(), HIVE_ENGINE_ENABLED, options.engine_enabled)?;
    let mut set = copied(metadata.properties());
    let mut removed: BTreeSet<String> = before.keys().filter(|key| !metadata.properties().contains_key(*key)).map(|key| renamed(key)).collect();
    set.insert(String::from("uuid"), metadata.uuid().to_string());
    point(&mut set, location, previous);
    if engine_enabled {
        set.insert(STORAGE_HANDLER.0.to_owned(), STORAGE_HANDLER.1.to_owned());
    } else {
        removed.insert(STORAGE_HANDLER.0.to_owned());
    }
    // The numbers above are not to be counted anew from the files of a folder.
    removed.insert(String::from("COLUMN_STATS_ACCURATE"));
    set.insert(String::from("DO_NOT_UPDATE_STATS"), String::from("true"));
    let snapshot = metadata.current_snapshot();
    if let Some(snapshot) = snapshot {
        let summary = &snapshot.summary().additional_properties;
        set.extend(STATISTICS.iter().filter_map(|(ours, hive)| Some(((*hive).to_owned(), summary.get(*ours)?.clone()))));
    }
    let mut shown = Shown { set: &mut set, removed: &mut removed, chars_max: options.property_chars_max };
    let schema: &Schema = metadata.current_schema();
    let is_readable = !schema.as_struct().fields().iter().any(|field| unsupported_type(field).is_some());
    shown.json("current-schema", is_readable.then_some(schema));
    shown.json("current-snapshot-summary", snapshot.map(|snapshot| snapshot.summary().additional_properties.iter().collect::<BTreeMap<_, _>>()));
    shown.text("current-snapshot-id", snapshot.map(|snapshot| snapshot.snapshot_id().to_string()));
    shown.text("current-snapshot-timestamp-ms", snapshot.map(|snapshot| snapshot.timestamp_ms().to_string()));
    shown.text("snapshot-count", Some(metadata.snapshots().len().to_string()));
    let spec: &PartitionSpec = metadata.default_partition_spec();
    shown.json("default-partition-spec", (!spec.is_unpartitioned()).then_some(spec));
    let order: &SortOrder = metadata.default_sort_order();
    shown.json("default-sort-order", (!order.is_unsorted()).then_some(order));
    Ok(Described { descriptor: storage_descriptor(schema, metadata.location(), engine_enabled), set, removed })
}

/// What the entry of a view is to have. `before` are the properties that the view had.
pub(super) fn of_view(
    metadata: &ViewMetadata,
    location: &str,
    previous: Option<&str>,
    before: &HashMap<String, String>,
    options: &Options,
) -> Described {
    let mut set = copied(metadata.properties());
    let mut removed = before.keys().filter(|key| !metadata.properties().contains_key(*key)).cloned().collect();
    set.insert(String::from("uuid"), metadata.uuid().to_string());
    point(&mut set, location, previous);
    let schema: &Schema = metadata.current_schema();
    Shown { set: &mut set, removed: &mut removed, chars_max: options.property_chars_max }.json("current-schema", Some(schema));
    Described { descriptor: storage_descriptor(schema, metadata.location(), false), set, removed }
}

impl Described {
    /// The parameters of an entry that had others.
    pub(super) fn over(&self, mut parameters: BTreeMap<String, String>) -> BTreeMap<String, String> {
        parameters.retain(|key, _| !self.removed.contains(key));
        parameters.extend(self.set.iter().map(|(key, value)| (key.clone(), value.clone())));
        parameters
    }
}

/// Who is to own a table or view.
pub(super) fn owner<'a>(properties: &'a HashMap<String, String>, options: &'a Options) -> &'a str {
    properties.get(OWNER).map_or(options.user.as_str(), String::as_str)
}

fn point(set: &mut BTreeMap<String, String>, location: &str, previous: Option<&str>) {
    set.insert(METADATA_LOCATION.to_owned(), location.to_owned());
    if let Some(previous) = previous {
        set.insert(PREVIOUS_METADATA_LOCATION.to_owned(), previous.to_owned());
    }
}

fn copied(properties: &HashMap<String, String>) -> BTreeMap<String, String> {
    properties.iter().filter(|(key, _)| !key.eq_ignore_ascii_case(OWNER)).map(|(key, value)| (renamed(key), value.clone())).collect()
}

fn renamed(key: &str) -> String {
    if key == PURGE.0 { PURGE.1.to_owned() } else { key.to_owned() }
}

/// Parts of the metadata that are shown if they are not too long.
struct Shown<'a> {
    set: &'a mut BTreeMap<String, String>,
    removed: &'a mut BTreeSet<String>,
    chars_max: usize,
}

impl Shown<'_> {
    fn text(&mut self, key: &str, value: Option<String>) {
        // One that is too long goes, with what was there before.
        if let Some(value) = value.filter(|value| value.encode_utf16().count() <= self.chars_max) {
            self.set.insert(key.to_owned(), value);
        } else {
            self.removed.insert(key.to_owned());
        }
    }

    fn json(&mut self, key: &str, value: Option<impl Serialize>) {
        self.text(key, value.and_then(|value| serde_json::to_string(&value).ok()));
    }
}

/// A `StorageDescriptor`. Those who are not to read the files get formats by which nobody can.
fn storage_descriptor(schema: &Schema, location: &str, engine_enabled: bool) -> Fields {
    let [input, output, serde] = match engine_enabled {
        true => ["HiveIcebergInputFormat", "HiveIcebergOutputFormat", "HiveIcebergSerDe"].map(|class| format!("org.apache.iceberg.mr.hive.{class}")),
        false => ["mapred.FileInputFormat", "mapred.FileOutputFormat", "hive.serde2.lazy.LazySimpleSerDe"]
            .map(|class| format!("org.apache.hadoop.{class}")),
    };
    let nothing = BTreeMap::new();
    Fields::new()
        .with(1, Value::structs(columns(schema)))
        .with(2, location)
        .with(3, input)
        .with(4, output)
        .with(5, false)
        .with(6, 0i32)
        .with(7, Fields::new().with(2, serde).with(3, Value::map(&nothing)))
        .with(8, Value::texts([]))
        .with(9, Value::structs([]))
        .with(10, Value::map(&nothing))
}

/// Columns as `FieldSchema`s. To Hive they are the same in any case, and it has no long names: what it cannot have is left out.
fn columns(schema: &Schema) -> Vec<Fields> {
    let mut names = BTreeSet::new();
    let fields = schema.as_struct().fields().iter();
    let possible = fields.filter(|field| field.name.chars().count() <= COLUMN_CHARS_MAX && names.insert(field.name.to_lowercase()));
    let columns = possible.map(|field| {
        let column = Fields::new().with(1, field.name.as_str()).with(2, hive_type(&field.field_type));
        match comment(field) {
            Some(comment) => column.with(3, comment.chars().take(COMMENT_CHARS_MAX).collect::<String>()),
            None => column,
        }
    });
    columns.collect()
}

/// A type as Hive calls it; for those that it does not have, the one that comes nearest.
fn hive_type(kind: &Type) -> String {
    match kind {
        Type::Primitive(primitive) => match primitive {
            PrimitiveType::Boolean => String::from("boolean"),
            PrimitiveType::Int => String::from("int"),
            PrimitiveType::Long => String::from("bigint"),
            PrimitiveType::Float => String::from("float"),
            PrimitiveType::Double => String::from("double"),
            PrimitiveType::Decimal { precision, scale } => format!("decimal({precision},{scale})"),
            PrimitiveType::Date => String::from("date"),
            PrimitiveType::Timestamp | PrimitiveType::TimestampNs => String::from("timestamp"),
            PrimitiveType::Timestamptz | PrimitiveType::TimestamptzNs => String::from("timestamp with local time zone"),
            PrimitiveType::Time | PrimitiveType::String | PrimitiveType::Uuid => String::from("string"),
            PrimitiveType::Fixed(_) | PrimitiveType::Binary => String::from("binary"),
        },
        Type::Struct(fields) => {
            let fields: Vec<String> = fields.fields().iter().map(|field| format!("{}:{}", field.name, hive_type(&field.field_type))).collect();
            format!("struct<{}>", fields.join(","))
        }
        Type::List(list) => format!("array<{}>", hive_type(&list.element_field.field_type)),
        Type::Map(map) => format!("map<{},{}>", hive_type(&map.key_field.field_type), hive_type(&map.value_field.field_type)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{FormatVersion, NestedField, TableMetadataBuilder};

    fn options(properties: &[(&str, &str)]) -> Options {
        let properties = properties.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        Options::new("thrift://h", &properties).unwrap()
    }

    fn metadata(properties: &[(&str, &str)]) -> TableMetadata {
        let field = |id, name: &str, kind| NestedField::optional(id, name, Type::Primitive(kind)).into();
        let nested: Schema = serde_json::from_value(serde_json::json!({ "type": "struct", "schema-id": 0, "fields": [
            { "id": 1, "name": "s", "required": false, "type": { "type": "struct", "fields": [
                { "id": 2, "name": "a", "required": true, "type": { "type": "list", "element-id": 3, "element": "time", "element-required": false } },
                { "id": 4, "name": "b", "required": true,
                  "type": { "type": "map", "key-id": 5, "key": "string", "value-id": 6, "value": "decimal(10, 2)", "value-required": false } },
            ] } },
        ] }))
        .unwrap();
        let mut fields = nested.as_struct().fields().to_vec();
        fields.extend([field(7, "T", PrimitiveType::Timestamptz), field(8, "t", PrimitiveType::Uuid), field(9, "u", PrimitiveType::Fixed(3))]);
        let schema = Schema::builder().with_fields(fields).build().unwrap();
        let properties = properties.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        let (spec, order, location) = (PartitionSpec::unpartition_spec(), SortOrder::unsorted_order(), String::from("file:///t"));
        TableMetadataBuilder::new(schema, spec, order, location, FormatVersion::V2, properties).unwrap().build().unwrap().metadata
    }

    #[test]
    fn columns_have_types_of_hive() {
        let metadata = metadata(&[]);
        let columns = columns(metadata.current_schema());
        let shown: Vec<_> = columns.iter().map(|column| (column.text(1).unwrap(), column.text(2).unwrap())).collect();
        assert_eq!(shown, [("s", "struct<a:array<string>,b:map<string,decimal(10,2)>>"), ("T", "timestamp with local time zone"), ("u", "binary")]);
    }

    #[test]
    fn an_entry_is_described_as_java_does_it() {
        let before = HashMap::from([("old".to_owned(), "1".to_owned()), ("gc.enabled".to_owned(), "true".to_owned())]);
        let plain = metadata(&[("gc.enabled", "false"), (OWNER, "somebody")]);
        let described = of_table(&plain, "file:///t/metadata/2", Some("file:///t/metadata/1"), &before, &options(&[])).unwrap();
        let had = [("old", "1"), ("external.table.purge", "true"), ("theirs", "x"), ("storage_handler", "y"), ("current-snapshot-id", "7")];
        let parameters = described.over(had.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect());
        let get = |key: &str| parameters.get(key).map(String::as_str);
        assert_eq!((get("metadata_location"), get("previous_metadata_location")), (Some("file:///t/metadata/2"), Some("file:///t/metadata/1")));
        assert_eq!((get("old"), get("theirs"), get("storage_handler"), get("current-snapshot-id")), (None, Some("x"), None, None));
        assert_eq!((get("external.table.purge"), get("gc.enabled"), get(OWNER)), (Some("false"), None, None));
        assert!(get("current-schema").is_some_and(|schema| schema.contains("\"name\":\"s\"")) && get("default-partition-spec").is_none());
        assert_eq!((get("snapshot-count"), owner(plain.properties(), &options(&[]))), (Some("0"), "somebody"));
        let serde = |described: &Described| described.descriptor.fields(7).and_then(|serde| serde.text(2)).unwrap().to_owned();
        assert_eq!(serde(&described), "org.apache.hadoop.hive.serde2.lazy.LazySimpleSerDe");

        let for_hive = metadata(&[(HIVE_ENGINE_ENABLED, "true")]);
        let described = of_table(&for_hive, "l", None, &HashMap::new(), &options(&[("hive.table-property-max-size", "10")])).unwrap();
        assert_eq!(described.set.get("storage_handler").map(String::as_str), Some(STORAGE_HANDLER.1));
        assert_eq!(serde(&described), "org.apache.iceberg.mr.hive.HiveIcebergSerDe");
        // Too long.
        assert!(!described.set.contains_key("current-schema") && described.set.contains_key("uuid"));
        assert!(of_table(&metadata(&[(HIVE_ENGINE_ENABLED, "maybe")]), "l", None, &HashMap::new(), &options(&[])).is_err());
    }
}
