//! Buckets of Google Cloud Storage.

use std::collections::BTreeMap;
use std::sync::Arc;

use nunatak_core::Result;
use object_store::StaticCredentialProvider;
use object_store::gcp::{GcpCredential, GoogleCloudStorage, GoogleCloudStorageBuilder};

use super::client::{Properties, unusable};

/// The properties that say how buckets are reached: Iceberg's names (Java: `GCPProperties`), and some of our own. Without them the environment tells:
/// `GOOGLE_SERVICE_ACCOUNT`, `GOOGLE_APPLICATION_CREDENTIALS`, the login of `gcloud`, the role of the machine.
pub(super) const PROPERTIES: [&str; 7] = [
    "gcs.connect-timeout-ms",
    "gcs.no-auth",
    "gcs.oauth2.token",
    "gcs.request-timeout-ms",
    "gcs.retry.timeout-ms",
    "gcs.service-account-key-file",
    "gcs.service.host",
];

/// The store of one bucket.
///
/// Errors: `CONFIGURATION_INVALID` for a property that has no meaning.
pub(super) fn build(bucket: &str, properties: &BTreeMap<String, String>) -> Result<Arc<GoogleCloudStorage>> {
    let properties = Properties::new(properties, "gcs");
    let mut builder = GoogleCloudStorageBuilder::from_env().with_bucket_name(bucket);
    properties.check_headers(&["oauth2.token"])?;
    let mut client = properties.client()?;
    if let Some(host) = properties.text("service.host") {
        builder = builder.with_base_url(host.trim_end_matches('/'));
        client = client.with_allow_http(host.starts_with("http://"));
    }
    if let Some(path) = properties.text("service-account-key-file") {
        builder = builder.with_service_account_path(path);
    }
    if let Some(token) = properties.text("oauth2.token") {
        builder = builder.with_credentials(Arc::new(StaticCredentialProvider::new(GcpCredential { bearer: token.to_owned() })));
    }
    if properties.flag("no-auth")? == Some(true) {
        builder = builder.with_skip_signature(true);
    }
    let store = builder.with_client_options(client).with_retry(properties.retry()?).build();
    Ok(Arc::new(store.map_err(|error| unusable(&format!("bucket '{bucket}'"), error))?))
}

#[cfg(test)]
mod tests {
    use nunatak_core::Code;

    use super::*;

    #[test]
    fn properties_are_checked() {
        let built = |name: &str, value: &str| {
            build("lake", &BTreeMap::from([(String::from("gcs.oauth2.token"), String::from("t")), (name.into(), value.into())]))
        };
        assert!(built("gcs.service.host", "http://127.0.0.1:9").is_ok());
        for (name, value) in [
            ("gcs.no-auth", "maybe"),
            ("gcs.oauth2.token", "t\n"),
            ("gcs.retry.timeout-ms", "soon"),
            ("gcs.service-account-key-file", "/nowhere.json"),
        ] {
            assert_eq!(built(name, value).unwrap_err().code(), Code::ConfigurationInvalid, "{name}");
        }
    }
}
