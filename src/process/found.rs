//! Processes that this program didn't start, found by their environment.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;

use rustix::process::{PidfdFlags, pidfd_open};

use super::adopt::{Birth, number};
use super::spawn::{ChildSignal, SignalSender};

/// The processes that were started with the variable `name` set to `value`, but not what they started themselves. Only those
/// that this user may look into (proc(5), `/proc/PID/environ`).
///
/// # Errors
/// When /proc can't be read.
pub fn started_with(name: &str, value: &OsStr) -> io::Result<Vec<u32>> {
    let mut entry = OsString::from(name);
    entry.push("=");
    entry.push(value);
    let own = std::process::id();
    let mut found = Vec::new();
    for process in fs::read_dir("/proc")? {
        let pid = process?.file_name().to_str().and_then(|name| name.parse::<u32>().ok());
        // One that ended meanwhile, or that is another user's, has no environment to be read.
        if let Some(pid) = pid.filter(|pid| *pid != own)
            && let Ok(environment) = fs::read(format!("/proc/{pid}/environ"))
            && environment.split(|byte| *byte == 0).any(|found| found == entry.as_bytes())
        {
            found.push(pid);
        }
    }
    let all = found.clone();
    found.retain(|pid| Birth::of(*pid).is_some_and(|birth| !all.contains(&birth.parent)));
    Ok(found)
}

/// Sends a signal to a process, never to another that got its number since it was `born`.
///
/// # Errors
/// When it is gone, or may not be signalled.
pub fn signal(pid: u32, born: Birth, signal: ChildSignal) -> io::Result<()> {
    let process = SignalSender::new(pidfd_open(number(pid)?, PidfdFlags::empty())?);
    if Birth::of(pid) != Some(born) {
        return Err(io::ErrorKind::NotFound.into());
    }
    process.send(signal)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::child_command::ChildCommand;
    use crate::process::exit::Exit;
    use crate::process::reaper::Reaper;

    #[tokio::test]
    async fn a_process_is_found_by_its_environment_without_its_children() {
        let reaper = Reaper::start().unwrap();
        let value = format!("one's own: {}", std::process::id());
        let mut command = ChildCommand::new("sh");
        command.arg("-c").arg("sleep 1000 & echo started; wait").env("PROXYMGR_FOUND_TEST", &value);
        let mut child = reaper.spawn(command).unwrap();
        assert_eq!(child.output.next().await.unwrap().text, "started");
        assert_eq!(started_with("PROXYMGR_FOUND_TEST", value.as_ref()).unwrap(), [child.pid]);
        assert!(started_with("PROXYMGR_FOUND_TEST", "another".as_ref()).unwrap().is_empty());
        let born = Birth::of(child.pid).unwrap();
        let other = Birth { started: born.started + 1, ..born };
        assert!(signal(child.pid, other, ChildSignal::Kill).is_err());
        for pid in fs::read_to_string(format!("/proc/{0}/task/{0}/children", child.pid)).unwrap().split(' ') {
            if let Ok(sleeping) = pid.parse() {
                signal(sleeping, Birth::of(sleeping).unwrap(), ChildSignal::Kill).unwrap();
            }
        }
        assert_eq!(child.exit.wait().await, Exit::Code(0));
    }
}
