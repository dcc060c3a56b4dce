//! `one-process` as the container that it makes: its own Dockerfile, run as its README says.

use std::fs::{self, Permissions};
use std::net::SocketAddr;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::json;

use super::super::support::backend::{Backends, Behaviour};
use super::super::support::consul::ConsulServer;
use super::super::support::deadline::eventually;
use super::super::support::docker::Dockerd;
use super::super::support::load::Load;
use super::super::support::proxymgr::{binary, output_of};
use super::super::support::requests::{SOON, get};

const PORT: u16 = 8080;
const CONFIG: &str = "/etc/proxymgr/proxymgr.yml";
/// Lists those that have ended and were not collected.
const ZOMBIES: &str = r#"for stat in /proc/[0-9]*/stat; do
    read -r pid name state rest <$stat && [ "$state" = Z ] && echo "$pid"
done 2>/dev/null; true"#;
/// What the image of `make image` says besides its root.
const DOCKERFILE: &str = include_str!("../../../packaging/container/Dockerfile");

/// A root with `ProxyMgr`, `HAProxy`, what they are linked with, and a shell, in place of Debian's.
fn make_root(root: &Path) {
    let haproxy = PathBuf::from(said(Command::new("sh").args(["-c", "command -v haproxy"])).trim());
    for (program, place) in [
        (binary(), "usr/bin/proxymgr"),
        (&haproxy, "usr/sbin/haproxy"),
        (Path::new("/bin/busybox"), "bin/busybox"),
    ] {
        copy(program, &root.join(place));
        let linked = output_of(Command::new("ldd").arg(program)).stdout;
        let linked = String::from_utf8(linked).unwrap();
        for library in linked.split_whitespace().filter(|word| word.starts_with('/')) {
            copy(Path::new(library), &root.join(&library[1..]));
        }
    }
    for name in ["sh", "sleep", "seq", "pidof"] {
        symlink("busybox", root.join("bin").join(name)).unwrap();
    }
    for directory in ["etc/proxymgr", "proc", "tmp", "run/proxymgr", "var/lib/proxymgr"] {
        fs::create_dir_all(root.join(directory)).unwrap();
    }
    // As packaging/container/prepare-root has it.
    for directory in ["run/proxymgr", "var/lib/proxymgr"] {
        fs::set_permissions(root.join(directory), Permissions::from_mode(0o1777)).unwrap();
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to.parent().unwrap()).unwrap();
    fs::copy(from, to).unwrap_or_else(|error| panic!("{}: {error}", from.display()));
}

#[track_caller]
fn said(command: &mut Command) -> String {
    let done = output_of(command);
    assert!(done.status.success(), "{command:?}: {done:?}");
    String::from_utf8(done.stdout).unwrap()
}

/// `docker ARGUMENTS`, split at blanks.
#[track_caller]
fn docker(dockerd: &Dockerd, arguments: &str) -> String {
    docker_with(dockerd, &arguments.split(' ').collect::<Vec<_>>())
}

/// What a shell in the container prints.
#[track_caller]
fn in_container(dockerd: &Dockerd, user: &str, script: &str) -> String {
    docker_with(dockerd, &["exec", "--user", user, "proxy", "sh", "-c", script])
}

#[track_caller]
fn docker_with(dockerd: &Dockerd, arguments: &[&str]) -> String {
    let mut command = Command::new("docker");
    // The builder that needs nothing but the daemon.
    command.env("DOCKER_HOST", dockerd.host()).env("DOCKER_BUILDKIT", "0");
    said(command.args(arguments))
}

/// The image of `make image`, as far as it matters here, and the one of the folder.
fn build(dockerd: &Dockerd) {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("root");
    make_root(&root);
    dockerd.import_root("local/root:1", &root);
    let base = directory.path().join("base");
    let is_meant =
        |line: &&str| ["ENTRYPOINT", "CMD", "USER", "STOPSIGNAL"].iter().any(|word| line.starts_with(word));
    let words: Vec<_> = DOCKERFILE.lines().filter(is_meant).collect();
    assert_eq!(words.len(), 4, "{words:?}");
    fs::create_dir(&base).unwrap();
    fs::write(base.join("Dockerfile"), format!("FROM local/root:1\n{}\n", words.join("\n"))).unwrap();
    let version = env!("CARGO_PKG_VERSION");
    docker(dockerd, &format!("build --quiet --tag proxymgr:{version} {}", base.display()));
    docker(dockerd, &format!("build --quiet --tag proxy {}", super::folder("one-process").display()));
}

/// The line of the README, with the place of Consul, and a log of all.
fn run(dockerd: &Dockerd, consul: &str) {
    let readme = fs::read_to_string(super::folder("one-process").join("README.md")).unwrap();
    let (_, line) = readme.split_once("docker run --detach ").unwrap();
    let (line, _) = line.split_once("\n\n").unwrap();
    let words = line.split_whitespace().filter(|word| *word != "\\");
    let address = format!("CONSUL_HTTP_ADDR={consul}");
    let words = words.map(|word| if word.starts_with("CONSUL_HTTP_ADDR=") { &address } else { word });
    let before = ["run", "--detach", "--env", "PROXYMGR_LOG=debug"];
    docker_with(dockerd, &before.into_iter().chain(words).collect::<Vec<_>>());
}

#[track_caller]
fn wait_for_answers(at: SocketAddr, names: &[&str]) {
    eventually(SOON, &format!("{names:?} answer"), || {
        let mut answers: Vec<_> = (0..20).map(|_| get(at)).collect::<Result<_, _>>()?;
        answers.sort();
        answers.dedup();
        if answers == names { Ok(()) } else { Err(format!("{answers:?}")) }
    });
}

#[test]
fn the_container_is_all_that_is_needed_under_load() {
    let dockerd = Dockerd::start();
    build(&dockerd);
    let outside = dockerd.outside();
    let (consul, backends) = (ConsulServer::start_also_at(outside), Backends::new());
    let [one, two] = ["one", "two"].map(|name| backends.start_at(SocketAddr::new(outside, 0), name));
    consul.add("web", "one", &one);
    let web = json!({"type": "consul", "service": "web", "port": PORT, "server_options": "check"});
    consul.write("proxy/services/web", &web.to_string());
    let address = SocketAddr::new(outside, consul.address.port());
    run(&dockerd, &address.to_string());
    let at = dockerd.reached(PORT);
    wait_for_answers(at, &["one"]);
    let exec = |words: &str| docker(&dockerd, &format!("exec proxy {words}"));
    let reloads = || {
        let status = exec(&format!("proxymgr events --json -c {CONFIG}"));
        status.lines().filter(|line| line.contains("\"kind\":\"reload\"")).count()
    };
    let check = exec(&format!("proxymgr check -c {CONFIG}"));
    assert!(check.contains("1 service"), "{check}");

    let load = Load::to(at).short(4).keep_alive(2).rate(300).start();
    consul.add("web", "two", &two);
    wait_for_answers(at, &["one", "two"]);
    let before = reloads();
    consul.write("proxy/maxconn", "5000");
    eventually(SOON, "the value is one reload", || match reloads() {
        after if after == before + 1 => Ok(()),
        other => Err(other),
    });
    in_container(&dockerd, "10001", "for i in 1 2 3; do (sleep 0.1 &); done");
    eventually(SOON, "orphans are collected", || {
        let log =
            output_of(Command::new("docker").env("DOCKER_HOST", dockerd.host()).args(["logs", "proxy"]));
        let log = String::from_utf8(log.stderr).unwrap();
        let collected = log.matches("collected an orphan").count();
        if collected >= 3 && in_container(&dockerd, "0", ZOMBIES).is_empty() {
            Ok(())
        } else {
            Err(collected)
        }
    });
    load.stop().assert_no_errors();

    in_container(&dockerd, "0", "kill -9 $(pidof haproxy)");
    wait_for_answers(at, &["one", "two"]);
    let diff = exec(&format!("proxymgr render --diff -c {CONFIG}"));
    assert_eq!(diff, "");

    for backend in [&one, &two] {
        backend.behave(Behaviour::AnswerAfter(Duration::from_secs(1)));
    }
    let asked = || one.requests() + two.requests();
    let before = asked();
    let slow = std::thread::spawn(move || get(at));
    eventually(SOON, "a request is under way", || if asked() > before { Ok(()) } else { Err(()) });
    docker(&dockerd, "stop proxy");
    assert!(slow.join().unwrap().is_ok(), "what is under way is answered");
    assert_eq!(docker(&dockerd, "inspect --format {{.State.ExitCode}} proxy").trim(), "0");
}
