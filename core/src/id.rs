//! Ids of things that live in a cluster.

use std::fmt;

use uuid::Uuid;

/// The id of a query: unique over all coordinators and time, and sorted by the time it was made (UUID version 7, RFC 9562, without dashes).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QueryId(String);

impl QueryId {
    /// A new id.
    pub fn generate() -> Self {
        Self(Uuid::now_v7().simple().to_string())
    }

    /// When it was made, in milliseconds since 1970; `None` for a text that is no such id.
    pub fn begun_millis(&self) -> Option<i64> {
        let (seconds, nanos) = Uuid::try_parse(&self.0).ok()?.get_timestamp()?.to_unix();
        i64::try_from(seconds * 1_000 + u64::from(nanos) / 1_000_000).ok()
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for QueryId {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Display for QueryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for QueryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
