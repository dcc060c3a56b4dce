//! A `bind` line among `listen_options`: an address that the service listens on, besides those of `port` and `bind`
//! (configuration manual, 4.2 "bind").

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::listen_address::ListenAddress;
use super::option_line::{LineEnd, OptionLine};
use super::service::BindAddress;

/// One address with the options of its own.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OwnBind {
    /// Where the service listens.
    pub address: ListenAddress,
    /// What follows it.
    pub options: Option<LineEnd>,
}

/// Why a `bind` line can't be taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BindLineError {
    /// Nothing follows `bind`.
    #[error("'bind' names no address; write 'bind ADDRESS:PORT'")]
    Empty,
    /// Something that `ProxyMgr` can't open.
    #[error(
        "'{0}' can't be bound; write ADDRESS:PORT with one port and an IP address, '*' or none, or unix@/path, without quotes"
    )]
    Address(String),
}

/// The addresses of a `bind` line; `None` when `line` is none.
///
/// # Errors
/// When one of its addresses can't be opened.
pub fn own_binds(line: &OptionLine) -> Option<Result<Vec<OwnBind>, BindLineError>> {
    (line.keyword() == "bind").then(|| read(line))
}

fn read(line: &OptionLine) -> Result<Vec<OwnBind>, BindLineError> {
    let addresses = line.words().nth(1).ok_or(BindLineError::Empty)?;
    let after = line.as_str().find(addresses).map(|at| at + addresses.len());
    let options = after.and_then(|at| line.as_str().get(at..)).unwrap_or_default();
    let options = LineEnd::parse(options).ok();
    addresses
        .split(',')
        .map(|text| {
            let address = bound_address(text).ok_or_else(|| BindLineError::Address(text.to_owned()))?;
            Ok(OwnBind { address, options: options.clone() })
        })
        .collect()
}

/// An address as `bind` takes it, if it is one that `ProxyMgr` can open.
pub fn bound_address(text: &str) -> Option<ListenAddress> {
    if text.starts_with('/') || text.starts_with("unix@") {
        let path = text.strip_prefix("unix@").unwrap_or(text);
        return match BindAddress::parse(&format!("unix@{path}")) {
            Ok(BindAddress::Unix(path)) => Some(ListenAddress::Unix(path)),
            Ok(BindAddress::Ip(_)) | Err(_) => None,
        };
    }
    let (family, rest) = match text.split_once('@') {
        Some(("ipv4", rest)) => (Some(true), rest),
        Some(("ipv6", rest)) => (Some(false), rest),
        Some(_) => return None,
        None => (None, text),
    };
    let (host, port) = rest.rsplit_once(':')?;
    let port = port.parse().ok()?;
    let ip = match (host, family) {
        ("" | "*", Some(false)) => IpAddr::from(Ipv6Addr::UNSPECIFIED),
        ("" | "*", Some(true) | None) => IpAddr::from(Ipv4Addr::UNSPECIFIED),
        (host, _) => {
            host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host).parse().ok()?
        }
    };
    (family.is_none_or(|v4| v4 == ip.is_ipv4())).then(|| ListenAddress::tcp(ip, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_line(text: &str) -> Option<Result<Vec<String>, BindLineError>> {
        let binds = own_binds(&OptionLine::parse(text).unwrap())?;
        let text = |bind: OwnBind| match bind.options {
            Some(options) => format!("{} {options}", bind.address),
            None => bind.address.to_string(),
        };
        Some(binds.map(|binds| binds.into_iter().map(text).collect()))
    }

    #[test]
    fn the_addresses_and_options_of_a_bind_line_are_read() {
        for (line, addresses) in [
            ("bind :81", &["0.0.0.0:81"][..]),
            ("bind *:81,[::1]:82", &["0.0.0.0:81", "[::1]:82"]),
            ("bind :::83", &["[::]:83"]),
            ("bind [::ffff:10.0.0.1]:85", &["10.0.0.1:85"]),
            ("bind ipv6@:84,ipv4@10.0.0.1:84", &["[::]:84", "10.0.0.1:84"]),
            ("bind /run/a.sock,unix@/run/b.sock", &["unix@/run/a.sock", "unix@/run/b.sock"]),
        ] {
            for options in ["", " ssl crt  /p.pem"] {
                let expected = addresses.iter().map(|address| format!("{address}{options}")).collect();
                assert_eq!(read_line(&format!("{line}{options}")), Some(Ok(expected)), "{line}");
            }
        }
    }

    #[test]
    fn what_can_not_be_opened_is_refused_and_other_lines_are_let_be() {
        for line in [
            "bind",
            "'bind' :0",
            "bi\\x6ed 80",
            "\\x62ind 80",
            "bind#",
            "bind host.example:80",
            "bind :80-90",
            "bind \":80\"",
            "bind fd@3",
            "bind abns@x",
            "bind ipv4@[::1]:80",
            "bind :80,",
        ] {
            assert!(read_line(line).unwrap().is_err(), "{line}");
        }
        for line in ["mode http", "bindings x", "server bind 1.2.3.4:80"] {
            assert_eq!(read_line(line), None, "{line}");
        }
    }
}
