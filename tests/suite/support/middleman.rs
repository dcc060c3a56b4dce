//! Between `ProxyMgr` and the runtime socket of its `HAProxy`: passes commands on one by one, notes each, and spoils replies
//! when it is told to.
//!
//! It takes the place of the socket's file, which it moves away, and cuts the connection that stands through the operators'
//! socket. A later generation is reached directly again.

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;

use super::deadline::eventually;
use super::haproxy;
use super::proc::Process;
use super::proxymgr::Proxymgr;
use super::requests::SOON;

const PROMPT: &[u8] = b"\n> ";

/// What becomes of the reply to one command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Half of it, then the end of the connection.
    Cut,
    /// None, but the end of the connection.
    Close,
    /// It comes so late.
    Late(Duration),
    /// Another text.
    Replaced(&'static str),
    /// Another one that nobody asked for comes before it.
    Preceded(&'static str),
    /// None, and the connection stays.
    Swallowed,
    /// None; and the command is carried out so late.
    PassedOnLate(Duration),
    /// None: the process is killed (SIGKILL) once it has carried out the command.
    Killed,
}

impl Fault {
    /// Whether it is only noticed when the time for a reply is up.
    pub fn takes_long(self) -> bool {
        match self {
            Self::Late(_) | Self::Swallowed | Self::PassedOnLate(_) => true,
            Self::Cut | Self::Close | Self::Replaced(_) | Self::Preceded(_) | Self::Killed => false,
        }
    }
}

/// One command that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    pub command: String,
    /// Whether its own reply went back whole and in time.
    pub answered: bool,
}

pub struct Middleman {
    shared: Arc<Shared>,
    path: PathBuf,
}

struct Shared {
    real: PathBuf,
    haproxy: Process,
    faults: Mutex<VecDeque<(&'static str, Fault)>>,
    sent: Mutex<Vec<Sent>>,
    hangs: Mutex<bool>,
}

impl Middleman {
    /// Steps between `ProxyMgr` and the one `HAProxy` that serves.
    #[track_caller]
    pub fn between(proxymgr: &Proxymgr) -> Self {
        let paths = &proxymgr.paths;
        let path = control_socket(&paths.runtime_dir);
        let real = path.with_extension("real");
        fs::rename(&path, &real).unwrap();
        let listener = UnixListener::bind(&path).unwrap();
        let shared = Arc::new(Shared {
            real,
            haproxy: *proxymgr.haproxies().last().unwrap(),
            faults: Mutex::default(),
            sent: Mutex::default(),
            hangs: Mutex::new(false),
        });
        let accepting = Arc::clone(&shared);
        // Ends with the test's process.
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let shared = Arc::clone(&accepting);
                std::thread::spawn(move || shared.serve(&client.unwrap()));
            }
        });
        let middleman = Self { shared, path };
        eventually(SOON, "ProxyMgr connects anew", || {
            let sent = middleman.sent();
            if sent.iter().any(|sent| sent.answered && sent.command == "show info") {
                return Ok(());
            }
            // Too young, or an old process has answered.
            if sent.is_empty() {
                cut_connections(&paths.stats_socket);
            }
            Err(sent)
        });
        middleman
    }

    /// Spoils the reply to the next command that begins with `command`; several faults are used in turn.
    pub fn spoil(&self, command: &'static str, fault: Fault) {
        self.shared.faults.lock().unwrap().push_back((command, fault));
    }

    /// From now on connections are accepted, and nothing is ever answered; or that ends.
    pub fn hang(&self, hangs: bool) {
        *self.shared.hangs.lock().unwrap() = hangs;
    }

    #[track_caller]
    pub fn wait_until_spoiled(&self) {
        eventually(SOON, "the faults struck", || {
            let left = self.shared.faults.lock().unwrap().clone();
            if left.is_empty() { Ok(()) } else { Err((left, self.sent())) }
        });
    }

    pub fn sent(&self) -> Vec<Sent> {
        self.shared.sent.lock().unwrap().clone()
    }

    /// Checks that between a command without reply and the same one again the process told what it holds. Gives how many
    /// commands were sent again.
    #[track_caller]
    pub fn assert_nothing_was_repeated_blindly(&self) -> usize {
        let mut unknown: BTreeMap<String, bool> = BTreeMap::new();
        let mut again = 0;
        for Sent { command, answered } in self.sent() {
            if command == "show servers state" && answered {
                for compared in unknown.values_mut() {
                    *compared = true;
                }
            }
            if !changes_something(&command) {
                continue;
            }
            if let Some(compared) = unknown.remove(&command) {
                assert!(compared, "'{command}' was sent again blindly: {:#?}", self.sent());
                again += 1;
            }
            if !answered {
                unknown.insert(command, false);
            }
        }
        again
    }
}

impl Drop for Middleman {
    fn drop(&mut self) {
        drop(fs::remove_file(&self.path));
    }
}

fn changes_something(command: &str) -> bool {
    !["show ", "prompt", "set timeout "].iter().any(|harmless| command.starts_with(harmless))
}

/// That of the latest generation.
fn control_socket(runtime_dir: &Path) -> PathBuf {
    let files = fs::read_dir(runtime_dir).unwrap().map(|entry| entry.unwrap().path());
    let generation = |path: &PathBuf| -> Option<u32> {
        let name = path.file_name()?.to_str()?.strip_prefix("control-")?.strip_suffix(".sock")?;
        name.rsplit_once('-')?.1.parse().ok()
    };
    files.filter(|path| generation(path).is_some()).max_by_key(generation).unwrap()
}

/// Ends every connection to the runtime sockets of the process behind `socket` (management guide, 9.3 "shutdown session").
fn cut_connections(socket: &Path) {
    let sessions = haproxy::ask(socket, "show sess").unwrap_or_default();
    // That of the question is gone by now, and a client's may have its number.
    let stands = |line: &&str| line.contains(" fe=GLOBAL ") && !line.contains(" age=0s ");
    for session in sessions.lines().filter(stands) {
        let id = session.split(':').next().unwrap();
        drop(haproxy::ask(socket, &format!("shutdown session {id}")));
    }
}

impl Shared {
    fn serve(self: Arc<Self>, client: &UnixStream) {
        let (commands, arrived) = mpsc::channel();
        let lines = BufReader::new(client.try_clone().unwrap()).lines();
        let noting = Arc::clone(&self);
        // Noted when they come, however long the reply to an earlier one takes.
        std::thread::spawn(move || {
            for command in lines.map_while(Result::ok) {
                let place = noting.note(command.clone());
                drop(commands.send((command, place)));
            }
        });
        if let Ok(real) = UnixStream::connect(&self.real) {
            for (command, place) in arrived {
                if !self.pass_on(&command, place, client, &real) {
                    break;
                }
            }
        }
        drop(client.shutdown(Shutdown::Both));
    }

    /// Whether the connection goes on after `command`.
    fn pass_on(&self, command: &str, place: usize, mut client: &UnixStream, real: &UnixStream) -> bool {
        if *self.hangs.lock().unwrap() {
            wait_for_the_end(client);
            return false;
        }
        let fault = self.fault_for(command);
        if let Some(Fault::PassedOnLate(delay)) = fault {
            wait_for_the_end(client);
            std::thread::sleep(delay);
            drop(exchange(command, real));
            return false;
        }
        let Ok(reply) = exchange(command, real) else { return false };
        let whole = |text: &str| [text.as_bytes(), b"\n", PROMPT].concat();
        let (back, goes_on) = match fault {
            None => (reply, true),
            Some(Fault::Cut) => (reply[..reply.len() / 2].to_vec(), false),
            Some(Fault::Close) => (Vec::new(), false),
            Some(Fault::Late(delay)) => {
                std::thread::sleep(delay);
                (reply, false)
            }
            Some(Fault::Replaced(text)) => (whole(text), true),
            Some(Fault::Preceded(text)) => ([whole(text), reply].concat(), true),
            Some(Fault::Swallowed) => {
                wait_for_the_end(client);
                (Vec::new(), false)
            }
            Some(Fault::Killed) => {
                self.haproxy.signal(Signal::SIGKILL);
                (Vec::new(), false)
            }
            Some(Fault::PassedOnLate(_)) => unreachable!("see above"),
        };
        let written = client.write_all(&back).is_ok();
        self.sent.lock().unwrap()[place].answered = fault.is_none() && written;
        goes_on && written
    }

    fn fault_for(&self, command: &str) -> Option<Fault> {
        let mut faults = self.faults.lock().unwrap();
        let struck = faults.front().is_some_and(|(begins, _)| command.starts_with(begins));
        struck.then(|| faults.pop_front()).flatten().map(|(_, fault)| fault)
    }

    /// Gives its place among those that were sent.
    fn note(&self, command: String) -> usize {
        let mut sent = self.sent.lock().unwrap();
        sent.push(Sent { command, answered: false });
        sent.len() - 1
    }
}

/// Waits until `client` gives up.
fn wait_for_the_end(client: &UnixStream) {
    let mut watched = [PollFd::new(client.as_fd(), PollFlags::empty())];
    let hung_up = poll(&mut watched, PollTimeout::try_from(SOON).unwrap()).unwrap();
    assert_eq!(hung_up, 1, "nobody gives up");
}

/// The reply with its prompt.
fn exchange(command: &str, mut real: &UnixStream) -> std::io::Result<Vec<u8>> {
    real.write_all(format!("{command}\n").as_bytes())?;
    let (mut reply, mut chunk) = (Vec::new(), [0; 8192]);
    while !reply.ends_with(PROMPT) {
        match real.read(&mut chunk)? {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            count => reply.extend_from_slice(&chunk[..count]),
        }
    }
    Ok(reply)
}
