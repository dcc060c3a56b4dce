//! What the operator is told.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use super::template::TemplateMeanwhile;
use crate::engine::limits::Warning;
use crate::engine::policy::Obstacle;
use crate::engine::reload_reason::ReloadReason;
use crate::engine::route::FrontendName;
use crate::engine::service::ServiceName;

/// The most commands that are told of one order.
const MOST_COMMANDS: usize = 12;

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
    /// The addresses of a frontend can't be had.
    FrontendOut {
        /// The frontend.
        frontend: FrontendName,
        /// Why.
        reason: String,
        /// Whether it listens where it did before.
        serves_on: bool,
    },
    /// It has them.
    FrontendBack(FrontendName),
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
    /// Values of a registry do not go ahead, and why; the last good ones stay.
    ValuesRefused(String),
    /// All values of the registry go ahead again.
    ValuesTaken,
    /// The template does not go ahead.
    TemplateRefused {
        /// Why.
        reason: String,
        /// What there is in its place.
        meanwhile: TemplateMeanwhile,
    },
    /// The template goes ahead again.
    TemplateTaken,
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
    /// Something runs out, or is about to. It is told once for each degree.
    Limit(Warning),
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
    /// `HAProxy` takes no configuration with the new definitions, and it is not clear which is the cause.
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

impl fmt::Display for IncludesMeanwhile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::LastGood => "the last good ones serve on",
            Self::WithoutTheFile => "this file is left out",
        })
    }
}

impl Notice {
    /// Whether it tells of trouble.
    pub fn is_trouble(&self) -> bool {
        match self {
            Self::Cleared(_)
            | Self::FrontendBack(_)
            | Self::IncludesTaken
            | Self::ValuesTaken
            | Self::TemplateTaken
            | Self::Reloading(_)
            | Self::Reloaded(_)
            | Self::ConfigWritten
            | Self::Applying(_) => false,
            Self::Obstructed { .. }
            | Self::FrontendOut { .. }
            | Self::IncludesRefused { .. }
            | Self::ValuesRefused(_)
            | Self::TemplateRefused { .. }
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
            | Self::Limit(_)
            | Self::StartsWithout(_) => true,
        }
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Obstructed { service, obstacle: obstacle @ Obstacle::StillNeeded { .. }, serves_on: _ } => {
                write!(f, "service {service} {obstacle}")
            }
            Self::Obstructed { service, obstacle, serves_on } => {
                let meanwhile =
                    if *serves_on { "its last good definition serves on" } else { "it does not serve" };
                write!(f, "service {service} is refused, {meanwhile}: {obstacle}")
            }
            Self::Cleared(service) => write!(f, "service {service} goes ahead"),
            Self::FrontendOut { frontend, reason, serves_on } => {
                let meanwhile = if *serves_on {
                    "it listens where it did before"
                } else {
                    "it is out with its routes, all else goes on"
                };
                write!(f, "frontend {frontend}: {reason}; {meanwhile}, and it is tried again every 5 s")
            }
            Self::FrontendBack(frontend) => write!(f, "frontend {frontend} listens"),
            Self::IncludesRefused { file: _, reason, meanwhile } => {
                write!(f, "the included files are refused, {meanwhile}: {reason}")
            }
            Self::IncludesTaken => f.write_str("all included files go ahead"),
            Self::ValuesRefused(why) => {
                write!(f, "a value of the registry is refused, the last good one stays: {why}")
            }
            Self::ValuesTaken => f.write_str("all values of the registry go ahead"),
            Self::TemplateRefused { reason, meanwhile } => {
                write!(f, "the template is refused, {meanwhile}: {reason}")
            }
            Self::TemplateTaken => f.write_str("the template goes ahead"),
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
            Self::Limit(warning) => f.write_str(&warning.text),
            Self::Applying(commands) => {
                let shown = commands.iter().take(MOST_COMMANDS).map(String::as_str).collect::<Vec<_>>();
                write!(f, "runtime change: {}", shown.join("; "))?;
                match commands.len().saturating_sub(MOST_COMMANDS) {
                    0 => Ok(()),
                    more => write!(f, "; and {more} more"),
                }
            }
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
                "HAProxy takes no configuration with {services} new definitions; they are tried in parts: {why}"
            ),
            Self::Died { how, restart_in } => write!(
                f,
                "HAProxy ended by itself ({how}); starting it again in {} ms",
                restart_in.as_millis()
            ),
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
            Self::LossTaken { service, missing } => write!(
                f,
                "service {service}: the loss of {missing} servers has lasted for shrink_hold; they leave"
            ),
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
