//! What a call's headers say: who calls, in which session, with which catalog, schema and session properties.
//!
//! Only reading; what follows from it is `sessions`' business.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use nunatak_core::error::Code;
use nunatak_core::{Error, Result};
use tonic::Status;
use tonic::metadata::MetadataMap;
use uuid::Uuid;

use super::status;

/// The name of the cookie that names a session.
pub(super) const COOKIE: &str = "nunatak_session";

/// Session properties of one call: `name=value,name=value`.
const PROPERTIES_KEY: &str = "nunatak-session";

/// ADBC's Go driver leaves the padding out, the others write it.
const BASE64: GeneralPurpose = GeneralPurpose::new(&STANDARD, GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent));

/// Who a call says it is from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Identity {
    /// It does not say.
    Nobody,
    /// A user, with a password that nothing checks yet.
    User(String),
    /// The bearer of a token: one of ours, or one of some other issuer.
    Token(String),
}

/// The headers that mean something here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Headers {
    pub(super) identity: Identity,
    pub(super) cookie: Option<Uuid>,
    pub(super) catalog: Option<String>,
    pub(super) schema: Option<String>,
    pub(super) properties: Vec<(String, String)>,
}

impl Headers {
    /// Reads them.
    pub(super) fn read(metadata: &MetadataMap) -> Result<Self, Status> {
        let properties = metadata.get_all(PROPERTIES_KEY).iter().filter_map(|value| value.to_str().ok());
        let properties = properties.map(parse_properties).collect::<Result<Vec<_>>>().map_err(|error| status::of(&error, None))?;
        Ok(Self {
            identity: text(metadata, "authorization").map_or(Ok(Identity::Nobody), parse_authorization)?,
            cookie: metadata.get_all("cookie").iter().filter_map(|value| value.to_str().ok()).find_map(parse_cookie),
            catalog: text(metadata, "catalog").map(str::to_owned),
            schema: text(metadata, "schema").or_else(|| text(metadata, "database")).map(str::to_owned),
            properties: properties.into_iter().flatten().collect(),
        })
    }
}

/// A header's text; an empty one says nothing.
fn text<'a>(metadata: &'a MetadataMap, key: &str) -> Option<&'a str> {
    metadata.get(key).and_then(|value| value.to_str().ok()).map(str::trim).filter(|text| !text.is_empty())
}

fn parse_authorization(text: &str) -> Result<Identity, Status> {
    let (scheme, credentials) = text.split_once(' ').unwrap_or((text, ""));
    let credentials = credentials.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Ok(if credentials.is_empty() { Identity::Nobody } else { Identity::Token(credentials.to_owned()) });
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return Err(status::unauthenticated("the authorization header has neither the scheme Basic nor Bearer"));
    }
    parse_basic(credentials).ok_or_else(|| status::unauthenticated("the Basic credentials are not base64 of user:password"))
}

fn parse_basic(credentials: &str) -> Option<Identity> {
    let decoded = String::from_utf8(BASE64.decode(credentials).ok()?).ok()?;
    let (user, _password) = decoded.split_once(':')?;
    Some(if user.is_empty() { Identity::Nobody } else { Identity::User(user.to_owned()) })
}

fn parse_cookie(text: &str) -> Option<Uuid> {
    let pairs = text.split(';').filter_map(|pair| pair.trim().split_once('='));
    pairs.filter(|(name, _)| *name == COOKIE).find_map(|(_, value)| Uuid::try_parse(value.trim_matches('"')).ok())
}

fn parse_properties(text: &str) -> Result<Vec<(String, String)>> {
    let pairs = text.split(',').map(str::trim).filter(|pair| !pair.is_empty());
    pairs.map(parse_property).collect()
}

fn parse_property(pair: &str) -> Result<(String, String)> {
    match pair.split_once('=') {
        Some((name, value)) if !name.trim().is_empty() => Ok((name.trim().to_ascii_lowercase(), value.trim().to_owned())),
        _ => Err(Error::new(Code::InvalidSessionProperty, format!("'{pair}' in the header {PROPERTIES_KEY} is not a property"))
            .with_hint("write name=value,name=value")),
    }
}

#[cfg(test)]
mod tests {
    use tonic::metadata::{MetadataKey, MetadataValue};

    use super::*;

    type Anything = Box<dyn std::error::Error>;

    fn read(pairs: &[(&str, &str)]) -> Result<Headers, Anything> {
        let mut metadata = MetadataMap::new();
        for (key, value) in pairs {
            metadata.append(MetadataKey::from_bytes(key.as_bytes())?, MetadataValue::try_from(*value)?);
        }
        Ok(Headers::read(&metadata)?)
    }

    #[test]
    fn basic_is_read_with_and_without_padding() -> Result<(), Anything> {
        // "ada:x" and "ada:x:y", the latter with a colon in the password.
        for header in ["Basic YWRhOng=", "basic YWRhOng", "Basic YWRhOng6eQ==", "BASIC YWRhOng6eQ"] {
            assert_eq!(read(&[("authorization", header)])?.identity, Identity::User("ada".to_owned()), "{header}");
        }
        // ":" is nobody, as is no header at all.
        assert_eq!(read(&[("authorization", "Basic Og==")])?.identity, Identity::Nobody);
        assert_eq!(read(&[])?.identity, Identity::Nobody);
        Ok(())
    }

    #[test]
    fn bearer_is_a_token_and_others_are_refused() -> Result<(), Anything> {
        assert_eq!(read(&[("authorization", "Bearer abc")])?.identity, Identity::Token("abc".to_owned()));
        assert_eq!(read(&[("authorization", "Bearer ")])?.identity, Identity::Nobody);
        for header in ["Digest abc", "Basic %%%", "Basic YWRh"] {
            let refused = read(&[("authorization", header)]).err().and_then(|error| error.downcast::<Status>().ok());
            assert_eq!(refused.map(|status| status.code()), Some(tonic::Code::Unauthenticated), "{header}");
        }
        Ok(())
    }

    #[test]
    fn the_session_cookie_is_found_among_others() -> Result<(), Anything> {
        let id = Uuid::now_v7();
        let jar = format!("a=b; {COOKIE}={id}; c=d");
        assert_eq!(read(&[("cookie", "x=y"), ("cookie", &jar)])?.cookie, Some(id));
        assert_eq!(read(&[("cookie", "nunatak_session=junk")])?.cookie, None);
        Ok(())
    }

    #[test]
    fn catalog_schema_and_properties_are_read() -> Result<(), Anything> {
        let headers = read(&[("catalog", "lake"), ("database", "nyc"), ("nunatak-session", "Execution_Mode=local, a=b=c,")])?;
        assert_eq!((headers.catalog.as_deref(), headers.schema.as_deref()), (Some("lake"), Some("nyc")));
        assert_eq!(headers.properties, [("execution_mode".to_owned(), "local".to_owned()), ("a".to_owned(), "b=c".to_owned())]);
        assert_eq!(read(&[("database", "nyc"), ("schema", "paris")])?.schema.as_deref(), Some("paris"));
        assert!(read(&[("nunatak-session", "execution_mode")]).is_err());
        Ok(())
    }
}
