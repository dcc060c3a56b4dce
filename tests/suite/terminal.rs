//! What people see on a terminal: no line longer than it, nothing lost of what was asked for, colours unless they are not
//! wanted. `script`, which Debian always has, makes the terminal.

use std::process::Command;

use serde_json::json;

use super::support::control::said;
use super::support::ports::{free_port, free_ports};
use super::support::proxymgr::{Proxymgr, binary, output_of};
use super::support::proxymgr_setup::{Paths, Setup, write_in_one_step};
use super::support::requests::local;
use super::support::running::{start, wait_for_message};

const WIDTH: usize = 60;
const HEIGHT: usize = 15;

/// What `proxymgr ARGUMENTS -c FILE` shows on a terminal of 60 columns and 15 lines.
fn shown(paths: &Paths, arguments: &str, before: &str) -> String {
    let (binary, file) = (binary().display(), paths.proxymgr_yml.display());
    let line = format!("stty cols {WIDTH} rows {HEIGHT}; {before} {binary} {arguments} -c {file}");
    let mut script = Command::new("script");
    script.env("TERM", "xterm").env_remove("NO_COLOR").args(["-qec", &line, "/dev/null"]);
    String::from_utf8(output_of(&mut script).stdout).unwrap().replace("\r\n", "\n")
}

/// Without the colours (ECMA-48, SGR) and movements of the cursor.
fn plain(text: &str) -> String {
    let mut parts = text.split('\x1b');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |all, part| {
        all + part.split_once(|c: char| c.is_ascii_alphabetic()).map_or("", |(_, rest)| rest)
    })
}

#[track_caller]
fn assert_fits(text: &str) {
    for line in plain(text).lines() {
        assert!(line.chars().count() <= WIDTH, "{line:?} in {text}");
    }
}

/// Six servers of `web`, five of which are missing, and a service that is refused.
fn in_trouble() -> (Setup, Proxymgr) {
    let setup = Setup::new().section("safety", json!({"shrink_hold": "10m"}));
    let lines: Vec<_> = (1..=6).map(|number| local(number).to_string()).collect();
    let [web, bad] = free_ports();
    let file = setup.paths.write_file_service("web", web, &lines);
    let refused = json!({"type": "file", "file": file, "port": bad, "listen_options": ["nonsense 1"]});
    setup.paths.write_service("bad", &refused);
    let proxymgr = start(&setup);
    write_in_one_step(&file, &lines[0]);
    wait_for_message(&proxymgr, "service web: 5 servers are missing");
    (setup, proxymgr)
}

#[test]
fn a_list_is_cut_and_what_is_asked_for_is_wrapped() {
    let (setup, _proxymgr) = in_trouble();
    let list = shown(&setup.paths, "status", "");
    assert_fits(&list);
    assert!(list.contains("…\n") && list.contains("\x1b[31mrefused \x1b[0m"), "{list}");
    for arguments in ["status web", "why web", &format!("why web/{}", local(3)), "events", "why bad"] {
        let text = shown(&setup.paths, arguments, "");
        assert_fits(&text);
        assert!(text.contains("\x1b[3"), "{arguments}: {text}");
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let whole = said(&setup.paths, &arguments.split(' ').collect::<Vec<_>>()).stdout;
        assert!(whole.lines().any(|line| line.chars().count() > WIDTH), "{whole}");
        // How long ago something was may be another.
        let is_steady = |word: &String| !word.starts_with(|c: char| c.is_ascii_digit());
        let steady = |text: &str| words(text).into_iter().filter(is_steady).collect::<String>();
        assert_eq!(steady(&plain(&text)), steady(&whole), "{arguments}");
        assert!(!whole.contains('\x1b'), "a file gets no colours: {whole}");
        assert!(!shown(&setup.paths, arguments, "NO_COLOR=1").contains("\x1b[3"), "{arguments}");
    }
}

#[test]
fn watching_draws_no_more_than_fits_and_draws_it_anew() {
    let setup = Setup::new();
    for number in 0..30 {
        setup.paths.write_file_service(&format!("s{number}"), free_port(), &[local(1).to_string()]);
    }
    let proxymgr = start(&setup);
    let watched = shown(&setup.paths, "status --watch", "timeout --foreground 4");
    drop(proxymgr);
    let frames: Vec<_> = watched.split("\x1b[H").skip(1).collect();
    assert!(frames.len() >= 2, "{watched}");
    for frame in frames {
        assert_fits(frame);
        assert!(frame.lines().count() <= HEIGHT && frame.contains(" more lines"), "{frame}");
    }
}
