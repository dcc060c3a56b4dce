//! proxymgr.yml: read, checked as a whole, with every mistake told at once and by its place.

mod admin;
mod consul;
mod docker;
mod environment;
mod error;
mod frontends;
mod haproxy;
mod model;
mod reader;
mod service_config;
mod value;
mod values;
mod yaml;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use error::{ConfigError, ConfigErrors, Position};
pub use model::{
    AdminConfig, AuthConfig, Config, ConsulListing, FrontendConfig, HaproxyConfig, LogConfig, LogFormat,
    LogLevel, ReloadConfig, SafetyConfig, ShutdownConfig, SourceConfig, ValuesConfig,
};

use crate::engine::duration_text::duration;
use crate::engine::outage_rules::{OnEmpty, OutageRules, Percent};
use crate::engine::risk::Risk;
use crate::engine::value_line::ValueLine;
use reader::{Reader, Section, Value};

/// More than any configuration needs, in bytes.
const MAX_FILE_SIZE: usize = 1 << 20;
/// `runtime_dir` where the file names none.
pub const DEFAULT_RUNTIME_DIR: &str = "/run/proxymgr";
const DEFAULT_MAX_DRAINING: std::num::NonZeroUsize = std::num::NonZeroUsize::MIN.saturating_add(7);

impl Config {
    /// Reads the file at `path`; `env` gives the value of an environment variable.
    ///
    /// # Errors
    /// When the file can't be read, or with every mistake in it.
    pub fn load(path: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<Self, ConfigErrors> {
        let bytes = read_file(path)?;
        Self::parse(&bytes, env).map_err(|errors| ConfigErrors::Invalid { file: path.to_owned(), errors })
    }

    /// The `runtime_dir` of the file at `path`, whatever the rest says: other values may need variables that only the running
    /// `ProxyMgr` has.
    ///
    /// # Errors
    /// When the file can't be read, or what is wrong with this key.
    pub fn runtime_dir_of(
        path: &Path,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Result<PathBuf, ConfigErrors> {
        let invalid = |errors| ConfigErrors::Invalid { file: path.to_owned(), errors };
        let bytes = read_file(path)?;
        let root = parse_yaml(&bytes).map_err(invalid)?;
        let mut reader = Reader::new(env);
        let mut top = reader.open(root.as_ref().map(Value::root));
        let runtime_dir = read_runtime_dir(&mut reader, &mut top);
        if reader.errors.is_empty() { Ok(runtime_dir) } else { Err(invalid(reader.errors)) }
    }

    /// The lines that may name values of a registry.
    pub fn value_lines(&self) -> impl Iterator<Item = &ValueLine> {
        values::lines(&self.haproxy, &self.frontends)
    }

    /// The paths of the registry's values that lines and templates name.
    pub fn value_paths(&self) -> BTreeSet<String> {
        values::paths(self.value_lines(), &self.service_config)
    }

    /// Reads the file's bytes.
    ///
    /// # Errors
    /// Every mistake, in the order of the file.
    pub fn parse(bytes: &[u8], env: &dyn Fn(&str) -> Option<String>) -> Result<Self, Vec<ConfigError>> {
        let root = parse_yaml(bytes)?;
        let mut reader = Reader::new(env);
        let config = read(&mut reader, root.as_ref().map(Value::root));
        if reader.errors.is_empty() {
            return Ok(config);
        }
        reader.errors.sort_by_key(|error| error.position);
        Err(reader.errors)
    }
}

fn read_file(path: &Path) -> Result<Vec<u8>, ConfigErrors> {
    std::fs::read(path).map_err(|source| ConfigErrors::Unreadable { file: path.to_owned(), source })
}

fn parse_yaml(bytes: &[u8]) -> Result<Option<yaml::Node>, Vec<ConfigError>> {
    text_of(bytes).and_then(yaml::parse).map_err(|error| vec![error])
}

/// The bytes as text, without a byte order mark.
fn text_of(bytes: &[u8]) -> Result<&str, ConfigError> {
    let whole = |position, message: String| ConfigError { position, path: String::new(), message };
    if bytes.len() > MAX_FILE_SIZE {
        return Err(whole(None, format!("is {} bytes long; at most {MAX_FILE_SIZE} are read", bytes.len())));
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let before = bytes.get(..error.valid_up_to()).unwrap_or_default();
        let line = before.split(|byte| *byte == b'\n').count();
        let last = before.rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
        let column = String::from_utf8_lossy(last).chars().count() + 1;
        whole(Some(Position { line, column }), "is not UTF-8 text; save the file as UTF-8".to_owned())
    })?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

fn read(reader: &mut Reader<'_>, root: Option<Value<'_>>) -> Config {
    let mut top = reader.open(root);
    let runtime_dir = read_runtime_dir(reader, &mut top);
    let consul = top.get("consul").and_then(|value| consul::read(reader, value));
    let haproxy = haproxy::read(reader, top.get("haproxy"), &runtime_dir);
    let service_config = service_config::read(reader, &mut top, consul.as_ref());
    let values = values::read(reader, &mut top, consul.as_ref(), &service_config);
    let frontends = frontends::read(reader, top.get("frontends"));
    let are_named = !values::paths(values::lines(&haproxy, &frontends), &service_config).is_empty();
    if values.is_none() && are_named {
        reader.missing(
            &top,
            "values",
            "write the registry of the values that lines name, such as values: {type: consul}",
        );
    }
    let config = Config {
        haproxy,
        service_config,
        consul,
        values,
        frontends,
        reload: read_reload(reader, top.get("reload")),
        safety: read_safety(reader, top.get("safety")),
        admin: admin::read(reader, top.get("admin")),
        shutdown: read_shutdown(reader, top.get("shutdown")),
        log: read_log(reader, top.get("log")),
        state_dir: reader
            .read(top.get("state_dir"), value::absolute_path)
            .unwrap_or_else(|| PathBuf::from("/var/lib/proxymgr")),
        runtime_dir,
    };
    reader.close(&top);
    config
}

fn read_runtime_dir(reader: &mut Reader<'_>, top: &mut Section<'_>) -> PathBuf {
    let runtime_dir = reader.read(top.get("runtime_dir"), value::socket_directory);
    runtime_dir.unwrap_or_else(|| PathBuf::from(DEFAULT_RUNTIME_DIR))
}

fn read_reload(reader: &mut Reader<'_>, value: Option<Value<'_>>) -> ReloadConfig {
    let mut section = reader.open(value);
    let config = ReloadConfig {
        min_interval: reader.read(section.get("min_interval"), duration).unwrap_or(Duration::from_secs(1)),
        drain_timeout: reader
            .read(section.get("drain_timeout"), duration)
            .unwrap_or(Duration::from_secs(600)),
        max_draining: reader.read(section.get("max_draining"), value::count).unwrap_or(DEFAULT_MAX_DRAINING),
    };
    reader.close(&section);
    config
}

fn read_safety(reader: &mut Reader<'_>, value: Option<Value<'_>>) -> SafetyConfig {
    let mut section = reader.open(value);
    let on_empty = |text: &str| value::word(text, &OnEmpty::WORDS);
    let outage = OutageRules {
        on_empty: reader.read(section.get("on_empty"), on_empty).unwrap_or(OnEmpty::Keep),
        max_shrink: reader.read(section.get("max_shrink"), Percent::parse).unwrap_or(Percent::THREE_QUARTERS),
        shrink_hold: reader.read(section.get("shrink_hold"), duration).unwrap_or(Duration::from_secs(30)),
    };
    let startup_timeout =
        reader.read(section.get("startup_timeout"), duration).unwrap_or(Duration::from_secs(10));
    let risk = |text: &str| value::word(text, &Risk::WORDS);
    let allow_options = reader.read_list(section.get("allow_options"), risk).unwrap_or_default();
    let config = SafetyConfig { outage, startup_timeout, allow_options: allow_options.into_iter().collect() };
    reader.close(&section);
    config
}

fn read_shutdown(reader: &mut Reader<'_>, value: Option<Value<'_>>) -> ShutdownConfig {
    let mut section = reader.open(value);
    let grace = reader.read(section.get("grace"), duration).unwrap_or(Duration::from_secs(8));
    reader.close(&section);
    ShutdownConfig { grace }
}

fn read_log(reader: &mut Reader<'_>, value: Option<Value<'_>>) -> LogConfig {
    const LEVELS: &[(&str, LogLevel)] = &[
        ("error", LogLevel::Error),
        ("warn", LogLevel::Warn),
        ("info", LogLevel::Info),
        ("debug", LogLevel::Debug),
        ("trace", LogLevel::Trace),
    ];
    let mut section = reader.open(value);
    let format = |text: &str| value::word(text, &[("text", LogFormat::Text), ("json", LogFormat::Json)]);
    let config = LogConfig {
        format: reader.read(section.get("format"), format).unwrap_or(LogFormat::Text),
        level: reader.read(section.get("level"), |text| value::word(text, LEVELS)).unwrap_or(LogLevel::Info),
    };
    reader.close(&section);
    config
}
