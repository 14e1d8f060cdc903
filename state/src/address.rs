//! The address at which other members reach this one.

use std::net::{IpAddr, SocketAddr};

use tokio::net::UdpSocket;
use tracing::warn;

/// The host by which others reach what listens at `bound`: its own, or, when it listens everywhere, the one from which `peer` (`host:port`) is reached.
pub async fn advertised_host(bound: SocketAddr, peer: &str) -> String {
    if !bound.ip().is_unspecified() {
        return bound.ip().to_string();
    }
    let own_address = async {
        let any: SocketAddr = if bound.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0; 8], 0).into() };
        let socket = UdpSocket::bind(any).await?;
        socket.connect(peer).await?;
        socket.local_addr()
    };
    match own_address.await {
        Ok(address) => address.ip().to_string(),
        Err(error) => {
            warn!(peer, %error, "no address to be reached at was found; using the loopback address");
            IpAddr::from([127, 0, 0, 1]).to_string()
        }
    }
}
