//! Who may ask.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use axum::http::header::{AUTHORIZATION, HOST};
use axum::http::{HeaderMap, StatusCode};
use subtle::ConstantTimeEq as _;

use crate::engine::secret::Secret;

/// Who may read.
#[derive(Clone, Debug)]
pub enum Access {
    /// Everybody who can connect.
    Anyone,
    /// Who sends this as `Authorization: Bearer` (RFC 6750).
    Bearer(Secret),
    /// Nobody: the token can't be known just now.
    Nobody,
}

/// Why somebody may not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Denied {
    /// A name that leads to this machine, but is none of its own.
    Host,
    /// No token, or another one.
    Token,
}

impl Denied {
    pub(super) fn status(self) -> StatusCode {
        match self {
            Self::Host => StatusCode::MISDIRECTED_REQUEST,
            Self::Token => StatusCode::UNAUTHORIZED,
        }
    }
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Host => "ask by the address or as localhost: any other name may be a trick of a web page",
            Self::Token => "the token of admin.token_file is needed: Authorization: Bearer TOKEN",
        })
    }
}

/// A web page can let its own name lead to 127.0.0.1, and then read there in its visitor's browser (DNS rebinding). It can't do so with
/// an address or with `localhost`.
pub(super) fn check_host(listen: SocketAddr, headers: &HeaderMap) -> Result<(), Denied> {
    let is_local = match listen.ip() {
        IpAddr::V4(ip) => ip.is_loopback(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.to_ipv4_mapped().is_some_and(|ip| ip.is_loopback()),
    };
    // Browsers always send it.
    let Some(host) = headers.get(HOST).filter(|_| is_local) else { return Ok(()) };
    let host = host.to_str().map_err(|_no_text| Denied::Host)?;
    let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _port)) => address,
        None => host.rsplit_once(':').map_or(host, |(name, _port)| name),
    };
    let is_own = name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok();
    if is_own { Ok(()) } else { Err(Denied::Host) }
}

impl Access {
    pub(super) fn check(&self, headers: &HeaderMap) -> Result<(), Denied> {
        let token = match self {
            Self::Anyone => return Ok(()),
            Self::Nobody => return Err(Denied::Token),
            Self::Bearer(token) => token,
        };
        let sent = headers.get(AUTHORIZATION).map_or(&b""[..], |value| value.as_bytes());
        let given = match sent.split_at_checked(b"Bearer ".len()) {
            Some((scheme, given)) if scheme.eq_ignore_ascii_case(b"Bearer ") => given.trim_ascii(),
            _ => return Err(Denied::Token),
        };
        // How long it takes tells nothing but the length.
        if bool::from(given.ct_eq(token.expose().as_bytes())) { Ok(()) } else { Err(Denied::Token) }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderName;

    use super::*;

    fn headers(name: HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, value.parse().unwrap())])
    }

    #[test]
    fn on_localhost_only_its_own_names_are_taken() {
        let local: SocketAddr = "127.0.0.1:7070".parse().unwrap();
        for good in ["localhost", "LOCALHOST:7070", "127.0.0.1:7070", "127.0.0.1", "[::1]:7070", "[::1]"] {
            assert_eq!(check_host(local, &headers(HOST, good)), Ok(()), "{good}");
        }
        for bad in
            ["evil.example:7070", "evil.example", "localhost.evil.example", "127.0.0.1.evil.example", ""]
        {
            assert_eq!(check_host(local, &headers(HOST, bad)), Err(Denied::Host), "{bad}");
        }
        assert_eq!(check_host(local, &HeaderMap::new()), Ok(()));
        let everywhere = "0.0.0.0:7070".parse().unwrap();
        assert_eq!(check_host(everywhere, &headers(HOST, "proxy1.example")), Ok(()));
    }

    #[test]
    fn a_token_is_needed_where_one_is_set() {
        let token = Access::Bearer(Secret::new("s3cret"));
        assert_eq!(token.check(&headers(AUTHORIZATION, "Bearer s3cret")), Ok(()));
        assert_eq!(token.check(&headers(AUTHORIZATION, "bearer s3cret")), Ok(()));
        for bad in ["Bearer s3cre", "Bearer s3crets", "Bearer ", "s3cret", "Basic s3cret"] {
            assert_eq!(token.check(&headers(AUTHORIZATION, bad)), Err(Denied::Token), "{bad}");
        }
        assert_eq!(token.check(&HeaderMap::new()), Err(Denied::Token));
        assert_eq!(Access::Anyone.check(&HeaderMap::new()), Ok(()));
        assert_eq!(Access::Nobody.check(&headers(AUTHORIZATION, "Bearer ")), Err(Denied::Token));
    }
}
