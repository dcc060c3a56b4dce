//! One value's text, checked: each function says what is wrong as the end of a sentence that begins with the value.

use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use crate::engine::option_line::OptionLineError;
use crate::engine::service::{BindAddress, BindAddressError};
use crate::engine::value_line::{ValueLine, ValueLineError};

/// A whole number of at least 1.
pub(super) fn count(text: &str) -> Result<NonZeroUsize, String> {
    text.parse::<u32>()
        .ok()
        .and_then(|number| usize::try_from(number).ok())
        .and_then(NonZeroUsize::new)
        .ok_or_else(|| format!("is not allowed; write a whole number from 1 to {}", u32::MAX))
}

/// `true` or `false`.
pub(super) fn boolean(text: &str) -> Result<bool, String> {
    match text {
        "true" | "True" | "TRUE" => Ok(true),
        "false" | "False" | "FALSE" => Ok(false),
        _ => Err("is not allowed; write true or false".to_owned()),
    }
}

/// One of a few words.
pub(super) fn word<T: Copy>(text: &str, words: &[(&str, T)]) -> Result<T, String> {
    words.iter().find_map(|(word, value)| (*word == text).then_some(*value)).ok_or_else(|| {
        let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        let last = words.len().saturating_sub(1);
        let (most, last) = words.split_at(last);
        format!("is not allowed; write {} or {}", most.join(", "), last.concat())
    })
}

/// An address of this machine, without a port.
pub(super) fn bind_address(text: &str) -> Result<IpAddr, String> {
    match BindAddress::parse(text) {
        Ok(BindAddress::Ip(ip)) => Ok(ip),
        Ok(BindAddress::Unix(_)) | Err(BindAddressError::Unknown(_) | BindAddressError::UnixPath(_)) => {
            Err("is no IP address; write one without a port, such as 0.0.0.0, [::] or *".to_owned())
        }
    }
}

/// An absolute path of printable characters.
pub(super) fn absolute_path(text: &str) -> Result<PathBuf, String> {
    if text.chars().any(char::is_control) {
        return Err("holds a control character; write a plain path".to_owned());
    }
    if !text.starts_with('/') {
        return Err("is no absolute path; begin it with /".to_owned());
    }
    Ok(PathBuf::from(text))
}

/// An absolute path that fits a unix socket and can stand in haproxy.cfg.
pub(super) fn socket_path(text: &str) -> Result<PathBuf, String> {
    let path = absolute_path(text)?;
    match BindAddress::parse(&format!("unix@{text}")) {
        Ok(_) => Ok(path),
        Err(_) => {
            Err("can't be a socket's path; write one shorter than 100 bytes of letters, digits and /._:@+-"
                .to_owned())
        }
    }
}

/// A directory for sockets: short, so that their paths fit.
pub(super) fn socket_directory(text: &str) -> Result<PathBuf, String> {
    if text.len() >= 70 {
        return Err(
            "is too long for the paths of the sockets in it; write one shorter than 70 bytes".to_owned()
        );
    }
    socket_path(text)
}

/// A program: its name, to be found on PATH, or its absolute path.
pub(super) fn program(text: &str) -> Result<PathBuf, String> {
    if text.contains('/') || text.is_empty() {
        return absolute_path(text).map_err(|_| {
            "is no program; write a name to be found on PATH, such as haproxy, or an absolute path".to_owned()
        });
    }
    absolute_path(&format!("/{text}")).map(|_| PathBuf::from(text))
}

/// A line of a section, maybe with places for values of a registry.
pub(super) fn value_line(text: &str) -> Result<ValueLine, String> {
    ValueLine::parse(text).map_err(|error| match error {
        ValueLineError::Place(told) => told,
        ValueLineError::Line(error) => wrong_line(&error),
    })
}

fn wrong_line(error: &OptionLineError) -> String {
    match error {
        // The one error that quotes any text.
        OptionLineError::Preprocessor(_) => {
            "can't stand here: HAProxy's preprocessor takes lines that begin with a dot".to_owned()
        }
        error @ (OptionLineError::Empty
        | OptionLineError::ControlCharacter(_)
        | OptionLineError::SectionKeyword(_)
        | OptionLineError::TooManyWords(_)
        | OptionLineError::TooLong(_)) => format!("can't stand here: {error}"),
    }
}

/// `host:port,host:port/chroot`, blanks dropped. The port may be left out: 2181.
pub(super) fn ensemble(text: &str) -> Result<String, String> {
    const FORM: &str = "write host:port,host:port, and a chroot such as /prod after the last if there is one";
    let (hosts, chroot) = text.split_at(text.find('/').unwrap_or(text.len()));
    if !chroot.is_empty() && node_path(chroot).is_err() {
        return Err(format!("has a bad chroot; {FORM}"));
    }
    let hosts: Vec<&str> = hosts.split(',').map(str::trim).collect();
    hosts
        .iter()
        .all(|host| is_host_and_port(host))
        .then(|| format!("{}{chroot}", hosts.join(",")))
        .ok_or_else(|| format!("is no list of ZooKeeper servers; {FORM}"))
}

fn is_host_and_port(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, "")) => (host, None),
        Some((host, rest)) => (host, rest.strip_prefix(':').or(Some(""))),
        None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    let in_name = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    let host_is_good = if text.starts_with('[') {
        host.parse::<std::net::Ipv6Addr>().is_ok()
    } else {
        !host.is_empty() && host.bytes().all(in_name)
    };
    let all_digits = |port: &str| port.bytes().all(|b| b.is_ascii_digit());
    host_is_good
        && port.is_none_or(|port| all_digits(port) && port.parse::<u16>().is_ok_and(|port| port != 0))
}

/// A node's path. Source: `ZooKeeper` Programmer's Guide, "The `ZooKeeper` Data Model".
pub(super) fn node_path(text: &str) -> Result<String, String> {
    let good_part = |part: &str| !matches!(part, "" | "." | "..") && !part.chars().any(char::is_control);
    let inside = text.strip_prefix('/');
    if text == "/" || inside.is_some_and(|inside| inside.split('/').all(good_part)) {
        return Ok(text.to_owned());
    }
    Err("is no path of a ZooKeeper node; write one such as /service_config, without a / at its end"
        .to_owned())
}
