//! Hosts and ports as texts.

use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU16;

use super::error::EntryError;
use crate::engine::host_name::HostName;
use crate::engine::listed_server::{Host, ListedServer};

/// The plain server at `port` of `host`, an IPv4 or IPv6 address or a host name.
///
/// # Errors
/// What is wrong with the host.
pub fn server_at(host: &str, port: NonZeroU16) -> Result<ListedServer, &'static str> {
    let no_address = "that is no address to connect to; write the server's own";
    let host = match host.parse::<IpAddr>() {
        Ok(ip) => Host::at(ip).ok_or(no_address)?,
        Err(_) => HostName::parse(host)
            .map(Host::Name)
            .map_err(|_| "it must be an IPv4 or IPv6 address or a host name")?,
    };
    Ok(ListedServer::new(host, port))
}

/// Splits `host:port`, `[IPv6]:port`, or a host alone (an IPv6 address then needs no brackets).
///
/// # Errors
/// When the port is none, or it can't be told where the host ends.
pub fn host_and_port(text: &str) -> Result<(&str, Option<NonZeroU16>), EntryError> {
    let wrong = |reason| EntryError::address(text, reason);
    let number = |port: &str| {
        let digits = port.bytes().all(|byte| byte.is_ascii_digit());
        port.parse().ok().filter(|_| digits).ok_or_else(|| wrong("the port must be 1 to 65535")).map(Some)
    };
    if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').ok_or_else(|| wrong("']' is missing"))?;
        return match rest.strip_prefix(':') {
            Some(port) => Ok((host, number(port)?)),
            None if rest.is_empty() => Ok((host, None)),
            None => Err(wrong("only :port may follow ']'")),
        };
    }
    if text.parse::<Ipv6Addr>().is_ok() {
        return Ok((text, None));
    }
    match text.split_once(':') {
        None => Ok((text, None)),
        Some((_, port)) if port.contains(':') => Err(wrong("write an IPv6 address as [address]:port")),
        Some((host, port)) => Ok((host, number(port)?)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_ports_are_told_apart() {
        for (text, host, port) in [
            ("1.2.3.4:80", "1.2.3.4", 80),
            ("1.2.3.4", "1.2.3.4", 0),
            ("[::1]:80", "::1", 80),
            ("[::1]", "::1", 0),
            ("::1", "::1", 0),
            ("fe80::1:80", "fe80::1:80", 0),
            ("web.example:80", "web.example", 80),
            ("web", "web", 0),
        ] {
            assert_eq!(host_and_port(text), Ok((host, NonZeroU16::new(port))), "{text}");
        }
        for bad in ["1.2.3.4:0", "1.2.3.4:99999", "1.2.3.4:+8", "1.2.3.4:", "[::1", "[::1]80", "a:b:c"] {
            assert!(host_and_port(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_addresses_that_can_be_connected_to_and_names_are_hosts() {
        let at = |host| server_at(host, NonZeroU16::MIN);
        for (host, name) in
            [("1.2.3.4", "1.2.3.4:1"), ("::ffff:1.2.3.4", "1.2.3.4:1"), ("Web.Example.", "web.example:1")]
        {
            assert_eq!(at(host).unwrap().name().as_str(), name);
        }
        for bad in ["", "0.0.0.0", "::", "1.2.3.4\nx", "1.2.3", "[::1]", "ä", "web example", "-web"] {
            assert!(at(bad).is_err(), "{bad:?}");
        }
    }
}
