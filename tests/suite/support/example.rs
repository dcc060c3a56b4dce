//! A folder of `config/examples/`: a copy of it whose proxymgr.yml is started as it stands. Addresses, ports and directories come
//! in through its variables.

use std::fs;
use std::path::{Path, PathBuf};

use super::control::Said;
use super::deadline::eventually;
use super::haproxy;
use super::proxymgr::Proxymgr;
use super::proxymgr_setup::{Paths, Setup, write_program};
use super::requests::SOON;
use super::running::log_lines;

/// One folder's copy.
pub struct Example {
    setup: Setup,
    text: String,
    /// Where the copy is.
    pub folder: PathBuf,
}

impl Example {
    /// A copy of the folder `name`, whose variables for directories lead to a setup's own.
    pub fn of(name: &str) -> Self {
        let mut setup = Setup::new();
        let folder = setup.paths.root.join(name);
        copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("config/examples").join(name), &folder);
        let paths = &mut setup.paths;
        paths.haproxy_cfg = paths.state_dir.join("haproxy.cfg");
        paths.stats_socket = paths.runtime_dir.join("haproxy.sock");
        // What is tested reads its log.
        let text = fs::read_to_string(folder.join("proxymgr.yml")).unwrap();
        let text = text + "\nlog: {format: json, level: debug}\n";
        fs::write(&paths.proxymgr_yml, &text).unwrap();
        let [state, runtime] = [&paths.state_dir, &paths.runtime_dir].map(|path| path.display().to_string());
        let path = path_with_haproxy(&paths.root.join("bin"));
        let example = Self { setup, text, folder };
        example
            .variable("STATE_DIRECTORY", &state)
            .variable("RUNTIME_DIRECTORY", &runtime)
            .variable("PATH", &path)
    }

    /// A variable in the environment of `ProxyMgr`, and of its other commands.
    pub fn variable(self, name: &str, value: &str) -> Self {
        Self { setup: self.setup.variable(name, value), ..self }
    }

    /// Another file to be started as `ProxyMgr`; see [`Setup::program`].
    pub fn program(self, program: &Path) -> Self {
        Self { setup: self.setup.program(program), ..self }
    }

    pub fn paths(&self) -> &Paths {
        &self.setup.paths
    }

    /// Replaces what a user would write otherwise in a file of the copy; it must stand there once.
    #[track_caller]
    pub fn rewrite(&self, file: &str, from: &str, to: &str) {
        let path = self.folder.join(file);
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text.matches(from).count(), 1, "{from:?} in {file}");
        fs::write(&path, text.replace(from, to)).unwrap();
    }

    /// `proxymgr run`, once it is ready.
    #[track_caller]
    pub fn start(&self) -> Proxymgr {
        let proxymgr = self.setup.start_with(&self.text);
        eventually(SOON, "it is ready", || {
            let lines = log_lines(&proxymgr);
            let last = lines.last().cloned();
            lines.into_iter().find(|line| line.message == "ready").map(drop).ok_or(last)
        });
        proxymgr
    }

    /// Runs `proxymgr ARGUMENTS -c FILE`.
    pub fn said(&self, arguments: &[&str]) -> Said {
        self.setup.said(arguments)
    }
}

/// A PATH on which the `HAProxy` under test comes first: examples name none.
fn path_with_haproxy(directory: &Path) -> String {
    let path = std::env::var("PATH").unwrap();
    let haproxy = haproxy::binary();
    if !haproxy.is_absolute() {
        return path;
    }
    fs::create_dir(directory).unwrap();
    let program = format!("#!/bin/sh\nexec {} \"$@\"\n", haproxy.display());
    write_program(&directory.join("haproxy"), program);
    format!("{}:{path}", directory.display())
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let into = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &into);
        } else {
            fs::copy(entry.path(), into).unwrap();
        }
    }
}
