//! Each command of `proxymgr` that the README, a manual page or a `--help` shows does what it says there. For all others
//! see `documented_commands`.

use std::collections::BTreeSet;

use serde_json::json;

use super::support::control::{Said, said_of};
use super::support::ports::free_port;
use super::support::proxymgr::command;
use super::support::proxymgr_setup::{Paths, Setup};
use super::support::running::start;

/// In the README a service has this server; no traffic goes there.
const SERVER: &str = "10.0.0.7:3000";

/// What follows `proxymgr` in indented lines and in quotes of the README and of the manual, each once.
fn commands() -> BTreeSet<Vec<String>> {
    let readme = include_str!("../../README.md");
    let indented = readme.lines().filter_map(|line| line.strip_prefix("    "));
    let help = help();
    let quoted = [readme, &help].map(|text| text.lines().flat_map(|line| line.split('`').skip(1).step_by(2)));
    let shown =
        indented.chain(quoted.into_iter().flatten()).filter_map(|text| text.strip_prefix("proxymgr "));
    let words =
        |text: &str| text.split('#').next().unwrap().split_ascii_whitespace().map(str::to_owned).collect();
    shown.map(words).collect()
}

/// What all manual pages say: they are made of this.
fn help() -> String {
    let mut all = proxymgr::cli::args::description();
    all.build();
    let commands = all.get_subcommands().filter(|command| !command.is_hide_set()).cloned();
    let pages: Vec<_> = commands.map(|mut command| command.render_long_help().to_string()).collect();
    assert!(pages.len() >= 11, "{pages:?}");
    all.render_long_help().to_string() + &pages.concat()
}

/// Runs it; what is optional is left out, FILE is the file.
fn run(paths: &Paths, words: &[String]) -> Said {
    let mut run = command();
    let given = words.iter().filter(|word| !word.starts_with('['));
    run.args(given.map(|word| match word.as_str() {
        "FILE" => paths.proxymgr_yml.to_str().unwrap(),
        "SERVICE" => "web",
        word => word,
    }));
    if !words.iter().any(|word| word == "-c") {
        run.arg("-c").arg(&paths.proxymgr_yml);
    }
    said_of(&mut run)
}

#[test]
fn every_command_of_the_readme_and_the_manual_works() {
    let setup = Setup::new();
    let definition = json!({"type": "static", "port": free_port(), "default_servers": [SERVER]});
    setup.paths.write_service("web", &definition);
    let _proxymgr = start(&setup);
    let commands = commands();
    let named: BTreeSet<_> = commands.iter().map(|words| words[0].as_str()).collect();
    let all = [
        "-c", "check", "confirm", "drain", "events", "reload", "render", "run", "status", "undrain",
        "upgrade", "why",
    ];
    assert_eq!(named, BTreeSet::from(all), "each is shown");
    for words in commands {
        // `run` runs already, and so does plain `-c FILE`.
        if ["run", "-c"].contains(&words[0].as_str()) {
            continue;
        }
        let said = run(&setup.paths, &words);
        let is_bare = words.iter().skip(1).all(|word| word.starts_with('-'));
        match words[0].as_str() {
            "confirm" if !is_bare => {
                assert_eq!(said.code, 1, "{words:?}: {said:?}");
                assert!(said.stderr.contains("no loss of servers is held"), "{words:?}: {said:?}");
            }
            // Named in a sentence, without its arguments.
            "confirm" | "drain" | "undrain" | "why" if is_bare => {
                assert!(said.stderr.contains("required"), "{words:?}: {said:?}");
            }
            _ => assert_eq!(said.code, 0, "{words:?}: {said:?}"),
        }
    }
}
