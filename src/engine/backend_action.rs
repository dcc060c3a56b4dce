//! Backends that come and go at run time, from 3.4 on. Source: management guide of 3.4, 9.3 "add backend".

use std::fmt;
use std::sync::Arc;

use super::command::Verdict;
use super::http_frontend::ROUTED_DEFAULTS;
use super::section::Section;
use super::service::ServiceName;
use super::state::{AppliedService, AppliedState, Frontend};

/// What happens to a backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BackendAction {
    /// Registers it, unless it is there, for this section, without servers and routes.
    Add(Arc<Section>),
    /// Lets clients reach it.
    Publish,
    /// Keeps clients from it.
    Unpublish,
    /// Deletes it, when it has no servers and no clients.
    Delete,
}

impl BackendAction {
    pub(super) fn write(&self, f: &mut fmt::Formatter<'_>, service: &ServiceName) -> fmt::Result {
        match self {
            Self::Add(_) => write!(f, "add backend {service} from {ROUTED_DEFAULTS}"),
            Self::Publish => write!(f, "publish backend {service}"),
            Self::Unpublish => write!(f, "unpublish backend {service}"),
            Self::Delete => write!(f, "del backend {service}"),
        }
    }

    pub(super) fn judge(&self, reply: &str) -> Verdict {
        // What servers went through meanwhile may come first.
        let last = reply.lines().next_back().unwrap_or_default();
        let is_done = match self {
            Self::Add(_) => {
                last == "New backend registered."
                    || last.contains("name is already used by other proxy 'backend ")
            }
            Self::Publish => last == "Backend published.",
            Self::Unpublish => matches!(last, "Backend unpublished." | "No such backend."),
            Self::Delete => matches!(last, "Backend deleted." | "No such backend."),
        };
        match self {
            _ if is_done => Verdict::Done,
            // Whatever the reason is: it is out of use, and leaves later, with a reload at the latest.
            Self::Delete => Verdict::StillInUse,
            Self::Add(_) | Self::Publish | Self::Unpublish => Verdict::Unexpected(reply.to_owned()),
        }
    }
}

impl AppliedState {
    pub(super) fn note_backend(&mut self, service: &ServiceName, action: &BackendAction) {
        match action {
            BackendAction::Add(section) => {
                let added = || Arc::new(AppliedService::unpublished(section));
                self.services.entry(service.clone()).or_insert_with(added);
            }
            BackendAction::Publish => self.edit(service, |service| service.frontend = Frontend::Serving),
            BackendAction::Unpublish => self.edit(service, |service| service.frontend = Frontend::ShutDown),
            BackendAction::Delete => drop(self.services.remove(service)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::fixtures::{base, spec};

    #[test]
    fn done_twice_is_done_and_what_can_not_be_deleted_yet_stays() {
        let section = Arc::new(Section::of(&spec(80), base().bind_address));
        let add = BackendAction::Add(section);
        for (action, reply) in [
            (&add, "New backend registered.\n\n"),
            (&add, "Error during backend creation : name is already used by other proxy 'backend nb'.\n"),
            (&BackendAction::Publish, "Backend published.\n"),
            (&BackendAction::Unpublish, "Backend unpublished."),
            (&BackendAction::Unpublish, "No such backend."),
            (&BackendAction::Delete, "Server b/s1 is going DOWN for maintenance.\nBackend deleted.\n"),
        ] {
            assert_eq!(action.judge(reply.trim()), Verdict::Done, "{reply}");
        }
        let stays = "Only a backend without server can be deleted.";
        assert_eq!(BackendAction::Delete.judge(stays), Verdict::StillInUse);
        for (action, reply) in [
            (&add, "Cannot find default proxy 'x'."),
            (&add, "Error during backend creation : name is already used by other proxy 'frontend nb'."),
            (&BackendAction::Publish, "No such backend."),
            (&BackendAction::Publish, ""),
        ] {
            assert_eq!(action.judge(reply), Verdict::Unexpected(reply.to_owned()));
        }
    }
}
