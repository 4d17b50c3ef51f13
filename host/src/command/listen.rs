//! Opens the sockets that the server listens on.

use std::io::ErrorKind;
use std::net::SocketAddr;

use tokio::net::TcpListener;

/// Listens on an address that was given with `option`.
///
/// # Errors
/// Returns a message with the cause and the remedy.
pub async fn listen(address: SocketAddr, option: &str) -> Result<TcpListener, String> {
    TcpListener::bind(address).await.map_err(|error| match error.kind() {
        ErrorKind::AddrInUse => format!(
            "another program listens on {address} already; stop it, or name another port with {option} (0 is any free one)"
        ),
        _ => format!("{address} cannot be listened on: {error}; name another address with {option}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_busy_port_is_named_with_what_to_do() {
        let first = listen(([127, 0, 0, 1], 0).into(), "--port").await.unwrap();
        let address = first.local_addr().unwrap();
        let refused = listen(address, "--port").await.unwrap_err();
        assert!(refused.contains(&address.to_string()) && refused.contains("--port"), "{refused}");
    }
}
