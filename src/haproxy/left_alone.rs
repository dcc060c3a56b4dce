//! Processes of `HAProxy` that outlived the `ProxyMgr` which started them.

use std::collections::BTreeSet;
use std::io;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use super::reply::{ReplyError, parse_show_info};
use super::runtime::{RuntimeConnection, RuntimeError};
use crate::process::adopt::Birth;
use crate::process::found;
use crate::process::spawn::ChildSignal;

/// How long one may take to answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);
/// How long one may take to stop listening.
const STOP_LIMIT: Duration = Duration::from_secs(2);
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Tells for whom a process was started.
pub(super) const RUNTIME_DIR_VARIABLE: &str = "PROXYMGR_RUNTIME_DIR";
/// Names of the pipes that `HAProxy`'s output comes through begin with this.
pub const OUTPUT_OF: &str = "output=";

/// The name under which systemd keeps the pipe that the output of the process `pid` comes through.
pub fn output_name(pid: u32) -> String {
    format!("{OUTPUT_OF}{pid}")
}

/// Why a process can't be trusted to serve what is known of it.
#[derive(Debug, thiserror::Error)]
pub enum NotServing {
    /// Its runtime socket doesn't answer.
    #[error("its runtime socket doesn't answer")]
    NoAnswer(#[from] RuntimeError),
    /// It answers something else.
    #[error("its runtime socket gives a strange answer")]
    Strange(#[from] ReplyError),
    /// The socket is another's.
    #[error("its runtime socket belongs to the process {0}")]
    Another(u32),
    /// It accepts no more.
    #[error("it is in soft stop")]
    Stopping,
}

/// The processes that were started for `runtime_dir`.
///
/// # Errors
/// When /proc can't be read.
pub fn processes(runtime_dir: &Path) -> io::Result<BTreeSet<u32>> {
    Ok(found::started_with(RUNTIME_DIR_VARIABLE, runtime_dir.as_os_str())?.into_iter().collect())
}

/// Asks whether the process `pid` serves and has the runtime socket `control`.
///
/// # Errors
/// Why it can't be trusted.
pub async fn ask(control: &Path, pid: u32) -> Result<(), NotServing> {
    let mut connection = RuntimeConnection::connect(control, ANSWER_LIMIT).await?;
    let info = parse_show_info(&connection.execute("show info").await?)?;
    match info.pid {
        found if found != pid => Err(NotServing::Another(found)),
        _ if info.stopping => Err(NotServing::Stopping),
        _ => Ok(()),
    }
}

/// Asks the processes to drain, and waits until nobody listens on `operators_socket`: then their ports are free as well.
pub async fn stop(processes: impl Iterator<Item = u32>, operators_socket: &Path) {
    for pid in processes {
        info!(pid, "an HAProxy of an earlier ProxyMgr holds its ports; it drains");
        let asked = Birth::of(pid).ok_or_else(|| io::ErrorKind::NotFound.into());
        if let Err(error) = asked.and_then(|born| found::signal(pid, born, ChildSignal::User1)) {
            warn!(pid, %error, "it can't be asked to drain");
        }
    }
    let began = Instant::now();
    while UnixStream::connect(operators_socket).is_ok() {
        if began.elapsed() >= STOP_LIMIT {
            warn!("it does not stop listening; end it by hand (kill PID) when ports stay in use");
            return;
        }
        sleep(LOOK_EVERY).await;
    }
}
