//! Spooled results: rows that a client fetches in segments, out of storage, instead of with its answers.
//!
//! A client says in which encodings it takes them, and the first one that is known here is used ([`encoding`]). Segments are written while the query runs ([`produce`]), and
//! the answers name them ([`data`]); [`fetch`] gives them out. An address has no more than the name of its segment, and a signature ([`token`]): every coordinator of a cluster
//! can serve it. Few rows come in the answers themselves, as segments too.

mod data;
mod encoding;
mod fetch;
mod produce;
mod token;

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use nunatak_coordinator::query::{Coordinator, SegmentName, Spool};
use nunatak_core::expiring::lock;
use nunatak_core::{Error, Result};

pub(super) use self::data::{Segment, describe};
pub(super) use self::encoding::Encoding;
pub(super) use self::produce::send_rows;
use self::token::Tokens;

/// Where results are spooled, and how addresses there are signed. Cheap to clone.
#[derive(Clone)]
pub(super) struct Spooling {
    spool: Spool,
    tokens: Tokens,
}

/// The spooled result of one query. Cheap to clone.
#[derive(Clone)]
pub(super) struct Spooled(Arc<Inner>);

struct Inner {
    spooling: Spooling,
    encoding: Encoding,
    /// The query, as its clients know it.
    query: String,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// All segments so far, those that are being written too.
    names: Vec<SegmentName>,
    written: usize,
    is_discarded: bool,
}

impl Spooling {
    /// That of the coordinator; `None` if it spools nothing.
    pub(super) fn of(coordinator: &Coordinator) -> Option<Self> {
        let spool = coordinator.spool()?.clone();
        let tokens = Tokens::new(spool.settings().secret.as_deref(), Arc::clone(coordinator.sessions()));
        Some(Self { spool, tokens })
    }

    /// The result of a query whose client takes these encodings; `None` if none of them is known.
    pub(super) fn result(&self, query: &str, encodings: &[String]) -> Option<Spooled> {
        let encoding = encodings.iter().find_map(|name| Encoding::of(name))?;
        Some(Spooled(Arc::new(Inner { spooling: self.clone(), encoding, query: query.to_owned(), state: Mutex::default() })))
    }
}

impl Spooled {
    /// Whether so many rows of that size come with the answer.
    fn is_inline(&self, rows: u64, bytes: usize) -> bool {
        let settings = self.0.spooling.spool.settings();
        rows <= settings.inline_rows_max && bytes <= settings.inline_bytes_max
    }

    /// Writes a segment. It is written to its end even if the query ends before: what is half there could not be deleted.
    async fn write(&self, bytes: Bytes) -> Result<SegmentName> {
        let name = {
            let mut state = lock(&self.0.state);
            let name = self.0.spooling.spool.name(&self.0.query, state.names.len());
            state.names.push(name.clone());
            name
        };
        let spooled = self.clone();
        let writing = tokio::spawn(async move {
            let spool = &spooled.0.spooling.spool;
            spool.write(&name, bytes).await?;
            let is_discarded = {
                let mut state = lock(&spooled.0.state);
                state.written += 1;
                state.is_discarded
            };
            if is_discarded {
                spool.delete(std::slice::from_ref(&name)).await?;
            }
            Ok::<_, Error>(name)
        });
        writing.await.unwrap_or_else(|stopped| Err(Error::internal("the task that writes a segment stopped").with_source(stopped)))
    }

    /// The name of its encoding.
    pub(super) fn encoding(&self) -> &'static str {
        self.0.encoding.name()
    }

    /// How many segments were written so far.
    pub(super) fn written(&self) -> usize {
        lock(&self.0.state).written
    }

    /// Deletes all segments: the query has failed, or its client is gone.
    pub(super) fn discard(&self) {
        let names = {
            let mut state = lock(&self.0.state);
            state.is_discarded = true;
            std::mem::take(&mut state.names)
        };
        if names.is_empty() {
            return;
        }
        let spooled = self.clone();
        tokio::spawn(async move {
            if let Err(error) = spooled.0.spooling.spool.delete(&names).await {
                // They are deleted when their time is over.
                tracing::warn!(query = %spooled.0.query, %error, "segments of a query that has ended cannot be deleted now");
            }
        });
    }
}
