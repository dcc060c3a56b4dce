//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use super::Exit;
use super::help::{
    AFTER_CHECK, AFTER_CONFIRM, AFTER_DRAIN, AFTER_EVENTS, AFTER_HELP, AFTER_RENDER, AFTER_REPLACE,
    AFTER_STATUS, AFTER_WHY,
};
use crate::admin::protocol::ServerAddress;
use crate::supervisor::handover::probe::COMMAND;

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
    /// `why`. Exit codes: 0 told, 1 no such service or server or not running, 78.
    #[command(about = "Tell where a service or a server is from, and why it gets traffic or none", after_help = AFTER_WHY)]
    Why(WhyArgs),
    /// `events`. Exit codes: 0 told, 1 not running, 78.
    #[command(about = "Show the last changes: when, why, what was done, how long it took", after_help = AFTER_EVENTS)]
    Events(EventsArgs),
    /// `drain`. Exit codes: 0 done, 1 no such server or not running, 78.
    #[command(about = "Give a server no new connections", after_help = AFTER_DRAIN)]
    Drain(DrainArgs),
    /// `undrain`. Exit codes: 0 done, 1 no such server or not running, 78.
    #[command(about = "Give a server connections again", after_help = AFTER_DRAIN)]
    Undrain(DrainArgs),
    /// `confirm`. Exit codes: 0 done, 1 nothing to confirm or not running, 78.
    #[command(about = "Let servers go whose loss is held or not believed", after_help = AFTER_CONFIRM)]
    Confirm(ConfirmArgs),
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

/// `why`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct WhyArgs {
    /// The service, or one of its servers
    #[arg(value_name = "SERVICE[/SERVER]")]
    pub of: String,
    /// Which `ProxyMgr` is asked.
    #[command(flatten)]
    pub running: RunningArgs,
    /// Print JSON for programs
    #[arg(long)]
    pub json: bool,
}

/// `events`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct EventsArgs {
    /// Changes that concern this service
    pub service: Option<String>,
    /// Which `ProxyMgr` is asked.
    #[command(flatten)]
    pub running: RunningArgs,
    /// How many of the last ones; 1000 are kept
    #[arg(short, long, value_name = "N", default_value_t = 20)]
    pub number: usize,
    /// Go on with those that come, until it is interrupted
    #[arg(short, long)]
    pub follow: bool,
    /// Print JSON for programs, an object a line
    #[arg(long)]
    pub json: bool,
}

/// `drain`, `undrain`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct DrainArgs {
    /// The server
    #[arg(value_name = "SERVICE/SERVER", value_parser = server_address)]
    pub server: ServerAddress,
    /// Which `ProxyMgr` is asked.
    #[command(flatten)]
    pub running: RunningArgs,
    /// Print JSON for programs
    #[arg(long)]
    pub json: bool,
}

/// `confirm`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct ConfirmArgs {
    /// The service
    pub service: String,
    /// Which `ProxyMgr` is asked.
    #[command(flatten)]
    pub running: RunningArgs,
    /// Print JSON for programs
    #[arg(long)]
    pub json: bool,
}

fn server_address(text: &str) -> Result<ServerAddress, String> {
    match text.split_once('/') {
        Some((service, server)) if !service.is_empty() && !server.is_empty() => {
            Ok(ServerAddress { service: service.to_owned(), server: server.to_owned() })
        }
        Some(_) | None => {
            Err("write the service, a slash and the server, such as web/10.0.0.1:80".to_owned())
        }
    }
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

    fn drain(service: &str, server: &str) -> DrainArgs {
        let server = ServerAddress { service: service.to_owned(), server: server.to_owned() };
        DrainArgs { server, running: RunningArgs { config: None, socket: None }, json: false }
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
            ("proxymgr drain web/::1:80", Command::Drain(drain("web", "::1:80"))),
            ("proxymgr undrain web/a", Command::Undrain(drain("web", "a"))),
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
            "proxymgr drain",
            "proxymgr drain web",
            "proxymgr drain web/",
            "proxymgr undrain /10.0.0.1:80",
            "proxymgr confirm",
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
