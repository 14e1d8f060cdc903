//! Writes: `IcebergWriteExec`.

use std::sync::Arc;

use datafusion::error::Result;
use datafusion::physical_plan::ExecutionPlan;
use nunatak_catalog::storage::{StorageProperties, Storages};
use nunatak_catalog::{Table, TableName};
use nunatak_core::Error;

use super::node::{self, IcebergWrite, Kind};
use super::unreadable;
use crate::error::into_datafusion;
use crate::write::{IcebergWriteExec, RowOrder, Rows, WriteTarget};

/// The message of a write; `None` for any other node.
pub(super) fn encode(plan: &Arc<dyn ExecutionPlan>) -> Result<Option<Kind>> {
    let Some(write) = plan.downcast_ref::<IcebergWriteExec>() else { return Ok(None) };
    let WriteTarget { table, name, rows, order, .. } = write.target();
    let metadata = serde_json::to_string(table.metadata.as_ref()).map_err(|error| into_datafusion(Error::internal(error.to_string())))?;
    Ok(Some(Kind::IcebergWrite(IcebergWrite {
        name: name.clone(),
        schema: table.name.namespace.clone(),
        table: table.name.table.clone(),
        metadata_location: table.metadata_location.clone(),
        metadata,
        rows: rows_message(*rows).into(),
        arranged: !matches!(order, RowOrder::OfTable),
        storage: table.storage.properties().as_map().clone(),
    })))
}

pub(super) fn decode(write: &IcebergWrite, inputs: &[Arc<dyn ExecutionPlan>], storages: &Storages) -> Result<Arc<dyn ExecutionPlan>> {
    let [input] = inputs else { return Err(unreadable("a write has exactly one input")) };
    let metadata = serde_json::from_str(&write.metadata).map_err(|error| unreadable(&error.to_string()))?;
    let name = TableName::new(&write.schema, &write.table);
    let storage = storages.get(&StorageProperties::of_known(write.storage.clone()));
    let table = Table::new(name, Arc::new(metadata), write.metadata_location.clone(), storage);
    let rows = match write.rows() {
        node::Rows::New => Rows::New,
        node::Rows::Changes => Rows::Changes,
        node::Rows::Rewritten => Rows::Rewritten,
    };
    let order = if write.arranged { RowOrder::Arranged } else { RowOrder::OfTable };
    let target = WriteTarget { name: write.name.clone(), order, ..WriteTarget::new(table, "", rows) };
    Ok(Arc::new(IcebergWriteExec::try_new(Arc::clone(input), target)?))
}

fn rows_message(rows: Rows) -> node::Rows {
    match rows {
        Rows::New => node::Rows::New,
        Rows::Changes => node::Rows::Changes,
        Rows::Rewritten => node::Rows::Rewritten,
    }
}
