//! The answer of a command that ends, on stdout.

use std::io::{self, Write as _};

use serde::Serialize;

use super::Exit;

/// Prints `text` whole and ends with `exit`. A reader that has seen enough, such as `head`, is no failure.
pub(super) fn answer(text: &str, exit: Exit) -> Exit {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Ok(()) => exit,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => exit,
        Err(error) => {
            eprintln!("proxymgr: the answer can't be written: {error}");
            Exit::Failure
        }
    }
}

/// The same as one JSON object.
pub(super) fn answer_json<T: Serialize>(object: &T, exit: Exit) -> Exit {
    match serde_json::to_string_pretty(object) {
        Ok(json) => answer(&(json + "\n"), exit),
        Err(error) => {
            eprintln!("proxymgr: the answer can't be written as JSON: {error}");
            Exit::Failure
        }
    }
}

/// Runs a command's work to its end.
pub(super) fn block_on<T>(work: impl Future<Output = T>) -> Result<T, Exit> {
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => Ok(runtime.block_on(work)),
        Err(error) => {
            eprintln!("proxymgr: the async runtime can't be started: {error}");
            Err(Exit::Failure)
        }
    }
}
