//! A table or view as its catalog gave it: a name, its metadata, and the storage its files lie in.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use nunatak_core::{Code, Error, Result};

use crate::properties::{GC_ENABLED, WAP_ENABLED, flag};
use crate::snapshot::refs;
use crate::spec::{MAIN_BRANCH, SnapshotRef, TableMetadata};
use crate::storage::Storage;

/// The name of a table or view within one catalog.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TableName {
    /// The namespace (schema); levels are joined by `.`, as in Java's `JdbcCatalog`.
    pub namespace: String,
    /// The table's own name.
    pub table: String,
}

impl TableName {
    /// A name from its two parts.
    pub fn new(namespace: impl Into<String>, table: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), table: table.into() }
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.namespace, self.table)
    }
}

/// A table at one version of its metadata. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Table {
    /// Its name in the catalog.
    pub name: TableName,
    /// Its metadata at that version.
    pub metadata: Arc<TableMetadata>,
    /// Where that metadata lies; `None` for a table that is staged and not yet created.
    pub metadata_location: Option<String>,
    /// Where its files lie.
    pub storage: Arc<Storage>,
    /// The branch that is read and changed.
    pub branch: Branch,
}

/// A branch of a table, as a statement means it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Branch {
    /// The main branch.
    #[default]
    Main,
    /// Another one. Where it is not there yet, it begins at the head of the main branch.
    Named(String),
    /// None: new snapshots are on top of the main branch's head, but no branch has them until they are published ("write-audit-publish").
    Staged,
}

impl Branch {
    /// Its name; [`Branch::Staged`] has none.
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Main => Some(MAIN_BRANCH),
            Self::Named(name) => Some(name),
            Self::Staged => None,
        }
    }
}

impl Table {
    /// A table on its main branch.
    pub fn new(name: TableName, metadata: Arc<TableMetadata>, metadata_location: Option<String>, storage: Arc<Storage>) -> Self {
        Self { name, metadata, metadata_location, storage, branch: Branch::Main }
    }

    /// The newest snapshot of its branch; `None` if nothing was ever written.
    pub fn head(&self) -> Option<&SnapshotRef> {
        let named = match &self.branch {
            Branch::Named(name) => self.metadata.snapshot_for_ref(name),
            Branch::Main | Branch::Staged => None,
        };
        named.or(self.metadata.current_snapshot())
    }

    /// The id of [`Self::head`].
    pub fn head_id(&self) -> Option<i64> {
        self.head().map(|head| head.snapshot_id())
    }

    /// The same table on a branch that it has; the main one it always has.
    ///
    /// Errors: `NOT_FOUND`, `INVALID_ARGUMENTS` for a tag.
    pub fn on_branch(self, name: &str) -> Result<Self> {
        let known = refs(&self.metadata)?;
        match known.get(name) {
            Some(reference) if reference.is_branch() => {}
            None if name == MAIN_BRANCH => {}
            Some(_) => return Err(Error::new(Code::InvalidArguments, format!("'{name}' is a tag of table '{}', not a branch", self.name))),
            None => {
                let mut branches: Vec<&str> = known.iter().filter(|(_, known)| known.is_branch()).map(|(name, _)| name.as_str()).collect();
                if !branches.contains(&MAIN_BRANCH) {
                    branches.push(MAIN_BRANCH);
                }
                return Err(Error::new(Code::NotFound, format!("table '{}' has no branch '{name}'", self.name))
                    .with_hint(format!("its branches: {}; ALTER TABLE ... CREATE BRANCH makes one", branches.join(", "))));
            }
        }
        let branch = if name == MAIN_BRANCH { Branch::Main } else { Branch::Named(name.to_owned()) };
        Ok(Self { branch, ..self })
    }

    /// That its files may be deleted.
    ///
    /// Errors: `NOT_SUPPORTED` for a table whose files belong to someone else.
    pub fn check_owns_files(&self) -> Result<()> {
        match self.owns_its_files() {
            true => Ok(()),
            false => Err(Error::not_supported(format!("the files of table '{}' must not be deleted: its property gc.enabled is false", self.name))),
        }
    }

    /// Whether its files may be deleted with it or when no snapshot needs them: not if they belong to someone else, which the property `gc.enabled` says.
    pub(crate) fn owns_its_files(&self) -> bool {
        flag(self.metadata.properties(), GC_ENABLED, true).unwrap_or(false)
    }

    /// Whether its changes may wait to be published ("write-audit-publish"), which the property `write.wap.enabled` says.
    pub fn is_audited(&self) -> bool {
        flag(self.metadata.properties(), WAP_ENABLED, false).unwrap_or(false)
    }
}

/// A view: its text and the names it was made under.
#[derive(Clone, Debug)]
pub struct View {
    /// Its name in the catalog.
    pub name: TableName,
    /// Its text, a query in the Trino dialect.
    pub sql: String,
    /// The names of the columns that it had when it was made.
    pub columns: Vec<String>,
    /// What `COMMENT ON COLUMN` said of those of its columns that have a comment, by name.
    pub column_comments: HashMap<String, String>,
    /// The catalog against which names in the text without one are resolved.
    pub default_catalog: String,
    /// The schema against which names in the text without one are resolved.
    pub default_schema: String,
    /// What `COMMENT ON VIEW` said.
    pub comment: Option<String>,
    /// The user with whose rights it is read (`SECURITY DEFINER`); `None` for those of whoever asks (`SECURITY INVOKER`).
    pub owner: Option<String>,
}

impl View {
    /// What `COMMENT ON COLUMN` said of a column, in whichever case its name is written.
    pub fn column_comment(&self, column: &str) -> Option<&str> {
        let is_column = |name: &&String| name.to_lowercase() == column.to_lowercase();
        let any_case = || self.column_comments.keys().find(is_column).and_then(|name| self.column_comments.get(name));
        self.column_comments.get(column).or_else(any_case).map(String::as_str)
    }
}
