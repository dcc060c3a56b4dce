//! Processes that this program did not start itself: those of the program that it replaced.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::SigSet;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tokio::net::unix::pipe;
use tokio::sync::watch;
use tracing::warn;

use super::exit::{Exit, ExitWatch};
use super::output::{self, OutputLines};
use super::reaper::Reaper;
use super::spawn::SignalSender;

const WATCH_STACK: usize = 64 * 1024;
/// Linux tells programs of 100 ticks a second, whatever it counts itself (`time(7)`, `USER_HZ`).
const TICK_MS: u64 = 10;

/// A process that runs already.
#[derive(Debug)]
pub struct Adopted {
    /// Tells when it ends; how, only of a child.
    pub exit: ExitWatch,
    /// Sends signals to it.
    pub signals: SignalSender,
}

impl Reaper {
    /// Takes charge of a child that was started before this program replaced its predecessor by exec(2). To be called before
    /// anything is awaited since [`Reaper::start`]: its end may be waiting to be collected.
    ///
    /// # Errors
    /// When there is no such process, or no file left.
    pub fn adopt_child(&self, pid: u32) -> io::Result<Adopted> {
        let (signals, exit) = Self::enter(|| {
            let pid = number(pid)?;
            Ok::<_, io::Error>((pid, SignalSender::new(pidfd_open(pid, PidfdFlags::empty())?)))
        })?;
        Ok(Adopted { exit, signals })
    }

    /// Takes charge of a process that is no child of this one. How it ends stays unknown.
    ///
    /// # Errors
    /// When there is no such process, or no file left.
    pub fn adopt_stranger(&self, pid: u32) -> io::Result<Adopted> {
        let pidfd = pidfd_open(number(pid)?, PidfdFlags::empty())?;
        let ended = pidfd.try_clone()?;
        let (sender, receiver) = watch::channel(None);
        // A thread: at most a few processes are ever adopted like this, each once.
        std::thread::Builder::new().name(format!("end of {pid}")).stack_size(WATCH_STACK).spawn(
            move || {
                // Signals are the main thread's.
                if let Err(error) = SigSet::all().thread_block() {
                    warn!(%error, "signals may go to another thread than the main one");
                }
                wait_for_end(&ended);
                sender.send_replace(Some(Exit::Unknown));
            },
        )?;
        Ok(Adopted { exit: ExitWatch::new(receiver), signals: SignalSender::new(pidfd) })
    }
}

/// Goes on reading the output of an adopted process.
///
/// # Errors
/// When `pipe` is no pipe.
pub fn adopt_output(pipe: OwnedFd) -> io::Result<OutputLines> {
    Ok(output::drain(pipe::Receiver::from_owned_fd(pipe)?))
}

/// When the process began, in clock ticks since the machine's start, which with its number tells it from all others
/// (proc(5), `/proc/PID/stat`, field 22); and its parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Birth {
    /// Field 22.
    pub started: u64,
    /// Field 4.
    pub parent: u32,
}

impl Birth {
    /// That of the process `pid`; `None` when there is none.
    pub fn of(pid: u32) -> Option<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name in parentheses may hold anything.
        let (_, fields) = stat.rsplit_once(')')?;
        let mut fields = fields.split_whitespace();
        let parent = fields.nth(1)?.parse().ok()?;
        let started = fields.nth(17)?.parse().ok()?;
        Some(Self { started, parent })
    }

    /// How long ago it began.
    pub fn age(self) -> Option<Duration> {
        let uptime = std::fs::read_to_string("/proc/uptime").ok()?;
        let uptime: f64 = uptime.split_whitespace().next()?.parse().ok()?;
        let uptime = Duration::try_from_secs_f64(uptime).ok()?;
        Some(uptime.saturating_sub(Duration::from_millis(self.started.saturating_mul(TICK_MS))))
    }
}

/// A pidfd becomes readable when its process ends (`pidfd_open(2)`).
fn wait_for_end(pidfd: &OwnedFd) {
    loop {
        match poll(&mut [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)], PollTimeout::NONE) {
            Ok(_) => return,
            Err(Errno::EINTR) => {}
            Err(error) => {
                warn!(%error, "the end of an adopted process can't be watched");
                return;
            }
        }
    }
}

pub(super) fn number(pid: u32) -> io::Result<Pid> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    pid.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::child_command::ChildCommand;
    use crate::process::spawn::ChildSignal;

    #[test]
    fn a_process_is_told_by_its_number_and_its_birth() {
        let own = Birth::of(std::process::id()).unwrap();
        assert_eq!(own.parent, std::os::unix::process::parent_id());
        assert!(own.started > 0);
        assert_eq!(Birth::of(u32::MAX), None);
        assert!(own.age().unwrap() < Duration::from_secs(600));
    }

    #[tokio::test]
    async fn how_an_adopted_child_ends_is_known() {
        let reaper = Reaper::start().unwrap();
        let mut command = ChildCommand::new("sleep");
        command.arg("1000");
        let child = reaper.spawn(command).unwrap();
        drop(child.exit);
        let mut adopted = reaper.adopt_child(child.pid).unwrap();
        assert_eq!(adopted.exit.ended(), None);
        adopted.signals.send(ChildSignal::Terminate).unwrap();
        assert_eq!(adopted.exit.wait().await, Exit::Signal(15));
        assert!(reaper.adopt_child(child.pid).is_err());
    }

    #[tokio::test]
    async fn the_end_of_a_stranger_is_seen() {
        let reaper = Reaper::start().unwrap();
        let mut command = ChildCommand::new("sleep");
        command.arg("1000");
        let child = reaper.spawn(command).unwrap();
        let mut adopted = reaper.adopt_stranger(child.pid).unwrap();
        assert_eq!(adopted.exit.ended(), None);
        adopted.signals.send(ChildSignal::Kill).unwrap();
        assert_eq!(adopted.exit.wait().await, Exit::Unknown);
    }
}
