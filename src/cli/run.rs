//! `proxymgr run`.

use std::path::Path;

use tracing::error;

use super::Exit;
use super::args::RunArgs;
use crate::config::{Config, ConfigErrors, LogLevel};
use crate::engine::error_text::with_causes;
use crate::logging;
use crate::panics;
use crate::supervisor;
use crate::supervisor::handover::exec::Received;
use crate::supervisor::prepare::StartError;
use crate::supervisor::signals::leave_to_main_thread;

/// Runs until it is asked to end.
pub fn run(args: &RunArgs) -> Exit {
    let received = Received::take();
    let mut config = match load(&args.config, received.config()) {
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
    panics::hook::install();
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = match runtime.enable_all().on_thread_start(leave_to_main_thread).build() {
        Ok(runtime) => runtime,
        Err(error) => {
            error!(%error, "the async runtime can't be started");
            return Exit::Failure;
        }
    };
    let ended = runtime.block_on(supervisor::run(config, args.config.clone(), received));
    // Who asked for the end does not wait for a disk that hangs.
    runtime.shutdown_background();
    match ended {
        Ok(()) => Exit::Success,
        Err(error) => {
            error!("{}", with_causes(&error));
            exit_of_start(&error)
        }
    }
}

/// Loads proxymgr.yml, or `text` in its place, or tells all that is wrong with it on stderr.
pub(super) fn load(path: &Path, text: Option<&str>) -> Result<Config, Exit> {
    let variable = |name: &str| std::env::var(name).ok();
    let config = match text {
        Some(text) => Config::parse(text.as_bytes(), &variable)
            .map_err(|errors| ConfigErrors::Invalid { file: path.to_owned(), errors }),
        None => Config::load(path, &variable),
    };
    config.map_err(|errors| {
        eprintln!("{errors}");
        Exit::BadConfig
    })
}

pub(super) fn exit_of_start(error: &StartError) -> Exit {
    match error {
        StartError::Value { .. } | StartError::BaseRefused(_) | StartError::Template(_) => Exit::BadConfig,
        StartError::Haproxy(_) | StartError::TooOld(_) => Exit::HaproxyUnavailable,
        StartError::Directory { .. }
        | StartError::Running(_)
        | StartError::Lock { .. }
        | StartError::OperatorsSocket(_)
        | StartError::Reaper(_)
        | StartError::Signals(_) => Exit::Failure,
    }
}
