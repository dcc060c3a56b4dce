//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use super::Exit;
use crate::supervisor::handover::probe::COMMAND;

const AFTER_HELP: &str = "\
Without a command it does what `run` does: `proxymgr -c FILE`.

Exit codes:
  0   done, or asked to end
  64  a command line that can't be understood
  69  HAProxy is missing or too old
  78  proxymgr.yml is bad
  1   anything else; each command's --help tells its own";

const AFTER_CHECK: &str = "\
Prints one line for each service: ok, refused or unanswered, and what is wrong below it. What HAProxy itself refuses is \
found with `haproxy -c`. Nothing is changed: no file is written and no port opened, so it can run beside `proxymgr run`. \
It waits for the registries for safety.startup_timeout at the most (10s unless set). It can't see ports that other \
programs hold.

Exit codes:
  0   all is good; server entries that are skipped and HAProxy's warnings are shown and do no harm
  1   a service is refused or unanswered; `run` would start with the others
  69  HAProxy is missing or too old, or gave no verdict
  78  proxymgr.yml is bad, or HAProxy refuses its global or defaults lines

With --json one object, whose keys stay as they are:
  ok          true when the exit code is 0
  config      {file, errors: [{line, column, key, message}]}
  registries  {answered, problems: [text]}
  services    [{name, status: \"ok\"|\"refused\"|\"unanswered\", servers: number, problems: [text]}]
  haproxy     {version, accepted, messages: [text]}; null when it wasn't asked";

const AFTER_RENDER: &str = "\
A dry run: it asks the registries for safety.startup_timeout at the most (10s unless set), and changes nothing. Services \
that are refused are left out and told on stderr, one line each. HAProxy doesn't check the text; `proxymgr check` does \
that, and `run` then leaves out what HAProxy refuses.

Exit codes:
  0   the text, or the difference, is on stdout; also when there is a difference, and when services are refused
  1   a registry did not answer, so that the text lacks what it holds
  69  HAProxy is missing or too old: its version decides what is written
  78  proxymgr.yml is bad";

const AFTER_REPLACE: &str = "\
It waits until the running process is done, and tells what it waits for on stderr.

Exit codes:
  0   done
  1   refused, and everything goes on as before; or no ProxyMgr answers
  78  proxymgr.yml does not even tell its runtime_dir

With --json one object, whose keys stay as they are:
  done     true when the exit code is 0
  pid      the process, which stays the same; null when none answered
  before   {release}: the program that was asked; null when none answered
  now      {release}: the program that answers now; null when that is unknown
  error    {code, message}; null when done";

const AFTER_STATUS: &str = "\
One line for each service, those in trouble first, with what is wrong below it; of one SERVICE each of its servers too. In a \
terminal no line is longer than it, and --watch shows no more than fits.

Exit codes:
  0   told, whatever it is
  1   there is no such service, or no ProxyMgr answers
  78  proxymgr.yml does not even tell its runtime_dir

With --json one object, whose keys stay as they are; the README tells what they mean. With --watch one object a line.";

/// Keeps one `HAProxy` in step with service registries, without losing a connection.
#[derive(Debug, Parser)]
#[command(
    name = "proxymgr",
    version,
    about = "Keeps one HAProxy in step with service registries, without losing a connection",
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = AFTER_HELP
)]
struct CommandLine {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: Option<RunArgs>,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// `run`.
    #[command(about = "Run HAProxy and keep it in step")]
    Run(RunArgs),
    /// `check`. Exit codes: 0 all good, 1 a service is refused or unanswered, 69, 78 (also when `HAProxy` refuses `global` or
    /// `defaults`).
    #[command(
        about = "Read proxymgr.yml and every service, and ask HAProxy to check the result",
        after_help = AFTER_CHECK
    )]
    Check(CheckArgs),
    /// `render`. Exit codes: 0, also when something differs, 1 a registry did not answer, 69, 78.
    #[command(about = "Print the haproxy.cfg that would be written now", after_help = AFTER_RENDER)]
    Render(RenderArgs),
    /// `status`. Exit codes: 0 told, 1 no such service or not running, 78.
    #[command(about = "Show what runs, what is refused or held, and why", after_help = AFTER_STATUS)]
    Status(StatusArgs),
    /// `reload`. Exit codes: 0 done, 1 refused or not running, 78.
    #[command(about = "Let the running ProxyMgr read proxymgr.yml again", after_help = AFTER_REPLACE)]
    Reload(ControlArgs),
    /// `upgrade`. Exit codes: 0 done, 1 refused or not running, 78.
    #[command(
        about = "Let the running ProxyMgr make way for the installed program, without a gap",
        after_help = AFTER_REPLACE
    )]
    Upgrade(ControlArgs),
    /// What a running `ProxyMgr` asks a program before that takes its place.
    #[command(name = COMMAND, hide = true)]
    AcceptHandover(AcceptArgs),
}

/// `run`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct RunArgs {
    /// The configuration file, proxymgr.yml
    #[arg(short, long, value_name = "FILE")]
    pub config: PathBuf,
    /// Log at level debug, whatever the file says
    #[arg(short, long)]
    pub debug: bool,
}

/// `check`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct CheckArgs {
    /// The configuration file, proxymgr.yml
    #[arg(short, long, value_name = "FILE")]
    pub config: PathBuf,
    /// Print JSON for programs
    #[arg(long)]
    pub json: bool,
}

/// `render`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct RenderArgs {
    /// The configuration file, proxymgr.yml
    #[arg(short, long, value_name = "FILE")]
    pub config: PathBuf,
    /// Print only what differs from the haproxy.cfg on disk, as a unified diff
    #[arg(long)]
    pub diff: bool,
}

/// `reload`, `upgrade`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct ControlArgs {
    /// Which one is asked.
    #[command(flatten)]
    pub running: RunningArgs,
    /// Print JSON for programs
    #[arg(long)]
    pub json: bool,
}

/// `status`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct StatusArgs {
    /// This service alone, with its servers
    pub service: Option<String>,
    /// Which one is asked.
    #[command(flatten)]
    pub running: RunningArgs,
    /// Print JSON for programs
    #[arg(long)]
    pub json: bool,
    /// Show it again every second, until it is interrupted
    #[arg(long)]
    pub watch: bool,
}

/// Which running `ProxyMgr` is meant.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct RunningArgs {
    /// The proxymgr.yml that it runs with
    #[arg(short, long, value_name = "FILE", conflicts_with = "socket")]
    pub config: Option<PathBuf>,
    /// Its control socket [default: /run/proxymgr/control.sock]
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
}

/// `accept-handover`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct AcceptArgs {
    /// The configuration file, proxymgr.yml
    #[arg(short, long, value_name = "FILE")]
    pub config: PathBuf,
}

/// What `clap` knows about the command line: manual pages and shell completions are made from it.
pub fn description() -> clap::Command {
    <CommandLine as clap::CommandFactory>::command()
}

/// Reads the command line, the program's name first.
///
/// # Errors
/// When there is nothing to do: help or version was printed on stdout ([`Exit::Success`]), or what is wrong on stderr
/// ([`Exit::Usage`]).
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Command, Exit> {
    command_of(args).map_err(|message| match message.print() {
        Err(_) => Exit::Failure,
        Ok(()) if message.use_stderr() => Exit::Usage,
        Ok(()) => Exit::Success,
    })
}

fn command_of(args: impl IntoIterator<Item = OsString>) -> Result<Command, clap::Error> {
    let line = CommandLine::try_parse_from(args)?;
    line.command.or(line.run.map(Command::Run)).ok_or_else(|| {
        let reason = "a configuration file is needed: proxymgr -c FILE";
        description().error(clap::error::ErrorKind::MissingRequiredArgument, reason)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(line: &str) -> Result<Command, clap::Error> {
        command_of(line.split(' ').map(OsString::from))
    }

    fn run(config: &str, debug: bool) -> Command {
        Command::Run(RunArgs { config: config.into(), debug })
    }

    fn control(config: Option<PathBuf>, socket: Option<PathBuf>, json: bool) -> ControlArgs {
        ControlArgs { running: RunningArgs { config, socket }, json }
    }

    fn status(service: Option<&str>, watch: bool) -> StatusArgs {
        let running = RunningArgs { config: None, socket: None };
        StatusArgs { service: service.map(str::to_owned), running, json: false, watch }
    }

    #[test]
    fn every_command_is_understood() {
        let config = PathBuf::from("/p.yml");
        for (line, expected) in [
            ("proxymgr run -c /p.yml", run("/p.yml", false)),
            ("proxymgr run -c /p.yml -d", run("/p.yml", true)),
            ("proxymgr -c /p.yml", run("/p.yml", false)),
            ("proxymgr -d -c /p.yml", run("/p.yml", true)),
            ("proxymgr --config=/p.yml --debug", run("/p.yml", true)),
            ("proxymgr check -c /p.yml", Command::Check(CheckArgs { config: config.clone(), json: false })),
            (
                "proxymgr check --json -c /p.yml",
                Command::Check(CheckArgs { config: config.clone(), json: true }),
            ),
            (
                "proxymgr render -c /p.yml",
                Command::Render(RenderArgs { config: config.clone(), diff: false }),
            ),
            (
                "proxymgr render --diff -c /p.yml",
                Command::Render(RenderArgs { config: config.clone(), diff: true }),
            ),
            ("proxymgr status", Command::Status(status(None, false))),
            ("proxymgr status web --watch", Command::Status(status(Some("web"), true))),
            ("proxymgr upgrade", Command::Upgrade(control(None, None, false))),
            ("proxymgr upgrade --json -c /p.yml", Command::Upgrade(control(Some(config), None, true))),
            ("proxymgr reload --socket /s", Command::Reload(control(None, Some("/s".into()), false))),
        ] {
            assert_eq!(command(line).unwrap(), expected, "{line}");
        }
    }

    #[test]
    fn a_wrong_command_line_is_a_usage_error() {
        for line in [
            "proxymgr",
            "proxymgr run",
            "proxymgr -d",
            "proxymgr -c",
            "proxymgr check",
            "proxymgr fly -c /p.yml",
            "proxymgr -c /p.yml check",
            "proxymgr -c /p.yml check -c /p.yml",
            "proxymgr -c /p.yml --diff",
            "proxymgr -c /p.yml -c /q.yml",
            "proxymgr run -c /p.yml extra",
            "proxymgr upgrade -c /p.yml --socket /s",
            "proxymgr reload now",
        ] {
            assert!(command(line).unwrap_err().use_stderr(), "{line}");
            assert_eq!(parse(line.split(' ').map(OsString::from)), Err(Exit::Usage), "{line}");
        }
    }

    #[test]
    fn help_and_version_are_no_errors() {
        for line in
            ["proxymgr --help", "proxymgr -h", "proxymgr --version", "proxymgr -V", "proxymgr run --help"]
        {
            assert!(!command(line).unwrap_err().use_stderr(), "{line}");
            assert_eq!(parse(line.split(' ').map(OsString::from)), Err(Exit::Success), "{line}");
        }
        let version = command("proxymgr --version").unwrap_err().to_string();
        assert_eq!(version, format!("proxymgr {}\n", env!("CARGO_PKG_VERSION")));
    }

    #[test]
    fn the_description_of_the_command_line_is_sound() {
        description().debug_assert();
    }

    #[test]
    fn exit_codes_are_those_of_the_manual() {
        let all = [Exit::Success, Exit::Failure, Exit::Usage, Exit::HaproxyUnavailable, Exit::BadConfig];
        assert_eq!(all.map(Exit::code), [0, 1, 64, 69, 78]);
    }
}
