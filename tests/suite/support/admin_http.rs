//! A client of `ProxyMgr`'s own HTTP.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;

use serde_json::{Value, json};

use super::proxymgr_setup::Setup;
use super::requests::{SOON, local};

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// The value of one sample of `/metrics`.
    #[track_caller]
    pub fn sample(&self, name: &str) -> f64 {
        let found = self.body.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        found.unwrap_or_else(|| panic!("no {name} in {}", self.body)).parse().unwrap()
    }

    /// The same of a whole number.
    #[track_caller]
    pub fn count(&self, name: &str) -> u64 {
        let sample = self.sample(name).to_string();
        sample.parse().unwrap_or_else(|error| panic!("{error}: {name} {sample}"))
    }
}

impl Setup {
    /// HTTP at this port of localhost.
    pub fn http(self, port: u16) -> Self {
        self.section("admin", json!({"listen": local(port).to_string()}))
    }
}

/// Asks once, on a connection of its own.
pub fn ask(port: u16, line: &str, headers: &str) -> Result<Answer, String> {
    let mut stream = TcpStream::connect(local(port)).map_err(|error| format!("connect: {error}"))?;
    stream.set_read_timeout(Some(SOON)).unwrap();
    let mut answer = String::new();
    stream
        .write_all(format!("{line} HTTP/1.1\r\n{headers}Connection: close\r\n\r\n").as_bytes())
        .and_then(|()| stream.read_to_string(&mut answer))
        .map_err(|error| format!("{error} after {answer:?}"))?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(|| format!("no whole head: {answer:?}"))?;
    let status = head.get(9..12).and_then(|status| status.parse().ok()).ok_or("no status")?;
    Ok(Answer { status, head: head.to_owned(), body: body.to_owned() })
}

/// A client that asks again and again on one connection.
pub struct KeepAlive(BufReader<TcpStream>);

impl KeepAlive {
    pub fn to(port: u16) -> Self {
        let stream = TcpStream::connect(local(port)).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self(BufReader::with_capacity(1 << 16, stream))
    }

    /// The length of the body of a 200.
    #[track_caller]
    pub fn fetch(&mut self, path: &str) -> usize {
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        self.0.get_mut().write_all(request.as_bytes()).unwrap();
        let mut lines = Vec::new();
        while lines.last().is_none_or(|line: &String| line != "\r\n") {
            let mut line = String::new();
            assert_ne!(self.0.read_line(&mut line).unwrap(), 0, "{lines:?}");
            lines.push(line);
        }
        assert!(lines[0].starts_with("HTTP/1.1 200"), "{lines:?}");
        let length = lines
            .iter()
            .find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.trim().parse().ok());
        let mut body = vec![0; length.unwrap()];
        self.0.read_exact(&mut body).unwrap();
        body.len()
    }
}

/// Asks for a path as `localhost`.
#[track_caller]
pub fn fetch(port: u16, path: &str) -> Answer {
    ask(port, &format!("GET {path}"), "Host: localhost\r\n").unwrap()
}
