//! Another server beside `ProxyMgr`, as a process that is killed, frozen and started again; all it says is in one file.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Ends with the value.
pub struct ServerProcess {
    log: PathBuf,
    child: Option<Child>,
}

impl ServerProcess {
    /// None yet; what it will say goes to a file in `directory`.
    pub fn new(directory: &Path) -> Self {
        Self { log: directory.join("log"), child: None }
    }

    /// Starts `command`, after the end of the last one; `needed` tells what to do when it can't run.
    pub fn start(&mut self, command: &mut Command, needed: &str) {
        self.kill();
        let log = fs::File::options().create(true).append(true).open(&self.log).unwrap();
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.child = Some(command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}; {needed}")));
    }

    pub fn runs(&self) -> bool {
        self.child.is_some()
    }

    /// SIGKILL, and waits for its end.
    #[expect(clippy::disallowed_methods, reason = "a test's own child")]
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// It holds connections but answers nothing.
    pub fn freeze(&self) {
        self.signal(Signal::SIGSTOP);
    }

    /// It goes on.
    pub fn thaw(&self) {
        self.signal(Signal::SIGCONT);
    }

    fn signal(&self, signal: Signal) {
        let pid = self.child.as_ref().expect("it runs").id();
        kill(Pid::from_raw(pid.try_into().unwrap()), signal).unwrap();
    }

    /// What it has said, of all its runs.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        self.kill();
    }
}
