//! Lines `address:port`, with optional words `weight=N`, `backup`, `drain`; `#` begins a comment.

use std::net::SocketAddr;

use super::node_format::ip_address;
use super::server_set::{ServerSet, SkippedEntry};
use crate::engine::server::{Server, Weight};

/// Reads the whole file; a wrong line is skipped and told with its number.
pub(super) fn read(data: &[u8]) -> ServerSet {
    let (mut servers, mut skipped) = (Vec::new(), Vec::new());
    for (index, line) in data.split(|byte| *byte == b'\n').enumerate() {
        match read_line(line) {
            Ok(Some(server)) => servers.push(server),
            Ok(None) => {}
            Err(reason) => skipped.push(SkippedEntry::new(&format!("line {}", index + 1), &reason)),
        }
    }
    ServerSet::new(servers, skipped)
}

fn read_line(line: &[u8]) -> Result<Option<Server>, String> {
    let text = str::from_utf8(line).map_err(|_| "the line is no UTF-8 text".to_owned())?;
    let text = text.split_once('#').map_or(text, |(before, _comment)| before);
    let mut words = text.split_ascii_whitespace();
    let Some(address) = words.next() else { return Ok(None) };
    let mut server = read_address(address)?;
    for word in words {
        match word {
            "backup" => server.backup = true,
            "drain" => server.drain = true,
            other => {
                let Some(weight) = other.strip_prefix("weight=") else {
                    return Err(format!("'{other}' is unknown; weight=N, backup and drain are taken"));
                };
                let weight = weight.parse().ok().and_then(Weight::new);
                server.weight = Some(weight.ok_or_else(|| format!("'{other}': a weight is 0 to 256"))?);
            }
        }
    }
    Ok(Some(server))
}

fn read_address(text: &str) -> Result<Server, String> {
    let no_port = || format!("'{text}' has no port; write address:port, or [address]:port for IPv6");
    let (host, port) = text.rsplit_once(':').ok_or_else(no_port)?;
    let bare = match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']').ok_or_else(no_port)?,
        None if host.contains(':') => {
            return Err(format!("'{text}': write an IPv6 address as [address]:port"));
        }
        None => host,
    };
    let ip = ip_address(bare).map_err(|reason| format!("'{bare}': {reason}"))?;
    let port = port.parse().map_err(|_| format!("port '{port}' must be 1 to 65535"))?;
    Server::at(SocketAddr::new(ip, port)).ok_or_else(|| "port '0' must be 1 to 65535".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_lines_are_taken_and_wrong_ones_told_by_number() {
        let set = read(
            b"# servers\n1.2.3.4:80\r\n\n  [::1]:81 weight=5 backup # spare\n1.2.3.4\nweb.example:80\n1.2.3.4:99999\n::1:80\n\
              1.2.3.5:80 drain\n1.2.3.6:80 check\n1.2.3.7:80 weight=300\n\xff\n1.2.3.8:0\n:80\n[::1:80",
        );
        let names: Vec<_> = set.servers().iter().map(|server| server.name().to_string()).collect();
        assert_eq!(names, ["1.2.3.4:80", "1.2.3.5:80", "::1:81"]);
        let flags: Vec<_> =
            set.servers().iter().map(|s| (s.weight.map(Weight::get), s.backup, s.drain)).collect();
        assert_eq!(flags, [(None, false, false), (None, false, true), (Some(5), true, false)]);
        let mut lines: Vec<_> = set.skipped().iter().map(|skipped| skipped.entry.as_str()).collect();
        lines.sort_by_key(|line| line.len());
        assert_eq!(
            lines,
            [
                "line 5", "line 6", "line 7", "line 8", "line 10", "line 11", "line 12", "line 13",
                "line 14", "line 15"
            ]
        );
        let reason = |line: &str| &set.skipped().iter().find(|skipped| skipped.entry == line).unwrap().reason;
        assert!(reason("line 6").contains("not resolved yet"));
        assert!(reason("line 10").contains("'check' is unknown"));
    }
}
