//! What to start, with which environment and which open files.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use nix::errno::Errno;
use nix::libc;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

#[expect(clippy::cast_possible_wrap, reason = "the flag is 4")]
const CLOEXEC_ONLY: libc::c_int = libc::CLOSE_RANGE_CLOEXEC as libc::c_int;

/// A program, its arguments, what is added to its environment, and the files it inherits.
#[derive(Debug)]
pub struct ChildCommand<'fd> {
    program: OsString,
    args: Vec<OsString>,
    env: Vec<(OsString, Option<OsString>)>,
    inherited: Vec<BorrowedFd<'fd>>,
}

impl<'fd> ChildCommand<'fd> {
    /// `program` is a path or a name to look up in `PATH`.
    pub fn new(program: impl Into<OsString>) -> Self {
        Self { program: program.into(), args: Vec::new(), env: Vec::new(), inherited: Vec::new() }
    }

    /// The program.
    pub fn program(&self) -> &OsStr {
        &self.program
    }

    /// Adds an argument.
    pub fn arg(&mut self, arg: impl Into<OsString>) -> &mut Self {
        self.args.push(arg.into());
        self
    }

    /// Sets a variable in the child's environment.
    pub fn env(&mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> &mut Self {
        self.env.push((name.into(), Some(value.into())));
        self
    }

    /// Takes a variable out of the child's environment.
    pub fn env_remove(&mut self, name: impl Into<OsString>) -> &mut Self {
        self.env.push((name.into(), None));
        self
    }

    /// Lets the child inherit `fd`; gives the number it has there, which is its number here: `HAProxy` takes no number beyond
    /// the files that its `maxconn` allows. Here it stays close-on-exec.
    pub fn inherit(&mut self, fd: BorrowedFd<'fd>) -> RawFd {
        self.inherited.push(fd);
        fd.as_raw_fd()
    }

    /// The command ready to start: nothing on stdin, all output to `output`, a process group of its own (a terminal's
    /// Ctrl-C reaches only this program), no signal blocked or ignored.
    pub(super) fn into_command(self, output: OwnedFd) -> io::Result<Command> {
        let mut command = Command::new(self.program);
        command
            .args(self.args)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .process_group(0);
        for (name, value) in self.env {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        prepare_child(&mut command, self.inherited.iter().map(AsRawFd::as_raw_fd).collect());
        Ok(command)
    }
}

/// Keeps back what exec(2) would hand on though nobody asked for it: ignored and blocked signals (SIGUSR1 would never stop
/// `HAProxy`), and files that this program itself was started with. Those of `inherited` are handed on.
fn prepare_child(command: &mut Command, inherited: Vec<RawFd>) {
    #[expect(unsafe_code, reason = "std, nix and rustix have no safe way to do this in the child")]
    // SAFETY: between fork and exec only async-signal-safe functions may run; close_range(2), fcntl(2), sigaction(2), signal(2) and
    // pthread_sigmask(3) are, and nothing here allocates or locks. CLOSE_RANGE_CLOEXEC closes nothing that is still in
    // use, F_SETFD changes a flag, and the default disposition of a signal calls no code of ours.
    unsafe {
        command.pre_exec(move || {
            // Linux 5.11; before it, files that were inherited stay open.
            let _unsupported = libc::close_range(3, libc::c_uint::MAX, CLOEXEC_ONLY);
            for number in &inherited {
                Errno::result(libc::fcntl(*number, libc::F_SETFD, 0))?;
            }
            let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
            for signal in Signal::iterator().filter(|s| !matches!(s, Signal::SIGKILL | Signal::SIGSTOP)) {
                sigaction(signal, &default)?;
            }
            // Those have no name in nix.
            for real_time in libc::SIGRTMIN()..=libc::SIGRTMAX() {
                if libc::signal(real_time, libc::SIG_DFL) == libc::SIG_ERR {
                    return Err(io::Error::last_os_error());
                }
            }
            SigSet::empty().thread_set_mask()?;
            Ok(())
        });
    }
}
