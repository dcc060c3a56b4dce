//! `make demo`, and what it asks its user to try.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::support::deadline::eventually;
use super::support::ports::free_port;
use super::support::proxymgr::output_of;
use super::support::requests::SOON;

/// As Ctrl-C does, to all that it started.
struct Demo(Child);

impl Demo {
    fn interrupt(&mut self, signal: Signal) -> nix::Result<()> {
        killpg(Pid::from_raw(i32::try_from(self.0.id()).unwrap()), signal)
    }
}

impl Drop for Demo {
    #[expect(clippy::disallowed_methods, reason = "a test's own child")]
    fn drop(&mut self) {
        // It may have ended.
        let _gone = self.interrupt(Signal::SIGINT);
        self.0.wait().unwrap();
    }
}

fn shell(line: &str) -> String {
    let output = output_of(Command::new("bash").args(["-euc", line]));
    assert!(output.status.success(), "{line}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_demo_does_what_it_asks_its_user_to_try() {
    let directory = tempfile::tempdir().unwrap();
    let mut make = Command::new("make");
    make.arg("demo").current_dir(env!("CARGO_MANIFEST_DIR"));
    make.env("PROXYMGR_DEMO_PORT", free_port().to_string()).env("TMPDIR", directory.path());
    // It is built already.
    make.env("CARGO_NET_OFFLINE", "true").process_group(0);
    let mut demo = make.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let said = BufReader::new(demo.stdout.take().unwrap());
    let mut demo = Demo(demo);
    let mut lines = said.lines().map(Result::unwrap);
    let told: Vec<_> = lines.by_ref().take_while(|line| !line.starts_with("Ctrl-C ends")).collect();
    let commands: Vec<_> = told.iter().filter_map(|line| line.strip_prefix("    ")).collect();
    let [_at, curl, echo, again, sed, _comment, cat, tail] = commands[..] else { panic!("{told:?}") };
    assert_eq!(curl.split('#').next(), again.split('#').next());
    let answers = || (0..12).map(|_| shell(curl)).collect::<String>();
    let first = answers();
    assert!(["one", "two", "three"].iter().all(|name| first.contains(name)), "{first}");
    assert!(!first.contains("four"), "{first}");
    shell(echo);
    eventually(SOON, "the fourth answers", || if shell(again).contains("four") { Ok(()) } else { Err(()) });
    shell(sed);
    eventually(SOON, "the fourth is gone", || {
        let answers = answers();
        if answers.contains("four") { Err(answers) } else { Ok(()) }
    });
    assert!(shell(cat).contains("listen web"));
    assert!(shell(&tail.replace("tail -f", "tail")).contains("ready"), "{tail}");
    demo.interrupt(Signal::SIGINT).unwrap();
    assert_eq!(lines.last().as_deref(), Some("The demo ends."));
    let is_empty = |directory: &Path| fs::read_dir(directory).unwrap().next().is_none();
    eventually(Duration::from_secs(5), "nothing is left behind", || {
        if is_empty(directory.path()) { Ok(()) } else { Err(()) }
    });
}
