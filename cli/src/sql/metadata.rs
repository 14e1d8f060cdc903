//! The names of schemas, tables and columns for completion, fetched beside the statements that run.
//!
//! Tables are listed when the shell starts and after statements that change them; a table's columns are asked for when its name stands in the text
//! that is being completed. So a catalog of ten thousand tables costs one listing, not ten thousand reads of metadata.

use std::collections::{BTreeSet, HashMap};
use std::sync::mpsc as reply;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::Schema;
use arrow_flight::IpcMessage;
use tokio::sync::mpsc;

use crate::client::Client;

/// How long Tab waits for a table's columns; they are there at the next Tab otherwise.
const COLUMNS_WAIT: Duration = Duration::from_millis(400);

/// What is known.
#[derive(Default)]
pub(super) struct Names {
    /// Schemas.
    pub(super) schemas: BTreeSet<String>,
    /// Tables and views with their schemas.
    pub(super) tables: BTreeSet<(String, String)>,
    /// Columns by table.
    columns: HashMap<String, Vec<String>>,
}

enum Request {
    Tables,
    Columns { table: String, done: reply::Sender<()> },
}

/// A handle on the names; clones share them.
#[derive(Clone)]
pub(super) struct Metadata {
    names: Arc<Mutex<Names>>,
    requests: mpsc::UnboundedSender<Request>,
}

impl Metadata {
    /// Starts to fetch names. Ends with the last handle.
    pub(super) fn start(client: Client) -> Self {
        let (requests, receiver) = mpsc::unbounded_channel();
        let names = Arc::new(Mutex::new(Names::default()));
        tokio::spawn(serve(client, receiver, names.clone()));
        let metadata = Self { names, requests };
        metadata.refresh();
        metadata
    }

    /// Lists the tables anew and forgets columns.
    pub(super) fn refresh(&self) {
        let _ = self.requests.send(Request::Tables);
    }

    /// What is known now.
    pub(super) fn names(&self) -> MutexGuard<'_, Names> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The columns of a table; waits a moment when they are not known yet. Not for asynchronous code.
    pub(super) fn columns(&self, table: &str) -> Vec<String> {
        if let Some(columns) = self.names().columns.get(table) {
            return columns.clone();
        }
        let (done, waiting) = reply::channel();
        let _ = self.requests.send(Request::Columns { table: table.to_owned(), done });
        let _ = waiting.recv_timeout(COLUMNS_WAIT);
        self.names().columns.get(table).cloned().unwrap_or_default()
    }
}

async fn serve(mut client: Client, mut requests: mpsc::UnboundedReceiver<Request>, names: Arc<Mutex<Names>>) {
    while let Some(request) = requests.recv().await {
        // Completion is a convenience: where the server does not answer, names are missing, and nothing is said.
        match request {
            Request::Tables => {
                if let Ok(batches) = client.tables(None, None, false).await {
                    let mut names = names.lock().unwrap_or_else(PoisonError::into_inner);
                    *names = listed(&batches);
                }
            }
            Request::Columns { table, done } => {
                if let Ok(batches) = client.tables(None, Some(&table), true).await {
                    let mut names = names.lock().unwrap_or_else(PoisonError::into_inner);
                    let columns = columns_of(&batches, &table);
                    names.columns.insert(table, columns);
                }
                let _ = done.send(());
            }
        }
    }
}

fn listed(batches: &[RecordBatch]) -> Names {
    let mut names = Names::default();
    for (schema, table) in batches.iter().flat_map(tables) {
        names.schemas.insert(schema.clone());
        names.tables.insert((schema, table));
    }
    names
}

/// The schemas and names of a listing of tables.
fn tables(batch: &RecordBatch) -> Vec<(String, String)> {
    let column = |name: &str| batch.column_by_name(name).and_then(|column| column.as_string_opt::<i32>());
    let (Some(schemas), Some(names)) = (column("db_schema_name"), column("table_name")) else { return Vec::new() };
    schemas.iter().zip(names.iter()).filter_map(|(schema, name)| Some((schema?.to_owned(), name?.to_owned()))).collect()
}

/// The columns of all tables of that name; the listing's pattern may have found others (`_` stands for any character).
fn columns_of(batches: &[RecordBatch], table: &str) -> Vec<String> {
    let mut columns = BTreeSet::new();
    for batch in batches {
        let Some(schemas) = batch.column_by_name("table_schema").and_then(|column| column.as_binary_opt::<i32>()) else { continue };
        for (row, (_, name)) in tables(batch).iter().enumerate() {
            if name != table || row >= schemas.len() || schemas.is_null(row) {
                continue;
            }
            let message = IpcMessage(schemas.value(row).to_vec().into());
            if let Ok(schema) = Schema::try_from(message) {
                columns.extend(schema.fields().iter().map(|field| field.name().clone()));
            }
        }
    }
    columns.into_iter().collect()
}
