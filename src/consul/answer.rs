//! What came back: the headers that matter, and a body of bounded size.

use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::{HeaderMap, Response, StatusCode};

use super::error::ConsulError;

/// More than 10,000 instances with all that is told of them.
pub(super) const MAX_BYTES: usize = 32 * 1024 * 1024;

/// An answer that can be used.
#[derive(Debug)]
pub(super) struct Reply {
    /// `X-Consul-Index`.
    pub(super) index: Option<u64>,
    /// `X-Consul-LastContact`: how far behind its leader the server may be that answered.
    pub(super) last_contact: Duration,
    /// `None`: there is nothing of that name (404).
    pub(super) body: Option<Vec<u8>>,
}

impl Reply {
    /// Reads all of it.
    pub(super) async fn read(server: &str, response: Response<Incoming>) -> Result<Self, ConsulError> {
        let (head, body) = response.into_parts();
        let number = |name| header(&head.headers, name)?.parse::<u64>().ok();
        let index = number("x-consul-index");
        let last_contact = Duration::from_millis(number("x-consul-lastcontact").unwrap_or_default());
        let leader = header(&head.headers, "x-consul-knownleader") != Some("false");
        let nothing_shown = header(&head.headers, "x-consul-results-filtered-by-acls") == Some("true");
        let body = read_body(server, body).await?;
        match head.status {
            // Without a leader a server may have lost what it knew.
            StatusCode::OK | StatusCode::NOT_FOUND if !leader => {
                Err(ConsulError::NoLeader { server: server.to_owned() })
            }
            StatusCode::OK if nothing_shown && matches!(body.trim_ascii(), b"[]" | b"{}") => {
                let text = "the token may read nothing of this".to_owned();
                Err(ConsulError::Refused { server: server.to_owned(), status: 403, text })
            }
            StatusCode::OK => Ok(Self { index, last_contact, body: Some(body) }),
            // With an index it is about the data; without, about the path.
            StatusCode::NOT_FOUND if index.is_some() => Ok(Self { index, last_contact, body: None }),
            status => Err(ConsulError::of_status(server, status.as_u16(), &body)),
        }
    }
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

async fn read_body(server: &str, mut body: Incoming) -> Result<Vec<u8>, ConsulError> {
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| ConsulError::Http {
            server: server.to_owned(),
            reason: format!("the answer broke off: {error}"),
        })?;
        let Ok(data) = frame.into_data() else { continue };
        if bytes.len() + data.len() > MAX_BYTES {
            return Err(ConsulError::TooLarge(MAX_BYTES));
        }
        bytes.extend_from_slice(&data);
    }
    Ok(bytes)
}
