//! Each command that the README shows does what it says there.

use std::collections::BTreeSet;

use serde_json::json;

use super::support::control::{Said, said_of};
use super::support::ports::free_port;
use super::support::proxymgr::command;
use super::support::proxymgr_setup::{Paths, Setup};
use super::support::running::start;

/// In the README a service has this server; no traffic goes there.
const SERVER: &str = "10.0.0.7:3000";

/// What follows `proxymgr` in indented lines and in quotes of the README, each once.
fn commands() -> BTreeSet<Vec<&'static str>> {
    let readme = include_str!("../../README.md");
    let indented = readme.lines().filter_map(|line| line.strip_prefix("    "));
    let quoted = readme.lines().flat_map(|line| line.split('`').skip(1).step_by(2));
    let shown = indented.chain(quoted).filter_map(|text| text.strip_prefix("proxymgr "));
    let words = shown.map(|text| text.split('#').next().unwrap().split_ascii_whitespace().collect());
    words.collect()
}

/// Runs it; what is optional is left out, FILE is the file.
fn run(paths: &Paths, words: &[&str]) -> Said {
    let mut run = command();
    let given = words.iter().filter(|word| !word.starts_with('['));
    run.args(given.map(|word| if *word == "FILE" { paths.proxymgr_yml.to_str().unwrap() } else { word }));
    if !words.contains(&"-c") {
        run.arg("-c").arg(&paths.proxymgr_yml);
    }
    said_of(&mut run)
}

#[test]
fn every_command_of_the_readme_works() {
    let setup = Setup::new();
    let definition = json!({"type": "static", "port": free_port(), "default_servers": [SERVER]});
    setup.paths.write_service("web", &definition);
    let _proxymgr = start(&setup);
    let commands = commands();
    let named: BTreeSet<_> = commands.iter().map(|words| words[0]).collect();
    let all = [
        "check", "confirm", "drain", "events", "reload", "render", "run", "status", "undrain", "upgrade",
        "why",
    ];
    assert_eq!(named, BTreeSet::from(all), "the README shows each");
    for words in commands {
        // `run` runs already.
        if words[0] == "run" {
            continue;
        }
        let said = run(&setup.paths, &words);
        let is_bare = words.iter().skip(1).all(|word| word.starts_with('-'));
        match words[0] {
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
