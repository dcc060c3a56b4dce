//! proxymgr.yml as each part needs it.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::cookie_key::cookie_key;
use super::http_desk::HttpSettings;
use super::prepare::StartError;
use super::values::with_recalled_lines;
use crate::config::{Config, FrontendConfig, ValuesConfig};
use crate::directory_watch::bounded_read;
use crate::dns::Names;
use crate::docker::Daemons;
use crate::engine::capability::Capability;
use crate::engine::haproxy_version::HaproxyVersion;
use crate::engine::http_frontend::{HttpFrontend, MapFile};
use crate::engine::reconciler;
use crate::engine::route::FrontendName;
use crate::engine::secret::Secret;
use crate::engine::section::{Base, Program};
use crate::engine::service::{BindAddress, UnixPath};
use crate::haproxy::actor;
use crate::http::Access;
use crate::process::resources::resources;
use crate::registry_values::ValuesRegistry;
use crate::service_config::{SourceSettings, zookeeper_access};
use crate::watcher::{HostNames, Registries};
use crate::zookeeper::{ConnectString, NodePath};

/// After the sources' time is up, what is remembered of their services takes a moment to arrive.
const RECALL_TIME: Duration = Duration::from_millis(250);

/// More than any token, in bytes.
const LONGEST_TOKEN: u64 = 4096;

/// What decides.
///
/// # Errors
/// When a value can't be used.
pub fn reconciler_settings(
    config: &Config,
    version: HaproxyVersion,
) -> Result<reconciler::Settings, StartError> {
    values_registry(config)?;
    let base = Base {
        global: Vec::new(),
        defaults: Vec::new(),
        bind_address: config.haproxy.bind_address,
        operators_socket: Some(operators_socket(config)?),
        program: program(&config.haproxy.path, version),
        frontends: frontends(config)?,
        cookie_key: cookie_key(config),
    };
    Ok(reconciler::Settings {
        base: Arc::new(with_recalled_lines(config, &base)),
        capability: Capability { version, runtime_updates: config.haproxy.runtime_updates },
        min_interval: config.reload.min_interval,
        startup_timeout: config.safety.startup_timeout + RECALL_TIME,
        outage: config.safety.outage,
        resources: resources(),
    })
}

/// The frontends that services share, each with the file of its routes, and without lines.
fn frontends(config: &Config) -> Result<BTreeMap<FrontendName, HttpFrontend>, StartError> {
    let directory = config.runtime_dir.to_str().map(UnixPath::parse);
    let Some(Ok(directory)) = directory else {
        return Err(StartError::value("runtime_dir", &"it can't stand in haproxy.cfg"));
    };
    let frontend = |(name, frontend): (&FrontendName, &FrontendConfig)| {
        let FrontendConfig { listen, bind_options, options: _, default_service } = frontend.clone();
        let map = MapFile::new(&directory, name);
        let options = Vec::new();
        (name.clone(), HttpFrontend { listen, bind_options, options, default_service, map, is_out: false })
    };
    Ok(config.frontends.iter().map(frontend).collect())
}

/// What acts.
///
/// # Errors
/// When a value can't be used.
pub fn haproxy_settings(config: &Config) -> Result<actor::Settings, StartError> {
    Ok(actor::Settings {
        binary: config.haproxy.path.clone(),
        config_path: config.haproxy.config_path.clone(),
        operators_socket: Some(operators_socket(config)?),
        state_dir: config.state_dir.clone(),
        runtime_dir: config.runtime_dir.clone(),
        drain_timeout: config.reload.drain_timeout,
        max_draining: config.reload.max_draining.get(),
        start_limit: actor::START_LIMIT,
    })
}

/// HTTP; `None` where it is not asked for.
///
/// # Errors
/// When the token can't be read.
pub fn http(config: &Config) -> Result<Option<HttpSettings>, StartError> {
    let Some(admin) = &config.admin else { return Ok(None) };
    let access = match &admin.token_file {
        None => Access::Anyone,
        Some(file) => Access::Bearer(token(file)?),
    };
    Ok(Some(HttpSettings { listen: admin.listen, access }))
}

fn token(file: &Path) -> Result<Secret, StartError> {
    let refuse =
        |problem: String| StartError::value("admin.token_file", &format!("'{}' {problem}", file.display()));
    let bytes =
        bounded_read(file, LONGEST_TOKEN).map_err(|error| refuse(format!("can't be read: {error}")))?;
    let token = bytes.trim_ascii();
    if token.is_empty() || !token.iter().all(u8::is_ascii_graphic) {
        return Err(refuse("must hold one line of printable characters without blanks".to_owned()));
    }
    Ok(Secret::new(String::from_utf8_lossy(token)))
}

/// Where services come from.
///
/// # Errors
/// When a value can't be used.
pub fn sources(config: &Config) -> Result<Vec<SourceSettings>, StartError> {
    let source = |config| {
        SourceSettings::try_from(config).map_err(|error| StartError::value("service_config", &error))
    };
    config.service_config.iter().map(source).collect()
}

/// Where the values are looked up that lines and templates name; `None` when they name none.
///
/// # Errors
/// When a value of proxymgr.yml can't be used.
fn values_registry(config: &Config) -> Result<Option<ValuesRegistry>, StartError> {
    let refuse = |error: &dyn Display| StartError::value("values", &error.to_string());
    let Some(values) = config.values.as_ref().filter(|_| !config.value_paths().is_empty()) else {
        return Ok(None);
    };
    Ok(Some(match values {
        ValuesConfig::Zookeeper { servers, path, auth, tls } => ValuesRegistry::Zookeeper {
            servers: ConnectString::parse(servers).map_err(|error| refuse(&error))?,
            access: zookeeper_access(auth.as_ref(), tls.as_ref()),
            path: NodePath::parse(path).map_err(|error| refuse(&error))?,
        },
        ValuesConfig::Consul { access, path } => {
            ValuesRegistry::Consul { access: access.clone(), path: path.clone() }
        }
    }))
}

/// What watchers share; to be called within a tokio runtime.
pub fn registries(config: &Config, sources: &[SourceSettings]) -> Registries {
    // The other half is for what follows: a first set must be there when the start goes on.
    let first_wait = config.safety.startup_timeout / 2;
    let values = values_registry(config).ok().flatten();
    let consuls = config.consul.iter().chain(sources.iter().filter_map(SourceSettings::consul));
    let registries = Registries::new(
        sources.iter().filter_map(SourceSettings::access),
        HostNames { names: Names::default(), first_wait },
    )
    .with_daemons(Daemons::new(sources.iter().flat_map(SourceSettings::docker_tls)))
    .knowing(consuls.cloned().collect());
    match values {
        Some(registry) => registries.following(registry, config.value_paths()),
        None => registries,
    }
}

/// What tells the `HAProxy` at `path`, which may be a name on `PATH`, from one that is installed in its place; `None` when it can't
/// be found just now.
fn program(path: &Path, version: HaproxyVersion) -> Option<Program> {
    let file = if path.components().count() > 1 {
        path.to_owned()
    } else {
        let directories = std::env::var_os("PATH")?;
        std::env::split_paths(&directories)
            .map(|directory| directory.join(path))
            .find(|file| file.is_file())?
    };
    let meta = std::fs::metadata(&file).ok()?;
    let changed = format!("{}.{} {}", meta.mtime(), meta.mtime_nsec(), meta.len());
    Some(Program::new(format!("{version} {} {}:{} {changed}", file.display(), meta.dev(), meta.ino())))
}

fn operators_socket(config: &Config) -> Result<UnixPath, StartError> {
    let text = format!("unix@{}", config.haproxy.socket_path.display());
    match BindAddress::parse(&text) {
        Ok(BindAddress::Unix(path)) => Ok(path),
        Ok(BindAddress::Ip(_)) => Err(StartError::value("haproxy.socket_path", &"it is no path")),
        Err(error) => Err(StartError::value("haproxy.socket_path", &error)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::engine::any_text::any_line;
    use crate::engine::own_section::assert_two_sections;

    /// What is taken renders to the sections `global` and `defaults`.
    fn check(yml: &str) -> Result<bool, TestCaseError> {
        let password = |name: &str| (name == "ZK_AUTH").then(|| "me:s3cret".to_owned());
        match Config::parse(yml.as_bytes(), &password) {
            Ok(config) => {
                let shown = format!("{config:?}");
                prop_assert!(!shown.contains("s3cret"), "{shown}");
                if let Ok(settings) = reconciler_settings(&config, HaproxyVersion::new(3, 0, 0)) {
                    assert_two_sections(&settings.base);
                }
                Ok(true)
            }
            Err(errors) => {
                prop_assert!(!errors.is_empty());
                for error in errors {
                    let text = error.to_string();
                    prop_assert!(!text.chars().any(char::is_control) && !text.contains("s3cret"), "{text:?}");
                }
                Ok(false)
            }
        }
    }

    const GOOD: &str = "haproxy: {path: /haproxy, global: [maxconn 4096], defaults: [\"mode http\"], socket_path: /run/s}\n\
        service_config:\n- type: zookeeper\n  servers: zk:1,[::1]:2/c\n  path: /s # c\n  auth: &a {scheme: digest, credentials: ${ZK_AUTH}}\n\
        - {type: file, path: \"/x${COUNT:-y}\"}\nreload:\n  min_interval: 1s\nlog: {level: info}\n";

    #[test]
    fn the_good_file_is_good() {
        assert!(check(GOOD).unwrap());
    }

    proptest! {
        #[test]
        fn any_lines_of_proxymgr_yml_stay_in_their_sections(
            global in proptest::collection::vec(any_line(), 0..3),
            defaults in proptest::collection::vec(any_line(), 0..3),
            socket in "/[ -~]{0,9}",
        ) {
            let haproxy = json!({"path": "/haproxy", "global": global, "defaults": defaults, "socket_path": socket});
            check(&json!({"haproxy": haproxy, "service_config": {"type": "file", "path": "/s"}}).to_string())?;
        }

        #[test]
        fn any_damage_to_a_good_proxymgr_yml_is_taken_or_refused(
            cuts in proptest::collection::vec(
                (any::<prop::sample::Index>(), "[-\\[\\]{}:,#&*!|>'\"%@`$\\\\~ \t\n\u{0}\u{85}\u{feff}é<?0-9a-z]{0,4}"), 1..6),
        ) {
            let mut text: Vec<char> = GOOD.chars().collect();
            for (at, with) in cuts {
                let at = at.index(text.len());
                let end = (at + with.chars().count() / 2).min(text.len());
                text.splice(at..end, with.chars());
            }
            check(&text.into_iter().collect::<String>())?;
        }

        #[test]
        fn any_bytes_are_a_proxymgr_yml_or_are_refused(bytes in ".{0,200}") {
            check(&bytes)?;
        }
    }
}
