//! What stands for a segment in its addresses: its name, and a signature by a key that all coordinators of a cluster share. Whoever has it may fetch the segment, and nobody can
//! make one.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nunatak_coordinator::query::{SegmentName, SessionStore};
use ring::hmac;

/// Tickets are signed by the same key: what is signed here is by one that is made of it.
const PURPOSE: &[u8] = b"segments of spooled results";

/// Signs names of segments, and knows them again. Cheap to clone.
#[derive(Clone)]
pub(super) struct Tokens {
    secret: Option<Arc<str>>,
    /// Has the key if there is no secret.
    sessions: Arc<dyn SessionStore>,
}

impl Tokens {
    /// By a secret of the configuration, or the key that handles and tickets are signed with.
    pub(super) fn new(secret: Option<&str>, sessions: Arc<dyn SessionStore>) -> Self {
        Self { secret: secret.map(Arc::from), sessions }
    }

    /// The token of a segment: `NAME.SIGNATURE`.
    pub(super) fn sign(&self, name: &SegmentName) -> String {
        let signature = hmac::sign(&self.key(), name.as_str().as_bytes());
        format!("{name}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// The segment of a token; `None` if it was not given out with this key.
    pub(super) fn open(&self, token: &str) -> Option<SegmentName> {
        let (name, signature) = token.rsplit_once('.')?;
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        hmac::verify(&self.key(), name.as_bytes(), &signature).ok()?;
        SegmentName::parse(name)
    }

    fn key(&self) -> hmac::Key {
        let shared = match &self.secret {
            Some(secret) => hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()),
            None => hmac::Key::new(hmac::HMAC_SHA256, self.sessions.handle_key().bytes()),
        };
        hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&shared, PURPOSE).as_ref())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use nunatak_state::EmbeddedSessions;

    use super::*;

    const NAME: &str = "1795793518123_20261126_153158_00000_kw37b_000012_0123456789abcdef0123456789abcdef.segment";

    fn tokens(secret: Option<&str>) -> Tokens {
        Tokens::new(secret, Arc::new(EmbeddedSessions::new(Duration::from_secs(60))))
    }

    #[test]
    fn only_what_was_given_out_is_taken() {
        let name = SegmentName::parse(NAME).unwrap();
        let own = tokens(None);
        let token = own.sign(&name);
        assert!(token.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)), "{token}");
        assert_eq!(own.open(&token), Some(name.clone()));
        let later = token.replacen('1', "2", 1);
        for forged in [tokens(None).sign(&name), later, NAME.to_owned(), format!("{NAME}."), String::new(), token.replace(".segment", "")] {
            assert_eq!(own.open(&forged), None, "{forged}");
        }
        let secret = Some("a secret of more than 32 characters");
        assert_eq!(tokens(secret).open(&tokens(secret).sign(&name)), Some(name));
    }
}
