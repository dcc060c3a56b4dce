//! The answer of `check`: one object for programs; [`super::report_text`] writes it for people.

use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use super::Exit;
use super::trouble::Trouble;
use super::verdict::Verdict;
use crate::config::ConfigErrors;
use crate::engine::haproxy_version::HaproxyVersion;
use crate::engine::policy::Obstacle;
use crate::engine::service::ServiceName;
use crate::supervisor::dry_run::{DryRun, Found};

/// What `check --json` prints. Keys are never renamed or removed, and never absent; new ones may come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Report {
    /// Whether all is good, as exit code 0 says.
    pub(super) ok: bool,
    pub(super) config: ConfigReport,
    pub(super) registries: RegistriesReport,
    /// By name.
    pub(super) services: Vec<ServiceReport>,
    pub(super) values: ValuesReport,
    /// In the order of haproxy.cfg, then those that can't be read.
    pub(super) includes: Vec<IncludeReport>,
    pub(super) haproxy: HaproxyReport,
    /// What would run out of files or memory, or nearly, and what to do; all the same it would start.
    pub(super) limits: Vec<String>,
    #[serde(skip)]
    pub(super) exit: Exit,
}

/// proxymgr.yml.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct ConfigReport {
    pub(super) file: String,
    pub(super) errors: Vec<ConfigErrorReport>,
}

/// One mistake; `line` and `column` count from 1, and are null for what is missing as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct ConfigErrorReport {
    pub(super) line: Option<usize>,
    pub(super) column: Option<usize>,
    /// Such as `reload.min_interval`; empty when the file as a whole is meant.
    pub(super) key: String,
    pub(super) message: String,
}

/// Where services come from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct RegistriesReport {
    /// Whether every list of services came in time.
    pub(super) answered: bool,
    pub(super) problems: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct ServiceReport {
    pub(super) name: String,
    pub(super) status: Status,
    /// How many servers its registry has.
    pub(super) servers: usize,
    /// What is wrong; of a service that is `ok` what plays no part, such as a bad server entry.
    pub(super) problems: Vec<String>,
}

/// The values of a registry that `${kv:...}` names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct ValuesReport {
    /// Why not all of them go ahead, each with its path.
    pub(super) problems: Vec<String>,
}

/// A file of `haproxy.include`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct IncludeReport {
    pub(super) file: String,
    /// Whether it goes ahead.
    pub(super) accepted: bool,
    pub(super) problems: Vec<String>,
}

/// What would become of a service at a start now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Status {
    /// It serves.
    Ok,
    /// Its definition is bad, in conflict with another, or refused by `HAProxy`.
    Refused,
    /// Its registry gave no servers within `safety.startup_timeout`.
    Unanswered,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct HaproxyReport {
    /// Null when it could not be found out.
    pub(super) version: Option<String>,
    /// Whether it takes the result, without the services that it refuses; null when it wasn't asked.
    pub(super) accepted: Option<bool>,
    /// About the sections global and defaults, or why it couldn't be asked. What is about a service is with the service.
    pub(super) messages: Vec<String>,
}

impl Report {
    /// A report that ends before any registry was asked.
    pub(super) fn early(file: &Path, exit: Exit) -> Self {
        Self {
            ok: false,
            config: ConfigReport { file: file.display().to_string(), errors: Vec::new() },
            registries: RegistriesReport::default(),
            services: Vec::new(),
            values: ValuesReport::default(),
            includes: Vec::new(),
            haproxy: HaproxyReport::default(),
            limits: Vec::new(),
            exit,
        }
    }

    pub(super) fn of_config_errors(file: &Path, errors: &ConfigErrors) -> Self {
        let errors = match errors {
            ConfigErrors::Unreadable { file: _, source } => {
                let message = format!("can't be read: {source}");
                vec![ConfigErrorReport { line: None, column: None, key: String::new(), message }]
            }
            ConfigErrors::Invalid { file: _, errors } => errors
                .iter()
                .map(|error| ConfigErrorReport {
                    line: error.position.map(|position| position.line),
                    column: error.position.map(|position| position.column),
                    key: error.path.clone(),
                    message: error.message.clone(),
                })
                .collect(),
        };
        let mut report = Self::early(file, Exit::BadConfig);
        report.config.errors = errors;
        report
    }

    pub(super) fn of_dry_run(
        file: &Path,
        version: HaproxyVersion,
        dry_run: &DryRun,
        troubles: &[Trouble],
        verdict: &Verdict,
        waited: Duration,
    ) -> Self {
        let mut report = Self::early(file, Exit::Failure);
        report.registries.answered = dry_run.listed;
        report.registries.problems = problems_shared(dry_run, troubles, waited);
        report.services = services(dry_run, troubles, Some(verdict), waited);
        report.values.problems = dry_run.refused_values.iter().cloned().collect();
        report.includes = includes(dry_run, Some(verdict));
        let warnings = verdict.shared.warnings.iter().map(|text| warning(text));
        report.haproxy = HaproxyReport {
            version: Some(version.to_string()),
            accepted: Some(verdict.accepted),
            messages: verdict.shared.alerts.iter().cloned().chain(warnings).collect(),
        };
        report.limits = dry_run.limits().map(str::to_owned).collect();
        let services_ok = report.services.iter().all(|service| service.status == Status::Ok);
        let includes_ok = report.includes.iter().all(|include| include.accepted);
        let values_ok = report.values.problems.is_empty();
        report.ok = services_ok && values_ok && includes_ok && dry_run.listed && verdict.accepted;
        report.exit = match (report.ok, verdict.accepted) {
            (true, _) => Exit::Success,
            (false, true) => Exit::Failure,
            (false, false) => Exit::BadConfig,
        };
        report
    }
}

/// What is wrong with the lists of services, and with registries that several services share.
pub(super) fn problems_shared(dry_run: &DryRun, troubles: &[Trouble], waited: Duration) -> Vec<String> {
    let shared = troubles.iter().filter(|trouble| trouble.service.is_none());
    let unlisted = (!dry_run.listed).then(|| {
        format!(
            "the list of services did not come within {waited:?} (safety.startup_timeout); it is incomplete"
        )
    });
    shared.map(|trouble| trouble.text.clone()).chain(unlisted).collect()
}

/// Every service that was found, with what is wrong with it.
pub(super) fn services(
    dry_run: &DryRun,
    troubles: &[Trouble],
    verdict: Option<&Verdict>,
    waited: Duration,
) -> Vec<ServiceReport> {
    let one = |(name, found): (&String, &Found)| {
        let parsed = ServiceName::parse(name).ok();
        let remarks = parsed.as_ref().and_then(|name| verdict?.services.get(name));
        let obstacle = parsed.as_ref().and_then(|name| dry_run.obstacles().get(name));
        let taken = obstacle.and_then(|obstacle| match obstacle {
            Obstacle::AddressTaken { .. }
            | Obstacle::FrontendHas { .. }
            | Obstacle::RouteTaken { .. }
            | Obstacle::NoFrontend { .. }
            | Obstacle::NameTaken { .. }
            | Obstacle::StillNeeded { .. } => Some(obstacle.to_string()),
            // By HAProxy: its own words follow.
            Obstacle::Quarantined(_) => None,
        });
        let alerts = remarks.map_or(&[][..], |remarks| &remarks.alerts);
        let refusals: Vec<_> = found
            .refusal
            .iter()
            .cloned()
            .chain(taken)
            .chain(alerts.iter().map(|text| format!("HAProxy says: {text}")))
            .collect();
        let status = match (refusals.is_empty(), &found.servers) {
            (false, _) => Status::Refused,
            (true, None) => Status::Unanswered,
            (true, Some(_)) => Status::Ok,
        };
        let mut problems = refusals;
        if status == Status::Unanswered {
            problems.push(format!("its registry did not answer within {waited:?} (safety.startup_timeout)"));
        }
        let own = troubles.iter().filter(|trouble| trouble.service.as_ref() == Some(name));
        problems.extend(own.map(|trouble| trouble.text.clone()));
        problems.extend(found.skipped().map(|entry| format!("skipped {}: {}", entry.entry, entry.reason)));
        problems.extend(remarks.iter().flat_map(|remarks| &remarks.warnings).map(|text| warning(text)));
        ServiceReport { name: name.clone(), status, servers: found.count(), problems }
    };
    dry_run.services.iter().map(one).collect()
}

/// Every included file, with what is wrong with it.
pub(super) fn includes(dry_run: &DryRun, verdict: Option<&Verdict>) -> Vec<IncludeReport> {
    let read = dry_run.includes.iter().map(|file| {
        let refusals = dry_run.refused_includes.iter().filter(|(refused, _)| refused == file);
        let mut problems: Vec<_> = refusals.map(|(_, reason)| reason.clone()).collect();
        let accepted = problems.is_empty();
        let remarks = verdict.and_then(|verdict| verdict.includes.get(file));
        for text in remarks.iter().flat_map(|remarks| &remarks.alerts) {
            // The first complaint about a file is its refusal.
            if !problems.iter().any(|problem| problem == text) {
                problems.push(text.clone());
            }
        }
        problems.extend(remarks.iter().flat_map(|remarks| &remarks.warnings).map(|text| warning(text)));
        IncludeReport { file: file.clone(), accepted, problems }
    });
    let unreadable = dry_run.unreadable_includes.iter().map(|(file, problem)| IncludeReport {
        file: file.clone(),
        accepted: false,
        problems: vec![problem.clone()],
    });
    read.chain(unreadable).collect()
}

fn warning(text: &str) -> String {
    format!("HAProxy warns: {text}")
}
