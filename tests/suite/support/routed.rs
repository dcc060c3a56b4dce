//! Services behind a shared frontend, and requests for a host and a path.

use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};

use serde_json::{Value, json};

use super::deadline::eventually;
use super::ports::free_port;
use super::proxymgr_setup::{Paths, Setup};
use super::requests::{SOON, local};

/// A setup with the frontend `http-in`, and its port.
pub fn setup(default_service: Option<&str>) -> (Setup, u16) {
    let port = free_port();
    let frontend = json!({"bind": format!("127.0.0.1:{port}"), "default_service": default_service});
    (Setup::new().section("frontends", json!({"http-in": frontend})), port)
}

/// A route of `http-in` without a host.
pub fn path(path: &str) -> Value {
    json!({"frontend": "http-in", "path": path})
}

/// A service with these routes and servers of its own.
pub fn write(paths: &Paths, name: &str, route: &Value, servers: &[&str]) {
    paths.write_service(name, &json!({"type": "static", "default_servers": servers, "route": route}));
}

/// What a request for `host` and `path` is answered: the status, the head and the body.
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

pub fn ask(port: u16, host: &str, path: &str) -> Answer {
    ask_with(port, path, &format!("Host: {host}\r\n"))
}

/// The same with other header lines.
pub fn ask_with(port: u16, path: &str, headers: &str) -> Answer {
    try_to_ask(local(port), path, headers).unwrap()
}

fn try_to_ask(at: SocketAddr, path: &str, headers: &str) -> io::Result<Answer> {
    let mut stream = TcpStream::connect(at)?;
    stream.set_read_timeout(Some(SOON))?;
    let version = if headers.contains("Host:") { "1.1" } else { "1.0" };
    let request = format!("GET {path} HTTP/{version}\r\n{headers}Connection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{path}: {answer:?}"));
    Ok(Answer { status: head[9..12].parse().unwrap(), head: head.to_owned(), body: body.to_owned() })
}

/// Who answers, or the status or the error that tells why nobody does.
pub fn who(port: u16, host: &str, path: &str) -> String {
    who_at(local(port), host, path)
}

/// The same at another address.
pub fn who_at(at: SocketAddr, host: &str, path: &str) -> String {
    match try_to_ask(at, path, &format!("Host: {host}\r\n")) {
        Ok(Answer { status: 200, body, .. }) => body,
        Ok(Answer { status, .. }) => status.to_string(),
        Err(error) => error.to_string(),
    }
}

/// Waits until `path` is answered by `name`, or with this status.
#[track_caller]
pub fn wait_for(port: u16, path: &str, name: &str) {
    eventually(SOON, &format!("{path} is answered by {name}"), || match who(port, "test", path) {
        answer if answer == name => Ok(()),
        other => Err(other),
    });
}

/// Waits until exactly these answer for `path`, asked as in [`super::requests::answering`].
#[track_caller]
pub fn wait_for_all(port: u16, path: &str, names: &[&str]) {
    let wanted: BTreeSet<String> = names.iter().map(|name| (*name).to_owned()).collect();
    eventually(SOON, &format!("{path} is answered by {wanted:?}"), || {
        let answers: BTreeSet<_> = (0..(wanted.len() + 1) * 10).map(|_| who(port, "test", path)).collect();
        if answers == wanted { Ok(()) } else { Err(answers) }
    });
}

/// Waits until `path` is answered by `to`; until then `from` answers, and nobody else.
#[track_caller]
pub fn turns(port: u16, path: &str, from: &str, to: &str) {
    eventually(SOON, &format!("{path} is answered by {to}"), || {
        let answer = who(port, "test", path);
        if answer == to {
            return Ok(());
        }
        assert_eq!(answer, from, "{path}, on its way to {to}");
        Err(answer)
    });
}
