//! The section `admin`.

use std::net::SocketAddr;

use super::model::AdminConfig;
use super::reader::{Reader, Value};
use super::value;

/// Reads the section; without it there is no HTTP.
pub(super) fn read(reader: &mut Reader<'_>, value: Option<Value<'_>>) -> Option<AdminConfig> {
    let value = value?;
    let mistakes = reader.errors.len();
    let mut section = reader.open(Some(value));
    if reader.errors.len() > mistakes {
        return None;
    }
    let listen = section.get("listen");
    if listen.is_none() {
        reader.missing(&section, "listen", "write an address and a port, such as listen: 127.0.0.1:7070");
    }
    let token_file = section.get("token_file");
    reader.close(&section);
    let (listen, token_file) = (reader.read(listen, address), reader.read(token_file, value::absolute_path));
    Some(AdminConfig { listen: listen?, token_file })
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().ok().filter(|address: &SocketAddr| address.port() != 0).ok_or_else(|| {
        "is no address to listen on; write an IP address and a port, such as 127.0.0.1:7070 or [::1]:7070"
            .to_owned()
    })
}
