//! The built binary, running.

use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};

use command_fds::{CommandFdExt, FdMapping};
use nix::sys::signal::Signal;
use tempfile::TempDir;

use super::deadline::eventually;
use super::proc::Process;
use super::proxymgr_setup::Paths;

/// How long an ending `ProxyMgr` may take before it is killed.
const END_DEADLINE: Duration = Duration::from_secs(15);

/// A running `proxymgr run`. Dropped, it is ended with everything it started; if the test failed, its log is shown.
pub struct Proxymgr {
    pub paths: Paths,
    child: Child,
    process: Process,
    _directory: Rc<TempDir>,
}

impl Proxymgr {
    pub(super) fn start(
        program: &Path,
        as_pid_1: bool,
        paths: Paths,
        directory: Rc<TempDir>,
        environment: &[(String, String)],
        passed: &[(String, OwnedFd)],
    ) -> Self {
        let log = File::options().create(true).append(true).open(&paths.log).unwrap();
        let mut command = match (as_pid_1, passed) {
            (true, _) => unshare(program),
            (false, []) => Command::new(program),
            (false, files) => passing(program, files),
        };
        command.envs(environment.iter().map(|(name, value)| (name, value)));
        command.arg("run").arg("-c").arg(&paths.proxymgr_yml).current_dir(&paths.root).stdin(Stdio::null());
        let child = command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        let own = Process::of_child(&child);
        let process = if as_pid_1 {
            eventually(END_DEADLINE, "the init process runs (unshare needs root)", || {
                let init = own.children().into_iter().next();
                init.filter(|init| init.arguments().iter().any(|word| word == "run")).ok_or(())
            })
        } else {
            own
        };
        Self { paths, child, process, _directory: directory }
    }

    pub fn process(&self) -> Process {
        self.process
    }

    /// Sends a signal to `ProxyMgr` itself.
    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// The `HAProxy` processes that serve or drain, in the order of their start; not those that only check a config.
    pub fn haproxies(&self) -> Vec<Process> {
        let checks = |process: &Process| process.arguments().iter().any(|word| word == "-c");
        let is_haproxy = |process: &Process| process.arguments().iter().any(|word| word.contains("haproxy"));
        self.process.children().into_iter().filter(|child| is_haproxy(child) && !checks(child)).collect()
    }

    pub fn log(&self) -> String {
        fs::read_to_string(&self.paths.log).unwrap_or_default()
    }

    /// Waits for a line of the log that holds `text`, and returns it.
    #[track_caller]
    pub fn wait_for_log(&self, deadline: Duration, text: &str) -> String {
        eventually(deadline, &format!("a log line with {text:?}"), || {
            let log = self.log();
            let found = log.lines().find(|line| line.contains(text)).map(str::to_owned);
            found.ok_or_else(|| tail(&log, 1))
        })
    }

    /// How many times it has started a `HAProxy` so far, the first start included.
    pub fn reloads(&self) -> usize {
        self.log().matches("reloading HAProxy").count()
    }

    /// Waits until `ProxyMgr` ends by itself.
    #[track_caller]
    pub fn wait_for_end(&mut self, deadline: Duration) -> ExitStatus {
        let child = &mut self.child;
        eventually(deadline, "proxymgr ends", || exited(child).ok_or("it runs"))
    }

    /// SIGTERM, then its exit status.
    #[track_caller]
    pub fn end(mut self) -> ExitStatus {
        self.signal(Signal::SIGTERM);
        self.wait_for_end(END_DEADLINE)
    }
}

impl Drop for Proxymgr {
    fn drop(&mut self) {
        let mut started = self.process.descendants();
        self.signal(Signal::SIGTERM);
        let deadline = Instant::now() + END_DEADLINE;
        while exited(&mut self.child).is_none() {
            started.extend(self.process.descendants());
            if Instant::now() > deadline {
                self.signal(Signal::SIGKILL);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        for process in started {
            process.signal(Signal::SIGKILL);
        }
        if std::thread::panicking() {
            eprintln!("--- the end of {}\n{}\n---", self.paths.log.display(), tail(&self.log(), 60));
        }
    }
}

/// Starts `program` as PID 1; gone with its parent, whose exit status is its own.
fn unshare(program: &Path) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--mount-proc", "--kill-child"]).arg(program);
    command
}

/// The binary.
pub fn binary() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_proxymgr"))
}

/// `program` with open files, as systemd starts it (`sd_listen_fds(3)`): only the process itself knows its pid beforehand.
fn passing(program: &Path, files: &[(String, OwnedFd)]) -> Command {
    let mut command = Command::new("sh");
    command.arg("-c").arg("LISTEN_PID=$$ exec \"$0\" \"$@\"").arg(program);
    let names: Vec<_> = files.iter().map(|(name, _)| name.as_str()).collect();
    command.env("LISTEN_FDS", files.len().to_string()).env("LISTEN_FDNAMES", names.join(":"));
    let mapping = |(number, (_, file)): (i32, &(String, OwnedFd))| FdMapping {
        parent_fd: file.try_clone().unwrap(),
        child_fd: number,
    };
    command.fd_mappings((3..).zip(files).map(mapping).collect()).unwrap();
    command
}

/// The binary, for its other commands: add arguments, then [`output_of`].
pub fn command() -> Command {
    Command::new(binary())
}

/// Runs a command to its end.
#[expect(clippy::disallowed_methods, reason = "no reaper runs in a test")]
pub fn output_of(command: &mut Command) -> std::process::Output {
    command.stdin(Stdio::null()).output().unwrap()
}

#[expect(clippy::disallowed_methods, reason = "a test's own child")]
fn exited(child: &mut Child) -> Option<ExitStatus> {
    child.try_wait().unwrap()
}

fn tail(text: &str, lines: usize) -> String {
    let all: Vec<_> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}
