//! Single requests to a service, and who answers them.

use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::deadline::eventually;

const TIMEOUT: Duration = Duration::from_secs(5);
const DEADLINE: Duration = Duration::from_secs(20);

/// Asks the service on `port` once, on a new connection; the answering backend's name.
pub fn ask(port: u16) -> Result<String, String> {
    let answer = exchange(port).map_err(|error| error.to_string())?;
    match answer.split_once("\r\n\r\n") {
        Some((head, body)) if head.starts_with("HTTP/1.1 200") => Ok(body.to_owned()),
        _ => Err(answer.lines().next().unwrap_or("no answer").to_owned()),
    }
}

fn exchange(port: u16) -> io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// Everyone who answers, asked so often that none is missed though other clients' requests stand between these: ten times
/// for each server of `expected` and one that shouldn't be there.
pub fn answering(port: u16, expected: usize) -> Result<BTreeSet<String>, String> {
    (0..(expected + 1) * 10).map(|_| ask(port)).collect()
}

/// Waits until exactly the backends `names` answer on `port`.
#[track_caller]
pub fn wait_for_backends(port: u16, names: &[&str]) {
    let wanted: BTreeSet<String> = names.iter().map(|name| (*name).to_owned()).collect();
    eventually(DEADLINE, &format!("{wanted:?} answer on {port}"), || match answering(port, wanted.len()) {
        Ok(names) if names == wanted => Ok(()),
        other => Err(other),
    });
}

/// Waits until connections to `port` are refused. One that only hangs is not: somebody still holds the port.
#[track_caller]
pub fn wait_until_closed(port: u16) {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    eventually(DEADLINE, &format!("{port} is closed"), || {
        match TcpStream::connect_timeout(&address, TIMEOUT) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
            other => Err(other),
        }
    });
}
