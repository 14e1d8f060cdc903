//! Tables: listed, made, loaded, registered, renamed and dropped.

use std::collections::BTreeMap;

use nunatak_core::{Code, Error};
use serde_json::value::RawValue;

use super::creation::created;
use super::messages::{Credentials, LoadedTable, NewTable, Report, StorageCredential};
use super::metadata::written;
use super::names::{of_path, table_name, whole_name};
use super::{Answer, Failure, NO_CONTENT, NOT_MODIFIED, Page, RestServer, parsed};
use crate::messages::{Identifier, NameList, Register, Rename};
use crate::storage::Location;
use crate::table::{Table, TableName};

/// How a client wants a table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Without the snapshots that no branch and no tag has.
    pub refs_only: bool,
    /// With credentials of storage, if there are some to be had.
    pub credentials: bool,
    /// With what it takes to have requests to storage signed, if that is done and there are no credentials.
    pub signing: bool,
    /// Only if it has none of these tags (`If-None-Match`).
    pub unless: Option<String>,
}

impl RestServer {
    /// The names of the tables of a namespace.
    pub async fn list_tables(&self, namespace: &str, page: &Page) -> Result<Answer, Failure> {
        let namespace = of_path(namespace)?;
        let names = self.listed(&namespace, self.catalog.tables(&namespace).await).await?;
        name_list(&namespace, names, page)
    }

    /// Makes a table, or only says what it would be (`stage-create`): a commit makes it then.
    pub async fn create_table(&self, namespace: &str, load: &Load, body: &[u8]) -> Result<Answer, Failure> {
        self.check_writable()?;
        let request: NewTable = parsed(body)?;
        let name = table_name(&of_path(namespace)?, &request.name)?;
        let staged = request.stage_create.unwrap_or(false);
        // Also where the client has named a place: it tells whether the namespace is there.
        let place = self.catalog.stage_location(&name).await?;
        let metadata = created(&name, request, place)?;
        Location::parse(metadata.location()).map_err(Failure::not_committed)?;
        if staged {
            if self.catalog.load_table(&name).await?.is_some() {
                return Err(Failure::exists("Table", &name));
            }
            let storage = self.catalog.staged_storage(&name, metadata.location()).await?;
            return self.answer(&Table::new(name, metadata.into(), None, storage), load);
        }
        let table = self.catalog.create_table(&name, metadata).await.map_err(Failure::not_committed)?;
        self.answer(&table, load)
    }

    /// Loads a table.
    pub async fn load_table(&self, namespace: &str, table: &str, load: &Load) -> Result<Answer, Failure> {
        let table = self.table(&table_name(&of_path(namespace)?, table)?).await?;
        let tag = self.tag(&table);
        // Of the same metadata the two ways of loading it are two things.
        let shown = tag.as_ref().map(|tag| format!("\"{tag}{}\"", if load.refs_only { "-refs" } else { "" }));
        if let (Some(shown), Some(unless)) = (&shown, &load.unless)
            && is_among(shown, unless)
        {
            return Ok(Answer { tag: Some(shown.clone()), ..Answer::empty(NOT_MODIFIED) });
        }
        let metadata = self.metadata_of(&table, tag.as_deref(), load.refs_only).await?;
        Ok(Answer { tag: shown, ..self.loaded(&table, &metadata, load)? })
    }

    /// Whether a table is there.
    pub async fn table_exists(&self, namespace: &str, table: &str) -> Result<Answer, Failure> {
        self.table(&table_name(&of_path(namespace)?, table)?).await?;
        Ok(Answer::empty(NO_CONTENT))
    }

    /// The credentials of storage for a table; none if there are none to be had.
    pub async fn load_credentials(&self, namespace: &str, table: &str) -> Result<Answer, Failure> {
        let table = self.table(&table_name(&of_path(namespace)?, table)?).await?;
        Answer::json(&Credentials { storage_credentials: self.credentials(&table) })
    }

    /// Makes a table of metadata that is there.
    pub async fn register_table(&self, namespace: &str, load: &Load, body: &[u8]) -> Result<Answer, Failure> {
        self.check_writable()?;
        let Register { name, metadata_location, overwrite } = parsed(body)?;
        let name = table_name(&of_path(namespace)?, &name)?;
        if overwrite == Some(true) {
            return Err(Failure::unsupported(format!("table '{name}' cannot be overwritten by one that is registered; drop it first")));
        }
        let registered = self.catalog.register_table(&name, &metadata_location).await;
        let table = registered.map_err(unregistered)?;
        let metadata = self.metadata_of(&table, self.tag(&table).as_deref(), false).await?;
        self.loaded(&table, &metadata, load)
    }

    /// Gives a table another name.
    pub async fn rename_table(&self, body: &[u8]) -> Result<Answer, Failure> {
        self.check_writable()?;
        let Rename { source, destination } = parsed(body)?;
        self.catalog.rename_table(&whole_name(&source)?, &whole_name(&destination)?).await?;
        Ok(Answer::empty(NO_CONTENT))
    }

    /// Drops a table; with `purge` also its files.
    pub async fn drop_table(&self, namespace: &str, table: &str, purge: bool) -> Result<Answer, Failure> {
        self.check_writable()?;
        self.catalog.drop_table(&table_name(&of_path(namespace)?, table)?, purge).await?;
        Ok(Answer::empty(NO_CONTENT))
    }

    /// Takes what a client tells of a scan or a commit.
    pub fn report(&self, namespace: &str, table: &str, body: &[u8]) -> Result<Answer, Failure> {
        let name = table_name(&of_path(namespace)?, table)?;
        let Report { report_type } = parsed(body)?;
        tracing::debug!(catalog = self.catalog.name(), table = %name, report_type, "a client reports");
        Ok(Answer::empty(NO_CONTENT))
    }

    /// The table as it is now. Errors: 404.
    pub(super) async fn table(&self, name: &TableName) -> Result<Table, Failure> {
        self.catalog.load_table(name).await?.ok_or_else(|| Failure::no_such_table(name))
    }

    /// A table that we have written ourselves.
    pub(super) fn answer(&self, table: &Table, load: &Load) -> Result<Answer, Failure> {
        self.loaded(table, &written(table)?, load)
    }

    fn loaded(&self, table: &Table, metadata: &RawValue, load: &Load) -> Result<Answer, Failure> {
        let storage_credentials = if load.credentials { self.credentials(table) } else { Vec::new() };
        let config = match storage_credentials.is_empty() {
            true if load.signing => self.signing(table).unwrap_or_default(),
            true => BTreeMap::new(),
            // Twice, since some clients read only these.
            false => self.access.vended.clone(),
        };
        Answer::json(&LoadedTable { metadata_location: table.metadata_location.as_deref(), metadata, config: &config, storage_credentials })
    }

    fn credentials<'a>(&'a self, table: &'a Table) -> Vec<StorageCredential<'a>> {
        match self.access.vended.is_empty() {
            true => Vec::new(),
            false => vec![StorageCredential { prefix: table.metadata.location(), config: &self.access.vended }],
        }
    }
}

/// Why metadata that is there, or is not, did not become a table or a view.
pub(super) fn unregistered(error: Error) -> Failure {
    match error.code() {
        Code::NotFound => Failure::bad_request(error.to_string()),
        _ => Failure::not_committed(error),
    }
}

/// A page of the names of tables or views.
pub(super) fn name_list(namespace: &str, names: Vec<String>, page: &Page) -> Result<Answer, Failure> {
    let (names, more) = page.of(names);
    let next_page_token = names.last().filter(|_| more).cloned();
    Answer::json(&NameList { next_page_token, identifiers: names.iter().map(|name| Identifier::new(namespace, name)).collect() })
}

/// Whether a tag is one of a list as headers have it: `"a", W/"b"`, or `*` for any.
fn is_among(tag: &str, list: &str) -> bool {
    list.split(',').map(str::trim).any(|one| one == "*" || one.trim_start_matches("W/") == tag)
}
