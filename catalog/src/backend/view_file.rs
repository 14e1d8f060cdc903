//! Views as the Iceberg view spec (v1) stores them: a metadata file with versions, each with the view's text in one or more SQL dialects.

use std::collections::HashMap;

use iceberg::ViewUpdate;
use iceberg::spec::{ViewFormatVersion, ViewMetadataBuilder, ViewRepresentation, ViewVersion};
use nunatak_core::{Code, Error, Result};
use serde_json::json;

use super::metadata_file::{invalid, parse, read};
use crate::error::from_iceberg;
use crate::spec::{NestedFieldRef, Schema, ViewMetadata};
use crate::storage::Storage;
use crate::table::{TableName, View};

/// The dialect that we write, and prefer to read.
const DIALECT: &str = "trino";
const COMMENT: &str = "comment";
/// Trino's name for the user with whose rights a view is read; the view spec has none.
const OWNER: &str = "trino.run-as-owner";
/// Without it the crate refuses a version that has fewer dialects than the one before.
const DROP_DIALECT_ALLOWED: &str = "replace.drop-dialect.allowed";

/// Reads a view's metadata file.
pub(super) async fn load(storage: &Storage, name: &TableName, location: &str) -> Result<ViewMetadata> {
    let json = read(storage, name, location).await?;
    parse(&json).map_err(|error| invalid(name, location, &error.to_string()).with_source(error))
}

/// The metadata of a new view.
pub(super) fn create(view: &View, columns: Schema, location: String) -> Result<ViewMetadata> {
    let version = version(view, &columns)?;
    let properties = properties(view);
    let builder = ViewMetadataBuilder::new(location, columns, version, ViewFormatVersion::V1, properties);
    let built = builder.and_then(ViewMetadataBuilder::build).map_err(|error| failed(view, error))?;
    Ok(built.metadata)
}

/// The metadata of a view with a new current version.
pub(super) fn replace(view: &View, columns: Schema, before: ViewMetadata) -> Result<ViewMetadata> {
    Ok(replacement(view, columns, before)?.0)
}

/// The same, with the changes that lead there.
pub(super) fn replacement(view: &View, columns: Schema, before: ViewMetadata) -> Result<(ViewMetadata, Vec<ViewUpdate>)> {
    let version = version(view, &columns)?;
    let mut properties = properties(view);
    if dialects(&before).any(|dialect| dialect != DIALECT) {
        // The text in the other dialect says what the view was, not what it is now.
        properties.insert(DROP_DIALECT_ALLOWED.to_owned(), String::from("true"));
    }
    let builder = before.into_builder().remove_properties(&[COMMENT.to_owned(), OWNER.to_owned()]);
    let changed = builder.set_properties(properties).and_then(|builder| builder.set_current_version(version, columns));
    let built = changed.and_then(ViewMetadataBuilder::build).map_err(|error| failed(view, error))?;
    Ok((built.metadata, built.changes))
}

/// The view that a metadata file describes. `catalog` is the default for names without a catalog when the file names none.
pub(super) fn view(name: &TableName, catalog: &str, metadata: &ViewMetadata) -> Result<View> {
    let version = metadata.current_version();
    let texts: Vec<_> = version.representations().iter().map(|ViewRepresentation::Sql(text)| text).collect();
    let text = texts.iter().find(|text| text.dialect.eq_ignore_ascii_case(DIALECT)).or(texts.first());
    let text = text.ok_or_else(|| Error::new(Code::InvalidView, format!("view '{name}' has no text")))?;
    let fields: &[NestedFieldRef] = match metadata.schema_by_id(version.schema_id()) {
        Some(schema) => schema.as_struct().fields(),
        None => &[],
    };
    Ok(View {
        name: name.clone(),
        sql: text.sql.clone(),
        columns: fields.iter().map(|field| field.name.clone()).collect(),
        column_comments: fields.iter().filter_map(|field| Some((field.name.clone(), field.doc.clone()?))).collect(),
        default_catalog: version.default_catalog().cloned().unwrap_or_else(|| catalog.to_owned()),
        default_schema: version.default_namespace().clone().inner().join("."),
        comment: metadata.properties().get(COMMENT).cloned(),
        owner: metadata.properties().get(OWNER).cloned(),
    })
}

fn dialects(metadata: &ViewMetadata) -> impl Iterator<Item = &str> {
    metadata.current_version().representations().iter().map(|ViewRepresentation::Sql(text)| text.dialect.as_str())
}

/// The properties of the view.
pub(super) fn properties(view: &View) -> HashMap<String, String> {
    let given = [(COMMENT, &view.comment), (OWNER, &view.owner)];
    given.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value.clone()?))).collect()
}

/// The version that the view is. Through JSON: the crate has no other way to make the list of representations.
pub(super) fn version(view: &View, columns: &Schema) -> Result<ViewVersion> {
    let mut version = json!({
        "version-id": 1,
        "schema-id": columns.schema_id(),
        "timestamp-ms": chrono::Utc::now().timestamp_millis(),
        "summary": { "engine-name": "nunatak", "engine-version": env!("CARGO_PKG_VERSION") },
        "representations": [{ "type": "sql", "sql": view.sql, "dialect": DIALECT }],
        "default-namespace": view.default_schema.split('.').filter(|level| !level.is_empty()).collect::<Vec<_>>(),
    });
    if !view.default_catalog.is_empty() {
        version["default-catalog"] = json!(view.default_catalog);
    }
    serde_json::from_value(version).map_err(|error| Error::internal(format!("cannot describe view '{}'", view.name)).with_source(error))
}

fn failed(view: &View, error: iceberg::Error) -> Error {
    from_iceberg(error, Code::IcebergCommitError, format!("cannot write view '{}'", view.name))
}
