//! Finds out why no server took a TLS connection: the client crate doesn't tell.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConnection, Error};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::error::ZookeeperError;
use crate::tls::{self, Tls};

/// How long one server may take to answer a probe.
const PROBE_TIMEOUT: Duration = Duration::from_secs(3);
/// A server answers this or refuses it; either way a refused certificate shows before (administrator's guide, "The Four
/// Letter Words").
const QUESTION: &[u8] = b"ruok";

/// Refuses hosts that no certificate can name; the client crate would panic on them.
pub(super) fn check_names(hosts: &str) -> Result<(), ZookeeperError> {
    hosts.split(',').try_for_each(|server| name_of(server).map(drop))
}

/// Why the first server that accepts connections accepts no TLS, if that is so.
pub(super) async fn trouble(hosts: &str, tls: &Tls) -> Option<ZookeeperError> {
    for server in hosts.split(',') {
        let Ok(name) = name_of(server) else { continue };
        let failure = match timeout(PROBE_TIMEOUT, probe(server, name, tls)).await {
            Ok(Err(Failure::Tls(error))) => explain(&error, tls),
            Ok(Err(Failure::Closed)) => {
                "the server ends the connection before it is private; check that this port is its secureClientPort".to_owned()
            }
            Ok(Ok(()) | Err(Failure::Network)) | Err(_) => continue,
        };
        return Some(ZookeeperError::Tls { server: server.to_owned(), reason: failure });
    }
    None
}

enum Failure {
    /// No connection, or one that broke.
    Network,
    /// The server closed it in the midst of the handshake.
    Closed,
    Tls(Error),
}

impl From<io::Error> for Failure {
    fn from(_: io::Error) -> Self {
        Self::Network
    }
}

async fn probe(server: &str, name: ServerName<'static>, tls: &Tls) -> Result<(), Failure> {
    let mut stream = TcpStream::connect(server).await?;
    let mut connection = ClientConnection::new(Arc::clone(&tls.config), name).map_err(Failure::Tls)?;
    let mut asked = false;
    let mut buffer = [0; 4096];
    loop {
        if !connection.is_handshaking() && !asked {
            io::Write::write_all(&mut connection.writer(), QUESTION)?;
            asked = true;
        }
        let mut records = Vec::new();
        while connection.wants_write() {
            connection.write_tls(&mut records)?;
        }
        stream.write_all(&records).await?;
        // A reset is how some servers say that they speak no TLS.
        let count = stream.read(&mut buffer).await.unwrap_or(0);
        let mut received = buffer.get(..count).unwrap_or_default();
        if received.is_empty() {
            return if connection.is_handshaking() { Err(Failure::Closed) } else { Ok(()) };
        }
        while !received.is_empty() {
            connection.read_tls(&mut received)?;
            let state = match connection.process_new_packets() {
                Ok(state) => state,
                Err(error) => {
                    // The alert tells the server why, for its own log; one that is gone needs none.
                    let mut alert = Vec::new();
                    connection.write_tls(&mut alert)?;
                    drop(stream.write_all(&alert).await);
                    return Err(Failure::Tls(error));
                }
            };
            if state.plaintext_bytes_to_read() > 0 {
                return Ok(());
            }
        }
    }
}

fn explain(error: &Error, tls: &Tls) -> String {
    if let Some(told) = tls::explain(error, &tls.files) {
        return told;
    }
    if let Error::AlertReceived(alert) = error {
        return format!("the server refuses the connection ({alert:?}); check its ssl settings");
    }
    format!("{error}; check that this port is the server's secureClientPort")
}

/// The host of `host:port` or `[address]:port`, as a certificate names it.
fn name_of(server: &str) -> Result<ServerName<'static>, ZookeeperError> {
    let host = server.rsplit_once(':').map_or(server, |(host, _port)| host);
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    ServerName::try_from(host.to_owned()).map_err(|_| ZookeeperError::TlsName(host.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_that_no_certificate_can_name_are_refused() {
        check_names("zk1:2181,10.0.0.1:2182,[::1]:2181,zk_1.example:2181").unwrap();
        for bad in ["zk1:2181,-zk:2181", "zk..example:2181", "1.2.3.400:1"] {
            assert!(matches!(check_names(bad), Err(ZookeeperError::TlsName(_))), "{bad}");
        }
    }
}
