//! `proxymgr render`.

use std::io;
use std::path::Path;

use similar::TextDiff;

use super::Exit;
use super::args::RenderArgs;
use super::output::{answer, block_on};
use super::report::{Status, includes, problems_shared, services};
use super::report_text::one_line;
use super::run::{exit_of_start, load};
use super::running::tell_waiting;
use super::terminal::Screen;
use super::trouble::Troubles;
use crate::config::Config;
use crate::engine::error_text::with_causes;
use crate::supervisor::dry_run::DryRun;
use crate::supervisor::prepare::{StartError, find_haproxy};

/// Prints the haproxy.cfg that a start would write now, or how it differs from the one on disk.
pub fn render(args: &RenderArgs) -> Exit {
    let config = match load(&args.config, None) {
        Ok(config) => config,
        Err(exit) => return exit,
    };
    let dry_run = match block_on(collect(&config)) {
        Ok(Ok(dry_run)) => dry_run,
        Ok(Err(error)) => {
            eprintln!("proxymgr: {}", with_causes(&error));
            return exit_of_start(&error);
        }
        Err(exit) => return exit,
    };
    let complete = tell_problems(&dry_run, &config);
    let exit = if complete { Exit::Success } else { Exit::Failure };
    let text = &dry_run.0.config.text;
    if !args.diff {
        return answer(text, exit);
    }
    match on_disk(&config.haproxy.config_path) {
        Ok(old) => {
            let diff = diff(&config.haproxy.config_path, &old, text);
            answer(&if Screen::of_stdout().colour { coloured(&diff) } else { diff }, exit)
        }
        Err(error) => {
            let path = config.haproxy.config_path.display();
            eprintln!("proxymgr: '{path}' can't be read: {error}; run this as the user of proxymgr run");
            Exit::Failure
        }
    }
}

type Collected = (DryRun, Troubles);

async fn collect(config: &Config) -> Result<Collected, StartError> {
    let (troubles, _collecting) = Troubles::collect(true);
    let found = find_haproxy(config).await?;
    Ok((DryRun::collect(config, &found, &mut tell_waiting(false)).await?, troubles))
}

/// One line each on stderr; `false` when a registry did not answer, so that the text is not the whole.
fn tell_problems((dry_run, troubles): &Collected, config: &Config) -> bool {
    let (troubles, waited) = (troubles.seen(), config.safety.startup_timeout);
    if let Some(last) = problems_shared(dry_run, &troubles, waited).last().filter(|_| !dry_run.listed) {
        eprintln!("proxymgr: {last}");
    }
    let mut complete = dry_run.listed && dry_run.values_answered;
    for service in services(dry_run, &troubles, None, waited) {
        complete &= service.status != Status::Unanswered;
        let mut left_out = match service.status {
            Status::Ok => "",
            Status::Refused => "refused: ",
            Status::Unanswered => "unanswered: ",
        };
        for problem in &service.problems {
            eprintln!("proxymgr: service {}: {left_out}{}", service.name, one_line(problem));
            left_out = "";
        }
    }
    for problem in &dry_run.refused_values {
        eprintln!("proxymgr: values: {}", one_line(problem));
    }
    for include in includes(dry_run, None) {
        for problem in &include.problems {
            eprintln!("proxymgr: included file {}: {}", one_line(&include.file), one_line(problem));
        }
    }
    complete
}

/// Empty when there is no such file.
fn on_disk(path: &Path) -> io::Result<String> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(error),
    }
}

/// A unified diff; empty when the texts are equal.
fn diff(path: &Path, old: &str, new: &str) -> String {
    let path = path.display().to_string();
    let diff = TextDiff::from_lines(old, new);
    diff.unified_diff().header(&path, &format!("{path} (as it would be written now)")).to_string()
}

/// Colours as `git diff` has them; they are ECMA-48's.
fn coloured(diff: &str) -> String {
    let line = |line: &str| {
        let colour = match line.get(..1) {
            _ if line.starts_with("---") || line.starts_with("+++") => "1",
            Some("@") => "36",
            Some("+") => "32",
            Some("-") => "31",
            _ => return format!("{line}\n"),
        };
        format!("\x1b[{colour}m{line}\x1b[0m\n")
    };
    diff.lines().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_diff_names_the_file_and_is_empty_for_equal_texts() {
        let path = Path::new("/h.cfg");
        assert_eq!(diff(path, "a\n", "a\n"), "");
        let text = diff(path, "a\nb\n", "a\nc\n");
        assert_eq!(
            text,
            "--- /h.cfg\n+++ /h.cfg (as it would be written now)\n@@ -1,2 +1,2 @@\n a\n-b\n+c\n"
        );
        assert!(coloured(&text).contains("\x1b[31m-b\x1b[0m\n\x1b[32m+c\x1b[0m\n"));
        assert!(coloured(&text).contains("\n a\n"));
    }
}
