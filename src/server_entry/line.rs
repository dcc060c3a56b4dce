//! `host:port`, with optional words `weight=N`, `backup`, `drain`.

use super::error::EntryError;
use super::host::{host_and_port, server_at};
use crate::engine::listed_server::ListedServer;
use crate::engine::printable::printable;
use crate::engine::server::Weight;

/// Reads one server.
///
/// # Errors
/// What is wrong with the address or with a word.
pub fn read_line(text: &str) -> Result<ListedServer, EntryError> {
    let mut words = text.split_ascii_whitespace();
    let address = words.next().unwrap_or_default();
    let (host, port) = host_and_port(address)?;
    let no_port = "it has no port; write address:port, or [address]:port for IPv6";
    let port = port.ok_or_else(|| EntryError::address(address, no_port))?;
    let mut server = server_at(host, port).map_err(|reason| EntryError::address(host, reason))?;
    for word in words {
        match word {
            "backup" => server.backup = true,
            "drain" => server.drain = true,
            other => {
                let weight =
                    other.strip_prefix("weight=").ok_or_else(|| EntryError::Word(printable(other)))?;
                let digits = weight.bytes().all(|byte| byte.is_ascii_digit());
                let weight = weight.parse().ok().filter(|_| digits).and_then(Weight::new);
                server.weight = Some(weight.ok_or_else(|| EntryError::Weight(printable(other)))?);
            }
        }
    }
    Ok(server)
}
