//! What goes into the reconciler and what comes out of it.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::engine::command::{RuntimeCommand, Verdict};
use crate::engine::include::Includes;
use crate::engine::listen_address::ListenAddress;
use crate::engine::observed::Observed;
use crate::engine::policy::Obstacle;
use crate::engine::reload_reason::ReloadReason;
use crate::engine::render::{Owner, Rendered};
use crate::engine::server::Server;
use crate::engine::service::{ServiceName, ServiceSpec};
use crate::engine::state::AppliedState;

/// What happened.
#[derive(Clone, Debug)]
pub enum Input {
    /// Every source of services has answered once.
    Listed,
    /// A service has this definition now.
    Defined(ServiceName, Arc<ServiceSpec>),
    /// A service is gone.
    Removed(ServiceName),
    /// The servers that a service had in an earlier run; they count for as long as its watcher has no answer.
    Remembered(ServiceName, Vec<Server>),
    /// A service's watcher has a new answer.
    Servers(ServiceName, Vec<Server>),
    /// The servers that a service's definition names itself, where host names among them lead to now. Only such a definition
    /// is followed by it.
    FixedServers(ServiceName, Vec<Server>),
    /// The included files read so now, or were touched.
    Includes(Includes),
    /// The order under way is done.
    Done(Outcome),
    /// The serving process ended by itself.
    Died {
        /// How it ended.
        how: String,
    },
    /// A deadline came.
    Tick,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// For `HAProxy`; the next one comes after this one's [`Input::Done`].
    Order(Order),
    /// For the log.
    Notice(Notice),
    /// `HAProxy` serves for the first time.
    Ready,
}

/// One thing to do to `HAProxy`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Start a new process, and let the old one end once the new one serves.
    Reload {
        /// Why.
        reasons: BTreeSet<ReloadReason>,
        /// What can be done in the old process at once.
        first: Vec<RuntimeCommand>,
        /// The new process's configuration.
        config: Rendered,
        /// What the serving process, or the last one, holds.
        before: Option<AppliedState>,
        /// What the new process is to hold.
        after: AppliedState,
    },
    /// Write the configuration, then send the commands.
    Apply {
        /// The configuration once the commands are done; `None` when they don't change it.
        config: Option<Rendered>,
        /// The commands, in order.
        commands: Vec<RuntimeCommand>,
        /// The listen sockets still needed afterwards, when some no longer are.
        listen: Option<BTreeSet<ListenAddress>>,
    },
    /// Tell what the running process holds.
    Compare,
}

/// What became of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The new process serves.
    Reloaded {
        /// How long after the order.
        took: Duration,
        /// Why the configuration could not be written.
        config_error: Option<String>,
    },
    /// The old process, if any, serves on.
    ReloadFailed(ReloadFailure),
    /// Each command's verdict, in order, up to the first that got no reply; and whether the configuration was written.
    Applied {
        /// The verdicts.
        verdicts: Vec<Verdict>,
        /// Why the configuration could not be written.
        config_error: Option<String>,
    },
    /// What the running process holds.
    Compared(Observed),
    /// The running process did not tell.
    CompareFailed(String),
}

/// Why a reload failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReloadFailure {
    /// Addresses that can't be bound.
    Listen(Vec<(ServiceName, String)>),
    /// `HAProxy` refuses the configuration.
    Refused(Vec<Complaint>),
    /// The new process ended before it served, and said this of its configuration; or the one that checks it was killed, or
    /// didn't end.
    Ended {
        /// How it ended.
        why: String,
        /// What it said.
        complaints: Vec<Complaint>,
    },
    /// The new process could not be started, or never served.
    NotServing(String),
}

/// One message of `HAProxy` about a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Complaint {
    /// The line it names.
    pub line: Option<usize>,
    /// The proxy it names.
    pub proxy: Option<String>,
    /// Its text.
    pub text: String,
}

impl Complaint {
    /// Whom of `config` it is about, by line or by proxy; `None` when it is about what all share.
    pub fn accused(&self, config: &Rendered) -> Option<Owner> {
        let by_line = self.line.and_then(|line| config.owner_of_line(line));
        by_line.or_else(|| config.owner_of_section(self.proxy.as_deref()?))
    }

    /// Whether `name` is one of its words.
    pub fn mentions(&self, name: &str) -> bool {
        let of_names = |c: char| c.is_ascii_alphanumeric() || "-_.:".contains(c);
        let mut words = self.text.split(|c| !of_names(c));
        words.any(|word| word == name || word.trim_end_matches([':', '.']) == name)
    }
}

/// Something to tell the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A service's definition does not go ahead.
    Obstructed {
        /// The service.
        service: ServiceName,
        /// Why.
        obstacle: Obstacle,
        /// Whether its last good definition serves on.
        serves_on: bool,
    },
    /// A service's definition goes ahead again.
    Cleared(ServiceName),
    /// Included files do not go ahead.
    IncludesRefused {
        /// The guilty file.
        file: String,
        /// Why: the file, the line, and what is wrong there.
        reason: String,
        /// What becomes of the included files.
        meanwhile: IncludesMeanwhile,
    },
    /// All included files go ahead again.
    IncludesTaken,
    /// A reload begins.
    Reloading(BTreeSet<ReloadReason>),
    /// The new process serves.
    Reloaded(Duration),
    /// A reload failed.
    ReloadFailed {
        /// Why.
        why: String,
        /// Whether the old process serves on.
        serves_on: bool,
    },
    /// A command got an unexpected reply.
    Unexpected {
        /// The command's text.
        command: String,
        /// The reply.
        reply: String,
    },
    /// The runtime commands to be sent.
    Applying(Vec<String>),
    /// The configuration could not be written. It is told once for each reason.
    ConfigUnwritten(String),
    /// The configuration is written again.
    ConfigWritten,
    /// The running process differs from what was applied.
    Differs(Vec<String>),
    /// The comparison failed.
    CompareFailed(String),
    /// `HAProxy` refuses new definitions without saying which.
    TriedInParts {
        /// What it says.
        why: String,
        /// How many are new.
        services: usize,
    },
    /// The serving process ended by itself.
    Died {
        /// How.
        how: String,
        /// When it is started again.
        restart_in: Duration,
    },
    /// The last good configuration is gone back to, since what came after it kept killing the process.
    BackToLastGood {
        /// How the process ended last.
        how: String,
        /// What is left out, or as it was before.
        without: Vec<String>,
    },
    /// A registry's answer is empty, and the last servers stay.
    KeptThoughEmpty {
        /// The service.
        service: ServiceName,
        /// How many servers stay.
        servers: usize,
    },
    /// Most servers are missing in a registry's answer, and stay for now.
    LossHeld {
        /// The service.
        service: ServiceName,
        /// How many are missing.
        missing: usize,
        /// How long they stay.
        hold: Duration,
    },
    /// The loss lasted, and the servers leave.
    LossTaken {
        /// The service.
        service: ServiceName,
        /// How many leave.
        missing: usize,
    },
    /// These services start with the servers of an earlier run: their registries did not answer in time.
    StartsFromMemory(Vec<ServiceName>),
    /// Not every service has had its first answer in time.
    StartsWithout(Vec<ServiceName>),
}

/// What becomes of the included files when they are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IncludesMeanwhile {
    /// All serve on as they were.
    LastGood,
    /// The guilty file is left out.
    WithoutTheFile,
}

impl Notice {
    /// Whether it tells of trouble.
    pub fn is_trouble(&self) -> bool {
        match self {
            Self::Cleared(_)
            | Self::IncludesTaken
            | Self::Reloading(_)
            | Self::Reloaded(_)
            | Self::ConfigWritten
            | Self::Applying(_) => false,
            Self::Obstructed { .. }
            | Self::IncludesRefused { .. }
            | Self::ReloadFailed { .. }
            | Self::Unexpected { .. }
            | Self::ConfigUnwritten(_)
            | Self::Differs(_)
            | Self::CompareFailed(_)
            | Self::TriedInParts { .. }
            | Self::Died { .. }
            | Self::BackToLastGood { .. }
            | Self::KeptThoughEmpty { .. }
            | Self::LossHeld { .. }
            | Self::LossTaken { .. }
            | Self::StartsFromMemory(_)
            | Self::StartsWithout(_) => true,
        }
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Obstructed { service, obstacle, serves_on } => {
                let meanwhile =
                    if *serves_on { "its last good definition serves on" } else { "it does not serve" };
                write!(f, "service {service} is refused, {meanwhile}: {obstacle}")
            }
            Self::Cleared(service) => write!(f, "service {service} goes ahead"),
            Self::IncludesRefused { file: _, reason, meanwhile } => {
                let meanwhile = match meanwhile {
                    IncludesMeanwhile::LastGood => "the last good ones serve on",
                    IncludesMeanwhile::WithoutTheFile => "this file is left out",
                };
                write!(f, "the included files are refused, {meanwhile}: {reason}")
            }
            Self::IncludesTaken => f.write_str("all included files go ahead"),
            Self::Reloading(reasons) => write!(f, "reloading HAProxy: {}", join(reasons)),
            Self::Reloaded(took) => write!(f, "HAProxy serves, {} ms after the order", took.as_millis()),
            Self::ReloadFailed { why, serves_on: true } => {
                write!(f, "reload failed, what runs serves on: {why}")
            }
            Self::ReloadFailed { why, serves_on: false } => {
                write!(f, "HAProxy can't be started, clients wait; trying again: {why}")
            }
            Self::Unexpected { command, reply } => {
                write!(f, "unexpected reply of HAProxy to '{command}', comparing: {reply:?}")
            }
            Self::Applying(commands) => write!(f, "runtime change: {}", commands.join("; ")),
            Self::ConfigUnwritten(why) => write!(
                f,
                "haproxy.cfg is not up to date; HAProxy serves on with all changes, and writing is tried again: {why}"
            ),
            Self::ConfigWritten => f.write_str("haproxy.cfg is up to date again"),
            Self::Differs(differences) => {
                write!(f, "HAProxy differs from what was applied: {}", differences.join(", "))
            }
            Self::CompareFailed(why) => write!(f, "HAProxy did not tell its state: {why}"),
            Self::TriedInParts { why, services } => write!(
                f,
                "HAProxy refuses {services} new definitions without saying which; they are tried in parts: {why}"
            ),
            Self::Died { how, restart_in } => {
                write!(
                    f,
                    "HAProxy ended by itself ({how}); starting it again in {} ms",
                    restart_in.as_millis()
                )
            }
            Self::BackToLastGood { how, without } => write!(
                f,
                "HAProxy keeps ending by itself ({how}) since these changed: {}; back to the last good configuration without what is new of them",
                without.join(", ")
            ),
            Self::KeptThoughEmpty { service, servers } => write!(
                f,
                "service {service}: its registry lists no server any more; the last {servers} stay (on_empty: keep)"
            ),
            Self::LossHeld { service, missing, hold } => write!(
                f,
                "service {service}: {missing} servers are missing in its registry; they stay for {} s, and leave if the loss lasts (max_shrink, shrink_hold)",
                hold.as_secs()
            ),
            Self::LossTaken { service, missing } => {
                write!(
                    f,
                    "service {service}: the loss of {missing} servers has lasted for shrink_hold; they leave"
                )
            }
            Self::StartsFromMemory(services) => write!(
                f,
                "starting with the servers of an earlier run, since there was no answer in time: {}",
                join(services)
            ),
            Self::StartsWithout(services) if services.is_empty() => {
                f.write_str("starting though not every source has told its services yet")
            }
            Self::StartsWithout(services) => {
                write!(f, "starting though these services have had no answer yet: {}", join(services))
            }
        }
    }
}

fn join<T: fmt::Display>(items: impl IntoIterator<Item = T>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(", ")
}
