//! A catalog as the Iceberg REST protocol has it: what its requests ask of any back end, and what is answered.
//!
//! Owns the messages, their errors, and the rules of a commit: what it requires is checked against the table as it is, its updates are applied to it, and the back
//! end swaps the pointer. Knows no HTTP: who serves it turns addresses into these calls, and says who may make them.

mod commit;
mod creation;
mod failure;
mod messages;
mod metadata;
mod names;
mod namespaces;
mod signing;
mod tables;
mod views;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use nunatak_core::Error;
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use failure::Failure;
pub use metadata::MetadataCache;
pub use names::Page;
pub use signing::Signing;
pub use tables::Load;

use crate::backend::Catalog;

/// Status 200.
const OK: u16 = 200;
/// Status 204.
const NO_CONTENT: u16 = 204;
/// Status 304.
const NOT_MODIFIED: u16 = 304;

/// What clients may do with a catalog.
#[derive(Clone, Default)]
pub struct Access {
    /// Whether they may only read it.
    pub read_only: bool,
    /// The properties of storage, credentials among them, that clients get with a table if they ask for some; none unless the catalog's owner wants it.
    pub vended: BTreeMap<String, String>,
    /// Whether, and where, requests to storage are signed for clients that ask for that.
    pub signing: Option<Signing>,
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access")
            .field("read_only", &self.read_only)
            .field("vends", &!self.vended.is_empty())
            .field("signs", &self.signing.is_some())
            .finish()
    }
}

/// One catalog, served. Cheap to clone.
#[derive(Clone, Debug)]
pub struct RestServer {
    catalog: Arc<dyn Catalog>,
    access: Access,
    metadata: MetadataCache,
}

/// The answer to a request that was carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status of HTTP.
    pub status: u16,
    /// JSON, or nothing.
    pub body: Bytes,
    /// What tells this state of the thing from others (`ETag`).
    pub tag: Option<String>,
    /// Whether who has asked may use it again for a while (`Cache-Control: private`).
    pub may_keep: bool,
}

impl Answer {
    fn json(value: &impl Serialize) -> Result<Self, Failure> {
        let json = serde_json::to_vec(value).map_err(|error| Error::internal("an answer cannot be written").with_source(error))?;
        Ok(Self { status: OK, body: json.into(), tag: None, may_keep: false })
    }

    fn empty(status: u16) -> Self {
        Self { status, body: Bytes::new(), tag: None, may_keep: false }
    }
}

impl RestServer {
    /// Serves a catalog. `metadata` is shared by all of a process.
    pub fn new(catalog: Arc<dyn Catalog>, access: Access, metadata: MetadataCache) -> Self {
        Self { catalog, access, metadata }
    }

    /// Whether it can do more than be read.
    pub fn is_writable(&self) -> bool {
        !self.access.read_only
    }

    /// Whether it changes several tables at once.
    pub fn has_transactions(&self) -> bool {
        self.catalog.has_transactions()
    }

    /// Whether it has views in the dialects of all engines.
    ///
    /// Errors: those of asking the server of the catalog.
    pub async fn has_views(&self) -> Result<bool, Failure> {
        Ok(self.catalog.has_view_files().await?)
    }

    /// Whether it gives out credentials.
    pub fn vends(&self) -> bool {
        !self.access.vended.is_empty()
    }

    /// Whether it signs requests to storage.
    pub fn signs(&self) -> bool {
        self.access.signing.is_some()
    }

    fn check_writable(&self) -> Result<(), Failure> {
        match self.access.read_only {
            true => Err(Failure::forbidden(format!("catalog '{}' is read only here", self.catalog.name()))),
            false => Ok(()),
        }
    }

    async fn check_views(&self) -> Result<(), Failure> {
        match self.has_views().await? {
            true => Ok(()),
            false => Err(Failure::unsupported(format!("catalog '{}' has no views in the dialects of other engines", self.catalog.name()))),
        }
    }
}

/// What a request says.
fn parsed<T: DeserializeOwned>(body: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(body).map_err(|error| Failure::bad_request(format!("the request cannot be read: {error}")))
}

#[cfg(test)]
mod tests;
