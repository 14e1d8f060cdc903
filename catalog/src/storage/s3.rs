//! Buckets of S3, and of servers that speak its protocol.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use nunatak_core::{Code, Error, Result};
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, AwsCredentialProvider, Checksum};
use object_store::{BackoffConfig, Certificate, ClientOptions, ObjectStore, RetryConfig};

use super::vended::{self, RenewedCredentials};

/// The properties that say how buckets are reached: Iceberg's names (Java: `S3FileIOProperties`, `AwsClientProperties`), and some of our own. What none of them
/// says comes from the environment, as other clients of AWS find it: `AWS_ACCESS_KEY_ID`, `AWS_WEB_IDENTITY_TOKEN_FILE`, the container's or the machine's role.
pub(super) const PROPERTIES: [&str; 16] = [
    "client.region",
    "s3.access-key-id",
    "s3.ca-certificate",
    "s3.checksum",
    "s3.connect-timeout-ms",
    "s3.endpoint",
    "s3.path-style-access",
    "s3.region",
    "s3.request-timeout-ms",
    "s3.retry.timeout-ms",
    "s3.secret-access-key",
    "s3.session-token",
    vended::EXPIRES_AT,
    "s3.sse.key",
    "s3.sse.type",
    "s3.unsigned-payload",
];

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a request is sent again and again. A server that restarts is back by then.
const RETRY_TIMEOUT: Duration = Duration::from_secs(30);
const RETRIES_MAX: usize = 20;
const RETRY_WAIT_MAX: Duration = Duration::from_secs(2);

/// The store of one bucket, with `renewed` credentials if there are some.
///
/// Errors: `CONFIGURATION_INVALID` for a property that has no meaning.
pub(super) fn build(bucket: &str, properties: &BTreeMap<String, String>, renewed: Option<&Arc<RenewedCredentials>>) -> Result<Arc<dyn ObjectStore>> {
    let text = |name: &str| properties.get(name).map(String::as_str);
    let millis = |name: &str, default: Duration| match text(name) {
        Some(value) => value.parse().map(Duration::from_millis).map_err(|_| invalid(name, value, "a number of milliseconds")),
        None => Ok(default),
    };
    let flag = |name: &str| match text(name) {
        Some(value) => value.parse::<bool>().map(Some).map_err(|_| invalid(name, value, "true or false")),
        None => Ok(None),
    };
    let mut builder = AmazonS3Builder::from_env().with_bucket_name(bucket);
    let mut client = ClientOptions::new()
        .with_connect_timeout(millis("s3.connect-timeout-ms", CONNECT_TIMEOUT)?)
        .with_timeout(millis("s3.request-timeout-ms", REQUEST_TIMEOUT)?);
    if let Some(endpoint) = text("s3.endpoint") {
        builder = builder.with_endpoint(endpoint);
        client = client.with_allow_http(endpoint.starts_with("http://"));
    }
    if let Some(path) = text("s3.ca-certificate") {
        for certificate in certificates(path)? {
            client = client.with_root_certificate(certificate);
        }
    }
    if let Some(region) = text("s3.region").or(text("client.region")) {
        builder = builder.with_region(region);
    }
    match (text("s3.access-key-id"), text("s3.secret-access-key")) {
        (Some(id), Some(secret)) => builder = builder.with_access_key_id(id).with_secret_access_key(secret),
        (None, None) => {}
        _ => return Err(Error::new(Code::ConfigurationInvalid, "s3.access-key-id and s3.secret-access-key belong together: one of them is missing")),
    }
    if let Some(token) = text("s3.session-token") {
        builder = builder.with_token(token);
    }
    if let Some(renewed) = renewed {
        builder = builder.with_credentials(Arc::clone(renewed) as AwsCredentialProvider);
    }
    if let Some(path_style) = flag("s3.path-style-access")? {
        builder = builder.with_virtual_hosted_style_request(!path_style);
    }
    if let Some(unsigned) = flag("s3.unsigned-payload")? {
        builder = builder.with_unsigned_payload(unsigned);
    }
    builder = match text("s3.checksum") {
        None | Some("none") => builder,
        Some("sha256") => builder.with_checksum_algorithm(Checksum::SHA256),
        Some(other) => return Err(invalid("s3.checksum", other, "sha256 or none")),
    };
    builder = encrypted(builder, text("s3.sse.type"), text("s3.sse.key"))?;
    let retry = RetryConfig {
        backoff: BackoffConfig { max_backoff: RETRY_WAIT_MAX, ..BackoffConfig::default() },
        max_retries: RETRIES_MAX,
        retry_timeout: millis("s3.retry.timeout-ms", RETRY_TIMEOUT)?,
    };
    let store = builder.with_client_options(client).with_retry(retry).build();
    let store = store.map_err(|error| Error::new(Code::ConfigurationInvalid, format!("bucket '{bucket}' cannot be reached: {error}")))?;
    Ok(Arc::new(store))
}

/// What the server encrypts objects with (Java: `S3FileIOProperties.SSE_TYPE`).
fn encrypted(builder: AmazonS3Builder, kind: Option<&str>, key: Option<&str>) -> Result<AmazonS3Builder> {
    match (kind, key) {
        (None | Some("none"), _) => Ok(builder),
        (Some("s3"), _) => {
            // The key has no other name outside of the crate.
            let key = AmazonS3ConfigKey::from_str("aws_server_side_encryption").map_err(|error| Error::internal(error.to_string()))?;
            Ok(builder.with_config(key, "AES256"))
        }
        (Some("kms"), Some(key)) => Ok(builder.with_sse_kms_encryption(key)),
        (Some("dsse_kms"), Some(key)) => Ok(builder.with_dsse_kms_encryption(key)),
        (Some("custom"), Some(key)) => Ok(builder.with_ssec_encryption(key)),
        (Some(kind @ ("kms" | "dsse_kms" | "custom")), None) => {
            Err(Error::new(Code::ConfigurationInvalid, format!("s3.sse.type is '{kind}', and s3.sse.key, which it needs, is missing")))
        }
        (Some(other), _) => Err(invalid("s3.sse.type", other, "none, s3, kms, dsse_kms or custom")),
    }
}

fn certificates(path: &str) -> Result<Vec<Certificate>> {
    let unusable = |why: String| Error::new(Code::ConfigurationInvalid, format!("s3.ca-certificate: '{path}' cannot be used: {why}"));
    let pem = std::fs::read(path).map_err(|error| unusable(error.to_string()))?;
    let certificates = Certificate::from_pem_bundle(&pem).map_err(|error| unusable(error.to_string()))?;
    if certificates.is_empty() {
        return Err(unusable(String::from("there is no certificate in it")));
    }
    Ok(certificates)
}

fn invalid(name: &str, value: &str, wanted: &str) -> Error {
    Error::new(Code::ConfigurationInvalid, format!("property '{name}' is '{value}', which is not {wanted}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn built(properties: &[(&str, &str)]) -> Result<Arc<dyn ObjectStore>> {
        build("b", &properties.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(), None)
    }

    #[test]
    fn properties_are_checked() {
        let keys = [("s3.access-key-id", "a"), ("s3.secret-access-key", "b"), ("s3.endpoint", "http://127.0.0.1:9")];
        assert!(built(&keys).is_ok());
        for wrong in [
            [("s3.access-key-id", "a")].as_slice(),
            &[("s3.path-style-access", "maybe")],
            &[("s3.sse.type", "kms")],
            &[("s3.sse.type", "rot13")],
            &[("s3.checksum", "crc7")],
            &[("s3.ca-certificate", "/nowhere.pem")],
            &[("s3.connect-timeout-ms", "soon")],
        ] {
            assert_eq!(built(wrong).unwrap_err().code(), Code::ConfigurationInvalid, "{wrong:?}");
        }
    }
}
