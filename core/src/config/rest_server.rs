//! `[rest_server]`: who may use the catalogs by the Iceberg REST protocol.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::catalog::resolve;
use super::{Invalid, Key};

pub(super) const KEYS: &[Key] = &[Key {
    name: "tokens",
    description: "Bearer tokens of the clients of the Iceberg REST server, separated by commas or lines; ${FILE:/path} or ${ENV:NAME}. Without any, everyone is let in.",
}];

/// A token that is shorter can be guessed.
const TOKEN_CHARS_MIN: usize = 16;

/// Who may use the catalogs by the Iceberg REST protocol.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct RestServer {
    /// The tokens of those who may; everyone may if there are none.
    pub tokens: Vec<String>,
}

impl fmt::Debug for RestServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RestServer").field("tokens", &self.tokens.len()).finish()
    }
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Raw {
    tokens: String,
}

impl Raw {
    pub(super) fn check(self) -> Result<RestServer, Invalid> {
        let invalid = |why: String| Invalid::new("rest_server.tokens", why);
        let given = resolve(self.tokens.trim()).map_err(|unresolved| invalid(unresolved.into()))?;
        let tokens: Vec<String> = given.split([',', '\n']).map(str::trim).filter(|token| !token.is_empty()).map(str::to_owned).collect();
        // Something that was to hold some would let everyone in.
        if tokens.is_empty() && !self.tokens.trim().is_empty() {
            return Err(invalid(String::from("there is no token in it")));
        }
        if let Some(number) = tokens.iter().position(|token| token.chars().count() < TOKEN_CHARS_MIN) {
            return Err(invalid(format!("token {} is shorter than {TOKEN_CHARS_MIN} characters", number + 1)));
        }
        if let Some(number) = tokens.iter().position(|token| !token.chars().all(|letter| letter.is_ascii_graphic())) {
            return Err(invalid(format!("token {} has letters that no header takes", number + 1)));
        }
        Ok(RestServer { tokens })
    }
}
