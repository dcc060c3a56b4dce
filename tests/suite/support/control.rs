//! The control socket of a running `ProxyMgr`, spoken by hand and through the commands.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::Value;

use super::proxymgr::{command, output_of};
use super::proxymgr_setup::Paths;
use super::requests::SOON;

/// A client that speaks by hand.
pub struct Client {
    stream: BufReader<UnixStream>,
}

impl Paths {
    pub fn control_socket(&self) -> PathBuf {
        self.runtime_dir.join("control.sock")
    }
}

impl Client {
    #[track_caller]
    pub fn connect(paths: &Paths) -> Self {
        let stream = UnixStream::connect(paths.control_socket()).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        Self { stream: BufReader::new(stream) }
    }

    /// As it is, without a line's end.
    pub fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    /// The next line; `None` at the end of the connection.
    #[track_caller]
    pub fn line(&mut self) -> Option<Value> {
        let mut line = String::new();
        let read = self.stream.read_line(&mut line).unwrap_or(0);
        (read > 0).then(|| serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error} in {line:?}")))
    }

    #[track_caller]
    pub fn ask(&mut self, line: &str) -> Value {
        self.send(format!("{line}\n").as_bytes()).unwrap();
        self.line().unwrap()
    }
}

/// What a command said.
#[derive(Debug)]
pub struct Said {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Said {
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }
}

/// Runs `proxymgr ARGUMENTS -c FILE`.
pub fn said(paths: &Paths, arguments: &[&str]) -> Said {
    said_of(command().args(arguments).arg("-c").arg(&paths.proxymgr_yml))
}

pub fn said_of(command: &mut Command) -> Said {
    let Output { status, stdout, stderr } = output_of(command);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Said { code: status.code().unwrap(), stdout: text(stdout), stderr: text(stderr) }
}
