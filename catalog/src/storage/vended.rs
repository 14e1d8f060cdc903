//! Credentials that a catalog's server gives out for one table and for a while: they are asked for anew before they run out, in each process that has them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use nunatak_core::{Code, Error, Result};
use object_store::CredentialProvider;
use object_store::aws::AwsCredential;
use parking_lot::RwLock;
use tokio::sync::Mutex;

use crate::backend::rest::client::{Call, Client, parse_uri};
use crate::backend::rest::messages::VendedCredentials;
use crate::shared_failure::SharedFailure;

/// Where new credentials are to be had (Java: `AwsClientProperties.REFRESH_CREDENTIALS_ENDPOINT`): an address of the catalog's server.
pub(crate) const ENDPOINT: &str = "client.refresh-credentials-endpoint";
/// When the credentials run out, in milliseconds since 1970 (Java: `S3FileIOProperties.SESSION_TOKEN_EXPIRES_AT_MS`).
pub(super) const EXPIRES_AT: &str = "s3.session-token-expires-at-ms";
const ID: &str = "s3.access-key-id";
const SECRET: &str = "s3.secret-access-key";
const SESSION_TOKEN: &str = "s3.session-token";
/// What is renewed. All else stays what it is.
pub(crate) const RENEWED: [&str; 4] = [EXPIRES_AT, ID, SECRET, SESSION_TOKEN];
/// The properties of whoever asks for new credentials begin with it.
const CLIENT: &str = "client.refresh.";
const CATALOG: &str = "client.refresh-catalog";
const LOCATION: &str = "client.refresh-location";
const BODY: &str = "client.refresh-body";

/// They are renewed this long before they run out, or when half of their time is over if it is less.
const RENEWED_BEFORE: Duration = Duration::from_secs(5 * 60);
/// After a failure nobody asks again for so long, as long as the old ones are good.
const PAUSE: Duration = Duration::from_secs(5);

/// Whether there are credentials among the properties that do not last.
pub(crate) fn run_out(properties: &BTreeMap<String, String>) -> bool {
    properties.contains_key(ID) && (properties.contains_key(SESSION_TOKEN) || properties.contains_key(EXPIRES_AT))
}

/// The properties by which credentials for `location` are renewed: at `endpoint`, by asking for what is there or by sending `body`, by a client of the catalog's server
/// with these properties.
pub(crate) fn renewal(
    catalog: &str,
    endpoint: &str,
    body: Option<String>,
    location: &str,
    client: BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    let mut properties: BTreeMap<_, _> = client.into_iter().map(|(name, value)| (format!("{CLIENT}{name}"), value)).collect();
    let own = [(ENDPOINT, endpoint), (CATALOG, catalog), (LOCATION, location)];
    properties.extend(own.map(|(name, value)| (name.to_owned(), value.to_owned())));
    properties.extend(body.map(|body| (BODY.to_owned(), body)));
    properties
}

/// Credentials that are renewed.
pub(super) struct RenewedCredentials {
    catalog: String,
    endpoint: String,
    body: Option<String>,
    location: String,
    client_properties: BTreeMap<String, String>,
    current: RwLock<Current>,
    /// Held by the one who asks for all.
    client: Mutex<Option<Client>>,
    failure: SharedFailure,
}

struct Current {
    /// As properties, for other processes.
    properties: BTreeMap<String, String>,
    credential: Arc<AwsCredential>,
    expires_at: Option<SystemTime>,
    renewed_at: Option<SystemTime>,
}

impl fmt::Debug for RenewedCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RenewedCredentials").field("catalog", &self.catalog).field("location", &self.location).finish_non_exhaustive()
    }
}

impl RenewedCredentials {
    /// Those of a storage; `None` if its credentials are not renewed.
    pub(super) fn new(properties: &BTreeMap<String, String>) -> Option<Arc<Self>> {
        let text = |name: &str| properties.get(name).cloned().unwrap_or_default();
        let endpoint = properties.get(ENDPOINT)?.clone();
        let of_client = properties.iter().filter_map(|(name, value)| Some((name.strip_prefix(CLIENT)?.to_owned(), value.clone())));
        Some(Arc::new(Self {
            catalog: text(CATALOG),
            endpoint,
            body: properties.get(BODY).cloned(),
            location: text(LOCATION),
            client_properties: of_client.collect(),
            current: RwLock::new(Current::new(properties)?),
            client: Mutex::new(None),
            failure: SharedFailure::default(),
        }))
    }

    /// The properties that are renewed, as they are now.
    pub(super) fn properties(&self) -> BTreeMap<String, String> {
        self.current.read().properties.clone()
    }

    /// Takes other credentials for the same files, if they last longer.
    pub(super) fn take(&self, properties: &BTreeMap<String, String>) {
        let Some(other) = Current::new(properties) else { return };
        let mut current = self.current.write();
        if other.expires_at >= current.expires_at {
            *current = other;
        }
    }

    /// Those that we have, if they need not be renewed.
    fn good(&self) -> Option<Arc<AwsCredential>> {
        let current = self.current.read();
        current.renewed_at.is_none_or(|at| SystemTime::now() < at).then(|| Arc::clone(&current.credential))
    }

    async fn renew(&self, client: &mut Option<Client>) -> Result<()> {
        let endpoint = parse_uri(&self.endpoint)?;
        let known = match client.take() {
            Some(known) => known,
            None => Client::new(&self.catalog, &endpoint, &self.client_properties, true)?,
        };
        let client = client.insert(known);
        let operation = format!("renew the credentials of '{}'", self.location);
        let call = match &self.body {
            Some(body) => Call::post_again(endpoint, operation, body.clone()),
            None => Call::get(endpoint, operation),
        };
        let given: VendedCredentials = client.succeed(call).await?.parsed()?;
        let renewed = Current::new(&given.of_location(&self.location)).ok_or_else(|| {
            let what = format!("the server of catalog '{}' gives no credentials for '{}' any more", self.catalog, self.location);
            Error::new(Code::StorageAccessDenied, what)
        })?;
        *self.current.write() = renewed;
        Ok(())
    }
}

#[async_trait]
impl CredentialProvider for RenewedCredentials {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        if let Some(good) = self.good() {
            return Ok(good);
        }
        let wanted = Instant::now();
        let mut client = self.client.lock().await;
        if let Some(good) = self.good() {
            return Ok(good);
        }
        let renewed = self.failure.share(wanted, self.renew(&mut client)).await;
        let mut current = self.current.write();
        match renewed {
            Ok(()) => {}
            Err(error) if current.expires_at.is_none_or(|at| SystemTime::now() < at) => {
                tracing::warn!(%error, "credentials of storage were not renewed");
                current.renewed_at = Some(SystemTime::now() + PAUSE);
            }
            Err(error) => return Err(object_store::Error::Unauthenticated { path: self.location.clone(), source: error.into() }),
        }
        Ok(Arc::clone(&current.credential))
    }
}

impl Current {
    /// Those in the properties; `None` if there are none.
    fn new(properties: &BTreeMap<String, String>) -> Option<Self> {
        let credential = AwsCredential {
            key_id: properties.get(ID)?.clone(),
            secret_key: properties.get(SECRET)?.clone(),
            token: properties.get(SESSION_TOKEN).cloned(),
        };
        let expires_at = properties.get(EXPIRES_AT).and_then(|at| UNIX_EPOCH.checked_add(Duration::from_millis(at.trim().parse().ok()?)));
        let renewed_at = expires_at.map(|at| {
            let left = at.duration_since(SystemTime::now()).unwrap_or_default();
            at.checked_sub(RENEWED_BEFORE.min(left / 2)).unwrap_or(at)
        });
        let renewed = properties.iter().filter(|(name, _)| RENEWED.contains(&name.as_str()));
        let properties = renewed.map(|(name, value)| (name.clone(), value.clone())).collect();
        Some(Self { properties, credential: Arc::new(credential), expires_at, renewed_at })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn properties(id: &str, lasts: Duration) -> BTreeMap<String, String> {
        let until = (SystemTime::now() + lasts).duration_since(UNIX_EPOCH).unwrap().as_millis().to_string();
        let given = [(ID, id), (SECRET, "s"), (SESSION_TOKEN, "t"), (EXPIRES_AT, until.as_str())];
        let mut properties: BTreeMap<_, _> = given.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        properties.extend(renewal(
            "prod",
            "http://127.0.0.1:1/v1/t",
            None,
            "s3://b/t",
            BTreeMap::from([("rest.client.max-retries".into(), "0".into())]),
        ));
        properties
    }

    #[test]
    fn credentials_that_last_longer_are_taken() {
        let credentials = RenewedCredentials::new(&properties("one", Duration::from_secs(1_000))).unwrap();
        assert_eq!(credentials.good().unwrap().key_id, "one");
        credentials.take(&properties("two", Duration::from_secs(500)));
        assert_eq!(credentials.good().unwrap().key_id, "one");
        credentials.take(&properties("three", Duration::from_secs(2_000)));
        assert_eq!((credentials.good().unwrap().key_id.as_str(), credentials.properties()[ID].as_str()), ("three", "three"));
        assert!(RenewedCredentials::new(&BTreeMap::from([(ID.to_owned(), "x".to_owned())])).is_none());
    }

    #[tokio::test]
    async fn old_ones_serve_while_they_are_good() {
        let credentials = RenewedCredentials::new(&properties("old", Duration::from_secs(3))).unwrap();
        tokio::time::sleep(Duration::from_millis(1_600)).await;
        // Nobody is there who gives new ones.
        assert_eq!(credentials.get_credential().await.unwrap().key_id, "old");
        let gone = RenewedCredentials::new(&properties("gone", Duration::ZERO)).unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
        assert!(matches!(gone.get_credential().await, Err(object_store::Error::Unauthenticated { .. })));
    }
}
