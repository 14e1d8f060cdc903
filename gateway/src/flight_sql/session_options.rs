//! The actions SetSessionOptions, GetSessionOptions and CloseSession.
//!
//! `catalog` and `schema` are options; every other name is a session property. The messages are those of Flight.proto, which arrow-flight 59 does not
//! have.

use std::collections::{BTreeMap, HashMap};

use nunatak_coordinator::query::StoredSession;
use nunatak_core::error::Code;
use tonic::Status;

use super::sessions::Caller;
use super::{Service, status};

/// `SessionOptionValue`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct SessionOptionValue {
    #[prost(oneof = "OptionValue", tags = "1, 2, 3, 4, 5")]
    pub(super) option_value: Option<OptionValue>,
}

/// The kinds of values; none at all unsets an option.
#[derive(Clone, PartialEq, prost::Oneof)]
pub(super) enum OptionValue {
    #[prost(string, tag = "1")]
    String(String),
    #[prost(bool, tag = "2")]
    Bool(bool),
    #[prost(sfixed64, tag = "3")]
    Int64(i64),
    #[prost(double, tag = "4")]
    Double(f64),
    #[prost(message, tag = "5")]
    StringList(StringListValue),
}

/// `SessionOptionValue.StringListValue`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct StringListValue {
    #[prost(string, repeated, tag = "1")]
    pub(super) values: Vec<String>,
}

/// `SetSessionOptionsRequest`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct SetSessionOptionsRequest {
    #[prost(map = "string, message", tag = "1")]
    pub(super) session_options: HashMap<String, SessionOptionValue>,
}

/// `SetSessionOptionsResult`: only options that could not be set are named.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct SetSessionOptionsResult {
    #[prost(map = "string, message", tag = "1")]
    pub(super) errors: HashMap<String, OptionError>,
}

/// `SetSessionOptionsResult.Error`.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(super) struct OptionError {
    #[prost(enumeration = "OptionErrorValue", tag = "1")]
    pub(super) value: i32,
}

/// `SetSessionOptionsResult.ErrorValue`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub(super) enum OptionErrorValue {
    Unspecified = 0,
    InvalidName = 1,
    InvalidValue = 2,
    Error = 3,
}

/// `GetSessionOptionsResult`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct GetSessionOptionsResult {
    #[prost(map = "string, message", tag = "1")]
    pub(super) session_options: HashMap<String, SessionOptionValue>,
}

/// `CloseSessionResult`.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(super) struct CloseSessionResult {
    #[prost(enumeration = "CloseSessionStatus", tag = "1")]
    pub(super) status: i32,
}

/// `CloseSessionResult.Status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub(super) enum CloseSessionStatus {
    Unspecified = 0,
    Closed = 1,
    Closing = 2,
    NotCloseable = 3,
}

impl Service {
    /// Sets options in the caller's session; each by itself, as the protocol wants it.
    pub(super) async fn set_session_options(&self, caller: &Caller, request: SetSessionOptionsRequest) -> Result<SetSessionOptionsResult, Status> {
        let mut errors = HashMap::new();
        let mut accepted = BTreeMap::new();
        for (name, value) in request.session_options {
            let name_folded = name.to_ascii_lowercase();
            match self.check_option(caller, &name_folded, value).await? {
                Ok(value) => {
                    accepted.insert(name_folded, value);
                }
                Err(refusal) => {
                    errors.insert(name, OptionError { value: refusal.into() });
                }
            }
        }
        if !accepted.is_empty() {
            let change = |stored: &mut StoredSession| accepted.iter().for_each(|(name, value)| set(stored, name, value.clone()));
            self.sessions.update(&caller.owner, &change).await?;
        }
        Ok(SetSessionOptionsResult { errors })
    }

    /// The options that hold for the caller.
    pub(super) fn get_session_options(caller: &Caller) -> GetSessionOptionsResult {
        let session = &caller.session;
        let properties = session.properties.iter().map(|(name, value)| (name.clone(), value.clone()));
        // Always there, for clients take an absent name for an error.
        let named = [("catalog", session.catalog.clone()), ("schema", session.schema.clone().unwrap_or_default())];
        let named = named.map(|(name, value)| (name.to_owned(), value));
        let session_options = properties.chain(named).map(|(name, value)| (name, string_value(value))).collect();
        GetSessionOptionsResult { session_options }
    }

    /// Ends the caller's session.
    pub(super) async fn close_session(&self, caller: &Caller) -> CloseSessionResult {
        let status = if self.sessions.close(&caller.owner).await { CloseSessionStatus::Closed } else { CloseSessionStatus::Closing };
        CloseSessionResult { status: status.into() }
    }

    /// The value of an option as text, `None` to unset it, or why it cannot be set.
    async fn check_option(&self, caller: &Caller, name: &str, value: SessionOptionValue) -> Result<Result<Option<String>, OptionErrorValue>, Status> {
        let text = match text_of(value) {
            Ok(Some(text)) if !text.is_empty() => text,
            Ok(_) => return Ok(Ok(None)),
            Err(refusal) => return Ok(Err(refusal)),
        };
        match name {
            "catalog" => {
                let catalogs = self.coordinator.catalogs().await.map_err(|error| status::failed(&error, &caller.owner.user, None))?;
                Ok(if catalogs.contains(&text) { Ok(Some(text)) } else { Err(OptionErrorValue::InvalidValue) })
            }
            // As with USE: a schema that is made later is fine.
            "schema" => Ok(Ok(Some(text))),
            property => match self.coordinator.check_session_property(property, &text) {
                Ok(()) => Ok(Ok(Some(text))),
                // The protocol has no room for a message; the server's log has.
                Err(error) if error.code() == Code::InvalidSessionProperty => {
                    tracing::info!(%error, "session option refused");
                    Ok(Err(OptionErrorValue::InvalidValue))
                }
                Err(error) => Err(status::of(&error, None)),
            },
        }
    }
}

fn set(stored: &mut StoredSession, name: &str, value: Option<String>) {
    match (name, value) {
        ("catalog", value) => stored.catalog = value,
        ("schema", value) => stored.schema = value,
        (_, Some(value)) => {
            stored.properties.insert(name.to_owned(), value);
        }
        (_, None) => {
            stored.properties.remove(name);
        }
    }
}

fn text_of(value: SessionOptionValue) -> Result<Option<String>, OptionErrorValue> {
    match value.option_value {
        None => Ok(None),
        Some(OptionValue::String(text)) => Ok(Some(text)),
        Some(OptionValue::Bool(value)) => Ok(Some(value.to_string())),
        Some(OptionValue::Int64(value)) => Ok(Some(value.to_string())),
        Some(OptionValue::Double(value)) => Ok(Some(value.to_string())),
        Some(OptionValue::StringList(_)) => Err(OptionErrorValue::InvalidValue),
    }
}

fn string_value(text: String) -> SessionOptionValue {
    SessionOptionValue { option_value: Some(OptionValue::String(text)) }
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;

    #[test]
    fn messages_have_the_bytes_of_flight_proto() {
        let request = SetSessionOptionsRequest { session_options: HashMap::from([("schema".to_owned(), string_value("nyc".to_owned()))]) };
        assert_eq!(request.encode_to_vec(), b"\x0a\x0f\x0a\x06schema\x12\x05\x0a\x03nyc");
        let result = CloseSessionResult { status: CloseSessionStatus::Closed.into() };
        assert_eq!(result.encode_to_vec(), b"\x08\x01");
        let number = SessionOptionValue { option_value: Some(OptionValue::Int64(1)) };
        assert_eq!(number.encode_to_vec(), b"\x19\x01\0\0\0\0\0\0\0");
    }

    #[test]
    fn an_option_without_a_value_is_unset() {
        let mut stored = StoredSession { schema: Some("nyc".to_owned()), ..StoredSession::default() };
        set(&mut stored, "schema", None);
        set(&mut stored, "execution_mode", Some("local".to_owned()));
        assert_eq!((stored.schema.as_deref(), stored.properties.len()), (None, 1));
    }
}
