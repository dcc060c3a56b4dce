//! The values that served last: a start goes by them, so that neither an outage nor an upgrade brings the defaults back.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tracing::warn;

use super::taken::with_lines;
use crate::config::Config;
use crate::engine::error_text::with_causes;
use crate::engine::section::Base;
use crate::haproxy::config_file::write_atomically;
use crate::own_files;
use crate::process::reaper::Reaper;
use crate::registry_values::Values;
use crate::supervisor::prepare::{StartError, check_base};
use crate::supervisor::sealed::{seal, unseal};

const NAME: &str = "values.json";
const FORMAT: u32 = 1;
const OWNER_ONLY: u32 = 0o600;

/// `like` with the lines as they served last, or else with their defaults.
pub(in crate::supervisor) fn with_recalled_lines(config: &Config, like: &Base) -> Base {
    let values = recall(config);
    let Ok(base) = with_lines(config, like, |line| {
        Ok::<_, Infallible>(line.with(&values).unwrap_or_else(|_refused| line.by_default().clone()))
    });
    base
}

/// Those that served last; none where no line names any.
pub(super) fn recall(config: &Config) -> Values {
    if config.value_paths().is_empty() {
        return Values::new();
    }
    let path: PathBuf = config.state_dir.join(NAME);
    let Ok(text) = own_files::read(&path) else { return Values::new() };
    let values = unseal(FORMAT, &text).map_err(|error| with_causes(&error));
    let values = values.and_then(|body| serde_json::from_str(body).map_err(|error| error.to_string()));
    values.unwrap_or_else(|error| {
        warn!(error, path = %path.display(), "the values that served last can't be known; the defaults stand in");
        Values::new()
    })
}

/// Keeps those that serve now.
pub(super) fn remember(state_dir: &Path, values: &Values) -> Result<(), String> {
    let body = serde_json::to_string(values).map_err(|error| error.to_string())?;
    let text = seal(FORMAT, &body).map_err(|error| error.to_string())?;
    write_atomically(&state_dir.join(NAME), &text, OWNER_ONLY).map_err(|error| with_causes(&error))?;
    Ok(())
}

/// `base`, or, where `HAProxy` refuses what a registry's values made of it, the same with defaults.
///
/// # Errors
/// When it refuses both, or can't be asked.
pub(in crate::supervisor) async fn checked_base(
    config: &Config,
    base: Arc<Base>,
    reaper: &Reaper,
) -> Result<Arc<Base>, StartError> {
    let Err(refused) = check_base(config, Arc::clone(&base), None, reaper).await else { return Ok(base) };
    let Ok(plain) = with_lines(config, &base, |line| Ok::<_, Infallible>(line.by_default().clone()));
    let plain = Arc::new(plain);
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
