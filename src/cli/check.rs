//! `proxymgr check`.

use super::args::CheckArgs;
use super::output::{answer, block_on};
use super::report::{ConfigErrorReport, Report};
use super::report_text;
use super::run::exit_of_start;
use super::running::tell_waiting;
use super::terminal::Screen;
use super::trouble::Troubles;
use super::{Exit, verdict};
use crate::config::{Config, SourceConfig, ValuesConfig};
use crate::engine::error_text::with_causes;
use crate::engine::tls_files::TlsFiles;
use crate::supervisor::dry_run::DryRun;
use crate::supervisor::prepare::{StartError, find_haproxy};
use crate::supervisor::settings::http;
use crate::tls::check_tls_files;

/// Reads proxymgr.yml and every service, asks `HAProxy` about the result, and tells what is wrong.
pub fn check(args: &CheckArgs) -> Exit {
    let config = match Config::load(&args.config, &|name| std::env::var(name).ok()) {
        Ok(config) => config,
        Err(errors) if args.json => return print_json(&Report::of_config_errors(&args.config, &errors)),
        Err(errors) => {
            eprintln!("{errors}");
            return Exit::BadConfig;
        }
    };
    let report = match block_on(examine(args, &config)) {
        Ok(report) => report,
        Err(exit) => return exit,
    };
    if args.json {
        return print_json(&report);
    }
    for error in &report.config.errors {
        eprintln!("{}: {}: {}", report.config.file, error.key, error.message);
    }
    if report.haproxy.accepted.is_none() {
        for message in &report.haproxy.messages {
            eprintln!("proxymgr: {message}");
        }
        return report.exit;
    }
    if let Some(last) = report.registries.problems.last().filter(|_| !report.registries.answered) {
        eprintln!("proxymgr: {last}");
    }
    answer(&report_text::text(&report, Screen::of_stdout().colour), report.exit)
}

async fn examine(args: &CheckArgs, config: &Config) -> Report {
    let unusable = unusable_tls_files(config);
    if !unusable.is_empty() {
        let mut report = Report::early(&args.config, Exit::BadConfig);
        report.config.errors = unusable;
        return report;
    }
    if let Err(error) = http(config) {
        return not_started(args, &error);
    }
    let (troubles, _collecting) = Troubles::collect(!args.json);
    let found = match find_haproxy(config).await {
        Ok(found) => found,
        Err(error) => return not_started(args, &error),
    };
    let mut dry_run = match DryRun::collect(config, &found, &mut tell_waiting(args.json)).await {
        Ok(dry_run) => dry_run,
        Err(error) => return not_started(args, &error),
    };
    match verdict::ask(&mut dry_run, &found.reaper, &config.haproxy.path).await {
        Ok(verdict) => Report::of_dry_run(
            &args.config,
            found.version,
            &dry_run,
            &troubles.seen(),
            &verdict,
            config.safety.startup_timeout,
        ),
        Err(error) => {
            let mut report = Report::early(&args.config, Exit::HaproxyUnavailable);
            report.haproxy.version = Some(found.version.to_string());
            report.haproxy.messages.push(with_causes(&error));
            report
        }
    }
}

/// A start goes on without such an ensemble, and tries on; whoever asks should know.
fn unusable_tls_files(config: &Config) -> Vec<ConfigErrorReport> {
    let several = config.service_config.len() > 1;
    let of_source = |(index, source)| {
        let key =
            if several { format!("service_config[{index}].tls") } else { "service_config.tls".to_owned() };
        Some((key, tls_files_of(source)?))
    };
    let of_all = config
        .consul
        .iter()
        .filter_map(|access| Some(("consul.tls".to_owned(), &access.tls.as_ref()?.files)));
    let mut all: Vec<_> =
        of_all.chain(config.service_config.iter().enumerate().filter_map(of_source)).collect();
    let of_values = config.values.as_ref().and_then(|values| match values {
        ValuesConfig::Zookeeper { tls, .. } => tls.as_ref(),
        ValuesConfig::Consul { access, path: _ } => access.tls.as_ref().map(|tls| &tls.files),
    });
    // Those of a source are told there.
    let own = of_values.filter(|files| all.iter().all(|(_, known)| known != files));
    all.extend(own.map(|files| ("values.tls".to_owned(), files)));
    let wrong = |(key, files): (String, &TlsFiles)| {
        let message = check_tls_files(files).err()?.to_string();
        Some(ConfigErrorReport { line: None, column: None, key, message })
    };
    all.into_iter().filter_map(wrong).collect()
}

fn tls_files_of(source: &SourceConfig) -> Option<&TlsFiles> {
    match source {
        SourceConfig::Zookeeper { tls, .. } | SourceConfig::Docker { tls, .. } => tls.as_ref(),
        SourceConfig::Consul { access, listing: _ } => access.tls.as_ref().map(|tls| &tls.files),
        SourceConfig::File { .. } => None,
    }
}

fn not_started(args: &CheckArgs, error: &StartError) -> Report {
    let mut report = Report::early(&args.config, exit_of_start(error));
    match error {
        StartError::Value { key, problem } => report.config.errors.push(ConfigErrorReport {
            line: None,
            column: None,
            key: (*key).to_owned(),
            message: problem.clone(),
        }),
        StartError::Template(problem) => report.config.errors.push(ConfigErrorReport {
            line: None,
            column: None,
            key: "haproxy.template".to_owned(),
            message: problem.clone(),
        }),
        StartError::Haproxy(_)
        | StartError::TooOld(_)
        | StartError::BaseRefused(_)
        | StartError::Directory { .. }
        | StartError::Running(_)
        | StartError::Lock { .. }
        | StartError::OperatorsSocket(_)
        | StartError::Reaper(_)
        | StartError::Signals(_) => report.haproxy.messages.push(with_causes(error)),
    }
    report
}

fn print_json(report: &Report) -> Exit {
    match serde_json::to_string_pretty(report) {
        Ok(json) => answer(&(json + "\n"), report.exit),
        Err(error) => {
            eprintln!("proxymgr: the answer can't be written as JSON: {error}");
            Exit::Failure
        }
    }
}
