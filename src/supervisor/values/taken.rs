//! Which values of a registry `HAProxy` takes: all, or else all but those that it refuses.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::config::Config;
use crate::engine::error_text::with_causes;
use crate::engine::option_line::{OptionLine, OptionLineError};
use crate::engine::section::Base;
use crate::engine::value_line::ValueLine;
use crate::process::reaper::Reaper;
use crate::registry_values::Values;
use crate::supervisor::prepare::{StartError, check_base};

/// What is left of some values.
#[derive(Clone, Debug)]
pub(in crate::supervisor) struct Taken {
    /// Those that are taken, and for a path whose value is not the one that was good.
    pub(super) values: Arc<Values>,
    /// The lines with them.
    pub(in crate::supervisor) base: Arc<Base>,
    /// Why the values at these paths are not taken.
    pub(super) refused: BTreeMap<String, String>,
}

/// Asks `HAProxy` about `wanted`, and if it refuses them about one after the other: as many as possible are laid over `good`.
/// `like` tells all but the lines.
pub(in crate::supervisor) async fn taken(
    config: &Config,
    good: &Values,
    wanted: &Values,
    like: &Base,
    reaper: &Reaper,
) -> Taken {
    let ask = async |values: &Values| {
        let base = filled(config, values, like).map_err(|error| error.to_string())?;
        let base = Arc::new(base);
        if *base != *like {
            check_base(config, Arc::clone(&base), None, reaper).await.map_err(reason)?;
        }
        Ok::<_, String>(base)
    };
    let why = match ask(wanted).await {
        Ok(base) => {
            return Taken { values: Arc::new(wanted.clone()), base, refused: BTreeMap::new() };
        }
        Err(why) => why,
    };
    let paths: BTreeSet<_> =
        good.keys().chain(wanted.keys()).filter(|path| good.get(*path) != wanted.get(*path)).collect();
    let (mut values, mut base, mut refused) = (good.clone(), Arc::new(like.clone()), BTreeMap::new());
    let is_the_only_one = paths.len() == 1;
    for path in paths {
        let mut next = values.clone();
        match wanted.get(path) {
            Some(value) => next.insert(path.clone(), value.clone()),
            None => next.remove(path),
        };
        let asked = if is_the_only_one { Err(why.clone()) } else { ask(&next).await };
        match asked {
            Ok(with_it) => (values, base) = (next, with_it),
            Err(why) => drop(refused.insert(path.clone(), why)),
        }
    }
    Taken { values: Arc::new(values), base, refused }
}

fn reason(error: StartError) -> String {
    if let StartError::BaseRefused(words) = error {
        format!("HAProxy says: {words}")
    } else {
        format!("HAProxy can't be asked: {}", with_causes(&error))
    }
}

/// `like` with the lines of `config` and these values in them.
///
/// # Errors
/// When one is no line with them.
pub(super) fn filled(config: &Config, values: &Values, like: &Base) -> Result<Base, OptionLineError> {
    with_lines(config, like, |line| line.with(values))
}

/// `like` with what is `made_of` the lines of `config`.
pub(super) fn with_lines<E>(
    config: &Config,
    like: &Base,
    made_of: impl Fn(&ValueLine) -> Result<OptionLine, E>,
) -> Result<Base, E> {
    let lines = |lines: &[ValueLine]| lines.iter().map(&made_of).collect::<Result<Vec<_>, _>>();
    let (global, defaults) = (lines(&config.haproxy.global)?, lines(&config.haproxy.defaults)?);
    let mut frontends = like.frontends.clone();
    for (name, frontend) in &mut frontends {
        if let Some(known) = config.frontends.get(name) {
            frontend.options = lines(&known.options)?;
        }
    }
    Ok(Base { global, defaults, frontends, ..like.clone() })
}
