//! The set-ups in `config/examples`, each run as it stands there, against real servers. A folder has its module here.

mod consul_rest;
mod container_host;
mod dns_srv;
mod one_process;
mod one_process_image;
mod zookeeper_nerve;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::support::certificates::Authority;
use super::support::control::{Said, said_of};
use super::support::proxymgr::command;
use super::support::proxymgr_setup::Setup;

const README: &str = include_str!("../../../README.md");

/// The folder `name` of the set-ups.
fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config/examples").join(name)
}

/// Its proxymgr.yml as it stands there, but for the places of files.
fn setup(name: &str) -> Setup {
    Setup::new().like(&fs::read_to_string(folder(name).join("proxymgr.yml")).unwrap())
}

fn names() -> Vec<String> {
    let folders = fs::read_dir(folder("")).unwrap().map(|entry| entry.unwrap());
    let name = |entry: fs::DirEntry| entry.file_name().into_string().unwrap();
    let mut names: Vec<_> = folders.map(name).collect();
    names.sort();
    names
}

/// What the file `environment` beside a proxymgr.yml says, in the form of systemd and of `docker run --env-file`.
fn environment(name: &str) -> BTreeMap<String, String> {
    let text = fs::read_to_string(folder(name).join("environment")).unwrap_or_default();
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    lines.map(|line| line.split_once('=').unwrap()).map(|(key, value)| (key.into(), value.into())).collect()
}

/// `proxymgr check` with the folder's own environment; the certificates that it names are made for it.
fn check(name: &str) -> Said {
    let directory = tempfile::tempdir().unwrap();
    let certificates = directory.path();
    let authority = Authority::new("example");
    authority.write(certificates.join("ca.pem"));
    let [cert, key] = authority.sign("client").write(certificates, "client");
    fs::rename(cert, certificates.join("cert.pem")).unwrap();
    fs::rename(key, certificates.join("key.pem")).unwrap();
    let mut check = command();
    for (variable, value) in environment(name) {
        let is_directory = variable.ends_with("_CERT_PATH");
        check.env(variable, if is_directory { certificates.to_str().unwrap() } else { &value });
    }
    for (variable, file) in [("HAND_WRITTEN", "haproxy.cfg"), ("SERVICES", "services")] {
        check.env(variable, folder(name).join(file));
    }
    said_of(check.args(["check", "--json", "-c"]).arg(folder(name).join("proxymgr.yml")))
}

#[test]
fn each_set_up_is_explained_taken_by_check_and_run_by_a_test() {
    let names = names();
    assert!(names.contains(&"container-host".to_owned()), "{names:?}");
    std::thread::scope(|scope| {
        for name in &names {
            scope.spawn(move || is_complete(name));
        }
    });
}

fn is_complete(name: &str) {
    let readme =
        fs::read_to_string(folder(name).join("README.md")).unwrap_or_else(|error| panic!("{name}: {error}"));
    for part in
        ["\n## Move over\n", "\n## Check\n", "\n## The way back\n", "proxymgr check -c ", "render --diff"]
    {
        assert!(readme.contains(part), "{name}/README.md has no {part:?}");
    }
    let row = format!("[{name}](config/examples/{name})");
    assert_eq!(README.matches(&row).count(), 1, "README.md has one row with {row} in \"Moving over\"");
    let module = format!("mod {};", name.replace('-', "_"));
    assert!(
        include_str!("mod.rs").contains(&module),
        "{name} is run by no test: tests/suite/examples has no {module}"
    );

    // Its registries are not there, and nothing else is wrong.
    let said = check(name);
    let report = said.json();
    assert_eq!(report["config"]["errors"], Value::Array(Vec::new()), "{name}: {said:?}");
    assert_eq!(report["haproxy"]["accepted"], true, "{name}: {said:?}");
    assert_eq!(report["haproxy"]["messages"], Value::Array(Vec::new()), "{name}: {said:?}");
}
