//! Chromium without a window, steered by the `DevTools` protocol through two pipes: messages of JSON, each ended by a zero byte.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use command_fds::{CommandFdExt as _, FdMapping};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::deadline::eventually;

/// How long anything may take while other tests run.
const LIMIT: Duration = Duration::from_secs(60);
/// What keeps it to itself: no sandbox, which root can't have; no window, GPU or `/dev/shm`; nothing but this machine.
const ARGUMENTS: &[&str] = &[
    "--headless",
    "--no-sandbox",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--remote-debugging-pipe",
];

/// A browser with one page.
pub struct Chromium {
    child: Child,
    to: File,
    from: File,
    received: Vec<u8>,
    /// Of the page.
    session: Option<String>,
    last_id: u64,
    /// What the page complained of.
    complaints: VecDeque<String>,
    _profile: TempDir,
}

impl Chromium {
    /// A browser with an empty page, as wide as a desk's.
    #[track_caller]
    pub fn start() -> Self {
        let profile = tempfile::Builder::new().prefix("proxymgr-chromium-").tempdir().unwrap();
        let (theirs_in, to) = pipe();
        let (from, theirs_out) = pipe();
        let mut command = Command::new("chromium");
        command
            .args(ARGUMENTS)
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .fd_mappings(vec![
                FdMapping { parent_fd: theirs_in, child_fd: 3 },
                FdMapping { parent_fd: theirs_out, child_fd: 4 },
            ])
            .unwrap();
        let child = command.spawn().unwrap_or_else(|error| {
            panic!("{error}: chromium is needed; packaging/install-dependencies test installs it")
        });
        // The pipes' other ends are the browser's alone from here on.
        drop(command);
        let mut browser = Self {
            child,
            to: to.into(),
            from: from.into(),
            received: Vec::new(),
            session: None,
            last_id: 0,
            complaints: VecDeque::new(),
            _profile: profile,
        };
        let target = browser.call("Target.createTarget", &json!({"url": "about:blank"}));
        let target = json!({"targetId": target["targetId"], "flatten": true});
        let session = browser.call("Target.attachToTarget", &target);
        browser.session = Some(session["sessionId"].as_str().unwrap().to_owned());
        for domain in ["Page", "Runtime", "Log", "Accessibility"] {
            browser.call(&format!("{domain}.enable"), &json!({}));
        }
        browser.is_wide(1440, 900);
        browser
    }

    /// The size of the page; one narrower than 600 is a phone's.
    pub fn is_wide(&mut self, width: u32, height: u32) {
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600});
        self.call("Emulation.setDeviceMetricsOverride", &size);
    }

    pub fn open(&mut self, url: &str) {
        let opened = self.call("Page.navigate", &json!({"url": url}));
        assert_eq!(opened.get("errorText"), None, "{url}");
    }

    /// The value of an expression, or of its promise, in the page.
    #[track_caller]
    pub fn evaluate(&mut self, expression: &str) -> Value {
        let asked = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let said = self.call("Runtime.evaluate", &asked);
        assert_eq!(said.get("exceptionDetails"), None, "{expression}");
        said["result"]["value"].clone()
    }

    #[track_caller]
    pub fn wait_for(&mut self, what: &str, expression: &str) {
        let probe = format!(
            "(() => {{ try {{ return {expression}; }} catch (error) {{ return String(error); }} }})()"
        );
        eventually(LIMIT, what, || {
            let seen = self.evaluate(&probe);
            if seen == true { Ok(()) } else { Err((seen, self.evaluate("document.body?.innerText"))) }
        });
    }

    /// Presses a key and lets it go.
    pub fn press(&mut self, key: &str) {
        let (text, code) = match key {
            "Enter" => ("\r", 13),
            "Escape" => ("", 27),
            "Tab" => ("", 9),
            key if key.chars().count() == 1 => (key, 0),
            _ => ("", 0),
        };
        for kind in ["keyDown", "keyUp"] {
            let mut event = json!({"type": kind, "key": key, "windowsVirtualKeyCode": code});
            if kind == "keyDown" && !text.is_empty() {
                event["text"] = json!(text);
            }
            self.call("Input.dispatchKeyEvent", &event);
        }
    }

    /// Types into what has the focus.
    pub fn write(&mut self, text: &str) {
        self.call("Input.insertText", &json!({"text": text}));
    }

    /// Light or dark.
    pub fn is_dark(&mut self, dark: bool) {
        let scheme = if dark { "dark" } else { "light" };
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        self.call("Emulation.setEmulatedMedia", &json!({"features": features}));
    }

    /// What a screen reader would be told: role and name of all that is not hidden.
    pub fn accessible(&mut self) -> Vec<(String, String)> {
        let tree = self.call("Accessibility.getFullAXTree", &json!({}));
        let text = |value: &Value| value["value"].as_str().unwrap_or_default().to_owned();
        let nodes = tree["nodes"].as_array().unwrap().iter();
        nodes
            .filter(|node| node["ignored"] != true)
            .map(|node| (text(&node["role"]), text(&node["name"])))
            .collect()
    }

    /// All that the page complained of so far: errors and warnings of its console, of its policy and of what it loads.
    pub fn complaints(&mut self) -> Vec<String> {
        self.evaluate("0");
        self.complaints.drain(..).collect()
    }

    #[track_caller]
    fn call(&mut self, method: &str, parameters: &Value) -> Value {
        self.last_id += 1;
        let mut message = json!({"id": self.last_id, "method": method, "params": parameters});
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        self.to.write_all(format!("{message}\0").as_bytes()).unwrap();
        let end = Instant::now() + LIMIT;
        loop {
            let mut answer = self.receive(end).unwrap_or_else(|error| panic!("{method}: {error}"));
            if answer["id"] == self.last_id {
                assert_eq!(answer.get("error"), None, "{method} {parameters}");
                return answer["result"].take();
            }
            self.complaints.extend(complaint(&answer));
        }
    }

    fn receive(&mut self, end: Instant) -> io::Result<Value> {
        loop {
            if let Some(at) = self.received.iter().position(|byte| *byte == 0) {
                let message: Vec<u8> = self.received.drain(..=at).collect();
                return Ok(serde_json::from_slice(&message[..at])?);
            }
            let mut waiting = [PollFd::new(self.from.as_fd(), PollFlags::POLLIN)];
            let rest = end.saturating_duration_since(Instant::now());
            if poll(&mut waiting, PollTimeout::try_from(rest).unwrap())? == 0 {
                return Err(io::ErrorKind::TimedOut.into());
            }
            let mut piece = vec![0; 1 << 16];
            let read = self.from.read(&mut piece)?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.received.extend_from_slice(&piece[..read]);
        }
    }
}

/// What an event of the protocol tells of something wrong.
fn complaint(event: &Value) -> Option<String> {
    let is_bad = |level: &Value| matches!(level.as_str(), Some("error" | "warning" | "assert"));
    match event["method"].as_str()? {
        "Runtime.exceptionThrown" => Some(event["params"]["exceptionDetails"].to_string()),
        "Runtime.consoleAPICalled" if is_bad(&event["params"]["type"]) => Some(event["params"].to_string()),
        "Log.entryAdded" if is_bad(&event["params"]["entry"]["level"]) => {
            let entry = &event["params"]["entry"];
            Some(format!("{} {}", entry["text"], entry["url"]))
        }
        "Page.javascriptDialogOpening" => Some(format!("a dialog: {}", event["params"]["message"])),
        _ => None,
    }
}

fn pipe() -> (OwnedFd, OwnedFd) {
    let (reader, writer) = io::pipe().unwrap();
    (reader.into(), writer.into())
}

impl Drop for Chromium {
    #[expect(clippy::disallowed_methods, reason = "this process is a test, not the one with the reaper")]
    fn drop(&mut self) {
        // Its own processes are of its group.
        let group = Pid::from_raw(i32::try_from(self.child.id()).unwrap_or(i32::MAX));
        if killpg(group, Signal::SIGKILL).is_ok() {
            drop(self.child.wait());
        }
    }
}
