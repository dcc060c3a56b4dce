//! The template from its file to the reconciler, and what served last from one run to the next.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tracing::warn;

use super::prepare::{StartError, check_base};
use super::sealed::{seal, unseal};
use crate::config::Config;
use crate::engine::error_text::with_causes;
use crate::engine::section::Base;
use crate::engine::template::Template;
use crate::haproxy::config_file::write_atomically;
use crate::own_files;
use crate::process::reaper::Reaper;
use crate::template::{parse, read};

const NAME: &str = "template.json";
const FORMAT: u32 = 1;
const OWNER_ONLY: u32 = 0o600;

/// As it is kept in `state_dir`.
#[derive(Serialize, Deserialize)]
struct Kept {
    path: String,
    text: String,
}

/// Asks whether the template can be used, without any service, and gives the one that served last in an earlier run.
///
/// # Errors
/// When it can't be used, and none has served.
pub(super) async fn checked_template(
    config: &Config,
    base: &Arc<Base>,
    reaper: &Reaper,
) -> Result<Option<Template>, StartError> {
    let Some(file) = &config.haproxy.template else { return Ok(None) };
    let recalled = recall(&config.state_dir);
    let refused = match read(file) {
        Ok(template) => check_base(config, base.clone(), Some(template), reaper).await,
        Err(error) => Err(StartError::Template(error.to_string())),
    };
    match (refused, recalled) {
        (Err(refused), None) => Err(refused),
        (Err(refused), recalled) => {
            warn!(error = with_causes(&refused), "the template that served last stands in");
            Ok(recalled)
        }
        (Ok(()), recalled) => Ok(recalled),
    }
}

/// Keeps what serves for the next start; nothing is kept of the built-in layout.
#[derive(Debug, Default)]
pub(super) struct TemplateKeeper {
    is_known: bool,
    /// If that is known: `None` for the built-in layout.
    kept: Option<Template>,
}

impl TemplateKeeper {
    /// A process serves that was started with `template`.
    pub(super) fn serves(&mut self, template: Option<&Template>, state_dir: &Path) {
        if self.is_known && self.kept.as_ref() == template {
            return;
        }
        (self.is_known, self.kept) = (true, template.cloned());
        let kept = match template {
            Some(template) => remember(template, state_dir),
            None => forget(state_dir),
        };
        if let Err(error) = kept {
            warn!(error, "which template serves can't be kept; a start with a bad one may not know it");
        }
    }
}

/// One of long ago is no last good one.
fn forget(state_dir: &Path) -> Result<(), String> {
    match fs::remove_file(state_dir.join(NAME)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.to_string()),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn remember(template: &Template, state_dir: &Path) -> Result<(), String> {
    let kept = Kept { path: template.path().to_owned(), text: template.source().to_owned() };
    let body = serde_json::to_string(&kept).map_err(|error| error.to_string())?;
    let text = seal(FORMAT, &body).map_err(|error| error.to_string())?;
    write_atomically(&state_dir.join(NAME), &text, OWNER_ONLY).map_err(|error| with_causes(&error))?;
    Ok(())
}

fn recall(state_dir: &Path) -> Option<Template> {
    let path = state_dir.join(NAME);
    let kept = match own_files::read(&path) {
        Ok(text) => understand(&text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => Err(error.to_string()),
    };
    kept.inspect_err(|error| {
        warn!(error, path = %path.display(), "the template that served last can't be known");
    })
    .ok()
}

fn understand(text: &str) -> Result<Template, String> {
    let body = unseal(FORMAT, text).map_err(|error| with_causes(&error))?;
    let Kept { path, text } = serde_json::from_str(body).map_err(|error| error.to_string())?;
    parse(&path, &text).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_served_last_is_kept_and_damage_is_left_out() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(recall(dir.path()), None);
        let template = parse("/t.j2", "global\n{{ global.lines }}").unwrap();
        let mut keeper = TemplateKeeper::default();
        keeper.serves(Some(&template), dir.path());
        assert_eq!(recall(dir.path()), Some(template.clone()));
        // Another time is no reason to write.
        fs::write(dir.path().join(NAME), "damaged").unwrap();
        keeper.serves(Some(&template), dir.path());
        assert_eq!(recall(dir.path()), None);
        keeper.serves(None, dir.path());
        assert!(!dir.path().join(NAME).exists());
        keeper.serves(Some(&template), dir.path());
        assert_eq!(recall(dir.path()), Some(template));
    }
}
