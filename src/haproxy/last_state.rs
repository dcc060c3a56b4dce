//! What the serving process said last of its servers, for the one that is started after its death.

use std::collections::BTreeSet;

use crate::engine::command::RuntimeCommand;
use crate::engine::server::ServerName;
use crate::engine::service::ServiceName;

/// The last answer to `show servers state`.
#[derive(Debug)]
pub(super) struct LastState {
    pub(super) reply: String,
    /// Servers that we have changed since: what it says of them is no operator's doing.
    changed: BTreeSet<(ServiceName, ServerName)>,
}

impl LastState {
    pub(super) fn new(reply: String) -> Self {
        Self { reply, changed: BTreeSet::new() }
    }

    pub(super) fn note(&mut self, command: &RuntimeCommand) {
        if let Some((service, server)) = command.changed_server() {
            self.changed.insert((service.clone(), server.clone()));
        }
    }

    /// Whether what it says of the server still holds.
    pub(super) fn holds_for(&self, service: &ServiceName, server: &ServerName) -> bool {
        self.changed.is_empty() || !self.changed.contains(&(service.clone(), server.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::command::ServerAction;

    #[test]
    fn it_holds_for_servers_that_were_not_changed_since() {
        let name = |text| ServiceName::parse(text).unwrap();
        let (one, other) = (ServerName::reported("1.1.1.1:1"), ServerName::reported("2.2.2.2:2"));
        let mut state = LastState::new(String::new());
        assert!(state.holds_for(&name("web"), &one));
        state.note(&RuntimeCommand::server(&name("web"), &one, ServerAction::Maintenance));
        state.note(&RuntimeCommand::ShutdownFrontend(name("other")));
        assert!(!state.holds_for(&name("web"), &one));
        assert!(state.holds_for(&name("web"), &other) && state.holds_for(&name("other"), &one));
    }
}
