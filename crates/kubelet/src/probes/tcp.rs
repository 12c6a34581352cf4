//! Probing by opening a TCP connection.

use std::time::Duration;

use tokio::net::TcpStream;

use super::Answer;

pub(super) async fn ask(host: &str, port: u16, timeout: Duration) -> Answer {
    match tokio::time::timeout(timeout, TcpStream::connect((host, port))).await {
        Ok(Ok(_)) => Answer::Good,
        Ok(Err(error)) => Answer::Bad(dial_error(host, port, &error)),
        Err(_) => Answer::Bad(format!("dial tcp {}: i/o timeout", address(host, port))),
    }
}

/// `host:port`, with brackets around an IPv6 address.
pub(super) fn address(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// A failed connection in the words that people search for.
pub(super) fn dial_error(host: &str, port: u16, error: &std::io::Error) -> String {
    let why = match error.kind() {
        std::io::ErrorKind::ConnectionRefused => "connect: connection refused".to_owned(),
        std::io::ErrorKind::HostUnreachable => "connect: no route to host".to_owned(),
        std::io::ErrorKind::NetworkUnreachable => "connect: network is unreachable".to_owned(),
        _ => format!("connect: {error}"),
    };
    format!("dial tcp {}: {why}", address(host, port))
}
