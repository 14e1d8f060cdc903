//! A socket to a metastore, with TLS or without.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nunatak_core::{Code, Error, Result, Retry};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::connection::Server;
use super::unusable::{Unusable, Why};
use super::waiting::{LOOK, Waiting};

/// The property that names certificates that are trusted.
pub(super) const CA_CERTIFICATE: &str = "hive.ca-certificate";

/// A socket. What reads and writes blocks its thread.
pub(super) enum Socket {
    /// As it is.
    Plain(Patient),
    /// With TLS on it.
    Tls(Box<StreamOwned<ClientConnection, Patient>>),
}

/// A stream that is waited for so long at a time, and no longer than anybody waits for the call.
pub(super) struct Patient {
    stream: TcpStream,
    wait: Duration,
    waiting: Waiting,
}

impl Patient {
    /// Does `work`, which a time limit of the stream interrupts, as long as it is waited for. `limit` sets that.
    fn patiently<T>(
        &mut self,
        limit: fn(&TcpStream, Option<Duration>) -> io::Result<()>,
        mut work: impl FnMut(&mut TcpStream) -> io::Result<T>,
    ) -> io::Result<T> {
        let begun = Instant::now();
        loop {
            let left = self.wait.saturating_sub(begun.elapsed());
            limit(&self.stream, Some(self.waiting.at_most(left.min(LOOK))?))?;
            match work(&mut self.stream) {
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) && begun.elapsed() < self.wait => {}
                outcome => return outcome,
            }
        }
    }
}

impl Read for Patient {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.patiently(TcpStream::set_read_timeout, |stream| stream.read(buffer))
    }
}

impl Write for Patient {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.patiently(TcpStream::set_write_timeout, |stream| stream.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

impl Socket {
    /// Connects to a server. Until [`Self::wait`] nothing is waited for longer than `wait`, as for a connection.
    pub(super) fn open(server: &Server, wait: Duration, waiting: &Waiting, tls: Option<&Arc<ClientConfig>>) -> std::result::Result<Self, Unusable> {
        let mut stream = connect(server, wait, waiting).map_err(|error| Unusable::new(Why::Away, error.to_string()))?;
        let Some(tls) = tls else { return Ok(Self::Plain(stream)) };
        let name =
            ServerName::try_from(server.host.clone()).map_err(|_| Unusable::new(Why::Untrusted, "has a name that stands in no certificate"))?;
        let mut connection = ClientConnection::new(Arc::clone(tls), name).map_err(|error| Unusable::new(Why::Strange, error.to_string()))?;
        while connection.is_handshaking() {
            connection.complete_io(&mut stream).map_err(|error| without_tls(&error))?;
        }
        Ok(Self::Tls(Box::new(StreamOwned::new(connection, stream))))
    }

    /// From now on so long is waited for what is read or written, as long as somebody waits.
    pub(super) fn wait(&mut self, wait: Duration, waiting: &Waiting) {
        let stream = match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => stream.get_mut(),
        };
        (stream.wait, stream.waiting) = (wait, waiting.clone());
    }

    /// Whether it looks as if the other side still had it: nothing has come, and it has not ended.
    pub(super) fn is_quiet(&mut self) -> bool {
        if self.tcp().set_nonblocking(true).is_err() {
            return false;
        }
        let is_quiet = match self {
            Self::Plain(stream) => stream.stream.peek(&mut [0]).is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock),
            Self::Tls(stream) => has_no_data(stream),
        };
        self.tcp().set_nonblocking(false).is_ok() && is_quiet
    }

    fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(stream) => &stream.stream,
            Self::Tls(stream) => &stream.get_ref().stream,
        }
    }
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}

fn connect(server: &Server, wait: Duration, waiting: &Waiting) -> io::Result<Patient> {
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "its name has no address");
    for address in (server.host.as_str(), server.port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, waiting.at_most(wait)?) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                return Ok(Patient { stream, wait, waiting: waiting.clone() });
            }
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

/// What comes between answers, keys for later connections above all, is TLS's own.
fn has_no_data(stream: &mut StreamOwned<ClientConnection, Patient>) -> bool {
    loop {
        match stream.conn.read_tls(&mut stream.sock.stream) {
            Ok(0) => return false,
            Ok(_) => match stream.conn.process_new_packets() {
                Ok(state) if state.plaintext_bytes_to_read() == 0 && !state.peer_has_closed() => {}
                _ => return false,
            },
            Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
        }
    }
}

/// Why TLS was not agreed upon.
fn without_tls(error: &io::Error) -> Unusable {
    match error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>()) {
        Some(error) if matches!(error, rustls::Error::InvalidCertificate(_)) => Unusable::new(Why::Untrusted, format!("is not trusted: {error}")),
        Some(error) => Unusable::new(Why::Strange, format!("does not speak TLS as we do: {error}")),
        None => Unusable::of_socket(error, "TLS"),
    }
}

/// How TLS is spoken: with servers whose certificates are signed by one that the system trusts, or by one in the file.
///
/// Errors: `CONFIGURATION_INVALID` for a file that cannot be used, and if there is nobody to trust.
pub(super) fn tls(ca_certificate: &str) -> Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if !ca_certificate.is_empty() {
        let unusable = |why: String| invalid(format!("{CA_CERTIFICATE}: '{ca_certificate}' cannot be used: {why}")).with_retry(Retry::Query);
        let read = CertificateDer::pem_file_iter(ca_certificate).and_then(|certificates| certificates.collect::<std::result::Result<Vec<_>, _>>());
        let certificates = read.map_err(|error| unusable(error.to_string()))?;
        if certificates.is_empty() {
            return Err(unusable(String::from("there is no certificate in it")));
        }
        for certificate in certificates {
            roots.add(certificate).map_err(|error| unusable(error.to_string()))?;
        }
    }
    if roots.is_empty() {
        return Err(invalid("the system has no certificates that are trusted")
            .with_hint(format!("name a file of them with {CA_CERTIFICATE}"))
            .with_retry(Retry::Query));
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider())).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| Error::internal("TLS cannot be set up").with_source(error))?;
    Ok(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
}

fn invalid(what: impl Into<String>) -> Error {
    Error::new(Code::ConfigurationInvalid, what)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_server_without_tls_is_found_out() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Server { host: String::from("127.0.0.1"), port: listener.local_addr().unwrap().port() };
        let answers = std::thread::spawn(move || {
            let mut plain = listener.accept().unwrap().0;
            plain.write_all(b"\x80\x01\x00\x02 no TLS, but something else").unwrap();
            drop(listener.accept().unwrap());
        });
        let tls = tls(&format!("{}/src/backend/hive/mod.rs", env!("CARGO_MANIFEST_DIR"))).unwrap_err();
        assert!(tls.code() == Code::ConfigurationInvalid && tls.message().contains("there is no certificate in it"), "{tls}");
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider())).with_safe_default_protocol_versions().unwrap();
        let config = Arc::new(config.with_root_certificates(RootCertStore::empty()).with_no_client_auth());
        for _ in 0..2 {
            let Err(unusable) = Socket::open(&server, Duration::from_secs(5), &Waiting::default(), Some(&config)) else { panic!("it speaks no TLS") };
            assert_eq!(unusable.why, Why::Strange, "{}", unusable.what);
        }
        answers.join().unwrap();
    }
}
