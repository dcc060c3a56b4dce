//! Finds the running `ProxyMgr`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use super::Exit;
use super::args::RunningArgs;
use super::report_text::one_line;
use crate::admin::client::{Client, ClientError};
use crate::admin::protocol::Command;
use crate::admin::socket_in;
use crate::config::{Config, DEFAULT_RUNTIME_DIR};
use crate::engine::error_text::with_causes;

/// A program that takes over opens the socket again within this time, a busy one takes another client.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);

/// Its control socket.
///
/// # Errors
/// When the file doesn't tell; said on stderr.
pub(super) fn socket_of(args: &RunningArgs) -> Result<PathBuf, Exit> {
    match (&args.socket, &args.config) {
        (Some(socket), _) => Ok(socket.clone()),
        (None, Some(config)) => Config::runtime_dir_of(config, &|name| std::env::var(name).ok())
            .map(|runtime_dir| socket_in(&runtime_dir))
            .map_err(|errors| {
                eprintln!("{errors}");
                eprintln!(
                    "proxymgr: its runtime_dir can't be known; name the control socket with --socket PATH"
                );
                Exit::BadConfig
            }),
        (None, None) => Ok(socket_in(Path::new(DEFAULT_RUNTIME_DIR))),
    }
}

/// A connection to it.
pub(super) fn connect(socket: &Path) -> Result<Client, ClientError> {
    Client::connect(socket, PATIENCE)
}

/// Tells a person what is waited for, each thing once.
pub(super) fn tell_waiting(json: bool) -> impl FnMut(&str) {
    let mut told = String::new();
    move |what| {
        if !json && told != what {
            eprintln!("waiting for {}", one_line(what));
            what.clone_into(&mut told);
        }
    }
}

/// Tells a person what went wrong.
pub(super) fn tell_failure(error: &(dyn std::error::Error + 'static)) {
    eprintln!("proxymgr: {}", one_line(&with_causes(error)));
}

/// Asks it. When another program takes over meanwhile, that one is asked again.
pub(super) fn ask(
    socket: &Path,
    command: &Command,
    waiting: &mut dyn FnMut(&str),
) -> Result<Value, ClientError> {
    match connect(socket)?.ask(command, waiting) {
        Err(ClientError::Closed) => connect(socket)?.ask(command, waiting),
        answer => answer,
    }
}
