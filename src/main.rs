//! The `proxymgr` command.

use proxymgr::cli::args::{Command, parse};
use proxymgr::cli::{Exit, accept_handover, check, events, operate, render, replace, run, status, why};

fn main() -> Exit {
    match parse(std::env::args_os()) {
        Ok(Command::Run(args)) => run::run(&args),
        Ok(Command::Check(args)) => check::check(&args),
        Ok(Command::Render(args)) => render::render(&args),
        Ok(Command::Reload(args)) => replace::reload(&args),
        Ok(Command::Upgrade(args)) => replace::upgrade(&args),
        Ok(Command::Status(args)) => status::status(&args),
        Ok(Command::Why(args)) => why::why(&args),
        Ok(Command::Events(args)) => events::events(&args),
        Ok(Command::Drain(args)) => operate::drain(&args),
        Ok(Command::Undrain(args)) => operate::undrain(&args),
        Ok(Command::Confirm(args)) => operate::confirm(&args),
        Ok(Command::AcceptHandover(args)) => accept_handover::accept_handover(&args),
        Err(exit) => exit,
    }
}
