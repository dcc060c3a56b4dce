//! Why `HAProxy` is reloaded.

use std::fmt;

use super::capability::CannotAdd;
use super::route::FrontendName;
use super::service::ServiceName;

/// One reason; a reload carries all of its own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ReloadReason {
    /// `ProxyMgr` starts.
    Start,
    /// `HAProxy` ended by itself.
    Crash(String),
    /// `global`, `defaults` or the operators' socket changed.
    Base,
    /// A frontend of proxymgr.yml is new, changed, gone, or has another try at its addresses.
    Frontend(FrontendName),
    /// Another `HAProxy` is installed, or named in proxymgr.yml.
    Program,
    /// The included files changed.
    Includes,
    /// The template changed.
    Template,
    /// The template writes more than other servers, which no command tells the process.
    TemplateOutput,
    /// A service is new.
    NewService(ServiceName),
    /// A service's port, addresses or options changed.
    ServiceChanged(ServiceName),
    /// A service is gone and runtime updates are off.
    ServiceGone(ServiceName),
    /// A service is gone, and others may refer to it: `HAProxy` is asked.
    NeededServiceGone(ServiceName),
    /// A service is gone, and `HAProxy` would not let go of its address at run time.
    HeldServiceGone(ServiceName),
    /// A service's servers changed in a way that this `HAProxy` can't do at run time.
    Servers(ServiceName, ServerReason),
    /// So many more servers are checked than when the process counted the files that it needs.
    Checks(u64),
    /// What runs isn't what was applied, and commands didn't mend it.
    Repair(String),
}

/// What of a service's servers needs a reload.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ServerReason {
    /// A server is new.
    New(CannotAdd),
    /// A server became a backup, or none any more, moved, or has other options of its own.
    Replaced,
    /// A weight changed under an algorithm with a static table.
    StaticWeight,
    /// A server is gone, back, or has another weight, and runtime updates are off.
    UpdatesOff,
}

impl ReloadReason {
    /// All that [`Self::kind`] gives.
    pub const KINDS: [&str; 13] = [
        "start",
        "crash",
        "base_changed",
        "frontend_changed",
        "program_changed",
        "include_changed",
        "template_changed",
        "new_service",
        "service_changed",
        "service_gone",
        "servers_changed",
        "room_for_checks",
        "repair",
    ];

    /// A fixed name for counters and logs.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Crash(_) => "crash",
            Self::Base => "base_changed",
            Self::Frontend(_) => "frontend_changed",
            Self::Program => "program_changed",
            Self::Includes => "include_changed",
            Self::Template | Self::TemplateOutput => "template_changed",
            Self::NewService(_) => "new_service",
            Self::ServiceChanged(_) => "service_changed",
            Self::ServiceGone(_) | Self::NeededServiceGone(_) | Self::HeldServiceGone(_) => "service_gone",
            Self::Servers(..) => "servers_changed",
            Self::Checks(_) => "room_for_checks",
            Self::Repair(_) => "repair",
        }
    }
}

impl fmt::Display for ReloadReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start => f.write_str("start"),
            Self::Crash(how) => write!(f, "HAProxy ended ({how})"),
            Self::Base => f.write_str("global or defaults changed"),
            Self::Frontend(frontend) => write!(f, "frontend {frontend} changed, or is tried again"),
            Self::Program => f.write_str("another HAProxy is installed"),
            Self::Includes => f.write_str("the included files changed"),
            Self::Template => f.write_str("the template changed"),
            Self::TemplateOutput => f.write_str("the template writes other lines than those of servers"),
            Self::NewService(service) => write!(f, "{service}: new service"),
            Self::ServiceChanged(service) => write!(f, "{service}: port, address or options changed"),
            Self::ServiceGone(service) => write!(f, "{service}: service gone, runtime updates are off"),
            Self::NeededServiceGone(service) => {
                write!(f, "{service}: service gone, and others may refer to it")
            }
            Self::HeldServiceGone(service) => {
                write!(f, "{service}: service gone, and `expose-fd listeners` keeps its address until then")
            }
            Self::Servers(service, reason) => write!(f, "{service}: {reason}"),
            Self::Checks(more) => {
                write!(f, "open files for the checks of {more} servers that came since the last one")
            }
            Self::Repair(what) => write!(f, "repair: {what}"),
        }
    }
}

impl fmt::Display for ServerReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::New(cause) => write!(f, "new server, and {cause}"),
            Self::Replaced => f.write_str("the backup role or the own options of a server changed"),
            Self::StaticWeight => f.write_str("new weight under a static balance algorithm"),
            Self::UpdatesOff => f.write_str("servers changed, runtime updates are off"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::fixtures::name;

    #[test]
    fn each_kind_is_counted() {
        let reasons = [
            ReloadReason::Start,
            ReloadReason::Crash(String::new()),
            ReloadReason::Base,
            ReloadReason::Frontend(FrontendName::parse("in").unwrap()),
            ReloadReason::Program,
            ReloadReason::Includes,
            ReloadReason::Template,
            ReloadReason::NewService(name("a")),
            ReloadReason::ServiceChanged(name("a")),
            ReloadReason::ServiceGone(name("a")),
            ReloadReason::Servers(name("a"), ServerReason::Replaced),
            ReloadReason::Checks(1),
            ReloadReason::Repair(String::new()),
        ];
        assert_eq!(reasons.map(|reason| reason.kind()), ReloadReason::KINDS);
    }
}
