//! Single requests, and who answers them.

use std::collections::BTreeSet;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::deadline::eventually;

/// For what takes milliseconds; long, since the machine may be busy.
pub const SOON: Duration = Duration::from_secs(20);

pub fn local(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// Asks once on a connection of its own and gives the body of a 200; anything else is an error.
pub fn get(address: SocketAddr) -> Result<String, String> {
    let stream = TcpStream::connect(address).map_err(|error| format!("connect: {error}"))?;
    stream.set_read_timeout(Some(SOON)).unwrap();
    get_over(stream)
}

/// The same over a connection that stands.
pub fn get_over(mut stream: impl Read + Write) -> Result<String, String> {
    let mut answer = String::new();
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
        .and_then(|()| stream.read_to_string(&mut answer))
        .map_err(|error| format!("{error} after {answer:?}"))?;
    match answer.split_once("\r\n\r\n") {
        Some((head, body)) if head.starts_with("HTTP/1.1 200") => Ok(body.to_owned()),
        _ => Err(answer),
    }
}

/// Waits until the server that calls itself `name` answers at `address`, among others.
#[track_caller]
pub fn wait_for_answer(address: SocketAddr, name: &str) {
    eventually(SOON, &format!("{name} answers at {address}"), || match get(address) {
        Ok(answer) if answer == name => Ok(()),
        other => Err(other),
    });
}

/// Everyone who answers, asked so often that none is missed though other clients' requests stand between these: ten times
/// for each server of `expected` and one that shouldn't be there.
pub fn answering(port: u16, expected: usize) -> Result<BTreeSet<String>, String> {
    answering_at(local(port), expected)
}

/// The same anywhere.
pub fn answering_at(address: SocketAddr, expected: usize) -> Result<BTreeSet<String>, String> {
    (0..(expected + 1) * 10).map(|_| get(address)).collect()
}

/// Waits until exactly the backends `names` answer on `port`.
#[track_caller]
pub fn wait_for_backends(port: u16, names: &[&str]) {
    let wanted: BTreeSet<String> = names.iter().map(|name| (*name).to_owned()).collect();
    eventually(SOON, &format!("{wanted:?} answer on {port}"), || match answering(port, wanted.len()) {
        Ok(names) if names == wanted => Ok(()),
        other => Err(other),
    });
}

/// Waits until connections are refused. One that only hangs is not: somebody still holds the port.
#[track_caller]
pub fn wait_for_refusal(address: SocketAddr) {
    eventually(SOON, &format!("{address} refuses connections"), || {
        match TcpStream::connect_timeout(&address, SOON) {
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => Ok(()),
            other => Err(other),
        }
    });
}
