//! Ports: taking them, answering on them, letting go of them.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use nunatak_coordinator::query::Coordinator;
use nunatak_core::error::Code;
use nunatak_core::{Error, Result};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{flight_sql, http, limits};

/// Where the front doors listen. Port 0 means any free one.
#[derive(Clone)]
pub struct Options {
    /// Flight SQL (gRPC).
    pub flight: SocketAddr,
    /// HTTP.
    pub http: SocketAddr,
    /// The tokens of those who may use the catalogs by the Iceberg REST protocol; everyone may if there are none.
    pub rest_tokens: Vec<String>,
    /// A query of a client that asks for its results page by page is cancelled when nobody has asked in this time.
    pub client_timeout: Duration,
}

/// Front doors whose ports are taken, and that answer once they are served.
pub struct Bound {
    flight: TcpListener,
    flight_address: SocketAddr,
    http: TcpListener,
    http_address: SocketAddr,
    rest_tokens: Vec<String>,
    client_timeout: Duration,
}

/// Without the tokens.
impl fmt::Debug for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bound").field("flight", &self.flight_address).field("http", &self.http_address).finish_non_exhaustive()
    }
}

/// Takes all ports, so that one in use is an error before anything has started.
pub async fn bind(options: Options) -> Result<Bound> {
    let (flight, flight_address) = listen(options.flight, "flight").await?;
    let (http, http_address) = listen(options.http, "http").await?;
    Ok(Bound { flight, flight_address, http, http_address, rest_tokens: options.rest_tokens, client_timeout: options.client_timeout })
}

impl Bound {
    /// The address of Flight SQL, with the port that was taken.
    pub fn flight_address(&self) -> SocketAddr {
        self.flight_address
    }

    /// The address of HTTP, with the port that was taken.
    pub fn http_address(&self) -> SocketAddr {
        self.http_address
    }

    /// Answers until `shutdown` is cancelled, then takes no more calls and gives those under way a time to end.
    pub async fn serve(self, coordinator: Coordinator, shutdown: CancellationToken) -> Result<()> {
        let options = http::Options { rest_tokens: self.rest_tokens, client_timeout: self.client_timeout };
        let flight = flight_sql::serve(self.flight, coordinator.clone(), shutdown.clone());
        let http = http::serve(self.http, coordinator, options, shutdown.clone());
        let http = async {
            http.await;
            Ok(())
        };
        let doors = async { tokio::try_join!(flight, http).map(|_| ()) };
        let out_of_time = async {
            shutdown.cancelled().await;
            tokio::time::sleep(limits::DRAIN_MAX).await;
        };
        tokio::select! {
            ended = doors => ended,
            () = out_of_time => {
                tracing::warn!(waited = ?limits::DRAIN_MAX, "calls were still under way at shutdown");
                Ok(())
            }
        }
    }
}

/// Takes a port. `door` is the name of the flag that sets the address, too.
///
/// Errors: `CONFIGURATION_INVALID` if the address is in use, or not ours.
pub async fn listen(address: SocketAddr, door: &str) -> Result<(TcpListener, SocketAddr)> {
    let refused = |error: io::Error| {
        Error::new(Code::ConfigurationInvalid, format!("cannot listen on {address} ({door}): {}", reason(&error)))
            .with_hint(format!("choose another address with --{door}"))
            .with_source(error)
    };
    let listener = TcpListener::bind(address).await.map_err(refused)?;
    let taken = listener.local_addr().map_err(refused)?;
    Ok((listener, taken))
}

fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => "address already in use".to_owned(),
        io::ErrorKind::AddrNotAvailable => "this machine does not have that address".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_in_use_is_one_clear_error() -> Result<()> {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let options = |flight| Options { flight, http: any, rest_tokens: Vec::new(), client_timeout: Duration::from_secs(60) };
        let first = bind(options(any)).await?;
        let taken = first.flight_address();
        let second = bind(options(taken)).await;
        let text = second.err().map(|error| error.to_string());
        let wanted =
            format!("CONFIGURATION_INVALID: cannot listen on {taken} (flight): address already in use (choose another address with --flight)");
        assert_eq!(text, Some(wanted));
        Ok(())
    }
}
