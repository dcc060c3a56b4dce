//! What goes into the reconciler and what comes out of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::notice::Notice;
use crate::engine::command::{RuntimeCommand, Verdict};
use crate::engine::http_frontend::MapFile;
use crate::engine::include::Includes;
use crate::engine::listen_address::ListenAddress;
use crate::engine::mention::mentions;
use crate::engine::observed::Observed;
use crate::engine::reload_reason::ReloadReason;
use crate::engine::render::{Owner, Rendered};
use crate::engine::route::FrontendName;
use crate::engine::section::Base;
use crate::engine::server::Server;
use crate::engine::service::{ServiceName, ServiceSpec};
use crate::engine::state::AppliedState;
use crate::engine::template::Template;

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
    /// What the sections share is to be this now; `HAProxy` took it by itself.
    Base(Arc<Base>),
    /// The included files read so now, or were touched.
    Includes(Includes),
    /// The template reads so now, or was touched; `None` for the built-in layout.
    Template(Option<Template>),
    /// The template can't be used, and why.
    TemplateUnusable(String),
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
        /// How many clients it may take at a time, when there are not enough files for `maxconn`.
        maxconn: Option<u32>,
        /// What the serving process, or the last one, holds.
        before: Option<Box<AppliedState>>,
        /// What the new process is to hold.
        after: AppliedState,
    },
    /// Write the configuration, then send the commands.
    Apply {
        /// The configuration once the commands are done; `None` when they don't change it.
        config: Option<Rendered>,
        /// The commands, in order.
        commands: Vec<RuntimeCommand>,
        /// The listen sockets of each frontend that is shut down; they stay open until that is certain.
        closes: BTreeMap<ServiceName, Vec<ListenAddress>>,
    },
    /// Tell what the running process holds.
    Compare {
        /// The files whose routes are to be told.
        routes: Vec<MapFile>,
    },
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
    /// Addresses that can't be bound: whose, and why.
    Listen {
        /// Of services.
        services: Vec<(ServiceName, String)>,
        /// Of frontends of proxymgr.yml.
        frontends: Vec<(FrontendName, String)>,
    },
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
        mentions(&self.text, name)
    }
}
