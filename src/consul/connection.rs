//! One connection to an agent, plain or private.

use std::error::Error as _;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Empty;
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::error::ConsulError;
use crate::engine::consul::{ConsulServer, ConsulTls};
use crate::engine::error_text::with_causes;
use crate::tls;

/// How long a connection may take to be there.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Sends one request after the other. Dropping it closes the connection.
pub(super) type Connection = SendRequest<Empty<Bytes>>;

type Driving = Pin<Box<dyn Future<Output = hyper::Result<()>> + Send>>;

/// Connects; what drives the connection runs as a task until it ends.
pub(super) async fn open(server: &ConsulServer, tls: Option<&ConsulTls>) -> Result<Connection, ConsulError> {
    let connecting = connect(server, tls);
    let late = |_elapsed| ConsulError::NoAnswer { server: server.to_string(), within: TIMEOUT };
    let (sender, driving) = timeout(TIMEOUT, connecting).await.map_err(late)??;
    // How it ends, its requests tell.
    tokio::spawn(async move { drop(driving.await) });
    Ok(sender)
}

async fn connect(
    server: &ConsulServer,
    tls: Option<&ConsulTls>,
) -> Result<(Connection, Driving), ConsulError> {
    let told = server.to_string();
    let no_connection =
        |source| ConsulError::Connect { server: server.to_string(), source: Arc::new(source) };
    let stream = TcpStream::connect((server.host.as_str(), server.port)).await.map_err(no_connection)?;
    stream.set_nodelay(true).map_err(no_connection)?;
    let no_http = |error: hyper::Error| broken(&told, &error, tls);
    let Some(private) = tls else {
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(no_http)?;
        return Ok((sender, Box::pin(connection)));
    };
    let files = tls::read(&private.files)?;
    let name = private.server_name.as_ref().unwrap_or(&server.host);
    let name = ServerName::try_from(name.clone()).map_err(|_| ConsulError::TlsName(name.clone()))?;
    let stream = TlsConnector::from(Arc::clone(&files.config)).connect(name, stream).await;
    let stream = stream.map_err(|error| not_private(&told, &error, private))?;
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(no_http)?;
    Ok((sender, Box::pin(connection)))
}

/// Why a connection broke. A server that refuses our certificate says so only after the handshake (RFC 8446, 4.4.2.4).
pub(super) fn broken(server: &str, error: &hyper::Error, tls: Option<&ConsulTls>) -> ConsulError {
    let inner = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    match (inner.filter(|inner| refused(inner).is_some()), tls) {
        (Some(inner), Some(private)) => not_private(server, inner, private),
        (_, _) => ConsulError::Http { server: server.to_owned(), reason: with_causes(error) },
    }
}

fn refused(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

fn not_private(server: &str, error: &io::Error, private: &ConsulTls) -> ConsulError {
    let explained = refused(error).and_then(|error| tls::explain(error, &private.files));
    let reason =
        explained.unwrap_or_else(|| format!("{error}; check that this port is the agent's for HTTPS"));
    ConsulError::Tls { server: server.to_owned(), reason }
}
