//! Tables in the schema `system`: what the server tells of itself.

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use async_trait::async_trait;
use datafusion::catalog::{MemTable, TableProvider};
use nunatak_core::{Code, Error, Result};

use super::names::{QualifiedName, SYSTEM};
use crate::error::{from_datafusion, suggest};

/// The names of the tables that those of `system.runtime` are queries over. No listing has them.
pub const RUNTIME_QUERIES: &str = "$queries";
/// See [`RUNTIME_QUERIES`].
pub const RUNTIME_TASKS: &str = "$tasks";
/// See [`RUNTIME_QUERIES`].
pub const RUNTIME_TRANSACTIONS: &str = "$transactions";

/// What gives the rows of system tables.
#[async_trait]
pub trait SystemTables: Send + Sync + fmt::Debug {
    /// The names there are.
    fn names(&self) -> &[&'static str];

    /// The rows of a table, as far as they are about a catalog; `None` if there is no table of that name.
    async fn table(&self, catalog: &str, name: &str) -> Option<Result<RecordBatch>>;
}

/// The table of that name, if it is one of these.
pub(super) async fn table(tables: &dyn SystemTables, name: &QualifiedName) -> Result<Option<Arc<dyn TableProvider>>> {
    if name.schema != SYSTEM {
        return Ok(None);
    }
    let Some(rows) = tables.table(&name.catalog, &name.table).await.transpose()? else { return Ok(None) };
    Ok(Some(Arc::new(MemTable::try_new(rows.schema(), vec![vec![rows]]).map_err(from_datafusion)?)))
}

/// The error for a table that is none of these.
pub(super) fn not_found(tables: &dyn SystemTables, name: &QualifiedName) -> Error {
    let missing = Error::new(Code::TableNotFound, format!("table '{SYSTEM}.{}' does not exist", name.table));
    let names = tables.names();
    suggest(missing.with_hint(format!("there are {}", names.join(", "))), &name.table, names.iter().copied())
}
