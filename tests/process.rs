//! Real children: their ends, their output, what they inherit.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};

use nix::sys::signal::{SigSet, Signal};
use proxymgr::process::child_command::ChildCommand;
use proxymgr::process::exit::Exit;
use proxymgr::process::reaper::Reaper;
use proxymgr::process::spawn::{Child, ChildSignal, SpawnError};

fn shell(script: &str) -> ChildCommand<'static> {
    let mut command = ChildCommand::new("sh");
    command.arg("-c").arg(script);
    command
}

async fn output(mut child: Child) -> Vec<String> {
    let mut lines = Vec::new();
    while let Some(line) = child.output.next().await {
        lines.push(line.text);
    }
    assert_eq!(child.exit.wait().await, Exit::Code(0), "{lines:?}");
    lines
}

#[tokio::test]
async fn every_child_has_its_own_exit_code_while_orphans_come_in() {
    let reaper = Reaper::start().unwrap();
    let orphans_before = reaper.orphans();
    let mut children = Vec::new();
    for code in 0..300 {
        let code = code % 200;
        children.push((code, reaper.spawn(shell(&format!("sleep 0.3 & exit {code}"))).unwrap()));
    }
    for (code, mut child) in children {
        assert_eq!(child.exit.wait().await, Exit::Code(code));
        assert_eq!(child.exit.ended(), Some(Exit::Code(code)));
    }
    let deadline = Instant::now() + Duration::from_secs(10);
    while reaper.orphans() < orphans_before + 300 {
        assert!(Instant::now() < deadline, "{} orphans", reaper.orphans() - orphans_before);
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_signal_ends_a_child_and_is_told_apart() {
    let reaper = Reaper::start().unwrap();
    for (signal, number) in [(ChildSignal::User1, 10), (ChildSignal::Terminate, 15), (ChildSignal::Kill, 9)] {
        let mut command = ChildCommand::new("sleep");
        command.arg("600");
        let mut child = reaper.spawn(command).unwrap();
        child.signals.send(signal).unwrap();
        assert_eq!(child.exit.wait().await, Exit::Signal(number));
        child.signals.send(signal).unwrap();
    }
    // A realtime signal, which has no name.
    let mut child = reaper.spawn(shell("kill -40 $$")).unwrap();
    assert_eq!(child.exit.wait().await, Exit::Signal(40));
}

#[tokio::test]
async fn a_missing_program_is_told_apart() {
    let error = Reaper::start().unwrap().spawn(ChildCommand::new("/nowhere/haproxy")).unwrap_err();
    assert!(matches!(error, SpawnError::NotFound { .. }), "{error:?}");
    assert!(error.to_string().contains("install it"), "{error}");
}

#[tokio::test]
async fn a_child_inherits_what_it_is_given_and_nothing_else() {
    let reaper = Reaper::start().unwrap();
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(b"handed over\n").unwrap();
    let mut command = shell("cat /proc/self/fd/$FD; ls /proc/$$/fd");
    let number = command.inherit(file.as_fd());
    assert_eq!(number, file.as_raw_fd());
    command.env("FD", number.to_string());
    let lines = output(reaper.spawn(command).unwrap()).await;
    let (content, open) = lines.split_first().unwrap();
    assert_eq!(content, "handed over");
    let open: BTreeSet<i32> = open.iter().map(|fd| fd.parse().unwrap()).collect();
    assert_eq!(open, BTreeSet::from([0, 1, 2, number]));
}

#[tokio::test]
async fn a_child_starts_with_no_signal_blocked_or_ignored_and_in_its_own_group() {
    let reaper = Reaper::start().unwrap();
    let blocked = SigSet::from(Signal::SIGUSR1);
    blocked.thread_block().unwrap();
    let mut command = ChildCommand::new("grep");
    command.arg("-E").arg("^(SigBlk|SigIgn|NSpgid):").arg("/proc/self/status");
    let child = reaper.spawn(command).unwrap();
    blocked.thread_unblock().unwrap();
    let pid = child.pid.to_string();
    let lines = output(child).await;
    let values: Vec<&str> = lines.iter().map(|line| line.rsplit_once("\\t").unwrap().1).collect();
    let [group, blocked, ignored] = values.as_slice() else { panic!("{values:?}") };
    assert_eq!(*group, pid);
    assert_eq!(u64::from_str_radix(blocked, 16), Ok(0));
    // 32 and 33 are the C library's own and out of reach.
    let ignored = u64::from_str_radix(ignored, 16).unwrap();
    assert_eq!(ignored & !(0b11 << 31), 0, "{ignored:x}");
}

#[tokio::test]
async fn output_that_nobody_reads_never_holds_a_child_up() {
    let reaper = Reaper::start().unwrap();
    let script = "i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done; exit 7";
    let mut child = reaper.spawn(shell(script)).unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(20), child.exit.wait()).await;
    assert_eq!(ended, Ok(Exit::Code(7)));
    let mut lines = Vec::new();
    while let Some(line) = child.output.next().await {
        lines.push(line.text);
    }
    assert_eq!(lines[0], "line 0");
    assert!(lines.len() < 20_000, "nothing was dropped");
}
