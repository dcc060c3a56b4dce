//! An address that `ProxyMgr` listens on and `HAProxy` inherits.

use std::fmt;
use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;

use super::service::{BindAddress, UnixPath};

/// Where one listen socket listens.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ListenAddress {
    /// An IP address and a port.
    Tcp(SocketAddr),
    /// The path of a unix socket.
    Unix(UnixPath),
}

impl ListenAddress {
    /// `bind` with the service's port, which a unix socket doesn't use.
    pub fn new(bind: &BindAddress, port: NonZeroU16) -> Self {
        match bind {
            BindAddress::Ip(ip) => Self::tcp(*ip, port),
            BindAddress::Unix(path) => Self::Unix(path.clone()),
        }
    }

    /// `ip` and `port`. `::ffff:10.0.0.1` is `10.0.0.1`: the kernel takes the same connections at both.
    pub fn tcp(ip: IpAddr, port: NonZeroU16) -> Self {
        Self::Tcp(SocketAddr::new(ip.to_canonical(), port.get()))
    }

    /// Reads what [`ListenAddress`] is displayed as; `None` when the text is something else.
    pub fn parse(text: &str) -> Option<Self> {
        if let Ok(address) = text.parse() {
            return Some(Self::Tcp(address));
        }
        match BindAddress::parse(text) {
            Ok(BindAddress::Unix(path)) => Some(Self::Unix(path)),
            Ok(BindAddress::Ip(_)) | Err(_) => None,
        }
    }

    /// The environment variable that tells `HAProxy` which inherited file this is.
    ///
    /// Different addresses have different names: letters and digits stay, `.` becomes `__`, any other byte `_xHH`.
    /// haproxy.cfg names it with the address as default (configuration manual, 2.3), and so works without `ProxyMgr` too:
    /// `bind "${PROXYMGR_FD_0__0__0__0_x3A8080-0.0.0.0:8080}"`.
    pub fn env_name(&self) -> String {
        let mut name = "PROXYMGR_FD_".to_owned();
        for byte in self.to_string().bytes() {
            match byte {
                b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => name.push(char::from(byte)),
                b'.' => name.push_str("__"),
                other => {
                    let _infallible = write!(name, "_x{other:02X}");
                }
            }
        }
        name
    }
}

impl fmt::Display for ListenAddress {
    /// As `HAProxy` writes it: `0.0.0.0:8080`, `[::]:8080`, `unix@/path`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix@{}", path.as_path().display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn address(bind: &str) -> ListenAddress {
        ListenAddress::new(&BindAddress::parse(bind).unwrap(), NonZeroU16::new(8080).unwrap())
    }

    #[test]
    fn addresses_read_as_haproxy_writes_them() {
        assert_eq!(address("*").to_string(), "0.0.0.0:8080");
        assert_eq!(address("[::]").to_string(), "[::]:8080");
        assert_eq!(address("::ffff:10.0.0.1"), address("10.0.0.1"));
        assert_eq!(address("unix@/run/a.sock").to_string(), "unix@/run/a.sock");
    }

    #[test]
    fn names_hold_only_what_haproxy_takes_in_a_variable() {
        assert_eq!(address("*").env_name(), "PROXYMGR_FD_0__0__0__0_x3A8080");
        assert_eq!(address("unix@/a-b_c").env_name(), "PROXYMGR_FD_unix_x40_x2Fa_x2Db_x5Fc");
    }

    fn any_address() -> impl Strategy<Value = ListenAddress> {
        prop_oneof![
            any::<SocketAddr>().prop_map(|address| match address {
                // A scope has no place in a configured address.
                SocketAddr::V6(v6) => ListenAddress::Tcp(SocketAddr::new((*v6.ip()).into(), v6.port())),
                v4 @ SocketAddr::V4(_) => ListenAddress::Tcp(v4),
            }),
            "unix@/[a-zA-Z0-9/._:@+-]{0,12}".prop_map(|text| address(&text)),
            "unix@/[_x.2F]{0,6}"
                .prop_filter("allowed", |t| BindAddress::parse(t).is_ok())
                .prop_map(|t| address(&t)),
        ]
    }

    /// The inverse of `env_name`'s encoding.
    fn decode(name: &str) -> String {
        let mut rest = name.strip_prefix("PROXYMGR_FD_").unwrap();
        let mut text = String::new();
        while let Some(first) = rest.chars().next() {
            let (decoded, length) = match (first, rest.get(1..2)) {
                ('_', Some("_")) => ('.', 2),
                ('_', Some("x")) => (char::from(u8::from_str_radix(&rest[2..4], 16).unwrap()), 4),
                (plain, _) => (plain, 1),
            };
            text.push(decoded);
            rest = &rest[length..];
        }
        text
    }

    #[test]
    fn only_whole_addresses_are_read() {
        for text in ["", "80", "0.0.0.0", "*:80", "unix@a", "unix@/a b"] {
            assert_eq!(ListenAddress::parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn two_addresses_never_share_a_name(address in any_address()) {
            let name = address.env_name();
            prop_assert!(name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'));
            prop_assert_eq!(decode(&name), address.to_string());
            prop_assert_eq!(ListenAddress::parse(&address.to_string()), Some(address));
        }
    }
}
