//! The section `admin`.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use super::model::AdminConfig;
use super::reader::{Reader, Value};
use super::value;

/// Where nobody but this host can ask.
const DEFAULT: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 7070));

/// Reads the section; without it there is no HTTP.
pub(super) fn read(reader: &mut Reader<'_>, value: Option<Value<'_>>) -> Option<AdminConfig> {
    let value = value?;
    let mistakes = reader.errors.len();
    let mut section = reader.open(Some(value));
    if reader.errors.len() > mistakes {
        return None;
    }
    let listen = section.get("listen");
    let token_file = section.get("token_file");
    reader.close(&section);
    let listen = match listen {
        Some(listen) => reader.read(Some(listen), address),
        None => Some(DEFAULT),
    };
    Some(AdminConfig { listen: listen?, token_file: reader.read(token_file, value::absolute_path) })
}

fn address(text: &str) -> Result<SocketAddr, String> {
    let port_alone = text.parse().ok().map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    port_alone.or_else(|| text.parse().ok()).filter(|address: &SocketAddr| address.port() != 0).ok_or_else(|| {
        "is no address to listen on; write an IP address and a port, such as 127.0.0.1:7070 or [::1]:7070, or a port alone for this host"
            .to_owned()
    })
}
