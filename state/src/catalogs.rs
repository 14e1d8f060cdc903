//! The catalogs that statements make, as they were written: behind one trait, and kept in a file of one coordinator.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use nunatak_core::config::shown;
use nunatak_core::{Code, Error, Result};
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, watch};

/// How many catalogs can be kept.
const CATALOGS_MAX: usize = 1_000;

/// Only its owner reads the file: properties can be secrets.
const FILE_MODE: u32 = 0o600;

/// A catalog as a statement described it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CatalogDefinition {
    /// What `COMMENT` said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// Its properties, its type among them, with references such as `${ENV:NAME}` as they were written.
    pub properties: BTreeMap<String, String>,
}

/// A definition that is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredCatalog {
    /// Which of all changes it came with: a catalog that was dropped and made again has a higher one.
    pub version: u64,
    /// The catalog.
    pub definition: CatalogDefinition,
}

/// All of them, by name. A name may have any characters.
pub type StoredCatalogs = BTreeMap<String, StoredCatalog>;

/// Where catalogs that statements make are kept.
#[async_trait]
pub trait CatalogStore: Send + Sync + fmt::Debug {
    /// All that are kept, now and after each change.
    fn watch(&self) -> watch::Receiver<Arc<StoredCatalogs>>;

    /// Keeps a definition if the one that is kept under that name has the `expected` version; `None` stands for no such one. Gives whether it was so.
    async fn put(&self, name: &str, definition: CatalogDefinition, expected: Option<u64>) -> Result<bool>;

    /// Removes a definition that has the `expected` version. Gives whether there was one.
    async fn delete(&self, name: &str, expected: u64) -> Result<bool>;

    /// Removes what is kept under a name and is no definition that can be read, so that [`CatalogStore::watch`] does not show it. Gives whether there was something.
    async fn delete_unreadable(&self, _name: &str) -> Result<bool> {
        Ok(false)
    }
}

impl fmt::Debug for CatalogDefinition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let properties: BTreeMap<_, _> = self.properties.iter().map(|(name, value)| (name, shown(name, value))).collect();
        f.debug_struct("CatalogDefinition").field("comment", &self.comment).field("properties", &properties).finish()
    }
}

/// Catalogs in a file of JSON.
#[derive(Debug)]
pub struct CatalogFile {
    path: PathBuf,
    /// The last version that was given out. Held while the file is written.
    last_version: Mutex<u64>,
    catalogs: watch::Sender<Arc<StoredCatalogs>>,
}

/// What is in the file.
#[derive(Default, Serialize, Deserialize)]
struct Content {
    last_version: u64,
    catalogs: StoredCatalogs,
}

impl CatalogFile {
    /// Reads the file, if there is one.
    ///
    /// Errors: `CONFIGURATION_INVALID` for one that cannot be read.
    pub fn open(path: PathBuf) -> Result<Self> {
        let unreadable = |why: &dyn fmt::Display| {
            Error::new(Code::ConfigurationInvalid, format!("the catalogs in '{}' cannot be read: {why}", path.display()))
                .with_hint("repair the file, or move it away to start without them")
        };
        let content: Content = match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| unreadable(&error))?,
            Err(error) if error.kind() == ErrorKind::NotFound => Content::default(),
            Err(error) => return Err(unreadable(&error)),
        };
        Ok(Self { path, last_version: Mutex::new(content.last_version), catalogs: watch::Sender::new(Arc::new(content.catalogs)) })
    }

    /// Changes what is kept, if `change` says that it did; whoever watches is told when it is on disk.
    async fn change(&self, change: impl FnOnce(&mut StoredCatalogs, u64) -> Result<bool>) -> Result<bool> {
        let mut last_version = self.last_version.lock().await;
        let mut content = Content { last_version: *last_version + 1, catalogs: StoredCatalogs::clone(&self.catalogs.borrow()) };
        let version = content.last_version;
        if !change(&mut content.catalogs, version)? {
            return Ok(false);
        }
        let text = serde_json::to_vec_pretty(&content).map_err(|error| Error::internal("catalogs cannot be written as JSON").with_source(error))?;
        let path = self.path.clone();
        let written = tokio::task::spawn_blocking(move || write(&path, &text)).await;
        let written = written.map_err(|error| Error::internal("the task that writes catalogs has stopped").with_source(error))?;
        written.map_err(|error| Error::internal(format!("'{}' cannot be written: {error}", self.path.display())).with_source(error))?;
        *last_version = version;
        self.catalogs.send_replace(Arc::new(content.catalogs));
        Ok(true)
    }
}

#[async_trait]
impl CatalogStore for CatalogFile {
    fn watch(&self) -> watch::Receiver<Arc<StoredCatalogs>> {
        self.catalogs.subscribe()
    }

    async fn put(&self, name: &str, definition: CatalogDefinition, expected: Option<u64>) -> Result<bool> {
        let change = |catalogs: &mut StoredCatalogs, version: u64| {
            if catalogs.get(name).map(|stored| stored.version) != expected {
                return Ok(false);
            }
            if expected.is_none() {
                too_many(catalogs.len())?;
            }
            catalogs.insert(name.to_owned(), StoredCatalog { version, definition });
            Ok(true)
        };
        self.change(change).await
    }

    async fn delete(&self, name: &str, expected: u64) -> Result<bool> {
        let change = |catalogs: &mut StoredCatalogs, _| {
            let found = catalogs.get(name).is_some_and(|stored| stored.version == expected);
            if found {
                catalogs.remove(name);
            }
            Ok(found)
        };
        self.change(change).await
    }
}

/// Refuses one more catalog where there are so many that no more can be kept.
///
/// Errors: `GENERIC_INSUFFICIENT_RESOURCES`.
pub(crate) fn too_many(count: usize) -> Result<()> {
    if count < CATALOGS_MAX {
        return Ok(());
    }
    Err(Error::new(Code::GenericInsufficientResources, format!("there are {CATALOGS_MAX} catalogs already, as many as can be kept")))
}

/// Puts a file in the place of another one: after a crash there is either.
fn write(path: &Path, text: &[u8]) -> std::io::Result<()> {
    let beside = path.with_extension("json.new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(FILE_MODE).open(&beside)?;
    // One that a crash has left may have another mode.
    file.set_permissions(Permissions::from_mode(FILE_MODE))?;
    file.write_all(text)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition(kind: &str) -> CatalogDefinition {
        let properties = [("type", kind), ("s3.secret-access-key", "${ENV:KEY}"), ("jdbc.password", "s3cr3t")];
        CatalogDefinition { comment: None, properties: properties.map(|(name, value)| (name.to_owned(), value.to_owned())).into() }
    }

    #[tokio::test]
    async fn changes_outlive_the_process_and_meet_only_what_they_expect() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("catalogs.json");
        let file = CatalogFile::open(path.clone()).unwrap();
        let mut watch = file.watch();
        assert!(file.put("a", definition("rest"), None).await.unwrap());
        assert!(watch.has_changed().unwrap());
        assert!(!file.put("a", definition("sql"), None).await.unwrap());
        let version = watch.borrow_and_update()["a"].version;
        assert!(!file.delete("a", version + 1).await.unwrap() && !file.delete("b", version).await.unwrap());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, FILE_MODE);

        let again = CatalogFile::open(path.clone()).unwrap();
        let kept = again.watch().borrow()["a"].clone();
        assert_eq!((kept.version, &kept.definition), (version, &definition("rest")));
        assert!(!format!("{kept:?}").contains("s3cr3t"));
        assert!(again.put("a", definition("sql"), Some(version)).await.unwrap());
        assert!(again.delete("a", version + 1).await.unwrap() && again.watch().borrow().is_empty());
        // Its name is free, its versions are not.
        assert!(again.put("a", definition("rest"), None).await.unwrap());
        assert!(again.watch().borrow()["a"].version > version + 1);

        fs::write(&path, "{").unwrap();
        assert_eq!(CatalogFile::open(path).unwrap_err().code(), Code::ConfigurationInvalid);
    }
}
