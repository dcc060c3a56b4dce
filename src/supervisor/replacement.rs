//! The program that takes the place of this one: asked, then trusted.

use std::ffi::OsStr;
use std::future::pending;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use tokio::task::JoinHandle;
use tracing::{error, info, warn};

use super::handover::exec::replace_program;
use super::handover::probe::{ProbeError, probe};
use super::handover::record::Record;
use crate::admin::protocol::{Failure, FailureCode};
use crate::admin::request::Asker;
use crate::engine::error_text::with_causes;
use crate::engine::secret::Secret;
use crate::engine::state::AppliedState;
use crate::haproxy::actor::{Actor, Handle, Settings};
use crate::haproxy::handover::HandedOver;
use crate::process::reaper::Reaper;
use crate::systemd;

/// This very program, though its file may be another one by now (proc(5), `/proc/PID/exe`).
const ITSELF: &str = "/proc/self/exe";

/// Why a program takes over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// proxymgr.yml is to be read again: the same program, which begins with it.
    Reread,
    /// Another program was installed.
    Upgrade,
}

/// What a program that may take over still waits for.
const UNDER_WAY: &str = "what is under way with HAProxy to end";

impl Why {
    /// What is waited for first.
    fn probe(self) -> &'static str {
        match self {
            Self::Reread => "proxymgr.yml to be read and checked",
            Self::Upgrade => "the installed program to check the configuration and what runs",
        }
    }

    fn refused(self) -> &'static str {
        match self {
            Self::Reread => "proxymgr.yml is not taken; the settings of before stay",
            Self::Upgrade => "the new program is not taken; this one goes on",
        }
    }

    fn takes_the_place(self) -> &'static str {
        match self {
            Self::Reread => "proxymgr.yml is read again instead, which was asked for later",
            Self::Upgrade => "an upgrade takes its place, which was asked for later",
        }
    }
}

/// What is handed over besides `HAProxy`.
#[derive(Debug)]
pub(super) struct Ours {
    /// As [`Reader::to_lines`](crate::admin::history::Reader::to_lines) gives it.
    pub(super) history: String,
    /// As [`Totals::to_text`](super::metrics::Totals::to_text) gives it.
    pub(super) totals: String,
    /// The socket of HTTP.
    pub(super) http: Option<(SocketAddr, OwnedFd)>,
}

/// The way from one program to the next.
#[derive(Debug)]
pub(super) struct Replacement {
    program: PathBuf,
    config_file: PathBuf,
    haproxy: Settings,
    reaper: Reaper,
    state: State,
    /// Who waits for what becomes of it.
    askers: Vec<Asker>,
}

/// What the program was asked: whether it would take over, with this proxymgr.yml.
#[derive(Clone, Debug)]
struct Question {
    why: Why,
    config: Option<Secret>,
}

#[derive(Debug)]
enum State {
    None,
    Asked(Question, JoinHandle<Result<(), ProbeError>>),
    Ready(Question),
}

/// The file of this program, or the one that has taken its place already: proc(5) tells of the old one then.
fn own_program() -> Option<PathBuf> {
    let path = std::env::current_exe().ok()?;
    let replaced = path.as_os_str().as_encoded_bytes().strip_suffix(b" (deleted)");
    Some(replaced.map_or(path.clone(), |name| OsStr::from_bytes(name).into()))
}

impl Replacement {
    /// `program` is what a predecessor said; else it is what runs now.
    pub(super) fn new(
        program: Option<PathBuf>,
        config_file: PathBuf,
        haproxy: Settings,
        reaper: Reaper,
    ) -> Self {
        let program = program.or_else(own_program).unwrap_or_else(|| ITSELF.into());
        Self { program, config_file, haproxy, reaper, state: State::None, askers: Vec::new() }
    }

    /// Asks the program whether it can go on from what runs; a later call replaces an earlier one. The `asker` is told what
    /// becomes of it.
    pub(super) fn begin(&mut self, why: Why, asker: Option<Asker>, applied: Option<&AppliedState>) {
        let before = match &self.state {
            State::None => None,
            State::Asked(before, probing) => {
                probing.abort();
                Some(before.why)
            }
            State::Ready(before) => Some(before.why),
        };
        if before.is_some_and(|before| before != why) {
            self.refuse(FailureCode::Superseded, why.takes_the_place());
        }
        if let Some(asker) = asker {
            asker.waits_for(why.probe());
            self.askers.push(asker);
        }
        let program = self.program(why);
        match why {
            Why::Reread => {
                info!("reading proxymgr.yml again");
                systemd::tell(systemd::State::Reloading);
            }
            Why::Upgrade => info!(program = %program.display(), "an upgrade was asked for"),
        }
        // What can't be read is for the program to tell.
        let config = std::fs::read_to_string(&self.config_file).ok().map(Secret::new);
        let (record, _no_files) = Record::of(&self.program, HandedOver::default(), applied);
        let record = record
            .with_config(config.clone())
            .with_operators_socket(self.haproxy.operators_address().as_ref());
        let probing = tokio::spawn(probe(self.reaper.clone(), program, self.config_file.clone(), record));
        self.state = State::Asked(Question { why, config }, probing);
    }

    fn program(&self, why: Why) -> PathBuf {
        match why {
            Why::Reread => ITSELF.into(),
            Why::Upgrade => self.program.clone(),
        }
    }

    /// Waits for the answer of the program that was asked; a refusal is logged and changes nothing. Cancel safe.
    pub(super) async fn answered(&mut self) {
        let State::Asked(question, asked) = &mut self.state else { return pending().await };
        let why = question.why;
        let error = match asked.await {
            Ok(Ok(())) => {
                self.state = State::Ready(question.clone());
                self.askers.iter().for_each(|asker| asker.waits_for(UNDER_WAY));
                return;
            }
            Ok(Err(error)) => with_causes(&error),
            Err(panicked) => panicked.to_string(),
        };
        error!(error, "{}", why.refused());
        self.refuse(FailureCode::Refused, &format!("{}: {error}", why.refused()));
        systemd::tell(systemd::State::Ready);
        self.state = State::None;
    }

    /// Whether a program is ready to take over.
    pub(super) fn is_ready(&self) -> bool {
        matches!(self.state, State::Ready(_))
    }

    /// Hands everything to the program. Returns only when it can't be executed: then this one goes on.
    pub(super) fn replace(
        &mut self,
        handed: HandedOver,
        applied: Option<&AppliedState>,
        ours: Ours,
    ) -> Handle {
        let State::Ready(question) = std::mem::replace(&mut self.state, State::None) else {
            return self.go_on(handed);
        };
        let (record, mut files) = Record::of(&self.program, handed, applied);
        let record = record.with_config(question.config).with_ours(ours, &mut files);
        info!("another program takes over");
        let error = with_causes(&replace_program(Path::new(&self.program(question.why)), &record, &files));
        let message = "no other program could take over; this one goes on";
        warn!(error, "{message}");
        self.refuse(FailureCode::Refused, &format!("{message}: {error}"));
        systemd::tell(systemd::State::Ready);
        self.go_on(record.handed_over(&mut files, applied))
    }

    fn refuse(&mut self, code: FailureCode, message: &str) {
        for asker in self.askers.drain(..) {
            asker.refuse(Failure::new(code, message));
        }
    }

    /// Goes on with what runs.
    pub(super) fn go_on(&self, handed: HandedOver) -> Handle {
        let (handle, no_socket) = Actor::take_over(self.haproxy.clone(), self.reaper.clone(), handed);
        if let Some(error) = no_socket {
            error!(error = with_causes(&error), "the operators' socket (haproxy.socket_path) is lost");
        }
        handle
    }
}
