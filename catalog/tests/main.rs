//! The crate against real files and a real SQLite database.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod append;
mod damage;
mod expiry;
mod failures;
mod hadoop;
mod namespaces;
mod row_delta;
mod snapshots;
mod storage;
mod support;
mod tables;
mod views;
