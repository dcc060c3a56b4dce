//! From nothing, or from what a predecessor left, to all that the loop needs.

use std::sync::Arc;
use std::time::Instant;

use tokio::time::sleep;
use tracing::{error, info, warn};

use super::Clock;
use super::end::end_haproxy;
use super::prepare::{
    Prepared, StartError, check_base, find_haproxy, find_version, make_directories, start_reaper, tidy_up,
};
use super::settings::{haproxy_settings, reconciler_settings, sources};
use super::signals::Signals;
use crate::config::Config;
use crate::engine::error_text::with_causes;
use crate::engine::haproxy_version::HaproxyVersion;
use crate::engine::reconciler::Reconciler;
use crate::engine::section::Base;
use crate::engine::state::AppliedState;
use crate::haproxy::actor::{Actor, Handle, Settings};
use crate::haproxy::handover::HandedOver;
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
}

/// Starts where no `HAProxy` serves yet. `None` when it was asked to end meanwhile.
///
/// # Errors
/// When something that is needed isn't there, or is wrong.
pub(super) async fn start(
    config: &Config,
    handed: HandedOver,
    signals: &mut Signals,
) -> Result<Option<Started>, StartError> {
    tokio::select! {
        started = begin(config, handed) => started.map(Some),
        () = signals.end_is_asked() => {
            info!("asked to end before HAProxy was started");
            Ok(None)
        }
    }
}

async fn begin(config: &Config, handed: HandedOver) -> Result<Started, StartError> {
    let Prepared { reaper, version } = find_haproxy(config).await?;
    make_directories(config)?;
    tidy_up(config);
    let sources = sources(config)?;
    tell_start(version);
    let settings = reconciler_settings(config, version)?;
    check_base(config, settings.base.clone(), &reaper).await?;
    let haproxy_settings = haproxy_settings(config)?;
    let haproxy = Actor::start(haproxy_settings.clone(), reaper.clone(), handed)
        .map_err(StartError::OperatorsSocket)?;
    let clock = Clock(Instant::now());
    let reconciler = Reconciler::new(settings, clock.now());
    Ok(Started { version, clock, reconciler, haproxy, haproxy_settings, reaper, sources })
}

/// Goes on where a `HAProxy` serves `applied`. What is not there now is no reason to end it: that is told, and tried again.
/// `None` when it was asked to end meanwhile, and has.
///
/// # Errors
/// When a value of proxymgr.yml can't be used, which was asked before ([`super::handover::probe`]).
pub(super) async fn go_on(
    config: &Config,
    applied: AppliedState,
    handed: HandedOver,
    signals: &mut Signals,
) -> Result<Option<Started>, StartError> {
    let haproxy_settings = haproxy_settings(config)?;
    let sources = sources(config)?;
    let reaper = start_reaper(config)?;
    let (haproxy, no_socket) = Actor::take_over(haproxy_settings.clone(), reaper.clone(), handed);
    if let Err(error) = make_directories(config) {
        error!(error = with_causes(&error), "HAProxy serves on");
    }
    tidy_up(config);
    let version = tokio::select! {
        version = version_at_last(config, &reaper) => version,
        () = signals.end_is_asked() => {
            end_haproxy(haproxy, config.shutdown.grace, signals).await;
            return Ok(None);
        }
    };
    tell_start(version);
    let mut settings = reconciler_settings(config, version)?;
    if let Some(error) = no_socket {
        error!(
            error = with_causes(&error),
            "HAProxy serves on without haproxy.socket_path; mend it, then send SIGHUP"
        );
        settings.base = Arc::new(Base { operators_socket: None, ..Base::clone(&settings.base) });
    }
    let clock = Clock(Instant::now());
    let reconciler = Reconciler::taking_over(settings, applied, clock.now());
    Ok(Some(Started { version, clock, reconciler, haproxy, haproxy_settings, reaper, sources }))
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
