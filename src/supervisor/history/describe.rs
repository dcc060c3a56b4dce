//! Orders, outcomes and notices in words, each of a bounded length. Pure.

use std::collections::BTreeSet;

use crate::admin::history::{Few, ServersChanged};
use crate::engine::backend_action::BackendAction;
use crate::engine::command::{RuntimeCommand, ServerAction, Verdict};
use crate::engine::reconciler::{Notice, ReloadFailure};
use crate::engine::reload_reason::{ReloadReason, ServerReason};
use crate::engine::service::ServiceName;

/// The most commands, or reasons, that a change tells.
const MOST_TOLD: usize = 6;
/// The most services that a change names.
const MOST_SERVICES: usize = 10;
/// The most characters of a text.
const MOST_CHARACTERS: usize = 300;

/// A text that is not too long.
pub(super) fn bounded(text: &str) -> String {
    match text.char_indices().nth(MOST_CHARACTERS) {
        Some((end, _)) => text.get(..end).unwrap_or_default().to_owned() + "...",
        None => text.to_owned(),
    }
}

pub(super) fn names(services: &BTreeSet<ServiceName>) -> Few<String> {
    let first = services.iter().take(MOST_SERVICES).map(ToString::to_string).collect();
    Few { total: services.len(), first }
}

pub(super) fn commands(commands: &[RuntimeCommand]) -> Few<String> {
    let first = commands.iter().take(MOST_TOLD).map(|command| bounded(&command.to_string())).collect();
    Few { total: commands.len(), first }
}

pub(super) fn reasons(reasons: &BTreeSet<ReloadReason>) -> Few<String> {
    let first = reasons.iter().take(MOST_TOLD).map(|reason| bounded(&reason.to_string())).collect();
    Few { total: reasons.len(), first }
}

/// How many servers the commands concern; those of one server stand together.
pub(super) fn servers(commands: &[RuntimeCommand]) -> ServersChanged {
    let mut changed = ServersChanged::default();
    let same = |one: &RuntimeCommand, other: &RuntimeCommand| {
        one.changed_server().is_some() && one.changed_server() == other.changed_server()
    };
    for of_one in commands.chunk_by(same) {
        let does = |wanted: fn(&ServerAction) -> bool| {
            of_one
                .iter()
                .any(|command| matches!(command, RuntimeCommand::Server { action, .. } if wanted(action)))
        };
        let adds = of_one.iter().any(|command| matches!(command, RuntimeCommand::AddServer(_)));
        if adds || does(|action| *action == ServerAction::Ready) {
            changed.added += 1;
        } else if does(|action| *action == ServerAction::Maintenance) {
            changed.removed += 1;
        } else if of_one.iter().any(|command| command.changed_server().is_some()) {
            changed.changed += 1;
        }
    }
    changed
}

/// Whether nothing but servers that left before is deleted, which changes nothing for anybody.
pub(super) fn only_deletes(commands: &[RuntimeCommand]) -> bool {
    let deletes = |command: &RuntimeCommand| {
        matches!(
            command,
            RuntimeCommand::Server { action: ServerAction::Delete, .. }
                | RuntimeCommand::Backend { action: BackendAction::Unpublish | BackendAction::Delete, .. }
        )
    };
    commands.iter().all(deletes)
}

pub(super) fn service_of_reason(reason: &ReloadReason) -> Option<&ServiceName> {
    match reason {
        ReloadReason::NewService(service)
        | ReloadReason::ServiceChanged(service)
        | ReloadReason::ServiceGone(service)
        | ReloadReason::NeededServiceGone(service)
        | ReloadReason::HeldServiceGone(service)
        | ReloadReason::Servers(
            service,
            ServerReason::New(_)
            | ServerReason::Replaced
            | ServerReason::StaticWeight
            | ServerReason::UpdatesOff,
        ) => Some(service),
        ReloadReason::Start
        | ReloadReason::Crash(_)
        | ReloadReason::Base
        | ReloadReason::Frontend(_)
        | ReloadReason::Program
        | ReloadReason::Includes
        | ReloadReason::Template
        | ReloadReason::TemplateOutput
        | ReloadReason::Checks(_)
        | ReloadReason::Repair(_) => None,
    }
}

/// Why `commands` are not all done; `None` when they are.
pub(super) fn failed_commands(sent: usize, verdicts: &[Verdict]) -> Option<String> {
    let reply = verdicts.iter().find_map(|verdict| match verdict {
        Verdict::Done | Verdict::StillInUse | Verdict::Pinned => None,
        Verdict::CannotAdd(reply) | Verdict::Unexpected(reply) => Some(format!("HAProxy says: {reply}")),
        Verdict::NoReply => Some("HAProxy gave no reply".to_owned()),
    });
    let lost = (verdicts.len() < sent).then(|| "HAProxy gave no reply".to_owned());
    reply.or(lost).map(|text| bounded(&text))
}

pub(in crate::supervisor) fn failed_reload(failure: &ReloadFailure) -> String {
    let text = match failure {
        ReloadFailure::Listen { services, frontends } => {
            let services = services.iter().map(|(service, why)| format!("{service}: {why}"));
            let frontends = frontends.iter().map(|(frontend, why)| format!("frontend {frontend}: {why}"));
            frontends.chain(services).take(MOST_TOLD).collect::<Vec<_>>().join(" | ")
        }
        ReloadFailure::Refused(complaints) => {
            let texts = complaints.iter().take(MOST_TOLD).map(|complaint| complaint.text.as_str());
            format!("HAProxy refuses it: {}", texts.collect::<Vec<_>>().join(" | "))
        }
        ReloadFailure::Ended { why, complaints: _ } | ReloadFailure::NotServing(why) => why.clone(),
    };
    bounded(&text)
}

/// Whom a notice is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum About<'a> {
    Service(&'a ServiceName),
    All,
    /// A change, which tells of itself.
    Change,
}

/// Whom `notice` is about.
pub(super) fn notice_about(notice: &Notice) -> About<'_> {
    match notice {
        Notice::Obstructed { service, .. }
        | Notice::Cleared(service)
        | Notice::KeptThoughEmpty { service, .. }
        | Notice::LossHeld { service, .. } => About::Service(service),
        Notice::IncludesRefused { .. }
        | Notice::FrontendOut { .. }
        | Notice::FrontendBack(_)
        | Notice::Limit(_)
        | Notice::IncludesTaken
        | Notice::ValuesRefused(_)
        | Notice::ValuesTaken
        | Notice::TemplateRefused { .. }
        | Notice::TemplateTaken
        | Notice::ConfigUnwritten(_)
        | Notice::ConfigWritten
        | Notice::Differs(_)
        | Notice::CompareFailed(_)
        | Notice::TriedInParts { .. }
        | Notice::Died { .. }
        | Notice::BackToLastGood { .. }
        | Notice::StartsFromMemory(_)
        | Notice::StartsWithout(_) => About::All,
        Notice::Reloading(_)
        | Notice::Reloaded(_)
        | Notice::ReloadFailed { .. }
        | Notice::Unexpected { .. }
        | Notice::Applying(_)
        | Notice::LossTaken { .. } => About::Change,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::server::{ServerName, Weight};

    fn command(server: &str, action: ServerAction) -> RuntimeCommand {
        RuntimeCommand::server(&ServiceName::parse("web").unwrap(), &ServerName::reported(server), action)
    }

    #[test]
    fn ten_thousand_commands_are_counted_and_a_few_are_told() {
        let back = |n: usize| {
            let name = format!("s{n}");
            [command(&name, ServerAction::Weight(Weight::DEFAULT)), command(&name, ServerAction::Ready)]
        };
        let mut all: Vec<_> = (0..5000).flat_map(back).collect();
        all.push(command("gone", ServerAction::Maintenance));
        all.push(command("heavy", ServerAction::Weight(Weight::DEFAULT)));
        all.push(RuntimeCommand::ShutdownFrontend(ServiceName::parse("web").unwrap()));
        let few = commands(&all);
        assert_eq!((few.total, few.first.len()), (10_003, MOST_TOLD));
        assert_eq!(servers(&all), ServersChanged { added: 5000, removed: 1, changed: 1 });
        assert!(only_deletes(&[command("gone", ServerAction::Delete)]) && !only_deletes(&all));
    }

    #[test]
    fn texts_are_bounded() {
        assert_eq!(bounded("short"), "short");
        assert_eq!(bounded(&"ä".repeat(1000)).chars().count(), MOST_CHARACTERS + 3);
        let why = failed_commands(1, &[Verdict::Unexpected("x".repeat(1000))]).unwrap();
        assert!(why.starts_with("HAProxy says: x") && why.len() < 310);
    }

    #[test]
    fn commands_that_got_no_reply_have_failed() {
        assert_eq!(failed_commands(2, &[Verdict::Done, Verdict::StillInUse]), None);
        assert!(failed_commands(2, &[Verdict::Done]).unwrap().contains("no reply"));
        assert!(failed_commands(1, &[Verdict::CannotAdd("no".into())]).unwrap().contains("no"));
    }
}
