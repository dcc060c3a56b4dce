//! What is asked through the control socket.

use std::io;
use std::path::Path;

use tokio::sync::mpsc;
use tracing::warn;

use super::Supervisor;
use super::prepare::StartError;
use super::replacement::Why;
use crate::admin::protocol::Command;
use crate::admin::request::{Answer, Asked};
use crate::admin::server::{self, Listener};

/// Commands that wait; a full queue only slows their clients down.
const QUEUE: usize = 16;

/// Opens the control socket in `runtime_dir` and gives what is asked there. One who takes over goes on without it.
///
/// # Errors
/// At a first start, when another `ProxyMgr` listens there already.
pub(super) fn listen(runtime_dir: &Path, takes_over: bool) -> Result<mpsc::Receiver<Asked>, StartError> {
    let listener = match Listener::open(runtime_dir) {
        Ok(listener) => Some(listener),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && !takes_over => {
            return Err(StartError::AlreadyRuns(runtime_dir.to_owned()));
        }
        Err(error) => {
            warn!(%error, "the control socket can't be opened in runtime_dir; trying on, commands such as status must wait");
            None
        }
    };
    let (requests, commands) = mpsc::channel(QUEUE);
    tokio::spawn(server::run(runtime_dir.to_owned(), listener, requests));
    Ok(commands)
}

impl Supervisor {
    /// Does what was asked, or begins to.
    pub(super) fn carry_out(&mut self, asked: Asked) {
        let Asked { command, asker } = asked;
        let applied = self.reconciler.applied();
        match command {
            Command::Ping => asker.answer(Answer::Done),
            Command::Reload => self.replacement.begin(Why::Reread, Some(asker), applied),
            Command::Status(query) => {
                self.status_desk.answer(query, &self.reconciler, self.clock.now(), asker);
            }
            Command::Upgrade => self.replacement.begin(Why::Upgrade, Some(asker), applied),
        }
    }
}
