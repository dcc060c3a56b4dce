//! Commands of `HAProxy`'s runtime socket: their exact text, the replies that mean success, and what they do to the
//! applied state. Source: management guide, 9.3 "Unix Socket commands".

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use super::backend_action::BackendAction;
use super::capability::DynamicServer;
use super::http_frontend::MapFile;
use super::route_change::{RouteChange, RouteEdit};
use super::server::{ServerName, Weight};
use super::service::ServiceName;
use super::state::{AppliedServer, AppliedService, AppliedState, Checks, Frontend, Standing};

/// One command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RuntimeCommand {
    /// Registers a new server, in maintenance.
    AddServer(Box<NewServer>),
    /// Switches a new server's checks on.
    EnableCheck {
        /// The backend.
        service: ServiceName,
        /// The server.
        server: ServerName,
        /// Which check.
        check: Check,
    },
    /// Changes a server's standing, weight, or existence.
    Server {
        /// The backend.
        service: ServiceName,
        /// The server.
        server: ServerName,
        /// What to do.
        action: ServerAction,
    },
    /// Stops a frontend for good in this process.
    ShutdownFrontend(ServiceName),
    /// Changes a backend as a whole.
    Backend {
        /// The backend.
        service: ServiceName,
        /// What to do.
        action: BackendAction,
    },
    /// Changes a route.
    Route {
        /// The frontend's routes.
        map: MapFile,
        /// The change.
        change: Box<RouteChange>,
    },
}

/// A server to add.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewServer {
    /// The backend.
    pub service: ServiceName,
    /// The server's name.
    pub name: ServerName,
    /// What the applied state holds once it is added.
    pub applied: AppliedServer,
    /// Its options.
    pub dynamic: DynamicServer,
}

/// The two kinds of check of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// `check`.
    Health,
    /// `agent-check`.
    Agent,
}

/// What happens to one server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerAction {
    /// Puts it into rotation.
    Ready,
    /// Takes it out of rotation; its connections go on.
    Maintenance,
    /// Sets its weight.
    Weight(Weight),
    /// Sends its traffic to another address; connections that stand stay where they are.
    Address(SocketAddr),
    /// Deletes it, when it is in maintenance and has no connections.
    Delete,
}

/// What a reply means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The exact text of success.
    Done,
    /// The server can't be deleted while connections last.
    StillInUse,
    /// The server can't be deleted while the configuration refers to it.
    Pinned,
    /// The server can't be added to this backend at run time.
    CannotAdd(String),
    /// Anything else, which calls for a comparison.
    Unexpected(String),
    /// The connection ended before.
    NoReply,
}

impl Verdict {
    /// Whether it is unknown if the command was carried out.
    pub fn leaves_doubt(&self) -> bool {
        match self {
            Self::Done | Self::StillInUse | Self::Pinned => false,
            Self::CannotAdd(_) | Self::Unexpected(_) | Self::NoReply => true,
        }
    }
}

impl fmt::Display for RuntimeCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AddServer(new) => {
                let NewServer { service, name, applied, dynamic } = &**new;
                write!(f, "add server {service}/{name} {} id {}", applied.address, applied.id)?;
                for word in &dynamic.options {
                    write!(f, " {word}")?;
                }
                write!(f, " weight {}{}", applied.weight, if applied.backup { " backup" } else { "" })
            }
            Self::EnableCheck { service, server, check: Check::Health } => {
                write!(f, "enable health {service}/{server}")
            }
            Self::EnableCheck { service, server, check: Check::Agent } => {
                write!(f, "enable agent {service}/{server}")
            }
            Self::Server { service, server, action } => match action {
                ServerAction::Ready => write!(f, "set server {service}/{server} state ready"),
                ServerAction::Maintenance => write!(f, "set server {service}/{server} state maint"),
                ServerAction::Weight(weight) => write!(f, "set server {service}/{server} weight {weight}"),
                ServerAction::Address(to) => {
                    write!(f, "set server {service}/{server} addr {} port {}", to.ip(), to.port())
                }
                ServerAction::Delete => write!(f, "del server {service}/{server}"),
            },
            Self::ShutdownFrontend(service) => write!(f, "shutdown frontend {service}"),
            Self::Backend { service, action } => action.write(f, service),
            Self::Route { map, change } => change.write(f, map),
        }
    }
}

impl RuntimeCommand {
    /// A command about one server.
    pub fn server(service: &ServiceName, server: &ServerName, action: ServerAction) -> Self {
        Self::Server { service: service.clone(), server: server.clone(), action }
    }

    /// The service that it is about.
    pub fn service(&self) -> &ServiceName {
        match self {
            Self::AddServer(new) => &new.service,
            Self::EnableCheck { service, .. }
            | Self::Server { service, .. }
            | Self::Backend { service, .. }
            | Self::ShutdownFrontend(service) => service,
            Self::Route { map: _, change } => change.service(),
        }
    }

    /// The server that it changes, if it changes one.
    pub fn changed_server(&self) -> Option<(&ServiceName, &ServerName)> {
        match self {
            Self::AddServer(new) => Some((&new.service, &new.name)),
            Self::EnableCheck { service, server, .. } | Self::Server { service, server, .. } => {
                Some((service, server))
            }
            Self::ShutdownFrontend(_) | Self::Backend { .. } | Self::Route { .. } => None,
        }
    }

    /// Whether a new section is served from here on.
    pub fn publishes(&self) -> bool {
        matches!(self, Self::Backend { action: BackendAction::Publish, .. })
    }

    /// Whether it changes a route.
    pub fn routes(&self) -> bool {
        matches!(self, Self::Route { .. })
    }

    /// Whether a process that is about to drain must be told first: a server that is gone gets nothing from it, and one that
    /// moved gets it at its new address. Once in soft stop it refuses to be told: "Proxy is disabled." (measured with 2.6,
    /// 3.0, 3.4). Then only what waits in its queues could still go to a server that leaves, and is sent elsewhere
    /// (`option redispatch`) if that one doesn't answer.
    pub fn concerns_draining(&self) -> bool {
        matches!(self, Self::Server { action: ServerAction::Maintenance | ServerAction::Address(_), .. })
    }

    /// What `reply` means.
    pub fn judge(&self, reply: &str) -> Verdict {
        let reply = reply.trim();
        let success = match self {
            Self::AddServer(_) => match reply {
                "New server registered." => return Verdict::Done,
                "" | "Already exists a server with the same name in backend." => {
                    return Verdict::Unexpected(reply.to_owned());
                }
                refusal => return Verdict::CannotAdd(refusal.to_owned()),
            },
            Self::Server { action: ServerAction::Delete, .. } => {
                match reply {
                    "Server still has connections attached to it, cannot remove it." => {
                        return Verdict::StillInUse;
                    }
                    "This server cannot be removed at runtime due to other configuration elements pointing to it." =>
                    {
                        return Verdict::Pinned;
                    }
                    _other => {}
                }
                "Server deleted."
            }
            Self::Server { action: ServerAction::Address(address), .. } => {
                return judge_move(reply, *address);
            }
            // Said when the reply to the first time got lost.
            Self::ShutdownFrontend(_) if reply == "Frontend was already shut down." => return Verdict::Done,
            Self::Backend { service: _, action } => return action.judge(reply),
            // The same.
            Self::Route { map: _, change }
                if change.edit == RouteEdit::Delete && reply == "Key not found." =>
            {
                return Verdict::Done;
            }
            Self::EnableCheck { .. }
            | Self::Server { .. }
            | Self::ShutdownFrontend(_)
            | Self::Route { .. } => "",
        };
        if reply == success { Verdict::Done } else { Verdict::Unexpected(reply.to_owned()) }
    }
}

/// A move was done when each part of the reply tells of the wanted address or port, or of none, since nothing changes when
/// the reply to the first time got lost. The texts are those of 2.6 and 3.2, which differ.
fn judge_move(reply: &str, wanted: SocketAddr) -> Verdict {
    let leads_to = |part: &str, what: &str, wanted: &str| {
        let to = part
            .strip_prefix(what)
            .and_then(|rest| rest.strip_prefix(" changed from '")?.split_once("' to '"));
        to.and_then(|(_, to)| to.strip_suffix('\'')) == Some(wanted)
    };
    let (ip, port) = (wanted.ip().to_string(), wanted.port().to_string());
    let is_done = |part: &str| {
        matches!(part, "no need to change the addr" | "no need to change the port")
            || leads_to(part, "IP", &ip)
            || leads_to(part, "port", &port)
    };
    let parts = reply.strip_suffix(" by 'stats socket command'");
    if reply == "nothing changed" || parts.is_some_and(|parts| parts.split(", ").all(is_done)) {
        return Verdict::Done;
    }
    Verdict::Unexpected(reply.to_owned())
}

impl AppliedState {
    /// Notes that `command` was answered with `verdict`.
    pub fn note(&mut self, command: &RuntimeCommand, verdict: &Verdict) {
        let standing_of_leaver = match verdict {
            Verdict::Done => None,
            Verdict::StillInUse | Verdict::CannotAdd(_) | Verdict::Unexpected(_) | Verdict::NoReply => return,
            Verdict::Pinned => Some(Standing::Pinned),
        };
        match command {
            RuntimeCommand::AddServer(new) => self.edit(&new.service, |service| {
                service.servers.insert(new.name.clone(), new.applied.clone());
            }),
            RuntimeCommand::EnableCheck { service, server, check: _ } => {
                self.edit_server(service, server, |server| server.checks = Checks::AsConfigured);
            }
            RuntimeCommand::Server { service, server, action } => match (action, standing_of_leaver) {
                (ServerAction::Delete, None) => self.edit(service, |service| {
                    service.servers.remove(server);
                }),
                (ServerAction::Delete, Some(pinned)) => {
                    self.edit_server(service, server, |server| server.standing = pinned);
                }
                (ServerAction::Ready, _) => {
                    self.edit_server(service, server, |server| server.standing = Standing::InRotation);
                }
                (ServerAction::Maintenance, _) => {
                    self.edit_server(service, server, |server| server.standing = Standing::Maintenance);
                }
                (ServerAction::Weight(weight), _) => {
                    self.edit_server(service, server, |server| server.weight = *weight);
                }
                (ServerAction::Address(address), _) => {
                    self.edit_server(service, server, |server| server.address = *address);
                }
            },
            RuntimeCommand::ShutdownFrontend(service) => {
                self.edit(service, |service| service.frontend = Frontend::ShutDown);
            }
            RuntimeCommand::Backend { service, action } => self.note_backend(service, action),
            RuntimeCommand::Route { map: _, change } => self.note_route(change),
        }
    }

    /// Whether `service` still takes connections is unknown.
    pub(super) fn doubt_frontend(&mut self, service: &ServiceName) {
        self.edit(service, |service| {
            if service.frontend == Frontend::Serving {
                service.frontend = Frontend::InDoubt;
            }
        });
    }

    pub(super) fn edit(&mut self, service: &ServiceName, change: impl FnOnce(&mut AppliedService)) {
        if let Some(service) = self.services.get_mut(service) {
            change(Arc::make_mut(service));
        }
    }

    fn edit_server(
        &mut self,
        service: &ServiceName,
        server: &ServerName,
        change: impl FnOnce(&mut AppliedServer),
    ) {
        self.edit(service, |service| {
            if let Some(server) = service.servers.get_mut(server) {
                change(server);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::engine::fixtures::name;

    fn delete() -> RuntimeCommand {
        RuntimeCommand::server(&name("web"), &ServerName::reported("1.2.3.4:80"), ServerAction::Delete)
    }

    #[test]
    fn a_move_is_done_when_the_reply_names_what_was_wanted() {
        let web = ServerName::reported("web:80");
        let to = |address: &str| {
            RuntimeCommand::server(&name("web"), &web, ServerAction::Address(address.parse().unwrap()))
        };
        assert_eq!(to("[::1]:80").to_string(), "set server web/web:80 addr ::1 port 80");
        let by = |parts: &str| to("127.0.0.2:80").judge(&format!("{parts} by 'stats socket command'\n\n"));
        for done in [
            "IP changed from '127.0.0.1' to '127.0.0.2', no need to change the port",
            "no need to change the addr, port changed from '81' to '80'",
            "no need to change the addr, no need to change the port",
            "IP changed from '::1' to '127.0.0.2'",
            "port changed from '81' to '80'",
        ] {
            assert_eq!(by(done), Verdict::Done, "{done}");
        }
        assert_eq!(to("127.0.0.2:80").judge("nothing changed\n"), Verdict::Done);
        for other in ["IP changed from '127.0.0.1' to '127.0.0.3'", "port changed from '80' to '81'", "", "?"]
        {
            assert!(matches!(by(other), Verdict::Unexpected(_)), "{other}");
        }
        for other in ["", "No such server.", "IP changed from '127.0.0.1' to '127.0.0.2'"] {
            assert_eq!(to("127.0.0.2:80").judge(other), Verdict::Unexpected(other.into()));
        }
    }

    #[test]
    fn only_the_exact_text_is_success() {
        assert_eq!(delete().to_string(), "del server web/1.2.3.4:80");
        assert_eq!(delete().judge("Server deleted.\n"), Verdict::Done);
        assert_eq!(delete().judge(""), Verdict::Unexpected(String::new()));
        assert_eq!(delete().judge("No such server."), Verdict::Unexpected("No such server.".into()));
        let in_use = "Server still has connections attached to it, cannot remove it.\n";
        assert_eq!(delete().judge(in_use), Verdict::StillInUse);
        let ready = RuntimeCommand::server(&name("web"), &ServerName::reported("a"), ServerAction::Ready);
        assert_eq!(ready.judge("\n"), Verdict::Done);
        assert_eq!(ready.judge("No such server.\n"), Verdict::Unexpected("No such server.".into()));
    }

    proptest! {
        #[test]
        fn any_reply_but_the_exact_text_is_no_success(reply in prop_oneof![any::<String>(), "(New server registered[.]|Server deleted[.]|\n|nothing changed| ){0,3}"]) {
            let ready = RuntimeCommand::server(&name("web"), &ServerName::reported("a"), ServerAction::Ready);
            prop_assert_eq!(ready.judge(&reply) == Verdict::Done, reply.trim().is_empty());
            prop_assert_eq!(delete().judge(&reply) == Verdict::Done, reply.trim() == "Server deleted.");
        }
    }
}
