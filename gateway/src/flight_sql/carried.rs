//! Statements as tickets, and handles of prepared statements, carry them: whole, so that each coordinator of a cluster can take any of them.
//!
//! They are signed (`seal`), and good for their user only. What is too long to travel stays in the coordinator, which the ticket or handle then names.

use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use arrow_flight::FlightData;
use bytes::Bytes;
use futures::{TryStreamExt, stream};
use nunatak_coordinator::query::{Coordinator, Session};
use prost::Message;
use tonic::Status;
use uuid::Uuid;

use super::sessions::Owner;
use super::{encode, parameters, status};
use crate::limits;

/// A statement in a ticket or handle.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Carried {
    /// Its id, a UUID of version 7.
    #[prost(bytes = "bytes", tag = "1")]
    id: Bytes,
    /// The Flight SQL address of the coordinator in which the rest has stayed; `None` where the rest is here.
    #[prost(string, optional, tag = "2")]
    pub(super) holder: Option<String>,
    #[prost(string, tag = "3")]
    pub(super) sql: String,
    /// Whether it changes something, and so must not run twice.
    #[prost(bool, tag = "4")]
    pub(super) is_update: bool,
    /// The session that it was planned in: whose it is, and the rest.
    #[prost(string, tag = "5")]
    pub(super) user: String,
    #[prost(string, tag = "6")]
    catalog: String,
    #[prost(string, optional, tag = "7")]
    schema: Option<String>,
    #[prost(btree_map = "string, string", tag = "8")]
    properties: BTreeMap<String, String>,
    /// The values of its parameters, as messages of Flight.
    #[prost(message, repeated, tag = "9")]
    values: Vec<FlightData>,
    /// In a handle: the schema of its rows in that session.
    #[prost(bytes = "bytes", tag = "10")]
    pub(super) rows_schema: Bytes,
    /// In a ticket: the id of the session that its changes go to, and whether that is stored.
    #[prost(bytes = "bytes", tag = "11")]
    session_id: Bytes,
    #[prost(bool, tag = "12")]
    session_is_stored: bool,
}

impl Carried {
    /// A statement that was planned in a session.
    pub(super) fn new(sql: String, is_update: bool, session: &Session) -> Self {
        let Session { user, catalog, schema, properties, .. } = session.clone();
        let id = Bytes::copy_from_slice(Uuid::now_v7().as_bytes());
        Self { id, sql, is_update, user, catalog, schema, properties, ..Self::default() }
    }

    /// The same for a ticket: what it changes goes to the session of `owner`.
    pub(super) fn of(mut self, owner: &Owner) -> Self {
        self.session_id = Bytes::copy_from_slice(owner.id.as_bytes());
        self.session_is_stored = owner.is_stored();
        self
    }

    /// Whose session it changes when `caller` has brought it back. Clients that begin another session where they fetch rows mean the one in which they asked.
    pub(super) fn owner(&self, caller: &Owner) -> Owner {
        match Uuid::from_slice(&self.session_id) {
            Ok(id) if id != caller.id => Owner::named(id, &caller.user, self.session_is_stored),
            _ => caller.clone(),
        }
    }

    /// What names a statement that stays in the coordinator with that address.
    pub(super) fn stub(&self, holder: &str) -> Self {
        Self { id: self.id.clone(), holder: Some(holder.to_owned()), ..Self::default() }
    }

    /// Reads what a client has brought back, with its id; `None` for what is none of ours.
    pub(super) fn read(bytes: &Bytes) -> Option<(Uuid, Self)> {
        let carried = Self::decode(bytes.clone()).ok()?;
        Some((carried.id()?, carried))
    }

    /// Its id.
    pub(super) fn id(&self) -> Option<Uuid> {
        Uuid::from_slice(&self.id).ok()
    }

    /// As bytes, which are not signed yet.
    pub(super) fn write(&self) -> Vec<u8> {
        self.encode_to_vec()
    }

    /// Whether it is short enough to travel.
    pub(super) fn can_travel(&self) -> bool {
        self.encoded_len() <= limits::HANDLE_BYTES_MAX
    }

    /// The session that it was planned in.
    ///
    /// Errors: what a client could not have set.
    pub(super) fn session(&self, coordinator: &Coordinator) -> Result<Session, Status> {
        for (name, value) in &self.properties {
            coordinator.check_session_property(name, value).map_err(|error| status::of(&error, None))?;
        }
        Ok(self.claimed_session())
    }

    /// The same, unchecked: to be compared with.
    pub(super) fn claimed_session(&self) -> Session {
        let Self { user, catalog, schema, properties, .. } = self.clone();
        Session { user, catalog, schema, properties, ..Session::new("", "", None) }
    }

    /// Puts values to its parameters in the place of those that it has.
    pub(super) async fn bind(&mut self, values: Option<RecordBatch>) -> Result<(), Status> {
        self.values = match values {
            Some(values) => encode::batch(values).try_collect().await?,
            None => Vec::new(),
        };
        Ok(())
    }

    /// The values of its parameters.
    pub(super) async fn values(&self) -> Result<Option<RecordBatch>, Status> {
        if self.values.is_empty() {
            return Ok(None);
        }
        parameters::read(stream::iter(self.values.clone().into_iter().map(Ok))).await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, StringArray};

    use super::*;

    fn session() -> Session {
        let mut session = Session::new("ada", "lake", Some("nyc".to_owned()));
        session.properties.insert("execution_mode".to_owned(), "local".to_owned());
        session
    }

    #[tokio::test]
    async fn a_statement_travels_with_its_session_and_values() -> Result<(), Box<dyn std::error::Error>> {
        let columns: [(&str, ArrayRef); 2] = [("$1", Arc::new(Int64Array::from(vec![None]))), ("$2", Arc::new(StringArray::from(vec!["\u{e9}"])))];
        let values = RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true)))?;
        let mut carried = Carried::new("SELECT ?, ?".to_owned(), false, &session());
        assert_eq!(carried.values().await?, None);
        carried.bind(Some(values.clone())).await?;
        let (id, read) = Carried::read(&carried.write().into()).ok_or("cannot be read")?;
        assert_eq!((id.get_version_num(), read.claimed_session(), read.values().await?), (7, session(), Some(values)));
        assert!(read == carried && read.can_travel());
        carried.bind(None).await?;
        assert_eq!(carried.values().await?, None);
        Ok(())
    }

    #[test]
    fn changes_go_to_the_session_in_which_it_was_asked_for() {
        let (asked, other) = (Owner::named(Uuid::now_v7(), "ada", true), Owner::named(Uuid::now_v7(), "ada", false));
        let carried = Carried::new("USE nyc".to_owned(), true, &session()).of(&asked);
        assert_eq!((carried.owner(&asked), carried.owner(&other)), (asked.clone(), asked));
        assert_eq!(Carried::new("USE nyc".to_owned(), true, &session()).owner(&other), other);
    }

    #[test]
    fn what_is_too_long_leaves_its_name() {
        let long = Carried::new("x".repeat(limits::HANDLE_BYTES_MAX), true, &session());
        assert!(!long.can_travel());
        let stub = long.stub("h:1");
        assert!(stub.can_travel() && stub.sql.is_empty() && stub.holder.as_deref() == Some("h:1"));
        assert!(stub.id().is_some() && stub.id() == long.id());
    }

    #[test]
    fn what_others_have_made_is_none_of_ours() {
        for bytes in [&b""[..], b"junk", Uuid::new_v4().as_bytes(), &[0x0a, 3, 1, 2, 3]] {
            assert!(Carried::read(&Bytes::copy_from_slice(bytes)).is_none(), "{bytes:?}");
        }
    }
}
