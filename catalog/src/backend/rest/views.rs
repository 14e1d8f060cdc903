//! Views on the server, where it has some.

use std::collections::HashSet;

use nunatak_core::{Code, Error, Result};
use reqwest::StatusCode;
use serde::Serialize;
use serde_json::Value;

use super::changes::LAST_ADDED;
use super::client::Call;
use super::connection::Connection;
use super::http::Fault;
use super::messages::{Commit, Identifier, Loaded, NewView, ViewRequirement, without_nulls};
use super::{RestCatalog, unknown};
use crate::backend::names::{check_part, namespace_not_found, table_exists, view_not_found};
use crate::backend::{update, view_file};
use crate::spec::{Schema, ViewMetadata};
use crate::table::{TableName, View};

impl RestCatalog {
    /// A view, if it is there.
    pub(super) async fn find_view(&self, name: &TableName) -> Result<Option<View>> {
        let connection = self.connection().await?;
        match self.view_metadata(connection, name).await? {
            Some(metadata) => view_file::view(name, &self.name, &metadata).map(Some),
            None => Ok(None),
        }
    }

    async fn view_metadata(&self, connection: &Connection, name: &TableName) -> Result<Option<ViewMetadata>> {
        if !connection.has_views() {
            return Ok(None);
        }
        let call = Call::get(connection.paths.of_view(name)?, format!("load view '{name}'"));
        let reply = connection.reply(call).await?;
        if reply.answer.is_missing() {
            return Ok(None);
        }
        if !reply.answer.status.is_success() {
            return Err(reply.failure().into_error());
        }
        let Loaded { metadata, .. } = reply.parsed()?;
        let metadata = serde_json::from_str(metadata.get()).map_err(|error| {
            Error::new(Code::IcebergInvalidMetadata, format!("the metadata of view '{name}' cannot be read: {error}")).with_source(error)
        });
        metadata.map(Some)
    }

    /// Makes a view, or a new version of it.
    pub(super) async fn make_view(&self, view: &View, columns: Schema, replace: bool) -> Result<()> {
        let connection = self.connection().await?;
        let name = &view.name;
        check_part(&name.table, "view")?;
        if !connection.has_views() {
            return Err(Error::not_supported(format!("view '{name}' cannot be made: the server of catalog '{}' has no views", self.name)));
        }
        if replace && let Some(before) = self.view_metadata(connection, name).await? {
            return self.replace_view(connection, view, columns, before).await;
        }
        let body = NewView {
            name: &name.table,
            schema: json(&columns)?,
            view_version: json(&view_file::version(view, &columns)?)?,
            properties: json(&view_file::properties(view))?,
        };
        let call = Call::post(connection.paths.of_namespace(&name.namespace, "views")?, format!("create view '{name}'"), &body);
        let reply = match connection.client.call(call).await {
            Ok(reply) => reply,
            Err(fault) => return Err(outcome(name, fault)),
        };
        match reply.answer.status {
            status if status.is_success() => Ok(()),
            StatusCode::CONFLICT => Err(table_exists(name)),
            _ if reply.answer.is_missing() => Err(namespace_not_found(&name.namespace)),
            _ => Err(outcome(name, reply.failure())),
        }
    }

    async fn replace_view(&self, connection: &Connection, view: &View, columns: Schema, before: ViewMetadata) -> Result<()> {
        let name = &view.name;
        let requirements = vec![ViewRequirement::Uuid { uuid: before.uuid().to_string() }];
        let (schemas, versions): (HashSet<_>, HashSet<_>) =
            (before.schemas_iter().map(|schema| schema.schema_id()).collect(), before.versions().map(|version| version.version_id()).collect());
        let (after, changes) = view_file::replacement(view, columns, before)?;
        let (schema_id, version_id) = (after.current_version().schema_id(), after.current_version_id());
        let mut updates = changes.iter().map(json).collect::<Result<Vec<_>>>()?;
        // Java's server adds nothing that the view has already, and then knows no "last added".
        if schemas.contains(&schema_id) {
            updates.retain(|update| update["action"] != "add-schema");
            let versions = updates.iter_mut().filter(|update| update["view-version"]["schema-id"] == LAST_ADDED);
            versions.for_each(|update| update["view-version"]["schema-id"] = schema_id.into());
        }
        if versions.contains(&version_id) {
            updates.retain(|update| update["action"] != "add-view-version");
            let current = updates.iter_mut().filter(|update| update["view-version-id"] == LAST_ADDED);
            current.for_each(|update| update["view-version-id"] = version_id.into());
        }
        let body = Commit { identifier: Identifier::from(name), requirements, updates };
        let call = Call::post(connection.paths.of_view(name)?, format!("replace view '{name}'"), &body);
        let reply = match connection.client.call(call).await {
            Ok(reply) => reply,
            Err(fault) => return Err(outcome(name, fault)),
        };
        match reply.answer.status {
            status if status.is_success() => Ok(()),
            StatusCode::CONFLICT => Err(update::conflict(name)),
            _ if reply.answer.is_missing() => Err(view_not_found(name)),
            _ => Err(outcome(name, reply.failure())),
        }
    }

    /// Drops a view.
    pub(super) async fn remove_view(&self, name: &TableName) -> Result<()> {
        let connection = self.connection().await?;
        if !connection.has_views() {
            return Err(view_not_found(name));
        }
        let call = Call::delete(connection.paths.of_view(name)?, format!("drop view '{name}'"));
        let reply = connection.reply(call).await?;
        match reply.answer.status {
            status if status.is_success() => Ok(()),
            _ => Err(reply.failure_or(|| view_not_found(name))),
        }
    }
}

fn outcome(name: &TableName, fault: Fault) -> Error {
    match fault {
        Fault::Refused(error) => error,
        Fault::Lost(error) => unknown(&format!("view '{name}'"), error),
    }
}

fn json(value: &impl Serialize) -> Result<Value> {
    let json = serde_json::to_value(value).map_err(|error| Error::internal("a view cannot be written").with_source(error))?;
    Ok(without_nulls(json))
}
