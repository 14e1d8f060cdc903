//! Views on the server, where it has some.

use std::collections::HashMap;

use nunatak_core::{Code, Error, Result};
use reqwest::StatusCode;
use serde::Serialize;
use serde_json::{Value, json};

use super::changes::LAST_ADDED;
use super::client::{Call, Reply};
use super::connection::Connection;
use super::http::Fault;
use super::messages::{Commit, Loaded, NewView, without_nulls};
use super::{RestCatalog, unknown};
use crate::backend::names::{check_part, namespace_not_found, table_exists, view_not_found};
use crate::backend::{ViewFile, update, view_file};
use crate::commit::CommitError;
use crate::commit::attempts::LOOKS_AFTER;
use crate::messages::{Identifier, Register, ViewRequirement};
use crate::spec::{Schema, ViewMetadata, ViewUpdate};
use crate::table::{TableName, View};

impl RestCatalog {
    /// A view, if it is there.
    pub(super) async fn find_view(&self, name: &TableName) -> Result<Option<View>> {
        let found = self.view_file(name).await?;
        found.map(|file| view_file::view(name, &self.name, &file.metadata)).transpose()
    }

    /// A view with all of its texts, if it is there.
    pub(super) async fn view_file(&self, name: &TableName) -> Result<Option<ViewFile>> {
        let connection = self.connection().await?;
        if !connection.has_views() {
            return Ok(None);
        }
        let call = Call::get(connection.paths.of_view(name)?, format!("load view '{name}'"));
        let reply = connection.reply(call).await?;
        if reply.answer.is_missing() {
            return Ok(None);
        }
        if !reply.answer.status.is_success() {
            return Err(reply.failure_of_one());
        }
        parsed(name, &reply).map(Some)
    }

    /// Makes a view, or a new version of it.
    pub(super) async fn make_view(&self, view: &View, columns: Schema, replace: bool) -> Result<()> {
        let name = &view.name;
        if replace && let Some(before) = self.view_file(name).await? {
            let base = before.metadata.clone();
            let (after, changes) = view_file::replacement(view, columns, before.metadata)?;
            let changes = changes.iter().map(json).collect::<Result<Vec<_>>>()?;
            return self.change_view(name, &base, &after, changes).await.map(drop).map_err(CommitError::into_error);
        }
        let body = NewView {
            name: &name.table,
            location: None,
            schema: json(&columns)?,
            view_version: json(&view_file::version(view, &columns)?)?,
            properties: json(&view_file::properties(view))?,
        };
        self.post_view(name, &body).await.map(drop)
    }

    /// Makes a view of whole metadata. Its id is the server's.
    pub(super) async fn write_view(&self, name: &TableName, metadata: &ViewMetadata) -> Result<ViewFile> {
        let body = NewView {
            name: &name.table,
            location: Some(metadata.location()),
            schema: json(metadata.current_schema().as_ref())?,
            view_version: json(metadata.current_version().as_ref())?,
            properties: json(metadata.properties())?,
        };
        self.post_view(name, &body).await
    }

    /// Makes a view of metadata that is there.
    pub(super) async fn register_view(&self, name: &TableName, metadata_location: &str) -> Result<ViewFile> {
        let connection = self.connection().await?;
        check_part(&name.table, "view")?;
        if !connection.registers_views() {
            return Err(Error::not_supported(format!("view '{name}' cannot be registered: the server of catalog '{}' does not do that", self.name)));
        }
        let body = Register { name: name.table.clone(), metadata_location: metadata_location.to_owned(), overwrite: None };
        let url = connection.paths.of_namespace(&name.namespace, "register-view")?;
        let call = Call::post(url, format!("register view '{name}'"), &body);
        self.made_view(connection, name, call, |file| file.location == metadata_location).await
    }

    async fn post_view(&self, name: &TableName, body: &NewView<'_>) -> Result<ViewFile> {
        let connection = self.connection().await?;
        check_part(&name.table, "view")?;
        if !connection.has_views() {
            return Err(Error::not_supported(format!("view '{name}' cannot be made: the server of catalog '{}' has no views", self.name)));
        }
        let url = connection.paths.of_namespace(&name.namespace, "views")?;
        let texts = body.view_version["representations"].clone();
        let call = Call::post(url, format!("create view '{name}'"), body);
        self.made_view(connection, name, call, |file| representations(&file.metadata).is_ok_and(|found| found == texts)).await
    }

    async fn made_view(&self, connection: &Connection, name: &TableName, call: Call, is_ours: impl Fn(&ViewFile) -> bool + Send) -> Result<ViewFile> {
        let fault = match connection.client.call(call).await {
            Ok(reply) => match reply.answer.status {
                status if status.is_success() => match parsed(name, &reply) {
                    Ok(file) => return Ok(file),
                    Err(error) => Fault::Lost(error),
                },
                StatusCode::CONFLICT if !reply.answer.uncertain => return Err(table_exists(name)),
                _ if reply.answer.is_missing() && !reply.answer.uncertain => return Err(namespace_not_found(&name.namespace)),
                _ => reply.failure(),
            },
            Err(fault) => fault,
        };
        match fault {
            Fault::Refused(error) => Err(error),
            Fault::Lost(error) => match self.seen(name, is_ours).await {
                Some(file) => Ok(file),
                None => Err(unknown(&format!("view '{name}' was made"), error)),
            },
        }
    }

    /// Looks, after a lost answer, whether a view is the one that was sent.
    async fn seen(&self, name: &TableName, is_ours: impl Fn(&ViewFile) -> bool + Send) -> Option<ViewFile> {
        for wait in LOOKS_AFTER {
            tokio::time::sleep(wait).await;
            match self.view_file(name).await {
                Ok(Some(file)) if is_ours(&file) => return Some(file),
                Ok(_) => {}
                Err(error) => tracing::warn!(%error, view = %name, "cannot see whether a view was made"),
            }
        }
        None
    }

    /// Puts other metadata in the place of a view's, if the view is still the same.
    pub(super) async fn swap_view(&self, name: &TableName, base: &ViewFile, metadata: &ViewMetadata) -> Result<ViewFile, CommitError> {
        let changes = differences(&base.metadata, metadata)?;
        self.change_view(name, &base.metadata, metadata, changes).await
    }

    /// Sends the changes that lead from one state of a view to the next.
    async fn change_view(
        &self,
        name: &TableName,
        before: &ViewMetadata,
        after: &ViewMetadata,
        mut updates: Vec<Value>,
    ) -> Result<ViewFile, CommitError> {
        let wanted = representations(after)?;
        let connection = self.connection().await?;
        let requirements = vec![ViewRequirement::Uuid { uuid: before.uuid().to_string() }];
        let (schema_id, version_id) = (after.current_version().schema_id(), after.current_version_id());
        // Java's server adds nothing that the view has already, and then knows no "last added".
        if before.schema_by_id(schema_id).is_some() {
            updates.retain(|update| update["action"] != "add-schema");
            let versions = updates.iter_mut().filter(|update| update["view-version"]["schema-id"] == LAST_ADDED);
            versions.for_each(|update| update["view-version"]["schema-id"] = schema_id.into());
        }
        if before.version_by_id(version_id).is_some() {
            updates.retain(|update| update["action"] != "add-view-version");
            let current = updates.iter_mut().filter(|update| update["view-version-id"] == LAST_ADDED);
            current.for_each(|update| update["view-version-id"] = version_id.into());
        }
        let body = Commit { identifier: Identifier::from(name), requirements, updates };
        let call = Call::post(connection.paths.of_view(name)?, format!("replace view '{name}'"), &body);
        let fault = match connection.client.call(call).await {
            Ok(reply) => match reply.answer.status {
                status if status.is_success() => match parsed(name, &reply) {
                    Ok(file) => return Ok(file),
                    Err(error) => Fault::Lost(error),
                },
                StatusCode::CONFLICT if !reply.answer.uncertain => return Err(CommitError::Conflict(update::conflict(name))),
                _ if reply.answer.is_missing() && !reply.answer.uncertain => return Err(CommitError::Failed(view_not_found(name))),
                _ => reply.failure(),
            },
            Err(fault) => fault,
        };
        let is_ours = |file: &ViewFile| {
            let found = &file.metadata;
            found.location() == after.location()
                && representations(found).is_ok_and(|texts| texts == wanted)
                && after.properties().iter().all(|(property, value)| found.properties().get(property) == Some(value))
        };
        match fault {
            Fault::Refused(error) => Err(CommitError::Failed(error)),
            Fault::Lost(error) => match self.seen(name, is_ours).await {
                Some(file) => Ok(file),
                None => Err(CommitError::Unknown(unknown(&format!("view '{name}' was replaced"), error))),
            },
        }
    }

    /// Drops a view.
    pub(super) async fn remove_view(&self, name: &TableName) -> Result<()> {
        let connection = self.connection().await?;
        if !connection.has_views() {
            return Err(view_not_found(name));
        }
        let call = Call::delete(connection.paths.of_view(name)?, format!("drop view '{name}'"));
        let fault = match connection.client.call(call).await {
            Ok(reply) if reply.answer.status.is_success() => return Ok(()),
            Ok(reply) if reply.answer.is_missing() && !reply.answer.uncertain => return Err(view_not_found(name)),
            Ok(reply) => reply.failure(),
            Err(fault) => fault,
        };
        match fault {
            Fault::Refused(error) => Err(error),
            Fault::Lost(error) => match self.is_gone("views", name).await {
                true => Ok(()),
                false => Err(unknown(&format!("view '{name}' was dropped"), error)),
            },
        }
    }
}

/// The view that an answer has.
fn parsed(name: &TableName, reply: &Reply<'_>) -> Result<ViewFile> {
    let Loaded { metadata, metadata_location, .. } = reply.parsed()?;
    let metadata = serde_json::from_str(metadata.get()).map_err(|error| {
        Error::new(Code::IcebergInvalidMetadata, format!("the metadata of view '{name}' cannot be read: {error}")).with_source(error)
    })?;
    Ok(ViewFile { metadata, location: metadata_location.unwrap_or_default() })
}

/// The updates that make of a view's metadata what it is to be. Ids are given out by the server, so that what is added is named as that.
fn differences(before: &ViewMetadata, after: &ViewMetadata) -> Result<Vec<Value>> {
    let mut updates = Vec::new();
    if before.location() != after.location() {
        updates.push(ViewUpdate::SetLocation { location: after.location().to_owned() });
    }
    let (had, has) = (before.properties(), after.properties());
    let set: HashMap<String, String> =
        has.iter().filter(|(name, value)| had.get(*name) != Some(*value)).map(|(name, value)| (name.clone(), value.clone())).collect();
    if !set.is_empty() {
        updates.push(ViewUpdate::SetProperties { updates: set });
    }
    let removals: Vec<String> = had.keys().filter(|name| !has.contains_key(*name)).cloned().collect();
    if !removals.is_empty() {
        updates.push(ViewUpdate::RemoveProperties { removals });
    }
    let mut updates = updates.iter().map(json).collect::<Result<Vec<_>>>()?;
    let current = after.current_version();
    if before.current_version_id() == current.version_id() {
        return Ok(updates);
    }
    if before.version_by_id(current.version_id()).is_some() {
        updates.push(json(&ViewUpdate::SetCurrentViewVersion { view_version_id: current.version_id() })?);
        return Ok(updates);
    }
    let mut version = json(current.as_ref())?;
    if before.schema_by_id(current.schema_id()).is_none() {
        let schema = after.current_schema().as_ref().clone();
        let last_column_id = Some(schema.highest_field_id());
        updates.push(json(&ViewUpdate::AddSchema { schema, last_column_id })?);
        version["schema-id"] = LAST_ADDED.into();
    }
    updates.push(json!({ "action": "add-view-version", "view-version": version }));
    updates.push(json(&ViewUpdate::SetCurrentViewVersion { view_version_id: LAST_ADDED })?);
    Ok(updates)
}

/// The texts of a view's current version, as they are sent.
fn representations(metadata: &ViewMetadata) -> Result<Value> {
    Ok(json(metadata.current_version().as_ref())?["representations"].clone())
}

fn json(value: &impl Serialize) -> Result<Value> {
    let json = serde_json::to_value(value).map_err(|error| Error::internal("a view cannot be written").with_source(error))?;
    Ok(without_nulls(json))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(version: i32, schema_id: i32, column: &str, properties: Value) -> ViewMetadata {
        let schema = |id: i32, column: &str| json!({ "type": "struct", "schema-id": id, "fields": [{ "id": 1, "name": column, "required": false, "type": "int" }] });
        let of = |id: i32, schema_id: i32| {
            json!({ "version-id": id, "schema-id": schema_id, "timestamp-ms": 1_700_000_000_000_i64 + i64::from(id), "summary": {}, "default-namespace": ["n"],
                "representations": [{ "type": "sql", "sql": format!("SELECT {id}"), "dialect": "spark" }] })
        };
        let schemas: Vec<Value> = (0..=schema_id).map(|id| schema(id, if id == schema_id { column } else { "a" })).collect();
        let versions: Vec<Value> = (1..=version).map(|id| of(id, if id == version { schema_id } else { 0 })).collect();
        let log: Vec<Value> = (1..=version).map(|id| json!({ "version-id": id, "timestamp-ms": 1_700_000_000_000_i64 + i64::from(id) })).collect();
        let text = json!({ "view-uuid": "fa6506c3-7681-40c8-86dc-e36561f83385", "format-version": 1, "location": "s3://b/v", "current-version-id": version,
            "properties": properties, "versions": versions, "schemas": schemas, "version-log": log });
        serde_json::from_value(text).unwrap()
    }

    #[test]
    fn what_is_new_in_a_view_is_sent() {
        let before = metadata(1, 0, "a", json!({ "k": "v", "gone": "x" }));
        assert!(differences(&before, &before).unwrap().is_empty());
        let after = metadata(2, 1, "b", json!({ "k": "w" }));
        let updates = differences(&before, &after).unwrap();
        let actions: Vec<_> = updates.iter().map(|update| update["action"].as_str().unwrap()).collect();
        assert_eq!(actions, ["set-properties", "remove-properties", "add-schema", "add-view-version", "set-current-view-version"]);
        assert_eq!(updates[2]["last-column-id"], 1);
        assert_eq!((&updates[3]["view-version"]["schema-id"], &updates[4]["view-version-id"]), (&json!(-1), &json!(-1)));
        let same_columns = differences(&before, &metadata(2, 0, "a", json!({ "k": "v", "gone": "x" }))).unwrap();
        assert_eq!((same_columns.len(), &same_columns[0]["view-version"]["schema-id"]), (2, &json!(0)));
        let back = differences(&metadata(2, 0, "a", json!({})), &metadata(1, 0, "a", json!({}))).unwrap();
        assert_eq!(back, [json!({ "action": "set-current-view-version", "view-version-id": 1 })]);
    }
}
