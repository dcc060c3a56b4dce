//! `proxymgr accept-handover`: the answer to a `ProxyMgr` that is to be replaced by this program.

use super::Exit;
use super::args::AcceptArgs;
use super::run::{exit_of_start, load};
use crate::engine::error_text::with_causes;
use crate::supervisor::handover::probe::{AcceptError, Question, accept};

/// Success when this program could go on; what prevents it is told on stderr.
pub fn accept_handover(args: &AcceptArgs) -> Exit {
    let question = match Question::read() {
        Ok(question) => question,
        Err(error) => return refuse(&error),
    };
    let config = match load(&args.config, question.config()) {
        Ok(config) => config,
        Err(exit) => return exit,
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("the async runtime can't be started: {error}");
            return Exit::Failure;
        }
    };
    match runtime.block_on(accept(&config, &question)) {
        Ok(()) => Exit::Success,
        Err(error) => refuse(&error),
    }
}

fn refuse(error: &AcceptError) -> Exit {
    eprintln!("{}", with_causes(error));
    match error {
        AcceptError::Start(error) => exit_of_start(error),
        AcceptError::NotAsked => Exit::Usage,
        AcceptError::State(_) => Exit::Failure,
    }
}
