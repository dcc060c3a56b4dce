//! How requests reach a daemon: a connection for each, bounded in what it may bring.
//!
//! bollard's own connections take the whole of any answer into memory, and trust the system's authorities beside those that
//! the configuration names.

use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bollard::BollardRequest;
use bollard::errors::Error;
use hyper::Response;
use hyper::body::Incoming;
use hyper::client::conn::http1::handshake;
use hyper::header::{HOST, HeaderValue};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

use crate::engine::docker_spec::DockerHost;
use crate::engine::listed_server::Host;
use crate::engine::tls_files::TlsFiles;
use crate::panics::caught;
use crate::tls;

/// The longest answer that is read, in bytes. A stream of events that is longer begins anew.
pub(super) const MAX_ANSWER: u64 = 16 * 1024 * 1024;
/// So long a silent peer may be gone without being noticed.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// The answer was longer than [`MAX_ANSWER`].
#[derive(Debug, thiserror::Error)]
#[error("the answer is longer than {} MiB", MAX_ANSWER / (1024 * 1024))]
pub(super) struct TooLong;

/// Where requests go.
#[derive(Clone, Debug)]
pub(super) enum Transport {
    Unix(PathBuf),
    Tls { host: Host, port: u16, files: TlsFiles },
}

trait Connection: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Connection for T {}

impl Transport {
    pub(super) fn to(host: &DockerHost, files: Option<&TlsFiles>) -> Option<Self> {
        match host {
            DockerHost::Unix(path) => Some(Self::Unix(path.clone())),
            DockerHost::Tcp { host, port } => {
                Some(Self::Tls { host: host.clone(), port: port.get(), files: files?.clone() })
            }
        }
    }

    /// Sends `request` on a connection of its own, which ends with the answer.
    pub(super) async fn send(self, mut request: BollardRequest) -> Result<Response<Incoming>, Error> {
        let authority = match &self {
            Self::Unix(_) => "docker".to_owned(),
            Self::Tls { host, port, .. } => format!("{}:{port}", text(host)),
        };
        let authority = HeaderValue::from_str(&authority).unwrap_or(HeaderValue::from_static("docker"));
        request.headers_mut().insert(HOST, authority);
        let inner = self.connect().await?;
        let stream = Bounded { inner, left: MAX_ANSWER, transport: self };
        let (mut sender, connection) = handshake(TokioIo::new(stream)).await?;
        // Ends with the answer's body, or when that is dropped. Its errors are the answer's too.
        tokio::spawn(caught("connection to Docker", connection));
        Ok(sender.send_request(request).await?)
    }

    async fn connect(&self) -> io::Result<Box<dyn Connection>> {
        match self {
            Self::Unix(path) => Ok(Box::new(UnixStream::connect(path).await?)),
            Self::Tls { host, port, files } => {
                let wrong = |error: String| io::Error::new(io::ErrorKind::InvalidInput, error);
                let name = ServerName::try_from(text(host)).map_err(|error| wrong(error.to_string()))?;
                // Read anew, so that renewed certificates count.
                let tls = tls::read(files).map_err(|error| wrong(error.to_string()))?;
                let stream = TcpStream::connect((text(host), *port)).await?;
                SockRef::from(&stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE))?;
                let connecting = TlsConnector::from(Arc::clone(&tls.config)).connect(name, stream);
                Ok(Box::new(connecting.await.map_err(|error| self.explained(error))?))
            }
        }
    }
}

impl Transport {
    /// The same error with what to do about it, where a certificate is the reason.
    fn explained(&self, error: io::Error) -> io::Error {
        let Self::Tls { files, .. } = self else { return error };
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        match inner.and_then(|inner| tls::explain(inner, files)) {
            Some(told) => io::Error::new(error.kind(), told),
            None => error,
        }
    }
}

fn text(host: &Host) -> String {
    match host {
        Host::Address(ip) => ip.to_string(),
        Host::Name(name) => name.to_string(),
    }
}

/// A connection that brings so much and no more.
struct Bounded {
    inner: Box<dyn Connection>,
    left: u64,
    transport: Transport,
}

impl AsyncRead for Bounded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        // That our own certificate is refused shows only here with TLS 1.3.
        let read = ready!(Pin::new(&mut self.inner).poll_read(context, buffer));
        read.map_err(|error| self.transport.explained(error))?;
        let came = u64::try_from(buffer.filled().len() - before).unwrap_or(u64::MAX);
        match self.left.checked_sub(came) {
            Some(left) => {
                self.left = left;
                Poll::Ready(Ok(()))
            }
            None => Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, TooLong))),
        }
    }
}

impl AsyncWrite for Bounded {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}
