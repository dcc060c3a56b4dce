//! `proxymgr run`.

use std::path::Path;

use tracing::error;

use super::Exit;
use super::args::RunArgs;
use crate::config::{Config, LogLevel};
use crate::engine::error_text::with_causes;
use crate::logging;
use crate::supervisor::prepare::StartError;
use crate::supervisor::signals::leave_to_main_thread;
use crate::supervisor::{self, RunError};

/// Runs until it is asked to end.
pub fn run(args: &RunArgs) -> Exit {
    let mut config = match load(&args.config) {
        Ok(config) => config,
        Err(exit) => return exit,
    };
    if args.debug {
        config.log.level = LogLevel::Debug;
    }
    let filter = std::env::var(logging::FILTER_VARIABLE).ok();
    if let Err(error) = logging::start(&config.log, filter.as_deref()) {
        eprintln!("proxymgr: {}", with_causes(&error));
        return Exit::Usage;
    }
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = match runtime.enable_all().on_thread_start(leave_to_main_thread).build() {
        Ok(runtime) => runtime,
        Err(error) => {
            error!(%error, "the async runtime can't be started");
            return Exit::Failure;
        }
    };
    match runtime.block_on(supervisor::run(config, args.config.clone())) {
        Ok(()) => Exit::Success,
        Err(error) => {
            error!("{}", with_causes(&error));
            exit_of(&error)
        }
    }
}

/// Loads proxymgr.yml, or tells all that is wrong with it on stderr.
pub(super) fn load(path: &Path) -> Result<Config, Exit> {
    Config::load(path, &|name| std::env::var(name).ok()).map_err(|errors| {
        eprintln!("{errors}");
        Exit::BadConfig
    })
}

pub(super) fn exit_of(error: &RunError) -> Exit {
    match error {
        RunError::Start(error) => exit_of_start(error),
        RunError::HaproxyTask => Exit::Failure,
    }
}

pub(super) fn exit_of_start(error: &StartError) -> Exit {
    match error {
        StartError::Value { .. } | StartError::BaseRefused(_) => Exit::BadConfig,
        StartError::Haproxy(_) | StartError::TooOld(_) => Exit::HaproxyUnavailable,
        StartError::Directory { .. }
        | StartError::AlreadyRuns(_)
        | StartError::OperatorsSocket(_)
        | StartError::Handover(_)
        | StartError::Reaper(_)
        | StartError::Signals(_) => Exit::Failure,
    }
}
