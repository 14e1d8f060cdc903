//! Buckets of S3, and of servers that speak its protocol.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::Arc;

use nunatak_core::config::without_password;
use nunatak_core::{Code, Error, Result, Retry};
use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey, AwsCredentialProvider, Checksum};
use object_store::client::ReqwestConnector;
use object_store::{Certificate, ClientOptions, RetryConfig};
use url::Url;

use super::assumed_role::{AssumedRole, Role};
use super::client::{Properties, check_header, unusable};
use super::remote_signer::{RemoteSigner, SigningConnector};
use super::s3_answers::CheckingConnector;
use super::signer::S3Signer;
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

/// Where STS signs if nobody says otherwise, as object_store has it for buckets.
const REGION: &str = "us-east-1";

/// The store of one bucket, with `renewed` credentials if there are some.
///
/// Errors: `CONFIGURATION_INVALID` for a property that has no meaning.
pub(super) fn build(bucket: &str, properties: &BTreeMap<String, String>, renewed: Option<&Arc<RenewedCredentials>>) -> Result<Arc<AmazonS3>> {
    let builder = configured(bucket, properties, renewed)?;
    let retry_timeout = Properties::new(properties, "s3").retry()?.retry_timeout;
    let builder = match RemoteSigner::new(properties)? {
        Some(signer) => {
            builder.with_skip_signature(true).with_http_connector(CheckingConnector { inner: SigningConnector::new(signer), retry_timeout })
        }
        None => builder.with_http_connector(CheckingConnector { inner: ReqwestConnector::default(), retry_timeout }),
    };
    Ok(Arc::new(built(bucket, builder)?))
}

/// What signs requests to a bucket for others, with the keys that the properties have.
///
/// Errors: `CONFIGURATION_INVALID`, `NOT_SUPPORTED` where addresses can be read in two ways.
pub(super) fn signer(bucket: &str, properties: &BTreeMap<String, String>, renewed: Option<&Arc<RenewedCredentials>>) -> Result<S3Signer> {
    let builder = configured(bucket, properties, renewed)?;
    let value = |key: AmazonS3ConfigKey| builder.get_config_value(&key);
    let region = value(AmazonS3ConfigKey::Region).unwrap_or_else(|| String::from(REGION));
    let endpoint = value(AmazonS3ConfigKey::Endpoint);
    if endpoint.is_some() && value(AmazonS3ConfigKey::VirtualHostedStyleRequest).is_some_and(|virtual_hosted| virtual_hosted == "true") {
        return Err(Error::not_supported(format!("requests to bucket '{bucket}' cannot be signed for clients: it is a part of the endpoint's name"))
            .with_hint("set s3.path-style-access to true"));
    }
    let parsed = |endpoint: String| {
        Url::parse(&endpoint).map_err(|error| {
            Error::new(Code::ConfigurationInvalid, format!("s3.endpoint '{}' is not an address: {error}", without_password(&endpoint)))
        })
    };
    let endpoint = endpoint.map(parsed).transpose()?;
    let keys = Arc::clone(built(bucket, builder)?.credentials());
    Ok(S3Signer::new(keys, region, bucket, endpoint))
}

fn built(bucket: &str, builder: AmazonS3Builder) -> Result<AmazonS3> {
    builder.build().map_err(|error| unusable(&format!("bucket '{bucket}'"), error))
}

/// What the properties say of a bucket.
fn configured(bucket: &str, properties: &BTreeMap<String, String>, renewed: Option<&Arc<RenewedCredentials>>) -> Result<AmazonS3Builder> {
    let role = if renewed.is_some() { None } else { Role::of(properties)? };
    let region = properties.get("client.region").map(String::as_str).or(role.as_ref().and_then(|role| role.region));
    let properties = Properties::new(properties, "s3");
    let mut builder = AmazonS3Builder::from_env().with_bucket_name(bucket);
    let mut client = properties.client()?;
    if let Some(endpoint) = properties.text("endpoint") {
        let shown = without_password(endpoint);
        if shown != endpoint {
            // They would be of no use, and be shown wherever the address is.
            return Err(Error::new(Code::ConfigurationInvalid, format!("s3.endpoint '{shown}' has a password in it, which S3 does not know"))
                .with_hint("name keys by s3.access-key-id and s3.secret-access-key"));
        }
        builder = builder.with_endpoint(endpoint);
        client = client.with_allow_http(endpoint.starts_with("http://"));
    }
    if let Some(path) = properties.text("ca-certificate") {
        for certificate in certificates(path)? {
            client = client.with_root_certificate(certificate);
        }
    }
    if let Some(region) = properties.text("region").or(region) {
        builder = builder.with_region(region);
    }
    properties.check_headers(&["access-key-id", "session-token", "region", "sse.key"])?;
    if let Some(region) = region {
        check_header("the region", region)?;
    }
    match (properties.text("access-key-id"), properties.text("secret-access-key")) {
        (Some(id), Some(secret)) => builder = builder.with_access_key_id(id).with_secret_access_key(secret),
        (None, None) => {}
        _ => return Err(Error::new(Code::ConfigurationInvalid, "s3.access-key-id and s3.secret-access-key belong together: one of them is missing")),
    }
    if let Some(token) = properties.text("session-token") {
        builder = builder.with_token(token);
    }
    if let Some(renewed) = renewed {
        builder = builder.with_credentials(Arc::clone(renewed) as AwsCredentialProvider);
    }
    let retry = properties.retry()?;
    if let Some(role) = role {
        let credentials = assumed(&role, &builder, properties, &client, &retry)?;
        builder = builder.with_credentials(credentials as AwsCredentialProvider);
    }
    if let Some(path_style) = properties.flag("path-style-access")? {
        builder = builder.with_virtual_hosted_style_request(!path_style);
    }
    if let Some(unsigned) = properties.flag("unsigned-payload")? {
        builder = builder.with_unsigned_payload(unsigned);
    }
    builder = match properties.text("checksum") {
        None | Some("none") => builder,
        Some("sha256") => builder.with_checksum_algorithm(Checksum::SHA256),
        Some(other) => return Err(properties.invalid("checksum", other, "sha256 or none")),
    };
    builder = encrypted(builder, properties)?;
    Ok(builder.with_client_options(client).with_retry(retry))
}

/// The credentials of a role, which is assumed by whoever `builder` is told that we are.
fn assumed(
    role: &Role<'_>,
    builder: &AmazonS3Builder,
    properties: Properties<'_>,
    client: &ClientOptions,
    retry: &RetryConfig,
) -> Result<Arc<AssumedRole>> {
    let signed = role.region.map(str::to_owned).or_else(|| builder.get_config_value(&AmazonS3ConfigKey::Region));
    let region = signed.unwrap_or_else(|| String::from(REGION));
    let sts = role.sts(builder.get_config_value(&AmazonS3ConfigKey::StsEndpoint), properties.text("endpoint"), &region)?;
    let store = builder.clone().with_client_options(client.clone()).with_retry(retry.clone()).build();
    let keys = Arc::clone(store.map_err(|error| unusable("a bucket", error))?.credentials());
    AssumedRole::new(role, sts, region, keys, client, retry.retry_timeout)
}

/// What the server encrypts objects with (Java: `S3FileIOProperties.SSE_TYPE`).
fn encrypted(builder: AmazonS3Builder, properties: Properties<'_>) -> Result<AmazonS3Builder> {
    match (properties.text("sse.type"), properties.text("sse.key")) {
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
        (Some(other), _) => Err(properties.invalid("sse.type", other, "none, s3, kms, dsse_kms or custom")),
    }
}

fn certificates(path: &str) -> Result<Vec<Certificate>> {
    let unusable =
        |why: String| Error::new(Code::ConfigurationInvalid, format!("s3.ca-certificate: '{path}' cannot be used: {why}")).with_retry(Retry::Query);
    let pem = std::fs::read(path).map_err(|error| unusable(error.to_string()))?;
    let certificates = Certificate::from_pem_bundle(&pem).map_err(|error| unusable(error.to_string()))?;
    if certificates.is_empty() {
        return Err(unusable(String::from("there is no certificate in it")));
    }
    Ok(certificates)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn built(properties: &[(&str, &str)]) -> Result<Arc<AmazonS3>> {
        build("b", &properties.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(), None)
    }

    #[test]
    fn properties_are_checked() {
        let keys = [("s3.access-key-id", "a"), ("s3.secret-access-key", "b"), ("s3.endpoint", "http://127.0.0.1:9")];
        assert!(built(&keys).is_ok());
        for wrong in [
            [("s3.access-key-id", "a")].as_slice(),
            &[("s3.access-key-id", "a\n"), ("s3.secret-access-key", "b")],
            &[("s3.path-style-access", "maybe")],
            &[("s3.sse.type", "kms")],
            &[("client.assume-role.external-id", "x")],
            &[("client.assume-role.arn", "r"), ("client.assume-role.endpoint", "nowhere")],
            &[("s3.sse.type", "rot13")],
            &[("s3.checksum", "crc7")],
            &[("s3.ca-certificate", "/nowhere.pem")],
            &[("s3.connect-timeout-ms", "soon")],
            &[("s3.endpoint", "http://me:s3cr3t@127.0.0.1:9")],
        ] {
            let error = built(wrong).unwrap_err();
            assert_eq!(error.code(), Code::ConfigurationInvalid, "{wrong:?}");
            assert!(!error.user_message().contains("s3cr3t"), "{error}");
        }
    }
}
