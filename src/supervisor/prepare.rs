//! What must be there before anything is started.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt::Display;
use std::fs::{DirBuilder, File, Metadata};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::time::{Instant, sleep};
use tracing::{debug, warn};

use super::cookie_key::make_cookie_key;
use crate::config::{Config, SourceConfig, ValuesConfig};
use crate::engine::consul::{ConsulAccess, ConsulToken};
use crate::engine::error_text::with_causes;
use crate::engine::haproxy_version::HaproxyVersion;
use crate::engine::render::{Rendered, Renderer};
use crate::engine::section::Base;
use crate::engine::state::{AppliedState, DesiredState};
use crate::engine::template::Template;
use crate::haproxy::check::{CheckError, discover_version};
use crate::haproxy::check_text::check_text;
use crate::haproxy::control_socket::remove_stale_control_sockets;
use crate::haproxy::listen_sockets::{ListenError, ListenSockets};
use crate::own_files;
use crate::process::reaper::{Reaper, ReaperError};
use crate::supervisor::handover::exec::VARIABLE as HANDOVER_VARIABLE;
use crate::systemd;

/// Ours alone: sockets and state may hold what others must not see.
const DIRECTORY_MODE: u32 = 0o700;
const LOCK: &str = "proxymgr.lock";
const LOCK_MODE: u32 = 0o600;
const LOCK_LIMIT: Duration = Duration::from_secs(2);
const LOCK_EVERY: Duration = Duration::from_millis(20);
const VERSION_LIMIT: Duration = Duration::from_secs(10);
/// `.if defined()`, variables with defaults and a `show servers state` that tells all.
const OLDEST: HaproxyVersion = HaproxyVersion::new(2, 4, 0);

/// Why it can't start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A value of proxymgr.yml that only its user can judge.
    #[error("{key}: {problem}")]
    Value {
        /// Its path in the file.
        key: &'static str,
        /// What is wrong.
        problem: String,
    },
    /// No `HAProxy` to be run.
    #[error("haproxy.path: {}", with_causes(.0))]
    Haproxy(#[source] CheckError),
    /// An `HAProxy` that lacks what is needed.
    #[error("haproxy.path: HAProxy {0} is too old; install {OLDEST} or later")]
    TooOld(HaproxyVersion),
    /// `HAProxy` refuses a configuration without any service.
    #[error("haproxy.global, haproxy.defaults or frontends: HAProxy refuses them: {0}")]
    BaseRefused(String),
    /// A template that can't be used.
    #[error("haproxy.template: {0}")]
    Template(String),
    /// A directory that can't be made.
    #[error("{key}: '{}' can't be made; create it for this user, or name another", path.display())]
    Directory {
        /// Its path in the file.
        key: &'static str,
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Another `ProxyMgr` runs.
    #[error(
        "runtime_dir: another ProxyMgr runs with it, and holds '{}'; end that one, or give this one directories of its own",
        .0.display()
    )]
    Running(PathBuf),
    /// The lock of `runtime_dir` can't be had.
    #[error("runtime_dir: '{}' can't be locked; the directory must be writable", path.display())]
    Lock {
        /// The lock.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The operators' socket can't be had.
    #[error("haproxy.socket_path")]
    OperatorsSocket(#[source] ListenError),
    /// The reaper.
    #[error(transparent)]
    Reaper(#[from] ReaperError),
    /// Signals can't be listened for.
    #[error("signals can't be listened for")]
    Signals(#[source] io::Error),
}

impl StartError {
    pub(super) fn value(key: &'static str, problem: &impl Display) -> Self {
        Self::Value { key, problem: problem.to_string() }
    }
}

/// What a start needs.
#[derive(Debug)]
pub struct Prepared {
    /// Starts and collects processes.
    pub reaper: Reaper,
    /// The installed `HAProxy`.
    pub version: HaproxyVersion,
}

/// `runtime_dir` is this program's alone as long as this lives. It is not handed over: an upgrade locks it anew.
#[derive(Debug)]
pub struct Locked(#[expect(dead_code, reason = "held, not used")] Flock<File>);

/// Asks `HAProxy` about the `global` and `defaults` sections alone, by `template` if there is one: what is wrong there is no
/// service's fault.
///
/// # Errors
/// When it refuses them, or can't be asked.
pub async fn check_base(
    config: &Config,
    base: Arc<Base>,
    template: Option<Template>,
    reaper: &Reaper,
) -> Result<(), StartError> {
    let by_template = template.is_some();
    let rendered = without_services(base, template)?;
    let sockets = ListenSockets::new(None);
    let report = check_text(reaper, &config.haproxy.path, &rendered.text_for_check(), &sockets).await;
    let report = report.map_err(StartError::Haproxy)?;
    if report.accepted {
        return Ok(());
    }
    let alerts = report.alerts().map(|alert| alert.text.clone()).collect::<Vec<_>>().join(" | ");
    Err(if by_template {
        StartError::Template(format!("HAProxy refuses its output, even without any service: {alerts}"))
    } else {
        StartError::BaseRefused(alerts)
    })
}

/// The haproxy.cfg of a start that finds no service.
///
/// # Errors
/// When the template fails.
pub fn without_services(base: Arc<Base>, template: Option<Template>) -> Result<Rendered, StartError> {
    let nothing = DesiredState { base, services: BTreeMap::new(), includes: Arc::default(), template };
    let rendered = Renderer::default().by_template(&AppliedState::loaded(&nothing, None));
    rendered.map_err(|error| StartError::Template(format!("{error} (where there is no service)")))
}

/// Makes the directories that sockets and state go into.
///
/// # Errors
/// When one can't be made.
pub fn make_directories(config: &Config) -> Result<(), StartError> {
    make_directory("runtime_dir", &config.runtime_dir)?;
    make_directory("state_dir", &config.state_dir)?;
    make_cookie_key(config);
    if let Some(parent) = config.haproxy.socket_path.parent() {
        make_directory("haproxy.socket_path", parent)?;
    }
    Ok(())
}

/// Removes what an earlier run left behind, and raises the limit of open files. What fails of it is no obstacle.
pub fn tidy_up(config: &Config) {
    if let Err(error) = remove_stale_control_sockets(&config.runtime_dir) {
        warn!(%error, "control sockets of an earlier run stay behind in runtime_dir");
    }
    raise_file_limit();
}

/// Locks `runtime_dir`; waits a little for one that is ending, or has just been killed.
///
/// # Errors
/// When another `ProxyMgr` runs with it, or the lock can't be had.
pub async fn lock(runtime_dir: &Path) -> Result<Locked, StartError> {
    let path = runtime_dir.join(LOCK);
    let unavailable = |source| StartError::Lock { path: path.clone(), source };
    let mut file = own_files::open_or_create(&path, LOCK_MODE).map_err(unavailable)?;
    let began = Instant::now();
    loop {
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => return Ok(Locked(lock)),
            Err((held, Errno::EWOULDBLOCK)) if began.elapsed() < LOCK_LIMIT => file = held,
            Err((_, Errno::EWOULDBLOCK)) => return Err(StartError::Running(path)),
            Err((_, error)) => return Err(unavailable(error.into())),
        }
        sleep(LOCK_EVERY).await;
    }
}

/// Starts the reaper and asks `HAProxy` for its version.
///
/// # Errors
/// When there is none, or it is too old.
pub async fn find_haproxy(config: &Config) -> Result<Prepared, StartError> {
    let reaper = start_reaper(config)?;
    let version = find_version(config, &reaper).await?;
    Ok(Prepared { reaper, version })
}

/// Starts the reaper. Its children see nothing that is not meant for them.
///
/// # Errors
/// When the kernel refuses the role.
pub fn start_reaper(config: &Config) -> Result<Reaper, StartError> {
    let mut hidden = variables_with_passwords(config);
    // What is meant for this process alone.
    hidden.extend(systemd::VARIABLES.into_iter().chain([HANDOVER_VARIABLE]).map(OsString::from));
    Ok(Reaper::start()?.hiding(hidden))
}

/// Asks `HAProxy` for its version.
///
/// # Errors
/// When there is none, or it is too old.
pub async fn find_version(config: &Config, reaper: &Reaper) -> Result<HaproxyVersion, StartError> {
    let version =
        discover_version(reaper, &config.haproxy.path, VERSION_LIMIT).await.map_err(StartError::Haproxy)?;
    if version < OLDEST {
        return Err(StartError::TooOld(version));
    }
    Ok(version)
}

/// `HAProxy` replaces `"${NAME}"` in its configuration, so a definition could show any variable that it has: it must not have
/// those that hold a password of proxymgr.yml. For `user:password` that is what follows the colon.
fn variables_with_passwords(config: &Config) -> Vec<OsString> {
    let credentials = config.service_config.iter().filter_map(|source| match source {
        SourceConfig::Zookeeper { auth, .. } => Some(auth.as_ref()?.credentials.expose()),
        SourceConfig::Consul { .. } | SourceConfig::File { .. } | SourceConfig::Docker { .. } => None,
    });
    let of_values = config.values.iter().filter_map(|values| match values {
        ValuesConfig::Zookeeper { auth, .. } => Some(auth.as_ref()?.credentials.expose()),
        ValuesConfig::Consul { .. } => None,
    });
    let credentials = credentials.chain(of_values);
    let tokens = consuls(config).filter_map(|access| match access.token.as_ref()? {
        ConsulToken::Value(token) => Some(token.expose()),
        ConsulToken::File(_) => None,
    });
    let passwords = credentials.map(|text| text.split_once(':').map_or(text, |(_user, password)| password));
    let passwords: Vec<&str> = passwords.chain(tokens).collect();
    let holds_one = |value: &OsStr| {
        let value = value.to_string_lossy();
        passwords.iter().any(|password| !password.is_empty() && value.contains(password))
    };
    std::env::vars_os().filter(|(_, value)| holds_one(value)).map(|(name, _)| name).collect()
}

fn consuls(config: &Config) -> impl Iterator<Item = &ConsulAccess> {
    let sources = config.service_config.iter().filter_map(|source| match source {
        SourceConfig::Consul { access, listing: _ } => Some(access),
        SourceConfig::Zookeeper { .. } | SourceConfig::File { .. } | SourceConfig::Docker { .. } => None,
    });
    let of_values = config.values.iter().filter_map(|values| match values {
        ValuesConfig::Consul { access, path: _ } => Some(access),
        ValuesConfig::Zookeeper { .. } => None,
    });
    config.consul.iter().chain(sources).chain(of_values)
}

fn make_directory(key: &'static str, path: &Path) -> Result<(), StartError> {
    DirBuilder::new()
        .recursive(true)
        .mode(DIRECTORY_MODE)
        .create(path)
        .map_err(|source| StartError::Directory { key, path: path.to_owned(), source })?;
    if std::fs::metadata(path).is_ok_and(|metadata| is_others(&metadata)) {
        warn!(
            key,
            directory = %path.display(),
            "others may replace what is in this directory; give it to this user alone (chown, chmod 700)"
        );
    }
    Ok(())
}

/// Whether others may rename and replace what is in a directory; where it is sticky, as /tmp is, they may not.
fn is_others(directory: &Metadata) -> bool {
    directory.permissions().mode() & 0o1002 == 0o0002 || !own_files::is_ours(directory)
}

/// Each listen socket takes up to three files here, each connection two in `HAProxy`, which inherits the limit.
fn raise_file_limit() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE).and_then(|(soft, hard)| {
        debug!(soft, hard, "limit of open files");
        if soft < hard { setrlimit(Resource::RLIMIT_NOFILE, hard, hard) } else { Ok(()) }
    });
    if let Err(error) = raised {
        warn!(%error, "the limit of open files can't be raised");
    }
}
