//! How coordinators know the tickets and handles that they have given out: each ends with an HMAC-SHA256 of what is before it, by a key that all coordinators of a cluster share.
//!
//! So nobody can make the statement of another user, or a session that was never planned in, out of one of his own.

use std::sync::Arc;

use bytes::Bytes;
use nunatak_coordinator::query::SessionStore;
use ring::hmac;
use tonic::Status;
use uuid::Uuid;

use super::carried::Carried;
use super::status;

/// The bytes of a signature.
const SIGNATURE_BYTES: usize = 32;

/// Signs statements, and knows them again. Cheap to clone.
#[derive(Clone)]
pub(super) struct Seal(Arc<dyn SessionStore>);

impl Seal {
    /// By the key of that store.
    pub(super) fn new(store: Arc<dyn SessionStore>) -> Self {
        Self(store)
    }

    /// A statement as bytes for a client.
    pub(super) fn close(&self, statement: &Carried) -> Bytes {
        let mut bytes = statement.write();
        let signature = hmac::sign(&self.key(), &bytes);
        bytes.extend_from_slice(signature.as_ref());
        bytes.into()
    }

    /// Reads what a client has brought back, with its id. `what` names it, and `hint` says how to get another one.
    ///
    /// Errors: `NOT_FOUND` for what was not given out with that key.
    pub(super) fn open(&self, bytes: &Bytes, what: &str, hint: &str) -> Result<(Uuid, Carried), Status> {
        let signed = bytes.len().checked_sub(SIGNATURE_BYTES).map(|length| bytes.split_at(length));
        let is_ours = |(content, signature): &(&[u8], &[u8])| hmac::verify(&self.key(), content, signature).is_ok();
        let content = signed.filter(is_ours).and_then(|(content, _)| Carried::read(&bytes.slice_ref(content)));
        content.ok_or_else(|| status::not_ours(what, hint))
    }

    fn key(&self) -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, self.0.handle_key().bytes())
    }
}

#[cfg(test)]
mod tests {
    use nunatak_coordinator::query::Session;
    use nunatak_state::EmbeddedSessions;

    use super::*;

    fn seal() -> Seal {
        Seal::new(Arc::new(EmbeddedSessions::new(std::time::Duration::from_secs(60))))
    }

    #[test]
    fn only_what_was_given_out_is_taken() {
        let (own, other) = (seal(), seal());
        let statement = Carried::new("SELECT 1".to_owned(), false, &Session::new("ada", "lake", None));
        let closed = own.close(&statement);
        assert!(own.open(&closed, "the ticket", "").is_ok_and(|(_, opened)| opened == statement));

        let mut forged = statement.clone();
        forged.user = "bob".to_owned();
        let signature = &closed[closed.len() - SIGNATURE_BYTES..];
        let with_signature_of_another = Bytes::from([&forged.write()[..], signature].concat());
        let mut changed = closed.to_vec();
        changed[20] ^= 1;
        let cases = [other.close(&statement), with_signature_of_another, changed.into(), statement.write().into(), closed.slice(1..), Bytes::new()];
        for bytes in cases {
            let refused = own.open(&bytes, "the ticket", "ask again").err();
            let status = refused.unwrap_or_else(|| Status::ok("not refused"));
            assert_eq!(status.code(), tonic::Code::NotFound);
            assert!(status.message().contains("the ticket was not given out by this cluster"), "{}", status.message());
        }
    }
}
