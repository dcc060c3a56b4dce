//! From nothing, or from what a predecessor left, to all that the loop needs.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use tokio::time::sleep;
use tracing::{error, info, warn};

use super::clock::Clock;
use super::end::end_haproxy;
use super::handover::after_crash::recover;
use super::handover::exec::Received;
use super::handover::inherited::{Inherited, Legacy};
use super::http_desk::HttpSettings;
use super::past;
use super::prepare::{
    Locked, Prepared, StartError, find_haproxy, find_version, lock, make_directories, start_reaper, tidy_up,
};
use super::settings::{haproxy_settings, http, reconciler_settings, sources};
use super::signals::Signals;
use super::template::checked_template;
use super::values::checked_base;
use crate::config::Config;
use crate::engine::error_text::with_causes;
use crate::engine::haproxy_version::HaproxyVersion;
use crate::engine::reconciler::{self, Reconciler};
use crate::engine::section::Base;
use crate::engine::state::AppliedState;
use crate::haproxy::actor::{Actor, Handle, Settings};
use crate::haproxy::handover::HandedOver;
use crate::haproxy::listen_sockets::ListenError;
use crate::http::Access;
use crate::panics::Restarts;
use crate::process::reaper::Reaper;
use crate::service_config::SourceSettings;

/// What there is after a start.
pub(super) struct Started {
    pub(super) version: HaproxyVersion,
    pub(super) clock: Clock,
    pub(super) reconciler: Reconciler,
    pub(super) haproxy: Handle,
    pub(super) haproxy_settings: Settings,
    pub(super) reaper: Reaper,
    pub(super) sources: Vec<SourceSettings>,
    /// What a predecessor said that is to be executed at the next upgrade.
    pub(super) program: Option<PathBuf>,
    /// What a predecessor did.
    pub(super) legacy: Legacy,
    pub(super) http: Option<HttpSettings>,
    pub(super) locked: Option<Locked>,
}

/// Starts anew, or goes on with what was `received`, or with what one left that was killed. `None` when it was asked to end
/// meanwhile.
///
/// # Errors
/// When something that is needed isn't there, or is wrong; but not while a `HAProxy` serves for which a predecessor started this.
pub(super) async fn start(
    config: &Config,
    received: Received,
    signals: &mut Signals,
) -> Result<Option<Started>, StartError> {
    let (inherited, passed) = received.sort();
    start_with(config, inherited, passed, signals).await
}

/// `inherited` is what the program handed over that this one replaced, `passed` what systemd did.
pub(super) async fn start_with(
    config: &Config,
    inherited: Option<Inherited>,
    passed: Vec<(String, OwnedFd)>,
    signals: &mut Signals,
) -> Result<Option<Started>, StartError> {
    let inherited = match inherited {
        Some(Inherited { applied: Some(applied), haproxy, program, legacy }) => {
            let started = go_on(config, applied, haproxy, program, signals).await?;
            return Ok(started.map(|started| Started { legacy, ..started }));
        }
        other => other,
    };
    let (Prepared { reaper, version }, locked, sources, http_settings) = tokio::select! {
        began = begin(config) => began?,
        () = signals.end_is_asked() => return Ok(asked_too_early()),
    };
    let Inherited { applied, haproxy: handed, program, legacy } = if let Some(inherited) = inherited {
        inherited
    } else {
        let left = recover(&config.runtime_dir, &config.haproxy.socket_path, passed).await;
        Inherited { legacy: past::recall(&config.state_dir), ..left }
    };
    let mut settings = reconciler_settings(config, version)?;
    let haproxy_settings = haproxy_settings(config)?;
    let (haproxy, (clock, reconciler)) = if let Some(applied) = applied {
        let (haproxy, no_socket) = Actor::take_over(haproxy_settings.clone(), reaper.clone(), handed);
        (haproxy, taking_over(settings, applied, no_socket))
    } else {
        tokio::select! {
            checked = checked_base(config, settings.base.clone(), &reaper) => settings.base = checked?,
            () = signals.end_is_asked() => return Ok(asked_too_early()),
        }
        let recalled = tokio::select! {
            checked = checked_template(config, &settings.base, &reaper) => checked?,
            () = signals.end_is_asked() => return Ok(asked_too_early()),
        };
        let haproxy = Actor::start(haproxy_settings.clone(), reaper.clone(), handed)
            .map_err(StartError::OperatorsSocket)?;
        let clock = Clock(Instant::now());
        let mut reconciler = Reconciler::new(settings, clock.now());
        if let Some(recalled) = recalled {
            reconciler.recall_template(recalled);
        }
        (haproxy, (clock, reconciler))
    };
    let locked = Some(locked);
    Ok(Some(Started {
        version,
        clock,
        reconciler,
        haproxy,
        haproxy_settings,
        reaper,
        sources,
        program,
        legacy,
        http: http_settings,
        locked,
    }))
}

/// What a start from nothing begins with.
type Beginning = (Prepared, Locked, Vec<SourceSettings>, Option<HttpSettings>);

async fn begin(config: &Config) -> Result<Beginning, StartError> {
    let http = http(config)?;
    let found = find_haproxy(config).await?;
    make_directories(config)?;
    let locked = lock(&config.runtime_dir).await?;
    tidy_up(config);
    let sources = sources(config)?;
    tell_start(found.version);
    Ok((found, locked, sources, http))
}

fn asked_too_early() -> Option<Started> {
    info!("asked to end before HAProxy was started");
    None
}

/// Goes on where a `HAProxy` serves `applied`. What is not there now is no reason to end it: that is told, and tried again.
/// `None` when it was asked to end meanwhile, and has.
///
/// # Errors
/// When a value of proxymgr.yml can't be used, which was asked before ([`super::handover::probe`]).
async fn go_on(
    config: &Config,
    applied: AppliedState,
    handed: HandedOver,
    program: Option<PathBuf>,
    signals: &mut Signals,
) -> Result<Option<Started>, StartError> {
    let haproxy_settings = haproxy_settings(config)?;
    let sources = sources(config)?;
    let http = http(config).unwrap_or_else(|error| {
        error!(error = with_causes(&error), "HAProxy serves on, and nobody may read by HTTP");
        config.admin.as_ref().map(|admin| HttpSettings { listen: admin.listen, access: Access::Nobody })
    });
    let reaper = start_reaper(config)?;
    let (haproxy, no_socket) = Actor::take_over(haproxy_settings.clone(), reaper.clone(), handed);
    if let Err(error) = make_directories(config) {
        error!(error = with_causes(&error), "HAProxy serves on");
    }
    let locked = lock(&config.runtime_dir).await;
    let locked = locked.inspect_err(|error| error!(error = with_causes(error), "HAProxy serves on")).ok();
    tidy_up(config);
    let version = tokio::select! {
        version = version_at_last(config, &reaper) => version,
        () = signals.end_is_asked() => {
            end_haproxy(haproxy, config.shutdown.grace, signals).await;
            return Ok(None);
        }
    };
    tell_start(version);
    let (clock, reconciler) = taking_over(reconciler_settings(config, version)?, applied, no_socket);
    Ok(Some(Started {
        version,
        clock,
        reconciler,
        haproxy,
        haproxy_settings,
        reaper,
        sources,
        program,
        legacy: Legacy::default(),
        http,
        locked,
    }))
}

/// `no_socket` is why there is no operators' socket.
fn taking_over(
    mut settings: reconciler::Settings,
    applied: AppliedState,
    no_socket: Option<ListenError>,
) -> (Clock, Reconciler) {
    if let Some(error) = no_socket {
        error!(
            error = with_causes(&error),
            "HAProxy serves on without haproxy.socket_path; mend it, then send SIGHUP"
        );
        settings.base = Arc::new(Base { operators_socket: None, ..Base::clone(&settings.base) });
    }
    let clock = Clock(Instant::now());
    let reconciler = Reconciler::taking_over(settings, applied, clock.now());
    (clock, reconciler)
}

/// A package that is just being installed, or a machine under load, may keep `HAProxy` from being asked.
async fn version_at_last(config: &Config, reaper: &Reaper) -> HaproxyVersion {
    let mut restarts = Restarts::default();
    loop {
        match find_version(config, reaper).await {
            Ok(version) => return version,
            Err(error) => {
                let wait = restarts.next_wait();
                warn!(error = with_causes(&error), ?wait, "what runs serves on; trying again");
                sleep(wait).await;
            }
        }
    }
}

fn tell_start(version: HaproxyVersion) {
    info!(version = env!("CARGO_PKG_VERSION"), haproxy = %version, "ProxyMgr starts");
}
