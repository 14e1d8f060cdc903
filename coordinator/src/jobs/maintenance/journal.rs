//! What was done for tables: line by line in a file that the next process reads, or in etcd for all coordinators.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::array::{ArrayRef, Int64Builder, MapBuilder, RecordBatch, StringArray, StringBuilder, TimestampMillisecondArray};
use nunatak_core::{Code, Error, Result};
use nunatak_state::EtcdJournal;
use serde::{Deserialize, Serialize};
use tracing::warn;

/// How many entries are kept in a file.
const ENTRIES_MAX: usize = 10_000;

/// The longest text of an error in etcd, in bytes.
const ERROR_BYTES_MAX: usize = 4_096;

/// The metric that counts against the budget.
const REWRITTEN_BYTES: &str = "rewritten_bytes";

/// One run of a procedure.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// Its number in the journal.
    pub(super) id: u64,
    pub(super) catalog: String,
    pub(super) schema: String,
    pub(super) table: String,
    pub(super) procedure: String,
    pub(super) reason: String,
    pub(super) query_id: String,
    pub(super) started_ms: i64,
    /// `None` while it runs.
    pub(super) ended_ms: Option<i64>,
    /// What the procedure has told.
    pub(super) metrics: Vec<(String, i64)>,
    /// Why it failed.
    pub(super) error: Option<String>,
}

impl Entry {
    fn state(&self) -> &'static str {
        match (&self.error, self.ended_ms) {
            (Some(_), _) => "FAILED",
            (None, Some(_)) => "FINISHED",
            (None, None) => "RUNNING",
        }
    }
}

/// The runs of procedures.
#[derive(Debug)]
pub(crate) enum Journal {
    /// Those of this coordinator.
    Own(OwnJournal),
    /// Those of all coordinators.
    Shared(EtcdJournal),
}

/// The runs of procedures of one coordinator, by number.
#[derive(Debug)]
pub(crate) struct OwnJournal {
    file: PathBuf,
    entries: Mutex<BTreeMap<u64, Entry>>,
}

impl OwnJournal {
    /// Reads what an earlier process has written. What ran when it ended has failed.
    pub(super) fn open(file: PathBuf) -> Result<Self> {
        let failed = |error: std::io::Error| {
            Error::new(Code::ConfigurationInvalid, format!("'{}' cannot be read or written: {error}", file.display()))
                .with_hint("it holds what system.maintenance shows, and may be deleted")
        };
        let text = match fs::read_to_string(&file) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            text => text.map_err(failed)?,
        };
        // The last line may be cut off; of an entry the last line counts.
        let read = text.lines().filter_map(|line| serde_json::from_str::<Entry>(line).ok());
        let mut entries: BTreeMap<u64, Entry> = read.map(|entry| (entry.id, entry)).collect();
        for entry in entries.values_mut().filter(|entry| entry.ended_ms.is_none()) {
            entry.ended_ms = Some(entry.started_ms);
            entry.error = Some("the coordinator has ended".to_owned());
        }
        shorten(&mut entries);
        if !text.is_empty() {
            let lines: Vec<String> = entries.values().map(line).collect();
            let new = file.with_extension("jsonl.new");
            fs::write(&new, lines.concat()).and_then(|()| fs::rename(&new, &file)).map_err(failed)?;
        }
        Ok(Self { file, entries: Mutex::new(entries) })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an entry, and gives its number.
    async fn add(&self, mut entry: Entry) -> u64 {
        {
            let mut entries = self.lock();
            entry.id = entries.last_key_value().map_or(1, |(last, _)| last + 1);
            entries.insert(entry.id, entry.clone());
            shorten(&mut entries);
        }
        self.append(&entry).await;
        entry.id
    }

    /// Changes an entry.
    async fn replace(&self, entry: &Entry) {
        self.lock().insert(entry.id, entry.clone());
        self.append(entry).await;
    }

    /// A journal that cannot be written stops nothing: it is in memory too.
    async fn append(&self, entry: &Entry) {
        let (file, line) = (self.file.clone(), line(entry));
        let written = tokio::task::spawn_blocking(move || OpenOptions::new().create(true).append(true).open(file)?.write_all(line.as_bytes())).await;
        if let Ok(Err(error)) = written {
            warn!(%error, file = %self.file.display(), "what was done for a table cannot be written down");
        }
    }
}

impl Journal {
    /// All entries, the oldest first.
    fn entries(&self) -> Vec<Entry> {
        match self {
            Self::Own(journal) => journal.lock().values().cloned().collect(),
            Self::Shared(journal) => {
                let read = journal.entries().into_iter().filter_map(|(id, content)| Some((id, serde_json::from_value::<Entry>(content).ok()?)));
                read.map(|(id, entry)| Entry { id, ..entry }).collect()
            }
        }
    }

    /// Notes that a procedure runs, and gives the entry with its number. As all that is written here, it comes from the coordinator that leads in that term.
    pub(super) async fn begin(&self, mut entry: Entry, term: u64) -> Entry {
        entry.id = match self {
            Self::Own(journal) => journal.add(entry.clone()).await,
            Self::Shared(journal) => match append(journal, &entry, term).await {
                Ok(id) => id,
                Err(error) => {
                    warn!(%error, "what is done for a table cannot be written down");
                    0
                }
            },
        };
        entry
    }

    /// Notes what became of it.
    pub(super) async fn end(&self, mut entry: Entry, outcome: Result<&[(String, i64)], &Error>, term: u64) {
        entry.ended_ms = Some(super::now_ms());
        match outcome {
            Ok(metrics) => entry.metrics = metrics.to_vec(),
            Err(error) => entry.error = Some(error.to_string()),
        }
        self.replace(entry, term).await;
    }

    /// Notes that what was begun has failed: nothing runs at this moment, since whoever ran it has ended, or does not lead any more.
    pub(super) async fn give_up(&self, term: u64) {
        for mut entry in self.entries().into_iter().filter(|entry| entry.ended_ms.is_none()) {
            entry.ended_ms = Some(super::now_ms());
            entry.error = Some("the coordinator has ended, or does not lead any more".to_owned());
            self.replace(entry, term).await;
        }
    }

    /// A journal that cannot be written stops nothing.
    async fn replace(&self, mut entry: Entry, term: u64) {
        let journal = match self {
            Self::Own(journal) => return journal.replace(&entry).await,
            Self::Shared(journal) => journal,
        };
        if let Some(error) = &mut entry.error {
            error.truncate(error.floor_char_boundary(ERROR_BYTES_MAX));
        }
        let replaced = match serde_json::to_value(&entry) {
            Ok(content) => journal.replace(entry.id, &content, term).await,
            Err(error) => Err(unwritable(error)),
        };
        if let Err(error) = replaced {
            warn!(%error, "what was done for a table cannot be written down");
        }
    }

    /// Bytes of data files that were written again since then.
    pub(super) fn rewritten_bytes(&self, since_ms: i64) -> u64 {
        let entries = self.entries();
        let recent = entries.iter().filter(|entry| entry.started_ms >= since_ms);
        let bytes = recent.flat_map(|entry| &entry.metrics).filter(|(name, _)| name == REWRITTEN_BYTES);
        bytes.map(|(_, bytes)| u64::try_from(*bytes).unwrap_or_default()).sum()
    }

    /// The entries of a catalog as rows.
    pub(super) fn rows(&self, catalog: &str) -> Result<RecordBatch> {
        let entries: Vec<Entry> = self.entries().into_iter().filter(|entry| entry.catalog == catalog).collect();
        let texts = |text: fn(&Entry) -> &str| Arc::new(StringArray::from_iter_values(entries.iter().map(text))) as ArrayRef;
        let times = |millis: fn(&Entry) -> Option<i64>| {
            Arc::new(TimestampMillisecondArray::from_iter(entries.iter().map(millis)).with_timezone("UTC")) as ArrayRef
        };
        let mut metrics = MapBuilder::new(None, StringBuilder::new(), Int64Builder::new());
        for entry in &entries {
            for (name, value) in &entry.metrics {
                metrics.keys().append_value(name);
                metrics.values().append_value(*value);
            }
            metrics.append(true).map_err(unreadable)?;
        }
        let columns = [
            ("started", times(|entry| Some(entry.started_ms))),
            ("ended", times(|entry| entry.ended_ms)),
            ("table_schema", texts(|entry| &entry.schema)),
            ("table_name", texts(|entry| &entry.table)),
            ("procedure", texts(|entry| &entry.procedure)),
            ("reason", texts(|entry| &entry.reason)),
            ("state", texts(Entry::state)),
            ("metrics", Arc::new(metrics.finish())),
            ("error", Arc::new(StringArray::from_iter(entries.iter().map(|entry| entry.error.as_deref())))),
            ("query_id", texts(|entry| &entry.query_id)),
        ];
        RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true))).map_err(unreadable)
    }
}

async fn append(journal: &EtcdJournal, entry: &Entry, term: u64) -> Result<u64> {
    journal.append(&serde_json::to_value(entry).map_err(unwritable)?, term).await
}

fn unwritable(error: serde_json::Error) -> Error {
    Error::internal("an entry cannot be written as JSON").with_source(error)
}

fn unreadable(error: arrow::error::ArrowError) -> Error {
    Error::internal("what was done for tables makes no rows").with_source(error)
}

fn line(entry: &Entry) -> String {
    serde_json::to_string(entry).map(|line| line + "\n").unwrap_or_default()
}

fn shorten(entries: &mut BTreeMap<u64, Entry>) {
    while entries.len() > ENTRIES_MAX {
        entries.pop_first();
    }
}
