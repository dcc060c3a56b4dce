//! A directory with a proxymgr.yml and all that it names, ready for [`Setup::start`].

use std::fs::{self, Permissions};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use serde_json::{Map, Value, json};
use tempfile::TempDir;

use super::control::{Said, said_of};
use super::haproxy;
use super::proxymgr::{Proxymgr, binary, command};

/// What proxymgr.yml will say. The directory goes with the last of the setup and the processes started from it.
#[derive(Clone)]
pub struct Setup {
    pub paths: Paths,
    directory: Rc<TempDir>,
    haproxy: Map<String, Value>,
    sections: Map<String, Value>,
    environment: Vec<(String, String)>,
    program: PathBuf,
    as_pid_1: bool,
    passed: Rc<Vec<(String, OwnedFd)>>,
}

/// Where everything of one setup is.
#[derive(Clone, Debug)]
pub struct Paths {
    pub root: PathBuf,
    pub proxymgr_yml: PathBuf,
    pub haproxy_cfg: PathBuf,
    pub stats_socket: PathBuf,
    /// The directory of a `service_config` of type `file`.
    pub services: PathBuf,
    pub state_dir: PathBuf,
    pub runtime_dir: PathBuf,
    /// What all processes of the setup wrote to stdout and stderr, one after the other.
    pub log: PathBuf,
}

impl Setup {
    /// Services from files (see [`Paths::write_service`]), mode http, short time-outs, a log in JSON; servers in turn, which is not the default of every `HAProxy`.
    pub fn new() -> Self {
        let directory = tempfile::Builder::new().prefix("proxymgr-").tempdir().unwrap();
        let paths = Paths::under(directory.path());
        for made in [&paths.services, &paths.state_dir, &paths.runtime_dir] {
            fs::create_dir(made).unwrap();
        }
        let services = paths.services.clone();
        let setup = Self {
            paths,
            directory: Rc::new(directory),
            haproxy: Map::new(),
            sections: Map::new(),
            environment: Vec::new(),
            program: binary().to_owned(),
            as_pid_1: false,
            passed: Rc::default(),
        };
        setup
            .haproxy_key("path", json!(haproxy::binary()))
            .global(&["maxconn 4096"])
            .defaults(&[
                "mode http",
                "balance roundrobin",
                "timeout connect 2s",
                "timeout client 30s",
                "timeout server 30s",
            ])
            .section("service_config", json!({"type": "file", "path": services}))
            .section("log", json!({"format": "json", "level": "debug"}))
    }

    /// What a proxymgr.yml of somebody else says, word for word, but for where files are and how the log looks.
    pub fn like(mut self, yaml: &str) -> Self {
        let mut sections: Map<String, Value> = serde_yaml::from_str(yaml).unwrap();
        let haproxy = sections.remove("haproxy");
        sections.insert("log".to_owned(), self.sections["log"].clone());
        let path = self.haproxy["path"].clone();
        self.haproxy = haproxy.map_or_else(Map::new, |haproxy| serde_json::from_value(haproxy).unwrap());
        self.sections = sections;
        self.haproxy_key("path", path)
    }

    /// Lines of the global section, in place of those before.
    pub fn global(self, lines: &[&str]) -> Self {
        self.haproxy_key("global", json!(lines))
    }

    /// Lines of the defaults section, in place of those before.
    pub fn defaults(self, lines: &[&str]) -> Self {
        self.haproxy_key("defaults", json!(lines))
    }

    pub fn runtime_updates(self, enabled: bool) -> Self {
        self.haproxy_key("runtime_updates", json!(enabled))
    }

    /// Services from the children of `path` in `ensemble` ("host:port,host:port").
    pub fn zookeeper(self, ensemble: &str, path: &str) -> Self {
        self.section("service_config", json!({"type": "zookeeper", "servers": ensemble, "path": path}))
    }

    /// Any key of the section `haproxy`.
    pub fn haproxy_key(mut self, key: &str, value: Value) -> Self {
        self.haproxy.insert(key.to_owned(), value);
        self
    }

    /// Any other section as a whole.
    pub fn section(mut self, name: &str, value: Value) -> Self {
        self.sections.insert(name.to_owned(), value);
        self
    }

    /// A variable in the environment of `ProxyMgr`.
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Another file to be started as `ProxyMgr`.
    pub fn program(mut self, program: &Path) -> Self {
        program.clone_into(&mut self.program);
        self
    }

    /// `ProxyMgr` is to be the init process of a pid namespace of its own (unshare(1), which needs root).
    pub fn pid_1(mut self) -> Self {
        self.as_pid_1 = true;
        self
    }

    /// A script in place of `HAProxy`: does `first`, in the directory of the setup, then becomes it.
    pub fn before_haproxy(self, first: &str) -> Self {
        let program = self.paths.root.join("other-haproxy");
        let (root, haproxy) = (self.paths.root.display(), haproxy::binary());
        let script = format!("#!/bin/sh\ncd {root}\n{first}\nexec {} \"$@\"\n", haproxy.display());
        write_program(&program, &script);
        self.haproxy_key("path", json!(program))
    }

    /// A script that does `first`, then becomes `ProxyMgr`; `ending` stands before its name.
    pub fn before_proxymgr(self, first: &str, ending: &str) -> Self {
        let program = self.paths.root.join("other-proxymgr");
        let script = format!("#!/bin/sh\n{first}\nexec {ending} {} \"$@\"\n", self.program.display());
        write_program(&program, &script);
        self.program(&program)
    }

    /// Files that are passed as systemd passes them, with their names.
    pub fn passing(mut self, files: Vec<(String, OwnedFd)>) -> Self {
        self.passed = Rc::new(files);
        self
    }

    /// Writes a file of the setup's own, in one step.
    pub fn root_file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.paths.root.join(name);
        write_in_one_step(&path, text);
        path
    }

    /// The text of proxymgr.yml.
    pub fn yaml(&self) -> String {
        let mut haproxy = self.haproxy.clone();
        haproxy.insert("config_path".to_owned(), json!(self.paths.haproxy_cfg));
        haproxy.insert("socket_path".to_owned(), json!(self.paths.stats_socket));
        let mut document = self.sections.clone();
        document.insert("haproxy".to_owned(), Value::Object(haproxy));
        document.insert("state_dir".to_owned(), json!(self.paths.state_dir));
        document.insert("runtime_dir".to_owned(), json!(self.paths.runtime_dir));
        serde_yaml::to_string(&document).unwrap()
    }

    /// Runs `proxymgr ARGUMENTS -c FILE` with the variables of the setup.
    pub fn said(&self, arguments: &[&str]) -> Said {
        let variables = self.environment.iter().map(|(name, value)| (name, value));
        said_of(command().envs(variables).args(arguments).arg("-c").arg(&self.paths.proxymgr_yml))
    }

    /// Writes proxymgr.yml and starts `proxymgr run` on it. May be called again once the first has ended.
    pub fn start(&self) -> Proxymgr {
        self.start_with(&self.yaml())
    }

    /// The same with another text of proxymgr.yml.
    pub fn start_with(&self, yaml: &str) -> Proxymgr {
        fs::write(&self.paths.proxymgr_yml, yaml).unwrap();
        let directory = Rc::clone(&self.directory);
        let (program, environment) = (&self.program, &self.environment);
        Proxymgr::start(program, self.as_pid_1, self.paths.clone(), directory, environment, &self.passed)
    }
}

impl Paths {
    fn under(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            proxymgr_yml: root.join("proxymgr.yml"),
            haproxy_cfg: root.join("haproxy.cfg"),
            stats_socket: root.join("stats.sock"),
            services: root.join("services"),
            state_dir: root.join("state"),
            runtime_dir: root.join("run"),
            log: root.join("proxymgr.log"),
        }
    }

    /// Writes the definition of a service, in one step (a rename).
    pub fn write_service(&self, name: &str, definition: &Value) {
        let text = serde_json::to_string_pretty(definition).unwrap();
        write_in_one_step(&self.services.join(format!("{name}.json")), &text);
    }

    /// A service of watcher type `file` on `port`, fed by the file that is returned; `servers` are lines of it.
    pub fn write_file_service(&self, name: &str, port: u16, servers: &[String]) -> PathBuf {
        let file = self.root.join(format!("{name}.servers"));
        write_in_one_step(&file, &(servers.join("\n") + "\n"));
        self.write_service(name, &json!({"type": "file", "file": file, "port": port}));
        file
    }

    pub fn remove_service(&self, name: &str) {
        fs::remove_file(self.services.join(format!("{name}.json"))).unwrap();
    }
}

/// A file that can be executed, in one step.
pub fn write_program(path: &Path, text: impl AsRef<[u8]>) {
    let new = path.with_extension("new");
    fs::write(&new, text).unwrap();
    fs::set_permissions(&new, Permissions::from_mode(0o755)).unwrap();
    fs::rename(&new, path).unwrap();
}

/// Replaces a file by rename, as careful writers do.
pub fn write_in_one_step(path: &Path, text: &str) {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap());
    name.push(".new");
    let unfinished = path.with_file_name(name);
    fs::write(&unfinished, text).unwrap();
    fs::rename(&unfinished, path).unwrap();
}
