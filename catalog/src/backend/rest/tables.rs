//! Tables on the server: what it tells of one, with the storage that it gives it; and how one is made, changed, registered and renamed.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use nunatak_core::{Code, Error, Result};
use reqwest::StatusCode;
use serde_json::json;
use url::Url;
use uuid::Uuid;

use super::client::{Call, parse_uri};
use super::connection::{Connection, has_credentials};
use super::http::{Fault, flag};
use super::messages::{Commit, Loaded, StagedTable, VendedCredentials};
use super::{RestCatalog, auth, changes, of_storage, paths, unknown};
use crate::backend::names::{check_part, folder_name, namespace_not_found, table_exists, table_not_found};
use crate::backend::{Catalog, metadata_file, update};
use crate::commit::CommitError;
use crate::commit::attempts::LOOKS_AFTER;
use crate::messages::{Identifier, Register, Rename};
use crate::spec::{TableMetadata, TableRequirement, TableUpdate};
use crate::storage::{Storage, StorageProperties, assumed_role, remote_signer, vended};
use crate::table::{Table, TableName};

/// Where tables of a namespace lie, among its properties.
const LOCATION: &str = "location";
const SIGNING: &str = "s3.remote-signing-enabled";
/// Where requests to storage are signed; the second name of each is Java's from 1.11 on.
const SIGNER_URI: [&str; 2] = ["s3.signer.uri", "signer.uri"];
const SIGNER_ENDPOINT: [&str; 2] = ["s3.signer.endpoint", "signer.endpoint"];
const SIGNER_ENDPOINT_DEFAULT: &str = "v1/aws/s3/sign";

impl RestCatalog {
    /// A table as the server tells of it. `staged` is what it was prepared with, if it is not there yet.
    pub(super) fn table(&self, connection: &Connection, name: &TableName, loaded: Loaded, staged: Option<&StagedTable<'_>>) -> Result<Table> {
        let Loaded { metadata_location, metadata, config, storage_credentials } = loaded;
        let json = Bytes::copy_from_slice(metadata.get().as_bytes());
        let metadata = metadata_file::parse_table(json, name, metadata_location.as_deref().unwrap_or("of the catalog's server"))?;
        let given = VendedCredentials { config, storage_credentials };
        let storage = self.storage_of(connection, name, metadata.location(), given, staged)?;
        Ok(Table::new(name.clone(), Arc::new(metadata), metadata_location, storage))
    }

    /// The storage of a table at `location`, with what the server gave for it. Credentials that run out are renewed by whoever has it.
    ///
    /// Where nothing but the server can sign requests to storage, it is asked to.
    ///
    /// Errors: `CONFIGURATION_INVALID` for addresses that are none.
    fn storage_of(
        &self,
        connection: &Connection,
        name: &TableName,
        location: &str,
        given: VendedCredentials,
        staged: Option<&StagedTable<'_>>,
    ) -> Result<Arc<Storage>> {
        let given = given.of_location(location);
        let mut properties = of_storage(&connection.properties);
        if given.contains_key("s3.access-key-id") {
            // Of two sets of credentials no part goes with the other.
            properties.retain(|property, _| !vended::RENEWED.contains(&property.as_str()) && !property.starts_with(assumed_role::PREFIX));
        }
        properties.extend(of_storage(&given));
        let signs = flag(&given, SIGNING, flag(&connection.properties, SIGNING, false)?)?;
        if signs && !has_credentials(&properties) {
            let client = auth::portable(&connection.uri, &connection.properties)?;
            properties.extend(remote_signer::remote(&self.name, signer_at(connection, &given)?.as_str(), client));
        }
        if vended::run_out(&given) {
            let (endpoint, body) = renewal_at(connection, name, given.get(vended::ENDPOINT), staged)?;
            let client = auth::portable(&connection.uri, &connection.properties)?;
            properties.extend(vended::renewal(&self.name, endpoint.as_str(), body, location, client));
        }
        Ok(self.storages.of_catalog(&self.name, &StorageProperties::of_known(properties)))
    }

    /// A location for a new table that nothing else has ever had: below that of its namespace, or where the server would put it.
    ///
    /// Errors: `SCHEMA_NOT_FOUND`.
    pub(super) async fn unique_location(&self, name: &TableName) -> Result<String> {
        let namespace = self.namespace(&name.namespace).await?.ok_or_else(|| namespace_not_found(&name.namespace))?;
        let unique = Uuid::new_v4().simple();
        match namespace.properties.get(LOCATION) {
            Some(folder) => Ok(format!("{}/{}-{unique}", folder.trim_end_matches('/'), folder_name(&name.table))),
            None => {
                let staged = self.stage(name, None).await?;
                Ok(format!("{}-{unique}", staged.metadata.location().trim_end_matches('/')))
            }
        }
    }

    /// The storage of a table that is still to be made at `location`.
    pub(super) async fn storage_of_new(&self, name: &TableName, location: &str) -> Result<Arc<Storage>> {
        let connection = self.connection().await?;
        if has_credentials(&connection.properties) || location.starts_with('/') || location.starts_with("file:") {
            return Ok(self.storages.of_catalog(&self.name, &StorageProperties::of_known(of_storage(&connection.properties))));
        }
        match self.stage(name, Some(location)).await {
            Ok(staged) => Ok(staged.storage),
            // It may know no tables that are only prepared, and has given credentials to nobody then.
            Err(error) if error.code() == Code::NotSupported => {
                Ok(self.storages.of_catalog(&self.name, &StorageProperties::of_known(of_storage(&connection.properties))))
            }
            Err(error) => Err(error),
        }
    }

    /// A table that the server only prepares: it is asked for where it would put it, and how that is reached.
    async fn stage(&self, name: &TableName, location: Option<&str>) -> Result<Table> {
        let connection = self.connection().await?;
        check_part(&name.table, "table")?;
        let body = StagedTable {
            name: &name.table,
            location,
            // No table is without columns to some servers; this one is never made.
            schema: json!({ "type": "struct", "schema-id": 0, "fields": [{ "id": 1, "name": "staged", "required": false, "type": "int" }] }),
            stage_create: true,
            properties: BTreeMap::new(),
        };
        let url = connection.paths.of_namespace(&name.namespace, "tables")?;
        // Nothing comes of it, so it may be sent again.
        let reply = connection.reply(Call::post(url, format!("prepare table '{name}'"), &body).repeatable()).await?;
        match reply.answer.status {
            status if status.is_success() => self.table(connection, name, reply.parsed()?, Some(&body)),
            StatusCode::CONFLICT => Err(table_exists(name)),
            _ => Err(reply.failure_or(|| namespace_not_found(&name.namespace))),
        }
    }

    /// Makes a table of whole metadata, by a commit that requires that there is none.
    pub(super) async fn create(&self, name: &TableName, metadata: TableMetadata) -> Result<Table> {
        let connection = self.connection().await?;
        let requirements = vec![TableRequirement::NotExist];
        let body = Commit { identifier: Identifier::from(name), requirements, updates: changes::creation(&metadata)? };
        let call = Call::post(connection.paths.of_table(name)?, format!("create table '{name}'"), &body);
        let mut met_one = false;
        let fault = match connection.client.call(call).await {
            Ok(reply) => match reply.answer.status {
                status if status.is_success() => None,
                StatusCode::CONFLICT if !reply.answer.uncertain => return Err(table_exists(name)),
                _ if reply.answer.is_missing() && !reply.answer.uncertain => return Err(namespace_not_found(&name.namespace)),
                status => {
                    met_one = status == StatusCode::CONFLICT;
                    Some(reply.failure())
                }
            },
            Err(fault) => Some(fault),
        };
        let fault = match fault {
            Some(Fault::Refused(error)) => return Err(error),
            Some(Fault::Lost(error)) => error,
            // The answer to a commit has no credentials.
            None => {
                return match self.load_table(name).await {
                    Ok(Some(table)) => Ok(table),
                    Ok(None) => Err(Error::new(Code::TableNotFound, format!("table '{name}' was dropped as soon as it was made"))),
                    Err(error) => Err(unknown(&format!("table '{name}' was made"), error)),
                };
            }
        };
        for wait in LOOKS_AFTER {
            tokio::time::sleep(wait).await;
            match self.load_table(name).await {
                Ok(Some(table)) if table.metadata.uuid() == metadata.uuid() => return Ok(table),
                // That one was met, and not ours.
                Ok(Some(_)) if met_one => return Err(table_exists(name).with_source(fault)),
                Ok(_) => {}
                Err(error) => tracing::warn!(%error, table = %name, "cannot see whether a table was made"),
            }
        }
        Err(unknown(&format!("table '{name}' was made"), fault))
    }

    /// Makes a table of metadata that is there.
    pub(super) async fn register(&self, name: &TableName, metadata_location: &str) -> Result<Table> {
        let connection = self.connection().await?;
        check_part(&name.table, "table")?;
        let body = Register { name: name.table.clone(), metadata_location: metadata_location.to_owned(), overwrite: None };
        let call = Call::post(connection.paths.of_namespace(&name.namespace, "register")?, format!("register table '{name}'"), &body);
        let fault = match connection.client.call(call).await {
            Ok(reply) => match reply.answer.status {
                status if status.is_success() => match reply.parsed().and_then(|loaded| self.table(connection, name, loaded, None)) {
                    Ok(table) => return Ok(table),
                    Err(error) => Fault::Lost(error),
                },
                StatusCode::CONFLICT if !reply.answer.uncertain => return Err(table_exists(name)),
                _ if reply.answer.is_missing() && !reply.answer.uncertain => return Err(namespace_not_found(&name.namespace)),
                _ => reply.failure(),
            },
            Err(fault) => fault,
        };
        let lost = match fault {
            Fault::Refused(error) => return Err(error),
            Fault::Lost(error) => error,
        };
        match self.load_table(name).await {
            Ok(Some(table)) if table.metadata_location.as_deref() == Some(metadata_location) => Ok(table),
            Ok(Some(_)) => Err(table_exists(name).with_source(lost)),
            _ => Err(unknown(&format!("table '{name}' was registered"), lost)),
        }
    }

    /// Changes a table, if it is still as `base` in all that matters.
    pub(super) async fn change(&self, base: &Table, requirements: Vec<TableRequirement>, updates: Vec<TableUpdate>) -> Result<Table, CommitError> {
        let name = &base.name;
        let connection = self.connection().await?;
        update::check(name, &requirements, &base.metadata)?;
        let requirements = changes::requirements(requirements, &base.metadata, &updates)?;
        let built = update::apply(name, (*base.metadata).clone(), base.metadata_location.as_deref(), updates)?;
        let body = Commit { identifier: Identifier::from(name), requirements, updates: changes::updates(built)? };
        let call = Call::post(connection.paths.of_table(name)?, format!("commit to table '{name}'"), &body);
        let reply = connection.client.call(call).await.map_err(commit_error)?;
        match reply.answer.status {
            status if status.is_success() => {}
            StatusCode::CONFLICT => {
                let conflict = update::conflict(name).with_source(reply.failure().into_error());
                // It may be our own change that this one has met.
                return Err(if reply.answer.uncertain { CommitError::Unknown(conflict) } else { CommitError::Conflict(conflict) });
            }
            _ if reply.answer.is_missing() && !reply.answer.uncertain => return Err(CommitError::Failed(table_not_found(name))),
            _ => return Err(commit_error(reply.failure())),
        }
        // It has happened, whatever the answer looks like.
        let Loaded { metadata_location, metadata, .. } = reply.parsed().map_err(CommitError::Unknown)?;
        let json = Bytes::copy_from_slice(metadata.get().as_bytes());
        let location = metadata_location.as_deref().unwrap_or("of the catalog's server");
        let metadata = metadata_file::parse_table(json, name, location).map_err(CommitError::Unknown)?;
        Ok(Table { metadata: Arc::new(metadata), metadata_location, ..base.clone() })
    }

    /// Renames a table or a view; `missing` is the error if there is none.
    pub(super) async fn rename(&self, path: &str, from: &TableName, to: &TableName, missing: Error) -> Result<()> {
        let kind = if path.starts_with("views") { "views" } else { "tables" };
        let connection = self.connection().await?;
        check_part(&to.table, "table")?;
        // Some servers take any.
        if from.namespace != to.namespace && self.namespace(&to.namespace).await?.is_none() {
            return Err(namespace_not_found(&to.namespace));
        }
        let body = Rename { source: Identifier::from(from), destination: Identifier::from(to) };
        let call = Call::post(connection.paths.of(path)?, format!("rename '{from}' to '{to}'"), &body);
        let fault = match connection.client.call(call).await {
            Ok(reply) => match reply.answer.status {
                status if status.is_success() => return Ok(()),
                _ if reply.answer.uncertain => reply.failure(),
                StatusCode::CONFLICT => return Err(table_exists(to)),
                _ if reply.answer.is_kind("NoSuchNamespaceException") => return Err(namespace_not_found(&to.namespace)),
                _ if reply.answer.is_missing() => return Err(missing),
                _ => reply.failure(),
            },
            Err(fault) => fault,
        };
        let lost = match fault {
            Fault::Refused(error) => return Err(error),
            Fault::Lost(error) => error,
        };
        let mut seen = None;
        for wait in LOOKS_AFTER {
            tokio::time::sleep(wait).await;
            seen = match (connection.has(kind, from).await, connection.has(kind, to).await) {
                (Ok(false), Ok(true)) => return Ok(()),
                (Ok(old), Ok(new)) => Some((old, new)),
                _ => None,
            };
        }
        match seen {
            Some((true, true)) => Err(table_exists(to).with_source(lost)),
            Some((false, false)) => Err(missing),
            _ => Err(unknown(&format!("'{from}' was renamed to '{to}'"), lost)),
        }
    }
}

/// Where new credentials for a table are to be had, and what is to be sent there: where the server says, with the table, or by preparing it again if it is not there yet.
fn renewal_at(connection: &Connection, name: &TableName, named: Option<&String>, staged: Option<&StagedTable<'_>>) -> Result<(Url, Option<String>)> {
    if let Some(staged) = staged {
        let body = serde_json::to_string(staged).map_err(|error| Error::internal("a request cannot be written").with_source(error))?;
        return Ok((connection.paths.of_namespace(&name.namespace, "tables")?, Some(body)));
    }
    match named {
        Some(named) => Ok((paths::resolve(&connection.uri, named)?, None)),
        None if connection.has_credentials() => Ok((connection.paths.of_credentials(name)?, None)),
        None => Ok((connection.paths.of_table(name)?, None)),
    }
}

/// Where requests to the storage of a table are signed, by what was given for it or for all.
fn signer_at(connection: &Connection, given: &BTreeMap<String, String>) -> Result<Url> {
    let named = |names: [&str; 2]| names.iter().find_map(|name| given.get(*name).or_else(|| connection.properties.get(*name)));
    let uri = match named(SIGNER_URI) {
        Some(uri) => parse_uri(uri)?,
        None => connection.uri.clone(),
    };
    paths::resolve(&uri, named(SIGNER_ENDPOINT).map_or(SIGNER_ENDPOINT_DEFAULT, String::as_str))
}

fn commit_error(fault: Fault) -> CommitError {
    match fault {
        Fault::Refused(error) => CommitError::Failed(error),
        Fault::Lost(error) => CommitError::Unknown(error),
    }
}
