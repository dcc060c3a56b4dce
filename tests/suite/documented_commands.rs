//! Each command line that the README shows is run: by a test here, or by what [`RUN_ELSEWHERE`] names. Those of `proxymgr`
//! itself are run by `readme_commands`. A new line that nothing runs fails.

use std::fs;
use std::io::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::json;

use super::support::control::said_of;
use super::support::proxymgr::{binary, command, output_of};
use super::support::proxymgr_setup::Setup;
use super::support::running::start;

const README: &str = include_str!("../../README.md");

/// Programs that a quote begins with which is a command, not a word.
const PROGRAMS: [&str; 15] = [
    "apt",
    "cargo",
    "chgrp",
    "curl",
    "docker",
    "journalctl",
    "kill",
    "make",
    "man",
    "socat",
    "ss",
    "sudo",
    "systemctl",
    "systemd-analyze",
    "systemd-run",
];

/// The lines, and the file in which the text stands that runs them.
const RUN_ELSEWHERE: &[(&str, &str, &str)] = &[
    // What runs this, too; `make -n` below sees that each of these is what the file does.
    ("make test", "packaging/test", "cargo nextest run --locked"),
    ("make test-versions", "packaging/test-versions", "cargo nextest run --locked \"$@\""),
    ("make test-packages", "packaging/tests/run", "packaging/tests/container"),
    ("make deb", "packaging/tests/run", "\npackaging/deb\n"),
    ("make image", "packaging/tests/run", "\npackaging/image\n"),
    ("make demo", "tests/suite/demo.rs", "\"demo\""),
    // These tests, which say more with --no-capture.
    (
        "cargo nextest run --no-capture a_hundred_thousand_scrapes",
        "tests/suite/http.rs",
        "fn a_hundred_thousand_scrapes_delay_no_change_under_load()",
    ),
    ("cargo nextest run --release --no-capture page_scale", "tests/suite/main.rs", "mod page_scale;"),
    (
        "cargo nextest run --no-capture waves_of_viewers",
        "tests/suite/viewers.rs",
        "fn waves_of_viewers_who_leave_do_not_add_up_under_load()",
    ),
    ("cargo nextest run --no-capture consul_scale", "tests/suite/main.rs", "mod consul_scale;"),
    // Measurements, which are run by hand.
    ("cargo bench --bench engine -- by_template", "benches/engine/main.rs", "Renderer::by_template()"),
    ("cargo bench --bench propagation -- consul", "benches/propagation/main.rs", "(\"consul\", consul::"),
    ("cargo bench --bench propagation -- routes", "benches/propagation/main.rs", "(\"routes\", routes::"),
    (
        "cargo bench --bench propagation -- containers",
        "benches/propagation/main.rs",
        "(\"containers\", containers::",
    ),
    // These tests, with more cases.
    ("PROPTEST_CASES=1000000 cargo test --release --lib any_", "src/supervisor/settings.rs", "fn any_"),
    ("PROPTEST_CASES=3500 cargo test --test suite accepted_", "tests/suite/main.rs", "mod accepted_lines;"),
    // In a machine with systemd.
    (
        "sudo apt install ./target/debian/proxymgr_*.deb",
        "packaging/tests/debian-package",
        "apt install --yes \"./$1\"",
    ),
    (
        "sudo systemctl reload proxymgr",
        "packaging/tests/debian-package",
        "in_machine systemctl reload proxymgr\n",
    ),
    (
        "sudo systemctl disable --now haproxy",
        "packaging/tests/debian-package",
        "in_machine systemctl disable --now haproxy",
    ),
    ("systemctl restart", "packaging/tests/debian-package", "in_machine systemctl restart proxymgr"),
    ("chgrp proxymgr", "packaging/tests/debian-package", "in_machine chgrp proxymgr "),
    ("journalctl -u proxymgr", "packaging/tests/debian-package", "in_machine journalctl -u proxymgr"),
    (
        "systemd-analyze security --offline=true packaging/proxymgr.service",
        "packaging/tests/debian-package",
        "systemd-analyze security --offline=true ",
    ),
    // By a dockerd of its own, which has no network.
    (
        "docker run --network host --read-only --tmpfs /run/proxymgr --tmpfs /var/lib/proxymgr",
        "packaging/tests/container",
        "--read-only --tmpfs /run/proxymgr",
    ),
    // The same by Docker's HTTP.
    (
        "docker run --network front --label proxymgr.service=web --label proxymgr.port=3000 ...",
        "tests/suite/docker_watcher.rs",
        "(\"proxymgr.port\", ",
    ),
    ("docker stop", "packaging/tests/container", "docker stop "),
    // Below.
    ("sudo socat /run/proxymgr/haproxy.sock readline", "tests/suite/documented_commands.rs", "\"socat\""),
    ("man proxymgr", "tests/suite/documented_commands.rs", "\"man\""),
    ("ss -ltnp 'sport = :8080'", "tests/suite/documented_commands.rs", "\"ss\""),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Indented lines that are commands, and quotes that are; without what follows a `#`. A line that ends with `\` goes on in the
/// next one, which is left out.
fn shown() -> Vec<String> {
    let mut lines = Vec::new();
    let mut is_command = false;
    let mut before = "";
    let mut goes_on = false;
    for line in README.lines() {
        if let Some(line) = line.strip_prefix("    ") {
            if before.is_empty() {
                // What begins so is a file or a drawing.
                let first = line.split_ascii_whitespace().next().unwrap_or_default();
                is_command = !first.ends_with(':') && !first.starts_with('{') && first != "registries";
            }
            if is_command && !goes_on {
                lines.push(line.split('#').next().unwrap().trim_end_matches('\\').trim().to_owned());
            }
            goes_on = line.ends_with('\\');
        } else {
            let quotes = line.split('`').skip(1).step_by(2);
            let of_a_program = |quote: &&str| {
                let first = quote.split(' ').next().unwrap_or_default();
                quote.contains(' ') && (PROGRAMS.contains(&first) || first.contains('='))
            };
            lines.extend(quotes.filter(of_a_program).map(str::to_owned));
        }
        before = line;
    }
    lines
}

#[test]
fn every_command_line_of_the_readme_is_run_by_something() {
    let shown = shown();
    assert!(shown.len() > 30, "{shown:?}");
    let others: Vec<_> = shown.iter().filter(|line| !line.starts_with("proxymgr ")).collect();
    for line in &others {
        let Some((_, file, text)) = RUN_ELSEWHERE.iter().find(|(known, ..)| known == *line) else {
            panic!(
                "nothing runs {line:?}, which the README shows: write a test, and name it in RUN_ELSEWHERE"
            );
        };
        let found = fs::read_to_string(root().join(file)).unwrap();
        assert!(found.contains(text), "{line:?}: {text:?} is not in {file}");
    }
    for (line, ..) in RUN_ELSEWHERE {
        assert!(others.iter().any(|shown| shown == line), "{line:?} is not shown any more: take it out");
    }
}

#[test]
fn each_make_target_is_there_and_does_what_its_line_says() {
    for line in shown().iter().filter(|line| line.starts_with("make ")) {
        let words: Vec<_> = line.split_ascii_whitespace().skip(1).collect();
        let output = output_of(Command::new("make").arg("-n").args(words).current_dir(root()));
        let commands = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{line}: {commands}");
        for script in commands.split_ascii_whitespace().filter(|word| word.starts_with("packaging/")) {
            let syntax = output_of(Command::new("bash").arg("-n").arg(script).current_dir(root()));
            assert!(syntax.status.success(), "{script}: {syntax:?}");
        }
    }
    let help = output_of(Command::new("make").arg("help").current_dir(root()));
    assert!(String::from_utf8(help.stdout).unwrap().contains("  demo "));
}

/// What is indented from the line on that begins so.
fn block(begins: &str) -> String {
    let from = README.find(&format!("\n    {begins}")).unwrap_or_else(|| panic!("no block {begins}"));
    let lines = README[from + 1..].lines().map_while(|line| line.strip_prefix("    "));
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn what_the_readme_shows_of_files_is_taken() {
    let setup = Setup::new();
    let file = setup.root_file("first.yml", &(block("haproxy:") + "\nsafety: {startup_timeout: 100ms}\n"));
    let said = said_of(command().args(["check", "--json", "-c"]).arg(file));
    assert_eq!(
        (said.code, &said.json()["config"]["errors"]),
        (1, &json!([])),
        "nobody answers there: {said:?}"
    );
    fs::write(setup.paths.services.join("web.json"), block("{\"type\"")).unwrap();
    let yaml = setup.clone().section("safety", json!({"startup_timeout": "100ms"})).yaml();
    fs::write(&setup.paths.proxymgr_yml, yaml).unwrap();
    let said = said_of(command().args(["check", "--json", "-c"]).arg(&setup.paths.proxymgr_yml));
    let web = &said.json()["services"][0];
    assert_eq!((&web["name"], &web["status"]), (&json!("web"), &json!("unanswered")), "{said:?}");
    let node = block("{\"address\"");
    setup.paths.write_service(
        "web",
        &json!({"type": "file", "file": setup.paths.root.join("servers.json"), "port": 8080}),
    );
    setup.root_file("servers.json", &format!("[{node}]"));
    let said = said_of(command().args(["check", "--json", "-c"]).arg(&setup.paths.proxymgr_yml));
    assert_eq!(said.json()["services"][0]["servers"], 1, "{said:?}");
}

#[test]
fn what_the_readme_shows_of_routes_and_of_consul_is_taken() {
    let short = json!({"startup_timeout": "100ms"});
    let setup = Setup::new().section("safety", short.clone());
    let check = |name: &str, text: &str| {
        let file = setup.root_file(name, text);
        said_of(command().args(["check", "--json", "-c"]).arg(file)).json()
    };
    let route =
        format!("{{\"type\": \"static\", \"default_servers\": [\"127.0.0.1:1\"], {}}}", block("\"route\""));
    fs::write(setup.paths.services.join("hello.json"), route).unwrap();
    let said = check("routes.yml", &format!("{}\n{}\n", setup.yaml(), block("frontends:")));
    assert_eq!(
        (&said["config"]["errors"], &said["services"][0]["status"]),
        (&json!([]), &json!("ok")),
        "{said}"
    );
    let consul = block("consul:").replace("10.0.0.", "127.0.0.").replace(":8500", ":1");
    let said = check("consul.yml", &format!("safety: {short}\n{consul}\n"));
    assert_eq!(said["config"]["errors"], json!([]), "{said}");
}

#[track_caller]
fn text_of(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn haproxys_own_socket_is_spoken_by_hand() {
    let setup = Setup::new();
    let _proxymgr = start(&setup);
    let mut socat = Command::new("socat");
    socat.arg(&setup.paths.stats_socket).arg("-").stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut socat = socat.spawn().expect("socat; packaging/install-dependencies test installs it");
    socat.stdin.take().unwrap().write_all(b"show info\n").unwrap();
    #[expect(clippy::disallowed_methods, reason = "a test's own child")]
    let said = text_of(&socat.wait_with_output().unwrap());
    assert!(said.contains("\nUptime_sec: "), "{said}");
}

#[test]
fn who_listens_is_found() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let said = text_of(&output_of(Command::new("ss").args(["-ltnp", &format!("sport = :{port}")])));
    assert!(said.contains(&format!(":{port} ")), "{said}");
}

/// Manual pages, where man(1) looks for them, and completions.
fn manual(setup: &Setup) -> PathBuf {
    let pages = setup.paths.root.join("man/man1");
    let generate = binary().parent().unwrap().join("examples/generate_manual");
    text_of(&output_of(Command::new(generate).arg(&pages)));
    pages
}

#[test]
fn the_manual_is_shown_without_a_complaint_and_has_all_commands() {
    let setup = Setup::new();
    let pages = manual(&setup);
    let man = |page: &str| {
        let mut man = Command::new("man");
        man.env("MANPATH", pages.parent().unwrap())
            .env("MANWIDTH", "100")
            .env("LC_ALL", "C.UTF-8")
            .env_remove("MANOPT");
        output_of(man.args(["--warnings=w", page]))
    };
    let output = man("proxymgr");
    let shown = text_of(&output);
    let parts = ["NAME", "SYNOPSIS", "OPTIONS", "SUBCOMMANDS", "SIGNALS", "ENVIRONMENT", "FILES"];
    for part in parts {
        assert!(shown.lines().any(|line| line == part), "no {part} in {shown}");
    }
    let mut description = proxymgr::cli::args::description();
    description.build();
    for command in description.get_subcommands().filter(|command| !command.is_hide_set()) {
        let name = command.get_name();
        if name == "help" {
            continue;
        }
        assert!(shown.contains(&format!("proxymgr-{name}(1)")), "{name} in {shown}");
        let page = man(&format!("proxymgr-{name}"));
        assert!(page.stderr.is_empty(), "{name}: {page:?}");
        let text = text_of(&page);
        let options = command.get_arguments().filter_map(|argument| argument.get_long());
        for option in options {
            assert!(text.contains(&format!("--{option}")), "--{option} of {name} in {text}");
        }
        for shell in ["proxymgr.bash", "proxymgr.fish", "_proxymgr"] {
            let completion = fs::read_to_string(pages.join(shell)).unwrap();
            assert!(completion.contains(name), "{name} in {shell}");
        }
    }
    assert!(output.stderr.is_empty(), "{output:?}");
}
