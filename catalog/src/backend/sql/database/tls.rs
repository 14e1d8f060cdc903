//! TLS to a PostgreSQL server, with the meanings that libpq gives to `sslmode`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use nunatak_core::{Code, Error, Result, Retry};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio_postgres_rustls::MakeRustlsConnect;

/// The value of `sslrootcert` that means the certificates of the system.
const SYSTEM: &str = "system";

/// What is looked at of a server's certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Check {
    /// Nothing: what is sent is encrypted, for whoever answers.
    #[default]
    Nothing,
    /// Who has signed it.
    Authority,
    /// Who has signed it, and that it is that of the host.
    Host,
}

/// How a connection is encrypted.
#[derive(Clone, Debug, Default)]
pub(super) struct Tls {
    pub(super) check: Check,
    /// The authorities that are trusted; those of the system if none.
    pub(super) root_certificate: Option<PathBuf>,
    /// Our own certificate.
    pub(super) certificate: Option<PathBuf>,
    /// Its key.
    pub(super) key: Option<PathBuf>,
}

impl Tls {
    /// Reads the files, and gives what makes connections.
    ///
    /// Errors: `CONFIGURATION_INVALID` for files that cannot be used.
    pub(super) fn connector(&self) -> Result<MakeRustlsConnect> {
        let provider = Arc::new(ring::default_provider());
        // As libpq's: who names an authority wants it to be asked.
        let check = if self.check == Check::Nothing && self.root_certificate.is_some() { Check::Authority } else { self.check };
        let authority = match check {
            Check::Nothing => None,
            Check::Authority | Check::Host => {
                let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(self.roots()?), Arc::clone(&provider)).build();
                Some(verifier.map_err(|error| invalid("the certificates that are trusted cannot be used").with_source(error))?)
            }
        };
        let verifier = Verifier { authority, names: check == Check::Host, provider: Arc::clone(&provider) };
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.map_err(|error| Error::internal("TLS cannot be set up").with_source(error))?;
        let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier));
        let config = match (&self.certificate, &self.key) {
            (None, None) => builder.with_no_client_auth(),
            (Some(certificate), Some(key)) => {
                let chain = certificates(certificate)?;
                let read = PrivateKeyDer::from_pem_file(key).map_err(|error| unreadable(key, "a private key", error))?;
                let built = builder.with_client_auth_cert(chain, read);
                built
                    .map_err(|error| invalid(format!("'{}' and '{}' do not go together", certificate.display(), key.display())).with_source(error))?
            }
            _ => return Err(invalid("sslcert and sslkey are named together or not at all")),
        };
        Ok(MakeRustlsConnect::new(config))
    }

    fn roots(&self) -> Result<RootCertStore> {
        let mut roots = RootCertStore::empty();
        match &self.root_certificate {
            Some(path) if path.as_os_str() != SYSTEM => {
                for certificate in certificates(path)? {
                    roots.add(certificate).map_err(|error| unreadable(path, "a certificate", error))?;
                }
            }
            _ => {
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
                if roots.is_empty() {
                    return Err(invalid("the system has no certificates that are trusted")
                        .with_hint("name a file of them with sslrootcert")
                        .with_retry(Retry::Query));
                }
            }
        }
        Ok(roots)
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let read = CertificateDer::pem_file_iter(path).and_then(|certificates| certificates.collect::<Result<Vec<_>, _>>());
    let certificates = read.map_err(|error| unreadable(path, "a file of certificates (PEM)", error))?;
    match certificates.is_empty() {
        true => Err(invalid(format!("'{}' has no certificates", path.display())).with_retry(Retry::Query)),
        false => Ok(certificates),
    }
}

fn unreadable(path: &Path, what: &str, error: impl std::error::Error + Send + Sync + 'static) -> Error {
    invalid(format!("'{}' cannot be read as {what}: {error}", path.display())).with_retry(Retry::Query).with_source(error)
}

fn invalid(what: impl Into<String>) -> Error {
    Error::new(Code::ConfigurationInvalid, what)
}

/// Looks at certificates as far as the configuration wants it.
#[derive(Debug)]
struct Verifier {
    authority: Option<Arc<WebPkiServerVerifier>>,
    names: bool,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(authority) = &self.authority else { return Ok(ServerCertVerified::assertion()) };
        match authority.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            // The name is looked at last: all else is right.
            Err(rustls::Error::InvalidCertificate(CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }))
                if !self.names =>
            {
                Ok(ServerCertVerified::assertion())
            }
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
