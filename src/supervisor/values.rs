//! Values of a registry in `global` and `defaults`: asked of `HAProxy` before they are wanted, remembered once they serve.
//!
//! ```text
//! FollowedValues --known--> lines filled in --haproxy -c--> Input::Base --one reload--> serves: kept in state_dir
//!                                               | refused                 | fails, and no service is to blame
//!                                               +-> the last good stay <--+
//! ```
//!
//! A start goes by those that served last, so that neither an outage nor an upgrade brings the defaults back.

use std::future::pending;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::task::JoinHandle;
use tracing::{info, warn};

use super::Supervisor;
use super::feeds::registry_input;
use super::prepare::{StartError, check_base};
use super::sealed::{seal, unseal};
use crate::config::Config;
use crate::engine::error_text::with_causes;
use crate::engine::option_line::{OptionLine, OptionLineError};
use crate::engine::reconciler::Input;
use crate::engine::section::Base;
use crate::engine::value_line::ValueLine;
use crate::haproxy::config_file::write_atomically;
use crate::own_files;
use crate::process::reaper::Reaper;
use crate::registry_values::{FollowedValues, Values};
use crate::service_manager::RegistryEvent;

const NAME: &str = "values.json";
const FORMAT: u32 = 1;
const OWNER_ONLY: u32 = 0o600;

/// What lines of proxymgr.yml are with the values of a registry.
#[derive(Debug)]
pub(super) struct ValuesDesk {
    config: Config,
    reaper: Reaper,
    followed: Option<FollowedValues>,
    /// Nothing was known yet since they are followed.
    is_first: bool,
    listed_waits: bool,
    asked: Option<(Candidate, JoinHandle<Result<(), StartError>>)>,
    /// Wanted, and not served yet; with what was wanted before.
    tried: Option<(Candidate, Arc<Base>)>,
    /// What to go back to.
    back: Option<Arc<Base>>,
}

#[derive(Clone, Debug)]
struct Candidate {
    values: Arc<Values>,
    base: Arc<Base>,
}

impl ValuesDesk {
    pub(super) fn new(config: Config, reaper: Reaper) -> Self {
        Self {
            config,
            reaper,
            followed: None,
            is_first: false,
            listed_waits: false,
            asked: None,
            tried: None,
            back: None,
        }
    }

    /// Follows from the beginning.
    pub(super) fn follow(&mut self, followed: Option<FollowedValues>) {
        let lines = self.config.haproxy.global.iter().chain(&self.config.haproxy.defaults);
        let are_named = lines.into_iter().any(|line| !line.paths().is_empty());
        self.followed = followed.filter(|_| are_named);
        self.is_first = self.followed.is_some();
        (self.listed_waits, self.asked) = (false, None);
    }

    /// Whether the first start is to wait, which [`Self::listed_may_go`] ends.
    pub(super) fn holds_listed(&mut self) -> bool {
        self.listed_waits |= self.is_first;
        self.is_first
    }

    /// Whether what was held may go on now; once.
    pub(super) fn listed_may_go(&mut self) -> bool {
        !self.is_first && std::mem::take(&mut self.listed_waits)
    }

    /// Waits for values that `HAProxy` takes and that differ from what is `wanted`, or for the end of the first wait. Cancel safe.
    pub(super) async fn next(&mut self, wanted: &Arc<Base>) -> Option<Arc<Base>> {
        if let Some(back) = self.back.take() {
            return Some(back);
        }
        let Some(followed) = &mut self.followed else { return pending().await };
        loop {
            tokio::select! {
                () = followed.changed() => {}
                verdict = verdict(self.asked.as_mut()) => {
                    let asked = self.asked.take().map(|(candidate, _)| candidate);
                    self.is_first = false;
                    return take(verdict, asked, wanted, &mut self.tried);
                }
            }
            let Some(values) = followed.known() else { continue };
            match filled(&self.config, &values, wanted) {
                Ok(base) if base == **wanted => {
                    (self.is_first, self.asked) = (false, None);
                    return None;
                }
                Ok(base) => {
                    let candidate = Candidate { values, base: Arc::new(base) };
                    let (config, base, reaper) =
                        (self.config.clone(), candidate.base.clone(), self.reaper.clone());
                    let asking = tokio::spawn(async move { check_base(&config, base, None, &reaper).await });
                    self.asked = Some((candidate, asking));
                }
                Err(error) => {
                    warn!(%error, "values of the registry make no good line; the last good ones stay");
                    self.is_first = false;
                    return None;
                }
            }
        }
    }

    /// `HAProxy` serves with `base`.
    pub(super) fn serves(&mut self, base: &Base) {
        if let Some((Candidate { values, .. }, _)) = self.tried.take_if(|(tried, _)| *tried.base == *base)
            && let Err(error) = remember(&self.config.state_dir, &values)
        {
            warn!(
                error,
                "the values of the registry can't be kept; a start without the registry goes by the defaults"
            );
        }
    }

    /// A reload failed, and no service was to blame.
    pub(super) fn reload_failed(&mut self) {
        if let Some((_, before)) = self.tried.take() {
            warn!(
                "the values of the registry are not taken, since the reload with them failed; the last good ones stay until they change"
            );
            self.back = Some(before);
        }
    }
}

impl Supervisor {
    /// Takes note of what a registry says, and gives what the reconciler is to be told of it now: a first start waits for values too.
    pub(super) fn take_in(&mut self, event: RegistryEvent) -> Option<Input> {
        self.take_note(&event);
        let waits = event == RegistryEvent::Listed && self.values.holds_listed();
        if waits { None } else { registry_input(event) }
    }

    fn take_note(&mut self, event: &RegistryEvent) {
        let now = self.clock.now();
        self.recorder.note(event);
        let registry = self.status_desk.registry_of(event, &self.sources);
        self.totals.note_event(event, registry.as_deref());
        let origin = self.status_desk.origin_of(event);
        self.historian.note_event(event, origin.as_deref(), now);
        self.status_desk.note_event(event, now);
        self.live.changed();
    }
}

async fn verdict(asked: Option<&mut (Candidate, JoinHandle<Result<(), StartError>>)>) -> Result<(), String> {
    let Some((_, asking)) = asked else { return pending().await };
    match asking.await {
        Ok(verdict) => verdict.map_err(|error| with_causes(&error)),
        Err(panicked) => Err(panicked.to_string()),
    }
}

fn take(
    verdict: Result<(), String>,
    asked: Option<Candidate>,
    wanted: &Arc<Base>,
    tried: &mut Option<(Candidate, Arc<Base>)>,
) -> Option<Arc<Base>> {
    let asked = asked?;
    if let Err(reason) = verdict {
        warn!(reason, "HAProxy refuses values of the registry; the last good ones stay");
        return None;
    }
    let paths = asked.values.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
    info!(paths, "values of the registry changed global or defaults");
    let base = Arc::clone(&asked.base);
    // What was good before a try that is not over is what to go back to.
    let before = tried.take().map_or_else(|| Arc::clone(wanted), |(_, before)| before);
    *tried = Some((asked, before));
    Some(base)
}

/// `like` with the lines of `config` and these values in them.
///
/// # Errors
/// When one is no line with them.
pub(super) fn filled(config: &Config, values: &Values, like: &Base) -> Result<Base, OptionLineError> {
    let lines =
        |lines: &[ValueLine]| lines.iter().map(|line| line.with(values)).collect::<Result<Vec<_>, _>>();
    let (global, defaults) = (lines(&config.haproxy.global)?, lines(&config.haproxy.defaults)?);
    Ok(Base { global, defaults, ..like.clone() })
}

/// The lines as they served last, or else with their defaults: `global` and `defaults`.
pub(super) fn recalled_lines(config: &Config) -> [Vec<OptionLine>; 2] {
    let values = if config.value_paths().is_empty() { Values::new() } else { recall(&config.state_dir) };
    [&config.haproxy.global, &config.haproxy.defaults].map(|lines| {
        let line = |line: &ValueLine| line.with(&values).unwrap_or_else(|_refused| line.by_default().clone());
        lines.iter().map(line).collect()
    })
}

fn recall(state_dir: &Path) -> Values {
    let path: PathBuf = state_dir.join(NAME);
    let Ok(text) = own_files::read(&path) else { return Values::new() };
    let values = unseal(FORMAT, &text).map_err(|error| with_causes(&error));
    let values = values.and_then(|body| serde_json::from_str(body).map_err(|error| error.to_string()));
    values.unwrap_or_else(|error| {
        warn!(error, path = %path.display(), "the values that served last can't be known; the defaults stand in");
        Values::new()
    })
}

fn remember(state_dir: &Path, values: &Values) -> Result<(), String> {
    let body = serde_json::to_string(values).map_err(|error| error.to_string())?;
    let text = seal(FORMAT, &body).map_err(|error| error.to_string())?;
    write_atomically(&state_dir.join(NAME), &text, OWNER_ONLY).map_err(|error| with_causes(&error))?;
    Ok(())
}

/// `base`, or, where `HAProxy` refuses what a registry's values made of it, the same with defaults.
///
/// # Errors
/// When it refuses both, or can't be asked.
pub(super) async fn checked_base(
    config: &Config,
    base: Arc<Base>,
    reaper: &Reaper,
) -> Result<Arc<Base>, StartError> {
    let Err(refused) = check_base(config, Arc::clone(&base), None, reaper).await else { return Ok(base) };
    let by_default =
        |lines: &[ValueLine]| lines.iter().map(|line| line.by_default().clone()).collect::<Vec<_>>();
    let (global, defaults) = (by_default(&config.haproxy.global), by_default(&config.haproxy.defaults));
    let plain = Arc::new(Base { global, defaults, ..Base::clone(&base) });
    if plain == base {
        return Err(refused);
    }
    warn!(
        error = with_causes(&refused),
        "the values that served last are not good any more; the defaults stand in"
    );
    check_base(config, Arc::clone(&plain), None, reaper).await?;
    Ok(plain)
}
