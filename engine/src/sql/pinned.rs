//! The tables that a transaction has read. It keeps seeing them as they were when it read them first.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use nunatak_catalog::Table;
use nunatak_core::expiring::lock;

use super::names::QualifiedName;

/// Tables by name. Cheap to clone: all clones are the same.
#[derive(Clone, Debug, Default)]
pub struct PinnedTables(Arc<Mutex<HashMap<QualifiedName, Table>>>);

impl PinnedTables {
    /// The table as it was read before, if it was.
    pub(super) fn get(&self, name: &QualifiedName) -> Option<Table> {
        lock(&self.0).get(name).cloned()
    }

    /// Keeps a table that is read for the first time, and gives the one that is kept: another statement of the transaction may have been faster.
    pub(super) fn keep(&self, name: &QualifiedName, table: Table) -> Table {
        lock(&self.0).entry(name.clone()).or_insert(table).clone()
    }
}
